//go:build !race

package dtc

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
)

// TestTransactionAllocatesNothing counts what the coordinator allocates for a
// transaction over two participants that never block. The race detector makes a
// pool forget things at random.
func TestTransactionAllocatesNothing(t *testing.T) {
	c, err := OpenLog(blank{}, &Config{
		Participants: []Participant{inlineNoop("a", func(Branch) {}), inlineNoop("b", func(Branch) {})},
		Logger:       slog.New(slog.DiscardHandler), OutcomeLimit: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]TxID, 3000)
	for i := range ids {
		ids[i] = TxID(fmt.Sprint("order-", i))
	}
	both, next := []Branch{{Participant: "a"}, {Participant: "b"}}, 0
	allocated := testing.AllocsPerRun(len(ids)-1, func() {
		if ok, err := c.Execute(context.Background(), ids[next], both...); !ok {
			t.Fatal(err)
		}
		next++
	})
	if allocated != 0 { // an average, rounded down
		t.Errorf("%v allocations for each transaction", allocated)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
)

// BenchmarkDeadParticipant runs transactions over two participants while 10,000
// others wait for a third one that is dead, and while none does, in turn.
func BenchmarkDeadParticipant(b *testing.B) {
	for _, callers := range []int{16, 400} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			for range b.N {
				beside(b, callers)
			}
		})
	}
}

func beside(b *testing.B, callers int) {
	const pairs, waiting = 10, 10_000
	var seq atomic.Int64
	run := func(c *dtc.Coordinator) func() {
		return func() {
			id := dtc.TxID("order-" + strconv.FormatInt(seq.Add(1), 10))
			if ok, err := c.Execute(context.Background(), id, dtc.Branch{Participant: "a"}, dtc.Branch{Participant: "b"}); !ok {
				panic(err)
			}
		}
	}
	healthy, suffering := openDead(b, 0), openDead(b, waiting)
	for _, c := range []*dtc.Coordinator{healthy, suffering} {
		measure.Load(callers, 300*time.Millisecond, run(c))
	}
	var ratios []float64
	for range pairs {
		with, _ := measure.Load(callers, 300*time.Millisecond, run(suffering))
		without, _ := measure.Load(callers, 300*time.Millisecond, run(healthy))
		ratios = append(ratios, with/without)
	}
	if n := suffering.Stats().Unfinished; n != waiting {
		b.Fatalf("%d wait", n)
	}
	b.ReportMetric(measure.Median(ratios), "ratio")
	b.ReportMetric(0, "ns/op")
	if err := errors.Join(healthy.Close(), suffering.Close()); err != nil {
		b.Fatal(err)
	}
}

func openDead(b *testing.B, waiting int) *dtc.Coordinator {
	b.Helper()
	gone := measure.Noop("gone", false, false).(dtc.ParticipantFuncs)
	gone.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("not there") }
	c, err := dtc.Open(b.TempDir(), &dtc.Config{
		Participants: []dtc.Participant{measure.Noop("a", true, false), measure.Noop("b", true, false), gone},
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range waiting {
		id, opts := dtc.TxID("waits-"+strconv.Itoa(i)), &dtc.TxOptions{CompletionWait: -1}
		if ok, err := c.ExecuteWith(context.Background(), id, opts, dtc.Branch{Participant: "a"}, dtc.Branch{Participant: "gone"}); !ok {
			b.Fatal(err)
		}
	}
	return c
}

package bench

import (
	"context"
	"strconv"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// nowhere is a log that keeps nothing: what is left is the coordinator's own cost.
type nowhere struct{}

func (nowhere) ID() protocol.LogID                   { return protocol.LogID{1} }
func (nowhere) Replay(func(txlog.Entry) error) error { return nil }
func (nowhere) Append(txlog.Record) error            { return nil }
func (nowhere) Force(txlog.Record) error             { return nil }
func (nowhere) Close() error                         { return nil }

// BenchmarkOverhead is one transaction over two participants that do nothing,
// without any log: time and allocations of the coordinator alone.
func BenchmarkOverhead(b *testing.B) {
	for _, kind := range []struct {
		name   string
		inline bool
	}{{"inline", true}, {"blocking", false}} {
		b.Run(kind.name, func(b *testing.B) {
			c, err := dtc.OpenLog(nowhere{}, &dtc.Config{
				Participants: []dtc.Participant{measure.Noop("a", kind.inline, false), measure.Noop("b", kind.inline, false)},
				OutcomeLimit: 1000,
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			branches := []dtc.Branch{{Participant: "a"}, {Participant: "b"}}
			n := 0
			for b.Loop() {
				n++
				if ok, err := c.Execute(context.Background(), dtc.TxID("order-"+strconv.Itoa(n)), branches...); !ok {
					b.Fatal(err)
				}
			}
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

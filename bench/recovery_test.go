package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

const inDoubt = 100_000

// leave writes a log with so many decided transactions that have no end.
func leave(b *testing.B, dir string, n int) {
	b.Helper()
	log, err := wal.Open(dir, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := log.Replay(func(txlog.Entry) error { return nil }); err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(log.Force(&txlog.Incarnation{Incarnation: protocol.Incarnation{Number: 1, Nonce: 1}, Through: 1 << 30}))
	for i := range n {
		ref := txlog.Ref{Incarnation: 1, Seq: uint64(i + 1)}
		must(log.Append(&txlog.Prepare{
			Ref: ref, TxID: "order-" + strconv.Itoa(i),
			Branches: []txlog.Branch{{Participant: "a"}, {Participant: "b"}},
		}))
		must(log.Append(&txlog.Commit{Ref: ref, Votes: []protocol.Vote{protocol.VoteCommit, protocol.VoteCommit}}))
	}
	must(log.Close())
}

// BenchmarkRecovery opens a log with 100,000 decided transactions that are not
// finished, and waits until all are.
func BenchmarkRecovery(b *testing.B) {
	for _, kind := range []struct {
		name   string
		inline bool
	}{{"inline", true}, {"blocking", false}} {
		b.Run(kind.name, func(b *testing.B) {
			var total time.Duration
			for range b.N {
				dir := b.TempDir()
				leave(b, dir, inDoubt)
				began := time.Now()
				c, err := dtc.Open(dir, &dtc.Config{
					Participants: []dtc.Participant{measure.Noop("a", kind.inline, false), measure.Noop("b", kind.inline, false)},
					Logger:       slog.New(slog.DiscardHandler), MaxTransactions: 4 * inDoubt,
				})
				if err != nil {
					b.Fatal(err)
				}
				for c.Stats().Unfinished > 0 {
					time.Sleep(time.Millisecond)
				}
				total += time.Since(began)
				if n := c.Stats().Committed; n != inDoubt {
					b.Fatalf("%d were finished", n)
				}
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(total.Seconds()/float64(b.N), "s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkReplay reads logs of several sizes, in which every transaction is
// finished, without a checkpoint in them.
func BenchmarkReplay(b *testing.B) {
	for _, mb := range []int{1, 16, 128, 2000} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			dir := b.TempDir()
			records := fill(b, dir, int64(mb)<<20)
			var took time.Duration
			for range b.N {
				began := time.Now()
				c, err := dtc.Open(dir, &dtc.Config{Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				took += time.Since(began)
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(records)*float64(b.N)/took.Seconds(), "records/s")
			b.ReportMetric(took.Seconds()/float64(b.N), "s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func fill(b *testing.B, dir string, size int64) (records uint64) {
	b.Helper()
	log, err := wal.Open(dir, &wal.Options{CheckpointAfter: -1})
	if err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(log.Replay(func(txlog.Entry) error { return nil }))
	must(log.Force(&txlog.Incarnation{Incarnation: protocol.Incarnation{Number: 1, Nonce: 1}, Through: 1 << 40}))
	prepare := &txlog.Prepare{Branches: []txlog.Branch{{Participant: "inventory"}, {Participant: "payment"}}}
	commit := &txlog.Commit{Votes: []protocol.Vote{protocol.VoteCommit, protocol.VoteCommit}}
	end := &txlog.End{Outcome: protocol.Committed}
	for seq := uint64(1); int64(log.Stats().Bytes) < size; seq++ {
		ref := txlog.Ref{Incarnation: 1, Seq: seq}
		prepare.Ref, prepare.TxID, commit.Ref, end.Ref = ref, "order-"+strconv.FormatUint(seq, 10), ref, ref
		must(log.Append(prepare))
		must(log.Append(commit))
		if seq%1000 == 0 {
			must(log.Force(end)) // so that what waits stays little
		} else {
			must(log.Append(end))
		}
	}
	must(log.Close())
	return log.Stats().Records
}

// BenchmarkInDoubtMemory reports the bytes that a transaction needs which waits for
// a dead participant and for which no caller waits.
func BenchmarkInDoubtMemory(b *testing.B) {
	for range b.N {
		gone := measure.Noop("b", false, false).(dtc.ParticipantFuncs)
		gone.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("not there") }
		dir := b.TempDir()
		leave(b, dir, inDoubt)
		before := heap()
		c, err := dtc.Open(dir, &dtc.Config{
			Participants: []dtc.Participant{measure.Noop("a", true, false), gone},
			Logger:       slog.New(slog.DiscardHandler), MaxTransactions: 4 * inDoubt,
		})
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(2 * time.Second) // until the first calls have been made
		b.ReportMetric(float64(heap()-before)/inDoubt, "bytes/tx")
		if n := c.Stats().Unfinished; n != inDoubt {
			b.Fatalf("%d are unfinished", n)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

const (
	rounds = 5
	slice  = 300 * time.Millisecond
)

// BenchmarkCommit runs whole transactions with two participants that do nothing,
// and the bare limit, in turn.
func BenchmarkCommit(b *testing.B) {
	for _, kind := range []struct {
		name          string
		inline, plain bool
	}{{"listing", true, false}, {"listing-blocking", false, false}, {"plain", true, true}} {
		for _, callers := range []int{1, 16, 400} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind.name, callers), func(b *testing.B) {
				for range b.N {
					compare(b, callers, kind.inline, kind.plain)
				}
			})
		}
	}
}

func compare(b *testing.B, callers int, inline, plain bool) {
	dir := b.TempDir()
	bare, err := OpenBare(filepath.Join(dir, "bare"), 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	same, err := wal.Open(filepath.Join(dir, "same"), nil)
	if err != nil {
		b.Fatal(err)
	}
	log, err := wal.Open(filepath.Join(dir, "log"), nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := dtc.OpenLog(log, &dtc.Config{
		Participants: []dtc.Participant{noop("a", inline, plain), noop("b", inline, plain)},
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 100)
	var seq, bared atomic.Int64
	transaction := func() {
		id := dtc.TxID("order-" + strconv.FormatInt(seq.Add(1), 10))
		if ok, err := c.Execute(context.Background(), id, dtc.Branch{Participant: "a"}, dtc.Branch{Participant: "b"}); !ok {
			panic(err)
		}
	}
	load(callers, transaction) // warm up
	load(callers, func() { bare.Append(record) })
	hundred := &txlog.Abort{Ref: txlog.Ref{Incarnation: 1, Seq: 1}, Reason: dtc.Reason{Message: strings.Repeat("x", 94)}}
	force := func() {
		if err := same.Force(hundred); err != nil {
			panic(err)
		}
	}
	load(callers, force)
	var ratios, logRatios, whole, limit, logOnly []float64
	began, syncs := seq.Load(), log.Stats().Forced
	var cpuWhole, cpuBare time.Duration
	for range rounds {
		start := cpu()
		l := load(callers, func() { bare.Append(record); bared.Add(1) })
		middle := cpu()
		w := load(callers, transaction)
		cpuBare, cpuWhole = cpuBare+middle-start, cpuWhole+cpu()-middle
		s := load(callers, force)
		logRatios, logOnly = append(logRatios, w/s), append(logOnly, s)
		ratios, whole, limit = append(ratios, w/l), append(whole, w), append(limit, l)
	}
	b.ReportMetric(median(whole), "tx/s")
	b.ReportMetric(median(limit), "bare/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(logOnly), "log/s")
	b.ReportMetric(median(logRatios), "log-ratio")
	b.ReportMetric(float64(log.Stats().Forced-syncs)/float64(seq.Load()-began), "syncs/tx")
	b.ReportMetric(float64(cpuWhole.Nanoseconds())/float64(seq.Load()-began), "cpu-ns/tx")
	b.ReportMetric(float64(cpuBare.Nanoseconds())/float64(bared.Load()), "cpu-ns/bare")
	b.ReportMetric(0, "ns/op")
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(bare.Close(), same.Close()); err != nil {
		b.Fatal(err)
	}
}

func noop(id string, inline, plain bool) dtc.Participant {
	p := dtc.ParticipantFuncs{
		ParticipantID: id, NeverBlocks: inline,
		PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
	}
	if !plain {
		p.InDoubtFunc = func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, nil }
	}
	return p
}

// load calls f from many callers for a while and returns calls per second.
func load(callers int, f func()) float64 {
	var done atomic.Bool
	var total atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			n := int64(0)
			for !done.Load() {
				f()
				n++
			}
			total.Add(n)
		})
	}
	time.Sleep(slice)
	done.Store(true)
	wg.Wait()
	return float64(total.Load()) / time.Since(began).Seconds()
}

// cpu returns the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

package measure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// Setup says what is measured. Zero fields take the values that are named.
type Setup struct {
	Dir          string // for the files; it must exist
	Callers      int
	Participants int           // 2
	Blocking     bool          // they may wait, so that each call has a goroutine
	Plain        bool          // they cannot list what they hold in doubt
	Rounds       int           // 5; each measures everything once, in turn
	Slice        time.Duration // 300 ms; how long one measurement lasts

	// Stop, if closed, ends it before its time, with [ErrStopped].
	Stop <-chan struct{}
}

// ErrStopped is why there is no outcome.
var ErrStopped = errors.New("stopped")

// Row is the outcome: medians over the rounds.
type Row struct {
	Callers     int
	TxPerS      float64
	BarePerS    float64
	Ratio       float64 // of whole transactions to bare ones in the same round
	LogPerS     float64 // 100-byte records through a log of the same kind
	LogRatio    float64
	FsyncsPerTx float64
	CPUPerTx    time.Duration // of the whole process
	P50, P99    time.Duration // of whole transactions
}

func (s *Setup) fill() {
	for _, f := range []struct {
		field *int
		value int
	}{{&s.Participants, 2}, {&s.Rounds, 5}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if s.Slice == 0 {
		s.Slice = 300 * time.Millisecond
	}
}

// Compare measures whole transactions, the bare limit and the log alone, in turn.
func Compare(s Setup) (row Row, err error) {
	s.fill()
	bare, err := OpenBare(filepath.Join(s.Dir, "bare"), 64<<20)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, bare.Close()) }()
	same, err := wal.Open(filepath.Join(s.Dir, "same"), nil)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, same.Close()) }()
	log, err := wal.Open(filepath.Join(s.Dir, "log"), &wal.Options{OutcomeLimit: 1_000_000, OutcomeRetention: time.Hour})
	if err != nil {
		return row, err
	}
	cfg, branches := &dtc.Config{Logger: slog.New(slog.DiscardHandler)}, make([]dtc.Branch, s.Participants)
	for i := range branches {
		branches[i].Participant = "p" + strconv.Itoa(i)
		cfg.Participants = append(cfg.Participants, Noop(branches[i].Participant, !s.Blocking, s.Plain))
	}
	c, err := dtc.OpenLog(log, cfg)
	if err != nil {
		return row, errors.Join(err, log.Close())
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return s.measure(c, log, bare, same, branches)
}

func (s *Setup) measure(c *dtc.Coordinator, log *wal.Log, bare *Bare, same *wal.Log, branches []dtc.Branch) (Row, error) {
	var seq atomic.Int64
	var failed atomic.Pointer[error]
	note := func(err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	transaction := func() {
		id := dtc.TxID("order-" + strconv.FormatInt(seq.Add(1), 10))
		if ok, err := c.Execute(context.Background(), id, branches...); !ok {
			note(fmt.Errorf("transaction %s: %w", id, err))
		}
	}
	record := make([]byte, 100)
	append100 := func() { bare.Append(record) }
	hundred := &txlog.Abort{Ref: txlog.Ref{Incarnation: 1, Seq: 1}, Reason: dtc.Reason{Message: strings.Repeat("x", 94)}}
	force100 := func() { note(same.Force(hundred)) }
	for _, f := range []func(){transaction, append100, force100} { // warm up
		load(s.Callers, s.Slice, s.Stop, f)
	}
	row := Row{Callers: s.Callers}
	var whole, limit, ratio, logs, logRatio []float64
	var took []time.Duration
	var cpu time.Duration
	began, syncs := seq.Load(), log.Stats().Forced
	for range s.Rounds {
		l, _ := load(s.Callers, s.Slice, s.Stop, append100)
		start := CPU()
		w, times := load(s.Callers, s.Slice, s.Stop, transaction)
		cpu += CPU() - start
		g, _ := load(s.Callers, s.Slice, s.Stop, force100)
		whole, limit, logs = append(whole, w), append(limit, l), append(logs, g)
		ratio, logRatio = append(ratio, w/l), append(logRatio, w/g)
		took = append(took, times...)
		select {
		case <-s.Stop:
			return row, ErrStopped
		default:
		}
	}
	if err := failed.Load(); err != nil {
		return row, *err
	}
	n := seq.Load() - began
	row.TxPerS, row.BarePerS, row.Ratio = Median(whole), Median(limit), Median(ratio)
	row.LogPerS, row.LogRatio = Median(logs), Median(logRatio)
	row.FsyncsPerTx = float64(log.Stats().Forced-syncs) / float64(n)
	row.CPUPerTx = cpu / time.Duration(n)
	row.P50, row.P99 = Quantile(took, 0.5), Quantile(took, 0.99)
	return row, nil
}

// Noop returns a participant that does nothing.
func Noop(id string, inline, plain bool) dtc.Participant {
	p := dtc.ParticipantFuncs{
		ParticipantID: id, NeverBlocks: inline,
		PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
	}
	if !plain {
		p.InDoubtFunc = func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, nil }
	}
	return p
}

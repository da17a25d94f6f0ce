package wal

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/refs"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

// fold takes in the records of a log in their order, and keeps what replay of them
// comes to. It refuses records that contradict each other: what no coordinator
// wrote is left as it is.
type fold struct {
	limit int           // of outcomes; 0: none
	keep  time.Duration // of outcomes; 0: for ever
	now   int64         // by which they expire

	history []stamped[*txlog.Incarnation]
	hold    stamped[*txlog.Hold]
	release stamped[*txlog.Release] // of that hold
	logged  refs.Set
	horizon int64 // the end of the youngest outcome that was dropped; 0: none was
	open    map[txlog.Ref]*openTx
	old     []outcomeBatch  // of the checkpoint before
	dropped int             // of them, from its front
	ended   []txlog.Outcome // behind them
	clock   int64           // when the last of all ended
}

// outcomeBatch is a batch of outcomes in the checkpoint before. They are copied as
// they are, so that a checkpoint costs what is new and not what is remembered.
type outcomeBatch struct {
	records int
	last    int64 // when the last of them ended: none of them ended later
}

// stamped is a record with the time of its batch.
type stamped[R any] struct {
	time   int64
	record R
}

// openTx is a transaction without an end.
type openTx struct {
	prepare  stamped[*txlog.Prepare]
	decision stamped[txlog.Record] // a commit or an abort, or nil
	resolved []stamped[*txlog.Resolution]
}

func newFold(limit int, keep time.Duration, now int64) *fold {
	return &fold{limit: limit, keep: keep, now: now, open: make(map[txlog.Ref]*openTx)}
}

// readBase takes in the checkpoint before, but for its outcomes.
func (f *fold) readBase(fsys vfs.FS, c *checkpointFile) error {
	return c.batches(fsys, func(h batchHeader, payload, _ []byte) error {
		if last, ok := lastOutcome(payload); ok {
			f.old = append(f.old, outcomeBatch{int(h.records), last})
			f.clock = max(f.clock, last)
			return nil
		}
		return c.records(h, payload, f.base)
	})
}

// lastOutcome reports whether a batch holds outcomes, and when the last one ended.
func lastOutcome(payload []byte) (ended int64, ok bool) {
	_, n := binary.Uvarint(payload)
	if n <= 0 || len(payload) < n+8 || txlog.Kind(payload[n]) != txlog.KindOutcome {
		return 0, false
	}
	return int64(le.Uint64(payload[len(payload)-8:])), true
}

func (f *fold) base(e txlog.Entry) error {
	switch r := e.Record.(type) {
	case *txlog.Logged:
		for _, run := range r.Runs {
			f.logged.AddRun(r.Incarnation, run)
		}
	case *txlog.Horizon:
		f.horizon = r.At.UnixNano()
	default:
		return f.add(e)
	}
	return nil
}

// add takes in a record of a segment.
func (f *fold) add(e txlog.Entry) error {
	at := e.Time.UnixNano()
	switch r := e.Record.(type) {
	case *txlog.Incarnation:
		if n := len(f.history); n > 0 && f.history[n-1].record.Incarnation.Number >= r.Incarnation.Number {
			return contradiction("incarnation %d comes behind %d", r.Incarnation.Number, f.history[n-1].record.Incarnation.Number)
		}
		f.history = append(f.history, stamped[*txlog.Incarnation]{at, r})
	case *txlog.Block:
		n := len(f.history)
		if n == 0 || f.history[n-1].record.Incarnation.Number != r.Incarnation {
			return contradiction("a block of incarnation %d, which is not the current one", r.Incarnation)
		}
		f.history[n-1].record.Through = r.Through
	case *txlog.Prepare:
		if f.open[r.Ref] != nil || f.logged.Has(r.Ref) {
			return contradiction("transaction %v is prepared twice", r.Ref)
		}
		f.open[r.Ref] = &openTx{prepare: stamped[*txlog.Prepare]{at, r}}
	case *txlog.Commit:
		return f.decide(r.Ref, at, r)
	case *txlog.Abort:
		return f.decide(r.Ref, at, r)
	case *txlog.Resolution:
		if t := f.open[r.Ref]; t != nil {
			t.resolved = append(t.resolved, stamped[*txlog.Resolution]{at, r})
		} // else the branch was finished while the statement was written
	case *txlog.End:
		return f.end(r, at)
	case *txlog.Hold:
		f.hold, f.release = stamped[*txlog.Hold]{at, joined(f.hold.record, r)}, stamped[*txlog.Release]{}
	case *txlog.Release:
		f.release = stamped[*txlog.Release]{at, r}
	default:
		return contradiction("a record of kind %v", e.Record.Kind())
	}
	return nil
}

// joined returns the hold that two of them come to: it covers what either does, for
// the reason of the later one.
func joined(a, b *txlog.Hold) *txlog.Hold {
	if a == nil || a.Through <= b.Through {
		return b
	}
	return &txlog.Hold{Through: a.Through, Reason: b.Reason}
}

func (f *fold) decide(ref txlog.Ref, at int64, r txlog.Record) error {
	t := f.open[ref]
	if t == nil {
		return contradiction("a decision about transaction %v, which is not open", ref)
	}
	if t.decision.record != nil {
		return contradiction("a second decision about transaction %v", ref)
	}
	t.decision = stamped[txlog.Record]{at, r}
	return nil
}

func (f *fold) end(r *txlog.End, at int64) error {
	t := f.open[r.Ref]
	if t == nil {
		return contradiction("the end of transaction %v, which is not open", r.Ref)
	}
	var code protocol.Code
	if abort, ok := t.decision.record.(*txlog.Abort); ok {
		code = abort.Reason.Code
	}
	f.clock = max(f.clock, at) // in order, also if the clock was set back: see outcomeBatch
	p := t.prepare.record
	delete(f.open, r.Ref)
	f.logged.Add(r.Ref)
	if r.Outcome == protocol.OutcomeUnknown {
		return nil // how it ended was not to be known any more
	}
	f.ended = append(f.ended, txlog.Outcome{
		Ref: r.Ref, Key: txlog.KeyOf(p.TxID), Fingerprint: p.Fingerprint,
		Outcome: r.Outcome, Code: code, At: time.Unix(0, f.clock),
	})
	return nil
}

func contradiction(format string, args ...any) error {
	return fmt.Errorf("the log's records contradict each other: "+format, args...)
}

// write makes a durable file of what was taken in, and completes its header. stop
// is asked now and then whether to give up.
func (f *fold) write(fsys vfs.FS, path string, h *checkpointHeader, before *checkpointFile, stop func() bool) (err error) {
	if err := remove(fsys, path); err != nil {
		return err
	}
	file, err := fsys.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	h.size = checkpointHeaderSize
	w := &checkpointWriter{f: file, h: h}
	if err := f.writeAll(w, fsys, before, stop); err != nil {
		return err
	}
	if err := writeAll(file, h.append(nil), 0); err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALCheckpointWritten)
	return file.Sync()
}

func (f *fold) writeAll(w *checkpointWriter, fsys vfs.FS, before *checkpointFile, stop func() bool) error {
	for _, i := range f.history {
		if err := w.add(i.time, i.record); err != nil {
			return err
		}
	}
	if f.hold.record != nil {
		if err := w.add(f.hold.time, f.hold.record); err != nil {
			return err
		}
	}
	if f.hold.record != nil && f.release.record != nil {
		if err := w.add(f.release.time, f.release.record); err != nil {
			return err
		}
	}
	if err := f.writeLogged(w); err != nil {
		return err
	}
	if err := f.writeOutcomes(w, fsys, before, stop); err != nil {
		return err
	}
	if err := f.writeOpen(w); err != nil {
		return err
	}
	return w.flush()
}

func (f *fold) writeLogged(w *checkpointWriter) error {
	for incarnation, runs := range f.logged.Runs() {
		for part := range slices.Chunk(runs, maxRuns) {
			if err := w.add(w.h.time, &txlog.Logged{Incarnation: incarnation, Runs: part}); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeOutcomes writes the horizon and the outcomes that are still remembered:
// those of the checkpoint before, without the oldest batches, and the new ones.
func (f *fold) writeOutcomes(w *checkpointWriter, fsys vfs.FS, before *checkpointFile, stop func() bool) error {
	expired := int64(-1 << 63)
	if f.keep > 0 {
		expired = f.now - int64(f.keep)
		if canary.On(canary.DropOutcomesEarly) {
			expired += int64(f.keep) / 2
		}
	}
	drop := f.tooMany()
	for len(f.old) > 0 && (f.old[0].records <= drop || f.old[0].last < expired) {
		drop -= f.old[0].records
		f.horizon = max(f.horizon, f.old[0].last)
		f.old = f.old[1:]
		f.dropped++
	}
	if len(f.old) == 0 {
		for len(f.ended) > 0 && (drop > 0 || f.ended[0].At.UnixNano() < expired) {
			drop--
			f.horizon = max(f.horizon, f.ended[0].At.UnixNano())
			f.ended = f.ended[1:]
		}
	}
	if f.horizon != 0 {
		if err := w.add(w.h.time, &txlog.Horizon{At: time.Unix(0, f.horizon)}); err != nil {
			return err
		}
	}
	if before != nil && len(f.old) > 0 {
		if err := f.copyOutcomes(w, fsys, before, stop); err != nil {
			return err
		}
	}
	for i := range f.ended {
		if canary.On(canary.DropCommittedOutcomes) && f.ended[i].Outcome == protocol.Committed {
			continue
		}
		if err := w.add(w.h.time, &f.ended[i]); err != nil {
			return err
		}
	}
	return nil
}

// tooMany returns how many outcomes there are beyond the limit.
func (f *fold) tooMany() int {
	if f.limit <= 0 {
		return 0
	}
	n := len(f.ended) - f.limit
	for _, b := range f.old {
		n += b.records
	}
	return max(0, n)
}

// copyOutcomes copies the batches of outcomes that are not dropped.
func (f *fold) copyOutcomes(w *checkpointWriter, fsys vfs.FS, before *checkpointFile, stop func() bool) error {
	skip := f.dropped
	return before.batches(fsys, func(h batchHeader, payload, whole []byte) error {
		if _, ok := lastOutcome(payload); !ok {
			return nil
		}
		if skip--; skip >= 0 {
			return nil
		}
		if stop() {
			return ErrClosed
		}
		return w.copy(h, whole)
	})
}

func (f *fold) writeOpen(w *checkpointWriter) error {
	order := slices.SortedFunc(maps.Keys(f.open), func(a, b txlog.Ref) int {
		return cmp.Or(cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Seq, b.Seq))
	})
	for _, ref := range order {
		t := f.open[ref]
		switch decided := t.decision.record != nil; {
		case canary.On(canary.DropDecided) && decided:
			continue
		case canary.On(canary.DropPlain) && !decided &&
			slices.ContainsFunc(t.prepare.record.Branches, func(b txlog.Branch) bool { return b.Plain }):
			continue
		}
		if err := w.add(t.prepare.time, t.prepare.record); err != nil {
			return err
		}
		if t.decision.record != nil {
			if err := w.add(t.decision.time, t.decision.record); err != nil {
				return err
			}
		}
		for _, r := range t.resolved {
			if err := w.add(r.time, r.record); err != nil {
				return err
			}
		}
	}
	return nil
}

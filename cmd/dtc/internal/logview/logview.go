// Package logview reads a decision log for people: it follows transactions
// through its records. It never changes anything.
package logview

import (
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// Entry is a record with what earlier records say about its transaction.
type Entry struct {
	txlog.Entry
	XID     dtc.XID        // zero for records that belong to no transaction
	Prepare *txlog.Prepare // of the transaction; nil if it was not found
}

// Read calls fn for each good record of the log, oldest first. The error is fn's
// or the log's.
func Read(r *wal.Reader, fn func(Entry) error) error {
	incarnations := map[uint32]dtc.Incarnation{}
	open := map[txlog.Ref]*txlog.Prepare{}
	return r.Replay(func(e txlog.Entry) error {
		v := Entry{Entry: e}
		var ended bool
		if rec, ok := e.Record.(*txlog.Incarnation); ok {
			incarnations[rec.Incarnation.Number] = rec.Incarnation
			return fn(v)
		}
		ref, ok := refOf(e.Record)
		if !ok {
			return fn(v)
		}
		switch rec := e.Record.(type) {
		case *txlog.Prepare:
			open[ref] = rec
		case *txlog.End:
			ended = true
		}
		v.XID = dtc.XID{Log: r.ID(), Incarnation: incarnations[ref.Incarnation], Seq: ref.Seq}
		v.Prepare = open[ref]
		if ended {
			delete(open, ref)
		}
		return fn(v)
	})
}

// refOf returns which transaction a record is about.
func refOf(r txlog.Record) (txlog.Ref, bool) {
	switch rec := r.(type) {
	case *txlog.Prepare:
		return rec.Ref, true
	case *txlog.Commit:
		return rec.Ref, true
	case *txlog.Abort:
		return rec.Ref, true
	case *txlog.End:
		return rec.Ref, true
	case *txlog.Resolution:
		return rec.Ref, true
	case *txlog.Outcome:
		return rec.Ref, true
	}
	return txlog.Ref{}, false
}

// History is all that the log says about one transaction.
type History struct {
	TxID         dtc.TxID
	XID          dtc.XID
	Participants []txlog.Branch
	Prepared     time.Time // when the prepare record was written
	Votes        []dtc.Vote
	Decision     dtc.Outcome // OutcomeUnknown if the log holds none
	Reason       dtc.Reason  // of a rollback
	Decided      time.Time
	Resolutions  []Resolution
	Ended        time.Time // zero if a branch may be unfinished
	Outcome      dtc.Outcome
	// OnePhase: its only participant was asked to commit in one step, and decides.
	OnePhase bool
	// Folded: its records were dropped by a checkpoint; only Reason.Code, Ended and
	// Outcome are known.
	Folded bool
	// Later: the log was opened again after the prepare record was written.
	Later bool
	// Held: a recovery hold covers it, so that nothing about it is presumed.
	Held bool
}

// Resolution is an operator's statement.
type Resolution struct {
	txlog.Resolution
	At time.Time
}

// Find returns the transactions that bear a name, oldest first: a TxID may have
// run more than once, an XID names one. With damage it returns what is known
// before it, and the log's error.
func Find(r *wal.Reader, name string) ([]*History, error) {
	var found []*History
	byXID := map[dtc.XID]*History{}
	held := uint32(0) // the incarnations up to here are
	defer func() {
		for _, h := range found {
			h.Held = h.XID.Incarnation.Number <= held
		}
	}()
	err := Read(r, func(e Entry) error {
		switch rec := e.Record.(type) {
		case *txlog.Hold:
			held = max(held, rec.Through)
			return nil
		case *txlog.Release:
			held = 0
			return nil
		}
		if _, ok := e.Record.(*txlog.Incarnation); ok {
			for _, h := range found {
				h.Later = true
			}
			return nil
		}
		h := byXID[e.XID]
		switch rec := e.Record.(type) {
		case *txlog.Prepare:
			if rec.TxID == name || e.XID.String() == name {
				h = &History{
					TxID: dtc.TxID(rec.TxID), XID: e.XID, Participants: rec.Branches, Prepared: e.Time, OnePhase: rec.OnePhase,
				}
				found, byXID[e.XID] = append(found, h), h
			}
			return nil
		case *txlog.Outcome:
			if rec.Key == txlog.KeyOf(name) || e.XID.String() == name {
				found = append(found, &History{
					TxID: dtc.TxID(name), XID: e.XID, Folded: true, Reason: dtc.Reason{Code: rec.Code},
					Ended: rec.At, Outcome: rec.Outcome, Decided: rec.At,
				})
			}
			return nil
		case *txlog.Commit, *txlog.Abort, *txlog.End, *txlog.Resolution:
			if h == nil {
				return nil
			}
		default:
			return nil
		}
		return h.add(e)
	})
	return found, err
}

func (h *History) add(e Entry) error {
	switch rec := e.Record.(type) {
	case *txlog.Commit:
		if len(rec.Votes) != len(h.Participants) {
			return fmt.Errorf("log at position %d: %d votes of %d participants", e.Position, len(rec.Votes), len(h.Participants))
		}
		h.Decision, h.Votes, h.Decided = dtc.Committed, rec.Votes, e.Time
	case *txlog.Abort:
		h.Decision, h.Reason, h.Decided = dtc.RolledBack, rec.Reason, e.Time
	case *txlog.Resolution:
		h.Resolutions = append(h.Resolutions, Resolution{*rec, e.Time})
	case *txlog.End:
		h.Ended, h.Outcome = e.Time, rec.Outcome
	}
	return nil
}

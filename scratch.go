package dtc

import (
	"sync"

	"github.com/dtc-project/dtc/txlog"
)

// scratch has room for the records of one transaction while they are handed to
// the log, which has encoded them when Append or Force returns. A transaction
// that waits for a participant keeps none of it.
type scratch struct {
	prepare txlog.Prepare
	commit  txlog.Commit
	abort   txlog.Abort
	end     txlog.End
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// record fills in the record of the given kind. The caller holds t.mu.
func (s *scratch) record(t *txn, kind txlog.Kind) txlog.Record {
	switch kind {
	case txlog.KindPrepare, txlog.KindOnePhase:
		names := s.prepare.Branches[:0]
		for i, br := range t.branches {
			names = append(names, txlog.Branch{Participant: br.lane.id, Plain: t.m.IsPlain(i)})
		}
		s.prepare = txlog.Prepare{Ref: t.ref(), TxID: string(t.id), Fingerprint: t.fingerprint, Branches: names, OnePhase: kind == txlog.KindOnePhase}
		return &s.prepare
	case txlog.KindCommit:
		votes := s.commit.Votes[:0]
		for i := range t.branches {
			v, _ := t.m.Vote(i)
			votes = append(votes, v)
		}
		s.commit = txlog.Commit{Ref: t.ref(), Votes: votes}
		return &s.commit
	case txlog.KindAbort:
		s.abort = txlog.Abort{Ref: t.ref(), Reason: t.reason}
		return &s.abort
	case txlog.KindEnd:
		s.end = txlog.End{Ref: t.ref(), Outcome: t.m.Outcome()}
		return &s.end
	case txlog.KindIncarnation, txlog.KindBlock, txlog.KindResolution, txlog.KindLogged,
		txlog.KindHorizon, txlog.KindOutcome, txlog.KindHold, txlog.KindRelease:
	}
	panic("dtc: no transaction writes a record of kind " + kind.String())
}

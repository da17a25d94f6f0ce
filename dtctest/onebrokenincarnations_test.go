package dtctest

import (
	"context"
	"maps"

	"github.com/dtc-project/dtc"
)

var brokenIncarnations = []breakage{
	{"has no fence", "of an earlier incarnation comes too late", "was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			m.setFences(nil)
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"lets settle raise no fence", "of an earlier incarnation comes too late", "after a settle of a later incarnation: commit in one phase was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.settle = func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
			old := m.setFences(nil)
			defer m.setFences(old)
			return m.Settle(ctx, b)
		}
	}},
	{"lets a commit in one phase raise no fence", "of an earlier incarnation comes too late", "after a commit in one phase of a later incarnation: commit in one phase was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			old := m.setFences(nil)
			m.setFences(old) // an earlier call still meets it
			defer m.setFences(old)
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"lets prepare raise no fence", "of an earlier incarnation comes too late", "after a prepare of a later incarnation: commit in one phase was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			old := m.setFences(nil)
			defer m.setFences(old)
			return m.Prepare(ctx, b)
		}
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			old := m.setFences(nil)
			defer m.setFences(old)
			return m.Rollback(ctx, b)
		}
	}},
	{"takes everything of an earlier incarnation for gone", "of an earlier incarnation comes too late", "already rolled back", func(_ *Subject, m *Memory, p *brokenOne) {
		p.settle = func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
			for _, x := range m.Prepared() {
				_ = m.Rollback(ctx, dtc.Branch{Participant: m.ID(), XID: x})
			}
			return m.Settle(ctx, b)
		}
	}},
	{"looks first and writes later", "in two incarnations at the same time", "2 times", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = lookThenWrite(m)
	}},
	{"prepares what it has committed", "is not prepared by a later incarnation", "answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.prepare = prepareAnyID(m)
	}},
	{"calls read-only what it holds", "is not prepared by a later incarnation", "held = true, want false", func(_ *Subject, m *Memory, p *brokenOne) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			_, err := prepareAnyID(m)(ctx, b)
			return dtc.VoteReadOnly, err
		}
	}},
	{"forgets everything in a restart", "survives a restart", "settle answered rolled_back, want committed", func(s *Subject, m *Memory, p *brokenOne) {
		s.Restart = restarted(m, p, m.clear)
	}},
	{"forgets what is shut in a restart", "survives a restart", "settled as rolled back before a restart: commit in one phase was answered vote_commit", func(s *Subject, m *Memory, p *brokenOne) {
		s.Restart = restarted(m, p, func() { clear(m.rows) })
	}},
	{"forgets the fence in a restart", "survives a restart", "a call of an earlier incarnation, after a restart: commit in one phase was answered vote_commit", func(s *Subject, m *Memory, p *brokenOne) {
		s.Restart = restarted(m, p, func() { clear(m.fences) })
	}},
	{"drops the evidence with the row", "outlives low water", "settle answered unknown, want committed", func(_ *Subject, m *Memory, p *brokenOne) {
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			if !b.LowWater.IsZero() {
				m.DropEvidence(b.LowWater)
			}
			return m.Rollback(ctx, b)
		}
	}},
	{"lets in what is below low water", "outlives low water", "then below low water: commit in one phase was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			m.mu.Lock()
			clear(m.lowWater)
			m.mu.Unlock()
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"proves nothing", "prove names the XID", `committed in one phase: prove found ""`, func(_ *Subject, _ *Memory, p *brokenOne) {
		p.prove = func(context.Context, dtc.LogID, dtc.TxID) (dtc.XID, error) { return dtc.XID{}, nil }
	}},
	{"proves what it has shut", "prove names the XID", "an id that was settled as rolled back: prove found", func(_ *Subject, m *Memory, p *brokenOne) {
		shut := map[txKey]dtc.XID{}
		p.settle = func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
			shut[keyOf(b)] = b.XID
			return m.Settle(ctx, b)
		}
		p.prove = func(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
			if x, ok := shut[txKey{log, id}]; ok {
				return x, nil
			}
			return m.Prove(ctx, log, id)
		}
	}},
	{"proves ids of any log", "prove names the XID", "an id of another log: prove found", func(_ *Subject, m *Memory, p *brokenOne) {
		p.prove = func(_ context.Context, _ dtc.LogID, id dtc.TxID) (dtc.XID, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for key, e := range m.evidence {
				if key.id == id {
					return e.xid, nil
				}
			}
			return dtc.XID{}, nil
		}
	}},
	{"takes ids of two logs for one", "another log are left alone", "0 times, want 1", func(_ *Subject, m *Memory, p *brokenOne) {
		done := map[dtc.TxID]bool{}
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			if done[b.TxID] {
				return dtc.VoteCommit, nil
			}
			done[b.TxID] = true
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"has one fence for all logs", "another log are left alone", "of an earlier incarnation", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			m.mu.Lock()
			for _, n := range m.fences {
				m.fences[b.XID.Log] = max(m.fences[b.XID.Log], n)
			}
			m.mu.Unlock()
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"gives up what is prepared", "two phases work beside one", "held = false, want true", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			for _, x := range m.Prepared() {
				m.lose(x)
			}
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"lists what was committed in one phase", "two phases work beside one", "nothing committed in one phase", func(_ *Subject, m *Memory, p *brokenOne) {
		p.inDoubt = func(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
			list, err := m.InDoubt(ctx, log)
			m.mu.Lock()
			defer m.mu.Unlock()
			for key, e := range m.evidence {
				if key.log == log {
					list = append(list, dtc.InDoubtBranch{XID: e.xid})
				}
			}
			return list, err
		}
	}},
}

// setFences makes it hear of these incarnations only, and returns those it had heard of.
func (m *Memory) setFences(to map[dtc.LogID]uint32) map[dtc.LogID]uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := maps.Clone(m.fences)
	clear(m.fences)
	maps.Copy(m.fences, to)
	return old
}

// restarted kills and starts it again, with the loss of something durable.
func restarted(m *Memory, p *brokenOne, lose func()) func() (dtc.Participant, error) {
	return func() (dtc.Participant, error) {
		m.Crash()
		lose()
		m.Restart(true)
		return p, nil
	}
}

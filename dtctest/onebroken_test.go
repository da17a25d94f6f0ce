package dtctest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
)

// breakage is a participant that breaks a promise, and a part of what the suite says
// about it.
type breakage struct {
	name, promise, says string
	how                 func(s *Subject, m *Memory, p *brokenOne)
}

var oneBreakages = append(brokenIncarnations, []breakage{
	{"does the work again", "has its effect once", "3 times, want 1", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			if m.Committed(b.XID) {
				return dtc.VoteCommit, m.OnCommit(ctx, b)
			}
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"refuses what it has done", "has its effect once", "want vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			if m.Committed(b.XID) {
				return dtc.VoteAbort, errors.New("duplicate key")
			}
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"commits without doing the work", "has its effect once", "0 times, want 1", func(_ *Subject, m *Memory, _ *brokenOne) {
		m.OnCommit = nil
	}},
	{"looks first and writes later", "copies of one commit in one phase", "times, want 1", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = lookThenWrite(m)
	}},
	{"knows XIDs only", "not done again under another XID", "want 0", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.TxID += dtc.TxID(b.XID.String())
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"knows the ids of one incarnation", "not done again under another XID", "by an earlier incarnation: its work can be seen done 1 times", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.TxID += dtc.TxID(fmt.Sprint(b.XID.Incarnation.Nonce))
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"settles by XID", "not done again under another XID", "settle answered rolled_back, want committed", func(_ *Subject, m *Memory, p *brokenOne) {
		p.settle = func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
			if !m.Committed(b.XID) {
				return dtc.RolledBack, nil
			}
			return m.Settle(ctx, b)
		}
	}},
	{"compares no requests", "refuses another request", "commit in one phase of a committed id with another request answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.Fingerprint = [16]byte{}
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"takes another request for another id", "refuses another request", "1 times, want 0", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.TxID += dtc.TxID('a' + b.Fingerprint[0])
			b.Fingerprint = [16]byte{}
			return m.CommitOnePhase(ctx, b)
		}
	}},
	{"refuses and does not say why", "refuses another request", "an error that wraps dtc.ErrTxConflict", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			vote, err := m.CommitOnePhase(ctx, b)
			if errors.Is(err, dtc.ErrTxConflict) {
				err = dtc.Refuse(errors.New("duplicate key"))
			}
			return vote, err
		}
	}},
	{"settles a conflict as committed", "refuses another request", "settle answered committed, want rolled_back", func(_ *Subject, m *Memory, p *brokenOne) {
		p.settle = func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
			m.lose(b.XID)
			b.Fingerprint = [16]byte{}
			return m.Settle(ctx, b)
		}
	}},
	{"prepares another request", "refuses another request", "prepare of a committed id", func(_ *Subject, _ *Memory, p *brokenOne) {
		p.prepare = prepareAnyID(p.Memory)
	}},
	{"forgets what it refused", "is refused has no effect", "refused once: commit in one phase was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			vote, err := m.CommitOnePhase(ctx, b)
			if vote == dtc.VoteAbort {
				m.lose(b.XID)
			}
			return vote, err
		}
	}},
	{"does what it refuses", "is refused has no effect", "1 times, want 0", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.Payload = nil
			_, _ = m.CommitOnePhase(ctx, b)
			return dtc.VoteAbort, nil
		}
	}},
	{"fails and is not settled", "is refused has no effect", "refused once: commit in one phase was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			vote, err := m.CommitOnePhase(ctx, b)
			if vote == dtc.VoteAbort {
				m.lose(b.XID)
				err = errors.New("serialization failure")
			}
			return vote, err
		}
		p.settle = func(context.Context, dtc.Branch) (dtc.Outcome, error) { return dtc.RolledBack, nil }
	}},
	{"shuts nothing for what never came", "settled as rolled back stays so", "was answered vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		p.settle = sealNothing(m)
	}},
	{"needs the payload to settle", "is settled as committed", "settle answered rolled_back, want committed", func(_ *Subject, m *Memory, p *brokenOne) {
		p.settle = func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
			if b.Payload == nil {
				return dtc.RolledBack, nil
			}
			return m.Settle(ctx, b)
		}
	}},
	{"commits what was settled meanwhile", "settle beside a commit in one phase", "1 times, want 0", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = lookThenWrite(m)
	}},
	{"settles for good what it has not waited for", "settle beside a commit in one phase", "settle answered rolled_back, and the commit beside it vote_commit", func(_ *Subject, m *Memory, p *brokenOne) {
		waited := m.OnPrepare
		m.OnPrepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			time.Sleep(5 * time.Millisecond)
			return waited(ctx, b)
		}
		p.settle = sealNothing(m)
	}},
	{"shuts the id for ever", "may run again after it was settled", "first attempt was settled as rolled back, answered vote_abort", func(_ *Subject, m *Memory, p *brokenOne) {
		p.onePhase = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			first := b
			first.XID.Seq--
			if m.State(first.XID) == RolledBack {
				return dtc.VoteAbort, nil
			}
			return m.CommitOnePhase(ctx, b)
		}
	}},
}...)

// lose makes it forget a branch, but no evidence.
func (m *Memory) lose(x dtc.XID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, x)
}

// lookThenWrite commits in two steps that others may come between, and looks at nothing
// but the evidence.
func lookThenWrite(m *Memory) func(context.Context, dtc.Branch) (dtc.Vote, error) {
	return func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
		m.mu.Lock()
		_, done := m.evidence[keyOf(b)]
		m.mu.Unlock()
		if done {
			return dtc.VoteCommit, nil
		}
		time.Sleep(5 * time.Millisecond)
		_ = m.OnCommit(ctx, b)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.evidence[keyOf(b)] = memoryEvidence{xid: b.XID}
		return dtc.VoteCommit, nil
	}
}

// sealNothing takes what has not been committed for something that never will be.
func sealNothing(m *Memory) func(context.Context, dtc.Branch) (dtc.Outcome, error) {
	return func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
		if m.State(b.XID) != Committed {
			return dtc.RolledBack, nil
		}
		return m.Settle(ctx, b)
	}
}

// prepareAnyID prepares as if nothing had ever been committed in one phase.
func prepareAnyID(m *Memory) func(context.Context, dtc.Branch) (dtc.Vote, error) {
	return func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
		b.TxID += "-two"
		return m.Prepare(ctx, b)
	}
}

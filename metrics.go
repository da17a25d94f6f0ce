package dtc

import "github.com/dtc-project/dtc/internal/protocol"

// ActiveByState returns how many transactions are not finished everywhere, by their
// state: active, preparing, committing or rolling_back. All four are always there. One
// that has become heuristic counts under its decision, and one that a hold covers is
// preparing. It costs the same however many there are.
func (c *Coordinator) ActiveByState() map[string]int {
	c.mu.Lock()
	growing, all, ended := c.growing.unfinished.len(), c.live.len(), c.ended
	c.mu.Unlock()
	// What was told is counted before it ends, so these are never too few; what is
	// told after the lock was let go may make them too many for a moment.
	committing := min(int(c.stats.committed.Load()-ended.committed), all-growing)
	rollingBack := min(int(c.stats.rolledBack.Load()-ended.rolledBack), all-growing-committing)
	return map[string]int{
		protocol.Active.String():      growing,
		protocol.Committing.String():  committing,
		protocol.RollingBack.String(): rollingBack,
		protocol.Preparing.String():   all - growing - committing - rollingBack,
	}
}

// endings counts the transactions that are over, by what was decided.
type endings struct{ committed, rolledBack int64 }

// count counts one that ends now. The caller holds c.mu.
func (e *endings) count(decision Outcome) {
	switch decision {
	case Committed:
		e.committed++
	case RolledBack:
		e.rolledBack++
	case OutcomeUnknown, Heuristic:
	}
}

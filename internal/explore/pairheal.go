package explore

import (
	"slices"

	"github.com/dtc-project/dtc/internal/protocol"
)

// heal returns what happens next in a world that is left in peace: requests and
// answers arrive, those that wait for nothing else first.
func (w *pair) heal(r *PairRules) (pairMove, bool) {
	all := w.moves(r, nil)
	for _, peaceful := range [...]func(m pairMove) bool{
		func(m pairMove) bool { return m.what == syncLog || m.what == answerVote },
		func(m pairMove) bool { return m.what == answerFinish || m.what == answerOrphan },
		func(m pairMove) bool {
			return w.wanted(m) || m.what == getRollback && w.run[m.run].part[m.at].adopted
		},
		func(m pairMove) bool { return m.what == giveUp },
		func(m pairMove) bool { return m.what == finishByHand || m.what == release },
		func(m pairMove) bool { return m.what == lookUp && w.showing(r, m.at, w.at[m.at].listed) },
		func(m pairMove) bool { return m.what == takeListing && w.showing(r, m.at, w.prepared(r, int(m.at))) },
	} {
		if at := slices.IndexFunc(all, peaceful); at >= 0 {
			return all[at], true
		}
	}
	return pairMove{}, false
}

// showing reports whether a listing shows something that is not left alone.
func (w *pair) showing(r *PairRules, p, listed uint8) bool {
	for i := range w.run {
		if listed&(1<<i) == 0 {
			continue
		}
		verdict := w.verdict(i, int(p))
		if verdict == protocol.RollBack || verdict == protocol.UnknownIncarnation && !r.NoHold && w.news(i) {
			return true
		}
	}
	return false
}

// wanted reports whether a move is a request that a live transaction waits for.
func (w *pair) wanted(m pairMove) bool {
	if w.run[m.run].tx == nil {
		return false
	}
	state := w.run[m.run].tx.State()
	return state == protocol.Preparing && m.what == getPrepare && protocol.Vote(m.arg) == protocol.VoteCommit ||
		state == protocol.Committing && m.what == getCommit ||
		state == protocol.RollingBack && m.what == getRollback
}

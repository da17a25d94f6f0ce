package explore

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// PairResult is what a walk over a world of two found.
type PairResult struct {
	Rules       *PairRules
	States      int
	Transitions int
	Healed      int
	Deepest     int
	Complete    bool
	Took        time.Duration
	Seen        Sights

	Violated string
	Why      string
	Trace    []string
}

// Sights counts the states in which something is so: a world in which it never is
// shows nothing about it.
type Sights struct {
	BothLive       int // both transactions run
	Refused        int // a late prepare meets low water, and no row
	Passed         int // the older one is below low water and the newer is not
	Orphans        int // a branch is prepared that no log knows
	Held           int // a hold covers a transaction
	Parked         int // and one that was found undecided
	Untold         int // of which the decision to commit was durable
	Released       int // a hold was released
	Rerun          int // an id runs again
	CommittedAfter int // it was told rolled_back, and then committed
}

func (n *Sights) see(r *PairRules, w *pair) {
	count := func(n *int, so bool) {
		if so {
			*n++
		}
	}
	one, two := &w.run[0], &w.run[1]
	count(&n.BothLive, one.tx != nil && two.tx != nil)
	count(&n.Passed, w.below(0, 0) && two.begun && !w.below(1, 0))
	count(&n.Released, w.released > 0)
	count(&n.Rerun, r.SameID && two.begun)
	count(&n.CommittedAfter, r.SameID && one.told == protocol.RolledBack && two.told == protocol.Committed)
	for i := range w.run {
		run := &w.run[i]
		count(&n.Held, run.begun && w.covered(i))
		count(&n.Parked, run.parked)
		count(&n.Untold, run.begun && w.covered(i) && w.untold(i))
		for p := range r.At[i] {
			b := &run.part[p]
			count(&n.Refused, b.sent&prepareSent != 0 && b.row == none && w.below(i, int(p)))
			count(&n.Orphans, b.orphan)
		}
	}
}

// String is the line that a test prints.
func (r *PairResult) String() string {
	return fmt.Sprintf("%v: %d states, %d transitions, %d deep, %d healed, %+v, %.1f s",
		r.Rules, r.States, r.Transitions, r.Deepest, r.Healed, r.Seen, r.Took.Seconds())
}

// Story is the counterexample.
func (r *PairResult) Story() string {
	return r.Violated + ": " + r.Why + "\n" + strings.Join(r.Trace, "\n")
}

// String describes a world.
func (r *PairRules) String() string {
	s := fmt.Sprintf("two transactions at %d and %d, %d crashes, %d restores", r.At[0], r.At[1], r.Crashes, r.Restores)
	if r.SameID {
		s += ", one id"
	}
	if r.NoHold {
		s += ", no hold"
	}
	return s
}

// pairWalker walks one world of two.
type pairWalker struct {
	PairResult
	set     set
	parents []uint32
	by      []pairMove
	key     []byte
	step    pairStep
	end     time.Time
	watch   func(from, to *pair)
}

// ExplorePair walks every state of a world of two, like Explore.
func ExplorePair(r *PairRules, limit int) *PairResult { return explorePair(r, limit, time.Time{}, nil) }

func explorePair(r *PairRules, limit int, end time.Time, watch func(from, to *pair)) *PairResult {
	start := time.Now()
	x := &pairWalker{PairResult: PairResult{Rules: r}, set: newSet(), end: end, watch: watch}
	x.step.r = r
	x.walk(limit)
	x.Took = time.Since(start)
	return &x.PairResult
}

func (x *pairWalker) walk(limit int) {
	level := []pair{newPair()}
	first := uint32(0)
	x.reach(&level[0], 0, pairMove{})
	var moves []pairMove
	for ; len(level) > 0; x.Deepest++ {
		var next []pair
		for n := range level {
			w, me := &level[n], first+uint32(n)
			x.Seen.see(x.Rules, w)
			if rest, ok := x.heal(w); !ok {
				x.found(me, rest)
				return
			}
			moves = w.moves(x.Rules, moves[:0])
			for _, m := range moves {
				to := *w
				x.Transitions++
				x.step.pair = &to
				if x.step.make(m); x.step.wrong != "" {
					x.found(me, []pairMove{m})
					return
				}
				if x.watch != nil {
					x.watch(w, &to)
				}
				if to != *w && x.reach(&to, me, m) {
					next = append(next, to)
				}
			}
			if x.States > limit || me%4096 == 0 && !x.end.IsZero() && time.Now().After(x.end) {
				return
			}
		}
		first += uint32(len(level))
		level = next
	}
	x.Complete = true
}

func (x *pairWalker) sum(w *pair) sum {
	x.key = w.key(x.Rules, x.key[:0])
	return hash(x.key)
}

func (x *pairWalker) reach(w *pair, parent uint32, by pairMove) bool {
	if x.set.mark(x.sum(w), seen)&seen != 0 {
		return false
	}
	x.States++
	x.parents, x.by = append(x.parents, parent), append(x.by, by)
	return true
}

// heal leaves a world in peace until it is known to come to rest. It returns the
// moves made if something is wrong on the way.
func (x *pairWalker) heal(w *pair) (made []pairMove, ok bool) {
	at := *w
	x.step.pair = &at
	var path []sum
	for range maxHeal {
		h := x.sum(&at)
		if x.set.has(h, healed) {
			break
		}
		path = append(path, h)
		m, more := at.heal(x.Rules)
		if more {
			made = append(made, m)
			x.step.make(m)
		} else {
			x.step.checkRest()
		}
		if len(path) == maxHeal {
			x.step.fail("rest", "the world does not come to rest")
		}
		if x.step.wrong != "" {
			return made, false
		}
		if !more {
			break
		}
	}
	for _, h := range path {
		if x.set.mark(h, healed)&healed == 0 {
			x.Healed++
		}
	}
	return nil, true
}

// heal returns what happens next in a world that is left in peace: requests and
// answers arrive, those that wait for nothing else first.
func (w *pair) heal(r *PairRules) (pairMove, bool) {
	all := w.moves(r, nil)
	for _, peaceful := range [...]func(m pairMove) bool{
		func(m pairMove) bool { return m.what == syncLog || m.what == answerVote },
		func(m pairMove) bool { return m.what == answerFinish || m.what == answerOrphan },
		func(m pairMove) bool { return w.run[m.run].tx != nil && w.wanted(m) || m.what == getRollback && w.run[m.run].part[m.at].adopted },
		func(m pairMove) bool { return m.what == giveUp },
		func(m pairMove) bool { return m.what == finishByHand || m.what == release },
		func(m pairMove) bool { return m.what == lookUp },
		func(m pairMove) bool { return m.what == takeListing && w.prepared(r, int(m.at)) != 0 },
	} {
		if at := slices.IndexFunc(all, peaceful); at >= 0 {
			return all[at], true
		}
	}
	return pairMove{}, false
}

// wanted reports whether a move is a request that a live transaction waits for.
func (w *pair) wanted(m pairMove) bool {
	switch tx := w.run[m.run].tx; m.what {
	case getPrepare:
		return tx.State() == protocol.Preparing && protocol.Vote(m.arg) == protocol.VoteCommit
	case getCommit:
		return tx.State() == protocol.Committing
	case getRollback:
		return tx.State() == protocol.RollingBack
	default:
		return false
	}
}

// found writes the trace of a violation: the moves to a state, and those after it.
func (x *pairWalker) found(me uint32, after []pairMove) {
	for n := me; n != 0; n = x.parents[n] {
		after = append([]pairMove{x.by[n]}, after...)
	}
	for _, m := range after {
		x.Trace = append(x.Trace, m.words())
	}
	x.Violated, x.Why = x.step.wrong, x.step.why
}

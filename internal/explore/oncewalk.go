package explore

import "time"

// onceWalker walks one world of one phase.
type onceWalker struct {
	OnceResult
	set     set
	parents []uint32
	by      []onceMove
	key     []byte
	step    onceStep
	end     time.Time
	watch   func(from, to *onceWorld) // a state beside itself, and each move that is right
}

// ExploreOnce walks every state of a world of one phase, like Explore.
func ExploreOnce(r *OnceRules, limit int) *OnceResult {
	return exploreOnce(r, limit, time.Time{}, func(_, _ *onceWorld) {})
}

func exploreOnce(r *OnceRules, limit int, end time.Time, watch func(from, to *onceWorld)) *OnceResult {
	start := time.Now()
	x := &onceWalker{OnceResult: OnceResult{Rules: r}, set: newSet(), end: end, watch: watch}
	x.step.r = r
	x.walk(limit)
	x.Took = time.Since(start)
	return &x.OnceResult
}

func (x *onceWalker) walk(limit int) {
	level := []onceWorld{newOnce()}
	first := uint32(0)
	x.reach(&level[0], 0, onceMove{})
	var moves []onceMove
	for len(level) > 0 {
		var next []onceWorld
		for n := range level {
			w, me := &level[n], first+uint32(n)
			x.Seen.see(w)
			x.watch(w, w)
			if rest, ok := x.heal(w); !ok {
				x.found(me, rest)
				return
			}
			moves = w.moves(x.Rules, moves[:0])
			for _, m := range moves {
				to := *w
				x.Transitions++
				x.step.onceWorld = &to
				if x.step.make(m); x.step.wrong != "" {
					x.found(me, []onceMove{m})
					return
				}
				x.watch(w, &to)
				if to != *w && x.reach(&to, me, m) {
					next = append(next, to)
				}
			}
			if x.States > limit || me%4096 == 0 && !x.end.IsZero() && time.Now().After(x.end) {
				return
			}
		}
		first += uint32(len(level))
		if level = next; len(level) > 0 {
			x.Deepest++
		}
	}
	x.Complete = true
}

func (x *onceWalker) sum(w *onceWorld) sum {
	x.key = w.key(x.Rules, x.key[:0])
	return hash(x.key)
}

func (x *onceWalker) reach(w *onceWorld, parent uint32, by onceMove) bool {
	if x.set.mark(x.sum(w), seen)&seen != 0 {
		return false
	}
	x.States++
	x.parents, x.by = append(x.parents, parent), append(x.by, by)
	return true
}

// heal leaves a world in peace until it is known to come to rest. It returns the
// moves made if something is wrong on the way.
func (x *onceWalker) heal(w *onceWorld) (made []onceMove, ok bool) {
	at := *w
	x.step.onceWorld = &at
	var path []sum
	for range maxHeal {
		h := x.sum(&at)
		if x.set.isHealed(h) {
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

// found writes the trace of a violation: the moves to a state, and those after it.
func (x *onceWalker) found(me uint32, after []onceMove) {
	for n := me; n != 0; n = x.parents[n] {
		after = append([]onceMove{x.by[n]}, after...)
	}
	for _, m := range after {
		x.Trace = append(x.Trace, m.words())
	}
	x.Violated, x.Why = x.step.wrong, x.step.why
}

package explore

import "time"

// walker walks one world.
type walker[R any, W comparable, M any] struct {
	Walk
	rules *R
	start W
	step  stepper[R, W, M]
	notes *notes // of step
	watch []watch[W, M]
	limit int
	end   time.Time

	set     set
	parents []uint32 // of each state, in the order in which they were found
	by      []M      // the move that led to it
	aside   []M      // a violation in a world left in peace at asideAt
	asideAt uint32

	// For use again and again.
	to, at W
	key    []byte
	moves  []M
	path   []sum
	made   []M
}

// node is a state, and the sum of its key.
type node[W any] struct {
	w   W
	sum sum
}

// maxHeal is how many moves a world left in peace may take to come to rest.
const maxHeal = 100

// walk walks every state of a world, breadth first from start, until one is wrong, all are
// seen, there are more than limit, or the time is over, unless end is zero. From each state
// the world is also left in peace, until it is known to come to rest. A counterexample is
// the shortest one, unless the stepper is hasty.
func walk[R any, W comparable, M any](
	r *R, start W, s stepper[R, W, M], limit int, end time.Time, as ...watch[W, M],
) Walk {
	began := time.Now()
	x := &walker[R, W, M]{rules: r, start: start, step: s, notes: s.noted(), watch: as, limit: limit, end: end, set: newSet()}
	x.Complete = x.levels()
	if x.Violated == "" && x.aside != nil {
		x.Complete = false
		x.found(x.asideAt, nil, x.aside)
	}
	x.Took = time.Since(began)
	return x.Walk
}

// levels walks the states that are the same number of moves away, and then those after
// them. It reports whether it has walked all.
func (x *walker[R, W, M]) levels() bool {
	var none M
	x.to = x.start
	level, next := x.reach(nil, 0, none), []node[W](nil)
	for first := uint32(0); ; x.Deepest++ { // the number of level[0]
		next = next[:0]
		for n := range level {
			var ok bool
			if next, ok = x.visit(&level[n], first+uint32(n), next); !ok {
				return false
			}
		}
		first += uint32(len(level))
		if level, next = next, level; len(level) == 0 {
			return true
		}
	}
}

// visit makes all moves of a state, and appends the new states to next. It reports whether
// to go on.
func (x *walker[R, W, M]) visit(from *node[W], me uint32, next []node[W]) ([]node[W], bool) {
	for i := range x.watch {
		if see := x.watch[i].state; see != nil {
			see(&from.w)
		}
	}
	if !x.heal(from, me) {
		return next, false
	}
	x.step.in(&from.w)
	x.moves = x.step.moves(x.rules, x.moves[:0])
	for _, m := range x.moves {
		x.Transitions++
		x.to = from.w
		x.step.in(&x.to)
		if x.step.make(m); x.notes.wrong != "" {
			x.found(me, []M{m}, nil)
			return next, false
		}
		for i := range x.watch {
			if see := x.watch[i].step; see != nil {
				see(&from.w, &x.to, m)
			}
		}
		if x.to != from.w {
			next = x.reach(next, me, m)
		}
	}
	return next, x.States <= x.limit && (me%4096 != 0 || x.end.IsZero() || time.Now().Before(x.end))
}

func (x *walker[R, W, M]) sum(w *W) sum {
	x.step.in(w)
	x.key = x.step.key(x.rules, x.key[:0])
	return hash(x.key)
}

// reach notes the state x.to, and appends it to level if it is new.
func (x *walker[R, W, M]) reach(level []node[W], parent uint32, by M) []node[W] {
	h := x.sum(&x.to)
	if x.set.mark(h, seen)&seen != 0 {
		return level
	}
	x.States++
	x.parents, x.by = append(x.parents, parent), append(x.by, by)
	return append(level, node[W]{x.to, h})
}

// heal leaves a world in peace until it is known to come to rest.
func (x *walker[R, W, M]) heal(from *node[W], me uint32) bool {
	x.path, x.made = x.path[:0], x.made[:0]
	x.at = from.w
	for h := from.sum; len(x.path) < maxHeal && !x.set.isHealed(h); h = x.sum(&x.at) {
		x.path = append(x.path, h)
		x.step.in(&x.at)
		m, more := x.step.heal(x.rules)
		if more {
			x.made = append(x.made, m)
			x.step.make(m)
		} else {
			x.rest()
		}
		if len(x.path) == maxHeal {
			x.notes.fail("rest", "the world does not come to rest")
		}
		switch {
		case x.notes.wrong == "":
		case x.notes.hasty:
			x.found(me, x.made, nil)
			return false
		case x.notes.wrong == "rest":
			x.found(me, nil, x.made)
			return false
		default:
			x.later(me)
			return true
		}
		if !more {
			break
		}
	}
	for _, h := range x.path {
		if x.set.mark(h, healed)&healed == 0 {
			x.Healed++
		}
	}
	return true
}

func (x *walker[R, W, M]) rest() {
	x.step.checkRest()
	for i := range x.watch {
		if see := x.watch[i].rest; see != nil {
			see(&x.at)
		}
	}
}

// later puts aside a violation that a world left in peace runs into: the walk
// will come to it too, by the shortest way, unless it takes more crashes. If the walk ends
// without it, it is what was found.
func (x *walker[R, W, M]) later(me uint32) {
	if x.aside == nil {
		x.aside, x.asideAt = append([]M(nil), x.made...), me
	}
	x.notes.wrong, x.notes.why = "", ""
}

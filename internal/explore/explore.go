package explore

import (
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// explorer walks one world.
type explorer struct {
	Result
	set     set
	parents []uint32 // of each state, in the order in which they were found
	by      []uint16 // the move that led to it
	key     []byte
	path    []sum
	step    step
	end     time.Time
	aside   []move // a violation in a world left in peace at asideAt
	asideAt uint32
	watch   watch
}

// watch lets tests look on; any of it may be nil.
type watch struct {
	state func(w *world)        // each state, once
	step  func(from, to *world) // each move that is right
	rest  func(w *world)        // where a world left in peace comes to rest
}

// maxHeal is how many moves a world left in peace may take to come to rest.
const maxHeal = 100

// Explore walks every state of a world, until one is wrong, all are seen, or
// there are more than limit.
func Explore(r *Rules, limit int) *Result { return explore(r, limit, time.Time{}) }

// explore also stops when the time is over, unless it is zero.
func explore(r *Rules, limit int, end time.Time) *Result {
	return exploreAs(r, limit, end, watch{})
}

func exploreAs(r *Rules, limit int, end time.Time, as watch) *Result {
	start := time.Now()
	x := &explorer{Result: Result{Rules: r}, set: newSet(), end: end, watch: as}
	x.step.r = r
	x.walk(limit)
	x.Took = time.Since(start)
	return &x.Result
}

func (x *explorer) walk(limit int) {
	level := []world{newWorld()}
	first := uint32(0) // the number of level[0]
	x.reach(&level[0], 0, move{})
	var moves []move
	for len(level) > 0 {
		var next []world
		for n := range level {
			w := &level[n]
			me := first + uint32(n)
			if x.watch.state != nil {
				x.watch.state(w)
			}
			if !x.heal(w, me) {
				return
			}
			moves = w.moves(x.Rules, moves[:0])
			for _, m := range moves {
				to := *w
				if !x.try(&to, w, m) {
					x.found(me, m, nil)
					return
				}
				if x.watch.step != nil {
					x.watch.step(w, &to)
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
		if len(level) > 0 {
			x.Deepest++
		}
	}
	if x.aside != nil {
		x.found(x.asideAt, move{}, x.aside)
		return
	}
	x.Complete = true
}

// try makes a move in the world to, which is a copy of from.
func (x *explorer) try(to, from *world, m move) bool {
	x.Transitions++
	x.step.world = to
	x.step.make(m)
	if m.what == crash {
		x.Crashes++
	}
	if to.told != from.told {
		switch to.told {
		case protocol.Committed:
			x.Committed++
		case protocol.RolledBack:
			x.RolledBack++
		case protocol.OutcomeUnknown, protocol.Heuristic:
		}
	}
	return x.step.wrong == ""
}

func (x *explorer) sum(w *world) sum {
	x.key = w.key(x.Rules, x.key[:0])
	return hash(x.key)
}

// reach notes a state and reports whether it is new.
func (x *explorer) reach(w *world, parent uint32, by move) bool {
	if x.set.mark(x.sum(w), seen)&seen != 0 {
		return false
	}
	x.States++
	x.parents = append(x.parents, parent)
	x.by = append(x.by, by.pack())
	return true
}

// heal leaves a world in peace until it is known to come to rest.
func (x *explorer) heal(w *world, me uint32) bool {
	at := *w
	x.path = x.path[:0]
	var rest []move
	for range maxHeal {
		h := x.sum(&at)
		if x.set.isHealed(h) {
			break
		}
		x.path = append(x.path, h)
		x.step.world = &at
		m, more := at.heal(x.Rules)
		if more {
			rest = append(rest, m)
			x.step.make(m)
		} else {
			x.step.checkRest()
			if x.watch.rest != nil {
				x.watch.rest(&at)
			}
		}
		if len(x.path) == maxHeal {
			x.step.fail("rest", "the world does not come to rest")
		}
		if x.step.wrong == "rest" {
			x.found(me, move{}, rest)
			return false
		}
		if x.step.wrong != "" {
			return x.later(me, rest)
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

// later puts aside a violation that a world left in peace runs into: the walk
// will come to it too, by the shortest way, unless it takes more crashes.
func (x *explorer) later(me uint32, rest []move) bool {
	if x.aside == nil {
		x.aside, x.asideAt = append([]move(nil), rest...), me
	}
	x.step.wrong, x.step.why = "", ""
	return true
}

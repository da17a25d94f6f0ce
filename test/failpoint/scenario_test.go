package failpoint_test

import (
	"maps"
	"slices"
)

// prior are the points at which an earlier life must have been killed, so that a later
// one comes to a point at all.
var prior = map[string]string{
	"wal/open-stale-removed": "wal/checkpoint-dir-synced",
	"wal/open-superseded":    "tx/begun", // a log so short is taken over whole
}

// needsCopy are the points to which only the opening of a copied log comes.
var needsCopy = []string{"wal/open-hold", "hold/parked", "hold/unparked"}

// midway is where a life is killed if its point comes in the next one only: in the
// middle of several transactions.
const midway = "tx/vote-received"

// undecided is where a life is killed that must leave a transaction undecided in its log,
// because only such are parked. In a life that is killed midway the records of all that
// run may still wait behind a sync, above all on a busy machine.
const undecided = "tx/prepare-synced"

// rehearsal is what two lives hit that nobody kills at a point of interest.
type rehearsal struct {
	fresh, recovering, working map[string]int
}

// points returns every point that was hit, sorted.
func (r *rehearsal) points() (all []string) {
	for _, m := range []map[string]int{r.fresh, r.recovering, r.working} {
		for p := range m {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	slices.Sort(all)
	return all
}

// add adds what the records of a life hold.
func (r *rehearsal) add(w *world, l life, e end) {
	w.t.Helper()
	for _, record := range e.records {
		recovering, working, _, err := hits(record)
		if err != nil {
			w.t.Fatal(err)
		}
		for p, n := range recovering {
			if l.settle {
				r.recovering[p] += n
			} else {
				r.fresh[p] += n
			}
		}
		for p, n := range working {
			r.working[p] += n
		}
	}
}

// rehearse lives two lives: one that is killed midway, and one that finishes what that
// left, works, and is closed.
func rehearse(w *world, work int, copied bool) *rehearsal {
	w.t.Helper()
	r := &rehearsal{map[string]int{}, map[string]int{}, map[string]int{}}
	for _, l := range []life{
		{work: work, arm: arm{point: midway, hit: work}},
		{settle: true, work: work, copied: copied},
	} {
		e := w.live(l)
		if l.arm.kills() && !e.killed {
			w.t.Fatalf("it was not killed at %v", l.arm)
		}
		r.add(w, l, e)
	}
	w.finish()
	return r
}

// later is a hit in the middle of a life.
func (r *rehearsal) later(point string) int { return max(r.fresh[point], r.working[point])/2 + 1 }

// last is the last hit in a life.
func (r *rehearsal) last(point string) int { return max(r.fresh[point], r.working[point], 1) }

// kills are what a scenario does.
type kills struct {
	point string
	hit   int    // of the first kill
	other string // where the life is killed that recovers
	later int    // the hit of one more life that works; 1: none
	work  int    // how many transactions a life runs
	// recovering: the first kill must come before everything was finished that an earlier
	// life had left.
	recovering bool
}

// settles are the points at which a transaction in one phase is settled. At work they come
// sooner than in recovery, to which they belong as much.
var settles = []string{"tx/settle-queued", "tx/settle-sent", "tx/settled"}

// play kills a life at a point: the first that comes to it. Then it kills one that
// recovers from that, and one more at work, and a last life finishes everything.
func (r *rehearsal) play(w *world, k kills) {
	w.t.Helper()
	copied := slices.Contains(needsCopy, k.point)
	first := life{work: k.work, arm: arm{point: k.point, hit: k.hit}, copied: copied}
	var earlier arm
	if r.fresh[k.point] == 0 || k.hit == 1 && r.fresh[k.point] < r.recovering[k.point] || copied || k.recovering {
		earlier, first.settle = arm{point: midway, hit: k.work / 2}, true
		switch p := prior[k.point]; {
		case k.recovering: // at least one waits to be settled
			earlier = arm{point: "tx/settle-sent", hit: 4}
		case copied:
			earlier = arm{point: undecided, hit: k.work / 10}
		case p != "":
			earlier = arm{point: p, hit: 1}
		}
	}
	killed, tries := false, 4 // not every life comes to each point
	if k.recovering {
		tries = 16 // a record for which nobody waits may not have left the process
	}
	for range tries {
		if first.settle { // also again: a life that was not killed has left nothing to find
			w.live(life{work: k.work, arm: earlier})
		}
		e := w.live(first)
		if killed = e.killed && (e.recovering || !k.recovering); killed || k.hit > 1 {
			break
		}
	}
	if !killed && k.hit == 1 {
		w.t.Errorf("nothing was killed at the first hit of %s (while it recovered: %v)", k.point, k.recovering)
	}
	w.live(life{settle: true, arm: arm{point: k.other, hit: 1}, copied: slices.Contains(needsCopy, k.other)})
	if k.later > 1 {
		w.live(life{work: k.work, arm: arm{point: k.point, hit: k.later}})
	}
	w.finish()
}

// recoverable returns the points that a life comes to while it recovers, sorted.
func (r *rehearsal) recoverable() []string { return slices.Sorted(maps.Keys(r.recovering)) }

// other returns where to kill the life that recovers from scenario number i: at the same
// point, if it comes there, or at each in turn.
func (r *rehearsal) other(point string, i int) string {
	if r.recovering[point] > 0 {
		return point
	}
	all := r.recoverable()
	return all[i%len(all)]
}

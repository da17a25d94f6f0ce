package failpoint_test

import (
	"fmt"
	"slices"
	"testing"
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

// rehearse lives two lives: one that is killed midway, and one that finishes what that
// left, works, and is closed.
func rehearse(w *world, work int, copied bool) *rehearsal {
	w.t.Helper()
	r := &rehearsal{}
	var err error
	e := w.live(life{work: work, arm: arm(midway, work)})
	if !e.killed {
		w.t.Fatalf("it was not killed at hit %d of %s", work, midway)
	}
	if r.fresh, _, _, err = hits(e.records[0]); err != nil {
		w.t.Fatal(err)
	}
	e = w.live(life{settle: true, work: work, copied: copied})
	if r.recovering, r.working, _, err = hits(e.records[0]); err != nil {
		w.t.Fatal(err)
	}
	w.finish()
	return r
}

func arm(point string, hit int) string { return fmt.Sprintf("%s:%d:kill", point, hit) }

// scenario kills lives at a point: the first that comes to it, at its first hit; then
// those that recover, at the same point if they come to it, and at others; then one at
// work, at a later hit; and again one that recovers. A last one finishes everything.
func scenario(w *world, r *rehearsal, point string, work, later int, others []string) {
	w.t.Helper()
	copied := slices.Contains(needsCopy, point)
	killed := false
	if r.fresh[point] == 0 || r.fresh[point] < r.recovering[point] || copied {
		first := prior[point]
		if first == "" {
			first = midway
		}
		hit := 1
		if first == midway {
			hit = work / 2
		}
		w.live(life{work: work, arm: arm(first, hit)})
		killed = w.live(life{settle: true, work: work, arm: arm(point, 1), copied: copied}).killed
	} else {
		killed = w.live(life{work: work, arm: arm(point, 1)}).killed
	}
	if !killed {
		w.t.Errorf("nothing was killed at the first hit of %s", point)
	}
	if r.recovering[point] > 0 {
		w.live(life{settle: true, arm: arm(point, 1), copied: copied})
	}
	recover := func(points []string) {
		for _, p := range points {
			w.live(life{settle: true, arm: arm(p, 1), copied: slices.Contains(needsCopy, p)})
		}
	}
	half := (len(others) + 1) / 2
	recover(others[:half])
	if later > 1 {
		w.live(life{work: work, arm: arm(point, later)})
	}
	recover(others[half:])
	w.finish()
}

// others returns which points a scenario uses for the lives that recover: so many of
// them, in turn.
func others(all []string, scenario, n int) (points []string) {
	for i := range n {
		points = append(points, all[(scenario*n+i)%len(all)])
	}
	return points
}

// wantAll fails the test for each point that was not hit, or at which nothing was killed.
func wantAll(t *testing.T, all []string, sums ...*sum) {
	t.Helper()
	for _, p := range all {
		hit, killed := 0, 0
		for _, s := range sums {
			hit += s.hits[p]
			killed += s.kills[p]
		}
		switch {
		case hit == 0:
			t.Errorf("%s: it was never hit", p)
		case killed == 0:
			t.Errorf("%s: nothing was killed there in %d hits", p, hit)
		}
	}
}

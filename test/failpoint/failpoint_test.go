package failpoint_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
)

// installation is a form of the coordinator, as it is tried here.
type installation struct {
	name   string
	form   func(t *testing.T) form
	work   int  // transactions in a life
	copies bool // its log may be copied: somebody releases the hold
}

var installations = []installation{
	{"library", func(t *testing.T) form { return library{child: build(t, "child", "failpoint")} }, 45, true},
	{"server", func(t *testing.T) form {
		return &server{dtc: build(t, "dtc", "failpoint"), child: build(t, "child", "failpoint")}
	}, 27, false},
}

// A process that is killed at any step, and killed again while it recovers from that,
// never leaves a transaction half done and never goes back on its word.
//
// DTC_SOAK_HOURS takes every hit of every point, and every pair of a point and one at
// which the recovery from it is killed, for that long at most.
func TestKilledAtEachStep(t *testing.T) {
	sums := make([]*sum, len(installations))
	for i, in := range installations {
		sums[i] = newSum()
		t.Run(in.name, func(t *testing.T) { in.killAtEach(t, sums[i]) })
	}
	if t.Failed() {
		return // what is missing below is missing because of that
	}
	all, points := sumOf(sums...), names(t)
	for _, p := range points {
		switch {
		case all.hits[p] == 0:
			t.Errorf("%s: it was never hit", p)
		case all.kills[p] == 0:
			t.Errorf("%s: nothing was killed there in %d hits", p, all.hits[p])
		}
	}
	report(t, "failpoints", all, len(points))
}

// report prints and keeps the counts of a run.
func report(t *testing.T, of string, s *sum, points int) {
	t.Helper()
	tally.Add(t, of, "points at which a process was killed", int64(len(s.kills)), int64(points))
	tally.Add(t, of, "hits of them", total(s.hits), int64(100*points))
	tally.Add(t, of, "kills", total(s.kills), int64(points*9/5))
	tally.Add(t, of, "kills during the recovery from one", total(s.inRecovery), int64(points*4/5))
	tally.Add(t, of, "points at which a recovery was killed", int64(len(s.inRecovery)), 40)
	tally.Add(t, of, "lives of a coordinator", int64(s.lives), int64(points*14/5))
	tally.Add(t, of, "histories that finished and were judged", int64(s.judged), int64(points))
	t.Logf("%s: %d lives did not come to the hit at which they were to be killed", of, s.missed)
}

func (in *installation) killAtEach(t *testing.T, s *sum) {
	r := rehearse(newWorld(t, s, in.form(t)), in.work, in.copies)
	points := names(t)
	if in.name == "library" {
		points = slices.DeleteFunc(points, ofServer)
	} else {
		// Segments have their full size, nobody holds the log, and all participants vote:
		// where one does not answer, that is by chance.
		chance := []string{"tx/no-answer", "tx/retry", "tx/timed-out", "lane/down", "lane/up"}
		points = slices.DeleteFunc(points, func(p string) bool {
			return !slices.Contains(r.points(), p) || slices.Contains(chance, p)
		})
	}
	var todo []kills
	for i, p := range points {
		k := kills{point: p, hit: 1, other: r.other(p, i), later: r.later(p), work: in.work}
		if in.name == "server" && !ofServer(p) {
			k.later = 1 // that is the library's
		}
		todo = append(todo, k)
		if slices.Contains(settles, p) {
			todo = append(todo, kills{point: p, hit: 1, other: p, later: 1, work: in.work, recovering: true})
		}
	}
	in.play(t, s, r, todo, time.Time{})
	for _, p := range points {
		if s.kills[p] == 0 && !t.Failed() {
			t.Errorf("%s: nothing was killed there in %d hits", p, s.hits[p])
		}
	}
	for _, p := range points {
		if s.inRecovery[p] == 0 && (ofRecovery(p) && r.recovering[p] > 0 || slices.Contains(settles, p)) && !t.Failed() {
			t.Errorf("%s: no recovery was killed there, and each comes there", p)
		}
	}
	report(t, "failpoints of the "+in.name, s, len(points))
	if hours := soak(t); hours > 0 {
		in.soak(t, s, r, points, hours/time.Duration(len(installations)))
	}
}

// soak takes every hit of every point, and every pair.
func (in *installation) soak(t *testing.T, s *sum, r *rehearsal, points []string, d time.Duration) {
	var todo []kills
	for i, p := range points {
		for hit := 2; hit <= r.last(p); hit++ {
			todo = append(todo, kills{point: p, hit: hit, other: r.other(p, i+hit), later: 1, work: in.work})
		}
		for _, other := range r.recoverable() {
			todo = append(todo, kills{point: p, hit: 1, other: other, later: 1, work: in.work})
		}
	}
	rand.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	before := s.judged
	in.play(t, s, r, todo, time.Now().Add(d))
	t.Logf("%s: %d of %d scenarios with other hits and pairs", in.name, s.judged-before, len(todo))
	report(t, "failpoints of the "+in.name+", soaked", s, len(points))
}

// play plays scenarios, a few at a time: they wait more than they work.
func (in *installation) play(t *testing.T, s *sum, r *rehearsal, todo []kills, until time.Time) {
	work := make(chan kills)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for k := range work {
				name := fmt.Sprintf("%s:%d then %s", k.point, k.hit, k.other)
				if k.recovering {
					name += ", recovering"
				}
				t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
					r.play(newWorld(t, s, in.form(t)), k)
				})
			}
		})
	}
	for _, k := range todo {
		if !until.IsZero() && time.Now().After(until) {
			break
		}
		work <- k
	}
	close(work)
	wg.Wait()
}

// ofServer reports whether only a server, or a participant over HTTP, has a point.
func ofServer(point string) bool {
	group, _, _ := strings.Cut(point, "/")
	return group == "serve" || group == "http" || group == "part"
}

// ofRecovery reports whether every life that recovers comes to a point; to hold/parked if
// the log is a copy.
func ofRecovery(point string) bool {
	for _, prefix := range []string{"recover/", "sweep/", "wal/open-locked", "wal/open-read", "wal/open-fresh", "wal/opened", "hold/parked", "hold/unparked"} {
		if strings.HasPrefix(point, prefix) {
			return true
		}
	}
	return false
}

func soak(t *testing.T) time.Duration {
	text := os.Getenv("DTC_SOAK_HOURS")
	if text == "" {
		return 0
	}
	hours, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("DTC_SOAK_HOURS: %v", err)
	}
	return time.Duration(hours * float64(time.Hour))
}

// A coordinator, or a participant, that stands still at a step for longer than others
// wait for it is no danger either.
func TestStoppedAtSteps(t *testing.T) {
	const pause = 700 * time.Millisecond // an attempt takes 500 ms at most
	stops := map[string][]string{
		"library": {"wal/before-sync", "tx/decision-synced", "tx/vote-received", "wal/checkpoint-dir-synced"},
		"server": {
			"wal/before-write", "wal/after-sync", "tx/prepare-sent", "tx/decision-synced", "http/to-participant",
			"http/from-participant", "serve/reply", "tx/told", "part/received", "part/called",
		},
	}
	s := newSum()
	var wg sync.WaitGroup
	for _, in := range installations {
		for _, p := range stops[in.name] {
			wg.Go(func() {
				t.Run(in.name+"-"+strings.ReplaceAll(p, "/", "-"), func(t *testing.T) {
					w := newWorld(t, s, in.form(t))
					work := in.work * 3 / 2 // so that the log needs a second checkpoint
					if !w.live(life{work: work, arm: arm{point: p, hit: 2, stop: pause}}).stopped {
						t.Errorf("nothing was stopped at the second hit of %s", p)
					}
					w.live(life{work: in.work, arm: arm{point: midway, hit: in.work}})
					w.live(life{settle: true, arm: arm{point: "recover/resent", hit: 1, stop: pause}})
					w.finish()
				})
			})
		}
	}
	wg.Wait()
	tally.Add(t, "failpoints", "stops for longer than a timeout", total(s.stops), int64(len(stops["library"])+len(stops["server"])))
}

package failpoint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc/test/failpoint/internal/node"
)

// life is what happens between the start of a coordinator and its end.
type life struct {
	arm    arm  // the zero value: nothing
	settle bool // finish what is there before new work
	work   int  // how many transactions to run
	copied bool // the log is a copy
	ask    bool // how everything ended
}

// end is how a life ended.
type end struct {
	killed, stopped bool // as it was armed
	recovering      bool // when it was killed: what was found was not finished yet
	records         []string
}

// arm says at which hit of which point a process is to be killed or stopped.
type arm struct {
	point string
	hit   int
	stop  time.Duration // 0: killed; else stopped for so long
}

// String returns what package failpoint reads.
func (a arm) String() string {
	switch {
	case a.point == "":
		return ""
	case a.stop > 0:
		return fmt.Sprintf("%s:%d:stop", a.point, a.hit)
	}
	return fmt.Sprintf("%s:%d:kill", a.point, a.hit)
}

// kills reports whether a process may end by SIGKILL.
func (a arm) kills() bool { return a.point != "" && a.stop == 0 }

// form is a way in which coordinators are used.
type form interface {
	// live lives a life. Whatever is wrong is noted in the ledger.
	live(w *world, l life) (end, error)
	close()
}

// world is a directory in which one life follows another.
type world struct {
	*ledger
	t    *testing.T
	dir  string
	form form
	sum  *sum
	// mild: what is wrong is what the test is about, and does not fail it.
	mild bool
}

func newWorld(t *testing.T, s *sum, f form) *world {
	w := &world{ledger: newLedger(), t: t, dir: t.TempDir(), form: f, sum: s}
	t.Cleanup(f.close)
	return w
}

// live lives a life and counts what happened in it.
func (w *world) live(l life) end {
	w.t.Helper()
	number := w.begins()
	if l.copied {
		w.copyLog()
	}
	e, err := w.form.live(w, l)
	w.ends()
	if err != nil {
		w.t.Fatalf("life %d (%+v): %v", number, l, err)
	}
	w.sum.add(w.t, l, e)
	w.complain()
	return e
}

// complain ends the test if anything is wrong.
func (w *world) complain() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) > 0 && !w.mild {
		w.t.Fatalf("%s", strings.Join(w.wrong[:min(len(w.wrong), 20)], "\n"))
	}
}

// finish lives a last life, in which nothing is killed, and looks into the files.
func (w *world) finish() {
	w.t.Helper()
	w.live(life{settle: true, ask: true})
	if err := w.judge(w.dir); err != nil {
		w.t.Fatal(err)
	}
	w.complain()
	w.sum.count(&w.sum.judged)
}

// copyLog puts a copy in the place of the log. The next opening must notice.
func (w *world) copyLog() {
	w.t.Helper()
	log := node.LogDir(w.dir)
	if _, err := os.Stat(log); err != nil {
		return
	}
	if err := os.CopyFS(log+".copy", os.DirFS(log)); err != nil {
		w.t.Fatal(err)
	}
	if err := os.RemoveAll(log); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(log+".copy", log); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) recordFile(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return filepath.Join(w.dir, fmt.Sprintf("%s.%d.hits", name, w.life))
}

// sum is what was done in all worlds of a form.
type sum struct {
	mu                    sync.Mutex
	hits                  map[string]int
	kills                 map[string]int // at each point
	inRecovery            map[string]int // those of them before everything was finished that was found
	recoverable           map[string]int // hits before that
	stops                 map[string]int
	lives, judged, missed int
}

func newSum() *sum {
	return &sum{hits: map[string]int{}, kills: map[string]int{}, inRecovery: map[string]int{}, recoverable: map[string]int{}, stops: map[string]int{}}
}

func (s *sum) add(t *testing.T, l life, e end) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lives++
	for _, record := range e.records {
		recovering, working, _, err := hits(record)
		if err != nil {
			t.Fatal(err)
		}
		if !l.settle {
			recovering, working = nil, recovering // it does both at once
		}
		for p, n := range recovering {
			s.hits[p] += n
			s.recoverable[p] += n
		}
		for p, n := range working {
			s.hits[p] += n
		}
	}
	switch {
	case l.arm.point == "":
	case e.stopped:
		s.stops[l.arm.point]++
	case !e.killed:
		s.missed++
	default:
		s.kills[l.arm.point]++
		if e.recovering {
			s.inRecovery[l.arm.point]++
		}
	}
}

func (s *sum) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

func total(m map[string]int) (n int64) {
	for _, one := range m {
		n += int64(one)
	}
	return n
}

// sumOf returns the sum of sums.
func sumOf(all ...*sum) *sum {
	s := newSum()
	for _, one := range all {
		for _, m := range []struct{ to, from map[string]int }{
			{s.hits, one.hits},
			{s.kills, one.kills},
			{s.inRecovery, one.inRecovery},
			{s.recoverable, one.recoverable},
			{s.stops, one.stops},
		} {
			for p, n := range m.from {
				m.to[p] += n
			}
		}
		s.lives, s.judged, s.missed = s.lives+one.lives, s.judged+one.judged, s.missed+one.missed
	}
	return s
}

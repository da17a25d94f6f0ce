package wal_test

import (
	"errors"
	"io/fs"
	"math/rand"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// told returns a log on fs, opened with the options and replayed, and the teller
// of its story after n records.
func told(t *testing.T, o *wal.Options, n int) (*wal.Log, *teller) {
	t.Helper()
	l, err := wal.Open(dir, o)
	must(t, err)
	_, err = meaningOf(l, limit)
	must(t, err)
	tt := newTeller(1)
	must(t, tt.tell(l, tt.opening(), true))
	for range n {
		must(t, tt.tell(l, tt.next(), true))
	}
	return l, tt
}

// until calls tell until done says so.
func (t *teller) until(l *wal.Log, done func() bool) error {
	for n := range 5000 {
		if done() {
			return nil
		}
		if n >= 1000 {
			time.Sleep(time.Millisecond) // the keeper may not have had its turn
		}
		if err := t.tell(l, t.next(), true); err != nil {
			return err
		}
	}
	return errors.New("it never happened")
}

func files(fs *vfs.Mem, suffix string) (paths []string) {
	for _, path := range fs.Files() {
		if strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
	}
	return paths
}

// withCheckpoint returns the files of a log that has a checkpoint, which was not
// closed, and what it means.
func withCheckpoint(t *testing.T) (*vfs.Mem, *teller) {
	t.Helper()
	fs := vfs.NewMem()
	l, tt := told(t, keeping(fs), 0)
	must(t, tt.until(l, func() bool { return l.Checkpoints().Made > 1 }))
	must(t, tt.tell(l, tt.next(), true))
	after := fs.Kill()
	must(t, l.Close())
	return after, tt
}

// TestCheckpointDamage: whatever happens to a checkpoint, the log is refused.
func TestCheckpointDamage(t *testing.T) {
	fs, _ := withCheckpoint(t)
	ckps := files(fs, ".ckp")
	path := ckps[len(ckps)-1]
	refused := 0
	try := func(what string, at int, change func(b []byte) []byte) {
		l, err := open(damaged(fs, path, change))
		if err == nil {
			l.Close()
			t.Fatalf("%s %d of %s: the log opens", what, at, path)
		}
		if !isRefusal(err) {
			t.Fatalf("%s %d of %s: %v (%T)", what, at, path, err, err)
		}
		refused++
	}
	size := len(fs.ReadFile(path))
	for i := range size {
		try("flip in byte", i, func(b []byte) []byte { b[i] ^= 1 << (i % 8); return b })
	}
	for i := 0; i < size; i += 7 {
		try("cut to byte", i, func(b []byte) []byte { return b[:i] })
	}
	try("longer by", 8, func(b []byte) []byte { return append(b, make([]byte, 8)...) })
	gone := fs.Kill()
	gone.RemoveFile(path)
	corrupt := refuses[*wal.CorruptError](t, gone)
	if !strings.Contains(corrupt.Error(), "missing") {
		t.Error(corrupt)
	}
	tally.Add(t, "damage", "damaged checkpoints, all refused", int64(refused), 1000)
}

// TestCheckpointThatDoesNotFit: one of another log, one that is older than what was
// freed, and none although a segment was made after one.
func TestCheckpointThatDoesNotFit(t *testing.T) {
	mem := vfs.NewMem()
	var old []byte
	oldPath := ""
	l, tt := told(t, keeping(mem), 0)
	must(t, tt.until(l, func() bool {
		if c := files(mem, ".ckp"); old == nil && len(c) == 1 {
			oldPath = c[0]
			old = mem.ReadFile(oldPath)
		}
		return l.Checkpoints().Made > 3
	}))
	must(t, l.Close())
	// The newest segment of this one is made after the checkpoint, and starts
	// where it ends.
	l, err := wal.Open(dir, keeping(mem))
	must(t, err)
	must(t, l.Close())
	newest := files(mem, ".ckp")[0]

	for name, change := range map[string]func(fs *vfs.Mem){
		"None":  func(*vfs.Mem) {},
		"Older": func(fs *vfs.Mem) { fs.WriteFile(oldPath, old) },
		"OlderUnderThisName": func(fs *vfs.Mem) {
			fs.WriteFile(newest, old)
		},
		"OfAnotherLog": func(fs *vfs.Mem) {
			other, _ := withCheckpoint(t)
			fs.WriteFile(newest, other.ReadFile(files(other, ".ckp")[0]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := mem.Kill()
			fs.RemoveFile(newest)
			change(fs)
			_ = refuses[*wal.CorruptError](t, fs)
		})
	}
	// What remains beside it of an older one does not matter.
	mem.WriteFile(oldPath, old)
	l, n, err := tt.check(mem)
	must(t, err)
	must(t, l.Close())
	if n != len(tt.all) || mem.ReadFile(oldPath) != nil {
		t.Errorf("%d of %d records, and the old checkpoint is still there: %v", n, len(tt.all), mem.ReadFile(oldPath) != nil)
	}
}

// TestCheckpointAtEveryStep stops the disk at each step from the first checkpoint
// on, and looks at many crashes of that state.
func TestCheckpointAtEveryStep(t *testing.T) {
	stride := 4 * slower
	if os.Getenv("DTC_CRASH_IMAGES") != "" {
		stride = 1
	}
	var c checkpointTally
	steps := 0
	for k := 1; ; k += stride {
		mem := vfs.NewMem()
		var mu sync.Mutex
		var state *vfs.Mem
		left, counting := k, false
		l, tt := told(t, keeping(mem), 0)
		mem.SetHook(func(op, path string) error {
			mu.Lock()
			defer mu.Unlock()
			counting = counting || strings.HasSuffix(path, "ckp.tmp")
			if !counting {
				return nil
			}
			if left--; left > 0 {
				return nil
			}
			if state == nil {
				state = mem.Kill()
			}
			return errStopped
		})
		err := tt.until(l, func() bool { return l.Checkpoints().Made > 2 })
		mu.Lock()
		stopped := state
		mu.Unlock()
		_ = l.Close()
		if stopped == nil {
			must(t, err)
			break
		}
		steps++
		rng := rand.New(rand.NewSource(int64(k)))
		for i := range 6 {
			image := stopped.Crash(rng)
			if i == 0 {
				image = stopped.Kill()
			}
			tt.rng = rng
			if err := c.image(tt, image); err != nil {
				t.Fatalf("step %d, image %d: %v", k, i, err)
			}
		}
	}
	tally.Add(t, "crash images", "steps of a log on its disk at which all stopped", int64(steps), int64(60/stride))
	c.add(t, 0) // a checkpoint is forced, and little beside it
}

// TestFreedFilesWaitForTheirNames: until the directory is synced a power loss may
// give a freed file its old name back, so nothing may be written to it.
func TestFreedFilesWaitForTheirNames(t *testing.T) {
	mem := vfs.NewMem()
	l, tt := told(t, keeping(mem), 0)
	held, release := make(chan struct{}), make(chan struct{})
	var freed, waiting atomic.Bool
	var writes atomic.Int64
	mem.SetHook(func(op, path string) error {
		switch {
		case op == "after rename" && strings.HasSuffix(path, ".free"):
			freed.Store(true)
		case op == "before syncdir" && freed.Load() && waiting.CompareAndSwap(false, true):
			close(held)
			<-release
		case op == "after write" && waiting.Load():
			writes.Add(1)
		}
		return nil
	})
	must(t, tt.until(l, freed.Load))
	<-held
	// The writer fills its segment, and may want another one, whose name it cannot
	// change meanwhile. So from here on nobody is waited for.
	must(t, tt.tell(l, tt.next(), false))
	for writes.Load() == 0 {
		time.Sleep(time.Millisecond) // the writer is at work on the segment it has
	}
	for range 299 {
		must(t, tt.tell(l, tt.next(), false))
	}
	image := mem.CrashWith(func(_, n int) int { return 0 }) // no new name is durable
	all := mem.CrashWith(func(_, n int) int { return n })
	close(release)
	must(t, l.Close())
	for _, fs := range []*vfs.Mem{image, all} {
		again, _, err := tt.check(fs)
		must(t, err)
		must(t, again.Close())
	}
}

// TestCopiedLogIsHeld: a log whose files are copies opens with a hold of all its
// incarnations, once; and a file that was only renamed or moved is no copy.
func TestCopiedLogIsHeld(t *testing.T) {
	for _, closed := range []bool{true, false} {
		mem := vfs.NewMem()
		l, _ := told(t, keeping(mem), 40)
		if closed {
			must(t, l.Close())
		}
		copied := mem.CopyFiles()
		_ = l.Close()
		r, err := wal.OpenReadOnly(dir, &wal.Options{FS: copied})
		must(t, err)
		if report, err := r.Verify(); err != nil || !report.Copied {
			t.Fatalf("a copy is read as %+v, %v", report, err)
		}
		for opening := range 3 {
			l, err := wal.Open(dir, keeping(copied))
			must(t, err)
			var holds []*txlog.Hold
			must(t, l.Replay(func(e txlog.Entry) error {
				if h, ok := e.Record.(*txlog.Hold); ok && strings.Contains(h.Reason, "copies") {
					holds = append(holds, h)
				}
				return nil
			}))
			if len(holds) != 1 || holds[0].Through != 1 {
				t.Fatalf("opening %d: holds %+v", opening, holds)
			}
			// It stood there before anything else could happen.
			copied = copied.CrashWith(func(int, int) int { return 0 })
			must(t, l.Close())
		}
		l, err = wal.Open(dir, keeping(mem.Kill()))
		must(t, err)
		must(t, l.Replay(func(e txlog.Entry) error {
			if h, ok := e.Record.(*txlog.Hold); ok && strings.Contains(h.Reason, "copies") {
				t.Error("the original is held")
			}
			return nil
		}))
		must(t, l.Close())
	}
}

// TestStalledDisk: a call that does not return fails the log, tells everybody who
// waits that the outcome is not known, and nothing is touched when it does return.
func TestStalledDisk(t *testing.T) {
	for _, op := range []string{"before sync", "before write", "after sync"} {
		t.Run(strings.ReplaceAll(op, " ", "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				o := keeping(mem)
				l, tt := told(t, o, 5)
				release := make(chan struct{})
				var once sync.Once
				mem.SetHook(func(got, _ string) error {
					if got == op {
						once.Do(func() { <-release })
					}
					return nil
				})
				began := time.Now()
				errs := make(chan error, 3)
				for range 3 {
					r := &txlog.Release{Reason: "wait"}
					go func() { errs <- l.Force(r) }()
					synctest.Wait()
				}
				unknown := 0
				for range 3 {
					err := <-errs
					if errors.Is(err, txlog.ErrUnknown) {
						unknown++
					} else if !errors.Is(err, txlog.ErrRefused) {
						t.Errorf("%v", err)
					}
				}
				if waited := time.Since(began); unknown != 1 || waited != time.Minute {
					t.Errorf("%d unknown, after %v", unknown, waited)
				}
				<-l.Failed()
				if err := l.Append(&txlog.Release{}); !errors.Is(err, txlog.ErrRefused) {
					t.Errorf("append: %v", err)
				}
				if err := l.Close(); err == nil || !strings.Contains(err.Error(), "did not answer") {
					t.Errorf("close: %v", err)
				}
				// Nobody else may open it while the call is out.
				if _, err := wal.Open(dir, o); !errors.As(err, new(*wal.InUseError)) {
					t.Errorf("open: %v", err)
				}
				before := mem.Counts()
				close(release)
				synctest.Wait()
				after := mem.Counts()
				if op == "before write" {
					after.Writes, after.Bytes = before.Writes, before.Bytes // it was out
				}
				if op == "before sync" {
					after.Syncs = before.Syncs
				}
				if after != before {
					t.Errorf("the disk was touched: %+v, before %+v", after, before)
				}
				mem.SetHook(nil)
				_ = l.Close()
				next, _, err := tt.check2(mem)
				must(t, err)
				must(t, next.Close())
			})
		})
	}
}

// check2 opens the log without a look at what it means.
func (t *teller) check2(fs *vfs.Mem) (*wal.Log, int, error) {
	l, err := wal.Open(dir, keeping(fs))
	if err != nil {
		return nil, 0, err
	}
	m, err := meaningOf(l, limit)
	return l, len(m.history), err
}

// TestSlowDiskIsNoStall: calls that take long, but less than the limit, in a row.
func TestSlowDiskIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		l, tt := told(t, keeping(mem), 5)
		mem.SetHook(func(op, _ string) error {
			if strings.HasPrefix(op, "before") {
				time.Sleep(25 * time.Second) // a preallocation has two
			}
			return nil
		})
		must(t, tt.until(l, func() bool { return l.Checkpoints().Made > 0 }))
		must(t, l.Err())
		mem.SetHook(nil)
		must(t, l.Close())
	})
}

// TestCheckpointFaults: a checkpoint that cannot be written changes nothing; one
// whose name may or may not be durable ends the log.
func TestCheckpointFaults(t *testing.T) {
	for name, test := range map[string]struct {
		op     string
		path   string
		failed bool // the log has
	}{
		"Create":  {"before create", "ckp.tmp", false},
		"Write":   {"before write", "ckp.tmp", false},
		"Sync":    {"after sync", "ckp.tmp", false},
		"Rename":  {"before rename", ".ckp", false},
		"SyncDir": {"before syncdir", dir, true},
		"Free":    {"before rename", ".free", false},
		"FreeDir": {"before syncdir", dir, true},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			l, tt := told(t, keeping(mem), 0)
			var named, struck atomic.Bool
			mem.SetHook(func(op, path string) error {
				switch {
				case op == "after rename" && strings.HasSuffix(path, ".ckp") && name == "SyncDir",
					op == "after rename" && strings.HasSuffix(path, ".free") && name == "FreeDir":
					named.Store(true)
				case op == test.op && strings.HasSuffix(path, test.path) && (named.Load() || !test.failed):
					struck.Store(true)
					return syscall.EIO
				}
				return nil
			})
			err := tt.until(l, func() bool { return struck.Load() && l.Checkpoints().Failed > 0 })
			if err != nil && !test.failed {
				t.Fatal(err)
			}
			mem.SetHook(nil)
			if test.failed {
				<-l.Failed()
				if !errors.Is(l.Err(), syscall.EIO) {
					t.Errorf("the log failed because of %v", l.Err())
				}
				_ = l.Close()
			} else {
				for range 50 {
					must(t, tt.tell(l, tt.next(), true))
				}
				must(t, l.Close())
			}
			again, n, err := tt.check(mem)
			must(t, err)
			must(t, again.Close())
			if !test.failed && n != len(tt.all) {
				t.Errorf("%d of %d records", n, len(tt.all))
			}
		})
	}
}

// TestNoCheckpointBeforeReplay: until the log was replayed nothing of it is freed.
func TestNoCheckpointBeforeReplay(t *testing.T) {
	mem, tt := withCheckpoint(t)
	l, err := wal.Open(dir, keeping(mem))
	must(t, err)
	for range 200 {
		if err := l.Append(&txlog.Release{Reason: strings.Repeat("x", 100)}); err != nil {
			t.Fatal(err)
		}
	}
	must(t, l.Force(&txlog.Release{}))
	if made := l.Checkpoints().Made; made != 0 {
		t.Errorf("%d checkpoints before the replay", made)
	}
	m, err := meaningOf(l, limit)
	must(t, err)
	all := newMeaning(limit)
	for _, r := range tt.all {
		must(t, all.add(r))
	}
	if m.String() != all.String() {
		t.Error("the log does not mean what it meant")
	}
	must(t, l.Close())
	if _, err := mem.Open(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestOutcomesAreForgotten: by their number and by their age; and the horizon says
// from when on all are known.
func TestOutcomesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		o := keeping(mem)
		o.OutcomeRetention = time.Hour
		l, tt := told(t, o, 0)
		must(t, tt.until(l, func() bool {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			return l.Checkpoints().Made > 5
		}))
		must(t, l.Close())
		l, err := wal.Open(dir, o)
		must(t, err)
		var horizon time.Time
		outcomes, opened := 0, time.Time{}
		must(t, l.Replay(func(e txlog.Entry) error {
			switch r := e.Record.(type) {
			case *txlog.Horizon:
				horizon = r.At
			case *txlog.Outcome:
				outcomes++
				if r.At.Before(horizon) {
					t.Errorf("an outcome of %v stands behind the horizon %v", r.At, horizon)
				}
				if opened.IsZero() {
					opened = r.At
				}
			}
			return nil
		}))
		must(t, l.Close())
		if horizon.IsZero() || outcomes == 0 || outcomes > limit+60 {
			t.Errorf("horizon %v, %d outcomes from %v", horizon, outcomes, opened)
		}
	})
}

// TestCheckpointKeepsTimes: how long a transaction has been in doubt is told across
// checkpoints.
func TestCheckpointKeepsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		l, tt := told(t, keeping(mem), 0)
		must(t, tt.tell(l, tt.prepare(), true))
		ref, began := tt.open[0].ref, time.Now()
		tt.open = nil // it is left as it is
		time.Sleep(time.Hour)
		must(t, tt.until(l, func() bool { return l.Checkpoints().Made > 2 }))
		must(t, l.Close())
		l, err := wal.Open(dir, keeping(mem))
		must(t, err)
		found := false
		must(t, l.Replay(func(e txlog.Entry) error {
			if p, ok := e.Record.(*txlog.Prepare); ok && p.Ref == ref {
				found = true
				if !e.Time.Equal(began) {
					t.Errorf("it began at %v, want %v", e.Time, began)
				}
			}
			return nil
		}))
		must(t, l.Close())
		if !found {
			t.Error("it is gone")
		}
	})
}

// TestOutcomesAreKept: checkpoints drop no outcome before its time.
func TestOutcomesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := keeping(vfs.NewMem())
		o.OutcomeLimit, o.OutcomeRetention = 0, time.Hour
		l, tt := told(t, o, 0)
		must(t, tt.until(l, func() bool {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			return l.Checkpoints().Made > 20
		}))
		made := l.Checkpoints().At
		must(t, l.Close())
		l, err := wal.Open(dir, o)
		must(t, err)
		var horizon time.Time
		must(t, l.Replay(func(e txlog.Entry) error {
			if r, ok := e.Record.(*txlog.Horizon); ok {
				horizon = r.At
			}
			return nil
		}))
		must(t, l.Close())
		switch {
		case horizon.IsZero():
			t.Error("nothing was ever forgotten: nothing was shown")
		case made.Sub(horizon) < o.OutcomeRetention:
			t.Errorf("what ended at %v is forgotten after %v", horizon, made.Sub(horizon))
		}
	})
}

// TestOutcomesOutliveTheClock: a wall clock that is set forward by more than the time for
// which outcomes are remembered makes checkpoints drop none.
func TestOutcomesOutliveTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, set := range []bool{true, false} {
			o := keeping(vfs.NewMem())
			o.OutcomeLimit, o.OutcomeRetention = 0, time.Hour
			l, tt := told(t, o, 0)
			must(t, tt.until(l, func() bool { synctest.Wait(); return l.Checkpoints().Made > 1 }))
			time.Sleep(2 * time.Hour)
			if set {
				wal.SetClock(l, 2*time.Hour)
			}
			made := l.Checkpoints().Made
			must(t, tt.until(l, func() bool { synctest.Wait(); return l.Checkpoints().Made > made }))
			must(t, l.Close())
			l, err := wal.Open(dir, o)
			must(t, err)
			forgotten := false
			must(t, l.Replay(func(e txlog.Entry) error {
				_, horizon := e.Record.(*txlog.Horizon)
				forgotten = forgotten || horizon
				return nil
			}))
			must(t, l.Close())
			if forgotten == set {
				t.Errorf("the clock was set: %v, and outcomes are forgotten: %v", set, forgotten)
			}
		}
	})
}

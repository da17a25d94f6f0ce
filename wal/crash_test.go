package wal_test

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// crashes counts what a crash test has really done, so that it cannot pass by
// doing nothing.
type crashes struct{ images, lost, tails, rotations, again int }

func (c *crashes) check(t *testing.T) {
	t.Helper()
	tally.Add(t, "crash images", "disks opened after a crash", int64(c.images), 1)
	tally.Add(t, "crash images", "with records lost that nobody had forced", int64(c.lost), 1)
	tally.Add(t, "crash images", "with a torn tail", int64(c.tails), 1)
	tally.Add(t, "crash images", "with more than one segment", int64(c.rotations), 1)
	tally.Add(t, "crash images", "opened once more, after a crash of the opening", int64(c.again), 1)
}

// checkImage checks one state of the disk: the log opens, and holds a prefix of
// the records that were added, with all that were acknowledged; and so it does
// again after a crash during that opening. It returns how many records it holds.
func (c *crashes) checkImage(fs *vfs.Mem, rng *rand.Rand, added, acked int) (n int, err error) {
	c.images++
	if err := agreed(fs); err != nil {
		return 0, err
	}
	if r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs}); err == nil {
		report, _ := r.Verify()
		if report.Tail > 0 {
			c.tails++
		}
		if report.Segments > 1 {
			c.rotations++
		}
	} else if none := (*wal.NoLogError)(nil); !errors.As(err, &none) {
		return 0, err
	}

	// The opening is watched: the state before its k-th step is opened as well.
	var during *vfs.Mem
	k := 1 + rng.Intn(40)
	fs.SetHook(func(string, string) error {
		if k--; k == 0 {
			if during = fs.Kill(); rng.Intn(2) == 0 {
				during = fs.Crash(rng)
			}
		}
		return nil
	})
	l, err := open(fs)
	if err != nil {
		return 0, err
	}
	fs.SetHook(nil)
	n, err = replayed(l)
	if err != nil {
		return 0, err
	}
	if n > added || n < acked {
		return 0, fmt.Errorf("%d records, of %d added and %d acknowledged", n, added, acked)
	}
	if n < added {
		c.lost++
	}

	// What was read is durable now: a power loss changes nothing.
	for _, next := range []*vfs.Mem{fs.Crash(rng), during} {
		if next == nil {
			continue
		}
		c.again++
		again, err := open(next)
		if err != nil {
			return 0, fmt.Errorf("second opening: %w", err)
		}
		m, err := replayed(again)
		if err != nil {
			return 0, fmt.Errorf("second opening: %w", err)
		}
		// A power loss during the opening may leave less of what was not
		// durable, but never less than was acknowledged.
		if m > n || m < acked || next != during && m != n {
			return 0, fmt.Errorf("second opening: %d records, %d acknowledged, the first one found %d", m, acked, n)
		}
		if err := again.Close(); err != nil {
			return 0, err
		}
	}
	if err := l.Close(); err != nil || c.images%4 > 0 {
		return n, err
	}
	return n, agreed(fs)
}

// TestCrash runs random histories over several openings, each ended by a power
// loss or by the death of the process at a random step.
func TestCrash(t *testing.T) {
	t.Parallel()
	images := crashImages(t, 98, 4000)
	if images > 20_000 {
		images -= 12_000 // TestCheckpointAtEveryStep looks at more than that
	}
	var c crashes
	for seed := int64(0); c.images < images; seed++ {
		if err := c.history(rand.New(rand.NewSource(seed))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	c.check(t)
}

// crashImages returns how many states of the disk a test is to look at: its share, in
// percent, of DTC_CRASH_IMAGES, or the usual number.
func crashImages(t *testing.T, share, usual int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("DTC_CRASH_IMAGES")); err == nil && n > 0 {
		return n * share / 100
	}
	if testing.Short() {
		return usual / 10
	}
	return usual / slower
}

func (c *crashes) history(rng *rand.Rand) error {
	fs, added, acked := vfs.NewMem(), 0, 0
	for range 4 {
		l, err := open(fs)
		if err != nil {
			return err
		}
		n, err := replayed(l)
		if err != nil {
			return err
		}
		if n > added || n < acked {
			return fmt.Errorf("%d records, of %d added and %d acknowledged", n, added, acked)
		}
		added, acked = n, n // what was read is durable
		forced := rng.Float64()
		for range rng.Intn(60) {
			if rng.Float64() < forced {
				added++
				if err := l.Force(record(added - 1)); err != nil {
					return err
				}
				acked = added
			} else {
				added++
				if err := l.Append(record(added - 1)); err != nil {
					return err
				}
			}
			if rng.Intn(8) == 0 {
				if _, err := c.checkImage(fs.Crash(rng), rng, added, acked); err != nil {
					return err
				}
			}
		}
		next := fs.Kill()
		switch rng.Intn(4) {
		case 0:
		case 1:
			if err := l.Close(); err != nil {
				return err
			}
			next, acked = fs.Crash(rng), added
		default:
			next = fs.Crash(rng)
		}
		if err := l.Close(); err != nil { // ends the goroutine; next is apart
			return err
		}
		if _, err := c.checkImage(next.Kill(), rng, added, acked); err != nil {
			return err
		}
		fs = next
	}
	return nil
}

var errStopped = errors.New("the world stopped here")

// TestCrashAtEveryStep stops a short history, with openings, rotations and a
// clean close, at each step on the disk, and checks many crashes of that state.
func TestCrashAtEveryStep(t *testing.T) {
	var c crashes
	steps := 0
	rng := seeded(t, 1)
	for k := 1; ; k++ {
		fs := vfs.NewMem()
		var state *vfs.Mem
		left := k
		fs.SetHook(func(op, path string) error {
			if left--; left > 0 {
				return nil
			}
			if state == nil {
				state = fs.Kill()
			}
			return errStopped
		})
		added, acked := shortHistory(fs)
		if state == nil {
			break
		}
		steps++
		for i := range 12 / slower {
			image := state.Crash(rng)
			if i == 0 {
				image = state.Kill()
			}
			if _, err := c.checkImage(image, rng, added, acked); err != nil {
				t.Fatalf("step %d, image %d: %v", k, i, err)
			}
		}
	}
	tally.Add(t, "crash images", "steps of a log on its disk at which all stopped", int64(steps), 100)
	c.check(t)
}

// shortHistory works until something fails, and returns the number of records
// added and the number acknowledged.
func shortHistory(fs vfs.FS) (added, acked int) {
	for range 3 {
		l, err := open(fs)
		if err != nil {
			return added, acked
		}
		for i := range 16 {
			added++
			if i%4 == 1 {
				err = l.Append(record(added - 1))
			} else if err = l.Force(record(added - 1)); err == nil {
				acked = added
			}
			if err != nil {
				l.Close()
				return added, acked
			}
		}
		if l.Close() != nil {
			return added, acked
		}
		acked = added
	}
	return added, acked
}

// TestEveryCrashImage goes through all subsets of the unsynced changes of a small
// state, each kept or dropped, and each torn at several places.
func TestEveryCrashImage(t *testing.T) {
	fs := vfs.NewMem()
	wrote := make(chan struct{}, 100)
	l := mustOpen(t, fs)
	must(t, l.Force(record(0)))
	fs.SetHook(func(op, _ string) error {
		if op == "after write" {
			wrote <- struct{}{}
		}
		return nil
	})
	const added = 4
	for i := 1; i < added; i++ {
		must(t, l.Append(record(i)))
		<-wrote // so that each is a batch of its own
	}
	changes := fs.Unsynced()
	if changes < 3 || changes > 12 {
		t.Fatalf("%d unsynced changes", changes)
	}
	images, lengths := 0, map[int]int{}
	for set := range 1 << changes {
		for torn := -1; torn < changes; torn++ {
			for _, at := range []int{1, 4, 20, 55, 57} {
				image := fs.CrashWith(func(i, n int) int {
					switch {
					case i == torn:
						return min(at, n)
					case set>>i&1 == 1:
						return n
					default:
						return 0
					}
				})
				again, n := recovered(t, image)
				must(t, again.Close())
				images++
				lengths[n]++
				if torn < 0 {
					break
				}
			}
		}
	}
	must(t, l.Close())
	tally.Add(t, "crash images", "disks opened after a crash", int64(images), 1)
	t.Logf("%d changes, by records found: %v", changes, lengths)
	if lengths[0] > 0 || lengths[1] == 0 || lengths[2] == 0 || lengths[added] == 0 {
		t.Errorf("images by records found: %v", lengths)
	}
}

// TestRotationSyncs: a segment is durable before the next one says so, even if
// nobody ever asked for it.
func TestRotationSyncs(t *testing.T) {
	fs := vfs.NewMem()
	var rotated atomic.Bool
	l := mustOpen(t, fs)
	fs.SetHook(func(op, path string) error {
		if op == "after syncdir" {
			rotated.Store(true)
		}
		return nil
	})
	added := 0
	for ; !rotated.Load(); added++ {
		must(t, l.Append(record(added)))
	}
	after := fs.CrashWith(func(int, int) int { return 0 })
	must(t, l.Close())
	again, n := recovered(t, after)
	if n < 20 || n > added {
		t.Errorf("%d records of %d survive, want those of the first segment", n, added)
	}
	must(t, again.Close())
}

// TestNamesOfAKilledOpening: an opening is killed when its segment has its name
// but the directory is not synced; the next one builds on that segment, and then
// power fails, and of the two names only the later one survives.
func TestNamesOfAKilledOpening(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	must(t, l.Force(record(0)))
	const added = 40
	for i := 1; i < added; i++ {
		must(t, l.Append(record(i)))
	}
	wal.WaitWritten(l, added)
	fs = fs.Kill() // l lives on, elsewhere
	must(t, l.Close())

	stop := func(op, _ string) error {
		if op == "after rename" {
			return errStopped
		}
		return nil
	}
	for range 2 {
		fs.SetHook(stop)
		if _, err := open(fs); !errors.Is(err, errStopped) {
			t.Fatal(err)
		}
		fs = fs.Kill()
	}
	last := fs.Unsynced() - 1
	after := fs.CrashWith(func(i, n int) int {
		if i == last {
			return n
		}
		return 0
	})
	again, n := recovered(t, after)
	must(t, again.Close())
	if n != added {
		t.Errorf("%d records, want %d", n, added)
	}
}

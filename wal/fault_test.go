package wal_test

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// checkFailed checks that a log which has failed takes nothing more and touches
// nothing more, whatever is asked of it.
func checkFailed(t *testing.T, fs *vfs.Mem, l *wal.Log, cause error) {
	t.Helper()
	<-l.Failed()
	before := fs.Counts()
	if !errors.Is(l.Err(), cause) {
		t.Errorf("Err: %v, want %v", l.Err(), cause)
	}
	for _, add := range []func(txlog.Record) error{l.Append, l.Force} {
		if err := add(record(99)); !errors.Is(err, txlog.ErrRefused) || !errors.Is(err, cause) || errors.Is(err, txlog.ErrUnknown) {
			t.Errorf("added after the failure: %v", err)
		}
	}
	if err := l.Close(); !errors.Is(err, cause) {
		t.Errorf("close: %v, want %v", err, cause)
	}
	if fs.Counts() != before {
		t.Errorf("the disk was touched after the failure: %+v, before %+v", fs.Counts(), before)
	}
	if fs.ReadFile(dir+"/clean") != nil {
		t.Error("a log that failed was marked clean")
	}
}

func checkUnknown(t *testing.T, err, cause error) {
	t.Helper()
	if !errors.Is(err, txlog.ErrUnknown) || !errors.Is(err, cause) || errors.Is(err, txlog.ErrRefused) {
		t.Errorf("%v, want ErrUnknown because of %v", err, cause)
	}
}

func TestFailedSync(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	must(t, l.Force(record(0)))
	fs.FailSync(1)
	checkUnknown(t, l.Force(record(1)), syscall.EIO)
	checkFailed(t, fs, l, syscall.EIO)

	// The next process still sees the record, whose pages the kernel takes for
	// clean. It may say so only when it is durable; and then it stays.
	lost := fs.CrashWith(func(_, n int) int { return n })
	if again, n := recovered(t, lost); n != 1 {
		t.Errorf("after a power loss: %d records, want 1", n)
	} else {
		must(t, again.Close())
	}
	again, n := recovered(t, fs)
	if n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	durable := fs.CrashWith(func(int, int) int { return 0 })
	must(t, again.Close())
	again, n = recovered(t, durable)
	if n != 2 {
		t.Errorf("after recovery and a power loss: %d records, want 2", n)
	}
	must(t, again.Close())
}

func TestFailedSyncTellsEveryWaiter(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	// Everybody is queued while the first sync is held up.
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.SetHook(func(op, _ string) error {
		if op == "before sync" {
			once.Do(func() { close(held); <-release })
		}
		return nil
	})
	fs.FailSync(2)
	errs := make(chan error, 8)
	go func() { errs <- l.Force(record(0)) }()
	<-held
	must(t, l.Append(record(1)))
	// A record queued behind a sync that fails is refused, not unknown; so let
	// the first sync pass and the second one fail.
	var started sync.WaitGroup
	for i := range 7 {
		started.Add(1)
		go func() { started.Done(); errs <- l.Force(record(i + 2)) }()
	}
	started.Wait()
	close(release)
	unknown, refused, fine := 0, 0, 0
	for range 8 {
		switch err := <-errs; {
		case err == nil:
			fine++
		case errors.Is(err, txlog.ErrUnknown):
			unknown++
		case errors.Is(err, txlog.ErrRefused):
			refused++
		default:
			t.Errorf("%v is neither", err)
		}
	}
	if fine != 1 || unknown == 0 || fine+unknown+refused != 8 {
		t.Errorf("%d fine, %d unknown, %d refused", fine, unknown, refused)
	}
	checkFailed(t, fs, l, syscall.EIO)
}

func TestFailedWrite(t *testing.T) {
	for name, test := range map[string]struct {
		keep int
		err  error
	}{
		"IO":      {0, syscall.EIO},
		"NoSpace": {100, syscall.ENOSPC},
		"Short":   {100, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			l := mustOpen(t, fs)
			must(t, l.Force(record(0)))
			fs.FailWrite(1, test.keep, test.err)
			err := l.Force(record(5))
			cause := test.err
			if cause == nil {
				cause = l.Err()
			}
			checkUnknown(t, err, cause)
			checkFailed(t, fs, l, cause)
			again, n := recoveredAny(t, fs)
			if n != 1 {
				t.Errorf("%d records, want 1", n)
			}
			must(t, again.Close())
		})
	}
}

func recoveredAny(t *testing.T, fs vfs.FS) (*wal.Log, int) {
	t.Helper()
	l := mustOpen(t, fs)
	n := 0
	must(t, l.Replay(func(txlog.Entry) error { n++; return nil }))
	return l, n
}

// TestNoRoomForASegment runs out of space between segments: everything told to
// be there is, and what did not fit was never written.
func TestNoRoomForASegment(t *testing.T) {
	fs := vfs.NewMem()
	fs.LimitSpace(4096)
	l := mustOpen(t, fs)
	acked := 0
	var err error
	for ; err == nil; acked++ {
		err = l.Force(record(acked))
	}
	acked--
	if !errors.Is(err, txlog.ErrRefused) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, txlog.ErrUnknown) {
		t.Errorf("%v, want ErrRefused because of ENOSPC", err)
	}
	checkFailed(t, fs, l, syscall.ENOSPC)
	fs.LimitSpace(1 << 20)
	again, n := recovered(t, fs)
	if n != acked || n < 20 {
		t.Errorf("%d records, %d acknowledged", n, acked)
	}
	must(t, again.Close())
}

// TestFailAtEveryStep lets each step on the disk fail once, as the k-th of a
// history, and then opens the log again.
func TestFailAtEveryStep(t *testing.T) {
	failed := 0
	for k := 1; ; k++ {
		fs := vfs.NewMem()
		left, hit := k, false
		fs.SetHook(func(string, string) error {
			left--
			if left == 0 {
				hit = true
				return syscall.EIO
			}
			return nil
		})
		added, acked := shortHistory(fs)
		if !hit {
			break
		}
		failed++
		l, n := recovered(t, fs.Kill())
		if n < acked || n > added {
			t.Fatalf("step %d fails: %d records, of %d added and %d acknowledged", k, n, added, acked)
		}
		must(t, l.Close())
	}
	tally.Add(t, "failing calls", "steps of a log on its disk that failed", int64(failed), 100)
}

func TestRefusedRecords(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	for i, r := range badRecords() {
		if err := l.Force(r); !errors.Is(err, txlog.ErrRefused) {
			t.Errorf("bad record %d: %v", i, err)
		}
	}
	must(t, l.Force(record(0))) // and the log is as good as before
	must(t, l.Close())
	again, n := recovered(t, fs)
	if n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	must(t, again.Close())
}

func TestInUse(t *testing.T) {
	path := t.TempDir() + "/deep/down"
	l, err := wal.Open(path, nil)
	must(t, err)
	var inUse *wal.InUseError
	if _, err := wal.Open(path, nil); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Errorf("second opening: %v", err)
	}
	if r, err := wal.OpenReadOnly(path, nil); err != nil {
		t.Errorf("reading: %v", err)
	} else if _, err := r.Verify(); err != nil {
		t.Errorf("verify: %v", err)
	}
	info, err := os.Stat(path)
	must(t, err)
	file, err := os.Stat(path + "/00000001.seg")
	must(t, err)
	if info.Mode().Perm() != 0o700 || file.Mode().Perm() != 0o600 {
		t.Errorf("modes %v and %v", info.Mode(), file.Mode())
	}
	must(t, l.Close())
	must(t, l.Close()) // a second one does nothing
	l, err = wal.Open(path, nil)
	must(t, err)
	must(t, l.Close())
}

// TestForcedWrites holds up a sync until sixteen more are waiting.
func TestForcedWrites(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	before := fs.Syncs()
	must(t, l.Append(record(0)))
	must(t, l.Force(record(1)))
	if n := fs.Syncs() - before; n != 1 {
		t.Errorf("a lone Force made %d syncs", n)
	}

	const waiters = 16
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.SetHook(func(op, _ string) error {
		if op == "before sync" {
			once.Do(func() { close(held); <-release })
		}
		return nil
	})
	before = fs.Syncs()
	var all sync.WaitGroup
	all.Go(func() { must(t, l.Force(record(2))) })
	<-held
	for i := range waiters {
		all.Go(func() { must(t, l.Force(record(3+i))) })
	}
	wal.WaitQueued(l, waiters)
	close(release)
	all.Wait()
	if n := fs.Syncs() - before; n != 2 {
		t.Errorf("%d syncs for one held up and %d that wait, want 2", n, waiters)
	}
	if s := l.Stats(); s.Forced != 3 || s.Records != waiters+3 || s.Batches < 3 {
		t.Errorf("stats %+v", s)
	}
	must(t, l.Close())
}

// TestKilled: what was appended and written outlives the process without any
// sync.
func TestKilled(t *testing.T) {
	fs := vfs.NewMem()
	wrote := make(chan struct{}, 10)
	l := mustOpen(t, fs)
	fs.SetHook(func(op, _ string) error {
		if op == "after write" {
			wrote <- struct{}{}
		}
		return nil
	})
	before := fs.Syncs()
	must(t, l.Append(record(0)))
	<-wrote
	if fs.Syncs() != before {
		t.Error("an append was synced")
	}
	killed := fs.Kill()
	must(t, l.Close())
	again, n := recovered(t, killed)
	if n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	must(t, again.Close())
}

// TestFilesStayFew: opening a log often does not fill the disk, whether it is
// closed or killed.
func TestFilesStayFew(t *testing.T) {
	fs := vfs.NewMem()
	for i := range 50 {
		l, n := recovered(t, fs)
		if n != i {
			t.Fatalf("opening %d finds %d records", i, n)
		}
		must(t, l.Force(record(i)))
		if i%2 == 0 {
			must(t, l.Close())
			continue
		}
		next := fs.Kill()
		must(t, l.Close())
		fs = next
	}
	size := 0
	for _, path := range fs.Files() {
		size += len(fs.ReadFile(path))
	}
	if len(fs.Files()) > 12 || size > 50_000 {
		t.Errorf("%d bytes in %v", size, fs.Files())
	}
}

// TestReadingWhileWriting: a reader never takes a log in use for a damaged one.
func TestReadingWhileWriting(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.Force(record(i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	most := 0
	for most < 300 {
		r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs})
		must(t, err)
		report, err := r.Verify()
		must(t, err)
		n, err := replayed(r)
		must(t, err)
		if n != report.Records || n < most {
			t.Fatalf("%d records after %d, report %+v", n, most, report)
		}
		most = n
	}
	close(stop)
	all.Wait()
	must(t, l.Close())
}

// TestReadingWhileClosing: the log is closed, and its file cut, after the reader
// has looked for the mark of a clean close and before it reads the file.
func TestReadingWhileClosing(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	must(t, l.Force(record(0)))
	opens := 0
	fs.SetHook(func(op, path string) error {
		if op == "before open" && path == seg1 {
			if opens++; opens == 2 {
				must(t, l.Close())
			}
		}
		return nil
	})
	r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs})
	must(t, err)
	report, err := r.Verify()
	if err != nil || !report.Clean || report.Records != 1 || opens < 4 {
		t.Errorf("%+v, %v, %d looks", report, err, opens)
	}
}

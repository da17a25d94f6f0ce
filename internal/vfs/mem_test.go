package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"path/filepath"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fs FS, path, content string) File {
	t.Helper()
	f, err := fs.Create(path)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	return f
}

func nothing(int, int) int         { return 0 }
func everything(_, n int) int      { return n }
func firstByte(_, n int) int       { return min(1, n) }
func content(m *Mem) string        { return string(m.ReadFile("/a")) }
func durable(m *Mem) string        { return content(m.CrashWith(nothing)) }
func atBest(m *Mem) string         { return content(m.CrashWith(everything)) }
func exists(m *Mem, p string) bool { return m.ReadFile(p) != nil }

// TestFS checks what both file systems promise.
func TestFS(t *testing.T) {
	for name, fs := range map[string]FS{"OS": OS{}, "Mem": NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "x", "y")
			must(t, fs.MkdirAll(dir))
			must(t, fs.MkdirAll(dir))
			a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			f := create(t, fs, a, "hello")
			if _, err := fs.Create(a); err == nil {
				t.Error("a name was created twice")
			}
			must(t, f.Sync())
			must(t, fs.SyncDir(dir))
			must(t, f.Close())
			if err := f.Close(); err == nil {
				t.Error("closed twice")
			}
			must(t, fs.Truncate(a, 4))
			must(t, fs.Rename(a, b))
			f, err := fs.Open(b)
			must(t, err)
			buf := make([]byte, 10)
			n, err := f.ReadAt(buf, 1)
			if string(buf[:n]) != "ell" || !errors.Is(err, io.EOF) {
				t.Errorf("read %q, %v", buf[:n], err)
			}
			if _, err := f.WriteAt(buf, 0); err == nil {
				t.Error("a file that was opened for reading can be written")
			}
			must(t, f.Close())

			c, err := fs.Create(filepath.Join(dir, "c"))
			must(t, err)
			must(t, c.Preallocate(10_000))
			if size, err := c.Size(); size != 10_000 || err != nil {
				t.Errorf("size %d, %v", size, err)
			}
			zeros := make([]byte, 10_000)
			if n, err := c.ReadAt(zeros, 0); n != len(zeros) || !bytes.Equal(zeros, make([]byte, 10_000)) {
				t.Errorf("%d bytes, not all zero, %v", n, err)
			}
			must(t, c.Close())

			names, err := fs.ReadDir(dir)
			if len(names) != 2 || names[0] != "b" || names[1] != "c" {
				t.Errorf("names %v, %v", names, err)
			}
			must(t, fs.Remove(b))
			if err := fs.Remove(b); err == nil {
				t.Error("removed twice")
			}

			lock, err := fs.Lock(filepath.Join(dir, "LOCK"))
			must(t, err)
			var held *LockedError
			if _, err := fs.Lock(filepath.Join(dir, "LOCK")); !errors.As(err, &held) || held.PID == 0 {
				t.Errorf("locked twice: %v", err)
			}
			must(t, lock.Close())
			lock, err = fs.Lock(filepath.Join(dir, "LOCK"))
			must(t, err)
			must(t, lock.Close())
		})
	}
}

func TestWriteZeros(t *testing.T) {
	f, err := OS{}.Create(filepath.Join(t.TempDir(), "zeros"))
	must(t, err)
	must(t, writeZeros(f.(osFile).File, 100_000))
	if size, err := f.Size(); size != 100_000 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	must(t, f.Close())
}

func TestCrashOfContent(t *testing.T) {
	m := NewMem()
	f := create(t, m, "/a", "one")
	must(t, m.SyncDir("/"))
	if got := durable(m); got != "" {
		t.Errorf("unsynced content survives: %q", got)
	}
	must(t, f.Sync())
	_, err := f.WriteAt([]byte("two"), 3)
	must(t, err)
	if got := durable(m); got != "one" {
		t.Errorf("durable: %q", got)
	}
	if got := atBest(m); got != "onetwo" {
		t.Errorf("at best: %q", got)
	}
	if got := content(m.CrashWith(firstByte)); got != "onet" {
		t.Errorf("torn: %q", got)
	}
	if killed := m.Kill(); content(killed) != "onetwo" || durable(killed) != "one" {
		t.Error("the death of a process changed what is on the disk")
	}
	// Sectors are lost apart from each other.
	_, err = f.WriteAt(make([]byte, 1500), 500)
	must(t, err)
	if n := m.Unsynced(); n != 5 {
		t.Errorf("%d unsynced changes, want 1 and 4 sectors", n)
	}
}

func TestCrashOfNames(t *testing.T) {
	m := NewMem()
	f := create(t, m, "/a", "one")
	must(t, f.Sync())
	if exists(m.CrashWith(nothing), "/a") {
		t.Error("a name survives without a sync of its directory")
	}
	must(t, m.SyncDir("/"))
	must(t, m.Rename("/a", "/b"))
	if c := m.CrashWith(nothing); !exists(c, "/a") || exists(c, "/b") {
		t.Error("an unsynced rename survives")
	}
	if c := m.CrashWith(everything); exists(c, "/a") || string(c.ReadFile("/b")) != "one" {
		t.Error("a rename was not carried out")
	}
	must(t, m.SyncDir("/"))
	must(t, m.Remove("/b"))
	if !exists(m.CrashWith(nothing), "/b") || exists(m.CrashWith(everything), "/b") {
		t.Error("an unsynced removal is neither kept nor dropped")
	}
}

func TestFailSync(t *testing.T) {
	m := NewMem()
	f := create(t, m, "/a", "one")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt([]byte("two"), 3)
	must(t, err)
	m.FailSync(1)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	must(t, f.Sync()) // as Linux does it: the pages are clean
	if content(m) != "onetwo" || atBest(m) != "one" {
		t.Errorf("seen %q, on disk %q", content(m), atBest(m))
	}
}

func TestFaultsOfWrites(t *testing.T) {
	m := NewMem()
	f := create(t, m, "/a", "one")
	m.FailWrite(2, 1, nil)
	if n, err := f.WriteAt([]byte("two"), 3); n != 3 || err != nil {
		t.Errorf("first: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("six"), 6); n != 1 || err != nil {
		t.Errorf("short: %d, %v", n, err)
	}
	m.LimitSpace(2)
	if n, err := f.WriteAt([]byte("12345"), 5); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full: %d, %v", n, err)
	}
	if got := content(m); got != "onetw12" {
		t.Errorf("content %q", got)
	}
	if err := f.Preallocate(100); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("preallocate: %v", err)
	}
}

func TestHook(t *testing.T) {
	m := NewMem()
	var seen []string
	m.SetHook(func(op, path string) error {
		seen = append(seen, op+" "+path)
		if op == "before remove" || op == "after rename" {
			return syscall.EIO
		}
		return nil
	})
	create(t, m, "/a", "one")
	if err := m.Remove("/a"); !errors.Is(err, syscall.EIO) || !exists(m, "/a") {
		t.Errorf("remove: %v", err)
	}
	if err := m.Rename("/a", "/b"); !errors.Is(err, syscall.EIO) || !exists(m, "/b") {
		t.Errorf("rename: %v", err)
	}
	want := []string{
		"before create /a", "after create /a", "before write /a", "after write /a",
		"before remove /a", "before rename /b", "after rename /b",
	}
	if len(seen) != len(want) {
		t.Fatalf("%q", seen)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("step %d is %q, want %q", i, seen[i], want[i])
		}
	}
}

func TestRandomCrashesDiffer(t *testing.T) {
	m := NewMem()
	f := create(t, m, "/a", "one")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt(bytes.Repeat([]byte("x"), 2000), 3)
	must(t, err)
	rng := rand.New(rand.NewSource(1))
	images := map[string]int{}
	for range 500 {
		images[content(m.Crash(rng))]++
	}
	t.Logf("%d different images", len(images))
	if len(images) < 50 || images[durable(m)] == 0 || images[atBest(m)] == 0 {
		t.Errorf("%d different images, nothing kept %d times, everything %d times",
			len(images), images[durable(m)], images[atBest(m)])
	}
}

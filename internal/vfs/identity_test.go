package vfs_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dtc-project/dtc/internal/vfs"
)

func identityOf(t *testing.T, path string) vfs.Identity {
	t.Helper()
	f, err := vfs.OS{}.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id, err := f.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestIdentity: a file keeps its identity under another name and with other
// contents; one that is put in its place is another file, also where the file
// system gives it the same inode.
func TestIdentity(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("files have an identity on Linux only")
	}
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for range 5 {
		if err := os.WriteFile(a, []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
		made := identityOf(t, a)
		if made == (vfs.Identity{}) {
			t.Fatal("the file has no identity")
		}
		if err := os.Rename(a, b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b, []byte("two"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := identityOf(t, b); got != made {
			t.Fatalf("renamed and written, %+v became %+v", made, got)
		}
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
		tick(t, dir, made)
		if err := os.WriteFile(b, []byte("two"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := identityOf(t, b); got == made {
			t.Fatalf("a file in place of another has its identity, %+v", got)
		}
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
	}
}

// tick returns when the file system's clock has moved on, which may take a few
// milliseconds: within them a file may get the inode and the birth of another.
func tick(t *testing.T, dir string, since vfs.Identity) {
	t.Helper()
	path := filepath.Join(dir, "clock")
	for born := since.Birth; born == since.Birth && born != 0; {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		born = identityOf(t, path).Birth
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

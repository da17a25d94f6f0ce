package mysql_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// holder is a server whose log can be held up on its way to the disk.
type holder struct {
	*servers.Server
	file string
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	dir, err := os.MkdirTemp("", "dtc-holdlog-") // where the server's account can read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(dir, "holdlog.so")
	cc := strings.Fields(string(out))
	cmd := exec.Command(cc[0], append(cc[1:], "-shared", "-fPIC", "-o", library, "testdata/holdlog.c", "-ldl")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("a C compiler is needed: apt-get install gcc libc6-dev: %v\n%s", err, out)
	}
	h := &holder{Server: servers.MariaDB(t), file: filepath.Join(dir, "hold")}
	h.Stop(t)
	h.Env = []string{"LD_PRELOAD=" + library, "DTC_HOLD_LOG=" + h.file}
	h.Start(t)
	return h
}

// hold lets nothing more of the log reach the disk, until it is let go.
func (h *holder) hold(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(h.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(h.file) })
}

func (h *holder) release(t *testing.T) {
	t.Helper()
	if err := os.Remove(h.file); err != nil {
		t.Fatal(err)
	}
}

// crash loses what was held up. Nobody who waits for it may be told that it has happened.
func (h *holder) crash(t *testing.T, waiting ...<-chan error) {
	t.Helper()
	h.Kill(t)
	for _, answer := range waiting {
		if err := <-answer; !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("what never reached the disk was answered: %v", err)
		}
	}
	h.release(t)
	h.Start(t)
}

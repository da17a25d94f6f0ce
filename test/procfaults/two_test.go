package procfaults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/procs"
)

// TestTwoProcesses: nobody gets a directory that a process has, under whatever name, and
// everybody is told which process that is.
func TestTwoProcesses(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.start()
		stopLoad := h.load(2)
		defer stopLoad()
		link, parent := filepath.Join(h.dir, "link"), filepath.Join(h.dir, "parent")
		for _, l := range [][2]string{{h.data, link}, {h.dir, parent}} {
			if err := os.Symlink(l[0], l[1]); err != nil {
				t.Fatal(err)
			}
		}
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(wd, h.data)
		if err != nil {
			t.Fatal(err)
		}
		names := int64(0)
		for _, name := range []string{h.data, link, filepath.Join(parent, "data"), relative, h.data + "/.", h.dir + "/./data/../data/"} {
			h.refused(h.command(name), h.server.PID())
			names++
		}
		if h.bindMounted() {
			names++
		}
		h.refused(exec.Command(binaries+"/dtc", "log", "hold", "--data", link, "--reason", "a test"), h.server.PID())
		other := *h
		other.kind = map[string]string{library: serve, serve: library}[h.kind]
		h.refused(other.command(h.data), h.server.PID())

		h.kill() // leaves no lock behind
		h.start()
		h.kill()
		out, err := exec.Command(binaries+"/dtc", "log", "hold", "--data", h.data, "--reason", "a test").CombinedOutput()
		if err == nil {
			out, err = exec.Command(binaries+"/dtc", "log", "release", "--data", h.data, "--reason", "it is over").CombinedOutput()
		}
		if err != nil {
			h.fail("dtc log hold after a kill: %v: %s", err, out)
		}
		h.start()
		stopLoad()
		h.rest()
		tally.Add(t, machinery, "names of a directory in use under which it was refused, "+h.kind, names, 6)
		tally.Add(t, machinery, "second processes refused with code 4 and the pid, "+h.kind, h.count().refusals, 8)
	})
}

// bindMounted tries the directory under a mount of its own, where that is allowed.
func (h *house) bindMounted() bool {
	mount := filepath.Join(h.dir, "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		h.t.Fatal(err)
	}
	// The mount ends with the process.
	script := `mount --bind "$1" "$2" && shift 2 && exec "$@"`
	run := func(cmd *exec.Cmd) *exec.Cmd {
		args := append([]string{"-m", "/bin/sh", "-c", script, "sh", h.data, mount}, cmd.Args...)
		if os.Geteuid() != 0 {
			args = append([]string{"-r"}, args...)
		}
		bound := exec.Command("unshare", args...)
		bound.Env = cmd.Env
		return bound
	}
	if out, err := run(exec.Command("/bin/true")).CombinedOutput(); err != nil {
		h.t.Logf("SKIPPED: a directory that is mounted twice: %v: %s", err, out)
		return false
	}
	h.refused(run(h.command(mount)), h.server.PID())
	return true
}

// TestAtTheSameInstant starts two processes on one directory at once, again and again:
// one of them has it, and the other says who.
func TestAtTheSameInstant(t *testing.T) {
	t.Parallel()
	const rounds = 20
	h := newHouse(t, serve)
	other := *h
	other.kind = library
	won, libraries := int64(0), int64(0)
	for i := range rounds {
		pair := [2]*house{h, h}
		switch i % 3 {
		case 1:
			pair[1] = &other
		case 2:
			pair[0], pair[1] = &other, &other
		}
		first := procs.Launch(t, "first", pair[0].command(h.data))
		second := procs.Launch(t, "second", pair[1].command(h.data))
		winner, loser, has := first, second, first.Ready(t)
		switch too := second.Ready(t); {
		case has && too:
			t.Fatalf("round %d: both have the directory", i)
		case too:
			winner, loser = second, first
		case !has:
			t.Fatalf("round %d: neither has the directory: %s\n%s", i, first.Stderr(), second.Stderr())
		}
		h.isRefusal(loser, winner.PID())
		won++
		if winner == second && pair[1] == &other || winner == first && pair[0] == &other {
			libraries++
		}
		h.server = winner
		h.moved(winner.URL)
		stopLoad := h.load(1)
		time.Sleep(30 * time.Millisecond)
		stopLoad()
		if i < rounds-1 {
			h.kill()
			if i%5 == 0 { // as somebody does who takes the file for what holds the lock
				_ = os.Remove(filepath.Join(h.data, "LOCK"))
			}
		}
	}
	h.rest()
	tally.Add(t, machinery, "pairs started at the same instant, of which one won", won, rounds)
	t.Logf("%d times the library won", libraries)
}

// TestLockFileDeleted: the file is what people see of the lock, not the lock.
func TestLockFileDeleted(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.start()
		stopLoad := h.load(4)
		defer stopLoad()
		time.Sleep(300 * time.Millisecond)
		if err := os.Remove(filepath.Join(h.data, "LOCK")); err != nil {
			t.Fatal(err)
		}
		h.refused(h.command(h.data), 0)
		before := h.count().committed
		h.until("the first goes on", func() bool { return h.count().committed > before+10 })
		if strings.Contains(h.server.Stderr(), "the log has failed") {
			h.fail("the first coordinator is disturbed")
		}
		stopLoad()
		h.rest()
		tally.Add(t, machinery, "lock files deleted under a coordinator, and a second one refused, "+h.kind, h.count().refusals, 1)
	})
}

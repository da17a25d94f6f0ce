package procfaults_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/test/internal/procs"
)

// house is an installation: a coordinator, its participants, and what the clients were
// told.
type house struct {
	*ledger
	t    *testing.T
	kind string              // library or serve
	dir  string              // of the databases
	data string              // of the log
	cred *syscall.Credential // to run as
	dbs  []*sql.DB

	plain string // this test binary without the race detector

	parts  []*procs.Process // none for the library
	server *procs.Process   // the coordinator at work
}

// The two ways in which the coordinator is used.
const (
	library = "library" // a program with the participants in it
	serve   = "serve"   // `dtc serve`, and the participants are processes too
)

// each runs a test in both ways, at the same time.
func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Parallel()
	for _, kind := range []string{library, serve} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, newHouse(t, kind))
		})
	}
}

func newHouse(t *testing.T, kind string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "dtc-procfaults-")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{ledger: newLedger(), t: t, kind: kind, dir: dir, data: filepath.Join(dir, "data")}
	t.Cleanup(func() {
		h.complain()
		if t.Failed() {
			t.Log("the files are kept in", dir)
			return
		}
		os.RemoveAll(dir)
	})
	for i := range services {
		db, err := oracle.Open(filepath.Join(dir, services[i]+".db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := oracle.NewGuard(db, services[i]); err != nil { // makes its tables
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		h.dbs = append(h.dbs, db)
	}
	if kind == serve {
		for _, name := range services {
			h.parts = append(h.parts, procs.Start(t, name, child(role{Dir: dir, Participant: name})))
		}
	}
	return h
}

// child is the test binary in another role.
func child(r role) *exec.Cmd { return childOf(binaries+"/self", r) }

func childOf(binary string, r role) *exec.Cmd {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	return cmd
}

// command is a coordinator on a directory.
func (h *house) command(data string) *exec.Cmd {
	if h.kind == library {
		return child(role{Dir: h.dir, Data: data})
	}
	args := []string{
		"serve", "--data", data, "--listen", "127.0.0.1:0", "-o", "json", "--log-format", "json",
		"--prepare-timeout", "3s", "--prepare-attempt", "1s", "--finish-attempt", "1s", "--finish-backoff-cap", "200ms",
		"--completion-wait", "500ms", "--sweep-interval", "1s",
	}
	for _, p := range h.parts {
		args = append(args, "--participant", p.Name+"="+p.URL)
	}
	return exec.Command(binaries+"/dtc", args...)
}

// start starts the coordinator, which must be ready.
func (h *house) start(wrap ...string) {
	h.t.Helper()
	h.server = procs.Start(h.t, h.kind, h.wrapped(h.data, wrap...))
	if h.server.URL == "" {
		h.t.Fatalf("the coordinator does not start, code %d: %s", h.server.Code(), h.server.Stderr())
	}
	h.moved(h.server.URL)
}

// wrapped is the coordinator's command behind another one, such as a shell that sets a
// limit and becomes it.
func (h *house) wrapped(data string, wrap ...string) *exec.Cmd {
	cmd := h.command(data)
	if len(wrap) > 0 {
		cmd = h.shell(append(wrap, cmd.Args...), cmd.Env)
	}
	if h.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.cred}
	}
	return cmd
}

func (h *house) shell(args, env []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	return cmd
}

// limited makes a command run under a limit of the shell's.
func limited(limit string) []string { return []string{"/bin/sh", "-c", limit + ` && exec "$0" "$@"`} }

// kill ends the coordinator as a crash does.
func (h *house) kill() {
	h.epoch.Add(1)
	h.server.Kill()
	h.note(h.server)
}

// stop ends it in an orderly way, and returns its code.
func (h *house) stop() int {
	h.epoch.Add(1)
	h.server.Signal(syscall.SIGTERM)
	code := h.server.Code()
	h.note(h.server)
	return code
}

func (h *house) note(p *procs.Process) {
	for _, w := range p.Complaints() {
		h.fail("%s", w)
	}
}

// refused starts a coordinator on a directory that another process has: it must end at
// once with the code that says so, and name the process.
func (h *house) refused(cmd *exec.Cmd, pid int) {
	h.t.Helper()
	p := procs.Start(h.t, "second", cmd)
	if p.URL != "" {
		h.fail("a second process has the directory of process %d", pid)
		p.Kill()
		return
	}
	h.isRefusal(p, pid)
}

func (h *house) isRefusal(p *procs.Process, pid int) {
	h.t.Helper()
	if code := p.Code(); code != exitInUse {
		h.fail("the second process ended with code %d: %s", code, p.Stderr())
	}
	if want := fmt.Sprintf("in use by process %d:", pid); pid != 0 && !strings.Contains(p.Stderr(), want) {
		h.fail("the second process does not say %q: %s", want, p.Stderr())
	}
	if pid == 0 && !strings.Contains(p.Stderr(), "in use by") {
		h.fail("the second process does not say why: %s", p.Stderr())
	}
	h.add(&h.refusals)
}

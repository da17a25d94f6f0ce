// Package servers starts real database servers for tests: private, without
// privileges, on the loopback interface only, and never longer than the test.
//
// A server that cannot be started fails the test. DTC_SKIP_DATABASES=1 skips
// instead, and says so.
package servers

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Server is one running database server.
type Server struct {
	// Port on 127.0.0.1, the same after every restart.
	Port int
	// Dir is the server's private directory: data, socket and log.
	Dir string
	// Env is added to the server's environment from its next start on.
	Env []string

	kind    *kind
	args    []string // besides those of the kind
	cmd     *exec.Cmd
	exited  chan struct{}
	killed  bool
	logFile string
}

// kind is what differs between the databases.
type kind struct {
	name, debian string
	account      string // to run as, if the test runs as root
	// init makes a data directory, command runs a server on one.
	init, command func(k *kind, data string, s *Server) ([]string, error)
	// dsn is for database/sql, with the named driver.
	driver string
	dsn    func(s *Server, database string) string
	// stop is the signal of an orderly stop.
	stop syscall.Signal
}

// start makes a server with a data directory of its own and waits until it
// answers. What cleans up is handed to cleanup.
func start(t testing.TB, k *kind, cleanup func(func()), args ...string) *Server {
	t.Helper()
	s := newServer(t, k, cleanup, args)
	template, err := k.template()
	if err != nil {
		t.Fatalf("%s: %v", k.name, err)
	}
	if err := k.copyTree(template, s.data()); err != nil {
		t.Fatalf("%s: copying the data directory: %v", k.name, err)
	}
	cleanup(s.stop)
	s.Start(t)
	return s
}

// newServer makes a server that has no data yet, and is not started.
func newServer(t testing.TB, k *kind, cleanup func(func()), args []string) *Server {
	t.Helper()
	if os.Getenv("DTC_SKIP_DATABASES") == "1" {
		t.Skipf("DTC_SKIP_DATABASES=1: NOTHING was tested against %s", k.name)
	}
	dir, err := k.tempDir()
	if err != nil {
		t.Fatalf("%s: %v", k.name, err)
	}
	cleanup(func() { os.RemoveAll(dir) })
	s := &Server{Dir: dir, kind: k, args: args, logFile: filepath.Join(dir, "server.log")}
	if s.Port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// Start starts the server again after Stop or Kill, on the same port and data,
// and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	// The children of a killed PostgreSQL take a moment to notice, and until they
	// are gone a new one refuses to run on their data.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := s.launch()
		if err == nil {
			return
		}
		if !s.killed || time.Now().After(deadline) {
			t.Fatalf("%s: %v\n%s", s.kind.name, err, s.Log())
		}
	}
}

func (s *Server) launch() error {
	args, err := s.kind.command(s.kind, s.data(), s)
	if err != nil {
		return err
	}
	args = append(args, s.args...)
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, log, log
	s.cmd.Env = append(os.Environ(), s.Env...)
	s.cmd.SysProcAttr = s.kind.attr()
	s.exited = make(chan struct{})
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the *thread* that started the child dies, so this
		// one stays with it to the end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
		}
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.waitReady(60 * time.Second)
}

func (s *Server) waitReady(limit time.Duration) error {
	db, err := sql.Open(s.kind.driver, s.kind.dsn(s, ""))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it has exited: %v (%w)", s.cmd.ProcessState, err)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TryStart is Start for a server that may refuse.
func (s *Server) TryStart() error { return s.launch() }

// Kill kills the server with SIGKILL and waits until it is gone: what it had not
// made durable is lost, as far as a process can lose it.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.killed = true
	if err := s.signal(syscall.SIGKILL, 30*time.Second); err != nil {
		t.Fatal(err)
	}
}

// Stop stops the server in an orderly way and waits for it.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.signal(s.kind.stop, 60*time.Second); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) stop() { _ = s.signal(s.kind.stop, 60*time.Second) }

func (s *Server) signal(sig syscall.Signal, limit time.Duration) error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil // never started
	}
	select {
	case <-s.exited:
		return nil
	default:
	}
	// os.Process never signals a pid that was already waited for.
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.exited:
		return nil
	case <-time.After(limit):
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("%s did not stop within %v of signal %v\n%s", s.kind.name, limit, sig, s.Log())
	}
}

// Log returns the end of what the server wrote.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.logFile)
	return string(b[max(0, len(b)-4000):])
}

// DSN returns the data source name of a database, for [Server.Open].
func (s *Server) DSN(database string) string { return s.kind.dsn(s, database) }

// Open opens a pool on a database, closed when the test ends.
func (s *Server) Open(t testing.TB, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.kind.driver, s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// NewDatabase makes a database and opens a pool on it.
func (s *Server) NewDatabase(t testing.TB, name string) *sql.DB {
	t.Helper()
	if _, err := s.Open(t, "").Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return s.Open(t, name)
}

var databases atomic.Int64

// NewName returns a name for a database that this process has not used yet.
func NewName() string { return fmt.Sprintf("dtc_%d", databases.Add(1)) }

// attr makes the server run as an ordinary account and die with the test.
func (k *kind) attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if uid, gid, ok := k.owner(); ok {
		a.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return a
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// find returns the path of a server's program, or an error that says how to get
// it.
func (k *kind) find(program string, patterns ...string) (string, error) {
	var found []string
	for _, p := range patterns {
		m, _ := filepath.Glob(p)
		found = append(found, m...)
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return versionOf(b) - versionOf(a) })
		return found[0], nil
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not installed: apt-get install -y --no-install-recommends %s (DTC_SKIP_DATABASES=1 skips these tests)", program, k.debian)
}

// versionOf is the number in a path like /usr/lib/postgresql/15/bin/initdb.
func versionOf(path string) int {
	for part := range strings.SplitSeq(path, "/") {
		if n, err := strconv.Atoi(part); err == nil {
			return n
		}
	}
	return 0
}

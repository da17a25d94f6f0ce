// Package procfaults_test does to real processes what happens to processes: they are
// stopped and go on, started twice, run out of descriptors and of memory, and somebody
// removes, moves or exchanges their data directory.
//
// The coordinator is used in both ways, as the library in a program and as `dtc serve`,
// over participants whose databases show in the end what became of each transaction;
// package oracle holds that against what the clients were told. This is what happens:
//
//	what is done                        what the coordinator does
//	stopped, goes on                    goes on; who waited learns the truth, late
//	stopped, another one is started     the other ends with code 4 and names the first; so
//	                                    it does under every name of the directory, also
//	                                    when the file LOCK has been deleted (then it
//	                                    cannot name it), and when both start at once
//	killed                              leaves no lock
//	no descriptors                      serves the connections it has, and finishes what
//	                                    it has begun in segments that are open already;
//	                                    refuses new work when those run out; takes it up
//	                                    again, without a restart, when it can open files
//	no memory                           dies; a restart finishes everything
//	directory removed                   fails its log before it tells another decision, or
//	                                    within a second. All decisions in it are lost: the
//	                                    branches stay in doubt at the participants. The
//	                                    next start makes a log of another id, which
//	                                    presumes nothing about them
//	directory renamed                   the same, but nothing is lost: put back, the next
//	                                    start finishes everything
//	renamed and renamed back            goes on, or has missed it and failed: restart
//	replaced by an empty directory      like renamed. Nothing is written to the new one
//	replaced by an older copy           like renamed. A start on the copy begins a recovery
//	                                    hold: new work runs, of the past nothing is
//	                                    presumed
//	older copy restored while stopped   the same hold
//	made read-only                      goes on until a segment is full, then its log fails
//	                                    and says so; when it is writable again, a restart
//	                                    finishes everything
//
// What remains. Between the look at the path and the answer to the client the directory
// can be exchanged: that is as if it had been exchanged after the answer. Whoever posts an
// id again to a log that was put in place of another runs it again, also if it had
// committed: what is remembered of ids is in the other log. The deletion of the newest
// segment alone fails the process that has it open, but a start after a crash cannot tell
// that log from an older state of it. And where the file system cannot lock directories
// (NFS), only the file LOCK is locked: who deletes it can start a second coordinator, and
// the first fails when it next looks, after its next sync or within a second.
package procfaults_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc/test/internal/procs"
)

// binaries is where dtc is built, and where this test binary is copied to: another
// account must be able to run it.
var binaries string

// buildFlags are the test's own.
var buildFlags []string

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(childMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	err := prepare()
	defer os.RemoveAll(binaries)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func prepare() (err error) {
	if binaries, err = os.MkdirTemp("", "dtc-procfaults-bin-"); err != nil {
		return err
	}
	if err := os.Chmod(binaries, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(binaries, "self"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	_, err = procs.Build(binaries, buildFlags...)
	return err
}

// Package disk_test runs the decision log on disks that really fail: a file
// system that answers calls with errors, or not at all, and one that is full.
//
// The failing file system is served over FUSE by a child process, because a
// process that waits for its own mount can hang for ever. It is this test binary
// again, and so is the process that the tests themselves run in: that one has a
// mount namespace of its own, in which it may mount what it likes, and with which
// every mount goes away however the process ends.
package disk_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// roleEnv says what this process is: nothing, the tests in their own namespace, or
// the server of a file system.
const (
	roleEnv  = "DTC_TEST_DISK_ROLE"
	roleTest = "tests"
	roleDisk = "server"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case roleDisk:
		os.Exit(serve(os.Args[1], os.Args[2]))
	case roleTest:
		// What is mounted here must not be seen outside.
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "make the mounts of this namespace private:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if code, err := runInside(); err == nil {
		os.Exit(code)
	}
	// No namespace can be had. A mount may still be allowed; if it is not, each test
	// says that it was skipped.
	os.Exit(m.Run())
}

// runInside runs the tests in a new mount namespace, and in a new user namespace
// where the first needs that. An error means that they were not run.
func runInside() (int, error) {
	runtime.LockOSThread() // the child is killed when the thread that started it ends
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	for _, flags := range []uintptr{syscall.CLONE_NEWNS, syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER} {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), roleEnv+"="+roleTest)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		if err = cmd.Start(); err != nil {
			continue
		}
		err = cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return max(1, exit.ExitCode()), nil // a signal has the code -1
		}
		return 0, err
	}
	return 0, err
}

// skip says loudly that something was not tested: test.sh counts these lines.
func skip(t *testing.T, why string, err error) {
	t.Helper()
	t.Skipf("SKIPPED: %s: %v", why, err)
}

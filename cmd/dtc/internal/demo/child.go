package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// child is a process of the demo. It ends by itself when its standard input does,
// so it never outlives the demo, however that ends.
type child struct {
	name    string
	address string // host:port that it serves
	cmd     *exec.Cmd
	stdin   io.Closer     // never closed: that it ends says that we are gone
	ended   chan struct{} // closed when it has ended, and cmd knows how
}

// A child says where it serves in the first line that has an address in it.
var serves = regexp.MustCompile(`http://(127\.0\.0\.1:[1-9][0-9]*)`)

// startChild starts this program with the given arguments, and returns when it has
// said where it serves. What it says is appended to NAME.log.
func startChild(ctx context.Context, dir, name string, args ...string) (_ *child, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	c := &child{name: name, cmd: exec.Command(self, args...), ended: make(chan struct{})}
	// What is set for another coordinator is not meant for this one.
	c.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "DTC_") })
	// Standard error is the file itself: nobody has to read for the child to go on.
	c.cmd.Stderr = log
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process of %s: %w", name, err)
	}
	said := make(chan string, 1)
	go func() {
		defer close(c.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if found := serves.FindStringSubmatch(lines.Text()); found != nil {
				select {
				case said <- found[1]:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, out) // after a line that is too long
		_ = c.cmd.Wait()                // how it ended says the ProcessState
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case c.address = <-said:
		return c, nil
	case <-c.ended:
		return nil, fmt.Errorf("the process of %s ended at once (%v); %s says why", name, c.cmd.ProcessState, log.Name())
	case <-timer.C:
		err = fmt.Errorf("the process of %s did not say where it serves within %v; see %s", name, patience, log.Name())
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, c.stop())
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill kills it with SIGKILL, and fails if that is not what it died of.
func (c *child) kill() error {
	killed := c.cmd.Process.Kill()
	<-c.ended
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if killed != nil || !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return errors.Join(fmt.Errorf("%s was not killed: %v", c.name, c.cmd.ProcessState), killed)
	}
	return nil
}

// stop ends it in peace, or after a while in any way, and returns when it is gone.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	select {
	case <-c.ended:
		return nil
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.ended:
		return nil
	case <-timer.C:
		return c.kill()
	}
}

// DieWithParent ends this process when the one that started it is gone: then nobody
// is there to stop it.
func DieWithParent(in io.Reader) {
	go func() {
		_, _ = io.Copy(io.Discard, in)
		os.Exit(1)
	}()
}

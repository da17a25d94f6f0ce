package disk_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// disk is a mounted file system that fails when it is told to.
type disk struct {
	t       *testing.T // who is at work with it
	dir     string     // where it is mounted
	backing string
	stop    func()
	orders  *json.Encoder
	answers *bufio.Scanner
}

// mountFailing mounts a failing disk for the length of a test.
func mountFailing(t *testing.T) *disk {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		skip(t, "no FUSE on this machine", err)
	}
	base := t.TempDir()
	d := &disk{t: t, dir: filepath.Join(base, "mount"), backing: filepath.Join(base, "backing")}
	for _, dir := range []string{d.dir, d.backing} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { d.stop() })
	d.stop = func() {}
	d.start()
	return d
}

// start starts the process that serves the disk.
func (d *disk) start() {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.Command(self, d.backing, d.dir)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleDisk)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	t := d.t // d.t may be that of a subtest when this is called
	d.stop = func() { d.stop = func() {}; unserve(t, cmd, in, d.dir) }
	d.orders, d.answers = json.NewEncoder(in), bufio.NewScanner(out)
	if r := d.answer(); r.Error != "" {
		skip(d.t, "the mount was refused", errors.New(r.Error))
	}
}

// restart unmounts the disk and mounts it again, which empties the kernel's cache
// of it, as a restart of the machine does.
func (d *disk) restart() {
	d.t.Helper()
	d.stop()
	d.start()
}

// unserve ends the process that serves a disk, and the mount in any case.
func unserve(t *testing.T, cmd *exec.Cmd, in io.Closer, dir string) {
	_ = in.Close() // tells it to unmount
	kill := time.AfterFunc(10*time.Second, func() {
		t.Errorf("the server of the failing disk did not end")
		_ = cmd.Process.Kill()
	})
	_ = cmd.Wait()
	kill.Stop()
	// An error says that it is unmounted, as it should be, or that fusermount did
	// it and we may not.
	_ = syscall.Unmount(dir, syscall.MNT_DETACH)
}

// tell gives an order and returns what happened before it.
func (d *disk) tell(o order) report {
	d.t.Helper()
	if err := d.orders.Encode(o); err != nil {
		d.t.Fatal(err)
	}
	return d.answer()
}

func (d *disk) answer() (r report) {
	d.t.Helper()
	if !d.answers.Scan() {
		d.t.Fatalf("the server of the failing disk has ended: %v", d.answers.Err())
	}
	if err := json.Unmarshal(d.answers.Bytes(), &r); err != nil {
		d.t.Fatal(err)
	}
	return r
}

// fail makes the kth call of a kind fail, and those behind it: so many in all.
func (d *disk) fail(op string, k, times int, h how) {
	d.t.Helper()
	d.tell(order{Do: "fail", Op: op, K: k, Times: times, How: h})
}

// heal ends what fails or hangs, and returns how many calls did.
func (d *disk) heal() int {
	d.t.Helper()
	return d.tell(order{Do: "heal"}).Fired
}

// fired returns how many calls have failed or hang.
func (d *disk) fired() int {
	d.t.Helper()
	return d.tell(order{Do: "count"}).Fired
}

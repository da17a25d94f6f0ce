package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// diskEnv names the directory for the small disk to a process that may mount what it likes:
// it has a mount namespace of its own, with which every mount goes away however the process
// ends.
const diskEnv = "DTC_TEST_POSTGRES_DISK"

// onSmallDisk runs a test in a process with a small disk, where the servers of that test put
// their data. The database refuses to run as root of a user namespace, so root is needed.
func onSmallDisk(t *testing.T, size string, test func(t *testing.T, dir string)) {
	dir := os.Getenv(diskEnv)
	if dir == "" {
		runtime.LockOSThread() // the child is killed when the thread that started it ends
		defer runtime.UnlockOSThread()
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), diskEnv+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		switch {
		case errors.Is(err, syscall.EPERM):
			t.Skipf("SKIPPED: no mount namespace can be had: %v", err)
		case err != nil:
			t.Errorf("%v\n%s", err, out)
		case strings.Contains(string(out), "SKIPPED:"):
			t.Skipf("SKIPPED: the mount was refused\n%s", out)
		case !strings.Contains(string(out), "--- PASS: "+t.Name()):
			t.Errorf("it did not run:\n%s", out)
		default:
			t.Logf("%s", out)
		}
		return
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("SKIPPED: make the mounts private: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size="+size); err != nil {
		t.Skipf("SKIPPED: mount a small disk: %v", err)
	}
	for up := filepath.Dir(dir); up != filepath.Clean(os.TempDir()) && up != "/"; up = filepath.Dir(up) {
		_ = os.Chmod(up, 0o755) // the account of the server has to come through
	}
	t.Setenv("TMPDIR", dir)
	test(t, dir)
}

// TestDiskFull: the server's disk fills up under transactions, and is made room on. Nothing
// that was told is untrue, and nothing is left.
func TestDiskFull(t *testing.T) {
	onSmallDisk(t, "120m", func(t *testing.T, dir string) {
		w := newWorld(t, servers.Postgres(t, "checkpoint_timeout=1h", "max_wal_size=1GB"))
		w.exec(t, "CREATE TABLE ballast (xid text, b bytea)")
		// The coordinator's disk is another one.
		c, err := dtc.Open(filepath.Join(filepath.Dir(dir), "log"), &dtc.Config{Participants: []dtc.Participant{w.db}, SweepInterval: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		reserve := filepath.Join(dir, "reserve")
		if err := os.WriteFile(reserve, make([]byte, 20<<20), 0o600); err != nil {
			t.Fatal(err)
		}

		told := map[string]error{}
		failed := 0
		for i := 0; failed < 3 && i < 1000; i++ {
			var xid dtc.XID
			err := c.RunWith(t.Context(), dtc.TxID(fmt.Sprintf("fill-%d", i)), &dtc.TxOptions{PrepareTimeout: 2 * time.Second, CompletionWait: -1},
				func(ctx context.Context, tx *dtc.Tx) error {
					xid = tx.XID()
					return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
						_, err := q.Exec(ctx, "INSERT INTO ballast SELECT $1, string_agg(sha512(($1 || n)::bytea), '') FROM generate_series(1, 16000) AS n", xid.String())
						return err
					})
				})
			if told[xid.String()] = err; err != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Fatal("the disk was never full")
		}
		t.Logf("after %d transactions: %v", len(told), lastError(told))
		if err := os.Remove(reserve); err != nil {
			t.Fatal(err)
		}
		w.server.Kill(t) // if it has not ended by itself
		w.server.Start(t)
		w.pool.Reset()
		eventually(t, "all end", func() bool { return c.Stats().Unfinished == 0 })
		w.clean(t)
		for xid, err := range told {
			if n := w.count(t, "SELECT count(*) FROM ballast WHERE xid = $1", xid); n > 1 || (n == 1) != (err == nil) || err != nil && !errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("%s: %d rows, told %v", xid, n, err)
			}
		}
		tally.Add(t, "databases", "PostgreSQL: transactions that a full disk has ended", int64(failed), 1)
	})
}

func lastError(told map[string]error) error {
	for _, err := range told {
		if err != nil {
			return err
		}
	}
	return nil
}

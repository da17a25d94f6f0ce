package guard_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// A server that is killed between prepare and commit still lists every branch
// that had voted, and finishes each as it is told.
func TestServerKilledInDoubt(t *testing.T) {
	onOwnServer(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		g := newGuard(t, "tokens", d, k.funcs(), nil)
		n := newNames("tokens")
		const branches = 30
		for seq := uint64(1); seq <= branches; seq++ {
			if v, err := g.Prepare(t.Context(), n.branch(seq)); v != dtc.VoteCommit || err != nil {
				t.Fatalf("prepare: %v, %v", v, err)
			}
		}
		d.crash(t)
		wantInDoubt(t, g, n, branches)
		for seq := uint64(1); seq <= branches; seq++ {
			finish := g.Commit
			if seq%3 == 0 {
				finish = g.Rollback
			}
			if err := finish(t.Context(), n.branch(seq)); err != nil {
				t.Fatal(err)
			}
			if seq == branches/2 {
				d.crash(t)
				wantInDoubt(t, g, n, branches/2)
			}
		}
		wantInDoubt(t, g, n, 0)
		if got := d.int(t, "SELECT count(*) FROM applied"); got != 20 {
			t.Errorf("%d branches applied, want 20", got)
		}
		if got := d.int(t, "SELECT count(*) FROM held"); got != 0 {
			t.Errorf("%d branches still held", got)
		}
	})
}

func wantInDoubt(t *testing.T, g *guard.Guard, n names, want int) {
	t.Helper()
	list, err := g.InDoubt(t.Context(), n.log)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != want {
		t.Fatalf("%d branches in doubt, want %d", len(list), want)
	}
	for _, b := range list {
		if b.PreparedAt.IsZero() {
			t.Errorf("%s: no time", b.XID)
		}
	}
}

// childDatabase, if set, makes the test binary a participant that prepares one
// branch in that SQLite file, says so, and waits to be killed.
const childDatabase = "DTC_TEST_GUARD_CHILD_DATABASE"

var childNames = names{participant: "tokens", log: dtc.LogID{1, 2, 3}}

func prepareAndWait(path string) int {
	db, err := sql.Open("sqlite", sqliteDSN(path))
	if err == nil {
		k := tokens{&database{dialect: guard.SQLite, db: db}}
		var g *guard.Guard
		if g, err = guard.New(context.Background(), "tokens", db, guard.SQLite, k.funcs(), nil); err == nil {
			_, err = g.Prepare(context.Background(), childNames.branch(1))
		}
	}
	fmt.Println("voted", err)
	select {}
}

// The same for SQLite, whose server is the process that uses it.
func TestProcessKilledInDoubt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	d := &database{dialect: guard.SQLite, db: openSQLite(t, path)}
	k := newTokens(t, d)

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDatabase+"="+path)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if line != "voted <nil>\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}

	g := newGuard(t, "tokens", d, k.funcs(), nil)
	wantInDoubt(t, g, childNames, 1)
	if v, err := g.Prepare(t.Context(), childNames.branch(1)); v != dtc.VoteCommit || err != nil {
		t.Errorf("prepare repeated: %v, %v", v, err)
	}
	if err := g.Commit(t.Context(), childNames.branch(1)); err != nil {
		t.Fatal(err)
	}
	if e, err := k.effect(childNames.xid(1)); e.Applied != 1 || e.Held || err != nil {
		t.Errorf("effect %+v, %v; want applied once", e, err)
	}
}

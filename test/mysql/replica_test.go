package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// TestBinlog: with a binary log it has to be synced.
func TestBinlog(t *testing.T) {
	w := newDatabase(t, servers.MariaDB(t, "log-bin", "server-id=1"))
	_, err := mysql.Open(t.Context(), "orders", w.pool, w.finish, nil)
	if !errors.Is(err, mysql.ErrUnusable) || !strings.Contains(err.Error(), "SET GLOBAL sync_binlog = 1") {
		t.Errorf("error %v", err)
	}
	w.exec(t, "SET GLOBAL sync_binlog = 1")
	w.db = w.participant(t, "orders", nil)
	c := open(t, w.db)
	for _, id := range []string{"one", "two"} {
		if err := run(t, c, w.db, id, func(ctx context.Context, q *mysql.Tx) error {
			_, err := q.ExecContext(ctx, "INSERT INTO token VALUES ('"+id+"')")
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	w.clean(t)
}

// TestPromoted: between prepare and commit an asynchronous replica takes over. A branch that
// has come there is committed; of one that has not, nobody says that it was.
func TestPromoted(t *testing.T) {
	primary := servers.MariaDB(t, "log-bin", "server-id=1", "sync-binlog=1", "binlog-format=ROW")
	replica := servers.MariaDB(t, "log-bin", "server-id=2", "sync-binlog=1", "read-only=ON")
	there := replica.Open(t, "")
	exec := func(sql string) {
		t.Helper()
		if _, err := there.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='root', MASTER_USE_GTID=slave_pos", primary.Port))
	exec("START SLAVE")
	w := newWorld(t, primary)
	p := w.through(t, wire.MySQL)
	ctx := background(t)
	come, lost := w.branch(1), w.branch(2)
	if v, err := p.db.Prepare(ctx, come); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	prepared := func() (n int) {
		rows, err := there.Query("XA RECOVER")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "the branch comes to the replica", func() bool { return prepared() == 1 })
	exec("STOP SLAVE")
	if v, err := p.db.Prepare(ctx, lost); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	primary.Kill(t)
	p.proxy.Target(replica.Addr())
	finished := new(dtc.FinishedError)
	for _, b := range []dtc.Branch{come, lost} { // it is not the primary yet
		if err := p.db.Commit(ctx, b); err == nil || errors.As(err, &finished) {
			t.Errorf("commit on a replica: %v", err)
		}
	}
	exec("RESET SLAVE ALL")
	exec("SET GLOBAL read_only = OFF")
	if err := p.db.Commit(ctx, come); err != nil {
		t.Errorf("commit of what has come: %v", err)
	}
	if err := p.db.Commit(ctx, lost); !errors.As(err, &finished) || finished.Outcome != dtc.RolledBack {
		t.Errorf("commit of what was lost: %v", err)
	}
	var tokens, rows int
	err := there.QueryRow(fmt.Sprintf("SELECT (SELECT COUNT(*) FROM %s.token), (SELECT COUNT(*) FROM %[1]s.dtc_branch WHERE state = 'committed')", w.name)).Scan(&tokens, &rows)
	if err != nil || tokens != 1 || rows != 1 {
		t.Errorf("rows: %d and %d, error: %v", tokens, rows, err)
	}
}

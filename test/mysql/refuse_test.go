package mysql_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestRefuses: a server that cannot keep the promises is refused, with the remedy.
func TestRefuses(t *testing.T) {
	w := newWorld(t, servers.MariaDB(t))
	w.exec(t, "CREATE TABLE journal (n int) ENGINE=MyISAM")
	tests := []struct {
		set, reset string
		want       string
		lossy      bool
	}{
		{
			set: "SET GLOBAL innodb_flush_log_at_trx_commit = 2", reset: "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
			want: "SET GLOBAL innodb_flush_log_at_trx_commit = 1", lossy: true,
		},
		{set: "SET GLOBAL read_only = ON", reset: "SET GLOBAL read_only = OFF", want: "SET GLOBAL read_only = OFF"},
		{
			set: "SET GLOBAL default_storage_engine = Aria", reset: "SET GLOBAL default_storage_engine = InnoDB",
			want: "SET GLOBAL default_storage_engine = InnoDB",
		},
		{
			set: "ALTER TABLE dtc_branch ENGINE = MyISAM", reset: "ALTER TABLE dtc_branch ENGINE = InnoDB",
			want: "ALTER TABLE dtc_branch ENGINE = InnoDB",
		},
		{set: "ALTER TABLE dtc_branch DROP COLUMN tx_id", reset: "ALTER TABLE dtc_branch ADD COLUMN tx_id varbinary(128) NOT NULL", want: "1054"},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			w.exec(t, tt.set)
			defer w.exec(t, tt.reset)
			_, err := mysql.Open(t.Context(), "orders", w.pool, w.finish, nil)
			if !errors.Is(err, mysql.ErrUnusable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
			db, err := mysql.Open(t.Context(), "orders", w.pool, w.finish, &mysql.Options{AllowLossy: true})
			if (err == nil) != tt.lossy {
				t.Errorf("lossy: %v, error: %v", tt.lossy, err)
			}
			if err == nil {
				db.Close()
			}
		})
	}
	// What stands in nobody's way is found too.
	all, err := w.db.Findings(t.Context())
	if err != nil || len(all) != 1 || all[0].Fatal || !strings.Contains(all[0].String(), "ALTER TABLE journal ENGINE = InnoDB") {
		t.Errorf("findings: %v, error: %v", all, err)
	}
	if _, err := mysql.Open(t.Context(), strings.Repeat("x", 65), w.pool, w.finish, nil); err == nil {
		t.Error("a participant whose id the server does not take is accepted")
	}
}

// TestReadOnly: on a server that has become a replica nothing is concluded.
func TestReadOnly(t *testing.T) {
	w := newWorld(t, servers.MariaDB(t))
	ctx := background(t)
	w.exec(t, "CREATE USER app IDENTIFIED BY 'secret'") // whom read_only binds
	w.exec(t, "GRANT ALL ON "+w.name+".* TO app")
	finish := w.as(t, "app")
	db, err := mysql.Open(ctx, "orders", openPool(t, finish), finish, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b := w.branch(1)
	if v, err := db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	w.exec(t, "SET GLOBAL read_only = ON")
	finished := new(dtc.FinishedError)
	if list, err := db.InDoubt(ctx, b.XID.Log); err == nil {
		t.Errorf("a read-only server lists %v", list)
	}
	if err := db.Commit(ctx, w.branch(2)); err == nil || errors.As(err, &finished) {
		t.Errorf("commit of what is not there: %v", err)
	}
	if err := db.Rollback(ctx, w.branch(3)); err == nil || errors.As(err, &finished) {
		t.Errorf("rollback of what is not there: %v", err)
	}
	if v, err := db.Prepare(ctx, w.branch(4)); v == dtc.VoteCommit || !errors.Is(err, dtc.ErrNoAnswer) {
		t.Errorf("prepare: %v, %v", v, err)
	}
	w.exec(t, "SET GLOBAL read_only = OFF")
	if err := db.Commit(ctx, b); err != nil {
		t.Error(err)
	}
}

// as returns a connector of an account whose password is "secret".
func (w *world) as(t *testing.T, account string) driver.Connector {
	return connector(t, strings.Replace(w.dsn, "root@", account+":secret@", 1))
}

// TestAccounts: what an account must be allowed.
func TestAccounts(t *testing.T) {
	w := newWorld(t, servers.MariaDB(t))
	ctx := context.Background()
	for _, sql := range []string{
		"CREATE USER little IDENTIFIED BY 'secret'", "GRANT SELECT, INSERT, UPDATE, DELETE ON %s.* TO little",
		"CREATE USER reader IDENTIFIED BY 'secret'", "GRANT SELECT ON %s.* TO reader",
		"CREATE USER boss IDENTIFIED BY 'secret'", "GRANT SELECT, INSERT, UPDATE, DELETE ON %s.* TO boss", "GRANT CONNECTION ADMIN ON *.* TO boss",
		"CREATE USER nobody IDENTIFIED BY 'secret'",
	} {
		if strings.Contains(sql, "%s") {
			sql = fmt.Sprintf(sql, w.name)
		}
		w.exec(t, sql)
	}
	other := newWorld(t, servers.SharedMariaDB(t))
	for _, tt := range []struct {
		name         string
		pool, finish driver.Connector
		want         string // it is refused, or cannot be opened
	}{
		{"reads and writes", w.as(t, "little"), w.as(t, "little"), ""},
		{"only reads", w.as(t, "reader"), w.as(t, "reader"), "GRANT SELECT, INSERT, UPDATE, DELETE"},
		{"finishes as another", w.as(t, "reader"), w.as(t, "little"), "CONNECTION ADMIN"},
		{"finishes as another who may", w.as(t, "little"), w.as(t, "boss"), ""},
		{"may nothing", w.as(t, "little"), w.as(t, "nobody"), "access to the database denied"},
		{"on another server", other.finish, w.as(t, "little"), "different servers"},
	} {
		db, err := mysql.Open(ctx, "orders", openPool(t, tt.pool), tt.finish, nil)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: error %v, want one that says %q", tt.name, err, tt.want)
		}
		if err != nil {
			continue
		}
		b := w.branch(uint64(len(tt.name)))
		if v, err := db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Errorf("%s: %v, %v", tt.name, v, err)
		}
		db.Close() // so that it is finished from elsewhere
		if db, err = mysql.Open(ctx, "orders", openPool(t, tt.pool), tt.finish, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.Commit(ctx, b); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		db.Close()
	}
}

// TestRestart: after a start of the server the ids of connections begin anew. That of a
// branch prepared before is somebody else's now, who is left alone.
func TestRestart(t *testing.T) {
	server := servers.MariaDB(t)
	w := newWorld(t, server)
	ctx := background(t)
	b := w.branch(1)
	if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	id := w.session(t, b)
	eventually(t, "the next start is in another second", func() bool {
		return w.count(t, "SELECT VARIABLE_VALUE >= 2 FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'") == 1
	})
	server.Kill(t)
	server.Start(t)
	pool := openPool(t, w.finish)
	for last := 0; last < id; {
		conn, err := pool.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&last); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id); n != 1 {
		t.Fatalf("connection %d is not there: nothing was tried", id)
	}
	db, err := mysql.Open(ctx, "orders", openPool(t, w.finish), w.finish, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Commit(ctx, b); err != nil {
		t.Error(err)
	}
	if n := w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id); n != 1 {
		t.Errorf("connection %d was ended, which was another's", id)
	}
	if held, applied, err := w.effect(b.XID, "orders"); err != nil || held || applied != 1 {
		t.Errorf("held: %v, applied: %d, error: %v", held, applied, err)
	}
}

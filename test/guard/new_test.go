package guard_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

func TestNewFromManyProcessesAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := tokens{d}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := guard.New(t.Context(), "tokens", d.db, d.dialect, k.funcs(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestSchemaByHand(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		o := &guard.Options{TablePrefix: "shop_2pc", NoCreate: true}
		if _, err := guard.New(t.Context(), "tokens", d.db, d.dialect, k.funcs(), o); err == nil {
			t.Error("New without tables succeeded")
		}
		text, err := guard.Schema(d.dialect, "shop_2pc")
		if err != nil {
			t.Fatal(err)
		}
		for stmt := range strings.SplitSeq(text, ";\n") {
			if strings.TrimSpace(stmt) != "" {
				d.exec(t, stmt)
			}
		}
		g := newGuard(t, "tokens", d, k.funcs(), o)
		n := newNames("tokens")
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteCommit {
			t.Error(vote, err)
		}
		if got := d.int(t, "SELECT count(*) FROM shop_2pc_branch"); got != 1 {
			t.Errorf("%d rows, want 1", got)
		}
	})
}

func TestNewRefusesTheWrongDialect(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		for _, other := range []guard.Dialect{guard.SQLite, guard.PostgreSQL, guard.MariaDB} {
			if other == d.dialect {
				continue
			}
			_, err := guard.New(t.Context(), "tokens", d.db, other, tokens{d}.funcs(), nil)
			if err == nil || !strings.Contains(err.Error(), other.String()) {
				t.Errorf("%s taken for %s: %v", d.dialect, other, err)
			}
		}
	})
}

func TestNewRefusesLossyDatabases(t *testing.T) {
	lossy := func(t *testing.T, d *database, want string) {
		t.Helper()
		_, err := guard.New(t.Context(), "tokens", d.db, d.dialect, tokens{d}.funcs(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want a refusal that names %s", d.dialect, err, want)
		}
		newGuard(t, "tokens", d, tokens{d}.funcs(), &guard.Options{AllowLossyDatabase: true})
	}
	for dsn, want := range map[string]string{
		":memory:": "journal_mode",
		"file:" + filepath.Join(t.TempDir(), "n.db") + "?_pragma=synchronous(NORMAL)": "synchronous",
	} {
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		lossy(t, &database{dialect: guard.SQLite, db: db}, want)
	}
	onOwnServer(t, func(t *testing.T, d *database) {
		if d.dialect == guard.PostgreSQL {
			d.exec(t, "ALTER DATABASE "+d.name+" SET synchronous_commit = off")
			d.db.SetMaxIdleConns(0) // the setting is read by new connections
			lossy(t, d, "synchronous_commit")
			return
		}
		d.exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
		lossy(t, d, "innodb_flush_log_at_trx_commit")
	})
}

// A read-only server, as a replica is, must not answer with a list: it may lag
// behind.
func TestListingNeedsAPrimary(t *testing.T) {
	onOwnServer(t, func(t *testing.T, d *database) {
		if d.dialect == guard.PostgreSQL {
			// A standby refuses writes with the same SQLSTATE as a read-only session.
			newGuard(t, "tokens", d, tokens{d}.funcs(), nil)
			d.exec(t, "ALTER DATABASE "+d.name+" SET default_transaction_read_only = on")
			d.db.SetMaxIdleConns(0)
		} else {
			// The superuser is exempt from read_only.
			d.exec(t, "CREATE USER app@'127.0.0.1'")
			d.exec(t, "GRANT ALL ON "+d.name+".* TO app@'127.0.0.1'")
			db, err := sql.Open("mysql", fmt.Sprintf("app@tcp(127.0.0.1:%d)/%s", d.server.Port, d.name))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			newGuard(t, "tokens", d, tokens{d}.funcs(), nil)
			d.exec(t, "SET GLOBAL read_only = 1")
			d.db = db
		}
		g := newGuard(t, "tokens", d, tokens{d}.funcs(), nil)
		n := newNames("tokens")
		if list, err := g.InDoubt(t.Context(), n.log); err == nil {
			t.Errorf("a read-only server listed %v", list)
		}
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("prepare on a read-only server: %v, %v; want no answer", vote, err)
		}
	})
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestStatementsOfOneselfAtFault: what is wrong with a payload is answered at once, and never
// taken for a server that does not answer.
func TestStatementsOfOneselfAtFault(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	one := int64(1)
	s := newSeries()
	token := "INSERT INTO token (xid) VALUES ($1)"
	for name, list := range map[string][]postgres.Statement{
		"too few arguments":              {{SQL: token}},
		"too few arguments, counted":     {{SQL: token, Rows: &one}},
		"too few arguments, one by one":  {{SQL: "/* */ " + token}},
		"too many arguments":             {{SQL: token, Args: args("a", "b")}},
		"NUL in a statement":             {{SQL: "INSERT INTO token (xid) VALUES ('a\x00b')"}},
		"NUL in a statement, one by one": {{SQL: "/* \x00 */ SELECT 1"}},
		"NUL in an argument":             {{SQL: token, Args: args("a\x00b")}},
		"ends the transaction":           {{SQL: token, Args: args("ended")}, {SQL: "COMMIT"}},
		"and begins another":             {{SQL: token, Args: args("ended")}, {SQL: "COMMIT AND CHAIN"}},
		"and begins another, in disguise": {
			{SQL: token, Args: args("ended")}, {SQL: " ;-- x\n/* /* */ */ End\tAND CHAIN"}, {SQL: token, Args: args("chained")},
		},
		"rolls back":        {{SQL: token, Args: args("undone")}, {SQL: "ROLLBACK AND CHAIN"}, {SQL: token, Args: args("chained")}},
		"aborts":            {{SQL: token, Args: args("undone")}, {SQL: "ABORT AND CHAIN"}, {SQL: token, Args: args("chained")}},
		"prepares":          {{SQL: token, Args: args("undone")}, {SQL: "PREPARE TRANSACTION 'another'"}},
		"type of arguments": {{SQL: "SELECT $1::int", Args: args("secret")}},
	} {
		b := s.branch(name)
		b.Payload = statements(list...)
		for phases, call := range map[string]func(context.Context, dtc.Branch) (dtc.Vote, error){"two": w.db.Prepare, "one": w.one.CommitOnePhase} {
			v, err := call(t.Context(), b)
			if v != dtc.VoteAbort || err == nil || errors.Is(err, dtc.ErrNoAnswer) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s, %s: %v, %v", name, phases, v, err)
			}
		}
	}
	if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
		t.Errorf("%d rows of branches that voted abort", n)
	}
	w.clean(t)
	b := s.branch("savepoints")
	b.Payload = statements(postgres.Statement{SQL: "SAVEPOINT s"}, postgres.Statement{SQL: token, Args: args("no")},
		postgres.Statement{SQL: "ROLLBACK TO s"}, postgres.Statement{SQL: token, Args: args("yes")}, postgres.Statement{SQL: "RELEASE s"})
	mustCommitOnce(t, w.one, b)
	if n := w.count(t, "SELECT count(*) FROM token WHERE xid = 'yes'"); n != 1 || w.rows(t, "no") != 0 {
		t.Errorf("%d rows after savepoints", n)
	}
}

// TestUsedAfterReturn: the transaction that a function was given is of no use when it has
// returned, not even while its connection waits for the decision, nor when somebody else has it.
func TestUsedAfterReturn(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for mode, db := range map[string]*postgres.Database{"two": w.db, "one": w.one} {
		c := open(t, db)
		var kept pgx.Tx
		try := func(when string) {
			t.Helper()
			ctx := context.Background()
			_, exec := kept.Exec(ctx, "INSERT INTO token (xid) VALUES ('late')")
			_, args := kept.Exec(ctx, "INSERT INTO token (xid) VALUES ($1)", "late")
			rows, query := kept.Query(ctx, "INSERT INTO token (xid) VALUES ('late') RETURNING xid")
			if rows != nil {
				rows.Close()
			}
			var xid string
			row := kept.QueryRow(ctx, "INSERT INTO token (xid) VALUES ('late') RETURNING xid").Scan(&xid)
			_, begin := kept.Begin(ctx)
			var batch pgx.Batch
			batch.Queue("INSERT INTO token (xid) VALUES ('late')")
			sent := kept.SendBatch(ctx, &batch).Close()
			for i, err := range []error{exec, args, query, row, begin, sent} {
				if err == nil {
					t.Errorf("%s, %s: call %d of the transaction succeeds", mode, when, i+1)
				}
			}
		}
		err := c.Run(t.Context(), dtc.TxID("after-"+mode), func(ctx context.Context, tx *dtc.Tx) error {
			err := db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				kept = q
				return insert(ctx, q, tx.XID())
			})
			try("before the end")
			return err
		})
		if err != nil {
			t.Error(err)
		}
		try("at the end")
		eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
		try("afterwards")
	}
	if n := w.rows(t, "late"); n != 0 {
		t.Errorf("%d rows were written by a transaction that had ended", n)
	}
	w.clean(t)
}

// TestLongSchema: names of tables that differ only in their end.
func TestLongSchema(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for _, schema := range []string{"tenant_" + strings.Repeat("x", 53), `o'dd "$1" {branch} %s`} {
		w.exec(t, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize())
		for _, settings := range []string{"", "&default_query_exec_mode=exec"} {
			cfg, err := pgxpool.ParseConfig(w.dsn + settings)
			if err != nil {
				t.Fatal(err)
			}
			cfg.MaxConns = 1 // so that both kinds of branches have the same
			cfg.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize() + ", public"
			pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			db, err := postgres.Open(t.Context(), "orders", pool, &postgres.Options{TablePrefix: "own"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			two, err := postgres.Open(t.Context(), "other", pool, &postgres.Options{TablePrefix: "own", TwoPhases: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(two.Close)
			c := open(t, db, two)
			for i, db := range []*postgres.Database{db, two, db} {
				err := c.Run(t.Context(), dtc.TxID(fmt.Sprint("long-", i)), func(ctx context.Context, tx *dtc.Tx) error {
					return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
				})
				if err != nil {
					t.Errorf("%q%s: transaction %d: %v", schema, settings, i, err)
				}
			}
		}
	}
}

// TestDoWithinDo: a call within another one of the same branch could only wait for itself.
func TestDoWithinDo(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	err := c.Run(t.Context(), "within", func(ctx context.Context, tx *dtc.Tx) error {
		return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
			err := w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
			if err == nil {
				t.Error("it was called")
			}
			return err
		})
	})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("error %v", err)
	}
	w.clean(t)
}

// TestReadOnlyByDefault: a role whose transactions are read-only unless they say otherwise, as
// those of the branches do. What finishes says so too.
func TestReadOnlyByDefault(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	pool := openPool(t, w.dsn+"&default_transaction_read_only=on")
	db, err := postgres.Open(t.Context(), "orders", pool, &postgres.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadWrite}, TablePrefix: "own", PruneEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s := newSeries()
	first := s.branch("again")
	mustCommitOnce(t, db, first)
	again := s.branch("again")
	mustSettle(t, db, again, dtc.Committed) // its evidence stands for this one from now on
	adopted := s.branch("adopted")
	adopted.Payload = []byte(`{"adopted":true}`)
	w.exec(t, "BEGIN; INSERT INTO token VALUES ('adopted'); PREPARE TRANSACTION '"+postgres.Name(adopted.XID, "orders")+"'")
	if v, err := db.Prepare(t.Context(), adopted); v != dtc.VoteCommit || err != nil {
		t.Errorf("an adopted branch: %v, %v", v, err)
	}
	if err := db.Commit(t.Context(), adopted); err != nil {
		t.Error(err)
	}
	rolled := s.branch("rolled-back")
	if err := db.Rollback(t.Context(), rolled); err != nil {
		t.Error(err)
	}
	end := s.branch("end")
	end.LowWater = end.XID
	mustCommitOnce(t, db, end)
	if n, err := db.Prune(t.Context()); n == 0 || err != nil {
		t.Errorf("%d rows dropped, %v", n, err)
	}
	w.clean(t)
}

package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// between is a second participant, which does something when the first one, orders, has
// prepared, and votes.
func (w *world) between(gid *string, vote dtc.Vote, do func()) dtc.Participant {
	done := false
	return dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
		if !done {
			if err := poll(context.WithoutCancel(ctx), func() (bool, error) { return w.listed(*gid) }); err != nil {
				return dtc.VoteAbort, err
			}
			do()
			done = true
		}
		return vote, nil
	}}
}

// TestServerRestarts: the server goes between prepare and the end, killed or stopped, and
// comes back: the prepared branch is still there, and ends as was decided.
func TestServerRestarts(t *testing.T) {
	w := newWorld(t, servers.Postgres(t))
	for name, down := range map[string]func(testing.TB){"killed": w.server.Kill, "stopped": w.server.Stop} {
		for _, vote := range []dtc.Vote{dtc.VoteCommit, dtc.VoteAbort} {
			t.Run(name+"/"+vote.String(), func(t *testing.T) {
				var gid string
				var xid dtc.XID
				other := w.between(&gid, vote, func() {
					down(t)
					w.server.Start(t)
					w.pool.Reset()
				})
				c := open(t, w.db, other)
				err := c.Run(t.Context(), "restart", func(ctx context.Context, tx *dtc.Tx) error {
					xid, gid = tx.XID(), postgres.Name(tx.XID(), "orders")
					return errors.Join(tx.Enlist("other", nil), ways["Statements"](ctx, nil, tx))
				})
				if vote == dtc.VoteCommit && err != nil || vote == dtc.VoteAbort && !errors.Is(err, dtc.ErrRolledBack) {
					t.Fatal(err)
				}
				if err := w.truth(c, "restart", xid, err == nil); err != nil {
					t.Error(err)
				}
				tally.Add(t, "databases", "PostgreSQL: servers killed or stopped between prepare and the end", 1, 1)
			})
		}
	}
}

// TestNoSlot: all of max_prepared_transactions are taken.
func TestNoSlot(t *testing.T) {
	w := newWorld(t, servers.Postgres(t, "max_prepared_transactions=2"))
	c := open(t, w.db)
	for _, name := range []string{"one", "two"} {
		w.exec(t, "BEGIN; INSERT INTO token VALUES ('"+name+"'); PREPARE TRANSACTION '"+name+"'")
	}
	insertOne := func(id dtc.TxID) error {
		return c.Run(t.Context(), id, func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
		})
	}
	err := insertOne("full")
	if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "53200") || !strings.Contains(err.Error(), "raise max_prepared_transactions") {
		t.Errorf("error %v", err)
	}
	all, err := w.db.Findings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, f := range all {
		said.WriteString(f.String())
	}
	if !strings.Contains(said.String(), "2 of 2") {
		t.Errorf("the findings do not say that it is full: %s", said.String())
	}
	w.exec(t, "ROLLBACK PREPARED 'two'")
	if err := insertOne("room"); err != nil {
		t.Error(err)
	}
	// Less than there are, and the server does not start again.
	w.exec(t, "BEGIN; INSERT INTO token VALUES ('two'); PREPARE TRANSACTION 'two'")
	w.server.Stop(t)
	w.server.Reconfigure("max_prepared_transactions=1")
	if err := w.server.TryStart(); err == nil {
		t.Error("the server starts with less than max_prepared_transactions: PostgreSQL has changed, and so must the guide")
	}
	w.server.Reconfigure("max_prepared_transactions=2")
	w.server.Start(t)
	w.pool.Reset()
	w.exec(t, "ROLLBACK PREPARED 'one'")
	w.exec(t, "ROLLBACK PREPARED 'two'")
	w.clean(t)
}

// TestPrivileges: what the role of the participant needs, and who else can finish.
func TestPrivileges(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	role := "app_" + w.name
	w.exec(t, "CREATE ROLE "+role+" LOGIN; CREATE SCHEMA "+role+" AUTHORIZATION "+role+"; GRANT INSERT ON token TO "+role)
	pool := openPool(t, strings.Replace(w.dsn, "postgres@", role+"@", 1)+"&search_path="+role+",public")
	if _, err := postgres.Open(t.Context(), "payment", pool, nil); !errors.Is(err, postgres.ErrUnusable) || !strings.Contains(err.Error(), "GRANT SELECT, INSERT, DELETE ON") {
		t.Errorf("with tables of another role: %v", err)
	}
	db, err := postgres.Open(t.Context(), "payment", pool, &postgres.Options{TablePrefix: "own"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c := open(t, db, w.db)
	err = c.Run(t.Context(), "ordinary", func(ctx context.Context, tx *dtc.Tx) error {
		return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
	})
	if err != nil {
		t.Errorf("an ordinary role with tables of its own: %v", err)
	}
	// What another role has prepared is not finished, and not called finished either.
	var xid dtc.XID
	err = c.Run(t.Context(), "anothers", func(ctx context.Context, tx *dtc.Tx) error {
		xid = tx.XID()
		if err := tx.Enlist("payment", []byte(`{"adopted":true}`)); err != nil {
			return err
		}
		w.exec(t, "BEGIN; INSERT INTO token VALUES ('"+xid.String()+"'); PREPARE TRANSACTION '"+postgres.Name(xid, "payment")+"'")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is shown who may finish it", func() bool {
		info, err := c.Transaction("anothers")
		return err == nil && len(info.Branches) == 1 && strings.Contains(info.Branches[0].LastError, "42501") &&
			strings.Contains(info.Branches[0].LastError, "finish with the role that prepared the branch, or a superuser")
	})
	w.exec(t, "COMMIT PREPARED '"+postgres.Name(xid, "payment")+"'")
	eventually(t, "it is seen to be committed", func() bool { return c.Stats().Unfinished == 0 })
	if o, err := c.Outcome(t.Context(), "anothers"); o != dtc.Committed {
		t.Errorf("outcome %v, %v", o, err)
	}
}

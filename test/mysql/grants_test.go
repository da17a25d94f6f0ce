package mysql_test

import (
	"errors"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestGrants: the privileges that the guide names are enough, and Open misses each of them.
func TestGrants(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t)) // with its tables
	ctx := background(t)
	user := "grants_" + w.name
	w.exec(t, "CREATE USER "+user+" IDENTIFIED BY 'secret'")
	grants := map[string][]string{
		"dtc_branch":    {"SELECT", "INSERT", "DELETE"},
		"dtc_low_water": {"SELECT", "INSERT", "UPDATE"},
		"dtc_once":      {"SELECT", "INSERT", "UPDATE", "DELETE"},
		"dtc_fence":     {"SELECT", "INSERT", "UPDATE"},
	}
	w.exec(t, "GRANT INSERT ON "+w.name+".token TO "+user)
	for table, list := range grants {
		for _, privilege := range list {
			w.exec(t, "GRANT "+privilege+" ON "+w.name+"."+table+" TO "+user)
		}
	}
	w.finish = w.as(t, user)
	w.pool = openPool(t, w.finish)
	db := w.participant(t, "orders", &mysql.Options{NoCreate: true})
	one, two, undone := w.branch(1), w.branch(2), w.branch(3)
	if err := votes(db.CommitOnePhase(ctx, one)); err != nil {
		t.Error(err)
	}
	if o := settled(t, db, one); o != dtc.Committed {
		t.Errorf("settled as %v", o)
	}
	for _, b := range []dtc.Branch{two, undone} {
		if err := votes(db.Prepare(ctx, b)); err != nil {
			t.Error(err)
		}
	}
	two.LowWater = w.branch(9).XID
	if err := errors.Join(db.Commit(ctx, two), db.Rollback(ctx, undone)); err != nil {
		t.Error(err)
	}
	if n, err := db.Prune(ctx); n != 2 || err != nil {
		t.Errorf("dropped %d, error %v", n, err)
	}
	for table, list := range grants {
		for _, privilege := range list {
			w.exec(t, "REVOKE "+privilege+" ON "+w.name+"."+table+" FROM "+user)
			if _, err := mysql.Open(ctx, "orders", w.pool, w.finish, &mysql.Options{NoCreate: true}); !errors.Is(err, mysql.ErrUnusable) {
				t.Errorf("without %s on %s: %v", privilege, table, err)
			}
			w.exec(t, "GRANT "+privilege+" ON "+w.name+"."+table+" TO "+user)
		}
	}
}

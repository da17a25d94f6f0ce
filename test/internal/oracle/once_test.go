package oracle_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// What other tests kill keeps the promises that they rely on.
func TestOnce(t *testing.T) {
	subject := func(t *testing.T) dtctest.Subject {
		path := filepath.Join(t.TempDir(), "a#b?c%20d.db")
		db, err := oracle.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("the database is not where it was opened: %v", err)
		}
		open := func() (dtc.Participant, error) { return oracle.NewOnce(db, "once", "") }
		p, err := open()
		if err != nil {
			t.Fatal(err)
		}
		return dtctest.Subject{
			Participant: p,
			Payload:     oracle.Payload(oracle.Writes), PayloadAbort: oracle.Payload(oracle.Declines),
			PayloadReadOnly: oracle.Payload(oracle.Reads),
			Restart:         open,
			Effect: func(x dtc.XID) (e dtctest.Effect, err error) {
				err = db.QueryRow("SELECT count(*) > coalesce(sum(applied > 0), 0), coalesce(sum(applied), 0) FROM token WHERE xid = ?",
					x.String()).Scan(&e.Held, &e.Applied)
				return e, err
			},
		}
	}
	t.Run("participant", func(t *testing.T) { dtctest.TestParticipant(t, subject) })
	t.Run("one phase", func(t *testing.T) { dtctest.TestOnePhaser(t, subject) })
}

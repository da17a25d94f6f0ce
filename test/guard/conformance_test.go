package guard_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/tally"
)

// The suite runs on servers that it kills, once with a guard that drops rows by
// itself, now and then, and once with one that does so when it is told.
func TestConformance(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		conform(t, &database{dialect: guard.SQLite, db: openSQLite(t, filepath.Join(t.TempDir(), "test.db"))})
	})
	onOwnServer(t, conform)
}

func conform(t *testing.T, d *database) {
	k := newTokens(t, d)
	t.Run("PruneByItself", func(t *testing.T) { conformWith(t, k, nil) })
	t.Run("PruneAtOnce", func(t *testing.T) { conformWith(t, k, &guard.Options{PruneEvery: -1}) })
}

func conformWith(t *testing.T, k tokens, opts *guard.Options) {
	tally.Add(t, "conformance", "guards on real databases through the suite", 1, 1)
	dtctest.TestParticipant(t, func(t *testing.T) dtctest.Subject {
		g := newGuard(t, "tokens", k.database, k.funcs(), opts)
		s := dtctest.Subject{
			Participant:  g,
			Timeout:      2 * time.Minute, // its server has the lowest priority in a whole run
			PayloadAbort: []byte("abort"), PayloadReadOnly: []byte("read-only"),
			Effect: k.effect,
			Rows:   k.rows,
			Restart: func() (dtc.Participant, error) {
				if k.server != nil {
					k.crash(t)
				}
				return guard.New(t.Context(), "tokens", k.db, k.dialect, k.funcs(), opts)
			},
		}
		if opts != nil {
			s.Prune = func(ctx context.Context) error {
				_, err := g.Prune(ctx)
				return err
			}
		}
		return s
	})
}

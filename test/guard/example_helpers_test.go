package guard_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dtc-project/dtc"
)

// exampleBank is a database with two accounts, and a directory for a coordinator.
type exampleBank struct {
	dir  string
	db   *sql.DB
	c    *dtc.Coordinator
	held chan struct{} // see watched
}

func openExample() *exampleBank {
	dir, err := os.MkdirTemp("", "guard")
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open("sqlite", sqliteDSN(filepath.Join(dir, "payment.db")))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(`
		CREATE TABLE account (id TEXT NOT NULL PRIMARY KEY, balance INTEGER NOT NULL);
		CREATE TABLE hold (xid TEXT NOT NULL PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL);
		INSERT INTO account (id, balance) VALUES ('alice', 100), ('bob', 5)`); err != nil {
		log.Fatal(err)
	}
	return &exampleBank{dir: dir, db: db, held: make(chan struct{})}
}

func (x *exampleBank) coordinator(list ...dtc.Participant) *dtc.Coordinator {
	c, err := dtc.Open(filepath.Join(x.dir, "log"), &dtc.Config{
		Participants:   list,
		CompletionWait: time.Minute, // what an example prints must not depend on how busy the machine is
		Timing:         dtc.Timing{PrepareTimeout: time.Minute, PrepareAttempt: time.Minute},
		Logger:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	x.c = c
	return c
}

// accounts says what the tables hold.
func (x *exampleBank) accounts() string {
	var alice, bob, held int
	if err := x.db.QueryRow(`SELECT (SELECT balance FROM account WHERE id = 'alice'),
		(SELECT balance FROM account WHERE id = 'bob'), (SELECT count(*) FROM hold)`).Scan(&alice, &bob, &held); err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("alice has %d, bob has %d, %d on hold", alice, bob, held)
}

func (x *exampleBank) close() {
	if x.c != nil {
		if err := x.c.Close(); err != nil {
			log.Fatal(err)
		}
	}
	x.db.Close()
	os.RemoveAll(x.dir)
}

// watched closes a channel when its participant has voted.
type watched struct {
	dtc.Participant
	voted chan struct{}
}

func (w watched) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	defer close(w.voted)
	return w.Participant.Prepare(ctx, b)
}

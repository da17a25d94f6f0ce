// Command go is a shop's stock, as a participant of dtc: three ordinary functions
// over SQLite, which package guard makes safe to call twice, late or not at all.
//
//	go run ./participants/go stock.db 8001
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/guard"
)

const schema = `
CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, available INTEGER NOT NULL CHECK (available >= 0));
INSERT OR IGNORE INTO stock VALUES ('book', 100000);
CREATE TABLE IF NOT EXISTS reserved (xid TEXT PRIMARY KEY, item TEXT NOT NULL, amount INTEGER NOT NULL);`

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(file, port string) error {
	// A busy timeout, because SQLite has one writer at a time; FULL, so that a vote
	// survives a power cut. The guard refuses anything less.
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(schema); err != nil {
		return err
	}
	stock, err := guard.New(context.Background(), "stock", db, guard.SQLite,
		guard.Funcs{Prepare: reserve, Commit: sell, Rollback: release}, nil)
	if err != nil {
		return err
	}

	var opts dtchttp.HandlerOptions
	if token := os.Getenv("DTC_TOKEN"); token != "" {
		opts.Tokens = func() []string { return []string{token} }
	}
	mux := http.NewServeMux()
	mux.Handle("/dtc/", http.StripPrefix("/dtc", dtchttp.NewParticipantHandler(stock, &opts)))
	mux.HandleFunc("GET /stock", func(w http.ResponseWriter, r *http.Request) { show(w, r, db) })
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	fmt.Printf("serving http://%s/dtc\n", l.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	return server.Serve(l)
}

// reserve does what can fail. The three functions use the transaction that they are
// given for everything, and wrap what the database says with %w.
func reserve(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	var order struct {
		Item   string
		Amount int
	}
	if err := json.Unmarshal(b.Payload, &order); err != nil || order.Amount < 1 {
		return dtc.VoteAbort, errors.New(`want a payload like {"item":"book","amount":1}`)
	}
	res, err := tx.ExecContext(ctx, `UPDATE stock SET available = available - ?2 WHERE item = ?1 AND available >= ?2`, order.Item, order.Amount)
	if err != nil {
		return dtc.VoteAbort, fmt.Errorf("reserve: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return dtc.VoteAbort, errors.Join(err, fmt.Errorf("not enough of %s", order.Item))
	}
	if _, err = tx.ExecContext(ctx, `INSERT INTO reserved VALUES (?, ?, ?)`, b.XID.String(), order.Item, order.Amount); err != nil {
		return dtc.VoteAbort, fmt.Errorf("reserve: %w", err)
	}
	return dtc.VoteCommit, nil
}

// sell makes the reservation a sale.
func sell(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM reserved WHERE xid = ?`, b.XID.String())
	return err
}

// release gives back what was reserved.
func release(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	_, err := tx.ExecContext(ctx, `UPDATE stock SET available = available + r.amount
		FROM reserved AS r WHERE r.item = stock.item AND r.xid = ?`, b.XID.String())
	if err != nil {
		return err
	}
	return sell(ctx, tx, b)
}

// show prints what there is, for people and for dtc conformance --observe.
func show(w http.ResponseWriter, r *http.Request, db *sql.DB) {
	var available, reserved int
	err := db.QueryRowContext(r.Context(), `SELECT (SELECT sum(available) FROM stock), (SELECT coalesce(sum(amount), 0) FROM reserved)`).
		Scan(&available, &reserved)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, `{"available":%d,"reserved":%d}`+"\n", available, reserved)
}

// Package service is what the three services of the shop have in common: a SQLite
// file, package guard over it, and an HTTP server.
package service

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/guard"
)

// Service is one of the shop's services.
type Service struct {
	Name   string
	Schema string // made at the start, and must not mind that it is there
	// Funcs are its part of a transaction.
	Funcs guard.Funcs
	// List is the query whose rows it answers to GET /Path.
	Path, List string
}

// Main runs the service until it is told to stop:
//
//	NAME --data FILE --listen ADDRESS [--address-file FILE]
func Main(s Service) {
	log.SetFlags(log.Ltime)
	log.SetPrefix(s.Name + ": ")
	data := flag.String("data", s.Name+".db", "the SQLite `FILE`")
	listen := flag.String("listen", "127.0.0.1:0", "the `ADDRESS` to serve; port 0 takes a free one")
	addressFile := flag.String("address-file", "", "write the address that is served to `FILE`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx, *data, *listen, *addressFile); err != nil {
		log.Fatal(err)
	}
}

func (s Service) run(ctx context.Context, data, listen, addressFile string) error {
	db, err := open(data)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, s.Schema); err != nil {
		return fmt.Errorf("make the tables of %s: %w", data, err)
	}
	g, err := guard.New(ctx, s.Name, db, guard.SQLite, s.Funcs, nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	log.Printf("serves http://%s, pid %d", l.Addr(), os.Getpid())
	if addressFile != "" {
		if err := writeWhole(addressFile, l.Addr().String()+"\n"); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	server := &http.Server{Handler: s.handler(db, g), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute}
	down := make(chan error, 1)
	go func() {
		<-ctx.Done()
		enough, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(enough); err != nil {
			err = server.Close() // what is called now is called again
			down <- err
			return
		}
		down <- nil
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-down
}

// open opens the file. SQLite has one writer at a time, so one connection is
// enough, and synchronous(FULL) is what makes a vote survive a power failure.
func open(file string) (*sql.DB, error) {
	path := url.URL{Path: file}
	db, err := sql.Open("sqlite", "file:"+path.EscapedPath()+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func (s Service) handler(db *sql.DB, g *guard.Guard) http.Handler {
	p := &hesitant{Guard: g}
	mux := http.NewServeMux()
	mux.Handle("/dtc/", http.StripPrefix("/dtc", dtchttp.NewParticipantHandler(p, nil)))
	mux.HandleFunc("GET /"+s.Path, func(w http.ResponseWriter, r *http.Request) {
		if err := s.list(r.Context(), w, db); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /hesitate", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("for"))
		if err != nil || d < 0 {
			http.Error(w, "want for=30s, or for=0s to stop it", http.StatusBadRequest)
			return
		}
		p.pause.Store(int64(d))
		_, _ = fmt.Fprintf(w, "%s waits %v before it carries out a commit\n", s.Name, d)
	})
	return mux
}

// list answers with the rows of s.List as JSON, a line each: people read it.
func (s Service) list(ctx context.Context, w http.ResponseWriter, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, s.List)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	text, between := `{"`+s.Path+`":[`, "\n  "
	for rows.Next() {
		values, to := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		line := ""
		for i, name := range names {
			value, err := json.Marshal(values[i])
			if err != nil {
				return err
			}
			if i > 0 {
				line += ","
			}
			line += `"` + name + `":` + string(value)
		}
		text += between + "{" + line + "}"
		between = ",\n  "
	}
	if err := rows.Err(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(text + "]}\n"))
	return nil
}

// hesitant is the guard, but it can be made to wait before a commit, so that there
// is time to kill the process between its vote and the end.
type hesitant struct {
	*guard.Guard
	pause atomic.Int64 // a time.Duration
}

// Commit implements [dtc.Participant].
func (h *hesitant) Commit(ctx context.Context, b dtc.Branch) error {
	if pause := time.Duration(h.pause.Load()); pause > 0 {
		log.Printf("hesitates to commit %s", b.TxID)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err() // no answer: it is called again
		}
	}
	return h.Guard.Commit(ctx, b)
}

// Change runs a statement that must change one row.
func Change(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	ok, err := Changed(ctx, tx, query, args...)
	if err == nil && !ok {
		err = fmt.Errorf("no row changed by %s", query)
	}
	return err
}

// Changed runs a statement and reports whether it changed a row.
func Changed(ctx context.Context, tx *sql.Tx, query string, args ...any) (bool, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Read reads a payload.
func Read(b dtc.Branch, v any) error {
	if err := json.Unmarshal(b.Payload, v); err != nil {
		return fmt.Errorf("read the payload: %w", err)
	}
	return nil
}

// writeWhole writes a file that is never seen half written.
func writeWhole(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

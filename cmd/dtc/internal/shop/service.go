// Package shop is the example that the demo runs: an inventory, a payment and an
// order service, each with a SQLite database of its own. Package guard makes
// participants of them.
package shop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// ErrDown is what a caller gets from a service that is not running.
var ErrDown = errors.New("connection refused")

// Service is one of the three services: a [dtc.Participant] that can be stopped
// and started while somebody calls it. All methods may be called concurrently.
type Service struct {
	name   string
	path   string
	schema string
	funcs  guard.Funcs

	mu    sync.RWMutex
	db    *sql.DB // nil while it is down
	guard *guard.Guard
}

var (
	_ dtc.Participant = (*Service)(nil)
	_ dtc.Lister      = (*Service)(nil)
)

// New returns the services over the databases in a directory, in the order of
// [Names]. None is running yet.
func New(dir string) []*Service {
	service := func(name, schema string, funcs guard.Funcs) *Service {
		return &Service{name: name, path: filepath.Join(dir, File(name)), schema: schema, funcs: funcs}
	}
	return []*Service{
		service(Inventory, inventorySchema, guard.Funcs{Prepare: reserveStock, Commit: takeStock, Rollback: freeStock}),
		service(Payment, paymentSchema, guard.Funcs{Prepare: holdMoney, Commit: chargeMoney, Rollback: releaseMoney}),
		service(Orders, ordersSchema, guard.Funcs{Prepare: createOrder, Commit: showOrder, Rollback: eraseOrder}),
	}
}

// Start opens the database, makes its tables if they are missing, and takes
// calls from then on.
func (s *Service) Start(ctx context.Context) error {
	// One connection: SQLite has one writer at a time, and who waits for it here
	// waits in order. synchronous=FULL: what is voted survives a power failure.
	location := url.URL{Path: s.path}
	db, err := sql.Open("sqlite", "file:"+location.EscapedPath()+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, s.schema)
	var g *guard.Guard
	if err == nil {
		g, err = guard.New(ctx, s.name, db, guard.SQLite, s.funcs, nil)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start %s with %s: %w", s.name, s.path, err), db.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db, s.guard = db, g
	return nil
}

// Stop closes the database without finishing anything: what runs fails, and what
// is prepared stays prepared.
func (s *Service) Stop() error {
	s.mu.Lock()
	db := s.db
	s.db, s.guard = nil, nil
	s.mu.Unlock()
	if db == nil {
		return nil
	}
	return db.Close()
}

func (s *Service) running() (*sql.DB, *guard.Guard, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, nil, ErrDown
	}
	return s.db, s.guard, nil
}

// ID implements [dtc.Participant].
func (s *Service) ID() string { return s.name }

// Prepare implements [dtc.Participant].
func (s *Service) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	_, g, err := s.running()
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	return g.Prepare(ctx, b)
}

// Commit implements [dtc.Participant].
func (s *Service) Commit(ctx context.Context, b dtc.Branch) error {
	_, g, err := s.running()
	if err != nil {
		return err
	}
	return g.Commit(ctx, b)
}

// Rollback implements [dtc.Participant].
func (s *Service) Rollback(ctx context.Context, b dtc.Branch) error {
	_, g, err := s.running()
	if err != nil {
		return err
	}
	return g.Rollback(ctx, b)
}

// Listing implements [dtc.Lister].
func (s *Service) Listing() bool { return true }

// InDoubt implements [dtc.Lister].
func (s *Service) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	_, g, err := s.running()
	if err != nil {
		return nil, err
	}
	return g.InDoubt(ctx, log)
}

// mustChange runs a statement that has to change exactly one row.
func mustChange(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	ok, err := changes(ctx, tx, query, args...)
	if err == nil && !ok {
		err = fmt.Errorf("no row to change: %s", query)
	}
	return err
}

// changes runs a statement and reports whether it changed a row.
func changes(ctx context.Context, tx *sql.Tx, query string, args ...any) (bool, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

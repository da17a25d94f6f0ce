package simdb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
)

// conn is a connection, used by one goroutine at a time, but lost at any time.
type conn struct {
	db      *DB
	process *process
	tx      *tx // nil outside a transaction
	ctx     context.Context
	dead    bool
}

var (
	_ driver.ConnBeginTx     = (*conn)(nil)
	_ driver.ExecerContext   = (*conn)(nil)
	_ driver.QueryerContext  = (*conn)(nil)
	_ driver.SessionResetter = (*conn)(nil)
	_ driver.Validator       = (*conn)(nil)
)

// lose closes the connection from without. What was open on it is rolled back, and
// what waits on it fails.
func (c *conn) lose() {
	if c.dead {
		return
	}
	c.dead = true
	c.forget()
	if c.tx == nil {
		return
	}
	for _, j := range c.db.waiting {
		if j.tx == c.tx {
			c.db.giveUp(j, io.ErrUnexpectedEOF)
			break
		}
	}
	c.db.end(c.tx, false)
}

func (c *conn) forget() {
	if i := slices.Index(c.db.conns, c); i >= 0 {
		c.db.conns = slices.Delete(c.db.conns, i, i+1)
	}
}

// gate calls Step, and looks whether the connection still stands. late is what
// happens on the server when what was sent arrives, or, if it never does, when the
// server finds the connection closed; nil if nothing can.
func (c *conn) gate(ctx context.Context, what string, late func(arrived bool)) error {
	var err error
	if c.db.Step != nil {
		err = c.db.Step(ctx, what)
	}
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	switch {
	case err == nil || c.dead:
		return cmp.Or(err, c.lost())
	case late != nil && errors.Is(err, ErrLate):
		c.dead = true
		c.forget()
		c.db.late = append(c.db.late, late)
	default:
		c.lose()
	}
	return err
}

func (c *conn) lost() error {
	if c.dead {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	switch l := sql.IsolationLevel(opts.Isolation); {
	case l != sql.LevelDefault && l != sql.LevelReadCommitted, opts.ReadOnly:
		return nil, fmt.Errorf("simdb: transactions are read committed and may write, not %v, read only %v", l, opts.ReadOnly)
	case !c.IsValid():
		return nil, driver.ErrBadConn
	}
	if err := c.gate(ctx, "begin", nil); err != nil {
		return nil, err
	}
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	if err := c.lost(); err != nil {
		return nil, err
	}
	c.tx, c.ctx = c.db.begin(), ctx
	return (*transaction)(c), nil
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// transaction is a connection inside one.
type transaction conn

// Commit implements driver.Tx.
func (t *transaction) Commit() error {
	c := (*conn)(t)
	defer c.outside()
	return c.commit(c.ctx)
}

// Rollback implements driver.Tx. It passes no gate: it is also what database/sql does
// by itself when a context has ended.
func (t *transaction) Rollback() error {
	c := (*conn)(t)
	defer c.outside()
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	if err := c.lost(); err != nil {
		return err
	}
	c.db.end(c.tx, false)
	return nil
}

// outside says that the connection is in no transaction any more.
func (c *conn) outside() {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.tx = nil
}

// commit ends the transaction that the connection is in: it takes effect, then the
// answer goes out, and both can fail.
func (c *conn) commit(ctx context.Context) error {
	t := c.tx
	if err := c.gate(ctx, "commit", func(arrived bool) { c.db.end(t, arrived) }); err != nil {
		return err
	}
	c.db.mu.Lock()
	err := c.lost()
	if err == nil {
		if t.failed {
			err = &Error{"25P02", "the transaction had failed, and was rolled back"}
		}
		c.db.end(t, true)
	}
	c.db.mu.Unlock()
	if err != nil {
		return err
	}
	return c.gate(ctx, "committed", nil)
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	r, err := c.execute(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(r.affected), nil
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := c.execute(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &rows{columns: r.columns, left: r.rows}, nil
}

// execute runs a statement, outside a transaction in one of its own.
func (c *conn) execute(ctx context.Context, query string, named []driver.NamedValue) (result, error) {
	s, err := parsed(query)
	if err != nil {
		return result{}, err
	}
	args := valuesOf(named)
	t := c.tx
	alone := t == nil
	late := func(bool) { c.db.end(t, false) } // nobody comes to commit it
	if alone {
		if !c.IsValid() {
			return result{}, driver.ErrBadConn // nothing was sent, so it may go over another
		}
		late = func(arrived bool) { c.db.alone(s, args, arrived) }
	}
	if err := c.gate(ctx, s.text, late); err != nil {
		return result{}, err
	}
	if alone {
		defer c.outside()
	}
	j, err := c.start(s, args)
	if err != nil {
		return result{}, err
	}
	select {
	case <-j.done:
	default:
		if err := c.wait(ctx, j, s); err != nil {
			return result{}, err
		}
	}
	if !alone || j.err != nil {
		if alone {
			return result{}, errors.Join(j.err, (*transaction)(c).Rollback())
		}
		return j.result, j.err
	}
	if s.verb == verbSelect || s.verb == verbProbe {
		return j.result, (*transaction)(c).Rollback()
	}
	return j.result, c.commit(ctx)
}

func (c *conn) start(s *statement, args []any) (*job, error) {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	if err := c.lost(); err != nil {
		return nil, err
	}
	if c.tx == nil {
		c.tx = c.db.begin()
	}
	return c.db.start(c.tx, s, args, nil), nil
}

func valuesOf(named []driver.NamedValue) []any {
	args := make([]any, len(named))
	for i, a := range named {
		args[i] = a.Value
		switch b, ok := a.Value.([]byte); {
		case ok && b == nil:
			args[i] = nil
		case ok:
			args[i] = slices.Clone(b)
		}
	}
	return args
}

// wait waits for the end of a statement; its error is that of the connection.
func (c *conn) wait(ctx context.Context, j *job, s *statement) error {
	select {
	case <-j.done:
	case <-ctx.Done():
		c.db.mu.Lock()
		select {
		case <-j.done: // it was faster, and that decides: select does so at random
		default:
			c.lose() // as the drivers of PostgreSQL do
			c.db.mu.Unlock()
			return ctx.Err()
		}
		c.db.mu.Unlock()
	}
	if j.err != nil {
		return nil
	}
	return c.gate(ctx, "woken "+s.text, nil)
}

// Prepare implements driver.Conn; nothing needs it.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return nil, fmt.Errorf("simdb: no prepared statements: %q", query)
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.lose()
	return nil
}

// ResetSession implements driver.SessionResetter. With it database/sql keeps the
// connection of a transaction whose context has ended, so that it makes no
// difference who rolls back first.
func (c *conn) ResetSession(context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid implements driver.Validator.
func (c *conn) IsValid() bool {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	return !c.dead
}

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// branchTx is what the application gets. It does not end by itself, and it begins with its
// first statement, in one message, where the driver may keep statements on a connection.
// When the function has returned it is closed: the connection is somebody else's then.
type branchTx struct {
	d    *Database
	s    *session // used by whoever holds it
	turn uint64   // of the function
}

var _ pgx.Tx = branchTx{}

// begin begins the transaction, unless that was done. If that fails the connection is
// closed, so that nothing is executed outside of a transaction.
func (d *Database) begin(ctx context.Context, s *session) error {
	if s.tx != nil {
		return s.broken
	}
	tx, err := s.conn.Conn().BeginTx(ctx, d.opts.TxOptions)
	if s.tx = tx; err == nil {
		return nil
	}
	drop(s.conn.Conn())
	d.fail(s, fmt.Errorf("postgres: %s: begin: %w", d.id, err))
	return s.broken
}

// fail gives a session whose connection is closed a transaction that is closed, too.
func (d *Database) fail(s *session, err error) pgx.BatchResults {
	failed := pgx.FailedBatchResults(d.beginning(), err)
	s.broken, s.tx = err, failed.Tx()
	return failed
}

// beginning returns a batch that begins the transaction.
func (d *Database) beginning() *pgx.Batch {
	var b pgx.Batch
	b.BeginTx(d.opts.TxOptions)
	return &b
}

// tx begins, unless that was done, and returns the transaction. If that has failed, or the
// function has returned, it is closed.
func (b branchTx) tx(ctx context.Context) pgx.Tx {
	if b.over() {
		return pgx.FailedBatchResults(b.d.beginning(), pgx.ErrTxClosed).Tx()
	}
	_ = b.d.begin(ctx, b.s)
	return b.s.tx
}

func (b branchTx) over() bool { return b.s.turn.Load() != b.turn }

// first begins the transaction and sends its first statement with it. It returns nil if the
// statement is to be sent in the ordinary way.
func (b branchTx) first(ctx context.Context, sql string, args []any) pgx.BatchResults {
	if b.over() || b.s.tx != nil || !b.d.keeps {
		return nil
	}
	if len(args) > 0 {
		switch args[0].(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			return nil // a batch knows none of these
		}
	}
	conn := b.s.conn.Conn()
	batch := b.d.beginning()
	batch.Queue(sql, args...)
	results := conn.SendBatch(ctx, batch)
	_, err := results.Exec()
	if err == nil {
		b.s.tx = results.Tx()
		return results
	}
	_ = results.Close()
	if conn.IsClosed() { // lost; or an argument has no form in which it could be sent, which the driver ends so
		return b.d.fail(b.s, err)
	}
	if conn.PgConn().TxStatus() != 'I' {
		b.s.tx = results.Tx()
	}
	// Nothing was executed: the statement has a fault that was found before. In the ordinary
	// way it fails within the transaction, as it must.
	return nil
}

// Exec begins the transaction first, if there are no arguments: then sql may be several
// statements, which a batch does not take.
func (b branchTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if endsTransaction(sql) {
		return pgconn.CommandTag{}, errNotYours
	}
	if len(args) > 0 {
		if results := b.first(ctx, sql, args); results != nil {
			tag, err := results.Exec()
			if cerr := results.Close(); err == nil {
				err = cerr
			}
			return tag, err
		}
	}
	if b.over() {
		return pgconn.CommandTag{}, pgx.ErrTxClosed
	}
	if err := b.d.begin(ctx, b.s); err != nil {
		return pgconn.CommandTag{}, err
	}
	return b.s.tx.Exec(ctx, sql, args...)
}

// Query implements [pgx.Tx].
func (b branchTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if endsTransaction(sql) {
		rows, err := pgx.FailedBatchResults(b.d.beginning(), errNotYours).Query()
		return rows, err
	}
	if results := b.first(ctx, sql, args); results != nil {
		rows, err := results.Query()
		if err != nil {
			_ = results.Close()
			return rows, err
		}
		return &firstRows{Rows: rows, results: results}, nil
	}
	return b.tx(ctx).Query(ctx, sql, args...)
}

// QueryRow implements [pgx.Tx].
func (b branchTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := b.Query(ctx, sql, args...)
	return row{rows, err}
}

// The rest of [pgx.Tx] cannot be sent with the beginning, and begins first. If that fails
// what follows fails too: the connection is closed, and so is the transaction.

// Begin makes a savepoint.
func (b branchTx) Begin(ctx context.Context) (pgx.Tx, error) {
	return b.tx(ctx).Begin(ctx)
}

// CopyFrom implements [pgx.Tx].
func (b branchTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	return b.tx(ctx).CopyFrom(ctx, table, columns, rows)
}

// SendBatch implements [pgx.Tx].
func (b branchTx) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	return b.tx(ctx).SendBatch(ctx, batch)
}

// Prepare implements [pgx.Tx].
func (b branchTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return b.tx(ctx).Prepare(ctx, name, sql)
}

// LargeObjects implements [pgx.Tx].
func (b branchTx) LargeObjects() pgx.LargeObjects {
	return b.tx(b.s.ctx).LargeObjects()
}

// Conn returns the connection, in the transaction; nil if the function has returned.
func (b branchTx) Conn() *pgx.Conn {
	if b.over() {
		return nil
	}
	_ = b.d.begin(b.s.ctx, b.s)
	return b.s.conn.Conn()
}

var errNotYours = errors.New("postgres: the transaction is one branch of a distributed one: return from the function instead; nil lets it be prepared, an error rolls all of it back")

// Commit fails: the coordinator commits.
func (branchTx) Commit(context.Context) error { return errNotYours }

// Rollback fails: an error of the function rolls back.
func (branchTx) Rollback(context.Context) error { return errNotYours }

// firstRows are the rows of the first statement. When they are closed the connection is
// free for the next one.
type firstRows struct {
	pgx.Rows
	results pgx.BatchResults
	err     error
}

func (r *firstRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *firstRows) Close() {
	r.Rows.Close()
	r.err = r.results.Close() // the same however often
}

func (r *firstRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

// row is the first of some rows.
type row struct {
	rows pgx.Rows
	err  error
}

// Scan implements [pgx.Row].
func (r row) Scan(dest ...any) error {
	defer r.rows.Close()
	if r.err != nil {
		return r.err
	}
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	_ = r.rows.Scan(dest...) // closes them with its error
	r.rows.Close()
	return r.rows.Err()
}

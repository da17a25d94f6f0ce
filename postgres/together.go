package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtc-project/dtc"
)

// plain matches statements that cannot end a transaction. What follows another one may be
// executed outside of it if nobody looks in between.
var plain = regexp.MustCompile(`(?i)^\s*(INSERT|UPDATE|DELETE|SELECT|WITH|MERGE|VALUES)\b`)

// commitStatements executes a branch of plain statements and commits it: all in one message
// if it does not matter how many rows they affect; in two, otherwise.
func (d *Database) commitStatements(ctx context.Context, b dtc.Branch, s *session, list []Statement) (dtc.Vote, error) {
	defer s.end(errOver)
	if err := d.connect(ctx, s); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	conn := s.conn.Conn()
	together := !slices.ContainsFunc(list, func(st Statement) bool { return !plain.MatchString(st.SQL) })
	counted := slices.ContainsFunc(list, func(st Statement) bool { return st.Rows != nil })
	var err error
	switch {
	case together && !counted && d.keeps:
		var results []*pgconn.Result
		results, err = d.execTogether(ctx, conn, list, func(batch *pgconn.Batch) error {
			return d.queueEvidence(ctx, conn, batch, evidenceOf(b))
		})
		if err == nil || succeeded(results) > len(list) || sent(err) && doubtful(err) {
			return d.answer(ctx, b, s, results[min(len(results), len(list)+1):], err)
		}
		err = failure(results, list, err)
	case together:
		var results []*pgconn.Result
		results, err = d.execTogether(ctx, conn, list, func(*pgconn.Batch) error { return nil })
		err = failure(results, list, err)
	default:
		if err = d.begin(ctx, s); err == nil {
			err = execStatements(ctx, conn.PgConn(), list)
		}
	}
	if err == nil {
		return d.commitWork(ctx, b, s)
	}
	s.end(err) // before somebody waits for its locks
	if isTransient(err) {
		return dtc.VoteAbort, d.noAnswer("statements", err) // tried again: nothing was committed
	}
	return d.refused(ctx, b, err)
}

// execTogether begins a transaction and executes the statements in it, and what more is
// added, all in one message.
func (d *Database) execTogether(ctx context.Context, c *pgx.Conn, list []Statement, more func(*pgconn.Batch) error) ([]*pgconn.Result, error) {
	var batch pgconn.Batch
	batch.ExecParams(beginSQL(d.opts.TxOptions), nil, nil, nil, nil)
	for i, st := range list {
		values, err := st.values(i)
		if err != nil {
			return nil, err
		}
		batch.ExecParams(st.SQL, values, nil, nil, nil)
	}
	if err := more(&batch); err != nil {
		return nil, err
	}
	return send(ctx, c, &batch)
}

// sent reports whether an error comes from a message that has left.
func sent(err error) bool {
	var own *statementError
	return !errors.As(err, &own)
}

// beginSQL returns what begins a transaction.
func beginSQL(o pgx.TxOptions) string {
	if o.BeginQuery != "" {
		return o.BeginQuery
	}
	sql := "BEGIN"
	if o.IsoLevel != "" {
		sql += " ISOLATION LEVEL " + string(o.IsoLevel)
	}
	if o.AccessMode != "" {
		sql += " " + string(o.AccessMode)
	}
	if o.DeferrableMode != "" {
		sql += " " + string(o.DeferrableMode)
	}
	return sql
}

// succeeded returns how many results come before the first error.
func succeeded(results []*pgconn.Result) int {
	for i, r := range results {
		if r.Err != nil {
			return i
		}
	}
	return len(results)
}

// failure returns what is wrong with the first of the statements with which something is; err
// is how the message that began the transaction and executed them has ended.
func failure(results []*pgconn.Result, list []Statement, err error) error {
	done := succeeded(results)
	for i, st := range list[:max(done-1, 0)] {
		if err := st.check(i, results[i+1].CommandTag); err != nil {
			return err
		}
	}
	if err != nil && done > 0 && sqlState(err) != "" {
		return fmt.Errorf("statement %d: %w", done, safe(err))
	}
	return err
}

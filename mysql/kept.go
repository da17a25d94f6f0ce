package mysql

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/dtc-project/dtc"
)

// A commit is visible to other sessions before the server has written it to the disk, and
// a crash then takes it back. So a row that another session may have written is believed
// only after a commit of our own, made after it was read, has been answered: the server's
// log is written in order, up to that one at least.

// keeper makes such commits, for all who wait for one.
type keeper struct {
	sem         chan struct{} // held by whoever commits
	begun, done atomic.Uint64 // the last commit that has begun, and the last that was answered
}

// kept returns when the server will not lose any more what was read before the call. It
// commits with q: who holds a connection does not wait for another. Its error is no answer.
func (d *Database) kept(ctx context.Context, q querier) error {
	k := &d.keeper
	before := k.begun.Load() // whatever begins later comes after the reading
	select {
	case k.sem <- struct{}{}:
		defer func() { <-k.sem }()
	case <-ctx.Done():
		return d.noAnswer("wait until the server keeps what was read", ctx.Err())
	}
	if k.done.Load() > before {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, finishWait)
	defer cancel()
	n := k.begun.Add(1)
	if _, err := q.ExecContext(ctx, d.q.keep(d.id)); err != nil {
		return d.noAnswer("wait until the server keeps what was read", err)
	}
	k.done.Store(n)
	return nil
}

// keep changes a row of the participant that stands for no log. Nobody else locks it, and
// nothing is read from it.
func (q queries) keep(participant string) string {
	return fmt.Sprintf("INSERT INTO %s (participant, log, incarnation, seq) VALUES ('%s', '', 0, 1) ON DUPLICATE KEY UPDATE seq = seq + 1",
		q.lowWater, participant)
}

// keptStanding is standing for an answer that says how the branch has ended: the server
// keeps it.
func (d *Database) keptStanding(ctx context.Context, q querier, b dtc.Branch) (standing, error) {
	st, err := d.standing(ctx, q, b)
	if err == nil && (st == committed || st == rolledBack) {
		err = d.kept(ctx, q)
	}
	return st, err
}

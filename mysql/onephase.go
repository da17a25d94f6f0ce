package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

var (
	errLate      = errors.New("the branch comes too late: it was settled, or is below low water, or its incarnation has ended")
	errUnchecked = errors.New("the id was rolled back before, and the session checks neither unique nor foreign keys: set unique_checks or foreign_key_checks")
)

// CanOnePhase implements [dtc.OnePhaser].
func (d *Database) CanOnePhase(b dtc.Branch) bool {
	if !d.q.mariadb || d.opts.TwoPhases {
		return false
	}
	if len(b.Payload) == 0 {
		return true
	}
	p, err := parsePayload(b.Payload)
	return err == nil && !p.Adopted
}

// CommitOnePhase implements [dtc.OnePhaser].
func (d *Database) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	d.noteLowWater(b)
	if _, err := d.fenceOff(ctx, b.XID); err != nil {
		return dtc.VoteAbort, err
	}
	var v dtc.Vote
	var err error
	switch p, perr := parsePayload(b.Payload); {
	case len(b.Payload) == 0:
		v, err = d.onceSession(ctx, b)
	case perr != nil:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("mysql: %s: %w", d.id, perr))
	case !d.q.mariadb || p.Adopted:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("mysql: %s: this branch takes two phases", d.id))
	default:
		v, err = d.withSession(ctx, b, func(s *session) (dtc.Vote, error) { return d.onceStatements(ctx, b, s, p.Statements) })
	}
	if err == nil && v == dtc.VoteCommit {
		d.countFinished(ctx, b.XID.Log)
	}
	return v, err
}

// onceSession commits what was done in calls of Do.
func (d *Database) onceSession(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	s := d.find(b.XID)
	if s == nil {
		return d.shut(ctx, b, errGone)
	}
	if err := s.lock(ctx); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err) // a function given to Do still runs
	}
	defer s.unlock()
	if d.find(b.XID) != s || s.prepared { // it ended while this call waited
		return d.shut(ctx, b, errGone)
	}
	defer d.forget(b.XID, s)
	if s.err == nil && s.missed.Load() {
		s.err = errMissed
	}
	switch {
	case s.err != nil:
		return d.abandon(ctx, b, s, s.err)
	case s.conn == nil: // enlisted, and nothing was done
		s.end(errOver)
		return dtc.VoteReadOnly, nil
	}
	return d.commitOnce(ctx, b, s)
}

// onceStatements executes and commits a branch of plain statements.
func (d *Database) onceStatements(ctx context.Context, b dtc.Branch, s *session, list []Statement) (dtc.Vote, error) {
	if b.Attempt > 1 {
		// What an earlier call has done is in the way of the statements.
		if o, err := d.onceOf(ctx, b); err != nil || o.there && (o.committed || o.xid.Compare(b.XID) >= 0) {
			return d.met(o, errLate, err)
		}
	}
	if err := d.beginIn(ctx, b, s); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if err := d.doStatements(ctx, s, list); err != nil {
		s.end(err)
		if isTransient(err) {
			return dtc.VoteAbort, dtc.NoAnswer(err)
		}
		return d.shut(ctx, b, err)
	}
	return d.commitOnce(ctx, b, s)
}

// commitOnce proves and commits the session's branch. The caller holds it.
func (d *Database) commitOnce(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	reads, err := d.onlyReads(ctx, s)
	switch {
	case err != nil:
		return d.abandon(ctx, b, s, safe(err))
	case reads:
		return dtc.VoteReadOnly, nil
	}
	_, err = s.conn.ExecContext(ctx, d.q.commitOnce(b, s.name))
	switch {
	case err == nil:
		d.giveBack(s)
		return dtc.VoteCommit, nil
	case gone(err):
		conn := s.conn
		s.conn, s.unclean = nil, true
		s.end(errOver)
		drop(conn)
		return dtc.VoteAbort, d.noAnswer("commit in one phase", err)
	}
	s.end(errOver)
	if number(err) == codeTaken {
		return d.taken(ctx, b)
	}
	if err = d.failed("commit in one phase", err); isTransient(err) && len(b.Payload) > 0 {
		return dtc.VoteAbort, dtc.NoAnswer(err) // the statements are executed again
	}
	return d.shut(ctx, b, err)
}

// taken answers a branch that has met something and was rolled back.
func (d *Database) taken(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	o, err := d.onceOf(ctx, b)
	if err != nil || o.committed || o.there && o.xid.Compare(b.XID) >= 0 {
		return d.met(o, errLate, err)
	}
	stands, low, err := d.fenceStands(ctx, b.XID.Log)
	switch {
	case err != nil:
		return dtc.VoteAbort, dtc.NoAnswer(err)
	case stands > b.XID.Incarnation.Number, b.XID.Compare(low) < 0:
		return d.shut(ctx, b, errLate)
	case stands < b.XID.Incarnation.Number:
		d.unfence(b.XID.Log)
	case o.there: // sealed below it, which is taken over but for one reason
		return d.shut(ctx, b, errUnchecked)
	}
	return dtc.VoteAbort, dtc.NoAnswer(fmt.Errorf("mysql: %s: the row of the branch has just changed", d.id))
}

// met answers with what stands in the row of the branch's id, or refuses for the reason
// given if it is not committed.
func (d *Database) met(o once, reason, err error) (dtc.Vote, error) {
	switch {
	case err != nil:
		return dtc.VoteAbort, err
	case o.committed && o.same:
		return dtc.VoteCommit, nil
	case o.committed:
		reason = fmt.Errorf("%w: the id was committed for another request", dtc.ErrTxConflict)
	}
	return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("mysql: %s: %w", d.id, reason))
}

// shut refuses a branch for the reason given, after it was made sure that nothing of it
// commits any more, whatever is still under way; or says that it was committed before, or that nobody knows any more.
func (d *Database) shut(ctx context.Context, b dtc.Branch, reason error) (dtc.Vote, error) {
	outcome, o, err := d.settle(ctx, b)
	if err == nil && outcome == dtc.OutcomeUnknown {
		// No refusal: that would say that the id was not committed before.
		return dtc.VoteAbort, fmt.Errorf("mysql: %s: %w; whether the id was committed before is not remembered", d.id, reason)
	}
	return d.met(o, reason, err)
}

// abandon refuses the branch of a session, whose end was never sent, for the reason given.
func (d *Database) abandon(ctx context.Context, b dtc.Branch, s *session, reason error) (dtc.Vote, error) {
	s.end(reason)
	if i, ok := d.fencedOff(b.XID); ok && s.done && !i.earlier { // its work was here alone
		return d.met(once{}, reason, nil)
	}
	return d.shut(ctx, b, reason)
}

// undone ends the work of a branch whose id was committed before.
func (d *Database) undone(ctx context.Context, b dtc.Branch, reason error) (dtc.Vote, error) {
	if errors.Is(reason, dtc.ErrNoAnswer) {
		return dtc.VoteAbort, reason
	}
	if p, err := parsePayload(b.Payload); err == nil && p.Adopted {
		// It is prepared, and a rollback must follow.
		return dtc.VoteAbort, fmt.Errorf("mysql: %s: %w: the id was committed in one phase before", d.id, dtc.ErrTxConflict)
	}
	if _, err := d.finishHere(ctx, b, xaRollback); err != nil {
		return dtc.VoteAbort, err
	}
	if reason != nil {
		return dtc.VoteAbort, reason
	}
	return dtc.VoteReadOnly, nil
}

// committedBefore looks, before a branch is prepared, whether an earlier incarnation has
// committed its id in one phase. Within one incarnation the coordinator knows.
func (d *Database) committedBefore(ctx context.Context, b dtc.Branch) (bool, error) {
	i, err := d.fenceOff(ctx, b.XID)
	if err != nil || !i.earlier {
		return false, err
	}
	o, err := d.onceOf(ctx, b)
	if err == nil && o.committed {
		_, err = d.met(o, errLate, nil)
		return true, err
	}
	return false, err
}

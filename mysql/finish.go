package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
)

const (
	endTimeout = time.Second             // for an orderly end of a session
	lockWait   = 10 * time.Second        // for another process that finishes the same branch
	finishWait = 5 * time.Second         // until the caller is told that a branch cannot be finished yet
	grace      = 1200 * time.Millisecond // before it is believed that a branch is not there
	retryPause = 5 * time.Millisecond
)

// The statements that finish a branch, before its name.
const (
	xaCommit   = "XA COMMIT "
	xaRollback = "XA ROLLBACK "
)

// Commit implements [dtc.Participant].
func (d *Database) Commit(ctx context.Context, b dtc.Branch) error {
	d.noteLowWater(b)
	if _, err := d.fenceOff(ctx, b.XID); err != nil {
		return err
	}
	done, err := d.finishHere(ctx, b, xaCommit)
	if err != nil {
		return err
	}
	if !done {
		if err := d.alone(ctx, b, func(q *sql.Conn) error { return d.commitElsewhere(ctx, q, b) }); err != nil {
			return err
		}
	}
	d.countFinished(ctx, b.XID.Log)
	return nil
}

// Rollback implements [dtc.Participant].
func (d *Database) Rollback(ctx context.Context, b dtc.Branch) error {
	d.noteLowWater(b)
	if s := d.find(b.XID); s != nil {
		s.cancel()
	}
	if _, err := d.fenceOff(ctx, b.XID); err != nil {
		return err
	}
	clean, err := d.finishHere(ctx, b, xaRollback)
	if err != nil {
		return err
	}
	// Whether there was something or not: nothing is prepared under this name again.
	sealed, err := d.sealUntouched(ctx, b, clean)
	if err == nil && !sealed {
		err = d.alone(ctx, b, func(q *sql.Conn) error { return d.rollbackElsewhere(ctx, q, b) })
	}
	if err == nil {
		d.countFinished(ctx, b.XID.Log)
	}
	return err
}

// sealUntouched seals a branch of which nothing is left, which is what most rollbacks
// come to, without further ado, and reports whether it has.
func (d *Database) sealUntouched(ctx context.Context, b dtc.Branch, clean bool) (bool, error) {
	if !clean {
		if r, err := d.peek(ctx, b); err != nil || r.state != "" {
			return false, err
		}
	}
	sealed, err := d.seal(ctx, d.finish, b)
	if err != nil || !sealed || clean {
		return sealed && err == nil, nil // what is in the way is looked at by whoever is alone with it
	}
	listed, err := d.listed(ctx, d.finish, b) // without its row
	return !listed, err
}

// finishHere finishes a branch on the session that has prepared it, if this process holds
// it, and reports whether the server has done so. Without an OK the session is given up,
// and what became of the branch is found out from elsewhere. Work that is not prepared is
// undone.
func (d *Database) finishHere(ctx context.Context, b dtc.Branch, verb string) (bool, error) {
	s := d.find(b.XID)
	if s == nil {
		return false, nil
	}
	if err := s.lock(ctx); err != nil {
		return false, dtc.NoAnswer(fmt.Errorf("mysql: %s: a call for the branch has not returned yet: %w", d.id, err))
	}
	defer s.unlock()
	defer d.forget(b.XID, s)
	if s.prepared {
		if _, err := s.conn.ExecContext(ctx, verb+s.name); err != nil {
			s.end(errOver)
			return false, nil
		}
		d.giveBack(s)
		return true, nil
	}
	return s.end(errOver) && verb == xaRollback, nil
}

// commitElsewhere commits a branch whose session is not here.
func (d *Database) commitElsewhere(ctx context.Context, q *sql.Conn, b dtc.Branch) error {
	name, err := xaName(b)
	if err != nil {
		return err
	}
	var missing time.Time // since when it is not there
	lists, ours := false, false
	for began := time.Now(); ; {
		st, err := d.look(ctx, q, b, lists)
		if err == nil && (st == rolledBack || st == committed && !ours) {
			err = d.kept(ctx, q)
		}
		if err != nil {
			return err
		}
		switch st {
		case committed:
			return nil
		case rolledBack:
			return &dtc.FinishedError{Outcome: dtc.RolledBack}
		case bare:
			return fmt.Errorf("mysql: %s: the branch is prepared without its row, so it was not voted for", d.id)
		case held:
			missing = time.Time{}
			// An OK is believed by the next look, which must see the row.
			_, err = q.ExecContext(ctx, xaCommit+name)
			lists, ours = lists || err != nil, err == nil
			if err != nil && !busy(err) && number(err) != codeRolledBack {
				return d.unfinished(err)
			}
		case absent:
			if missing.IsZero() {
				missing = time.Now()
			}
			if time.Since(missing) >= grace {
				// Not found is not done. If it is below low water its row has been
				// dropped, else the seal makes sure that nothing comes of it any more.
				below, err := d.below(ctx, q, b)
				if err != nil || below {
					return err
				}
				if _, err := d.seal(ctx, q, b); err != nil {
					return err
				}
				missing = time.Time{}
				continue
			}
		}
		if time.Since(began) > finishWait {
			return d.unfinished(err)
		}
		if err := sleep(ctx, retryPause); err != nil {
			return d.noAnswer("finish", err)
		}
	}
}

// rollbackElsewhere makes sure that a branch whose session is not here can commit no more.
func (d *Database) rollbackElsewhere(ctx context.Context, q *sql.Conn, b dtc.Branch) error {
	name, err := xaName(b)
	if err != nil {
		return err
	}
	lists := false
	for began := time.Now(); ; {
		st, err := d.look(ctx, q, b, lists)
		if err != nil {
			return err
		}
		switch st {
		case committed:
			if err := d.kept(ctx, q); err != nil {
				return err
			}
			return &dtc.FinishedError{Outcome: dtc.Committed}
		case rolledBack: // which somebody else's prepare without a row does not meet
			listed, err := d.listed(ctx, q, b)
			if err == nil && !listed {
				err = d.kept(ctx, q)
			}
			if err != nil || !listed {
				return err
			}
			fallthrough
		case held, bare:
			_, err = q.ExecContext(ctx, xaRollback+name)
			lists = lists || err != nil
			if st == held && err == nil { // with its row, so nothing else stands in the way of a seal
				if sealed, err := d.seal(ctx, q, b); err == nil && sealed {
					return nil
				}
			}
			if err != nil && !busy(err) && number(err) != codeRolledBack {
				return d.unfinished(err)
			}
		case absent:
			if _, err = d.seal(ctx, q, b); err == nil {
				continue
			}
			if !busy(err) {
				return err
			}
		}
		if time.Since(began) > finishWait {
			return d.unfinished(err)
		}
		if err := sleep(ctx, retryPause); err != nil {
			return d.noAnswer("finish", err)
		}
	}
}

// unfinished returns the error of a branch that is there and is not finished.
func (d *Database) unfinished(err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("mysql: %s: the server has said OK, and the branch is still there", d.id)
	case number(err) == codeUnknownXID:
		return fmt.Errorf("mysql: %s: the branch is prepared by a session that is still connected and that its row does not name; end it: %w", d.id, safe(err))
	case gone(err):
		return d.noAnswer("finish", err)
	}
	return d.failed("finish", err)
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// once is the row of an id that was committed or sealed in one phase.
type once struct {
	there, committed bool
	xid              dtc.XID
	same             bool // its request may be the one that was asked about
}

// once returns what the server keeps of an id.
func (d *Database) once(ctx context.Context, log dtc.LogID, id dtc.TxID, fingerprint [16]byte) (o once, err error) {
	o.xid.Log = log
	err = d.finish.QueryRowContext(ctx, d.q.onceRow(d.id, log, id, fingerprint)).
		Scan(&o.committed, &o.xid.Incarnation.Number, &o.xid.Incarnation.Nonce, &o.xid.Seq, &o.same)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return once{}, nil
	case err != nil:
		return once{}, d.noAnswer("read the row of the id", err)
	}
	o.there = true
	if err := d.kept(ctx, d.finish); err != nil {
		return once{}, err
	}
	return o, nil
}

// onceOf is once for a branch. If its id was committed for the same request the row stands
// for the branch's XID too, from then on.
func (d *Database) onceOf(ctx context.Context, b dtc.Branch) (once, error) {
	o, err := d.once(ctx, b.XID.Log, b.TxID, b.Fingerprint)
	if err != nil || !o.committed || !o.same || o.xid.Compare(b.XID) >= 0 {
		return o, err
	}
	if _, err := d.finish.ExecContext(ctx, d.q.onceExtend(b)); err != nil {
		return once{}, d.noAnswer("keep the row of the id", err)
	}
	return o, nil
}

// Prove implements [dtc.OnePhaser].
func (d *Database) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	o, err := d.once(ctx, log, id, [16]byte{})
	if err != nil || !o.committed {
		return dtc.XID{}, err
	}
	return o.xid, nil
}

// Settle implements [dtc.OnePhaser].
func (d *Database) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	d.noteLowWater(b)
	i, err := d.fenceOff(ctx, b.XID)
	if err != nil {
		return dtc.OutcomeUnknown, err
	}
	s := d.find(b.XID)
	if s == nil {
		o, _, err := d.settle(ctx, b)
		return o, err
	}
	s.cancel()
	if err := s.lock(ctx); err != nil {
		return dtc.OutcomeUnknown, dtc.NoAnswer(fmt.Errorf("mysql: %s: a call for the branch has not returned yet: %w", d.id, err))
	}
	defer s.unlock()
	here := d.find(b.XID) == s && s.done && !s.prepared // else a call for it has sent its end
	s.end(errOver)
	d.forget(b.XID, s)
	if here && !i.earlier {
		// Its work was here alone, and its commit has never been sent.
		return dtc.RolledBack, nil
	}
	o, _, err := d.settle(ctx, b)
	return o, err
}

// settle finds that the branch, or its id, was committed, or seals it. It waits for one that
// is just committing, and gives up soon. It also returns the row that it has found.
func (d *Database) settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, once, error) {
	for range 8 {
		r, err := d.finish.ExecContext(ctx, d.q.onceSeal(b))
		if err == nil {
			n, err := r.RowsAffected()
			switch {
			case err != nil:
				return dtc.OutcomeUnknown, once{}, d.noAnswer("seal", err)
			case n == 1:
				return dtc.RolledBack, once{}, nil
			}
		} else if number(err) != codeDuplicate && number(err) != codeDeadlock {
			return dtc.OutcomeUnknown, once{}, d.noAnswer("seal", err)
		}
		o, lookErr := d.onceOf(ctx, b)
		switch {
		case lookErr != nil:
			return dtc.OutcomeUnknown, o, lookErr
		case o.committed && (o.same || o.xid == b.XID):
			return dtc.Committed, o, nil
		case o.committed, o.there && o.xid.Compare(b.XID) >= 0:
			return dtc.RolledBack, o, nil
		case o.there:
			if _, err := d.finish.ExecContext(ctx, d.q.onceOver(b, stateSealed)); err != nil && number(err) != codeDeadlock {
				return dtc.OutcomeUnknown, once{}, d.noAnswer("seal", err)
			}
		case err == nil: // not inserted, and nothing there
			return dtc.OutcomeUnknown, o, d.unsealed(ctx, b)
		}
	}
	return dtc.OutcomeUnknown, once{}, dtc.NoAnswer(fmt.Errorf("mysql: %s: the row of the branch does not come to rest", d.id))
}

// unsealed makes sure that a branch of which nothing is there was not sealed because
// evidence of its time has been dropped.
func (d *Database) unsealed(ctx context.Context, b dtc.Branch) error {
	switch stands, _, err := d.fenceStands(ctx, b.XID.Log); {
	case err != nil:
		return dtc.NoAnswer(err)
	case stands < b.XID.Incarnation.Number || stands == 0:
		d.unfence(b.XID.Log) // somebody has taken the row away
		return dtc.NoAnswer(fmt.Errorf("mysql: %s: the fence has been lowered", d.id))
	}
	return nil
}

package simdb_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

const participant = "payment"

var theLog = dtc.LogID{1}

func xid(seq uint64) dtc.XID {
	return dtc.XID{Log: theLog, Incarnation: dtc.Incarnation{Number: 2, Nonce: 7}, Seq: seq}
}

// payments is tokens that also take something from two accounts, in an order that
// depends on the branch: so there are deadlocks, and every effect is counted twice.
func (o *oracle) payments() guard.Funcs {
	return guard.Funcs{
		Prepare: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
			if err := both(ctx, tx, b, -1); err != nil {
				return dtc.VoteAbort, err
			}
			if string(b.Payload) == "fickle" {
				b.Payload = o.branches[b.XID.Seq-1].mood()
			}
			return tokens.Prepare(ctx, tx, b)
		},
		Commit: tokens.Commit,
		Rollback: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
			if err := both(ctx, tx, b, 1); err != nil {
				return err
			}
			return tokens.Rollback(ctx, tx, b)
		},
	}
}

func both(ctx context.Context, tx *sql.Tx, b dtc.Branch, amount int) error {
	accounts := []string{"a", "b"}
	for i := range accounts {
		account := accounts[(uint64(i)+b.XID.Seq)%2]
		if _, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance + $1 WHERE id = $2", amount, account); err != nil {
			return err
		}
	}
	return nil
}

// op is a call of the guard.
type op struct {
	kind     opKind
	branch   *branch // nil for opPrune and opList
	lowWater dtc.XID
	guard    *guard.Guard

	// what came of it
	vote    dtc.Vote
	dropped int
	listed  []dtc.InDoubtBranch
	err     error
	over    chan struct{}
	done    bool // over, and seen to be
	dead    bool // its process was killed: nobody hears the answer

	// what was known when it began
	before   branch           // the branch as it was known then
	prepared map[*branch]bool // since then, all the time
	finished map[*branch]bool // then
}

type opKind string

const (
	opPrepare  opKind = "prepare"
	opCommit   opKind = "commit"
	opRollback opKind = "rollback"
	opPrune    opKind = "prune"
	opList     opKind = "list"
)

func (c *op) String() string {
	s := string(c.kind)
	if c.branch != nil {
		s += fmt.Sprint(" ", c.branch.seq)
	}
	if !c.lowWater.IsZero() {
		s += fmt.Sprint(", low water ", c.lowWater.Seq)
	}
	switch {
	case !c.done:
		return s
	case c.dead:
		return s + " has died"
	case c.kind == opPrepare:
		return fmt.Sprintf("%s answers %v, %v", s, c.vote, c.err)
	}
	return fmt.Sprintf("%s answers %v", s, c.err)
}

func (c *op) run(ctx context.Context) {
	var b dtc.Branch
	if c.branch != nil {
		b = dtc.Branch{
			Participant: participant, XID: xid(c.branch.seq), TxID: dtc.TxID(fmt.Sprint("tx-", c.branch.seq)),
			Payload: []byte(c.branch.payload), Attempt: 1, LowWater: c.lowWater,
		}
	}
	switch c.kind {
	case opPrepare:
		c.vote, c.err = c.guard.Prepare(ctx, b)
	case opCommit:
		c.err = c.guard.Commit(ctx, b)
	case opRollback:
		c.err = c.guard.Rollback(ctx, b)
	case opPrune:
		c.dropped, c.err = c.guard.Prune(ctx)
	case opList:
		c.listed, c.err = c.guard.InDoubt(ctx, theLog)
	}
	close(c.over)
}

// ended looks whether it is over.
func (c *op) ended() bool {
	select {
	case <-c.over:
		c.done = true
	default:
	}
	return c.done
}

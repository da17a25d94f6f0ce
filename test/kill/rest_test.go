package kill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/test/internal/histories"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// rest runs a last node, here, until nothing is left to do, asks it how
// everything ended, closes it, and looks into the files.
func (l *loop) rest() error {
	l.ledger.round++
	var mu sync.Mutex
	var lines []string
	n, err := openNode(l.dir, l.breakage, func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	})
	if err != nil {
		return err
	}
	err = l.finish(n)
	err = errors.Join(err, n.close())
	r := &round{loop: l, said: map[string]time.Time{}}
	for _, line := range lines {
		r.hear(line)
	}
	if err != nil {
		return err
	}
	l.explain()
	return l.look(true)
}

func (l *loop) finish(n *node) error {
	wait := patience
	if l.breakage != "" {
		wait = 2 * time.Second // it is not going to get better
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		prepared := 0
		for _, db := range n.dbs {
			more, err := oracle.Prepared(db)
			if err != nil {
				return err
			}
			prepared += more
		}
		if prepared == 0 && n.Stats().Unfinished == 0 {
			break
		}
		if time.Now().After(deadline) {
			l.fail("%d transactions are unfinished and %d branches prepared after %v", n.Stats().Unfinished, prepared, wait)
			for t := range n.Transactions(dtc.Filter{}) {
				l.fail("unfinished: %+v", t)
			}
			break
		}
	}
	for _, id := range l.order {
		t := l.tales[id]
		heard := l.history.Call(sim.Op{Kind: sim.OpOutcome, ID: string(id)})
		info, err := n.Prove(context.Background(), id)
		outcome := info.Outcome
		heard(asked[outcome])
		switch {
		case err != nil && !errors.Is(err, dtc.ErrUnknownTx):
			return err
		case t.known == committed && outcome != dtc.Committed && !t.onlyReads(),
			t.known == rolledBack && outcome == dtc.Committed:
			l.fail("%s: told %s, and now it is %s (%v)", id, t.known, outcome, err)
		case t.known == "" && outcome == dtc.Committed && !strings.ContainsRune(t.shape, oracle.Declines):
			// Nobody was told yet. Now it is said, and must be so in the files.
			t.known = committed
		case t.known == "" && outcome != dtc.Committed:
			t.known = rolledBack
		case t.known == "":
			l.fail("%s: %s, though a participant declined", id, outcome)
		}
		if err := l.prove(n, id); err != nil {
			return err
		}
	}
	return nil
}

// prove looks whether the participant that commits in one phase has proof of what was
// committed so, and of nothing else.
func (l *loop) prove(n *node, id dtc.TxID) error {
	x, err := n.once.Prove(context.Background(), n.ID(), id)
	known, proven := l.tales[id].known, !x.IsZero()
	if want := known == committed && onePhase(id); err == nil && proven != want {
		l.fail("%s: it ended as %q, and whether there is proof of it is %v", id, known, proven)
	}
	if onePhase(id) && known == committed {
		l.counts.onePhase++
	}
	return err
}

// asked is what an outcome says. One that is unknown comes with an error, which whoever
// asks at rest looks at: nothing runs any more.
var asked = map[dtc.Outcome]sim.Answer{
	dtc.OutcomeUnknown: sim.NotKnown, dtc.Committed: sim.Committed,
	dtc.RolledBack: sim.RolledBack, dtc.Heuristic: sim.Heuristic,
}

// explain looks for an order of all that callers were told that the coordinator's
// promise allows.
func (l *loop) explain() {
	ops := l.history.Ops()
	ids, err := histories.Check(ops, histories.Params{Retention: time.Hour, Limit: 1_000_000})
	if err != nil {
		l.fail("%v", err)
	}
	if err != nil && l.breakage == "" {
		l.fail("%s", histories.Draw(err))
	}
	l.counts.calls, l.counts.ids = len(ops), ids
}

package kill_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/test/internal/histories"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// ledger is all that the callers of all rounds were told, and all that was found
// wrong.
type ledger struct {
	tales  map[dtc.TxID]*tale
	order  []dtc.TxID // in which they began
	round  int
	wrong  []string
	warned map[string]int
	counts counts

	history *histories.Recorder
	waiting map[string]func(sim.Answer) // callers of this round, and what notes their answer
}

// tale is what the callers know of one id.
type tale struct {
	shape string
	out   int // callers that wait for an answer
	// known is the outcome that counts: committed for ever, or rolled back until
	// another process may have run the id again, or "" if nobody can know.
	known string
	said  int // the round in which that was said
}

const (
	committed  = oracle.Committed
	rolledBack = oracle.RolledBack
)

type counts struct {
	kills, unborn, opening, recovering, working int
	committed, rolledBack, underWay             int
	repeats, reruns                             int
	recovered, orphans, planted, warnings       int
	checks, segments, records                   int
	readOnlyChanged                             int
	calls, ids, onePhase                        int
}

func newLedger() *ledger {
	return &ledger{
		tales: map[dtc.TxID]*tale{}, warned: map[string]int{},
		history: histories.NewRecorder(), waiting: map[string]func(sim.Answer){},
	}
}

func (l *ledger) fail(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf("round %d: ", l.round)+fmt.Sprintf(format, args...))
}

// started notes that a caller is about to run an id.
func (l *ledger) started(caller string, id dtc.TxID) {
	t := l.tales[id]
	if t == nil {
		t = &tale{shape: shapeOf(id)}
		l.tales[id] = t
		l.order = append(l.order, id)
	}
	t.out++
	number, _ := strconv.Atoi(caller)
	l.waiting[caller] = l.history.Call(sim.Op{Kind: sim.OpExecute, Client: number, ID: string(id), ReadOnly: t.onlyReads()})
	if t.known == rolledBack && t.said != l.round {
		// What was rolled back may have been forgotten in the crash, and then this
		// is a new transaction.
		t.known = ""
		l.counts.reruns++
	}
}

// told notes what a caller was told, and compares it with what was said before.
func (l *ledger) told(caller string, id dtc.TxID, outcome, detail string) {
	if heard := l.waiting[caller]; heard != nil {
		heard(answers[outcome])
		delete(l.waiting, caller)
	}
	t := l.tales[id]
	if t == nil || t.out == 0 {
		l.fail("%s: told %s without having been started", id, outcome)
		return
	}
	t.out--
	switch outcome {
	case committed:
		l.counts.committed++
	case rolledBack:
		l.counts.rolledBack++
	case "nothing":
		return
	default:
		l.fail("%s: the caller was told: %s %s", id, outcome, detail)
		return
	}
	switch {
	case t.known == "":
	case t.known == outcome:
		l.counts.repeats++
	case t.onlyReads() && t.said != l.round:
		// Nothing was forced for it, so the crash could forget that it committed;
		// neither outcome leaves anything anywhere.
		l.counts.readOnlyChanged++
	default:
		l.fail("%s: told %s in round %d and %s now", id, t.known, t.said, outcome)
	}
	if outcome == committed && strings.ContainsRune(t.shape, oracle.Declines) {
		l.fail("%s: told committed, though a participant declined", id)
	}
	t.known, t.said = outcome, l.round
}

func (t *tale) onlyReads() bool { return !strings.ContainsRune(t.shape, oracle.Writes) }

// answers are what callers say they were told. Nothing, or an error, is no answer.
var answers = map[string]sim.Answer{committed: sim.Committed, rolledBack: sim.RolledBack}

// killed ends a round: whoever waits for an answer will never get it. It returns
// the ids under way.
func (l *ledger) killed() []dtc.TxID {
	var ids []dtc.TxID
	clear(l.waiting)
	for _, id := range l.order {
		if t := l.tales[id]; t.out > 0 {
			t.out = 0
			ids = append(ids, id)
		}
	}
	l.counts.underWay += len(ids)
	return ids
}

func (c counts) String() string {
	return fmt.Sprintf("%d kills (%d before opening, %d while opening, %d while finishing what was found, %d at work)\n"+
		"told %d committed, %d rolled back; %d under way at a kill; %d repeats told the same, %d rolled back ids run again\n"+
		"%d transactions recovered, %d orphans swept (%d planted), %d looks into the files, %d warnings, %d read-only outcomes forgotten\n"+
		"the log has %d segments, %d records; the history has %d calls and kills, of %d ids; %d committed in one phase",
		c.kills, c.unborn, c.opening, c.recovering, c.working,
		c.committed, c.rolledBack, c.underWay, c.repeats, c.reruns,
		c.recovered, c.orphans, c.planted, c.checks, c.warnings, c.readOnlyChanged, c.segments, c.records, c.calls, c.ids, c.onePhase)
}

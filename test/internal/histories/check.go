package histories

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dtc-project/dtc/internal/sim"
)

// Violation is a history of one id that nothing explains.
type Violation struct {
	ID  string
	Why string // all that happened to the id, in order of the calls

	history []porcupine.Operation
}

func (v *Violation) Error() string {
	return fmt.Sprintf("what was told about %q cannot all be true:\n%s", v.ID, v.Why)
}

// Draw writes Porcupine's picture of a violation to a temporary file, which is for
// whoever reads about it and therefore stays, and says where. Of other errors it draws
// nothing.
func Draw(err error) string {
	var v *Violation
	if !errors.As(err, &v) {
		return "there is nothing to draw"
	}
	_, info := porcupine.CheckOperationsVerbose(model, v.history, patience)
	f, err := os.CreateTemp("", "dtc-history-*.html")
	if err != nil {
		return fmt.Sprintf("it could not be drawn: %v", err)
	}
	if err := errors.Join(porcupine.Visualize(model, info, f), f.Close()); err != nil {
		return fmt.Sprintf("it could not be drawn: %v", err)
	}
	return "drawn in " + f.Name()
}

// patience is how long one id may be thought about. None has ever needed a hundredth
// of it; more than that is an error, not a pass.
const patience = time.Minute

// Check returns a [*Violation] for the first id whose history is not one that the
// coordinator promises, or nil and how many ids there are.
func Check(ops []sim.Op, p Params) (ids int, err error) {
	at := begun(ops)
	all := partitions(ops, p)
	for _, q := range all {
		if err := q.check(p, at); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

func (q *partition) check(p Params, begun []time.Duration) error {
	history := make([]porcupine.Operation, 0, len(q.calls))
	for _, s := range q.steps(p, begun) {
		history = append(history, porcupine.Operation{ClientId: s.Client, Input: s, Call: s.from, Return: s.to})
	}
	switch porcupine.CheckOperationsTimeout(model, history, patience) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("the history of %q could not be checked within %v:\n%s", q.id, patience, q.tell())
	case porcupine.Illegal:
	}
	return &Violation{ID: q.id, Why: q.tell(), history: history}
}

// tell lists all that happened, also the calls that nobody heard the end of.
func (q *partition) tell() string {
	all := slices.Clone(q.calls)
	for _, r := range q.runs {
		if !says(r.Op) {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b call) int { return cmp.Compare(a.from, b.from) })
	var b strings.Builder
	for i := range all {
		fmt.Fprintf(&b, "  %s\n", all[i].String())
	}
	return b.String()
}

// String describes a call and its answer, or a crash.
func (c *call) String() string {
	when := c.Call.String()
	switch c.Kind {
	case sim.OpPowerLost:
		return when + ": power lost"
	case sim.OpKilled:
		return when + ": killed"
	case sim.OpClosed:
		return when + ": closed in order"
	case sim.OpReopened:
		return when + ": reopened"
	case sim.OpResolved:
		return fmt.Sprintf("%s: an operator says that %s is %s", when, c.ID, answers[c.Answer])
	case sim.OpExecute, sim.OpOutcome, sim.OpProve:
	}
	what := fmt.Sprintf("outcome of %s?", c.ID)
	if c.Kind == sim.OpProve {
		what = fmt.Sprintf("proof of %s?", c.ID)
	}
	if c.Kind == sim.OpExecute {
		what = fmt.Sprintf("execute %s, request %d", c.ID, c.Request)
		if c.ReadOnly {
			what += " (reads only)"
		}
		if c.OnePhase {
			what += fmt.Sprintf(" (in one phase, evidence %d)", c.Evidence)
		}
	}
	if c.Return < 0 {
		return fmt.Sprintf("%s: client %d: %s: no answer", when, c.Client, what)
	}
	return fmt.Sprintf("%s to %v: client %d: %s: %s", when, c.Return, c.Client, what, answers[c.Answer])
}

var answers = [...]string{
	sim.NoAnswer: "nobody can know", sim.Committed: "committed", sim.RolledBack: "rolled back", sim.Conflict: "conflict",
	sim.Refused: "refused", sim.NotKnown: "not known", sim.Unfinished: "unfinished", sim.Heuristic: "heuristic",
	sim.LogFailed: "the log has failed",
}

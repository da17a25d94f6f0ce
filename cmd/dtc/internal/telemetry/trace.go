package telemetry

import (
	"errors"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/silence"
)

// Trace returns hooks that count, and then call those of next, which may be nil.
func (m *Metrics) Trace(next *dtc.Trace) *dtc.Trace {
	var t dtc.Trace
	if next != nil {
		t = *next
	}
	decided, called, retrying, hazard := t.Decided, t.Called, t.Retrying, t.Hazard
	resolved, recovered := t.Resolved, t.Recovered
	t.Decided = func(tx dtc.TraceTx, o dtc.Outcome, reason dtc.Reason) {
		m.decided(tx, o, reason.Code)
		if decided != nil {
			decided(tx, o, reason)
		}
	}
	t.Called = func(call dtc.TraceCall, vote dtc.Vote, err error, took time.Duration) {
		m.called(call, vote, err, took)
		if called != nil {
			called(call, vote, err, took)
		}
	}
	t.Retrying = func(call dtc.TraceCall, wait time.Duration) {
		m.participant(call.Participant).ops[opOf(call.Verb)].retries.Inc()
		if retrying != nil {
			retrying(call, wait)
		}
	}
	t.Hazard = func(call dtc.TraceCall) {
		m.hazards.Inc()
		if hazard != nil {
			hazard(call)
		}
	}
	t.Resolved = func(tx dtc.TraceTx, participant string, o dtc.Outcome) {
		m.forcedTo[o].Inc() // it is one of the two
		if resolved != nil {
			resolved(tx, participant, o)
		}
	}
	t.Recovered = func(records, unfinished int, took time.Duration) {
		m.recovery.Set(took.Seconds())
		if recovered != nil {
			recovered(records, unfinished, took)
		}
	}
	return &t
}

func (m *Metrics) decided(tx dtc.TraceTx, o dtc.Outcome, code dtc.Code) {
	var e *ending
	switch o {
	case dtc.Committed:
		e = &m.committed
	case dtc.RolledBack:
		e = &m.rolledBack
	case dtc.OutcomeUnknown, dtc.Heuristic: // never told at a decision
		return
	}
	if int(code) >= len(e.byReason) {
		code = 0 // a commit has none, and there may be codes that this program does not know
	}
	e.byReason[code].Inc()
	if !tx.Started.IsZero() {
		e.duration.Observe(time.Since(tx.Started).Seconds())
	}
}

func (m *Metrics) called(call dtc.TraceCall, vote dtc.Vote, err error, took time.Duration) {
	op := opOf(call.Verb)
	p := &m.participant(call.Participant).ops[op]
	p.results[resultOf(op, vote, err)].Inc()
	p.duration.Observe(took.Seconds())
}

// op is what a participant is called for.
type op int

const (
	prepare op = iota
	commit
	rollback
	onePhase
	settle
	numOps
)

var opWords = [numOps]string{"prepare", "commit", "rollback", "commit_one_phase", "settle"}

func (o op) String() string { return opWords[o] }

// votes reports whether the participant answers with a vote.
func (o op) votes() bool { return o == prepare || o == onePhase }

func opOf(verb string) op {
	switch verb {
	case "prepare":
		return prepare
	case "commit":
		return commit
	case "commit_one_phase":
		return onePhase
	case "settle":
		return settle
	}
	return rollback
}

// result is what came back from a call.
type result int

const (
	voteAbort result = iota // the votes, as they are numbered
	voteCommit
	readOnly
	done
	noAnswer      // it may not have been called at all
	failed        // an error that says nothing in particular; from prepare, a no
	unknownBranch // commit or rollback of what it does not know
	otherwise     // it had finished the branch the other way
	numResults
)

var resultWords = [numResults]string{
	"vote_abort", "vote_commit", "read_only", "done", "no_answer", "error", "unknown_branch", "finished_otherwise",
}

func (r result) String() string { return resultWords[r] }

// possible are the results that an op can have.
var possible = [numOps][]result{
	prepare:  {voteAbort, voteCommit, readOnly, noAnswer, failed},
	commit:   {done, noAnswer, failed, unknownBranch, otherwise},
	rollback: {done, noAnswer, failed, unknownBranch, otherwise},
	onePhase: {voteAbort, voteCommit, readOnly, noAnswer, failed},
	settle:   {done, noAnswer, failed, unknownBranch, otherwise},
}

func resultOf(op op, vote dtc.Vote, err error) result {
	switch {
	case err != nil:
		return resultOfError(op, err)
	case !op.votes():
		return done
	case vote == dtc.VoteCommit:
		return voteCommit
	case vote == dtc.VoteReadOnly:
		return readOnly
	case vote == dtc.VoteAbort:
		return voteAbort
	}
	return failed // no vote at all
}

func resultOfError(op op, err error) result {
	var finished *dtc.FinishedError
	switch {
	case !op.votes() && errors.As(err, &finished):
		return otherwise
	case !op.votes() && errors.Is(err, dtc.ErrUnknownBranch):
		return unknownBranch
	case errors.Is(err, dtc.ErrNoAnswer), silence.Is(err):
		return noAnswer
	}
	return failed
}

package protocol

// Event is something that has happened to a transaction. The set is closed.
//
//sumtype:decl
type Event interface{ event() }

type (
	// Begun starts phase one: the set of branches is complete and frozen.
	Begun struct{}

	// Synced says that the record forced last is durable.
	Synced struct{}

	// Refused says that the record forced last is not in the log and never will
	// be; or, at once and before anything else, the prepare record that was handed
	// to it without waiting.
	Refused struct{}

	// LogFailed says that nobody here can know whether the record forced last is
	// durable.
	LogFailed struct{}

	// Voted says that a prepare call returned with a vote. When no prepare call
	// is out it is an answer to an earlier attempt that comes late, or comes
	// twice; it counts all the same.
	Voted struct {
		Branch int
		Vote   Vote
		// Unsure says that the vote is abort because of an error: the
		// participant may hold something all the same.
		Unsure bool
		// Broken says that it votes abort because it broke the protocol or
		// panicked rather than refused.
		Broken bool
	}

	// Settled says that a settle call returned: Committed, RolledBack, or
	// OutcomeUnknown if the participant has dropped the evidence.
	Settled struct {
		Branch  int
		Outcome Outcome
	}

	// Withdrawn says that a prepare call that was asked for never left, or a call
	// that commits in one phase.
	Withdrawn struct{ Branch int }

	// NoAnswer says that a call returned and its answer tells nothing: the
	// connection was lost, the attempt's deadline passed, the answer was garbage.
	NoAnswer struct {
		Branch int
		Verb   Verb
		// Reached says that the participant seemed to be there: the attempt ran
		// into its deadline rather than into a refused connection.
		Reached bool
	}

	// Acked says that a commit or rollback call returned with success.
	Acked struct{ Branch int }

	// Unknown says that a commit or rollback call returned with "I do not know
	// this branch", which is evidence of nothing.
	Unknown struct{ Branch int }

	// FinishedOtherwise says that a commit or rollback call returned with the
	// news that the branch had already ended in the given way.
	FinishedOtherwise struct {
		Branch  int
		Outcome Outcome
	}

	// Hung says that a prepare call, or one that commits in one phase, is still out a
	// grace after its deadline.
	Hung struct{ Branch int }

	// RetryDue says that the wait asked for by [Retry] is over.
	RetryDue struct{ Branch int }

	// TimedOut says that the prepare timeout has passed.
	TimedOut struct{}

	// Cancelled says that the transaction shall not commit unless it has been
	// decided already. Code is one of ReasonCancelled, ReasonDeadline and
	// ReasonShuttingDown.
	Cancelled struct{ Code Code }

	// Recovered starts what [Recover] found unfinished in the log.
	Recovered struct{}

	// Stating says that an operator states how the branch of a transaction in one
	// phase ended: the statement is on its way to the log. It is followed by Resolved,
	// Refused or LogFailed.
	Stating struct{ Branch int }

	// Resolved says that an operator has stated how a branch ended, and that the
	// statement is durable.
	Resolved struct {
		Branch  int
		Outcome Outcome
	}
)

func (Begun) event()             {}
func (Synced) event()            {}
func (Refused) event()           {}
func (LogFailed) event()         {}
func (Voted) event()             {}
func (Settled) event()           {}
func (Stating) event()           {}
func (Withdrawn) event()         {}
func (NoAnswer) event()          {}
func (Acked) event()             {}
func (Unknown) event()           {}
func (FinishedOtherwise) event() {}
func (Hung) event()              {}
func (RetryDue) event()          {}
func (TimedOut) event()          {}
func (Cancelled) event()         {}
func (Recovered) event()         {}
func (Resolved) event()          {}

// Verb is what a participant is asked to do.
type Verb uint8

// The verbs.
const (
	Prepare Verb = iota
	Commit
	Rollback
	CommitOnePhase
	Settle
)

var verbNames = [...]string{"prepare", "commit", "rollback", "commit_one_phase", "settle"}

// String returns "prepare", "commit", "rollback", "commit_one_phase" or "settle".
func (v Verb) String() string { return name(verbNames[:], int(v), "verb") }

// Begins reports whether the verb asks for work, rather than to finish what was begun.
func (v Verb) Begins() bool { return v == Prepare || v == CommitOnePhase }

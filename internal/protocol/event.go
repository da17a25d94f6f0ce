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
	// be.
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

	// Withdrawn says that a prepare call that was asked for never left.
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

	// Hung says that a prepare call is still out a grace after its deadline.
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
)

// String returns "prepare", "commit" or "rollback".
func (v Verb) String() string { return name([]string{"prepare", "commit", "rollback"}, int(v), "verb") }

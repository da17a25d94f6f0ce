package protocol

import "fmt"

// Vote is a participant's answer to prepare. The zero value is [VoteAbort]:
// forgetting to vote can never commit a transaction.
type Vote uint8

const (
	// VoteAbort says that the participant refuses, and holds nothing.
	VoteAbort Vote = iota
	// VoteCommit promises that the participant can commit whatever happens, and
	// that it neither gives up nor forgets until it is told.
	VoteCommit
	// VoteReadOnly says that the participant changed nothing, holds nothing, and
	// does not care how the transaction ends.
	VoteReadOnly
)

var voteNames = [...]string{"vote_abort", "vote_commit", "read_only"}

// String returns the word used on the wire and in the log: vote_abort,
// vote_commit or read_only.
func (v Vote) String() string { return name(voteNames[:], int(v), "vote") }

// Outcome is how a transaction ended, as far as it is known.
type Outcome uint8

const (
	// OutcomeUnknown says that the outcome is not known here, or not yet.
	OutcomeUnknown Outcome = iota
	// Committed says that the decision to commit is durable.
	Committed
	// RolledBack says that nothing happened anywhere.
	RolledBack
	// Heuristic says that a branch was finished against the decision, by the
	// participant or by an operator. The branches tell which.
	Heuristic
)

var outcomeNames = [...]string{"unknown", "committed", "rolled_back", "heuristic"}

// String returns the word used on the wire and in the log.
func (o Outcome) String() string { return name(outcomeNames[:], int(o), "outcome") }

// Code says why a transaction was rolled back. It is the one list: logs, metrics
// and answers use no other words.
type Code uint8

const (
	// NoReason is the zero value; a rolled-back transaction never has it.
	NoReason Code = iota
	// ReasonVoteAbort: a participant voted abort.
	ReasonVoteAbort
	// ReasonPrepareTimeout: a participant had been reached but its vote did not
	// come within the prepare timeout.
	ReasonPrepareTimeout
	// ReasonUnreachable: every attempt to reach a participant failed until the
	// prepare timeout.
	ReasonUnreachable
	// ReasonParticipantError: a participant broke the protocol, panicked, or
	// answered with a definite error.
	ReasonParticipantError
	// ReasonCancelled: the caller's context was cancelled, or the caller asked
	// for the rollback.
	ReasonCancelled
	// ReasonDeadline: the caller's deadline, or the life of a transaction that
	// grows step by step, ended before the decision.
	ReasonDeadline
	// ReasonShuttingDown: the coordinator stopped before the decision.
	ReasonShuttingDown
	// ReasonRecovered: the coordinator died before it decided.
	ReasonRecovered
	// ReasonForced: an operator forced it.
	ReasonForced
)

var codeNames = [...]string{
	"", "vote_abort", "prepare_timeout", "unreachable", "participant_error",
	"cancelled", "deadline", "shutting_down", "recovered", "forced",
}

// String returns the word used on the wire and in the log.
func (c Code) String() string { return name(codeNames[:], int(c), "reason") }

// Reason explains a rollback: a code for programs, the participant that caused
// it if one did, and a sentence for people.
type Reason struct {
	Code        Code
	Participant string
	Message     string
}

func name(names []string, i int, kind string) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s(%d)", kind, i)
}

// MaxTxID is the longest transaction id, in bytes.
const MaxTxID = 128

// MaxParticipantID is the longest participant id, in bytes.
const MaxParticipantID = 64

// MaxBranches is the largest number of branches of one transaction.
const MaxBranches = 1000

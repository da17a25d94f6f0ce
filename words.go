package dtc

import "github.com/dtc-project/dtc/internal/protocol"

// TxID is the caller's name for a transaction, and its idempotency key: 1 to 128
// bytes of printable UTF-8 without spaces. It means nothing, but it
// must not be spelled like an XID of the same log: what the sweep finds is asked for by that.
type TxID string

// XID is the coordinator's name for a transaction, unique for ever. Its String
// is "dtc.<log>.<incarnation>-<random>.<sequence>", at most 64 bytes of [A-Za-z0-9.-];
// Compare orders the XIDs of one log.
type XID = protocol.XID

// LogID names a decision log for ever. Its String is 16 characters.
type LogID = protocol.LogID

// Incarnation is one opening of a log, part of every [XID].
type Incarnation = protocol.Incarnation

// ParseXID is the inverse of [XID.String]; it accepts no other spelling.
func ParseXID(s string) (XID, error) { return protocol.ParseXID(s) }

// ParseLogID is the inverse of [LogID.String].
func ParseLogID(s string) (LogID, error) { return protocol.ParseLogID(s) }

// Vote is a participant's answer to prepare. The zero value is [VoteAbort]:
// forgetting to vote can never commit a transaction. Its String is "vote_commit",
// "vote_abort" or "read_only".
type Vote = protocol.Vote

// The votes. With VoteAbort and VoteReadOnly the participant holds nothing;
// with VoteCommit it can commit whatever happens.
const (
	VoteAbort    = protocol.VoteAbort
	VoteCommit   = protocol.VoteCommit
	VoteReadOnly = protocol.VoteReadOnly
)

// Outcome is how a transaction ended, as far as it is known. Its String is
// "committed", "rolled_back", "heuristic" or "unknown".
type Outcome = protocol.Outcome

// The outcomes. Heuristic means that a branch was finished against the decision.
const (
	OutcomeUnknown = protocol.OutcomeUnknown
	Committed      = protocol.Committed
	RolledBack     = protocol.RolledBack
	Heuristic      = protocol.Heuristic
)

// Reason explains a rollback. It is a struct of three fields: Code ([Code], for
// programs), Participant (string, the one that caused it, or empty) and Message
// (string, a sentence for people).
type Reason = protocol.Reason

// Code is the code of a [Reason]. Its String is the word in logs and on the wire,
// for example "vote_abort".
type Code = protocol.Code

// The codes. Every rollback has one.
const (
	// ReasonVoteAbort: the participant voted abort, or returned an error.
	ReasonVoteAbort = protocol.ReasonVoteAbort
	// ReasonPrepareTimeout: the participant seemed to be there (a call ran into
	// its deadline), but did not vote within the prepare timeout.
	ReasonPrepareTimeout = protocol.ReasonPrepareTimeout
	// ReasonUnreachable: every attempt to reach the participant failed until the
	// prepare timeout.
	ReasonUnreachable = protocol.ReasonUnreachable
	// ReasonParticipantError: the participant panicked or broke the protocol.
	ReasonParticipantError = protocol.ReasonParticipantError
	// ReasonCancelled: the caller's context was cancelled, or the function given
	// to Run failed.
	ReasonCancelled = protocol.ReasonCancelled
	// ReasonDeadline: the caller's deadline or the transaction's lifetime passed
	// before the decision.
	ReasonDeadline = protocol.ReasonDeadline
	// ReasonShuttingDown: the coordinator was closed, or its log stopped, before
	// the decision.
	ReasonShuttingDown = protocol.ReasonShuttingDown
	// ReasonRecovered: the coordinator died before it decided.
	ReasonRecovered = protocol.ReasonRecovered
	// ReasonForced: an operator forced it.
	ReasonForced = protocol.ReasonForced
)

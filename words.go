package dtc

import "github.com/dtc-project/dtc/internal/protocol"

// TxID is the caller's name for a transaction, and its idempotency key: 1 to 128
// bytes of printable UTF-8 without spaces. It is never parsed.
type TxID string

// XID is the coordinator's name for a transaction, unique for ever. Its String
// is "dtc.<log>.<incarnation>.<sequence>", at most 64 bytes of [A-Za-z0-9.-];
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
// forgetting to vote can never commit a transaction.
type Vote = protocol.Vote

// The votes. With VoteAbort and VoteReadOnly the participant holds nothing;
// with VoteCommit it can commit whatever happens.
const (
	VoteAbort    = protocol.VoteAbort
	VoteCommit   = protocol.VoteCommit
	VoteReadOnly = protocol.VoteReadOnly
)

// Outcome is how a transaction ended, as far as it is known.
type Outcome = protocol.Outcome

// The outcomes. Heuristic means that a branch was finished against the decision.
const (
	OutcomeUnknown = protocol.OutcomeUnknown
	Committed      = protocol.Committed
	RolledBack     = protocol.RolledBack
	Heuristic      = protocol.Heuristic
)

// Reason explains a rollback: a code for programs, the participant that caused
// it if one did, and a sentence for people.
type Reason = protocol.Reason

// Code is the code of a [Reason].
type Code = protocol.Code

// The codes; see the constants' names. Every rollback has one.
const (
	ReasonVoteAbort        = protocol.ReasonVoteAbort
	ReasonPrepareTimeout   = protocol.ReasonPrepareTimeout
	ReasonUnreachable      = protocol.ReasonUnreachable
	ReasonParticipantError = protocol.ReasonParticipantError
	ReasonCancelled        = protocol.ReasonCancelled
	ReasonDeadline         = protocol.ReasonDeadline
	ReasonShuttingDown     = protocol.ReasonShuttingDown
	ReasonRecovered        = protocol.ReasonRecovered
	ReasonForced           = protocol.ReasonForced
)

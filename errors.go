package dtc

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers branch on, with errors.Is.
var (
	// ErrRolledBack: the transaction was rolled back, nothing happened anywhere.
	// The error is a [*RollbackError].
	ErrRolledBack = errors.New("dtc: transaction rolled back")
	// ErrInDoubt: the outcome is not known to this call. Either the log failed
	// under the decision, and nobody in this process can know: then Err is not
	// nil, and the next Open finds the truth. Or the call had joined a running
	// transaction and its context ended first; or the transaction is in one phase, and
	// its participant does not say what became of it: then the transaction goes on. In
	// all cases ask again by id.
	ErrInDoubt = errors.New("dtc: outcome not known, ask again by transaction id")
	// ErrTxConflict: the transaction id is another request's. Nothing was begun.
	ErrTxConflict = errors.New("dtc: transaction id belongs to another request")
	// ErrUnknownTx: no transaction of that id is running or remembered. It may
	// have been forgotten; it is never a way to say "rolled back".
	ErrUnknownTx = errors.New("dtc: unknown transaction")
	// ErrClosed: the coordinator is closed or closing. Nothing was begun.
	ErrClosed = errors.New("dtc: coordinator closed")
	// ErrFull: too many transactions are in flight, or the log's disk has room only
	// to finish what has begun (then the error also is a [txlog.ErrNoRoom]). Nothing
	// was begun; try again later.
	ErrFull = errors.New("dtc: no room for another transaction")
	// ErrLogFailed: the log has failed and takes nothing more. Nobody was asked to
	// prepare. Close the coordinator and open it again, after making room if the
	// disk is full: the next open reads the truth from the disk. If the log failed
	// under this very call it may find the transaction there, and then the id is
	// known as rolled back. To a question it means that the id is not known to this
	// process, and may be to the next.
	ErrLogFailed = errors.New("dtc: the log has failed, open it again")
	// ErrBadRequest: the arguments are wrong, and the message says how. Nothing
	// was begun.
	ErrBadRequest = errors.New("dtc: bad request")
)

// Errors that participants return.
var (
	// ErrNoAnswer marks an error of Prepare that is no vote: the call is retried
	// until the prepare timeout. Made by [NoAnswer].
	ErrNoAnswer = errors.New("dtc: no answer")
	// ErrUnknownBranch is returned by Commit or Rollback when the participant
	// does not know the branch and cannot tell whether it is finished. It is
	// never taken for an acknowledgement: the call is retried and the branch is
	// shown.
	ErrUnknownBranch = errors.New("dtc: participant does not know the branch")
)

// NoAnswer wraps err so that Prepare's caller retries instead of aborting.
// NoAnswer(nil) is [ErrNoAnswer].
func NoAnswer(err error) error {
	if err == nil {
		return ErrNoAnswer
	}
	return &noAnswerError{err}
}

// Refuse wraps the reason of a [VoteAbort] when the participant is certain that
// it holds nothing, so that no rollback needs to follow.
func Refuse(reason error) error {
	if reason == nil {
		return errClean
	}
	return &cleanError{reason}
}

// Fault wraps an error of Prepare that is no considered vote but a failure to
// give one: the answer came, and it breaks the protocol. The transaction is
// rolled back with [ReasonParticipantError] instead of [ReasonVoteAbort]. The
// branch is rolled back too, since nobody knows what the failure left behind.
func Fault(err error) error {
	if err == nil {
		return errFault
	}
	return &faultError{err}
}

var (
	errClean = errors.New("refused")
	errFault = errors.New("the participant failed")
)

type faultError struct{ err error }

func (e *faultError) Error() string        { return e.err.Error() }
func (e *faultError) Unwrap() error        { return e.err }
func (e *faultError) Is(target error) bool { return target == errFault }

type cleanError struct{ err error }

func (e *cleanError) Error() string        { return e.err.Error() }
func (e *cleanError) Unwrap() error        { return e.err }
func (e *cleanError) Is(target error) bool { return target == errClean }

type noAnswerError struct{ err error }

func (e *noAnswerError) Error() string        { return "no answer: " + e.err.Error() }
func (e *noAnswerError) Unwrap() error        { return e.err }
func (e *noAnswerError) Is(target error) bool { return target == ErrNoAnswer }

// FinishedError is returned by Commit or Rollback when the branch was already
// finished the other way: Outcome is [Committed] or [RolledBack], whatever
// really happened. The transaction becomes heuristic and is kept until an
// operator resolves the branch.
type FinishedError struct{ Outcome Outcome }

func (e *FinishedError) Error() string {
	return "dtc: branch was already " + strings.ReplaceAll(e.Outcome.String(), "_", " ")
}

// RollbackError says why a transaction was rolled back. errors.Is(err,
// [ErrRolledBack]) holds, and it unwraps to the participant's own error if there
// was one.
type RollbackError struct {
	TxID   TxID
	Reason Reason
	// Err is the participant's error, or the caller's context error; nil if the
	// outcome was remembered or read from the log.
	Err error
}

func (e *RollbackError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dtc: transaction %s rolled back: %s", e.TxID, e.Reason.Code)
	if e.Reason.Participant != "" {
		fmt.Fprintf(&b, " by %s", e.Reason.Participant)
	}
	if e.Reason.Message != "" {
		b.WriteString(": " + e.Reason.Message)
	}
	return b.String()
}

// Is reports whether target is [ErrRolledBack].
func (e *RollbackError) Is(target error) bool { return target == ErrRolledBack }

// Unwrap returns Err.
func (e *RollbackError) Unwrap() error { return e.Err }

// HeuristicError says that the named participants finished their branch against
// the decision, by themselves or because an operator said so. The transaction is
// neither committed everywhere nor rolled back everywhere.
//
// For a transaction that ended earlier and is only remembered, Decision and
// Participants are not known here; the log has them.
type HeuristicError struct {
	TxID         TxID
	Decision     Outcome
	Participants []string
}

func (e *HeuristicError) Error() string {
	if len(e.Participants) == 0 {
		return fmt.Sprintf("dtc: transaction %s ended earlier, and was not finished alike everywhere; its log says where", e.TxID)
	}
	return fmt.Sprintf("dtc: transaction %s: decided %s, but finished otherwise at %s",
		e.TxID, e.Decision, strings.Join(e.Participants, ", "))
}

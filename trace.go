package dtc

import "time"

// Trace is a set of functions that are called at the steps of the protocol, for
// tests, tools and telemetry. Any of them may be nil. They are called
// synchronously, in order for one transaction and concurrently for several; they
// must return soon, must not panic and must not call the coordinator.
//
// [Trace.Decided] with Committed is never called before the decision is durable,
// or when every branch voted read-only and nothing needs to be.
type Trace struct {
	// Begun: the transaction is registered; nothing was written or sent.
	Begun func(TraceTx)
	// Appended: a record was handed to the log and nobody waits for it.
	Appended func(tx TraceTx, record string)
	// Forcing: a record is about to be handed to the log, and the transaction
	// waits until it is durable. Forced: the wait is over.
	Forcing func(tx TraceTx, record string)
	Forced  func(tx TraceTx, record string, took time.Duration, err error)
	// Calling: Prepare, Commit or Rollback is about to be called. Called: it has
	// returned. Vote is meaningful for a Prepare without error.
	Calling func(TraceCall)
	Called  func(call TraceCall, vote Vote, err error, took time.Duration)
	// Retrying: the call failed and will be repeated after the wait, or earlier
	// if the participant answers somebody else.
	Retrying func(call TraceCall, wait time.Duration)
	// Decided: the outcome may be told from now on. The reason is that of a
	// rollback.
	Decided func(tx TraceTx, outcome Outcome, reason Reason)
	// Ended: every branch is finished, or nothing was begun because the log did
	// not take the prepare record; then the outcome is unknown.
	Ended func(tx TraceTx, outcome Outcome)
	// Hazard: a participant broke its promise, or somebody finished a branch
	// against the decision.
	Hazard func(call TraceCall)
	// Resolved: an operator has stated how a branch ended, and that is durable.
	Resolved func(tx TraceTx, participant string, outcome Outcome)
	// Recovered: the log was read and this many transactions were found
	// unfinished.
	Recovered func(records, unfinished int, took time.Duration)
	// Swept: a participant was asked what it holds in doubt.
	Swept func(participant string, listed, orphans int, err error)
}

// TraceTx names a transaction in a [Trace].
type TraceTx struct {
	TxID TxID
	XID  XID
	// Started is when it began; zero for one of an earlier process, whose time says
	// nothing about this one.
	Started time.Time
}

// TraceCall names a call in a [Trace].
type TraceCall struct {
	TxID        TxID
	XID         XID
	Participant string
	Verb        string // "prepare", "commit", "rollback", "commit_one_phase" or "settle"
	Attempt     int
}

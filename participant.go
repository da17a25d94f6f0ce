package dtc

import (
	"context"
	"time"
)

// Participant is a service or database that takes part in transactions. Its
// methods are called at least once each, possibly again after a restart of
// either side, and from several goroutines at once for different branches; for
// one branch at most one call is out at a time, except that a Rollback runs
// beside a Prepare that outlived its context.
//
// A branch is named by (XID, Participant). What a participant promises:
//
//   - After Prepare has answered [VoteCommit] it neither gives the branch up nor
//     forgets it until it is told, across restarts, and answers VoteCommit again
//     if it is asked again.
//   - Commit and Rollback may come a hundred times and have the effect of one.
//   - Rollback of a branch it never saw succeeds and is remembered: a Prepare of
//     that branch that comes later is refused.
//   - With [VoteAbort] (and no error) or [VoteReadOnly] it holds nothing.
//
// Package guard turns ordinary functions over a SQL database into such a
// participant. The suite in package dtctest tells whether a participant of your
// own is one.
//
// A panic in a method is recovered: in Prepare it aborts the transaction, in
// Commit and Rollback it counts as a failed attempt.
type Participant interface {
	// ID names the participant: 1 to 64 bytes of [A-Za-z0-9._-], the same after
	// every restart, because recovery finds the participant by it.
	ID() string

	// Prepare does everything that can fail, makes it durable, keeps it
	// invisible or reserved, and votes.
	//
	// An error aborts the transaction and becomes the cause of the
	// [RollbackError]; because a failed function may have left something behind,
	// the branch is then rolled back too, unless the error is wrapped with
	// [Refuse]. One wrapped with [Fault] gives another reason code. An error that
	// means "no answer", where the same call may succeed a moment later, is
	// retried with back-off until the prepare timeout instead: wrap it with
	// [NoAnswer]. Errors that are context.DeadlineExceeded or Canceled, a
	// net.Error, io.ErrUnexpectedEOF or driver.ErrBadConn are taken for "no
	// answer" without wrapping.
	Prepare(ctx context.Context, b Branch) (Vote, error)

	// Commit makes the prepared work visible. It is retried for ever, with
	// back-off, until it returns nil. An error that means "no answer" (as for
	// Prepare) says that the participant may be down: then all that wait for it
	// are held back behind single probes, and served at once when it answers
	// again. Any other error concerns this branch alone. Two mean more than "try
	// again": [ErrUnknownBranch] and [*FinishedError].
	Commit(ctx context.Context, b Branch) error

	// Rollback undoes the prepared work and frees what it reserved. It is retried
	// like Commit.
	Rollback(ctx context.Context, b Branch) error
}

// Lister is an extra ability of a [Participant]: it can list the branches it
// holds in doubt. A transaction whose participants are all listing costs one
// forced write less, because a prepare record lost in a power failure is found
// again through the listing and rolled back.
type Lister interface {
	// Listing reports whether InDoubt can be relied on now. Until it does the
	// participant is treated as plain. It must neither block nor panic.
	Listing() bool

	// InDoubt returns every branch of the given log that the participant holds
	// prepared. The list is complete or the error is not nil: an incomplete
	// listing proves nothing.
	InDoubt(ctx context.Context, log LogID) ([]InDoubtBranch, error)
}

// InDoubtBranch is a branch that a participant holds prepared without knowing
// the decision.
type InDoubtBranch struct {
	XID        XID
	PreparedAt time.Time // zero if the participant does not know
}

// NonBlocking is an extra ability of a [Participant] whose methods never wait:
// no input or output, no sleeping, no lock held for long. The coordinator then
// calls it on the goroutine that runs the transaction and spends neither a
// goroutine nor a timer on it. A method that waits all the same delays its own
// transaction past its timeouts.
type NonBlocking interface {
	NonBlocking() bool
}

// Branch is one participant's part of one transaction. A caller of
// [Coordinator.Execute] fills in Participant and Payload; the other fields are
// set by the coordinator when it calls a participant.
type Branch struct {
	// Participant is the id of the participant.
	Participant string
	// Payload is what the participant needs to know to prepare. It is handed on
	// as it is, with Prepare only, and never logged. At most 256 KiB.
	Payload []byte

	// TxID is the caller's name for the transaction, XID the coordinator's. Use
	// XID, with Participant, as the key of what you store: a TxID may run again
	// after it was rolled back and forgotten.
	TxID TxID
	XID  XID
	// Fingerprint tells apart the requests that were made under one TxID: it is a hash of the
	// participants and payloads, whatever the white space in them is. It is zero for a
	// transaction that was grown by code, where the id alone counts.
	Fingerprint [16]byte
	// Attempt counts the calls of this method for this branch, from 1, since the
	// coordinator was opened.
	Attempt int
	// Deadline is until when a vote is of use; zero for Commit and Rollback. It
	// never allows a participant that voted commit to give up on its own.
	Deadline time.Time
	// LowWater is the lowest XID of this log that may still be unfinished at
	// this participant, or zero if that is not known. Below it, finished rows
	// may be dropped and a Prepare for which no row stands must be refused.
	LowWater XID
}

// ParticipantFuncs makes a [Participant] of plain functions. Only ParticipantID
// and PrepareFunc are required; a missing CommitFunc or RollbackFunc does
// nothing and succeeds.
type ParticipantFuncs struct {
	ParticipantID string
	PrepareFunc   func(ctx context.Context, b Branch) (Vote, error)
	CommitFunc    func(ctx context.Context, b Branch) error
	RollbackFunc  func(ctx context.Context, b Branch) error
	// InDoubtFunc, if not nil, makes the participant listing; see [Lister].
	InDoubtFunc func(ctx context.Context, log LogID) ([]InDoubtBranch, error)
	// NeverBlocks makes it a [NonBlocking] participant.
	NeverBlocks bool
}

var (
	_ Participant = ParticipantFuncs{}
	_ Lister      = ParticipantFuncs{}
	_ NonBlocking = ParticipantFuncs{}
)

// ID implements [Participant].
func (p ParticipantFuncs) ID() string { return p.ParticipantID }

// Prepare implements [Participant].
func (p ParticipantFuncs) Prepare(ctx context.Context, b Branch) (Vote, error) {
	return p.PrepareFunc(ctx, b)
}

// Commit implements [Participant].
func (p ParticipantFuncs) Commit(ctx context.Context, b Branch) error {
	if p.CommitFunc == nil {
		return nil
	}
	return p.CommitFunc(ctx, b)
}

// Rollback implements [Participant].
func (p ParticipantFuncs) Rollback(ctx context.Context, b Branch) error {
	if p.RollbackFunc == nil {
		return nil
	}
	return p.RollbackFunc(ctx, b)
}

// Listing implements [Lister].
func (p ParticipantFuncs) Listing() bool { return p.InDoubtFunc != nil }

// InDoubt implements [Lister].
func (p ParticipantFuncs) InDoubt(ctx context.Context, log LogID) ([]InDoubtBranch, error) {
	if p.InDoubtFunc == nil {
		return nil, nil
	}
	return p.InDoubtFunc(ctx, log)
}

// NonBlocking implements the ability of that name.
func (p ParticipantFuncs) NonBlocking() bool { return p.NeverBlocks }

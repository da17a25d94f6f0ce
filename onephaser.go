package dtc

import "context"

// OnePhaser is an extra ability of a [Participant]: it can commit a branch in one step,
// and prove later that it did. The coordinator uses it for a transaction that has one
// branch only: then nothing has to be agreed upon, no write of the log is waited for, and
// one message does it all.
//
// In return the participant, not the log, is what remembers through a power loss that the
// transaction committed. It keeps, in the same atomic step as the work, the evidence: that
// this log's TxID was committed, under which XID, for which request. It keeps it
// as long as the same request may come again, and as long as the XID is not below
// low water. If it judges the former by age, that age must exceed the longest time for which
// it may be out of reach while the same request is run again and waits to be settled.
//
// What it promises, beside what a [Participant] does:
//
//   - A TxID of one log takes effect at most once in one phase, whatever its XID. A
//     call for one that has been committed, under the same XID or another one, does
//     nothing and reports success. If it is another request, because both have a
//     [Branch.Fingerprint] and these differ, it is a refusal instead that wraps [ErrTxConflict].
//   - Prepare of a TxID that was committed in one phase under an earlier incarnation does
//     nothing either, and votes [VoteReadOnly], or refuses like that.
//   - When Settle has answered [RolledBack] the branch has no effect and never will, not
//     even by a call that is still under way. The same holds when CommitOnePhase
//     has answered [VoteAbort].
//   - Before it answers any call of an incarnation of the log, no branch of an earlier
//     incarnation can commit in one phase any more, unless Settle says that it has: a
//     call that was under way when the coordinator died comes too late for ever.
//
// The methods are called at least once each, and from several goroutines. For one branch at
// most one call is out at a time, except that Settle runs beside a CommitOnePhase that
// outlived its context. The suite TestOnePhaser in package dtctest tells whether a
// participant of your own keeps all this.
type OnePhaser interface {
	// CanOnePhase reports whether this branch can be committed in one phase, if it
	// turns out to be the only one of its transaction. Participant, Payload,
	// TxID and XID are set. It must neither block nor panic.
	//
	// It must not say no of what it has taken before, as long as that may come again: if a power
	// loss takes the record of a commit, the same request runs in two phases then, and while a
	// read-only vote makes it committed once more, a rollback is told without being asked about.
	CanOnePhase(b Branch) bool

	// CommitOnePhase does what Prepare and Commit do, and keeps the evidence.
	//
	// [VoteCommit] and [VoteReadOnly] say that it is committed. [VoteAbort] without an
	// error, or with one that is wrapped with [Refuse], says that it is not and never will
	// be, nor was the TxID before. An error that means "no answer", as for Prepare, is
	// followed by further calls until the prepare timeout, then by Settle; any other error
	// by Settle at once.
	CommitOnePhase(ctx context.Context, b Branch) (Vote, error)

	// Settle ends all doubt about a branch: it makes it unable to commit in one phase,
	// undoes what is held for it, and answers [RolledBack]; or it finds that
	// it, or its TxID under another XID for the same request, has been committed, and
	// answers [Committed]: also if this XID itself was refused, because the outcome is that of the id.
	// From then on the evidence stands for this XID too, and is kept as long as it would
	// be for that. There is no payload. [OutcomeUnknown] says that the evidence may have been dropped:
	// the XID is below low water, and the branch ended longer ago than ids are kept.
	//
	// It is repeated for ever, with back-off, until the error is nil; errors mean what they
	// mean in Commit. It is also called for a branch that was only enlisted, by a
	// function that failed, and for one whose CommitOnePhase never left.
	Settle(ctx context.Context, b Branch) (Outcome, error)

	// Prove looks for the evidence that an id of the log was committed in one phase, and
	// returns an XID under which it was, or was found to have been, or the zero XID if there is
	// no evidence, which by itself says nothing.
	Prove(ctx context.Context, log LogID, id TxID) (XID, error)
}

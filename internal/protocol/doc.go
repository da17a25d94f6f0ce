// Package protocol decides: it is two-phase commit with presumed abort as pure
// code. It has no clock, no input or output, no goroutine and no lock, so that
// the same code runs in the coordinator, in the explorer that walks every
// interleaving of a small world, and in scripts that a reviewer reads.
//
// A [Tx] is one transaction. The driver tells it what has happened by calling
// [Tx.Step] with an [Event] (past tense) and carries out the [Effect] values
// (imperative) that it returns, in order. Beside the machine stand the rules
// that span transactions: what recovery does with a transaction it found
// unfinished ([Recover]), when a listed branch may be rolled back ([Sweep]), and
// how far low water may rise ([LowWater]).
//
// # Guarantees
//
//  1. [Tell] with [Committed] is returned only after the [Synced] that answers
//     [ForceCommit], except when every branch voted read-only and there is no
//     effect to lose.
//
//  2. A decision is taken once. After [ForceCommit] nothing turns it into an
//     abort, unless the log refused the record and so never will hold it; after
//     [AppendAbort] nothing turns it into a commit.
//
//  3. [SendCommit] names only branches whose first definitive vote was
//     [VoteCommit]; nothing but commit is sent to a branch after the decision
//     to commit.
//
//  4. On abort a rollback goes to every branch that may hold something: all but
//     those whose every prepare attempt was answered with vote_abort or
//     read_only.
//
//  5. At most one call for a branch is out, with one exception: a rollback runs
//     beside a prepare that outlived its deadline, and once more after that
//     prepare has returned.
//
//  6. [Forget] comes when every branch has given positive evidence that it is
//     finished and every call has returned. "I do not know this branch" is no
//     evidence.
//
//  7. A transaction in one phase is never told without the participant's word, its
//     answer or what it says when it is settled, or an operator's; see once.go.
//
// # Duties of the driver
//
//  1. Serialise the calls of Step for one transaction.
//  2. Register the transaction where the sweep looks before carrying out any
//     effect, and remove it at [Forget], not before.
//  3. Carry out effects in the order in which they are returned. AppendPrepare,
//     AppendOnePhase, AppendAbort and AppendEnd hand a record to the log and wait for nothing,
//     unless Force is set.
//  4. Answer ForceCommit, and AppendPrepare with Force, with exactly one of
//     [Synced], [Refused] and [LogFailed].
//  5. Answer every Send with exactly one of [Voted], [Settled], [Withdrawn],
//     [NoAnswer], [Acked], [Unknown] and [FinishedOtherwise] for that branch and verb, when
//     the call has returned and not before; an answer to a question of an earlier
//     incarnation is none. Report [Hung] when a prepare call is still out a grace
//     after its deadline.
//  6. Answer [Retry] with [RetryDue] after a back-off, or earlier on evidence
//     that the participant is back. A RetryDue that has become pointless does
//     no harm.
//
// The protocol is presumed abort as in Mohan and Lindsay, "Efficient Commit
// Protocols for the Tree of Processes Model of Distributed Transactions" (1983).
package protocol

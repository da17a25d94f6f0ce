// Package dtc is a distributed transaction coordinator: several independent
// participants (services, databases) commit together or not at all. It runs
// two-phase commit with presumed abort over a durable decision log, and finishes
// what it began after participants, messages or the coordinator itself were lost.
//
// Make a [Participant] of each service, [Open] a coordinator over a directory,
// and call [Coordinator.Execute] with a transaction id and the branches. It
// returns whether the transaction committed. [Coordinator.Run] is for work that
// grows while it is done.
//
// # Guarantees
//
//  1. Atomicity: a transaction's branches are all committed or all rolled back,
//     as long as participants keep the promises of [Participant]. If one breaks
//     them, or an operator resolves a branch against the decision, the outcome
//     is [Heuristic] and never reported as committed or rolled back.
//  2. Durability: nothing tells "committed" (no return value, no commit message,
//     no [Trace], no log line) before the decision is synced to disk. It is then
//     remembered through every crash, for as long as [Config.OutcomeLimit] and
//     [Config.OutcomeRetention] say.
//  3. A transaction id never runs twice at the same time, and a remembered one
//     never runs again.
//  4. A participant that does not vote in time counts as vote_abort. Commit and
//     rollback are retried for ever, with exponential back-off.
//  5. Only the log decides: no clock, no timeout and no operator's deletion can
//     turn a decision.
//
// "Rolled back" costs no forced write and is remembered only as far as the log
// happened to reach the disk: after a power failure such an id is unknown and may
// run again. An outcome of a transaction whose branches were all read-only is
// remembered the same way.
//
// # Cost
//
// With participants that can list what they hold in doubt ([Lister]) a committed
// transaction costs one forced write, shared with all that wait at that moment; a
// rolled-back one costs none. A participant that cannot list costs one more.
// Every branch costs one prepare and one commit or rollback.
//
// # Concurrency
//
// A [Coordinator] is safe for concurrent use. It owns its goroutines and
// [Coordinator.Close] waits for them. One process at a time owns a log directory.
package dtc

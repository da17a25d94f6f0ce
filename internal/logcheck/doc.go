// Package logcheck reads a decision log a second time, by a decoder that shares
// no code with the first: it was written from the comment of package wal alone,
// and imports neither wal nor txlog. Whether a log is sound is then no longer one
// program's word about its own work. Where the two disagree one of them is wrong,
// or the comment is.
//
// # What it checks
//
//  1. The files: every byte that has to be good is good, nothing is missing that
//     something written later vouches for. What is not so is a [*Damage].
//  2. The history: the records make sense one after another. Incarnations grow, by
//     one unless a hold came between; a block of sequences belongs to the current one and never shrinks; a
//     transaction is prepared once, with a sequence that was reserved before; it
//     is prepared before it is decided, decided once and before it is resolved,
//     and ends as decided; a commit has a vote for each branch and none to abort. One
//     in one phase has one branch and no commit, and may be resolved undecided.
//     What is not so is a [*Contradiction].
//
// A log of a format that it does not know is a [*NewerVersion], files that are no
// log are a [*NotLog], and an empty directory is a [*NoLog].
//
// # What it needs
//
// Memory for one batch, for what is unfinished, and for the runs of sequences that
// have ended; not for the history. It changes nothing and takes no lock. A log
// that is being written meanwhile can look damaged for a moment: see [Settle].
package logcheck

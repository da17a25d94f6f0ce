// Package explore walks every state of a small world in which the protocol runs,
// and checks in each what must hold. The world is one transaction, two to four
// participants, a coordinator that is the machine of package protocol with a
// small driver around it, and everything that may go wrong among them. Nothing
// is left to chance: whatever may happen next is tried, breadth first, so that a
// counterexample is also the shortest one.
//
// # The rules of the world
//
// The transaction:
//
//  1. There is one transaction, begun in the first incarnation. Its branches are
//     at participants that are remote or local. The explorer knows no time: what
//     may happen may happen now, later, or never.
//  2. Told is what a client heard. It survives everything.
//
// A remote participant (listing):
//
//  3. It keeps one durable row for the branch: none, prepared, committed,
//     rolled back, aborted (it voted so), read-only; and durable low water. It
//     chooses its vote when the first prepare finds no row.
//  4. Where a row stands, it answers. Prepare: its stored vote; vote_abort after
//     a rollback. Commit of a prepared branch commits, of a committed or
//     read-only one is acknowledged, of a rolled back or aborted one is answered
//     "ended otherwise". Rollback likewise.
//  5. Where no row stands above low water, prepare is the first one, commit is
//     answered "unknown", and rollback leaves a tombstone and is acknowledged.
//  6. Where no row stands below low water, prepare is refused with vote_abort and
//     commit and rollback are acknowledged without effect.
//  7. A finished row below low water may be dropped at any time, a prepared one
//     never.
//  8. A crash leaves it cold: durable things survive, but until it has warmed up
//     it answers "unknown" to commit and rollback, and does not answer prepares
//     and listings at all.
//  9. The network to it is a set that only grows. A request that was ever sent,
//     by any incarnation, may arrive at any time, any number of times, or never:
//     it is lost, repeated, overtaken and late for ever. Low water is a message
//     of its own, sent with every other: also by other traffic.
//  10. An answer reaches only the incarnation that asked, while it knows the
//     transaction; there it may be late, repeated or lost.
//
// A local participant (plain: it cannot list, has no tombstones and no low
// water):
//
//  11. Its functions run in the coordinator's process over durable storage. A
//     call takes effect at any moment while it is out, also after it was reported
//     hung, or not at all; never after it returned. It dies with the coordinator.
//  12. What a call returns tells what it did, or nothing (no answer), or for
//     prepare an error that is taken for an unsure vote_abort.
//  13. Prepare and commit repeated have the effect of one. Rollback of what it
//     does not know succeeds and is not remembered. A vote other than commit is
//     not remembered either. While its storage is cold it answers "unknown" to
//     commit and rollback, and no answer to prepare.
//
// The coordinator:
//
//  14. The log is a synced prefix and an unsynced tail. A record is appended to
//     the tail; when a forced one is reported synced, everything before it is
//     synced too. Incarnations are forced before anything else.
//  15. A crash keeps the synced prefix and any number of records from the front
//     of the tail: all of them if only the process was killed, any if the power
//     went. Live table, calls, answers and sweeps are lost. Messages are not.
//  16. After a crash the log is being replayed and nothing is known; then it is
//     replayed and the machine recovers from what it holds, in a new incarnation.
//  17. Answers, "no answer" for a call that is out, the retry, the prepare
//     timeout, cancellation and "hung" come at any time; retry, timeout and
//     cancellation also when they have become pointless. A prepare that waits to
//     leave may be withdrawn instead. The prepare attempts for one branch are
//     bounded; those of phase two are not.
//  18. The log may refuse a forced record, or fail: then whether it holds the
//     record is not known, and it takes no more until the process is restarted.
//  19. When the end record is in the log, the log may forget the transaction
//     altogether, outcome included.
//
// The sweep, one for each remote participant:
//
//  20. It lists what is prepared, at one instant; later it looks at the live
//     table and the log; [protocol.Sweep] says what to do. A listing may be given
//     up for a later one. To roll back is a message like any other, outside the
//     machine; until it is acknowledged the branch stands in the live table. It
//     may run while the log is being replayed.
//  21. Swept, for low water, is set in the first incarnation, which has nothing
//     before it, and later by a listing of this incarnation that did not show the
//     branch, or whose branch was acknowledged.
//
// # What is checked
//
// In every state:
//
//   - I1: no branch is committed while another is anything but committed,
//     prepared or read-only.
//   - I2: the decision to commit has all votes, the promises still stand, and
//     nobody cancelled in time.
//   - I3: nothing tells a commit whose record is not synced, unless all branches
//     are read-only.
//   - I4: there is one decision, in the log and to the client, unless all branches
//     are read-only.
//   - I5, I14: the sweep rolls back nothing that is live or to be committed.
//   - I6: honest participants raise no alarm.
//   - I7, I8: nothing is prepared again after it was committed, or after a
//     participant with tombstones acknowledged its rollback.
//   - I9: a rollback of what a participant does not know succeeds, and at a remote
//     one leaves a tombstone, or low water above it: a prepare that comes after it
//     is refused. It is tried in each state in which a participant has no row.
//   - I10: nothing is forgotten that is unfinished, may still become prepared, or
//     has a call out.
//   - Low water never passes a prepared branch of a live transaction, one that a
//     crash left prepared and no sweep has settled, or what the log holds and
//     nobody has read.
//   - Calls: never are two out for one branch, but for the rollback beside a hung
//     prepare.
//
// From every state the world is also left in peace: nothing more goes wrong,
// every call is answered, retries come if they were asked for, and the sweep
// runs; a prepare that hangs returns only after a rollback was sent beside it.
// The world must come to rest with no transaction live or open in the log,
// nothing prepared, all branches alike, and the client told, truly. That a late
// copy of a message arrives after that rest is a state of its own, and is left in
// peace too.
//
// # Reductions
//
// Many worlds differ in nothing that matters. These reductions keep them from
// being walked one by one; [Rules].Without switches each of them off. None rests on
// the protocol being right, or a mistake in it might be hidden, and with each of
// them every planted bug is found.
//
// Two make worlds equal, which means that whatever may happen in one may happen
// in the other, to equal worlds. The test TestKeyIsExact shows it for every state
// of the worlds of two and three participants: the keys of what may come next are
// a function of the key.
//
//   - Interchange: participants of one kind may change places. No rule and no line
//     of the machine names a participant; TestPlacesDoNotMatter walks worlds and
//     their mirror images side by side.
//   - Oblivion: what nobody will read is not told apart. Reasons, and the states
//     of branches, are for people. "Aborted" and "rolled back" answer everything
//     alike. A prepare in the network is nothing when it meets a row or low water,
//     and no machine waits for its vote: only the first incarnation asks. When the
//     transaction is not live and the log can't bring it back, a commit or
//     rollback that meets a finished row is nothing either; and when low water has
//     passed too, nor is the row.
//
// One walks more than it was asked to:
//
//   - Uncounted: where the coordinator or participants may crash at all, they may
//     crash any number of times. Each state of a world with bounded crashes is
//     one of this world; and what is wrong here is wrong there with a larger bound.
//     A participant may then be cold for the moment in which one request arrives:
//     to be cold is to answer that request "unknown", and other requests may be
//     late anyhow.
//
// Three make a move at once that might wait. Each of these moves adds to what may
// happen and takes nothing away, and is possible in the state in which it is made;
// so nothing is reached that could not be, and whatever the state before it can do,
// the one after it can too, for ever. TestAtOnceLosesNothing looks for every state
// of the world that waits for the one that stands for it.
//
//   - Answers now: a request arrives once more where it changes nothing and only
//     an answer is sent. The set of answers grows; each of them may be late, or
//     lost, as before.
//   - Low water now: low water is sent as soon as it is above the transaction, and
//     arrives as soon as there is a row. A row answers by itself, whatever low
//     water says, so nothing changes but that a finished row may be dropped. What
//     low water must not pass is looked at in every state, not when it is sent.
//   - Listing now: the sweep takes a listing when it has none. If the branch is
//     prepared it is in the listing, which may be looked up later or given up. If
//     not, the participant is swept, which does nothing but let low water rise.
//     The planted bug that looks before it lists has no such listing to take, and
//     there it is off.
//
// That worlds left in peace come to rest is not a matter of what may happen but of
// what does. None of the three moves changes it: an answer that is there already is
// the one which the request would be given, a world left in peace sends no low
// water and drops no row, and lists what is prepared anyhow.
// TestReductionsHideNothing compares what is seen in each state, and at rest, with
// each reduction and without any: it is the same.
package explore

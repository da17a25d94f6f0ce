// Package explore walks every state of a small world in which the protocol runs,
// and checks in each what must hold. The world is one transaction, two to four
// participants, a coordinator that is the machine of package protocol with a
// small driver around it, and everything that may go wrong among them. Nothing
// is left to chance: whatever may happen next is tried, breadth first, so that a
// counterexample is also the shortest one.
//
// A second kind of world has two transactions and less of everything else ([PairRules]):
// see "The world of two" below. A third has one phase: see "The world of one phase". All
// that stands before them is about the world of one.
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
//
// # The world of two
//
// Some rules say nothing where there is one transaction: low water that passes one and
// must not pass another, an id that is asked for twice, a log that is not the whole
// truth. The world of two is for them. It has the machine, [protocol.Sweep] and
// [protocol.LowWater], XIDs with incarnations and sequences, and a log that is a list of
// records. What the world of one has shown of a transaction by itself is left out: it
// has remote participants only, which vote to commit or to abort and are never cold; no
// log fails; no retry is counted; a restart is one step; crashes are counted.
//
// Its rules, where they differ from those of the world of one:
//
//  22. There are two transactions, at one or two participants each. The second begins
//     any time after the first, in the same incarnation or a later one, or never.
//  23. A request arrives at any time, as often as it likes, and an answer tells how
//     things stand when it is given. So to change a row and to answer are two moves; an
//     answer that is late is the world of one's to show.
//  24. Low water is sent as soon as it rises, to each participant, and may be under way
//     for ever: the lower one may arrive after, or instead of, the higher one.
//  25. The sweep lists all that a participant holds prepared, and looks it up later. As in
//     the coordinator, what this incarnation began, or the log has held before, and does
//     not say to be rolled back, counts as committed; evidence of an incarnation that the
//     log does not know begins a hold before anything is presumed; and a participant is
//     swept when nothing was listed that must be left alone.
//  26. A crash keeps what is synced and any number of records after it. The log drops an
//     ended transaction, outcome and all, at any time.
//  27. A restore is a crash after which the log is an older copy of itself: any number of
//     its synced records, from the first. It is noticed: by the log, because its files
//     are copies, or by the operator, who then says so. So a hold covers every incarnation
//     that the copy names, and survives crashes; the next incarnation is numbered far
//     above it. The rest of the world (rows, requests, what clients heard) is not older.
//  28. Under a hold what is undecided in the log is parked. An operator finishes prepared
//     branches at the participant as was truly decided, if this log does not know it, and
//     releases the hold when what the log does not say was not decided, or is finished
//     everywhere and not parked. While he can't, the hold stands. He takes longer than the
//     sweep takes between a listing and its look: none that is out shows what he finished.
//  29. With one id for both, the second transaction is the request of the first repeated.
//     It begins only if the id is not live, and not remembered: the log holds no end of it.
//     Otherwise the request joins, or is told the outcome, which begins nothing.
//
// In every state is checked, for each of the two: I1, I2, I3, I4, I6, I7, I8, I10 and I14
// as above, and
//
//   - Low water, at each participant, passes no unfinished branch of a live transaction,
//     and none that a crash left prepared and no sweep has settled, whatever became of
//     the other transaction; and a new transaction has an XID above all that begun
//     before, also in a log that was lost.
//   - I4, over an id: it never runs twice at the same time; nor again while its outcome
//     is remembered; nor after it committed, until the log has dropped it. What is
//     remembered is what was told.
//   - I5: neither recovery nor the sweep presumes what a hold covers.
//   - I15: the two have different XIDs.
//   - I1 holds over a restore too: with the hold, no copy of the log leads to a branch
//     that is rolled back of a transaction that was ever decided to commit.
//     TestHoldIsNeeded takes the hold away and finds it broken.
//
// Worlds left in peace come to rest here as well, but for what a hold keeps and nobody
// may release. TestPairs makes sure that each world has seen what it is for: late prepares
// that low water refuses, orphans, undecided transactions that were committed elsewhere,
// an id that was told rolled_back, lost in a crash and committed when it ran again.
//
// Two of the reductions hold here. Oblivion leaves out of the key requests that find
// nothing to change any more, low water that has arrived, rows below low water of
// transactions that are over, the order of synced records once no restore is left, and
// reasons. TestPairKeyIsExact shows for every state of the small worlds that what may
// happen is a function of the key. Listing now takes a listing whenever there is none, and
// looks an empty one up at once; TestPairReductionsHideNothing compares what is seen.
package explore

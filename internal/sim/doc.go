// Package sim runs the code that ships (the coordinator, its log, recovery, the sweep,
// and package guard below its participants) in a simulated world in which everything
// goes wrong that may, and checks what must hold. One seed is one run, and the same run
// whenever it is had again.
//
//	go test ./internal/sim -run 'TestSeeds$'                 # DTC_SEEDS seeds from DTC_SEED_FROM on: 300 from 1
//	go test ./internal/sim -run 'TestSeeds$' -v -seed=1675   # one, with its trace; or DTC_SEED=1675
//	go test ./internal/sim -run 'TestSeeds$' -v -seed=1675 -without=kills,deaf  # or DTC_WITHOUT
//
// A seed that found something stands in testdata/corpus, with a line on what that was,
// and is run with every test.
//
// # How a run is made
//
// A run is a bubble of testing/synctest, so time is virtual. Whatever the code does
// with the world outside is an event: an operation of the disk, a call of a
// participant, a step of a participant's database, a client's call and the moment in
// which it hears the answer. The goroutine blocks at a gate. When all are blocked the
// scheduler sorts what has arrived by name, gives each event a time from the seed, lets
// the earliest happen, and waits until all are blocked again. So no two goroutines work
// for different events at once, and the order in which they ran leaves no mark. A
// message is no goroutine but an event of its own, which nobody has to wait for.
//
// What else is random comes from the seed as well: package chance gives the names of
// logs and the jitter of retries, and the writer of the log takes what is queued when
// everybody else has put down what they have ([chance.Turn]). One goroutine runs at a
// time, and no garbage is collected, between [Still] and its end. TestDeterministic runs
// seeds twice and compares the traces. Under the race detector the Go scheduler is
// random on purpose; there a run is a run, and is checked, but cannot be had again.
//
// One rule follows for the code that ships: it must not hold a mutex while it calls the
// disk or a participant. Who waits for a mutex looks like one who works, and the run
// would stop; after half a minute it says so.
//
// # The world
//
//  1. A seed chooses a swarm ([Plan]): each class of faults is on or off. It chooses
//     three to five participants, two to five clients, and small limits: segments of 4
//     to 16 KiB, so that the log rotates and makes checkpoints; sometimes room for a
//     few outcomes or a few unfinished transactions only.
//  2. Clients run transactions with Execute, Transact, Run, or Begin, Enlist and
//     Commit or Rollback; several ask for the same id at once, again after an answer,
//     in another style, or with other payloads; they ask for outcomes; they give up.
//  3. Participants are: the guard over a database in memory (package simdb), where each
//     effect leaves a token; dtctest.Memory that lists and that does not; the same
//     within the coordinator's process, called inline; and functions in the process
//     that take their time, have no tombstones and die with it. The payload says how
//     to vote. Each that lists also holds a branch of another log.
//  4. A message may be lost, noticed or not; arrive two or three times, the copies up
//     to two minutes later, long after the process that sent it has died; overtake
//     others; and its answer may be lost though it had its effect. A participant may
//     be cut off for a while, one way, the other or both. A call may fail to notice
//     that its context has ended.
//  5. A participant may die at any step, alone or with its database, and come back
//     with what was durable; take seconds; answer with errors; lose the connection to
//     its database before a commit, after it, or so that the database hears of it
//     later; and not know its branches for a while after it came back.
//  6. The coordinator's process is killed at any event: what it wrote stays. Or the
//     power goes: any subset of what was not synced is gone, or torn. It is killed
//     again while it opens or recovers; it is stopped for a while and goes on; it is
//     closed in order. A dead process goes on for its own eyes: whatever it does fails,
//     and nobody hears it.
//  7. A sync fails once, with EIO, and what it should have made durable is gone. The
//     disk is full for a while. Syncs take seconds. Somebody starts the coordinator
//     again when its log has failed.
//  8. A participant is taken out of the configuration and put back. An operator states
//     how a branch ended, true or not: from then on that transaction, and no other, may
//     end in any way, but its log must still be sound.
//  9. In half of the runs some participants commit in one phase (see [one]), most
//     requests have one branch there, clients look for proofs, functions fail now and
//     then, and an operator begins a recovery hold and ends it. What this draws does not
//     change the runs without it.
//  10. When the clients are done, or after two minutes, everything heals. What is still
//     under way arrives within seconds once the world has come to rest.
//
// # What is checked
//
// At every event, by the names that are used in the docs:
//
//   - I1, I2: whenever a branch changes (for the guard: in the moment in which its
//     database commits), none is committed while another is anything but committed,
//     prepared or read-only; and no prepare leaves after the decision.
//
//   - I3: when "committed" leaves the process for the first time, as a message, an
//     answer, a trace or the answer to a question, the decision is found by the
//     independent decoder in what the disk would hold if the power went now.
//
//   - I4: what was decided or told is never decided, sent or told otherwise, to anybody
//     and over all restarts. (A rollback that nothing forced may be forgotten in a
//     crash; an outcome of branches that all were read-only means nothing; an id that
//     was forgotten and runs again is another transaction.)
//
//   - I5: a participant that asks is never told anything that turns out wrong.
//
//   - I6, I7, I8: a vote is never lost; nothing is prepared again after it was committed
//     or rolled back, or committed after a rollback; low water never passes what its
//     receiver has held prepared since before the sender was started.
//
//   - I10: what was told committed stays known, unless few outcomes are kept.
//
//   - I12: after every crash, power loss and close both decoders find the log sound and
//     say the same; it opens, unless the disk was at fault.
//
//   - I14: the branches of another log are untouched.
//
//   - I15: no XID is given out twice.
//
//   - I17: nothing is heuristic unless an operator made it so.
//
//   - I18: no transaction begins when as many are unfinished as may be.
//
//   - In one phase I3 and I4 are about the evidence: what is told committed has it, what is
//     told rolled back has none of the same request; I7: an id has one effect at a
//     participant, whatever an operator said; I8: none after a later run of it was told rolled back. What an
//     operator said, and the log took, is the outcome.
//
// After everything has healed:
//
//   - L1: within two back-offs, two sweeps and what calls take, all clients have been
//     answered and nothing is unfinished, at the coordinator or at a participant.
//   - L3: in one run of four one participant stays away longer than everybody else; the
//     others' branches are finished meanwhile.
//   - L2: nothing is held in doubt, also after the last late message; no transaction of
//     a database is open; the log is short again.
//   - Every transaction is committed everywhere or nowhere; each token is there once;
//     no id was carried out twice; what was told is true. After a close in order and
//     another start every id is answered as before.
//
// The history of each client's calls is in [Result.History], for a checker of its own.
package sim

// # The world of one phase
//
// A transaction in one phase has one branch and no decision of its own, and a power loss
// takes all that the coordinator knows of it ([OnceRules] and the files whose names begin
// with once). The third kind of world has one id of a client, one participant that commits
// in one phase, and the machine. Its rules, where they differ from those above:
//
//  30. A client may ask for the id again, with the same request, whenever it is neither
//     live nor remembered; otherwise the request joins, or is told the outcome. Each run
//     has an XID of its own, of the incarnation in which it begins. It may also fail while
//     it still grows: then nothing was sent or logged, and the branch is settled.
//  31. The log holds records in order. Only an operator's statement is forced. A crash, of
//     the process or the power, keeps what is synced and any number of records after it,
//     and makes it durable; a restart is one step, begins a new incarnation, and goes on
//     with what the log holds without its end. After a log has failed it takes no record,
//     and no run begins, until a restart.
//  32. The coordinator remembers an outcome until a crash, and after it if the end record
//     survives.
//  33. A request that was sent may arrive at any time, as often as it likes, or never. An
//     answer reaches the one who asked at any time, repeatedly, or never. Whatever a call
//     did, it may return an error or without an answer; it may hang; it may be withdrawn
//     before it leaves. Timeout, cancellation and retry come at any time.
//  34. The participant does what dtc.OnePhaser promises. Work begins when a call arrives
//     that finds no evidence, seal, low water or fence, and ends later: it takes effect in
//     one step with the evidence, or cannot be done, or is lost in a crash of the
//     participant, or with a seal or the fence. A call of an incarnation raises the fence
//     before it is answered; so may other traffic.
//  35. Settle finds the evidence of the id, or seals the run. An answer may also be given
//     as an error that says how the branch had ended.
//  36. Evidence goes only when nobody asks for the id any more, no run is live, and low
//     water has passed all of them: until then a copy of a request may come. Who settles a
//     run then is told that it is not known.
//  37. An operator may state anything about a branch that is being settled, also what is
//     not true. The log may refuse the statement, or fail under it.
//
// In every state is checked:
//
//   - I2, I5: committed and rolled back are told on the participant's word, or on an
//     operator's. Nothing is presumed, also not of a call that never left.
//   - I3: told committed, on the participant's word, the effect is there. So it is for who
//     asks for the evidence.
//   - I4: what was told of a run is never contradicted, whatever crashes; but by an
//     operator who was asked after it had been told. What is remembered is true.
//   - I6, I17: an alarm is raised if the participant contradicts an operator, and only then.
//   - I7: the id takes effect at most once.
//   - I8: told rolled back, on the participant's word, the run has no effect and never will
//     have, and the id has none unless it runs again.
//   - I10: nothing is forgotten that has a call out, or of which nobody was ever told
//     anything.
//   - Calls: two are out only while one of them hangs, and none is one of two phases.
//
// Worlds left in peace come to rest as above. TestOnces makes sure that each world has seen
// what it is for. TestOnceSins takes away the promises one by one, and names the damage.
//
// Left out: requests that differ under one id, payloads, and read-only votes, which are
// told as committed; holds; participants that are replaced by others; retention in the log;
// a participant whose durable state is lost. Low water rises as early as the rules of any
// participant allow. Oblivion is the one reduction: how often a call was made, and why, is
// not told apart.
package explore

// Package postgres makes a PostgreSQL database a participant: the work of a branch is
// an ordinary transaction of the database, prepared with PREPARE TRANSACTION and ended
// with COMMIT PREPARED or ROLLBACK PREPARED.
//
// There are three ways to bring a branch about, and one [Database] serves them all:
//
//   - [Database.Do] gives a function a transaction on a pinned connection and enlists
//     the branch. Called again in the same distributed transaction it goes on with the
//     same database transaction.
//   - A payload with statements, for Execute and for callers in other languages; see
//     [Statements].
//   - An adopted branch: somebody else, in any language, does the work and says
//     PREPARE TRANSACTION under the name that [Name] gives; see [Adopted].
//
// # The row of a branch
//
// Each branch has one row in the table dtc_branch, under its name. It is inserted by
// the branch's own transaction, as its last statement and in one message with PREPARE
// TRANSACTION, so it is visible if and only if the branch has committed: it is the
// proof. Rolling a branch back inserts the same row from outside, with the other
// state: it is the seal. As both have the same key:
//
//   - a prepare that comes after the seal, be it that the server process was stopped
//     in between or that a message was late, fails on the key;
//   - a seal waits for a prepare that has inserted its row, and finds out how it ended.
//
// An adopted branch inserts no row. One is written with the vote, and holds the number of
// the transaction, of which the server knows how it ended. No seal keeps an adopted branch
// from being prepared late; the sweep finds it and rolls it back.
//
// Rows below low water are dropped ([Database.Prune]); where none stands, low water
// refuses a late prepare. A branch looks for both as of its last statement, or of its
// beginning if it is repeatable read; so no row goes while a session has a snapshot in
// which low water does not stand yet.
//
// # One phase
//
// A branch that is the only one of its transaction is not prepared. The message that commits
// it has three statements: a lock, one row in the table dtc_once, and COMMIT. The row says
// that this id of this log was committed, under which XID, and for which request (a
// fingerprint). It stands if and only if the work does.
//
//  1. A call for an id that has a row fails on its key, rolls its work back, and tells what
//     the row says.
//  2. Settle inserts the row in the other state, sealed. It waits for a transaction that has
//     inserted its own, and ends the session if that takes long. What is sealed under an XID
//     is not committed under it, nor under an earlier one; under a later one it may be.
//  3. The first call of an incarnation raises the fence of the log, a row in dtc_fence: it
//     takes the lock of the log for itself and so waits for all who have it. A branch takes
//     the lock shared and then looks at the fence. So one of an earlier incarnation
//     has ended before the fence is raised, or finds it raised and is refused. With a
//     snapshot of its own (repeatable read) it locks the fence's row instead, which fails if
//     that has changed.
//  4. Prepare looks for a row of its id only if there were rows of earlier incarnations when
//     the fence was raised. Otherwise two phases cost nothing more.
//  5. A branch that has written nothing leaves no row. Work of Do that is settled before
//     COMMIT was sent leaves none either: its session was the only place where it was.
//  6. COMMIT is believed by its command tag, and a row that was seen by rule 6 below.
//
// Rows go by [Database.Prune] too: below low water those that are sealed, and those that are
// committed after [Options.RememberOnce]. The highest XID whose evidence was
// dropped is kept; up to it Settle says that the outcome is unknown, if there is no evidence.
//
// # What is believed
//
//  1. A vote to commit rests on the command tag PREPARE TRANSACTION and nothing else.
//     In a transaction that has failed the server answers without an error, with the
//     tag ROLLBACK.
//  2. "Prepared transaction does not exist" is no acknowledgement: the row tells what
//     became of the branch. If there is none the branch is sealed, and then it is
//     certain that it was rolled back, against the decision.
//  3. A connection that was lost, a server that shuts down or is a standby: no answer.
//  4. Errors are told apart by SQLSTATE, never by their text.
//  5. A listing counts only from a server that is not in recovery; on a standby the
//     list of prepared transactions is empty whatever there is.
//  6. What is seen, and was not answered, may not yet be on a synchronous standby: it is
//     believed when a later commit has been.
//
// # Connections
//
// The application's pool gives the connection of a branch. The transaction begins with its
// first statement, in one message. After the prepare the connection waits for half a second
// at most for the decision, and is the one on which the branch ends; then the pool has it
// back, if it is certainly clean; else it is closed. What finishes other branches has
// connections of its own, so that an application that holds all of its pool while it
// waits for the locks of prepared branches is not waiting for itself.
package postgres

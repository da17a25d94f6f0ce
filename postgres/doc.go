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

// Package mysql makes a MariaDB database a participant: the work of a branch is an XA
// transaction of the server, prepared with XA PREPARE and ended with XA COMMIT or XA
// ROLLBACK. MySQL 8.0.29 and newer are served by the same statements, but nothing here
// was tested on MySQL.
//
// There are three ways to bring a branch about, and one [Database] serves them all:
//
//   - [Database.Do] gives a function the branch on a pinned connection and enlists it.
//     Called again in the same distributed transaction it goes on with the same branch.
//   - A payload with statements, for Execute and for callers in other languages; see
//     [Statements].
//   - An adopted branch: somebody else, in any language, has done the work and said
//     XA PREPARE under the name that [Name] gives, with the row that [Database.Proof]
//     gives; see [Adopted].
//
// # The row of a branch
//
// Each branch has one row in the table dtc_branch. It is inserted by the branch itself,
// as its last statement, so it is visible if and only if the branch has committed: it is
// the proof. Rolling a branch back inserts the same row from outside, with the other
// state: it is the seal. As both have the same key:
//
//   - work that comes after the seal meets the key and is not prepared. The server would
//     prepare it all the same, since the error undoes only the insert; so it is this
//     package that stops;
//   - a seal waits for a branch that has inserted its row, and finds out how it ended.
//
// The row also says which connection of which start of the server works for the branch.
// It can be read before it is committed, so it is known even after the process that did
// the work has died whom to end before anything is concluded.
//
// Rows below low water are dropped ([Database.Prune]); where none stands, low water
// refuses a late prepare.
//
// # One phase
//
// On MariaDB a transaction whose only branch is here is committed in one phase, unless it was
// adopted; see [dtc.OnePhaser] and [Options.TwoPhases]. Nothing is prepared then. The table
// dtc_once has one row for each id of a log:
//
//   - The branch inserts it as its last statement, as committed, in one message with XA
//     COMMIT … ONE PHASE. It is the evidence, by the id and by the XID that stands in it.
//   - Settle inserts it as sealed. Work that meets the seal, or a row that says committed,
//     is rolled back by the same message. A later XID takes over the seal of an earlier one.
//
// From the evidence to the end of its transaction nothing waits for a client, so a seal that
// meets a branch finds out soon how it ended, and no session need be ended for that.
//
// The table dtc_fence has one row for each log. It names the highest incarnation that was
// seen, and a branch of another one does not commit. Each locks the row in share mode before
// its evidence; the first call of an incarnation raises it, so it waits for all that passed.
// If earlier incarnations have rows in dtc_once, a prepare looks there first.
//
// Rows below low water are dropped: seals at once, evidence when it is older than
// [Options.RememberOnce]. The row of the fence keeps both marks. Below the first nothing
// commits without a row; up to the second Settle answers [dtc.OutcomeUnknown] without one.
//
// # What is believed
//
//  1. A vote to commit rests on the OK of XA PREPARE and nothing else. A statement that
//     has failed poisons the branch, whatever the server has undone of it: some errors
//     undo the statement alone, and the rest would prepare.
//  2. Without an answer to XA PREPARE the session is ended, and it is waited until it
//     has left the server, before a listing is believed.
//  3. A prepared branch belongs to its session. It is finished there; from elsewhere
//     only when the session has left, and then an OK of XA COMMIT is believed once the
//     row is visible. While a session is leaving the server may answer OK and commit
//     nothing.
//  4. A row that says how a branch has ended, without such an OK, may still be lost:
//     other sessions see a commit before it is on the disk. The same is true of the rows of
//     one phase, and of the fence. A commit of our own that was answered says that what was read before is
//     kept; it counts up a row of dtc_low_water that stands for no log.
//  5. "Unknown XID" is no acknowledgement: it is said of a branch that has not left its
//     session too. The row tells what became of the branch. If there is none, a second
//     long, the branch is sealed, and then it is certain that it was rolled back,
//     against the decision.
//  6. A lost connection or a server that shuts down or is read-only: no answer.
//  7. Errors are told apart by their number, never by their text.
//
// # Connections
//
// The application's pool gives the connection of a branch. It is held until the branch
// is finished. When the server has said there that it has ended, prepared or only read, the
// connection goes back, with what the work has left in its session; see
// [Options.FreshSessions]. After anything has failed on it, or was lost, it is closed. Give
// the pool as many idle connections as open ones: by default it keeps two, and closes the
// others. What finishes branches from elsewhere has connections of its own, so that an
// application that holds all of its pool is not waiting for itself.
package mysql

// Package guard turns three ordinary functions over a SQL database into a
// participant that may be called twice, late, in the wrong order, or not at all.
//
// Each function runs inside one local transaction, together with one row of the
// guard's own table that says how far the branch has come. The database commits
// both or neither, so the row is never wrong about the work:
//
//	payment, err := guard.New(ctx, "payment", db, guard.PostgreSQL, guard.Funcs{
//		Prepare:  reserve, // func(ctx, *sql.Tx, dtc.Branch) (dtc.Vote, error)
//		Commit:   settle,  // func(ctx, *sql.Tx, dtc.Branch) error
//		Rollback: release,
//	}, nil)
//
// Prepare does what can fail and keeps it reserved (money on hold, stock set
// aside); Commit and Rollback turn the reservation into the effect, or free it.
// The functions use the transaction they are given for everything, and neither
// commit nor roll it back.
//
// # Guarantees
//
//  1. The effect of Prepare, Commit and Rollback is the effect of one call each,
//     however often they are called, from however many processes over the same
//     tables, at once or one after the other.
//  2. The first vote of a branch is stored before it is given, and given again
//     ever after. After a commit vote the branch stands until it is told.
//  3. A rollback of a branch that was never prepared succeeds and leaves a row;
//     the key of that row refuses the prepare that comes later.
//  4. A commit is acknowledged only if the branch was committed, voted read-only,
//     or lies below the stored low water. "I do not know it" is
//     [dtc.ErrUnknownBranch], never success.
//  5. With an abort or read-only vote the local transaction has been rolled back:
//     nothing is held and nothing was written.
//  6. [Guard.InDoubt] lists every branch of the log that was prepared before the
//     call and is not finished.
//
// # Rows and low water
//
// Every branch leaves one row. Finished rows below the coordinator's low water
// are dropped, a prepared row never; see [Guard.Prune]. Low water is stored, in a
// transaction of its own, before any row below it goes. Prepare first inserts its
// row and only then, in the same transaction and with a fresh snapshot, reads the
// stored low water: if its insert succeeded because the old row had been dropped,
// then the low water that allowed that is already committed, and is seen. This
// needs READ COMMITTED, which the guard asks for itself on PostgreSQL and
// MariaDB; on SQLite the insert takes the only write lock there is.
//
// # Duties of the caller
//
//  1. Wrap database errors with %w. A deadlock, a lost connection or a lock that
//     was not granted is recognised by its code and answered with "no answer", so
//     that the call is repeated; a definite error becomes an abort vote, for good.
//  2. Do not swallow database errors and vote commit.
//  3. Give contexts on to the database. A function that ignores its context keeps
//     the branch waiting.
//  4. Do not end the transaction, nor execute what commits by itself (on MariaDB CREATE, ALTER,
//     TRUNCATE and their like). Where a Prepare does and does not vote to commit, the branch
//     is rolled back with Rollback.
//  5. On SQLite set a busy timeout (and WAL mode, if readers should not wait); the
//     database has one writer at a time.
//
// A Guard starts no goroutine and needs no Close. Its methods may be called from
// any number of goroutines.
package guard

// Package failpoint names the steps of the coordinator, its log and its server, so
// that tests can end or stop a real process at each of them.
//
// Ordinary builds compile every point away. A build with the tag "failpoint" asks the
// environment what is to happen where: see on.go.
package failpoint

// Point is a step. Each stands in exactly one place of the code.
type Point string

// The steps of the log: appending, writing, syncing and telling.
const (
	WALAppend      Point = "wal/append"       // a record is in the queue
	WALBeforeWrite Point = "wal/before-write" // of a batch
	WALAfterWrite  Point = "wal/after-write"
	WALBeforeSync  Point = "wal/before-sync"
	WALAfterSync   Point = "wal/after-sync" // durable, and nobody was told
	WALTold        Point = "wal/told"       // whoever waited for the sync was woken
)

// The steps in which names change in the log's directory. Segments, checkpoints and
// the mark of a clean end go through the first two.
const (
	WALNamesChanged Point = "wal/names-changed" // not durable yet
	WALNamesSynced  Point = "wal/names-synced"

	WALRotate             Point = "wal/rotate"              // the newest segment is full
	WALRotateCreated      Point = "wal/rotate-created"      // a new file has no room yet
	WALRotatePreallocated Point = "wal/rotate-preallocated" // a new file has its room
	WALRotateReused       Point = "wal/rotate-reused"       // a file of the store is the next segment
	WALRotateWritten      Point = "wal/rotate-written"      // header and first batches
	WALRotateSynced       Point = "wal/rotate-synced"
	WALRotateDirSynced    Point = "wal/rotate-dir-synced" // the segment has its name for good
	WALRotated            Point = "wal/rotated"           // and what is written goes there
	WALStocked            Point = "wal/stocked"           // a file for a segment to come is in store

	WALCheckpoint          Point = "wal/checkpoint-due"
	WALCheckpointWritten   Point = "wal/checkpoint-written"
	WALCheckpointSynced    Point = "wal/checkpoint-synced"
	WALCheckpointDirSynced Point = "wal/checkpoint-dir-synced"
	WALSegmentRecycled     Point = "wal/segment-recycled" // it lies in store
	WALSegmentRemoved      Point = "wal/segment-removed"
	WALCheckpointRemove    Point = "wal/checkpoint-remove" // the one before is about to go
	WALFreed               Point = "wal/freed"             // all that durably
)

// The steps of opening a log, and of closing it.
const (
	WALOpenLocked       Point = "wal/open-locked"
	WALOpenDirSynced    Point = "wal/open-dir-synced"
	WALOpenRead         Point = "wal/open-read"
	WALOpenTakenOver    Point = "wal/open-taken-over" // what may not be durable is about to be written again
	WALOpenHold         Point = "wal/open-hold"       // a copy: the hold is about to be written
	WALOpenCleared      Point = "wal/open-cleared"    // half-made files are gone
	WALOpenFreshSegment Point = "wal/open-fresh-segment"
	WALOpenStaleRemoved Point = "wal/open-stale-removed" // files that a checkpoint stands for
	WALOpenSuperseded   Point = "wal/open-superseded"    // a segment that was taken over whole is gone
	WALOpenTailCut      Point = "wal/open-tail-cut"
	WALOpened           Point = "wal/opened"

	WALClosing     Point = "wal/closing"
	WALCleanSynced Point = "wal/clean-synced" // everything is durable, the mark is to come
	WALCleanMark   Point = "wal/clean-mark"   // it is there
	WALCleanCut    Point = "wal/clean-cut"    // the newest segment is about to be cut behind its end
	WALClosed      Point = "wal/closed"
)

// The steps of one transaction.
const (
	TxBegun            Point = "tx/begun" // it is registered
	TxEnlisted         Point = "tx/enlisted"
	TxGrown            Point = "tx/grown" // the function given to Run has returned
	TxExpired          Point = "tx/expired"
	TxPrepareAppended  Point = "tx/prepare-appended"
	TxForcing          Point = "tx/forcing" // a prepare record or a decision
	TxPrepareSynced    Point = "tx/prepare-synced"
	TxDecisionSynced   Point = "tx/decision-synced"
	TxAbortAppended    Point = "tx/abort-appended"
	TxPrepareQueued    Point = "tx/prepare-queued"
	TxPrepareSent      Point = "tx/prepare-sent" // the participant is about to be called
	TxCommitQueued     Point = "tx/commit-queued"
	TxCommitSent       Point = "tx/commit-sent"
	TxRollbackQueued   Point = "tx/rollback-queued"
	TxRollbackSent     Point = "tx/rollback-sent"
	TxOnePhaseAppended Point = "tx/one-phase-appended"
	TxOnePhaseQueued   Point = "tx/one-phase-queued"
	TxOnePhaseSent     Point = "tx/one-phase-sent" // the participant is about to be called
	TxSettleQueued     Point = "tx/settle-queued"
	TxSettleSent       Point = "tx/settle-sent"
	TxSettled          Point = "tx/settled" // the answer is there
	TxVoteReceived     Point = "tx/vote-received"
	TxAckReceived      Point = "tx/ack-received"
	TxNoAnswer         Point = "tx/no-answer"
	TxRetry            Point = "tx/retry" // a branch waits for its next attempt
	TxHung             Point = "tx/hung"  // a call outlives its context
	TxTimedOut         Point = "tx/timed-out"
	TxCancelled        Point = "tx/cancelled"
	TxTell             Point = "tx/tell" // the outcome is about to be told
	TxTold             Point = "tx/told"
	TxEndAppended      Point = "tx/end-appended"
	TxForget           Point = "tx/forget" // it is about to leave the live table
	TxForgotten        Point = "tx/forgotten"
	TxReturn           Point = "tx/return" // Execute is about to return

	LaneDown Point = "lane/down" // a participant does not answer any more
	LaneUp   Point = "lane/up"   // and does again: all that wait are to be called
)

// The steps that finish what others left, and those of operators.
const (
	RecoverReplayed          Point = "recover/replayed"
	RecoverIncarnationForced Point = "recover/incarnation-forced"
	RecoverRevived           Point = "recover/revived" // the unfinished are in the live table
	RecoverNext              Point = "recover/next"    // one of them is to go on
	RecoverResent            Point = "recover/resent"  // it is on its way
	SweepListed              Point = "sweep/listed"
	SweepListedAgain         Point = "sweep/listed-again"
	SweepLooked              Point = "sweep/looked"      // what is to be rolled back is known
	SweepRolledBack          Point = "sweep/rolled-back" // the rollback is on its way
	OutcomeForgotten         Point = "outcome/forgotten" // the oldest, for a new one
	HoldBegun                Point = "hold/begun"        // it counts, and is not durable yet
	HoldForced               Point = "hold/forced"
	HoldParked               Point = "hold/parked" // an undecided transaction waits for its end
	HoldReleased             Point = "hold/released"
	HoldUnparked             Point = "hold/unparked"
	ResolveForced            Point = "resolve/forced"
	CloseBegun               Point = "close/begun"
	CloseDecided             Point = "close/decided" // whoever ran a transaction has gone home
	CloseCallsReturned       Point = "close/calls-returned"
)

// The steps that only a server has, or a participant over HTTP.
const (
	ServeListening Point = "serve/listening"
	ServeOpened    Point = "serve/opened"   // the coordinator runs, and nobody can ask it
	ServeReady     Point = "serve/ready"    // they can
	ServeAccepted  Point = "serve/accepted" // a request was let in
	ServeRead      Point = "serve/read"     // and its body is there
	ServeReply     Point = "serve/reply"    // the answer is about to be written
	ServeReplied   Point = "serve/replied"
	ServeReread    Point = "serve/reread" // a configuration was taken
	ServeDrain     Point = "serve/drain"
	ServeSettled   Point = "serve/settled" // nobody runs a transaction any more
	ServeClosed    Point = "serve/closed"
	ServeStopped   Point = "serve/stopped"

	HTTPSend     Point = "http/to-participant" // a request to a participant
	HTTPAnswered Point = "http/from-participant"

	PartReceived Point = "part/received" // the call has come, and was not made
	PartCalled   Point = "part/called"   // it was made, and not answered
	PartListed   Point = "part/listed"   // a listing was made, and not answered
)

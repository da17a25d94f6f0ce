package canary

// Bug names a planted bug.
type Bug string

// None is no bug.
const None Bug = ""

// Planted in the machine of one transaction, and found by walking small worlds.
const (
	// TellBeforeSync tells the outcome when the decision was handed to the log,
	// not when it is durable.
	TellBeforeSync Bug = "tell-before-sync"
	// PresumeBeforeReplay presumes abort while the log has not been read yet.
	PresumeBeforeReplay Bug = "presume-before-replay"
	// ForgetBeforeLastAck ends a transaction when the first branch has answered.
	ForgetBeforeLastAck Bug = "forget-before-last-ack"
	// BelieveNotFound takes "I do not know this branch" for an acknowledgement.
	BelieveNotFound Bug = "believe-not-found"
	// LookBeforeList lets the sweep look into the live table and at how others ended
	// before it lists. In the coordinator it raises a false alarm and nothing worse:
	// what this process began itself is never presumed aborted.
	LookBeforeList Bug = "look-before-list"
	// NoSecondRollback forgets that a hung prepare may still take effect after
	// the rollback that ran beside it.
	NoSecondRollback Bug = "no-second-rollback"
	// LowWaterPastUnswept lets low water pass an incarnation whose lost prepare
	// records the sweep has not made good yet.
	LowWaterPastUnswept Bug = "low-water-past-unswept"
	// LowWaterPastUnfinished lets low water pass a branch that is not finished.
	LowWaterPastUnfinished Bug = "low-water-past-unfinished"
	// SweepTheLive lets the sweep roll back what a live transaction owns.
	SweepTheLive Bug = "sweep-the-live"
	// SpareTheSilent sends no rollback to a branch that never answered.
	SpareTheSilent Bug = "spare-the-silent"
	// OneVoteMissing decides when all branches but the last one have voted.
	OneVoteMissing Bug = "one-vote-missing"
	// ReadOnlyDecides takes a transaction whose first branch only read for one in
	// which nobody wrote, and forces nothing.
	ReadOnlyDecides Bug = "read-only-decides"
	// AbortReversed lets a vote that comes late turn an abort into a commit.
	AbortReversed Bug = "abort-reversed"
	// PlainNotForced lets a prepare leave before its record is durable, though the
	// participant cannot list.
	PlainNotForced Bug = "plain-not-forced"
	// RecoverFirstBranch finishes only the first branch of what the log decided.
	RecoverFirstBranch Bug = "recover-first-branch"
	// RecoverWithoutVotes forgets the votes that stand in the decision.
	RecoverWithoutVotes Bug = "recover-without-votes"
	// PresumeOnePhase presumes that a branch in one phase that gives no answer has not
	// committed.
	PresumeOnePhase Bug = "presume-one-phase"
	// RecoverOnePhaseAborts presumes it of one that a log holds without its end.
	RecoverOnePhaseAborts Bug = "recover-one-phase-aborts"
	// OnePhaseErrorAborts takes any error for a refusal.
	OnePhaseErrorAborts Bug = "one-phase-error-aborts"
	// PresumeUnsent presumes it of one whose call never left, though an earlier run of
	// its id may have committed.
	PresumeUnsent Bug = "presume-unsent"
	// DroppedRolledBack takes evidence that was dropped for evidence of a rollback.
	DroppedRolledBack Bug = "dropped-is-rolled-back"
	// AnswerOverStatement believes an answer while an operator's statement is on its way
	// to the log.
	AnswerOverStatement Bug = "answer-over-statement"
	// StatementDoubtIgnored takes a statement that may be in the log for one that is not.
	StatementDoubtIgnored Bug = "statement-doubt-ignored"
	// IgnoreContradiction raises no alarm when the participant contradicts an operator.
	IgnoreContradiction Bug = "ignore-contradiction"
	// SettleBesideCall settles a branch while its call is out and does not hang.
	SettleBesideCall Bug = "settle-beside-call"
	// ForgetOverHungCall forgets a transaction while a call that hangs is out.
	ForgetOverHungCall Bug = "forget-over-hung-call"
)

// Planted in the rules and in the coordinator, out of the small worlds' reach.
const (
	// PresumeOwn is LookBeforeList in a coordinator that presumes aborted what it began
	// itself as well, so that nothing stands between the mistake and the damage. The
	// protocol knows no such rule.
	PresumeOwn Bug = "look-before-list-and-presume-own"
	// SecondVoteCounts lets a second, different vote replace the first.
	SecondVoteCounts Bug = "second-vote-counts"
	// BelieveFailedListing takes a listing that failed for a complete one.
	BelieveFailedListing Bug = "believe-failed-listing"
	// IncarnationNotForced uses an incarnation before its record is durable.
	IncarnationNotForced Bug = "incarnation-not-forced"
	// LiveRequestNotCompared joins the transaction of an id, whatever its request.
	LiveRequestNotCompared Bug = "live-request-not-compared"
	// PastRequestNotCompared tells the outcome of an id, whatever its request.
	PastRequestNotCompared Bug = "past-request-not-compared"
	// ForgetOutcomesEarly remembers outcomes for half as long as promised.
	ForgetOutcomesEarly Bug = "forget-outcomes-early"
	// RememberAbortsOnly does not take over from the log what committed.
	RememberAbortsOnly Bug = "remember-aborts-only"
)

// Planted in the log.
const (
	// SkipSync reports a forced record durable without a sync.
	SkipSync Bug = "skip-sync"
	// IgnoreFailedSync takes a sync that failed for one that is done.
	IgnoreFailedSync Bug = "ignore-failed-sync"
	// RetryFailedSync syncs the same file again, and believes it.
	RetryFailedSync Bug = "retry-failed-sync"
	// NoChecksum takes a torn batch for a good one.
	NoChecksum Bug = "no-checksum"
	// CutDurable cuts the log at the first bad batch, although what is behind it
	// says that it was durable.
	CutDurable Bug = "cut-durable"
	// ActOnUnsynced goes on behind a tail that was found and never synced.
	ActOnUnsynced Bug = "act-on-unsynced"
	// RotateUnsynced begins a segment without syncing the one before it.
	RotateUnsynced Bug = "rotate-unsynced"
	// MarkBeforeSync marks a clean end without syncing what is before it.
	MarkBeforeSync Bug = "mark-before-sync"
	// RecycleLive frees a segment that its checkpoint has not taken in.
	RecycleLive Bug = "recycle-live"
	// DropDecided leaves what is decided and not ended out of checkpoints.
	DropDecided Bug = "drop-decided"
	// DropPlain leaves what is undecided and has a plain participant out of them.
	DropPlain Bug = "drop-plain"
	// DropCommittedOutcomes leaves out what committed, and keeps what rolled back.
	DropCommittedOutcomes Bug = "drop-committed-outcomes"
	// DropOutcomesEarly drops outcomes after half of their retention.
	DropOutcomesEarly Bug = "drop-outcomes-early"
	// NamesUnsynced renames a file and does not sync its directory.
	NamesUnsynced Bug = "names-unsynced"
)

// Planted in the guard.
const (
	// NoTombstone acknowledges a rollback of the unknown and keeps nothing.
	NoTombstone Bug = "no-tombstone"
	// CommitUnknown acknowledges a commit of a branch that nobody prepared.
	CommitUnknown Bug = "ack-unknown-commit"
	// PrepareAfterRollback votes commit for a branch that was rolled back.
	PrepareAfterRollback Bug = "prepare-after-rollback"
	// CommitTwice carries out a repeated commit again.
	CommitTwice Bug = "commit-twice"
	// VoteAnyway votes commit whatever the local COMMIT answered.
	VoteAnyway Bug = "vote-anyway"
	// ReadOnlyKeeps keeps what was done under a read-only vote.
	ReadOnlyKeeps Bug = "read-only-keeps"
	// PrunePrepared drops prepared rows with the others.
	PrunePrepared Bug = "prune-prepared"
	// PruneUnstored drops rows below a low water that is seen and not stored.
	PruneUnstored Bug = "prune-unstored"
)

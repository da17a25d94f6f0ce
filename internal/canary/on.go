//go:build canary

package canary

// Active is the planted bug that is switched on, or None. Only tests set it, and
// only while nothing else runs. Package env sets it for a whole process.
var Active Bug

// On reports whether b is the active bug.
func On(b Bug) bool { return b == Active }

// All lists every planted bug.
var All = append([]Bug{
	TellBeforeSync, PresumeBeforeReplay, ForgetBeforeLastAck, BelieveNotFound,
	LookBeforeList, NoSecondRollback, LowWaterPastUnswept, LowWaterPastUnfinished,
	SweepTheLive, SpareTheSilent, OneVoteMissing, ReadOnlyDecides, AbortReversed,
	PlainNotForced, RecoverFirstBranch, RecoverWithoutVotes,

	PresumeOnePhase, RecoverOnePhaseAborts, OnePhaseErrorAborts, PresumeUnsent, DroppedRolledBack,
	AnswerOverStatement, StatementDoubtIgnored, IgnoreContradiction, SettleBesideCall, ForgetOverHungCall,

	PresumeOwn, SecondVoteCounts,
	BelieveFailedListing, IncarnationNotForced, LiveRequestNotCompared,
	PastRequestNotCompared, ForgetOutcomesEarly, RememberAbortsOnly,

	SkipSync, IgnoreFailedSync, RetryFailedSync, NoChecksum, CutDurable,
	ActOnUnsynced, RotateUnsynced, MarkBeforeSync, RecycleLive, DropDecided, DropPlain,
	DropCommittedOutcomes, DropOutcomesEarly, NamesUnsynced,

	NoTombstone, CommitUnknown, PrepareAfterRollback, CommitTwice, VoteAnyway,
	ReadOnlyKeeps, PrunePrepared, PruneUnstored,
}, Pairs...)

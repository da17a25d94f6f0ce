package canary

// The bugs that take two transactions, or a log that is not the whole truth. The
// worlds of two of internal/explore find them. Those of the sweep stand in the
// protocol; the others stand in the explorer's driver, beside the rule that it keeps
// in the coordinator's stead.
const (
	// LowWaterOfNewest takes for low water the newest of the unfinished transactions,
	// not the oldest.
	LowWaterOfNewest Bug = "low-water-of-newest"
	// PresumeUnderHold lets the sweep presume aborted what a recovery hold covers.
	PresumeUnderHold Bug = "presume-under-hold"
	// RecoverUnderHold rolls back the undecided transactions that a recovery hold
	// covers.
	RecoverUnderHold Bug = "recover-under-hold"
	// SweptDespiteHeld takes a participant for swept whose listing showed branches
	// that must be left alone.
	SweptDespiteHeld Bug = "swept-despite-held"
	// RunIDTwice begins a transaction whose id is running.
	RunIDTwice Bug = "run-id-twice"
	// ForgetID begins a transaction whose outcome is remembered.
	ForgetID Bug = "forget-id"
	// BranchByID lets participants name a branch by the caller's id, not by the XID.
	BranchByID Bug = "branch-by-id"
)

// Pairs lists the bugs that take two transactions or a restored log.
var Pairs = []Bug{
	LowWaterOfNewest, PresumeUnderHold, RecoverUnderHold, SweptDespiteHeld,
	RunIDTwice, ForgetID, BranchByID,
}

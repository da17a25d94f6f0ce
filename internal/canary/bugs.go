package canary

// Bug names a planted bug.
type Bug string

// The planted bugs, each a mistake that has cost somebody data.
const (
	None Bug = ""
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
)

// PresumeOwn is LookBeforeList in a coordinator that presumes aborted what it began
// itself as well, so that nothing stands between the mistake and the damage. The
// protocol knows no such rule: this bug is planted in the coordinator only.
const PresumeOwn Bug = "look-before-list-and-presume-own"

// All lists every bug that is planted in the protocol, or around it in the same way
// in the coordinator and in the explorer.
var All = []Bug{
	TellBeforeSync, PresumeBeforeReplay, ForgetBeforeLastAck, BelieveNotFound,
	LookBeforeList, NoSecondRollback, LowWaterPastUnswept,
}

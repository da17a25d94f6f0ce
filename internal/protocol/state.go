package protocol

import "github.com/dtc-project/dtc/internal/canary"

// State is how far a transaction has come.
type State uint8

const (
	// Active: branches may still be added; nothing was sent.
	Active State = iota
	// Logging: the prepare record must be durable before a prepare leaves,
	// because a branch is plain.
	Logging
	// Preparing: prepares are out, votes come in.
	Preparing
	// OnePhase: the only branch was asked to commit in one phase.
	OnePhase
	// Settling: nobody here knows whether the only branch has committed. It is asked,
	// and made unable to if it has not.
	Settling
	// Deciding: the decision to commit was handed to the log and is not known to
	// be durable. Nothing can turn it back.
	Deciding
	// Committing: the decision to commit is durable.
	Committing
	// RollingBack: the decision is to roll back.
	RollingBack
	// Ended: every branch is finished.
	Ended
	// Doubtful: the log failed under the decision; only its next opening knows.
	Doubtful
	// Recovering: found in a log, and nobody has begun to finish it. What the log
	// decided may be told; what it did not decide is not decided yet.
	Recovering
)

var stateNames = [...]string{
	"active", "logging", "preparing", "one_phase", "settling", "deciding", "committing", "rolling_back", "ended", "doubtful", "recovering",
}

// String returns the state's name in lower case.
func (s State) String() string { return name(stateNames[:], int(s), "state") }

// BranchState is how far a branch has come, as far as the coordinator knows.
type BranchState uint8

// The states of a branch; the words of [BranchState.String] are the ones on the
// wire.
const (
	BranchEnlisted BranchState = iota
	BranchPreparing
	BranchPrepared
	BranchReadOnly
	BranchAborted // it voted so
	BranchCommitting
	BranchCommitted
	BranchRollingBack
	BranchRolledBack
	BranchQuarantined
	BranchHeuristicCommitted
	BranchHeuristicRolledBack
)

var branchNames = [...]string{
	"enlisted", "preparing", "prepared", "read_only", "aborted", "committing", "committed",
	"rolling_back", "rolled_back", "quarantined", "heuristic_committed", "heuristic_rolled_back",
}

// String returns the word used on the wire.
func (s BranchState) String() string { return name(branchNames[:], int(s), "branch state") }

// branch is the machine's knowledge of one branch.
type branch struct {
	state BranchState
	vote  Vote

	plain   bool // could not list when the transaction began
	touched bool // work was done for it, or may have been, before we were asked
	voted   bool // the first definitive vote came
	reached bool // some attempt ran into its deadline instead of a closed door

	preparing  bool // a prepare call is out
	hung       bool // it has outlived its deadline
	finishing  bool // a commit or rollback call is out
	waiting    bool // a retry is due later
	acked      bool // the commit or rollback was acknowledged
	refused    bool // a rollback was sent: from now on abort votes are no surprise
	told       bool // a rollback was sent while a prepare call was out
	again      bool // that prepare has returned: roll back once more
	quarantine bool
	heuristic  bool // finished against the decision
	stating    bool // an operator's word about it is on its way to the log
	done       bool // positive evidence that it is finished

	// open counts prepare attempts that were not answered with "I hold nothing".
	open int
}

// mayHold reports whether the participant may hold something for the branch.
func (b *branch) mayHold() bool {
	return b.touched || b.open > 0 && !(canary.On(canary.SpareTheSilent) && !b.voted)
}

// quiet reports whether no call is out.
func (b *branch) quiet() bool { return !b.preparing && !b.finishing }

package explore

import "github.com/dtc-project/dtc/internal/protocol"

// Kind is a kind of participant.
type Kind uint8

// The kinds.
const (
	Remote Kind = iota // listing, reached through messages
	Local              // plain functions in the coordinator's process
)

// Rules says how large a world is.
type Rules struct {
	Kinds         []Kind // equal kinds side by side
	Crashes       uint8  // of the coordinator, or more; see the reductions
	Colds         uint8  // crashes of participants, likewise
	LogFaults     uint8  // refused records and failed logs
	Attempts      uint8  // prepare attempts for each branch
	ReadOnly      bool   // participants may vote read-only
	Withdrawals   bool   // a prepare may wait to leave, and be withdrawn
	HungRemotes   bool   // prepares to remote participants may hang too
	UnsureAnswers bool   // prepares of local participants may fail with an error
	NoTombstones  bool   // remote participants are broken: they forget a rollback of what they do not know

	Without reduction // the reductions not to use
}

const maxBranches = 4

// world is one state. It is copied for every step; the machine is shared until
// it takes one.
type world struct {
	tx *protocol.Tx // nil unless the transaction is live

	begun     bool
	replaying bool // the log has not been read yet
	later     bool // a later incarnation than the one that began the transaction
	poisoned  bool // the log has failed
	forced    record
	synced    records
	tail      [4]record // appended, not synced
	unsynced  uint8     // how many there are
	told      protocol.Outcome
	decided   bool // the log has durably held a decision to commit
	cancelled bool // the caller cancelled and the machine has not decided yet

	crashes, colds, logFaults uint8 // how many there have been

	branch [maxBranches]branch
}

// branch is one branch: the participant's side, what is under way, and the
// driver's notes.
type branch struct {
	// The participant.
	row       row
	lowWater  bool // has passed the transaction
	cold      bool
	committed bool // for ever, also when the row is gone
	readOnly  bool // likewise
	undone    bool // a rollback was acknowledged

	// Under way.
	sent    messages
	answers answers
	prepare call
	finish  call
	verb    protocol.Verb // of finish

	// The coordinator.
	attempts uint8 // prepares sent
	hung     bool  // the prepare was reported hung
	beside   bool  // a rollback was sent beside it
	asked    bool  // the machine asked for a retry
	sweep    sweeping
	swept    bool
	orphan   bool // prepared when the coordinator crashed

	// The log.
	vote protocol.Vote // in the decision to commit, as long as the log holds one
}

// row is what a participant stores durably.
type row uint8

const (
	none row = iota
	prepared
	committed
	rolledBack
	aborted
	readOnly
)

// messages is the set of requests ever sent.
type messages uint8

const (
	prepareSent messages = 1 << iota
	commitSent
	rollbackSent
	lowWaterSent // with low water above the transaction
)

// answers is the set of answers given to this incarnation.
type answers uint8

const (
	votedAbort answers = 1 << iota // by protocol.Vote
	votedCommit
	votedReadOnly
	acknowledged
	unknown
	endedCommitted
	endedRolledBack
)

// call is how far a call of the driver has come.
type call uint8

const (
	noCall call = iota
	queued      // may still be withdrawn
	out
	// Calls of a local participant that took effect and have not returned.
	didCommit   // vote_commit
	didAbort    // vote_abort
	didReadOnly // read_only
	didFinish
	didNotKnow
	didOtherwise
)

// sweeping is how far the sweep of a participant has come.
type sweeping uint8

const (
	sweepIdle   sweeping = iota
	sweepListed          // the branch is in the listing
	sweepTold            // it is rolled back, until that is acknowledged
	sweepLooked          // the mistake: looked first, and found that it may roll back
)

// record is a record of the log.
type record uint8

const (
	noRecord record = iota
	prepareRecord
	commitRecord
	abortRecord
	endRecord
)

// records is a set of them.
type records uint8

func (s records) has(r record) bool { return s&(1<<r) != 0 }

// log returns everything that was appended and not lost.
func (w *world) log() records {
	s := w.synced
	for _, r := range w.tail[:w.unsynced] {
		s |= 1 << r
	}
	return s
}

func newWorld() world {
	var w world
	for i := range w.branch {
		w.branch[i].swept = true // there is no earlier incarnation
	}
	return w
}

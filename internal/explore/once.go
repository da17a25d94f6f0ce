package explore

import "github.com/dtc-project/dtc/internal/protocol"

// OnceRules says how large a world of one phase is: see "The world of one phase" in
// the package comment.
type OnceRules struct {
	Runs        uint8 // how often the id may be begun, at most three times
	Crashes     uint8 // of the coordinator
	LogFaults   uint8 // refused statements and failed logs
	Statements  uint8 // of operators
	Dropping    bool  // ids are not kept for ever, nor is the evidence
	Withdrawals bool  // a call may wait to leave, and be withdrawn
	Sin         sin   // what the participant does not keep

	Without reduction // oblivion, or nothing

	only string // the invariant to look for, if not all
}

// sin is a promise that a participant breaks.
type sin uint8

const (
	honest       sin = iota
	noFence          // a call of an earlier incarnation may commit at any time
	lateFence        // it answers a new incarnation before the fence is raised
	forgetsSeals     // a crash takes what Settle has sealed
	notAtomic        // the evidence is written after the effect
	byXID            // the evidence is looked up by the XID only
)

func (s sin) String() string {
	return [...]string{"honest", "no fence", "late fence", "forgets seals", "not atomic", "evidence by XID"}[s]
}

const (
	maxRuns = 3
	maxOnce = 8 // records of one run in the log
)

// onceWorld is one state of a world of one phase. Like world it is copied for every step.
type onceWorld struct {
	tx       *protocol.Tx // of the last run, nil unless it is live
	call     call         // that commits in one phase
	hung     bool         // it has outlived its context
	settling bool         // a settle call is out
	asked    bool         // a retry was asked for
	stating  protocol.Outcome
	answers  heard // on their way to the one who asked

	run  [maxRuns]onceRun
	runs uint8 // how many have begun

	log        [maxOnce]onceRecord // in order, of the last run only
	n, durable uint8
	opening    uint8 // the current one
	poisoned   bool  // the log has failed
	past       protocol.Outcome
	retired    bool // the request never comes again, and its time is over

	crashes, faults, statements uint8

	at onceParty
}

// onceRun is one transaction of the id, and what is known of it outside.
type onceRun struct {
	opening uint8            // in which it began
	sent    sentOnce         // ever
	heard   heard            // by the coordinator, in any incarnation
	told    protocol.Outcome // last, to a client
	word    protocol.Outcome // told on the participant's word
	stated  protocol.Outcome // an operator's statement that the log may hold
	before  protocol.Outcome // what had been told when it was made
	alarm   bool             // a hazard was raised
}

// onceParty is the participant. All but the work in progress is durable.
type onceParty struct {
	fence    uint8 // no earlier opening commits any more
	low      uint8 // so many runs are below low water
	evidence runSet
	sealed   runSet
	effect   uint8 // the number of the run that took effect, or 0
	working  runSet
	unproven runSet // took effect, and the evidence is not written: a sin
}

// runSet is a set of runs.
type runSet uint8

func (s runSet) has(i int) bool { return s&(1<<i) != 0 }
func only(i int) runSet         { return 1 << i }

// sentOnce are the requests of a run that are in the network, for ever.
type sentOnce uint8

const (
	onePhaseSent sentOnce = 1 << iota
	settleSent
)

// heard is what a participant says of a branch.
type heard uint8

const (
	heardCommit heard = 1 << iota // the call says that it is committed
	heardAbort                    // the call says that it is not and never will be
	heardCommitted
	heardRolledBack
	heardDropped
)

// onceRecord is a record of the log, about the last run.
type onceRecord uint8

const (
	onePhaseRecord onceRecord = iota + 1
	abortedRecord
	statedCommitted
	statedRolledBack
	endedRecord // its outcome is added
)

func newOnce() onceWorld { return onceWorld{opening: 1} }

// says reports whether the log holds a record, synced or not.
func (w *onceWorld) says(r onceRecord) bool {
	for _, e := range w.log[:w.n] {
		if e == r || r == endedRecord && e > r {
			return true
		}
	}
	return false
}

// last is the index of the last run, which is the one that may be live.
func (w *onceWorld) last() int { return int(w.runs) - 1 }

// lowWater is how many runs the coordinator's low water has passed.
func (w *onceWorld) lowWater() uint8 {
	if w.tx != nil && !w.tx.Done(0) {
		return w.runs - 1
	}
	return w.runs
}

func (w *onceWorld) below(i int) bool { return i < int(w.at.low) }

// key appends bytes that are equal for two worlds only if the same can happen in both
// for ever. Left out is what is for people, and how often a call was made, which only a
// machine in two phases reads.
func (w *onceWorld) key(r *OnceRules, dst []byte) []byte {
	dst = append(dst, byte(w.call)<<4|flags(w.hung, w.settling, w.asked, w.tx != nil), byte(w.stating), byte(w.answers),
		w.runs, w.n, w.durable, w.opening, byte(w.past), flags(w.poisoned, w.retired), w.crashes, w.faults, w.statements)
	for _, e := range w.log[:w.n] {
		dst = append(dst, byte(e))
	}
	for i := range w.run[:w.runs] {
		run := &w.run[i]
		dst = append(dst, run.opening, byte(run.sent), byte(run.heard), byte(run.told)<<4|byte(run.word),
			byte(run.stated)<<4|byte(run.before), flags(run.alarm))
	}
	at := &w.at
	dst = append(dst, at.fence, at.low, byte(at.evidence)<<4|byte(at.sealed), at.effect, byte(at.working)<<4|byte(at.unproven))
	if w.tx != nil {
		from := len(dst)
		dst = w.tx.AppendKey(dst)
		if r.Without&oblivion == 0 {
			forgetReasons(dst[from:], 1)
			dst[from+headSize+openByte] = 0
		}
	}
	return dst
}

// openByte is where a branch's attempts stand in the machine's key.
const openByte = 2

// Package sim runs the shipping coordinator, log, guard and recovery in a simulated world.
package sim

import "time"

// Faults is a set of classes of faults. The seed chooses those that a run has (its
// swarm); shrinking switches off one after the other.
type Faults uint32

// Result is what became of a run.
type Result struct {
	Seed   uint64
	Faults Faults // what the run had
	// Violated names what did not hold, "I1" for instance, or is empty; Why says how.
	Violated, Why string
	// Trace is the run, a line for each thing that happened, with its virtual time.
	Trace []string
	// Hash is that of the trace: two runs of one seed have the same.
	Hash    uint64
	Counts  Counts
	History []Op
	// What the history depends on; see [dtc.Config].
	OutcomeLimit     int
	OutcomeRetention time.Duration
}

// Counts is what happened in a run.
type Counts struct {
	Transactions, Committed, RolledBack  int // told
	Crashes, PowerLosses, RecoveryKilled int // of coordinators; RecoveryKilled while opening or recovering
	TornTails                            int
	ParticipantCrashes                   int
	Lost, Repeated, Late, Partitions     int // messages, and partitions
	ToldUnderFault                       int // commits told while something was broken
	OnePhases, Settles, Proofs, Holds    int // records of one phase, calls that settle, ids that were proven, holds
	Statements                           int // of operators, about what is in doubt in one phase
	Appends, Syncs                       int
	Events                               int // that the scheduler let happen
	Virtual                              time.Duration
}

// Op is one call of a client, or one event of the world that changes what may be
// remembered. Times are virtual, from the start of the run.
type Op struct {
	Kind   OpKind
	Client int
	ID     string // the transaction's id
	// Request tells requests under one id apart: the same number is the same
	// fingerprint.
	Request int
	// ReadOnly: every branch of the request only reads, so nothing is forced for it,
	// and that it committed need not be remembered through a crash.
	ReadOnly bool
	// Grown: the transaction is grown by code, and nothing of it is in the log before
	// it is committed: that it was rolled back before need not outlive the process.
	Grown bool
	// Steps: the client began the transaction and added to it in calls of their own. Of
	// the answers only those tell something about the id that tell an outcome.
	Steps bool
	// OnePhase: it may have been committed in one phase. Then the log has no decision, and
	// its record may be lost in a crash, but the participant has the evidence.
	OnePhase bool
	// Evidence: of those with the same number, but 0, each finds the evidence of the other,
	// and is told committed if the other is.
	Evidence int
	Call     time.Duration
	Return   time.Duration // negative: nothing was heard
	Answer   Answer
}

// OpKind is what a client did, or what happened.
type OpKind uint8

// The kinds of Op.
const (
	OpExecute   OpKind = iota // run the transaction, or join it, or learn its outcome
	OpOutcome                 // ask how it ended
	OpPowerLost               // Call is when: what nothing forced may be forgotten. ID is empty
	OpKilled                  // the process died and what was written stayed
	OpClosed                  // the process ended in order, and lost nothing
	OpReopened                // recovery is ready
	OpProve                   // ask how it ended, the participants too
	OpResolved                // an operator says that it ended with Answer
)

// Answer is what a client heard.
type Answer uint8

// The answers.
const (
	NoAnswer   Answer = iota // nothing, or an error that says that nobody can know (in doubt)
	Committed                // told committed
	RolledBack               // told rolled back
	Conflict                 // the id is another request's
	Refused                  // an error that says that nothing was begun
	NotKnown                 // OpOutcome: the id is unknown, or forgotten
	Unfinished               // OpOutcome: it runs
	Heuristic                // somebody finished against the decision
	LogFailed                // nothing was done, and the next process may know it as rolled back
)

func (c *Counts) add(o *Counts) {
	c.Transactions += o.Transactions
	c.Committed += o.Committed
	c.RolledBack += o.RolledBack
	c.Crashes += o.Crashes
	c.PowerLosses += o.PowerLosses
	c.RecoveryKilled += o.RecoveryKilled
	c.TornTails += o.TornTails
	c.ParticipantCrashes += o.ParticipantCrashes
	c.Lost += o.Lost
	c.Repeated += o.Repeated
	c.Late += o.Late
	c.Partitions += o.Partitions
	c.ToldUnderFault += o.ToldUnderFault
	c.OnePhases += o.OnePhases
	c.Settles += o.Settles
	c.Proofs += o.Proofs
	c.Holds += o.Holds
	c.Statements += o.Statements
	c.Appends += o.Appends
	c.Syncs += o.Syncs
	c.Events += o.Events
	c.Virtual += o.Virtual
}

package protocol

// Effect is something the driver must do now. The set is closed. Effects are
// small on purpose: none with a branch below 256 is allocated.
//
//sumtype:decl
type Effect interface{ effect() }

type (
	// AppendPrepare hands the prepare record to the log. With Force the driver
	// answers with Synced, Refused or LogFailed; without, nothing waits.
	AppendPrepare struct{ Force bool }

	// ForceCommit hands the decision to commit, with all votes, to the log. The
	// driver answers with Synced, Refused or LogFailed. Until then nothing may
	// leave the process that tells the decision.
	ForceCommit struct{}

	// AppendAbort hands the decision to roll back to the log. [Tx.Why] has the
	// reason.
	AppendAbort struct{}

	// AppendEnd hands the end record to the log. [Tx.Outcome] says how it ended.
	AppendEnd struct{}

	// SendPrepare calls Prepare of a branch.
	SendPrepare struct{ Branch int }

	// SendCommit calls Commit of a branch.
	SendCommit struct{ Branch int }

	// SendRollback calls Rollback of a branch.
	SendRollback struct{ Branch int }

	// AppendOnePhase hands the record of a transaction in one phase to the log.
	// Nothing waits.
	AppendOnePhase struct{}

	// SendOnePhase asks the only branch to commit in one phase.
	SendOnePhase struct{ Branch int }

	// Interrupt ends the context of a call that commits in one phase: Settle follows
	// when it has returned or hangs. [Tx.Why] has the reason that a rollback will have.
	Interrupt struct{}

	// SendSettle asks what became of the only branch, and that nothing more does.
	SendSettle struct{ Branch int }

	// Retry waits for the branch's back-off and answers with RetryDue.
	Retry struct{ Branch int }

	// Tell lets the outcome be known: [Tx.Outcome] is durable, or needs no
	// durability. OutcomeUnknown means that only the next opening of the log can
	// tell.
	Tell struct{ Outcome Outcome }

	// Refuse says that the log did not take the prepare record, so nothing was
	// begun and nobody was asked to prepare. What follows [Tell] may still follow,
	// but nothing is told.
	Refuse struct{}

	// Hazard raises an alarm: the participant broke its promise, or somebody
	// finished the branch against the decision.
	Hazard struct{ Branch int }

	// Forget drops the transaction from the live table.
	Forget struct{}
)

func (AppendPrepare) effect()  {}
func (ForceCommit) effect()    {}
func (AppendAbort) effect()    {}
func (AppendEnd) effect()      {}
func (SendPrepare) effect()    {}
func (SendCommit) effect()     {}
func (AppendOnePhase) effect() {}
func (SendOnePhase) effect()   {}
func (Interrupt) effect()      {}
func (SendSettle) effect()     {}
func (SendRollback) effect()   {}
func (Retry) effect()          {}
func (Tell) effect()           {}
func (Refuse) effect()         {}
func (Hazard) effect()         {}
func (Forget) effect()         {}

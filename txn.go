package dtc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// txn drives one transaction: it feeds the protocol's machine with what happens
// and carries out what the machine asks for. Everything is guarded by mu, except
// the fields that are set before the transaction is registered.
//
// While a caller waits for the outcome its goroutine owns the transaction: it
// alone waits for the log, for the prepare timeout and for the caller's context.
// Afterwards nothing waits any more; the transaction moves when a call returns
// or a retry is due.
type txn struct {
	c           *Coordinator
	id          TxID
	key         [16]byte // the id's, where outcomes are remembered
	hash        uint32   // of the key
	waits       bool     // some participant may block
	recovered   bool
	undecided   bool    // found in a log that does not say how it ends
	presumed    bool    // to roll it back is a presumption, also one of an earlier process
	whole       *memory // what it lives in, or nil
	xid         XID
	fingerprint [16]byte
	branches    []*branchRun // grows under mu and c.mu, until phase one
	started     time.Time
	prepareBy   time.Time // when the prepare timeout passes

	at      uint64 // where it stands in c.live. Guarded by c.mu
	known   bool   // somebody else may hold it; see liveTable. Guarded by c.mu
	parking bool   // a recovery hold covers it. Guarded by c.mu
	reached bool   // recovery goes on with it. Guarded by c.mu
	fresh   bool   // see liveTable. Guarded by c.mu, and written under mu
	// seed stands in the list of transactions that still grow, which low water
	// must not pass: they may enlist any participant. Guarded by c.mu.
	seed *branchRun

	mu        sync.Mutex
	m         protocol.Tx
	ctx       context.Context // for calls: the caller's until the outcome is told
	cancel    context.CancelFunc
	growth    *growth      // nil unless the transaction begins without its branches
	inline    []inlineCall // calls to participants that never block, in order
	called    int32        // how many of them have been taken
	pumping   bool
	sent      bool          // a lane, a timer or another goroutine may hold it; see memory
	owned     bool          // a caller waits for the outcome, or for phase two
	forcing   txlog.Kind    // the record that the owner must force next, or 0
	signal    chan struct{} // tells the owner to look; nil if nobody waits
	told      bool
	ended     bool // forgotten
	held      bool // a recovery hold covers it: this process cannot know
	refused   error
	toldC     chan struct{} // closed when told or refused, for those who join
	cause     error         // the participant's or caller's error behind a rollback
	lastCause map[int]error // of attempts without an answer, by branch
	reason    Reason
	decidedAt time.Time
}

// branchRun is a branch while its transaction lives.
type branchRun struct {
	tx    *txn
	lane  *lane
	index int

	at     uint64 // where it stands among the lane's unfinished. Guarded by c.mu
	linked bool   // it does. Guarded by c.mu, and written under tx.mu

	// Guarded by tx.mu.
	payload     []byte
	prepares    int // attempts
	finishes    int
	failures    int // since the last answer
	lastError   string
	nextAttempt time.Time
}

// inlineCall is a call that waits for its turn in [txn.pump].
type inlineCall struct {
	br   *branchRun
	verb protocol.Verb
}

func (t *txn) ref() txlog.Ref {
	return txlog.Ref{Incarnation: t.xid.Incarnation.Number, Seq: t.xid.Seq}
}

func (t *txn) place() *uint64 { return &t.at }

func (br *branchRun) ref() txlog.Ref { return br.tx.ref() }

func (br *branchRun) place() *uint64 { return &br.at }

func (t *txn) trace() TraceTx {
	if t.recovered {
		return TraceTx{TxID: t.id, XID: t.xid}
	}
	return TraceTx{t.id, t.xid, t.started}
}

// handle feeds an event to the machine and carries out its effects, on any
// goroutine but the owner's.
func (t *txn) handle(ev protocol.Event) {
	t.mu.Lock()
	t.step(ev)
	t.unlinkDone()
	t.pump(false)
	t.mu.Unlock()
}

// step runs the machine. The caller holds t.mu.
func (t *txn) step(ev protocol.Event) {
	var room [8]protocol.Effect // on the stack: a step rarely asks for more
	for _, e := range t.m.Step(room[:0], ev) {
		t.perform(e)
	}
}

// pump calls participants that never block, one after the other, without holding
// the lock; only one goroutine at a time does it. Then it lets the owner know if
// there is something for it to do. The caller holds t.mu.
func (t *txn) pump(owner bool) {
	if !t.pumping {
		t.pumping = true
		for int(t.called) < len(t.inline) {
			call := t.inline[t.called]
			if t.called++; int(t.called) == len(t.inline) {
				t.inline, t.called = t.inline[:0], 0
			}
			t.call(call.br, call.verb)
		}
		t.pumping = false
	}
	if !owner && t.signal != nil && (t.forcing != 0 || t.told || t.ended || t.m.State() == protocol.Settling) {
		select {
		case t.signal <- struct{}{}:
		default:
		}
	}
}

// perform carries out one effect. The caller holds t.mu.
func (t *txn) perform(e protocol.Effect) {
	if t.refused != nil {
		switch e.(type) {
		case protocol.SendRollback, protocol.SendSettle, protocol.Retry, protocol.Hazard, protocol.Forget:
		case protocol.AppendPrepare, protocol.AppendOnePhase, protocol.ForceCommit, protocol.AppendAbort, protocol.AppendEnd,
			protocol.SendPrepare, protocol.SendOnePhase, protocol.SendCommit, protocol.Interrupt, protocol.Tell, protocol.Refuse:
			return // the log did not take the prepare record: nothing was begun, and nothing is told
		}
	}
	switch e := e.(type) {
	case protocol.AppendPrepare:
		if e.Force {
			t.forcing = txlog.KindPrepare
			return
		}
		if err := t.append(txlog.KindPrepare); err != nil {
			t.refuse(err)
			t.step(protocol.Refused{})
		}
		failpoint.Hit(failpoint.TxPrepareAppended)
	case protocol.ForceCommit:
		t.forcing = txlog.KindCommit
	case protocol.AppendAbort:
		t.explain()
		_ = t.append(txlog.KindAbort) // without it the answer is the same
		failpoint.Hit(failpoint.TxAbortAppended)
	case protocol.AppendEnd:
		_ = t.append(txlog.KindEnd) // without it recovery finishes again
		failpoint.Hit(failpoint.TxEndAppended)
	case protocol.SendPrepare:
		t.send(t.branches[e.Branch], protocol.Prepare)
		failpoint.Hit(failpoint.TxPrepareQueued)
	case protocol.AppendOnePhase:
		if err := t.append(txlog.KindOnePhase); err != nil {
			t.refuse(err)
			t.step(protocol.Refused{})
		}
		failpoint.Hit(failpoint.TxOnePhaseAppended)
	case protocol.SendOnePhase:
		t.send(t.branches[e.Branch], protocol.CommitOnePhase)
		failpoint.Hit(failpoint.TxOnePhaseQueued)
	case protocol.Interrupt:
		t.interrupt()
	case protocol.SendSettle:
		t.send(t.branches[e.Branch], protocol.Settle)
		failpoint.Hit(failpoint.TxSettleQueued)
	case protocol.SendCommit:
		t.send(t.branches[e.Branch], protocol.Commit)
		failpoint.Hit(failpoint.TxCommitQueued)
	case protocol.SendRollback:
		t.send(t.branches[e.Branch], protocol.Rollback)
		failpoint.Hit(failpoint.TxRollbackQueued)
	case protocol.Retry:
		t.retry(t.branches[e.Branch])
	case protocol.Tell:
		failpoint.Hit(failpoint.TxTell)
		t.tell(e.Outcome)
		failpoint.Hit(failpoint.TxTold)
	case protocol.Refuse:
		t.refuse(nil)
	case protocol.Hazard:
		t.hazard(t.branches[e.Branch])
	case protocol.Forget:
		failpoint.Hit(failpoint.TxForget)
		t.ended = true
		t.c.forget(t)
		if f := t.c.cfg.Trace.Ended; f != nil {
			f(t.trace(), t.outcome())
		}
	}
}

// append hands a record to the log; nobody waits. The caller holds t.mu.
func (t *txn) append(kind txlog.Kind) error {
	s := scratches.Get().(*scratch)
	err := t.c.log.Append(s.record(t, kind))
	scratches.Put(s)
	if err != nil {
		t.c.logFailed(err)
		return err
	}
	if f := t.c.cfg.Trace.Appended; f != nil {
		f(t.trace(), kind.String())
	}
	return nil
}

// force hands the record that is asked for to the log and waits until it is
// durable. Only the owner calls it. The caller holds t.mu; it is released while
// waiting.
func (t *txn) force() protocol.Event {
	kind, trace := t.forcing, t.c.cfg.Trace
	t.forcing = 0
	s := scratches.Get().(*scratch)
	r := s.record(t, kind)
	t.mu.Unlock()
	if f := trace.Forcing; f != nil {
		f(t.trace(), kind.String())
	}
	var began time.Time
	if trace.Forced != nil {
		began = time.Now()
	}
	failpoint.Hit(failpoint.TxForcing)
	err := t.c.log.Force(r)
	if f := trace.Forced; f != nil {
		f(t.trace(), kind.String(), time.Since(began), err)
	}
	scratches.Put(s)
	t.mu.Lock()
	if err == nil {
		if kind == txlog.KindPrepare {
			failpoint.Hit(failpoint.TxPrepareSynced)
		} else {
			failpoint.Hit(failpoint.TxDecisionSynced)
		}
		return protocol.Synced{}
	}
	t.c.logFailed(err)
	if isRefused(err) {
		return protocol.Refused{}
	}
	return protocol.LogFailed{}
}

func (t *txn) send(br *branchRun, verb protocol.Verb) {
	if br.lane.inline() {
		t.inline = append(t.inline, inlineCall{br, verb})
		return
	}
	t.leaves()
	br.lane.submit(br, verb)
}

// leaves notes that from now on others than the owner hold the transaction, and
// that it may have to wait for them. The caller holds t.mu.
func (t *txn) leaves() {
	t.sent = true
	if !t.fresh {
		return
	}
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	for i, br := range t.branches {
		if !t.m.Done(i) {
			t.c.linkBranch(br)
		}
	}
	t.c.live.settle(t)
	t.c.raise()
}

// retry lets a branch wait for its next attempt.
func (t *txn) retry(br *branchRun) {
	verb, attempt := t.verb(), br.finishes
	if verb.Begins() {
		attempt = br.prepares
	}
	t.leaves()
	br.nextAttempt = br.lane.retry(br, verb, br.failures)
	failpoint.Hit(failpoint.TxRetry)
	if !verb.Begins() && noteworthy(br.failures) {
		t.warn(br, verb, attempt)
	}
	if f := t.c.cfg.Trace.Retrying; f != nil {
		f(TraceCall{t.id, t.xid, br.lane.id, verb.String(), attempt}, br.nextAttempt.Sub(t.c.now()))
	}
}

// warn says that a branch is hard to finish.
func (t *txn) warn(br *branchRun, verb protocol.Verb, attempt int) {
	log := t.c.cfg.Logger.With("tx", string(t.id), "xid", t.xid.String(), "participant", br.lane.id,
		"state", t.m.Branch(br.index).String(), "attempt", attempt, "error", br.lastError)
	if verb == protocol.Settle {
		log.Warn("a branch in one phase is in doubt: its participant is asked again and again")
		return
	}
	log.Warn("a decided branch is not finished: it is tried again and again")
}

// noteworthy thins out the warnings about a branch: the 5th failure, the 50th, and
// so on.
func noteworthy(failures int) bool {
	n := 5
	for n < failures {
		n *= 10
	}
	return failures == n
}

// verb returns what branches are asked in the current state.
func (t *txn) verb() protocol.Verb {
	switch t.m.State() {
	case protocol.Committing:
		return protocol.Commit
	case protocol.RollingBack:
		return protocol.Rollback
	case protocol.OnePhase:
		return protocol.CommitOnePhase
	case protocol.Settling:
		return protocol.Settle
	case protocol.Active, protocol.Logging, protocol.Preparing, protocol.Deciding,
		protocol.Ended, protocol.Doubtful, protocol.Recovering:
	}
	return protocol.Prepare
}

// explain fills in why the transaction is rolled back.
func (t *txn) explain() {
	if t.reason.Code != protocol.NoReason {
		return
	}
	code, whose := t.m.Why()
	t.reason = Reason{Code: code}
	if whose >= 0 {
		br := t.branches[whose]
		t.reason.Participant = br.lane.id
		t.reason.Message = br.lastError
		if t.cause == nil {
			t.cause = t.lastCause[whose]
		}
	} else if t.cause != nil {
		t.reason.Message = t.cause.Error()
	}
	if t.reason.Message == "" {
		t.reason.Message = plainWords[code]
	}
	t.reason.Message = shorten(t.reason.Message)
}

// maxReason bounds what a participant's error may add to the log, in bytes.
const maxReason = 1024

func shorten(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "…"
}

var plainWords = map[Code]string{
	ReasonVoteAbort:        "it voted to abort",
	ReasonPrepareTimeout:   "it did not vote within the prepare timeout",
	ReasonUnreachable:      "it could not be reached within the prepare timeout",
	ReasonParticipantError: "it broke the protocol",
	ReasonCancelled:        "the caller gave up before the decision",
	ReasonDeadline:         "the caller's time ran out before the decision",
	ReasonShuttingDown:     "the coordinator stopped before the decision",
	ReasonRecovered:        "the coordinator died before the decision",
	ReasonForced:           "an operator said so",
}

// tell lets the outcome be known. From here on the decision is durable, or needs
// no durability.
func (t *txn) tell(o Outcome) {
	t.told = true
	if t.decidedAt.IsZero() && o != OutcomeUnknown { // that is told if the log failed
		t.decidedAt = t.c.now()
	}
	if o != RolledBack && t.m.OnePhase() {
		t.reason, t.cause = Reason{}, nil // of the rollback that could have come of it
	}
	if o == RolledBack {
		t.explain()
		if t.cancel != nil {
			t.cancel() // calls of phase one are pointless now
		}
		t.watchHung()
	}
	if t.toldC != nil {
		close(t.toldC)
	}
	if o == OutcomeUnknown {
		return
	}
	t.c.count(o)
	if f := t.c.cfg.Trace.Decided; f != nil {
		f(t.trace(), o, t.reason)
	}
	t.logDecision(o)
}

func (t *txn) logDecision(o Outcome) {
	log := t.c.cfg.Logger
	switch {
	case o == RolledBack && !t.recovered:
		if log.Enabled(t.c.ctx, slog.LevelInfo) {
			log.Info("transaction rolled back", "tx", string(t.id), "xid", t.xid.String(),
				"participant", t.reason.Participant, "reason", t.reason.Code.String(), "error", t.reason.Message)
		}
	case log.Enabled(t.c.ctx, slog.LevelDebug):
		log.Debug("transaction decided", "tx", string(t.id), "xid", t.xid.String(),
			"state", o.String(), "recovered", t.recovered)
	}
}

// watchHung reports prepare calls that are still out a grace after their context
// has ended, so that their rollback does not wait for ever.
func (t *txn) watchHung() {
	for i := range t.branches {
		if t.m.Calling(i) {
			t.leaves()
			t.c.after(hungGrace, func() { failpoint.Hit(failpoint.TxHung); t.handle(protocol.Hung{Branch: i}) })
		}
	}
}

// hungGrace is how long a call may outlive its context before it counts as hung.
const hungGrace = 100 * time.Millisecond

// outcome returns what may be told: of a transaction that the log did not take, nothing. The
// caller holds t.mu.
func (t *txn) outcome() Outcome {
	if t.refused != nil {
		return OutcomeUnknown
	}
	return t.m.Outcome()
}

// refuse ends a transaction that was never begun. Its id stands for it no more, also while
// the work for it is undone: the log may know another end of the id.
func (t *txn) refuse(err error) {
	if err == nil {
		err = t.c.failed()
	}
	t.refused = fmt.Errorf("%w: %w", ErrLogFailed, err)
	t.ended = true
	if t.toldC != nil {
		close(t.toldC)
	}
	t.c.mu.Lock()
	t.c.live.unname(t)
	t.c.mu.Unlock()
}

func (t *txn) hazard(br *branchRun) {
	t.c.stats.hazards.Add(1)
	verb := t.verb()
	attempt := br.finishes
	if verb.Begins() {
		attempt = br.prepares
	}
	if f := t.c.cfg.Trace.Hazard; f != nil {
		f(TraceCall{t.id, t.xid, br.lane.id, verb.String(), attempt})
	}
	what := []any{
		"tx", string(t.id), "xid", t.xid.String(), "participant", br.lane.id,
		"state", t.m.Branch(br.index).String(), "error", br.lastError,
	}
	if t.m.Done(br.index) {
		t.c.cfg.Logger.Error("a branch ended against the decision: put right by hand what its participant holds", what...)
		return
	}
	t.c.cfg.Logger.Error("participant broke its promise: look at the branch, and resolve it when you know how it ended", what...)
}

package dtc

import (
	"fmt"
	"log/slog"
	"time"
)

// Config configures a [Coordinator]. The zero value works, and so does a nil
// *Config. It must not be changed while the coordinator is open.
type Config struct {
	// Participants are registered before recovery begins. More can be added with
	// [Coordinator.Register].
	Participants []Participant

	// Timing holds for every participant and transaction, except where
	// ParticipantTiming or [TxOptions] say otherwise. Zero fields take the
	// defaults that [Timing] names.
	Timing Timing

	// ParticipantTiming overrides Timing for participants, by id. Zero fields
	// take the value of Timing.
	ParticipantTiming map[string]Timing

	// CompletionWait is how long Execute and Run stay for phase two after the
	// outcome is known; zero means 1 s, negative not at all. The outcome is told
	// all the same when it is over.
	CompletionWait time.Duration

	// TxLifetime bounds a transaction grown by [Coordinator.Run], from its begin
	// to its decision; zero means 60 s, more than 1 h is an error.
	TxLifetime time.Duration

	// SweepInterval is how often each listing participant is asked for what it
	// holds in doubt; zero means 1 min.
	SweepInterval time.Duration

	// MaxTransactions bounds the transactions that are not finished yet,
	// including those that wait for a dead participant; zero means 100,000. One
	// participant may hold at most half of them, so that a dead one does not
	// keep the others from work. Beyond, Execute returns [ErrFull].
	MaxTransactions int

	// OutcomeLimit bounds how many finished transactions are remembered; zero
	// means 1,000,000. OutcomeRetention bounds for how long; zero means 1 h.
	// A repeated id that is remembered gets its outcome and is not run again.
	//
	// Beyond OutcomeLimit a restart may remember more than the process before it: an id
	// that was forgotten, ran again and was rolled back may then be answered with the
	// commit of its earlier run; or, if it ran again and was committed in one phase
	// ([OnePhaser]), with the rollback. Size the limit so that no id is used again beyond
	// it: rate times the longest time in which a client may retry.
	OutcomeLimit     int
	OutcomeRetention time.Duration

	// KeepEnded is how many finished transactions are kept as they were, for
	// [Coordinator.Transaction] and [Coordinator.Transactions]; of others the outcome
	// and the code of a rollback are remembered. Zero means none. One needs about a
	// kilobyte. Transactions whose participants never block are not kept.
	KeepEnded int

	// Logger receives what a person may want to know: rollbacks and recovery at
	// info, participants that do not answer and branches that cannot be finished
	// at warn, what somebody must look at with error. Nil means slog.Default. Its
	// handler must neither panic nor call the coordinator.
	Logger *slog.Logger

	// Trace, if not nil, is called at each step of the protocol.
	Trace *Trace
}

// Timing says how long to wait for a participant. No safety property depends on
// it.
type Timing struct {
	// PrepareTimeout bounds phase one: a participant that has not voted by then
	// counts as vote_abort. Default 5 s. If the participants of a transaction
	// differ the longest holds.
	PrepareTimeout time.Duration
	// PrepareAttempt bounds one call of Prepare. Default 1 s.
	PrepareAttempt time.Duration
	// FinishAttempt bounds one call of Commit or Rollback. Default 10 s.
	FinishAttempt time.Duration
	// Backoff is the first wait between two attempts; each further one may be
	// twice as long, and the actual wait is drawn at random between nothing and
	// that. Default 50 ms.
	Backoff time.Duration
	// PrepareBackoffCap and FinishBackoffCap bound the wait. Defaults 1 s and
	// 30 s. A participant that answers again is served at once; one that does not
	// answer at all is probed with a single call, 5 s apart at most.
	PrepareBackoffCap time.Duration
	FinishBackoffCap  time.Duration
	// Concurrency bounds the calls that run at one participant at a time.
	// Default 64, at least 2. A quarter of them, and at least one, is kept for
	// commits and rollbacks, and as many for prepares.
	Concurrency int
}

// TxOptions are the options of one transaction. Zero fields take the
// coordinator's values.
type TxOptions struct {
	// PrepareTimeout overrides [Timing.PrepareTimeout].
	PrepareTimeout time.Duration
	// CompletionWait overrides [Config.CompletionWait]; negative means not at all.
	CompletionWait time.Duration
	// Lifetime overrides [Config.TxLifetime], for Run and Begin.
	Lifetime time.Duration
	// XID, if not zero, says which transaction of that id is meant, for Commit and
	// Rollback: another one is an [ErrTxConflict]. See [Coordinator.Begin].
	XID XID
}

var defaultTiming = Timing{
	PrepareTimeout: 5 * time.Second, PrepareAttempt: time.Second, FinishAttempt: 10 * time.Second,
	Backoff: 50 * time.Millisecond, PrepareBackoffCap: time.Second, FinishBackoffCap: 30 * time.Second,
	Concurrency: 64,
}

const maxLifetime = time.Hour

// or returns t with its zero fields taken from d.
func (t Timing) or(d Timing) Timing {
	set(&t.PrepareTimeout, d.PrepareTimeout)
	set(&t.PrepareAttempt, d.PrepareAttempt)
	set(&t.FinishAttempt, d.FinishAttempt)
	set(&t.Backoff, d.Backoff)
	set(&t.PrepareBackoffCap, d.PrepareBackoffCap)
	set(&t.FinishBackoffCap, d.FinishBackoffCap)
	set(&t.Concurrency, d.Concurrency)
	t.Concurrency = max(t.Concurrency, 2)
	return t
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (t Timing) check(where string) error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"PrepareTimeout", t.PrepareTimeout},
		{"PrepareAttempt", t.PrepareAttempt},
		{"FinishAttempt", t.FinishAttempt},
		{"Backoff", t.Backoff},
		{"PrepareBackoffCap", t.PrepareBackoffCap},
		{"FinishBackoffCap", t.FinishBackoffCap},
		{"Concurrency", time.Duration(t.Concurrency)},
	} {
		if d.value < 0 {
			return fmt.Errorf("%w: %s.%s is negative; leave it zero for the default", ErrBadRequest, where, d.name)
		}
	}
	return nil
}

// withDefaults checks the configuration and returns a copy that is filled in.
func (c *Config) withDefaults() (Config, error) {
	var f Config
	if c != nil {
		f = *c
	}
	if err := f.Timing.check("Timing"); err != nil {
		return f, err
	}
	for id, t := range f.ParticipantTiming {
		if err := checkParticipantID(id); err != nil {
			return f, fmt.Errorf("ParticipantTiming: %w", err)
		}
		if err := t.check("ParticipantTiming[" + id + "]"); err != nil {
			return f, err
		}
	}
	if f.TxLifetime < 0 || f.TxLifetime > maxLifetime {
		return f, fmt.Errorf("%w: TxLifetime is %v; it must be at most %v", ErrBadRequest, f.TxLifetime, maxLifetime)
	}
	if f.SweepInterval < 0 || f.MaxTransactions < 0 || f.OutcomeLimit < 0 || f.OutcomeRetention < 0 || f.KeepEnded < 0 {
		return f, fmt.Errorf("%w: SweepInterval, MaxTransactions, OutcomeLimit, OutcomeRetention and KeepEnded must not be negative", ErrBadRequest)
	}
	f.Timing = f.Timing.or(defaultTiming)
	set(&f.CompletionWait, time.Second)
	set(&f.TxLifetime, time.Minute)
	set(&f.SweepInterval, time.Minute)
	set(&f.MaxTransactions, 100_000)
	set(&f.OutcomeLimit, 1_000_000)
	set(&f.OutcomeRetention, time.Hour)
	set(&f.Logger, slog.Default())
	if f.Trace == nil {
		f.Trace = &Trace{}
	}
	return f, nil
}

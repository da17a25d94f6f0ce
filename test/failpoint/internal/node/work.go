package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// The flags of a transaction say how it is run, and what goes wrong. They are part of
// its id, so that the participants of every process know.
const (
	Whole   = "whole"  // one call of Execute
	Lost    = "lost"   // the first vote of a is lost
	Away    = "away"   // b is gone for a while when it is to commit
	Stuck   = "stuck"  // no acknowledgement of b ever comes; an operator says how it ended
	Mute    = "mute"   // c never votes
	Hung    = "hung"   // c votes long after its time, and somebody else declines
	Slow    = "slow"   // c takes longer than the caller stays
	Run     = "run"    // grown by a function
	Steps   = "steps"  // grown step by step
	Expired = "expire" // and never ended
	Planted = "planted"
)

// plan is what one life does, over and over again.
var plan = []struct{ flag, shape string }{
	{Whole, "www-"},
	{Mute, "----w"},
	{Whole, "wwww"},
	{Lost, "ww-w"},
	{Run, "----w"},
	{Stuck, "-ww-"},
	{Run, "w-w-"},
	{Lost, "----w"},
	{Whole, "nww-"},
	{Expired, "w--w"},
	{Odd, "----w"},
	{Away, "ww--"},
	{Steps, "-www"},
	{Doubt, "----w"},
	{Whole, "wwr-w"},
	{Whole, "----n"},
	{Slow, "w-w-"},
	{Whole, "rr--"},
	{Slow, "----w"},
	{Mute, "--w-"},
	{Whole, "w--w"},
	{Fails, "----w"},
	{Lost, "w---"},
	{Hung, "n-w-"},
	{Unsaid, "----w"},
	{Expired, "----w"},
	{Whole, "---w"},
	{Steps, "wn--"},
	{Whole, "----r"},
	{Run, "wwwww"},
	{Whole, "wwwr"},
	{Hung, "----w"},
	{Broke, "----w"},
	{Steps, "----w"},
}

// FlagOf returns the flag of an id, which stands before its shape.
func FlagOf(id dtc.TxID) string {
	parts := strings.Split(string(id), ".")
	if len(parts) != 4 {
		return ""
	}
	return parts[2]
}

// NewID returns the id of a transaction. It is long, so that segments are soon full.
func NewID(life, number int, flag, shape string) dtc.TxID {
	return dtc.TxID(fmt.Sprintf("%0100d.%d.%s.%s", life, number, flag, shape))
}

// life returns the life in which an id was made.
func life(id dtc.TxID) (number int) {
	_, _ = fmt.Sscanf(string(id), "%d.", &number)
	return number
}

// Repeatable reports whether an id may be run again with the same call.
func Repeatable(id dtc.TxID) bool {
	switch FlagOf(id) {
	case Whole, Lost:
		return true
	case Steps, Expired:
		return false
	}
	return OnePhase(id)
}

func branches(id dtc.TxID) (all []dtc.Branch) {
	for i, kind := range oracle.ShapeOf(id) {
		if kind != oracle.Absent {
			all = append(all, dtc.Branch{Participant: Services[i], Payload: oracle.Payload(kind)})
		}
	}
	return all
}

const callers = 4

// work runs what is to be repeated, and then new transactions, by a few callers.
func (n *node) work() {
	for _, id := range n.orders.Repeat {
		n.run(id)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n.orders.Work {
					return
				}
				if i == n.orders.Work/2 {
					if err := n.Hold(context.Background(), "an exercise"); err != nil {
						say("alarm hold: %v", err)
					}
				}
				p := plan[(i-1)%len(plan)]
				n.run(NewID(n.orders.Life, i, p.flag, p.shape))
			}
		})
	}
	wg.Wait()
}

// run runs one transaction and says what it was told.
func (n *node) run(id dtc.TxID) {
	ctx := context.Background()
	say("start %s", id)
	var committed bool
	var err error
	switch FlagOf(id) {
	case Run, Fails:
		err = n.grow(ctx, id)
		committed = err == nil
	case Steps, Expired:
		committed, err = n.steps(ctx, id)
	default:
		committed, err = n.execute(ctx, id)
	}
	switch {
	case committed && err == nil:
		say("told %s %s", id, oracle.Committed)
	case errors.Is(err, dtc.ErrRolledBack):
		say("told %s %s", id, oracle.RolledBack)
	case errors.Is(err, context.DeadlineExceeded) && hurries(id), // before it had begun
		errors.Is(err, dtc.ErrInDoubt) && OnePhase(id),              // its participant took too long to say what became of it
		errors.Is(err, dtc.ErrInDoubt) && life(id) != n.orders.Life: // a hold covers it
		say("told %s nothing", id)
	default:
		say("told %s error %v", id, err)
	}
}

// hurries reports whether the caller of a transaction goes before it is over.
func hurries(id dtc.TxID) bool {
	return FlagOf(id) == Slow || FlagOf(id) == Hung && OnePhase(id)
}

func (n *node) execute(ctx context.Context, id dtc.TxID) (bool, error) {
	opts := &dtc.TxOptions{}
	if hurries(id) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
	}
	switch flag := FlagOf(id); {
	case flag == Mute:
		opts.PrepareTimeout = 30 * time.Millisecond
	case flag == Hung && !OnePhase(id), flag == Stuck, flag == Away, flag == Doubt:
		opts.CompletionWait = -1
	}
	return n.ExecuteWith(ctx, id, opts, branches(id)...)
}

// grow grows a transaction by a function.
func (n *node) grow(ctx context.Context, id dtc.TxID) error {
	return n.Run(ctx, id, func(_ context.Context, tx *dtc.Tx) error {
		for _, b := range branches(id) {
			if err := tx.Enlist(b.Participant, b.Payload); err != nil {
				return err
			}
		}
		if FlagOf(id) == Fails {
			return errors.New("it does not like what it has done")
		}
		return nil
	})
}

// steps grows a transaction and commits it, or lets its time pass.
func (n *node) steps(ctx context.Context, id dtc.TxID) (bool, error) {
	opts := &dtc.TxOptions{}
	if FlagOf(id) == Expired {
		opts.Lifetime = 20 * time.Millisecond
	}
	info, _, err := n.Begin(id, opts)
	if err != nil {
		return false, err
	}
	for _, b := range branches(id) {
		b.XID = info.XID
		if _, _, err := n.Enlist(id, b); err != nil {
			if FlagOf(id) == Expired && errors.Is(err, dtc.ErrTxConflict) {
				break // on a slow machine
			}
			return false, err
		}
	}
	if FlagOf(id) == Steps {
		info, err = n.Commit(ctx, id, &dtc.TxOptions{XID: info.XID})
		return info.Outcome == dtc.Committed, orRolledBack(info, err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		switch info, err = n.Transaction(id); {
		case errors.Is(err, dtc.ErrUnknownTx): // forgotten already
			return false, dtc.ErrRolledBack
		case err != nil || info.Outcome != dtc.OutcomeUnknown:
			return info.Outcome == dtc.Committed, orRolledBack(info, err)
		}
	}
	return false, errors.New("its lifetime does not end")
}

func orRolledBack(info dtc.TxInfo, err error) error {
	if err == nil && info.Outcome == dtc.RolledBack {
		return dtc.ErrRolledBack
	}
	return err
}

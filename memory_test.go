package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestUsedAgainUnderEverybodysHands runs transactions whose memory is used again
// while others join, list, ask, resolve and retry whatever they find. What
// anybody sees of a transaction must belong to it. The race detector sees the
// rest.
func TestUsedAgainUnderEverybodysHands(t *testing.T) {
	const workers, each = 8, 1500
	var owner sync.Map // XID → TxID
	vote := func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		if id, _ := owner.LoadOrStore(b.XID, b.TxID); id != b.TxID {
			t.Errorf("%s is prepared for %s and for %s", b.XID, id, b.TxID)
		}
		switch {
		case !strings.HasPrefix(string(b.TxID), "abort") || b.Participant == "a":
			return dtc.VoteCommit, nil
		default:
			return dtc.VoteAbort, errors.New("no " + string(b.TxID))
		}
	}
	var flaky atomic.Int64
	finish := func(_ context.Context, b dtc.Branch) error {
		if id, _ := owner.Load(b.XID); id != b.TxID {
			t.Errorf("%s is finished for %s, and was prepared for %s", b.XID, b.TxID, id)
		}
		if flaky.Add(1)%97 == 0 {
			return errors.New("again, please")
		}
		return nil
	}
	var list []dtc.Participant
	for _, id := range []string{"a", "b"} {
		list = append(list, dtc.ParticipantFuncs{
			ParticipantID: id, NeverBlocks: true, PrepareFunc: vote, CommitFunc: finish, RollbackFunc: finish,
			InDoubtFunc: listsNothing,
		})
	}
	c := open(t, vfs.NewMem(), &dtc.Config{Participants: list})
	both := []dtc.Branch{{Participant: "a"}, {Participant: "b"}}
	execute := func(id dtc.TxID) {
		ok, err := c.Execute(t.Context(), id, both...)
		var rolledBack *dtc.RollbackError
		switch {
		case strings.HasPrefix(string(id), "commit"):
			if !ok {
				t.Errorf("%s: %v", id, err)
			}
		case !errors.As(err, &rolledBack):
			t.Errorf("%s: %v, %v", id, ok, err)
		case rolledBack.TxID != id || rolledBack.Err != nil && rolledBack.Err.Error() != "no "+string(id):
			t.Errorf("%s: %+v", id, rolledBack)
		}
	}
	outcomeOf := func(id dtc.TxID) dtc.Outcome {
		if strings.HasPrefix(string(id), "abort") {
			return dtc.RolledBack
		}
		return dtc.Committed
	}
	var latest [workers]atomic.Pointer[dtc.TxID]
	var work, others sync.WaitGroup
	var done atomic.Bool
	for w := range workers {
		work.Go(func() {
			for i := range each {
				id := dtc.TxID(fmt.Sprint([]string{"commit-", "abort-"}[(i/3+w)%2], w, ".", i))
				latest[w].Store(&id)
				execute(id)
			}
		})
	}
	look := func(f func(dtc.TxID)) {
		others.Go(func() {
			for w := 0; !done.Load(); w = (w + 1) % workers {
				if id := latest[w].Load(); id != nil {
					f(*id)
				}
			}
		})
	}
	look(execute)
	look(execute)
	look(func(id dtc.TxID) {
		if o, err := c.Outcome(t.Context(), id); err == nil && o != dtc.OutcomeUnknown && o != outcomeOf(id) {
			t.Errorf("%s is %s", id, o)
		}
	})
	look(func(dtc.TxID) {
		for info := range c.Transactions(dtc.Filter{}) {
			if id, ok := owner.Load(info.XID); ok && id != info.TxID || len(info.Branches) != 2 ||
				info.Outcome != dtc.OutcomeUnknown && info.Outcome != outcomeOf(info.TxID) {
				t.Errorf("%v is listed as %+v", id, info)
			}
		}
	})
	look(func(id dtc.TxID) { _ = c.Resolve(t.Context(), id, "a", outcomeOf(id), "the operator says so") })
	look(func(id dtc.TxID) { _ = c.Retry(t.Context(), id) })
	work.Wait()
	done.Store(true)
	others.Wait()
	closed(t, c)
}

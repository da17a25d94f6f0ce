package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestTransact: the description is that of the moment at which Execute would return,
// for everybody who asks, also when it is only remembered.
func TestTransact(t *testing.T) {
	for _, keep := range []int{0, 10} {
		for _, inline := range []bool{false, true} {
			t.Run(fmt.Sprintf("Keep%d/Inline%v", keep, inline), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					list := services("a", "b")
					for _, p := range list {
						p.NeverBlocks = inline
					}
					list[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
						if b.TxID == "no" {
							return dtc.VoteAbort, errors.New("out of stock")
						}
						return dtc.VoteCommit, nil
					}
					c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), KeepEnded: keep})
					yes, err := c.Transact(t.Context(), "yes", nil, branches("a", "b")...)
					if err != nil || yes.Outcome != dtc.Committed || yes.State != "committed" || len(yes.Branches) != 2 ||
						yes.Started.IsZero() || yes.Decided.IsZero() || yes.Ended.IsZero() || yes.Reason.Code != 0 {
						t.Errorf("%+v, %v", yes, err)
					}
					for _, b := range yes.Branches {
						if b.State != "committed" || !b.Voted || b.Vote != dtc.VoteCommit || b.Attempts != 1 || !b.Registered {
							t.Errorf("%+v", b)
						}
					}
					no, err := c.Transact(t.Context(), "no", nil, branches("a", "b")...)
					if err != nil || no.Outcome != dtc.RolledBack || no.State != "rolled_back" ||
						no.Reason != (dtc.Reason{Code: dtc.ReasonVoteAbort, Participant: "b", Message: "out of stock"}) {
						t.Errorf("%+v, %v", no, err)
					}
					for _, first := range []dtc.TxInfo{yes, no} {
						again, err := c.Transact(t.Context(), first.TxID, nil, branches("a", "b")...)
						if err != nil || again.XID != first.XID || again.Outcome != first.Outcome || again.State != first.State || again.Ended.IsZero() {
							t.Errorf("again: %+v, %v", again, err)
						}
						if full := keep > 0 && !inline; full != (len(again.Branches) == 2) {
							t.Errorf("kept: %+v", again)
						}
						one, err := c.Transaction(first.TxID)
						if err != nil || !one.Ended.Equal(again.Ended) || one.Reason.Code != first.Reason.Code || one.XID != first.XID {
							t.Errorf("looked up: %+v, %v", one, err)
						}
					}
					if _, err := c.Transact(t.Context(), "yes", nil, branches("a")...); !errors.Is(err, dtc.ErrTxConflict) {
						t.Errorf("other branches: %v", err)
					}
					if _, err := c.Transaction("never"); !errors.Is(err, dtc.ErrUnknownTx) {
						t.Errorf("never: %v", err)
					}
					if _, err := c.Transaction("not good"); !errors.Is(err, dtc.ErrBadRequest) {
						t.Errorf("not good: %v", err)
					}
					closed(t, c)
				})
			})
		}
	}
}

// TestTransactionsByPage: pages put together are the whole list, in its order, also
// while transactions come and go.
func TestTransactionsByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		list[1].OnCommit = func(_ context.Context, b dtc.Branch) error {
			if b.TxID < "t050" {
				return errors.New("not yet")
			}
			return nil
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), CompletionWait: -1, KeepEnded: 20})
		var want []dtc.TxID
		for i := range 100 {
			id := dtc.TxID(fmt.Sprintf("t%03d", i))
			if ok, err := c.Execute(t.Context(), id, branches("a", "b")...); !ok {
				t.Fatal(err)
			}
			want = append(want, id)
			synctest.Wait() // so that they end in the order in which they began
		}
		slices.Reverse(want)
		pages := func(f dtc.Filter) (got []dtc.TxID) {
			for {
				n := 0
				for info := range c.Transactions(f) {
					got = append(got, info.TxID)
					if f.Before = info.XID; n == 6 {
						break
					}
					n++
				}
				if n < 6 {
					return got
				}
			}
		}
		if got := pages(dtc.Filter{}); !slices.Equal(got, want[50:]) {
			t.Errorf("unfinished: %v", got)
		}
		if got := pages(dtc.Filter{State: "committing", Participant: "b"}); !slices.Equal(got, want[50:]) {
			t.Errorf("waiting for b: %v", got)
		}
		if got := pages(dtc.Filter{Participant: "a"}); len(got) != 0 {
			t.Errorf("waiting for a: %v", got)
		}
		if got := pages(dtc.Filter{State: "committed"}); !slices.Equal(got, want[:20]) {
			t.Errorf("kept: %v", got)
		}
		if got := pages(dtc.Filter{State: "committed", Participant: "a"}); !slices.Equal(got, want[:20]) {
			t.Errorf("kept, with a: %v", got)
		}
		if got := pages(dtc.Filter{State: "rolled_back"}); len(got) != 0 {
			t.Errorf("rolled back: %v", got)
		}
		if info, err := c.Transaction("t060"); err != nil || len(info.Branches) != 0 || info.Outcome != dtc.Committed {
			t.Errorf("no longer kept: %+v, %v", info, err)
		}
		closed(t, c)
	})
}

// TestHeuristicIsShown: a transaction that somebody finished against its decision is
// heuristic from then on, while it waits for an operator and after its end.
func TestHeuristicIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		list[1].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("never") }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), KeepEnded: 10})
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		if err := c.Resolve(t.Context(), "t", "b", dtc.RolledBack, "it is gone"); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		info, err := c.Transaction("t")
		if err != nil || info.State != "heuristic" || info.Outcome != dtc.Heuristic || info.Ended.IsZero() || info.Branches[1].State != "heuristic_rolled_back" {
			t.Errorf("%+v, %v", info, err)
		}
		n := 0
		for range c.Transactions(dtc.Filter{State: "heuristic"}) {
			n++
		}
		if again, err := c.Transact(t.Context(), "t", nil, branches("a", "b")...); n != 1 || err != nil || again.Outcome != dtc.Heuristic {
			t.Errorf("%d, %+v, %v", n, again, err)
		}
		closed(t, c)
	})
}

// TestEndedIsForgotten: what is kept is not told longer than its outcome is remembered.
func TestEndedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(services("a")), KeepEnded: 10, OutcomeRetention: time.Minute})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if info, err := c.Transaction("t"); !errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("%+v, %v", info, err)
		}
		closed(t, c)
	})
}

// TestEndedIsRemembered: an outcome is told for as long as it was promised.
func TestEndedIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(services("a")), OutcomeRetention: time.Minute})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Committed {
			t.Errorf("it is forgotten after 59 s of 60: %v, %v", o, err)
		}
		closed(t, c)
	})
}

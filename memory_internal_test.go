package dtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// blank is a log that keeps nothing.
type blank struct{}

func (blank) ID() protocol.LogID                   { return protocol.LogID{1} }
func (blank) Replay(func(txlog.Entry) error) error { return nil }
func (blank) Append(txlog.Record) error            { return nil }
func (blank) Force(txlog.Record) error             { return nil }
func (blank) Close() error                         { return nil }

func inlineNoop(id string, commit func(Branch)) ParticipantFuncs {
	return ParticipantFuncs{
		ParticipantID: id, NeverBlocks: true,
		PrepareFunc: func(context.Context, Branch) (Vote, error) { return VoteCommit, nil },
		CommitFunc:  func(_ context.Context, b Branch) error { commit(b); return nil },
		InDoubtFunc: func(context.Context, LogID) ([]InDoubtBranch, error) { return nil, nil },
	}
}

// TestMemoryOfAKnownTransactionIsNotUsedAgain: whoever takes a transaction out of
// the live table, or is told of one, may hold it for as long as it likes.
func TestMemoryOfAKnownTransactionIsNotUsedAgain(t *testing.T) {
	ctx := context.Background()
	both := []Branch{{Participant: "a"}, {Participant: "b"}}
	for _, test := range []struct {
		name string
		look func(c *Coordinator, x XID)
		fail bool // the first commit
		free bool
	}{
		{name: "nobody", look: func(*Coordinator, XID) {}, free: true},
		{name: "stats", look: func(c *Coordinator, _ XID) { c.Stats() }, free: true},
		{name: "join", look: func(c *Coordinator, _ XID) {
			if ok, err := c.Execute(ctx, "t", both...); !ok {
				t.Error(err)
			}
		}},
		{name: "conflict", look: func(c *Coordinator, _ XID) {
			if _, err := c.Execute(ctx, "t", both[:1]...); !errors.Is(err, ErrTxConflict) {
				t.Error(err)
			}
		}},
		{name: "join without participants", look: func(c *Coordinator, _ XID) {
			_, _ = c.Execute(ctx, "t", Branch{Participant: "gone"})
		}},
		{name: "ask", look: func(c *Coordinator, _ XID) { _, _ = c.Outcome(ctx, "t") }},
		{name: "list", look: func(c *Coordinator, _ XID) {
			for range c.Transactions(Filter{}) {
				break
			}
		}},
		{name: "resolve", look: func(c *Coordinator, _ XID) { _ = c.Resolve(ctx, "t", "z", Committed, "because") }},
		{name: "resolve by xid", look: func(c *Coordinator, x XID) {
			_ = c.Resolve(ctx, TxID(x.String()), "z", Committed, "because")
		}},
		{name: "retry", look: func(c *Coordinator, _ XID) { _ = c.Retry(ctx, "t") }},
		{name: "sweep", look: func(c *Coordinator, x XID) {
			c.unowned(c.lane("a"), []InDoubtBranch{{XID: x}}, c.look)
		}},
		{name: "close", look: func(c *Coordinator, _ XID) {
			go func() { _ = c.Close() }()
			for !c.isClosing() {
				time.Sleep(time.Millisecond)
			}
		}},
		{name: "a branch waits for its retry", look: func(*Coordinator, XID) {}, fail: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c *Coordinator
			var seen *txn
			calls := 0
			a := inlineNoop("a", func(b Branch) {
				// The owner works here: nothing else has happened to the table.
				c.mu.Lock()
				seen, _ = c.live.fresh.first()
				c.mu.Unlock()
				test.look(c, b.XID)
			})
			b := inlineNoop("b", func(Branch) {})
			b.CommitFunc = func(context.Context, Branch) error {
				if calls++; test.fail && calls == 1 {
					return NoAnswer(errors.New("the first call fails"))
				}
				return nil
			}
			c, err := OpenLog(blank{}, &Config{Participants: []Participant{a, b}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := c.Execute(ctx, "t", both...); !ok {
				t.Fatal(err)
			}
			if freed := seen.c == nil; freed != test.free {
				t.Errorf("the memory may be used again: %v", freed)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLiveTableIsThatOfAMap compares it with a map over random histories in which
// many ids have the same hash.
func TestLiveTableIsThatOfAMap(t *testing.T) {
	table, want, rng := newLiveTable(), map[TxID]*txn{}, rand.New(rand.NewSource(1))
	for step := range 60_000 {
		n := rng.Intn(1_000)
		id, hash := TxID(fmt.Sprint("t", n)), uint32(n%230)*5
		old := want[id]
		if table.find(id, hash) != old {
			t.Fatalf("step %d: %s is not found", step, id)
		}
		if old != nil {
			if !table.remove(old) {
				t.Fatalf("step %d: %s stands for another transaction", step, id)
			}
			delete(want, id)
		} else {
			want[id] = &txn{id: id, hash: hash, xid: XID{Seq: uint64(step)}, fresh: rng.Intn(2) == 0}
			table.add(want[id])
		}
		if old := want[TxID(fmt.Sprint("t", rng.Intn(1_000)))]; old != nil && old.fresh && rng.Intn(4) == 0 {
			table.settle(old)
		}
		if step%1000 == 0 {
			all := slices.Collect(table.all())
			for i, x := range all {
				if want[x.id] != x || i > 0 && all[i-1].xid.Seq >= x.xid.Seq {
					t.Fatalf("step %d: %s is listed, or listed in the wrong place", step, x.id)
				}
			}
			if len(all) != len(want) {
				t.Fatalf("step %d: %d are listed, want %d", step, len(all), len(want))
			}
		}
		if table.len() != len(want) || table.n != len(want) {
			t.Fatalf("step %d: %d by XID, %d by id, want %d", step, table.len(), table.n, len(want))
		}
	}
}

// TestSizeOfATransaction: 448 bytes are a size of the allocator's, the next is 480. A
// million transactions may wait for a participant that is dead.
func TestSizeOfATransaction(t *testing.T) {
	if n := reflect.TypeFor[txn]().Size(); n > 448 {
		t.Errorf("a transaction takes %d bytes", n)
	}
}

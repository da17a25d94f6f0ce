package dtchttp

// Handler and caller together, under the conformance suite and a coordinator.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// partNode is a participant whose server can be killed and started again at the
// same address.
type partNode struct {
	*dtctest.Memory
	t     testing.TB
	addr  string
	s     *httptest.Server
	dials atomic.Int32
}

func partStart(t testing.TB, id string) *partNode {
	n := &partNode{Memory: dtctest.NewMemory(id), t: t, addr: "127.0.0.1:0"}
	n.start()
	t.Cleanup(func() { n.s.Close() })
	return n
}

func (n *partNode) start() {
	n.t.Helper()
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = l.Addr().String()
	n.s = httptest.NewUnstartedServer(http.StripPrefix("/p", NewParticipantHandler(n.Memory, &HandlerOptions{Logger: partQuiet})))
	_ = n.s.Listener.Close()
	n.s.Listener = l
	n.s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.dials.Add(1)
		}
	}
	n.s.Start()
}

func (n *partNode) kill() {
	n.Crash()
	n.s.CloseClientConnections()
	n.s.Close()
}

func (n *partNode) caller(opts *ParticipantOptions) *Participant {
	n.t.Helper()
	return callParticipant(n.t, n.ID(), "http://"+n.addr+"/p", opts)
}

// TestConformsOverHTTP: a participant that keeps every promise keeps them over
// HTTP too.
func TestConformsOverHTTP(t *testing.T) {
	dtctest.TestParticipant(t, func(t *testing.T) dtctest.Subject {
		n := partStart(t, "stock")
		var mu sync.Mutex
		applied := map[dtc.XID]int{}
		n.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			switch string(b.Payload) {
			case `"abort"`:
				return dtc.VoteAbort, nil
			case `"read-only"`:
				return dtc.VoteReadOnly, nil
			}
			return dtc.VoteCommit, nil
		}
		n.OnCommit = func(_ context.Context, b dtc.Branch) error {
			mu.Lock()
			defer mu.Unlock()
			applied[b.XID]++
			return nil
		}
		p := n.caller(nil)
		if err := p.Probe(t.Context()); err != nil || !p.Listing() {
			t.Fatalf("not listing: %v", err)
		}
		return dtctest.Subject{
			Participant: p, Payload: []byte(`{"n":1}`), PayloadAbort: []byte(`"abort"`), PayloadReadOnly: []byte(`"read-only"`),
			Effect: func(x dtc.XID) (dtctest.Effect, error) {
				mu.Lock()
				defer mu.Unlock()
				return dtctest.Effect{Held: n.State(x) == dtctest.Prepared, Applied: applied[x]}, nil
			},
			Restart: func() (dtc.Participant, error) {
				n.kill()
				n.Restart(true)
				n.start()
				return p, nil
			},
			// Every subject has a participant of its own, and a promise one log.
			Rows:   func(dtc.LogID) (int, error) { return n.Rows(), nil },
			Prune:  func(context.Context) error { return nil },
			Rounds: 5,
		}
	})
}

// TestTransactionsOverHTTP: three participants, a commit, an abort, and one that
// dies between its vote and its commit.
func TestTransactionsOverHTTP(t *testing.T) {
	var nodes []*partNode
	var callers []dtc.Participant
	for _, id := range []string{"inventory", "orders", "payment"} {
		n := partStart(t, id)
		nodes = append(nodes, n)
		p := n.caller(nil)
		if err := p.Probe(t.Context()); err != nil || !p.Listing() {
			t.Fatal(err)
		}
		callers = append(callers, p)
	}
	payment := nodes[2]
	payment.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		if b.TxID == "poor" {
			return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("no money: %s", b.Payload))
		}
		return dtc.VoteCommit, nil
	}
	decided := make(chan dtc.XID, 1)
	c := partOpen(t, dtc.Config{
		Participants: callers,
		Timing: dtc.Timing{
			PrepareTimeout: time.Minute, PrepareAttempt: time.Minute,
			Backoff: time.Millisecond, FinishBackoffCap: 5 * time.Millisecond,
		},
		Trace: &dtc.Trace{Decided: func(tx dtc.TraceTx, _ dtc.Outcome, _ dtc.Reason) {
			if tx.TxID == "killed" {
				decided <- tx.XID
				payment.kill() // before its commit is sent
			}
		}},
	})
	execute := func(id dtc.TxID) (bool, error) {
		var all []dtc.Branch
		for _, n := range nodes {
			all = append(all, dtc.Branch{Participant: n.ID(), Payload: []byte(`{"for":"` + n.ID() + `"}`)})
		}
		return c.ExecuteWith(t.Context(), id, &dtc.TxOptions{CompletionWait: time.Minute}, all...)
	}

	if ok, err := execute("rich"); !ok || err != nil {
		t.Fatalf("commit: %v, %v", ok, err)
	}
	ok, err := execute("poor")
	var rolled *dtc.RollbackError
	if ok || !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonVoteAbort || rolled.Reason.Participant != "payment" ||
		rolled.Reason.Message != `no money: {"for":"payment"}` {
		t.Fatalf("abort: %v, %v", ok, err)
	}

	done := make(chan error, 1)
	go func() {
		ok, err := execute("killed")
		if !ok && err == nil {
			err = errors.New("not committed")
		}
		done <- err
	}()
	x := <-decided
	for payment.State(x) != dtctest.Prepared || nodes[0].State(x) != dtctest.Committed {
		time.Sleep(time.Millisecond)
	}
	payment.Restart(true)
	payment.start()
	if err := <-done; err != nil {
		t.Fatalf("with a participant killed and back: %v", err)
	}
	for _, n := range nodes {
		counts := n.Counts()
		if !n.Committed(x) || counts.Committed != 2 || len(n.Prepared()) != 0 {
			t.Errorf("%s: %+v, %d in doubt; want two commits and nothing in doubt", n.ID(), counts, len(n.Prepared()))
		}
	}
}

// TestSweepOverHTTP: nobody asks whether the service lists, and yet a branch that
// no log knows is found through its listing, and rolled back by its XID alone.
func TestSweepOverHTTP(t *testing.T) {
	n := partStart(t, "stock")
	disk := vfs.NewMem()
	var last atomic.Pointer[dtc.XID]
	cfg := dtc.Config{
		SweepInterval: 5 * time.Millisecond,
		Trace:         &dtc.Trace{Begun: func(tx dtc.TraceTx) { last.Store(&tx.XID) }},
	}
	cfg.Participants = []dtc.Participant{n.caller(nil)}
	c := partOpenOn(t, disk, cfg)
	if ok, err := c.Execute(t.Context(), "t", dtc.Branch{Participant: "stock"}); !ok || err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	orphan := *last.Load()
	orphan.Seq++
	if vote, err := n.Prepare(t.Context(), dtc.Branch{Participant: "stock", TxID: "lost", XID: orphan}); vote != dtc.VoteCommit {
		t.Fatal(err)
	}
	cfg.Participants = []dtc.Participant{n.caller(nil)}
	partOpenOn(t, disk, cfg)
	for deadline := time.Now().Add(20 * time.Second); n.State(orphan) != dtctest.RolledBack; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the orphan is still %q", n.State(orphan))
		}
	}
}

// TestConnectionsAreReused: as many are dialled as calls are out at a time, and no
// more, whatever was answered.
func TestConnectionsAreReused(t *testing.T) {
	const callers, each = 16, 6
	n := partStart(t, "stock")
	p := n.caller(&ParticipantOptions{MaxIdleConns: callers})
	var seq atomic.Uint64
	for range 3 {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					b := dtc.Branch{Participant: "stock", TxID: "t", XID: callSeq(seq.Add(1)), Attempt: 1}
					if vote, err := p.Prepare(t.Context(), b); err != nil || vote != dtc.VoteCommit {
						t.Errorf("prepare: %v, %v", vote, err)
					}
					if err := p.Commit(t.Context(), b); err != nil {
						t.Error(err)
					}
					if err := p.Rollback(t.Context(), b); err == nil { // 409
						t.Error("rolled back what was committed")
					}
					b.XID = callSeq(seq.Add(1) + 1<<32)
					if err := p.Commit(t.Context(), b); err == nil { // 404
						t.Error("committed what was never prepared")
					}
				}
			})
		}
		wg.Wait()
	}
	if d := n.dials.Load(); d > 2*callers {
		t.Errorf("%d connections for %d callers", d, callers)
	}
}

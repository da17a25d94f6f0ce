package dtchttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

func newClient(t testing.TB, url string, opts *dtchttp.ClientOptions) *dtchttp.Client {
	t.Helper()
	c, err := dtchttp.NewClient(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func branch(participant, payload string) dtc.Branch {
	return dtc.Branch{Participant: participant, Payload: []byte(payload)}
}

// refusing makes a participant vote abort about transactions whose id begins with "no".
func refusing(a *api) {
	a.members[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		if strings.HasPrefix(string(b.TxID), "no") {
			return dtc.VoteAbort, errors.New("no money")
		}
		return dtc.VoteCommit, nil
	}
}

// TestClientExecute: what the library returns in one process comes back over HTTP.
func TestClientExecute(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
	refusing(a)
	var payload atomic.Value
	a.members[0].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		payload.Store(string(b.Payload))
		return dtc.VoteCommit, nil
	}
	c := newClient(t, a.URL, nil)
	ctx := t.Context()
	for range 2 { // the second time it is remembered
		if ok, err := c.Execute(ctx, "yes", branch("inventory", `{"sku":"<a>&\u2028"}`), branch("payment", "")); !ok || err != nil {
			t.Fatalf("%v, %v; want it committed", ok, err)
		}
		if got := payload.Load(); got != `{"sku":"<a>&\u2028"}` {
			t.Errorf("the payload came as %s", got)
		}
		ok, err := c.Execute(ctx, "no", branch("payment", `1`), branch("orders", `2`))
		var rolled *dtc.RollbackError
		want := dtc.Reason{Code: dtc.ReasonVoteAbort, Participant: "payment", Message: "no money"}
		if ok || !errors.Is(err, dtc.ErrRolledBack) || !errors.As(err, &rolled) || rolled.Reason != want || rolled.TxID != "no" {
			t.Errorf("%v, %v; want it rolled back by payment", ok, err)
		}
	}
	for _, tt := range []struct {
		id       dtc.TxID
		want     error
		branches []dtc.Branch
	}{
		{"yes", dtc.ErrTxConflict, []dtc.Branch{branch("orders", "")}},
		{"a b", dtc.ErrBadRequest, []dtc.Branch{branch("orders", "")}},
		{"x", dtc.ErrBadRequest, nil},
		{"x", dtc.ErrBadRequest, []dtc.Branch{branch("nobody", "")}},
		{"x", dtc.ErrBadRequest, []dtc.Branch{branch("a b", "")}},
		{"x", dtc.ErrBadRequest, []dtc.Branch{branch("orders", "plain text")}},
		{"x", dtc.ErrBadRequest, []dtc.Branch{branch("orders", ""), branch("orders", "")}},
		{"x", dtc.ErrBadRequest, []dtc.Branch{branch("orders", `"`+strings.Repeat("x", dtc.MaxPayload)+`"`)}},
	} {
		if ok, err := c.Execute(ctx, tt.id, tt.branches...); ok || !errors.Is(err, tt.want) {
			t.Errorf("%s %v: %v, %v; want %v", tt.id, tt.branches, ok, err, tt.want)
		}
	}
	_, err := c.Execute(ctx, "x", branch("orders", ""), branch("nobody", ""))
	var p *dtchttp.Problem
	if !errors.As(err, &p) || p.Status != 400 || p.Code != "bad_request" || p.Participant != "nobody" || p.Field != "branches[1].participant" {
		t.Errorf("%v is not the problem that the server told", err)
	}
	var many []dtc.Branch
	for i := range 5 {
		many = append(many, branch(fmt.Sprint(i), `"`+strings.Repeat("x", 250<<10)+`"`))
	}
	if _, err := c.Execute(ctx, "x", many...); !errors.Is(err, dtc.ErrBadRequest) {
		t.Errorf("a request that is too long: %v", err)
	}
	doc, err := c.Transact(ctx, "", nil, branch("orders", ""))
	if err != nil || len(doc.ID) < 20 || doc.State != "committed" || doc.Branches[0].State != "committed" {
		t.Errorf("without an id: %+v, %v", doc, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Execute(ended, "late", branch("orders", "")); !errors.Is(err, context.Canceled) || errors.Is(err, dtc.ErrInDoubt) {
		t.Errorf("with a context that had ended: %v", err)
	}
}

// TestClientSteps: a transaction that is grown by requests of its own.
func TestClientSteps(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
	c := newClient(t, a.URL, nil)
	ctx := t.Context()
	for _, id := range []dtc.TxID{"a/b", "..", ".", "ä%2F?#&"} {
		doc, begun, err := c.Begin(ctx, id, &dtc.TxOptions{Lifetime: time.Minute})
		if err != nil || !begun || doc.ID != string(id) || doc.State != "active" {
			t.Fatalf("%q: %+v, %v, %v", id, doc, begun, err)
		}
		if _, begun, err := c.Begin(ctx, id, nil); begun || err != nil {
			t.Errorf("%q again: %v, %v", id, begun, err)
		}
		for i, want := range []bool{true, false} {
			x, added, err := c.Enlist(ctx, id, branch("orders", `[1]`))
			if err != nil || added != want || x.String() != doc.XID {
				t.Errorf("%q enlisted for the %d. time: %v, %v, %v", id, i+1, x, added, err)
			}
		}
		if _, _, err := c.Enlist(ctx, id, branch("orders", `[2]`)); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("%q with another payload: %v", id, err)
		}
		if o, err := c.Outcome(ctx, id); o != dtc.OutcomeUnknown || err != nil {
			t.Errorf("%q: outcome %v, %v before there is one", id, o, err)
		}
		for range 2 {
			doc, err = c.Commit(ctx, id, &dtc.TxOptions{PrepareTimeout: time.Minute, CompletionWait: time.Minute})
			if err != nil || doc.Committed == nil || !*doc.Committed {
				t.Errorf("%q: %+v, %v", id, doc, err)
			}
		}
		if doc, err := c.Rollback(ctx, id, nil); err != nil || doc.Outcome == nil || *doc.Outcome != "committed" {
			t.Errorf("%q rolled back after it was committed: %+v, %v", id, doc, err)
		}
		if o, err := c.Outcome(ctx, id); o != dtc.Committed || err != nil {
			t.Errorf("%q: outcome %v, %v", id, o, err)
		}
	}
	doc, _, err := c.Begin(ctx, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := c.Rollback(ctx, dtc.TxID(doc.ID), nil); err != nil || *doc.Outcome != "rolled_back" || doc.Reason.Code != "cancelled" {
		t.Errorf("%+v, %v", doc, err)
	}
	_, err = c.Commit(ctx, "never", nil)
	var p *dtchttp.Problem
	if !errors.Is(err, dtc.ErrUnknownTx) || errors.Is(err, dtc.ErrInDoubt) || !errors.As(err, &p) || p.RememberedSince != nil {
		t.Errorf("commit of what was never begun: %v", err)
	}
	if _, _, err := c.Enlist(ctx, "never", branch("orders", "")); !errors.Is(err, dtc.ErrUnknownTx) {
		t.Errorf("a branch of what was never begun: %v", err)
	}
}

// TestClientRun: the function's errors, panics and contexts, and its repetitions.
func TestClientRun(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
	refusing(a)
	c := newClient(t, a.URL, nil)
	ctx := t.Context()
	calls := 0
	work := func(ctx context.Context, tx *dtchttp.ClientTx) error {
		calls++
		if tx.XID().IsZero() {
			t.Error("there is no XID")
		}
		return errors.Join(tx.Enlist(ctx, "payment", nil), tx.Enlist(ctx, "orders", []byte(`{"id":7}`)))
	}
	for range 2 {
		if err := c.Run(ctx, "yes", work); err != nil || calls != 1 {
			t.Errorf("%v after %d calls; want it committed after one", err, calls)
		}
	}
	var rolled *dtc.RollbackError
	if err := c.Run(ctx, "no", work); !errors.As(err, &rolled) || rolled.Reason.Participant != "payment" {
		t.Errorf("%v; want it rolled back by payment", err)
	}
	mine := errors.New("mine")
	err := c.Run(ctx, "fails", func(ctx context.Context, tx *dtchttp.ClientTx) error {
		return errors.Join(tx.Enlist(ctx, "orders", nil), mine)
	})
	if !errors.Is(err, mine) || !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("a function that fails: %v", err)
	}
	during, cancel := context.WithCancel(ctx)
	err = c.Run(during, "cancelled", func(context.Context, *dtchttp.ClientTx) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("a context that ends: %v", err)
	}
	func() {
		defer func() {
			if e := recover(); e != "oh" {
				t.Errorf("recovered %v", e)
			}
		}()
		_ = c.Run(ctx, "panics", func(context.Context, *dtchttp.ClientTx) error { panic("oh") })
	}()
	for id, want := range map[dtc.TxID]dtc.Outcome{
		"yes": dtc.Committed, "no": dtc.RolledBack, "fails": dtc.RolledBack, "cancelled": dtc.RolledBack, "panics": dtc.RolledBack,
	} {
		if o, err := c.Outcome(ctx, id); o != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", id, o, err, want)
		}
	}
	if _, err := c.Execute(ctx, "other", branch("orders", "")); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx, "other", work); !errors.Is(err, dtc.ErrTxConflict) {
		t.Errorf("an id that was executed: %v", err)
	}
	if err := c.Run(ctx, "nil", nil); !errors.Is(err, dtc.ErrBadRequest) {
		t.Errorf("no function: %v", err)
	}
	// Another Run of the same id does not commit what the first is still doing.
	second := make(chan error, 1)
	err = c.Run(ctx, "twice", func(ctx context.Context, tx *dtchttp.ClientTx) error {
		go func() {
			second <- c.Run(ctx, "twice", func(context.Context, *dtchttp.ClientTx) error {
				t.Error("the function was called for a transaction that is another's")
				return nil
			})
		}()
		return tx.Enlist(ctx, "orders", nil)
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// TestClientRunJoinsOne: a Run that found its id taken does not commit what another began
// under the same id a moment later.
func TestClientRunJoinsOne(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	b := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{}) // what it is after the restart
	direct := newClient(t, b.URL, nil)
	if ok, err := newClient(t, a.URL, nil).Execute(t.Context(), "tx", branch("orders", "")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := direct.Begin(t.Context(), "tx", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := direct.Enlist(t.Context(), "tx", branch("orders", "")); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/commit") {
			b.h.ServeHTTP(w, r)
			return
		}
		a.h.ServeHTTP(w, r)
	}))
	defer front.Close()
	err := newClient(t, front.URL, nil).Run(t.Context(), "tx", func(context.Context, *dtchttp.ClientTx) error {
		t.Error("the function was called for an id that is taken")
		return nil
	})
	if err == nil || errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("%v; want an error that tells no outcome", err)
	}
	if doc, err := direct.Transaction(t.Context(), "tx"); err != nil || doc.State != "active" {
		t.Errorf("the other one: %+v, %v", doc, err)
	}
}

// TestClientRunAwaitsOne: nor does it take the outcome of a later one for that of the one
// that it waits for.
func TestClientRunAwaitsOne(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	b := newAPI(t, dtc.Config{KeepEnded: 1}, dtchttp.ControlOptions{})
	if _, _, err := newClient(t, a.URL, nil).Begin(t.Context(), "tx", nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := newClient(t, b.URL, nil).Execute(t.Context(), "tx", branch("orders", "")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			b.h.ServeHTTP(w, r)
			return
		}
		a.h.ServeHTTP(w, r)
	}))
	defer front.Close()
	err := newClient(t, front.URL, nil).Run(t.Context(), "tx", func(context.Context, *dtchttp.ClientTx) error { return nil })
	if !errors.Is(err, dtc.ErrInDoubt) {
		t.Errorf("%v; want it in doubt", err)
	}
}

// TestClientRunForgotten: a coordinator that has lost what was begun did not commit it.
func TestClientRunForgotten(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	b := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	var current atomic.Pointer[api]
	current.Store(a)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { current.Load().h.ServeHTTP(w, r) }))
	defer front.Close()
	err := newClient(t, front.URL, nil).Run(t.Context(), "", func(ctx context.Context, tx *dtchttp.ClientTx) error {
		current.Store(b)
		return nil
	})
	var rolled *dtc.RollbackError
	if !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonRecovered {
		t.Errorf("%v; want it rolled back by a restart", err)
	}
}

// TestClientOperates: lists with all their pages, retry and resolve, and what becomes
// heuristic by it.
func TestClientOperates(t *testing.T) {
	quick := dtc.Timing{Backoff: time.Millisecond, FinishBackoffCap: time.Hour}
	a := newAPI(t, dtc.Config{KeepEnded: 100, CompletionWait: -1, Timing: quick}, dtchttp.ControlOptions{
		Describe: func(id string) (string, string) { return "go", "" },
	})
	var broken atomic.Bool
	broken.Store(true)
	a.members[2].OnCommit = func(context.Context, dtc.Branch) error {
		if broken.Load() {
			return errors.New("no disk")
		}
		return nil
	}
	c := newClient(t, a.URL, nil)
	ctx := t.Context()
	var want []string
	for i := range 7 {
		id := dtc.TxID(fmt.Sprintf("tx-%d", i))
		if ok, err := c.Execute(ctx, id, branch("orders", ""), branch("payment", "")); !ok || err != nil {
			t.Fatal(ok, err)
		}
		want = append(want, string(id))
	}
	slices.Reverse(want)
	for _, f := range []dtchttp.TransactionsFilter{{}, {PageSize: 1}, {PageSize: 3, Participant: "orders"}, {PageSize: 7, State: "committing"}} {
		var got []string
		for doc, err := range c.Transactions(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, doc.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", f, got, want)
		}
	}
	for _, err := range c.Transactions(ctx, dtchttp.TransactionsFilter{PageSize: 2}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	for _, err := range c.Transactions(ctx, dtchttp.TransactionsFilter{State: "odd"}) {
		if !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("a state that there is not: %v", err)
		}
	}
	var ids []string
	for p, err := range c.Participants(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, p.ID); p.ID == "orders" && (p.InDoubt != 7 || p.Kind != "go") {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(ids, []string{"inventory", "orders", "payment"}) {
		t.Errorf("participants %v", ids)
	}
	doc, err := c.Transaction(ctx, "tx-0")
	if err != nil || doc.State != "committing" {
		t.Fatalf("%+v, %v", doc, err)
	}
	x, err := dtc.ParseXID(doc.XID)
	if err != nil {
		t.Fatal(err)
	}
	if byXID, err := c.Transaction(ctx, dtc.TxID(doc.XID)); err != nil || byXID.ID != "tx-0" {
		t.Errorf("by its XID: %+v, %v", byXID, err)
	}
	if d, err := c.Decision(ctx, x, "orders"); d != dtc.DecidedCommit || err != nil {
		t.Errorf("the decision is %v, %v", d, err)
	}
	x.Log[0]++
	if _, err := c.Decision(ctx, x, "orders"); !errors.Is(err, dtc.ErrUnknownTx) {
		t.Errorf("the decision of another log: %v", err)
	}
	if err := c.Resolve(ctx, "tx-0", "orders", dtc.RolledBack, "it lost the disk"); err != nil {
		t.Error(err)
	}
	var h *dtc.HeuristicError
	if _, err := c.Execute(ctx, "tx-0", branch("orders", ""), branch("payment", "")); !errors.As(err, &h) || h.Decision != dtc.Committed || !slices.Equal(h.Participants, []string{"orders"}) {
		t.Errorf("%v; want it heuristic at orders", err)
	}
	if o, err := c.Outcome(ctx, "tx-0"); o != dtc.Heuristic || err != nil {
		t.Errorf("%v, %v", o, err)
	}
	for _, err := range []error{
		c.Resolve(ctx, "tx-0", "orders", dtc.RolledBack, "again"), c.Resolve(ctx, "tx-1", "orders", dtc.Heuristic, "why"),
		c.Resolve(ctx, "tx-1", "orders", dtc.Committed, ""),
	} {
		if err == nil || errors.Is(err, dtc.ErrInDoubt) {
			t.Errorf("a statement that cannot be taken: %v", err)
		}
	}
	if err := c.Retry(ctx, "tx-1"); err != nil { // before it may have ended by itself
		t.Error(err)
	}
	broken.Store(false)
	dtchttpUntil(t, func() bool {
		doc, err = c.Transaction(ctx, "tx-1")
		return err == nil && doc.State == "committed"
	})
	if err := c.Retry(ctx, "tx-1"); !errors.Is(err, dtc.ErrUnknownTx) {
		t.Errorf("retry of what has ended: %v", err)
	}
}

func dtchttpUntil(t *testing.T, so func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it did not come to be within a minute")
		}
	}
}

// TestClientReady: why it is not.
func TestClientReady(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	c := newClient(t, a.URL, nil)
	ctx := t.Context()
	if err := c.Ready(ctx); err != nil {
		t.Error(err)
	}
	a.h.Drain()
	if err := c.Ready(ctx); !errors.Is(err, dtc.ErrClosed) || !strings.Contains(err.Error(), "draining") {
		t.Errorf("draining: %v", err)
	}
	if _, err := c.Execute(ctx, "x", branch("orders", "")); !errors.Is(err, dtc.ErrClosed) || errors.Is(err, dtc.ErrInDoubt) {
		t.Errorf("draining: %v", err)
	}
	early := httptest.NewServer(dtchttp.NewControlHandler(nil))
	defer early.Close()
	if err := newClient(t, early.URL, nil).Ready(ctx); !errors.Is(err, dtc.ErrLogFailed) || !errors.Is(err, dtc.ErrClosed) || !strings.Contains(err.Error(), "replaying") {
		t.Errorf("replaying: %v", err)
	}
	early.Close()
	if err := newClient(t, early.URL, nil).Ready(ctx); err == nil || errors.Is(err, dtc.ErrClosed) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestClientRunCommitsNoOther: an id that was taken when it was to be begun, and was begun
// anew by somebody else when it was looked at. That one is still growing.
func TestClientRunCommitsNoOther(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	b := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{}) // what it is after the restart
	direct := newClient(t, b.URL, nil)
	if ok, err := newClient(t, a.URL, nil).Execute(t.Context(), "tx", branch("orders", "")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := direct.Begin(t.Context(), "tx", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := direct.Enlist(t.Context(), "tx", branch("orders", "")); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/begin") {
			a.h.ServeHTTP(w, r)
			return
		}
		b.h.ServeHTTP(w, r)
	}))
	defer front.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := newClient(t, front.URL, nil).Run(ctx, "tx", func(context.Context, *dtchttp.ClientTx) error {
		t.Error("the function was called for an id that is taken")
		return nil
	})
	if !errors.Is(err, dtc.ErrInDoubt) {
		t.Errorf("%v; want it in doubt", err)
	}
	if doc, err := direct.Transaction(t.Context(), "tx"); err != nil || doc.State != "active" {
		t.Errorf("the other one: %+v, %v", doc, err)
	}
}

package dtchttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlDocument: the document has its members and no others, and times are UTC
// with milliseconds. Tests in a bubble begin in the year 2000.
func TestControlDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
		a.members[0].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			time.Sleep(7 * time.Millisecond)
			return dtc.VoteReadOnly, nil
		}
		a.members[1].OnCommit = func(context.Context, dtc.Branch) error {
			time.Sleep(30 * time.Millisecond)
			return nil
		}
		_, h, doc := a.full("POST", "/v1/transactions", `{"id":"t",`+order+`}`)
		members := []string{"id", "xid", "state", "outcome", "committed", "reason", "branches", "started", "decided", "ended", "remembered_since"}
		if got := slices.Sorted(maps.Keys(doc)); !slices.Equal(got, slices.Sorted(slices.Values(members))) {
			t.Errorf("members: %v", got)
		}
		branch := []string{"attempts", "last_error", "next_attempt", "participant", "state", "vote"}
		if got := slices.Sorted(maps.Keys(at(doc, "branches.0").(map[string]any))); !slices.Equal(got, branch) {
			t.Errorf("members of a branch: %v", got)
		}
		for name, want := range map[string]any{
			"started": "2000-01-01T00:00:00.000Z", "decided": "2000-01-01T00:00:00.007Z", "ended": "2000-01-01T00:00:00.037Z",
			"branches.0.vote": "read_only", "branches.0.state": "read_only", "branches.1.vote": "vote_commit", "branches.1.state": "committed",
		} {
			if got := at(doc, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if x, err := dtc.ParseXID(doc["xid"].(string)); err != nil || x.Log != a.c.ID() {
			t.Errorf("xid: %v, %v", x, err)
		}
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v", h)
		}
	})
	elsewhere := time.Date(2024, 2, 3, 4, 5, 6, 789_999_999, time.FixedZone("", 5400))
	if text, err := json.Marshal(dtchttp.Time(elsewhere)); err != nil || string(text) != `"2024-02-03T02:35:06.789Z"` {
		t.Errorf("%s, %v", text, err)
	}
}

// TestControlCompletionWait: phase two cannot be finished; the outcome is told when the
// wait is over, and the branches say what is left.
func TestControlCompletionWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
		speak := mute(a.members[1])
		for wait, want := range map[string]time.Duration{
			``: time.Second, `,"completion_wait":"3s"`: 3 * time.Second, `,"completion_wait":"0s"`: 0,
		} {
			start := time.Now()
			id := fmt.Sprint("t", want)
			a.want("POST", "/v1/transactions", `{"id":"`+id+`",`+order+wait+`}`, 200, map[string]any{
				"state": "committing", "outcome": "committed", "committed": true, "ended": nil,
				"branches.1.state": "committing",
			})
			if took := time.Since(start); took != want {
				t.Errorf("with %q it took %v", wait, took)
			}
		}
		synctest.Wait()
		doc := a.want("GET", "/v1/transactions/t1s", "", 200, map[string]any{
			"state": "committing", "outcome": "committed", "branches.0.state": "committed", "branches.1.state": "committing",
		})
		if e, _ := at(doc, "branches.1.last_error").(string); !strings.Contains(e, "mute") {
			t.Errorf("what is left says %q", e)
		}
		a.want("POST", "/v1/transactions/begin", `{"id":"steps"}`, 201, nil)
		a.want("POST", "/v1/transactions/steps/branches", `{"participant":"payment"}`, 201, nil)
		start := time.Now()
		a.want("POST", "/v1/transactions/steps/commit", `{"completion_wait":"2s"}`, 200, map[string]any{"state": "committing", "committed": true})
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("commit took %v", took)
		}
		speak()
		a.settle()
		a.want("GET", "/v1/transactions/t1s", "", 200, map[string]any{"state": "committed", "branches.1.state": "committed", "branches.1.next_attempt": nil})
	})
}

// TestControlPrepareTimeout: the vote is waited for as long as the request says.
func TestControlPrepareTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
		_, release := held(a.members[0])
		defer release()
		start := time.Now()
		a.want("POST", "/v1/transactions", `{`+order+`,"prepare_timeout":"250ms"}`, 200, map[string]any{
			"committed": false, "outcome": "rolled_back", "reason.code": "prepare_timeout", "reason.participant": "inventory",
		})
		if took := time.Since(start); took != 250*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		a.want("POST", "/v1/transactions/begin", `{"id":"s"}`, 201, nil)
		a.want("POST", "/v1/transactions/s/branches", `{"participant":"inventory"}`, 201, nil)
		start = time.Now()
		a.want("POST", "/v1/transactions/s/commit", `{"prepare_timeout":"400ms"}`, 200, map[string]any{"reason.code": "prepare_timeout"})
		if took := time.Since(start); took != 400*time.Millisecond {
			t.Errorf("commit took %v", took)
		}
	})
}

// TestControlLifetime: one that grows by steps is rolled back when its time is over.
func TestControlLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := newDirect(t, disk, dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
		a.want("POST", "/v1/transactions/begin", `{"id":"short","timeout":"2s"}`, 201, nil)
		a.want("POST", "/v1/transactions/begin", `{"id":"long"}`, 201, nil)
		a.want("POST", "/v1/transactions/short/branches", `{"participant":"orders"}`, 201, nil)
		if n := a.members[2].Counts().Calls; n != 0 {
			t.Errorf("enlisting called the participant %d times", n)
		}
		time.Sleep(2*time.Second - time.Millisecond)
		a.want("GET", "/v1/transactions/short", "", 200, map[string]any{"state": "active", "branches.0.state": "enlisted", "branches.0.vote": nil, "decided": nil, "ended": nil})
		time.Sleep(2 * time.Millisecond)
		a.settleOne("short")
		a.want("POST", "/v1/transactions/short/commit", "", 200, map[string]any{"committed": false, "reason.code": "deadline"})
		a.want("POST", "/v1/transactions/short/branches", `{"participant":"payment"}`, 409, map[string]any{"code": "tx_conflict"})
		a.want("GET", "/v1/transactions/long", "", 200, map[string]any{"state": "active"})
		// A crash leaves nothing of it.
		b := newDirect(t, disk.Kill(), dtc.Config{}, dtchttp.ControlOptions{}, a.members...)
		b.want("POST", "/v1/transactions/long/commit", "", 404, map[string]any{"code": "unknown_transaction"})
		b.want("POST", "/v1/transactions/long/branches", `{"participant":"payment"}`, 404, map[string]any{"code": "unknown_transaction"})
	})
}

// settleOne waits until one transaction is over.
func (a *api) settleOne(id string) {
	a.t.Helper()
	for range 1000 {
		if info, err := a.c.Transaction(dtc.TxID(id)); err == nil && !info.Ended.IsZero() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.t.Fatalf("%s does not end", id)
}

// TestControlOneRun: one id from many clients at once is run once, and all are told the
// same.
func TestControlOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
		_, release := held(a.members[0])
		xids := make(chan any, 20)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				doc := a.want("POST", "/v1/transactions", `{"id":"one",`+order+`}`, 200, map[string]any{"committed": true})
				xids <- doc["xid"]
			})
		}
		synctest.Wait()
		a.want("GET", "/v1/transactions/one", "", 200, map[string]any{"state": "preparing", "outcome": nil, "committed": nil, "branches.0.state": "preparing"})
		a.want("POST", "/v1/transactions", `{"id":"one","branches":[{"participant":"orders"}]}`, 409, map[string]any{"code": "tx_conflict"})
		a.want("POST", "/v1/transactions/begin", `{"id":"one"}`, 409, map[string]any{"code": "tx_conflict"})
		a.want("POST", "/v1/transactions/one/commit", "", 409, map[string]any{"code": "tx_conflict"})
		a.want("POST", "/v1/transactions/one/branches", `{"participant":"orders"}`, 409, map[string]any{"code": "tx_conflict"})
		release()
		wg.Wait()
		first := <-xids
		for range 19 {
			if x := <-xids; x != first {
				t.Errorf("%v and %v", first, x)
			}
		}
		if n := a.c.Stats().Begun; n != 1 {
			t.Errorf("%d were begun", n)
		}
		if n := a.members[0].Counts(); n.Prepared != 1 || n.Committed != 1 || n.Calls != 2 {
			t.Errorf("%+v", n)
		}
	})
}

// TestControlClientGone: a client that goes away changes nothing.
func TestControlClientGone(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
	entered, release := held(a.members[1])
	a.want("POST", "/v1/transactions/begin", `{"id":"steps"}`, 201, nil)
	a.want("POST", "/v1/transactions/steps/branches", `{"participant":"payment"}`, 201, nil)
	for id, call := range map[string][2]string{
		"whole": {"/v1/transactions", `{"id":"whole",` + order + `}`}, "steps": {"/v1/transactions/steps/commit", "{}"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			r, _ := http.NewRequestWithContext(ctx, "POST", a.URL+call[0], strings.NewReader(call[1]))
			r.Header.Set("Content-Type", "application/json")
			resp, err := a.Client().Do(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			gone <- err
		}()
		<-entered
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the client got %v", id, err)
		}
		a.want("GET", "/v1/transactions/"+id, "", 200, map[string]any{"state": "preparing", "outcome": nil})
	}
	release()
	if err := a.h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.want("GET", "/v1/transactions/whole", "", 200, map[string]any{"committed": true, "state": "committed"})
	a.want("POST", "/v1/transactions", `{"id":"whole",`+order+`}`, 200, map[string]any{"committed": true})
	a.want("POST", "/v1/transactions/steps/commit", "", 200, map[string]any{"committed": true})
	if n := a.members[1].Counts(); n.Committed != 2 || n.RolledBack != 0 {
		t.Errorf("%+v", n)
	}
}

// TestControlTrace: the caller's trace goes with the calls of participants, in both
// phases.
func TestControlTrace(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	seen := make(chan string, 10)
	m := a.members[2]
	m.OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
		seen <- dtchttp.Traceparent(ctx)
		return dtc.VoteCommit, nil
	}
	m.OnCommit = func(ctx context.Context, _ dtc.Branch) error {
		seen <- dtchttp.Traceparent(ctx)
		return nil
	}
	const trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	for sent, want := range map[string]string{trace: trace, "": "", "00-nonsense": ""} {
		r, _ := http.NewRequest("POST", "http://dtc.test/v1/transactions", strings.NewReader(`{"branches":[{"participant":"orders"}]}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Traceparent", sent)
		if status, _, answer := a.send(r); status != 200 {
			t.Errorf("%d %v", status, answer)
		}
		for range 2 {
			if got := <-seen; got != want {
				t.Errorf("%q arrived as %q", sent, got)
			}
		}
	}
}

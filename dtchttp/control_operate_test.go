package dtchttp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// wantAudit checks that the last line of the audit has these words, and how many lines
// there are.
func (a *api) wantAudit(lines int, words ...string) {
	a.t.Helper()
	var audit []string
	for line := range strings.Lines(a.log.String()) {
		if strings.Contains(line, `msg="operator action"`) {
			audit = append(audit, line)
		}
	}
	if len(audit) != lines {
		a.t.Fatalf("the audit has %d lines, want %d:\n%s", len(audit), lines, strings.Join(audit, ""))
	}
	for _, w := range append(words, "level=WARN") {
		if last := audit[len(audit)-1]; !strings.Contains(last, w) {
			a.t.Errorf("the audit lacks %s: %s", w, last)
		}
	}
}

// TestControlRetry: a waiting branch is called at once.
func TestControlRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10, CompletionWait: -1, Timing: dtc.Timing{Backoff: 20 * time.Minute, FinishBackoffCap: time.Hour}}, dtchttp.ControlOptions{})
		calls := make(chan int, 100)
		ready := false
		a.members[1].OnCommit = func(_ context.Context, b dtc.Branch) error {
			calls <- b.Attempt
			if !ready {
				return errors.New("not ready")
			}
			return nil
		}
		run(a, "t", "payment")
		synctest.Wait()
		doc := a.want("GET", "/v1/transactions/t", "", 200, map[string]any{"state": "committing", "branches.0.attempts": 1.0, "branches.0.last_error": "not ready"})
		if next, _ := at(doc, "branches.0.next_attempt").(string); !strings.HasPrefix(next, "2000-01-01T00:") || !strings.HasSuffix(next, "Z") {
			t.Errorf("the next attempt is %v", at(doc, "branches.0"))
		}
		<-calls
		ready = true
		start := time.Now()
		a.want("POST", "/v1/transactions/t/retry", "", 202, map[string]any{"id": "t", "committed": true})
		a.wantAudit(1, "action=retry", "tx=t ", "result=ok")
		if n := <-calls; n != 2 || time.Since(start) > time.Second {
			t.Errorf("attempt %d came after %v", n, time.Since(start))
		}
		a.settle()
		a.want("POST", "/v1/transactions/t/retry", "{}", 404, map[string]any{"code": "unknown_transaction"})
		a.wantAudit(2, "action=retry", "tx=t ", "result=unknown_transaction")
		a.want("POST", "/v1/transactions/a%20b/retry", "", 400, nil)
		a.wantAudit(3, "result=bad_request")
	})
}

// TestControlResolve: an operator's word about a branch counts, against the decision as
// well, is in the audit, and is still there after a restart.
func TestControlResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := newDirect(t, disk, dtc.Config{KeepEnded: 10, CompletionWait: -1}, dtchttp.ControlOptions{})
		mute(a.members[1])
		mute(a.members[2])
		for _, id := range []string{"with", "against", "open"} {
			run(a, id, "inventory", "payment", "orders")
		}
		synctest.Wait()
		resolve := func(id, participant, outcome string, status int, members map[string]any) {
			t.Helper()
			a.want("POST", "/v1/transactions/"+id+"/branches/"+participant+"/resolve", `{"outcome":"`+outcome+`","reason":"it burnt\ndown"}`, status, members)
		}
		resolve("with", "payment", "committed", 200, map[string]any{"id": "with", "state": "committing", "outcome": "committed", "branches.1.state": "committed"})
		a.wantAudit(1, "action=resolve", "tx=with ", "participant=payment", "result=ok", "outcome=committed", `reason="it burnt"`)
		resolve("against", "payment", "rolled_back", 200, map[string]any{
			"state": "heuristic", "outcome": "heuristic", "committed": nil, "branches.1.state": "heuristic_rolled_back", "branches.2.state": "committing",
		})
		a.wantAudit(2, "tx=against ", "outcome=rolled_back")
		resolve("with", "payment", "committed", 400, map[string]any{"code": "bad_request"}) // it is finished already
		resolve("with", "nobody", "committed", 400, map[string]any{"code": "bad_request"})
		resolve("never", "payment", "committed", 404, map[string]any{"code": "unknown_transaction"})
		a.wantAudit(5, "tx=never ", "result=unknown_transaction", "outcome=committed")
		a.want("POST", "/v1/transactions/open/branches/payment/resolve", `{"outcome":"committed"}`, 400, map[string]any{"field": "reason"})
		a.wantAudit(6, "tx=open ", "result=bad_request")
		a.want("GET", "/v1/transactions?state=heuristic", "", 200, map[string]any{"transactions.0.id": "against", "transactions.1": nil})

		// What was said is forced: a loss of power takes nothing of it.
		after := disk.CrashWith(func(int, int) int { return 0 })
		if err := a.c.Close(); err != nil {
			t.Fatal(err)
		}
		b := newDirect(t, after, dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{}, a.members[0], a.members[2])
		synctest.Wait()
		b.want("GET", "/v1/transactions/against", "", 200, map[string]any{"state": "heuristic", "outcome": "heuristic", "branches.1.state": "heuristic_rolled_back"})
		b.want("GET", "/v1/transactions/with", "", 200, map[string]any{"state": "committing", "branches.1.state": "committed"})
		for _, id := range []string{"with", "against"} {
			b.want("POST", "/v1/transactions/"+id+"/branches/orders/resolve", `{"outcome":"committed","reason":"seen"}`, 200, nil)
		}
		b.settleBut(1)
		b.want("GET", "/v1/transactions/with", "", 200, map[string]any{"state": "committed", "committed": true})
		b.want("GET", "/v1/transactions/against", "", 200, map[string]any{"state": "heuristic", "committed": nil})
		b.want("POST", "/v1/transactions", `{"id":"against","branches":[{"participant":"inventory"},{"participant":"payment"},{"participant":"orders"}]}`, 200, map[string]any{
			"outcome": "heuristic", "committed": nil, // an answer, not an error
		})
	})
}

// TestControlResolveCalls: nothing more is sent to a branch that was resolved.
func TestControlResolveCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{})
		a.members[1].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("broken") }
		run(a, "t", "payment")
		time.Sleep(time.Hour)
		doc := a.want("GET", "/v1/transactions/t", "", 200, nil)
		if n := at(doc, "branches.0.attempts"); n != float64(a.members[1].Counts().Calls-1) { // without that of phase one
			t.Errorf("%v attempts, %+v", n, a.members[1].Counts())
		}
		a.want("POST", "/v1/transactions/t/branches/payment/resolve", `{"outcome":"committed","reason":"`+strings.Repeat("x", 1024)+`"}`, 200, map[string]any{"state": "committed"})
		calls := a.members[1].Counts().Calls
		time.Sleep(time.Hour)
		if n := a.members[1].Counts().Calls; n != calls || calls < 3 {
			t.Errorf("%d calls before, %d after", calls, n-calls)
		}
	})
}

package dtchttp_test

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlAuditKeys: every line of the audit has the same keys, so that it can be
// searched by them.
func TestControlAuditKeys(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{Authenticate: callers})
	keys := []string{"action=", "tx=", "participant=", "caller=", "remote=", "result=", "outcome=", "reason="}
	for i, c := range []struct {
		token, path, body string
		status            int
		more              []string
	}{
		{"wrong", "t/retry", "", 401, []string{`outcome="" `, `reason=""`}},
		{"app-s3cret", "t/branches/orders/resolve", `{"outcome":"committed","reason":"x"}`, 403, []string{`outcome="" `, `reason=""`}},
		{"operator-s3cret", "t/retry", "", 404, []string{`outcome="" `, `reason=""`}},
		{"operator-s3cret", "t/branches/orders/resolve", `{"outcome":"committed"}`, 400, []string{"outcome=committed", `reason=""`}},
		{"operator-s3cret", "t/branches/orders/resolve", `{`, 400, []string{`outcome="" `, `reason=""`}},
	} {
		a.token = c.token
		a.want("POST", "/v1/transactions/"+c.path, c.body, c.status, nil)
		a.wantAudit(i+1, append(c.more, keys...)...)
	}
}

// TestControlAuditPanic: who looks for what was done by hand does not read "ok" where
// nobody knows.
func TestControlAuditPanic(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	for i, path := range []string{"t/retry", "t/branches/orders/resolve"} {
		r := httptest.NewRequest("POST", "http://dtc.test/v1/transactions/"+path, panics{})
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = 60
		if status, _, answer := a.send(r); status != 500 || answer["code"] != "internal" {
			t.Errorf("%s: %d %v", path, status, answer)
		}
		a.wantAudit(i+1, "tx=t ", "result=internal")
	}
}

// TestControlResolveNobody: the branch that is meant is named where it is wrong.
func TestControlResolveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{})
		mute(a.members[1])
		run(a, "t", "payment")
		synctest.Wait()
		const body = `{"outcome":"committed","reason":"x"}`
		for _, path := range []string{"a%20b", "a%0Ab", "%00", "p%2Fq", "%C3%B6"} {
			a.want("POST", "/v1/transactions/t/branches/"+path+"/resolve", body, 400, map[string]any{"code": "bad_request", "field": "participant"})
		}
		a.want("POST", "/v1/transactions/t/branches/orders/resolve", body, 400, map[string]any{"code": "bad_request", "participant": "orders"})
		a.want("POST", "/v1/transactions/u/branches/orders/resolve", body, 404, map[string]any{"code": "unknown_transaction", "participant": "orders"})
		a.want("GET", "/v1/transactions/t", "", 200, map[string]any{"state": "committing"})
	})
}

// TestControlResolvePoisoned: the log fails under a statement, which then may count; one
// that comes later was not made.
func TestControlResolvePoisoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := newDirect(t, disk, dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{})
		mute(a.members[1])
		run(a, "t", "inventory", "payment")
		synctest.Wait()
		disk.FailSync(1)
		const path, body = "/v1/transactions/t/branches/payment/resolve", `{"outcome":"rolled_back","reason":"x"}`
		a.refused("POST", path, body, 503, "outcome_unknown")
		a.wantAudit(1, "result=outcome_unknown", "outcome=rolled_back")
		a.refused("POST", path, body, 503, "not_ready")
		a.wantAudit(2, "result=not_ready")
		a.want("GET", "/v1/transactions/t", "", 200, map[string]any{"outcome": "committed", "branches.1.state": "committing"})
		// The branch can be resolved, or has been, once the log is read again.
		_ = a.c.Close()
		b := newDirect(t, disk, dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{}, a.members[0], dtctest.NewMemory("orders"))
		synctest.Wait()
		doc := b.want("GET", "/v1/transactions/t", "", 200, nil)
		if at(doc, "branches.1.state") == "committing" {
			b.want("POST", path, body, 200, map[string]any{"branches.1.state": "heuristic_rolled_back"})
		}
		b.settle()
		b.want("GET", "/v1/transactions/t", "", 200, map[string]any{"outcome": "heuristic", "committed": nil})
	})
}

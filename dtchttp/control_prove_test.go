package dtchttp_test

import (
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// TestControlProve: what the coordinator does not remember any more, and a participant can
// prove, is told by the server as well; also to who comes late to commit it.
func TestControlProve(t *testing.T) {
	a := newAPI(t, dtc.Config{OutcomeRetention: time.Nanosecond}, dtchttp.ControlOptions{})
	a.members[1].OnePhase = true
	status, done := a.call("POST", "/v1/transactions", `{"id":"t","branches":[{"participant":"payment"}]}`)
	if status != 200 || done["outcome"] != "committed" {
		t.Fatalf("%d: %v", status, done)
	}
	if info, err := a.c.Transaction("t"); err == nil {
		t.Fatalf("the coordinator still knows it: %+v", info)
	}
	status, shown := a.call("GET", "/v1/transactions/t", "")
	if status != 200 || shown["outcome"] != "committed" || shown["xid"] != done["xid"] {
		t.Errorf("shown: %d: %v", status, shown)
	}
	for _, verb := range []string{"commit", "rollback"} {
		status, late := a.call("POST", "/v1/transactions/t/"+verb, "")
		if status != 200 || late["outcome"] != "committed" || late["xid"] != done["xid"] {
			t.Errorf("%s: %d: %v", verb, status, late)
		}
	}
	if status, none := a.call("GET", "/v1/transactions/u", ""); status != 404 {
		t.Errorf("an id that never was: %d: %v", status, none)
	}
}

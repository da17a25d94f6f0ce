package dtchttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// callers knows a token for each role, which is its name with a secret behind it.
func callers(r *http.Request) (dtchttp.Caller, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	name, ok := strings.CutSuffix(token, "-s3cret")
	switch {
	case !ok:
		return dtchttp.Caller{}, errors.New("the token is not known here")
	case name == "nothing":
		return dtchttp.Caller{Name: name}, nil
	case name == "orders":
		return dtchttp.Caller{Name: name, Roles: []dtchttp.Role{dtchttp.RoleParticipant}, Participant: name}, nil
	case name == "orders+observer":
		return dtchttp.Caller{Name: name, Roles: []dtchttp.Role{dtchttp.RoleParticipant, dtchttp.RoleObserver}, Participant: "orders"}, nil
	}
	return dtchttp.Caller{Name: name, Roles: []dtchttp.Role{dtchttp.Role(name)}}, nil
}

// TestControlRoles: each call by each role.
func TestControlRoles(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{Authenticate: callers})
	a.token = "operator-s3cret"
	xid := run(a, "t", "orders")["xid"].(string)
	for _, c := range []struct {
		method, path string
		allowed      []string
		word         string // what a refusal names
	}{
		{"POST", "/v1/transactions", []string{"app"}, "app"},
		{"GET", "/v1/transactions", []string{"observer"}, "observer"},
		{"POST", "/v1/transactions/begin", []string{"app"}, "app"},
		{"GET", "/v1/transactions/t", []string{"app", "observer"}, "app or observer"},
		{"HEAD", "/v1/transactions/t", []string{"app", "observer"}, "app or observer"},
		{"POST", "/v1/transactions/t/branches", []string{"app"}, "app"},
		{"POST", "/v1/transactions/t/commit", []string{"app"}, "app"},
		{"POST", "/v1/transactions/t/rollback", []string{"app"}, "app"},
		{"POST", "/v1/transactions/t/retry", nil, "operator"},
		{"POST", "/v1/transactions/t/branches/orders/resolve", nil, "operator"},
		{"GET", "/v1/branches/" + xid + "/orders", []string{"participant", "observer"}, "participant or observer"},
		{"GET", "/v1/participants", []string{"observer"}, "observer"},
	} {
		for _, token := range []string{"", "wrong", "app-s3cre"} {
			a.token = token
			status, h, answer := a.full(c.method, c.path, "")
			if status != 401 || h.Get("WWW-Authenticate") != "Bearer" || answer["code"] != "unauthorized" || answer["detail"] != "the token is not known here" {
				t.Errorf("%s %s as %q: %d %v %v", c.method, c.path, token, status, h, answer)
			}
		}
		for _, role := range []string{"nothing", "app", "participant", "observer", "operator", "Operator"} {
			a.token = role + "-s3cret"
			status, h, answer := a.full(c.method, c.path, "")
			may := role == "operator" || slices.Contains(c.allowed, role)
			switch {
			case may && (status == 401 || status == 403):
				t.Errorf("%s %s as %s: %d %v", c.method, c.path, role, status, answer)
			case !may && (status != 403 || answer["code"] != "forbidden" || h.Get("WWW-Authenticate") != "" || answer["detail"] != "this needs the role "+c.word):
				t.Errorf("%s %s as %s is let in: %d %v", c.method, c.path, role, status, answer)
			}
		}
	}
	if n := a.c.Stats().Begun; n != 3 { // by run, and begin as app and operator
		t.Errorf("%d were begun", n)
	}
	// What does not exist is no secret; who is let in makes no difference.
	a.token = ""
	a.want("GET", "/v1/nothing", "", 404, map[string]any{"code": "not_found"})
	a.want("PUT", "/v1/participants", "", 405, nil)
}

// TestControlOwnBranches: a participant's token is good for its own branches.
func TestControlOwnBranches(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{Authenticate: callers})
	a.token = "app-s3cret"
	path := "/v1/branches/" + run(a, "t", "orders", "payment")["xid"].(string)
	for token, may := range map[string][2]int{
		"orders": {200, 403}, "participant": {200, 200}, "orders+observer": {200, 200}, "observer": {200, 200}, "operator": {200, 200}, "app": {403, 403},
	} {
		a.token = token + "-s3cret"
		for i, participant := range []string{"orders", "payment"} {
			members := map[string]any{"decision": "commit"}
			if may[i] == 403 {
				members = map[string]any{"code": "forbidden"}
			}
			a.want("GET", path+"/"+participant, "", may[i], members)
		}
	}
}

// TestControlAudit: what an operator does, or somebody else tries to do, is noted with
// who it was, and without a token.
func TestControlAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{Authenticate: callers})
		a.members[1].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("broken") }
		a.token = "app-s3cret"
		run(a, "t", "payment")
		synctest.Wait()
		lines := 0
		for _, c := range []struct {
			token, path, body, result string
			status                    int
		}{
			{"wrong", "t/retry", "", "unauthorized", 401},
			{"", "t/branches/payment/resolve", "", "unauthorized", 401},
			{"app-s3cret", "t/retry", "", "forbidden", 403},
			{"observer-s3cret", "t/branches/payment/resolve", `{"outcome":"committed","reason":"x"}`, "forbidden", 403},
			{"operator-s3cret", "t/branches/payment/resolve", `{"outcome":"maybe","reason":"x"}`, "bad_request", 400},
			{"operator-s3cret", "t/branches/payment/resolve", `{"outcome":"rolled_back"}`, "bad_request", 400},
			{"operator-s3cret", "a%0ab/branches/payment%0Aresult=ok/resolve", "", "bad_request", 400},
			{"operator-s3cret", "u/retry", "", "unknown_transaction", 404},
			{"operator-s3cret", "u/branches/payment/resolve", `{"outcome":"committed","reason":"x"}`, "unknown_transaction", 404},
			{"operator-s3cret", "t/retry", "", "ok", 202},
			{"operator-s3cret", "t/branches/payment/resolve", `{"outcome":"committed","reason":"x"}`, "ok", 200},
		} {
			a.token = c.token
			a.want("POST", "/v1/transactions/"+c.path, c.body, c.status, nil)
			lines++
			name, _, known := strings.Cut(c.token, "-s3cret")
			if !known {
				name = `""`
			}
			tx := c.path[:1]
			action := c.path[strings.LastIndex(c.path, "/")+1:]
			a.wantAudit(lines, "action="+action+" ", "tx="+tx+" ", "caller="+name+" ", "remote=", "result="+c.result)
		}
		a.token = "operator-s3cret"
		a.want("GET", "/v1/transactions/t/retry", "", 405, nil) // no action
		a.wantAudit(lines)
		if text := a.log.String(); strings.Contains(text, "s3cret") || strings.Contains(text, "wrong") || strings.Contains(text, "Bearer") {
			t.Errorf("a token is in the log:\n%s", text)
		}
	})
}

// TestControlAuditNotReady: somebody who cannot be served yet tried all the same.
func TestControlAuditNotReady(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{Authenticate: callers})
	a.h.Use(nil)
	a.token = "operator-s3cret"
	a.refused("POST", "/v1/transactions/t/retry", "", 503, "not_ready")
	a.wantAudit(1, "action=retry", "caller=operator", "result=not_ready")
	a.refused("POST", "/v1/transactions/t/branches/b/resolve", "", 503, "not_ready")
	a.wantAudit(2, "action=resolve", "participant=b", "result=not_ready")
}

// TestControlRequire: other handlers are guarded by the same rules.
func TestControlRequire(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{Authenticate: callers})
	served := 0
	h := a.h.Require(dtchttp.RoleObserver, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	for token, want := range map[string]int{"": 401, "app-s3cret": 403, "observer-s3cret": 200, "operator-s3cret": 200} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: %d, want %d", token, w.Code, want)
		}
	}
	if served != 2 {
		t.Errorf("it was served %d times", served)
	}
}

// TestControlPanic: a panic is an answer and a line in the log, and takes nothing with
// it; one that aborts the answer is the server's.
func TestControlPanic(t *testing.T) {
	var with any
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{
		MaxInFlight: 1, MaxBytes: 100,
		Describe: func(string) (string, string) { panic(with) },
	})
	with = fmt.Errorf("a bug")
	a.want("GET", "/v1/participants", "", 500, map[string]any{"code": "internal"})
	if text := a.log.String(); !strings.Contains(text, `level=ERROR msg="a request to the control API panicked" error="a bug" stack=`) {
		t.Errorf("the log has %q", text)
	}
	with = http.ErrAbortHandler
	func() {
		defer func() {
			if e := recover(); e != with {
				t.Errorf("recovered %v", e)
			}
		}()
		a.call("GET", "/v1/participants", "")
	}()
	for range 3 { // in the middle of a request that is counted
		r := httptest.NewRequest("POST", "http://dtc.test/v1/transactions", panics{})
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = 60
		if status, _, _ := a.send(r); status != 500 {
			t.Errorf("%d", status)
		}
	}
	a.want("POST", "/v1/transactions", `{"branches":[{"participant":"orders"}]}`, 200, nil)
	if err := a.h.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("a body") }

package procfaults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/dtc-project/dtc/test/internal/oracle"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// until waits for something to become true, and says what did not.
func (h *house) until(what string, f func() bool) bool {
	h.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			h.fail("not within %v: %s", patience, what)
			return false
		}
	}
	return true
}

// rest waits until nothing is unfinished, ends all processes, and judges.
func (h *house) rest() {
	h.t.Helper()
	h.settle()
	h.inquire()
	if code := h.stop(); code != 0 {
		h.fail("asked to stop, the coordinator ended with code %d: %s", code, h.server.Stderr())
	}
	h.judge(true)
	h.checkLog()
	h.t.Logf("%v", h.count())
}

// checkLog verifies the log, which was closed, and what the participants say.
func (h *house) checkLog() {
	_, wrong, err := oracle.CheckLog(h.data, true)
	if err != nil {
		h.fail("the log: %v", err)
	}
	for _, w := range wrong {
		h.fail("%s", w)
	}
	for _, p := range h.parts {
		h.note(p)
	}
}

func (h *house) settle() {
	last := ""
	if !h.until("all is finished", func() bool { last = h.left(); return last == "" }) {
		h.fail("%s", last)
	}
}

// left says what is unfinished, or "".
func (h *house) left() string {
	for i := range services {
		if n := h.prepared(i); n > 0 {
			return fmt.Sprintf("%d branches are prepared at %s", n, services[i])
		}
	}
	var list struct{ Transactions []struct{ ID, State string } }
	if err := h.get("/v1/transactions", &list); err != nil {
		return err.Error()
	}
	if len(list.Transactions) > 0 {
		return fmt.Sprintf("these transactions at least are unfinished: %v", list.Transactions)
	}
	var parts struct {
		Participants []struct {
			ID      string
			InDoubt int `json:"in_doubt"`
		}
	}
	if err := h.get("/v1/participants", &parts); err != nil {
		return err.Error()
	}
	for _, p := range parts.Participants {
		if p.InDoubt > 0 {
			return fmt.Sprintf("%d branches are in doubt at %s", p.InDoubt, p.ID)
		}
	}
	return ""
}

func (h *house) prepared(i int) int {
	n, err := oracle.Prepared(h.dbs[i])
	if err != nil {
		h.fail("%s: %v", services[i], err)
	}
	return n
}

func (h *house) get(path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.server.URL+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

func (h *house) isReady() bool { return h.get("/readyz", nil) == nil }

// inquire asks how everything ended.
func (h *house) inquire() {
	for _, id := range h.order {
		t := h.tales[id]
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		a, err := call(ctx, http.DefaultClient, http.MethodGet, h.server.URL+"/v1/transactions/"+string(id), nil)
		cancel()
		switch {
		case err != nil:
			h.fail("%s: %v", id, err)
		case a.status == http.StatusNotFound && t.told == oracle.Committed:
			h.fail("%s: told committed, and now nobody knows it", id)
		case a.status == http.StatusNotFound:
		case a.Outcome == nil:
			h.fail("%s: nothing is unfinished, and it has no outcome: %d %s", id, a.status, a.Detail)
		default:
			h.tells(id, *a.Outcome)
		}
	}
}

// judge holds what is in the databases against what was told. Not at rest, branches may
// still be held.
func (h *house) judge(atRest bool) {
	found := oracle.Found{}
	for i, db := range h.dbs {
		wrong, err := found.Read(db, i, len(services))
		if err != nil {
			h.fail("%s: %v", services[i], err)
		}
		for _, w := range wrong {
			h.fail("%s", w)
		}
	}
	for _, id := range h.order {
		t := h.tales[id]
		for _, w := range oracle.Judge(id, t.shape, t.told, found[id], atRest) {
			h.fail("%s", w)
		}
		delete(found, id)
	}
	for id, attempts := range found {
		h.fail("%s: nobody began it, and it left %v", id, attempts)
	}
}

// complain fails the test with all that is wrong.
func (h *house) complain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, w := range h.wrong {
		if i == 20 {
			h.t.Errorf("and %d more", len(h.wrong)-i)
			return
		}
		h.t.Error(w)
	}
	if len(h.wrong) > 0 && h.server != nil {
		text := h.server.Stderr()
		h.t.Logf("the end of what the coordinator says: %s", text[max(0, len(text)-6000):])
	}
}

// pause stops a process for a time.
func pause(p interface{ Signal(syscall.Signal) }, d time.Duration) {
	p.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	p.Signal(syscall.SIGCONT)
}

package serving

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// Bank is a database with one account, in which there are 100 at first.
type Bank struct {
	URL, Kind string
	Server    *servers.Server

	// Take and Give are statements with one argument, the amount, which change the
	// account; Take affects no row if that is more than there is.
	Take, Give string
	// Wrong is a statement with one argument, which the server refuses because of its
	// value "hunter2".
	Wrong string

	Balance  func() int
	Prepared func() int // branches in the server

	// Prepare does the work of a branch as a program of somebody else would, which is
	// Give with that amount, and prepares it.
	Prepare func(xid dtc.XID, tx dtc.TxID, participant string, amount int)
}

func payment(id string, one, two *Bank, amount int) string {
	branch := func(participant, sql string) string {
		return fmt.Sprintf(`{"participant":%q,"payload":{"statements":[{"sql":%q,"args":[%d],"rows":1}]}}`, participant, sql, amount)
	}
	return fmt.Sprintf(`{"id":%q,"completion_wait":"10s","branches":[%s,%s]}`, id, branch("one", one.Take), branch("two", two.Give))
}

func participants(one, two *Bank) []string { return []string{"one=" + one.URL, "two=" + two.URL} }

func balances(t *testing.T, one, two *Bank, wantOne, wantTwo int) {
	t.Helper()
	if a, b := one.Balance(), two.Balance(); a != wantOne || b != wantTwo {
		t.Fatalf("the balances are %d and %d, want %d and %d", a, b, wantOne, wantTwo)
	}
}

// Pays: callers in any language move money between two databases with statements. The
// server of the first is killed.
func Pays(t *testing.T, one, two *Bank) {
	p := Start(t, participants(one, two)...)
	p.Want("committed", payment("pay-1", one, two, 30))
	balances(t, one, two, 70, 130)
	p.Want("committed", payment("pay-1", one, two, 30)) // told again, and not done again
	balances(t, one, two, 70, 130)
	if answer := p.Want("rolled_back", payment("pay-2", one, two, 71)); !strings.Contains(answer, "statement 1 affected 0 rows; it must affect 1") {
		t.Errorf("it does not say why: %s", answer)
	}
	balances(t, one, two, 70, 130)
	for _, b := range []*Bank{one, two} {
		id := map[*Bank]string{one: "one", two: "two"}[b]
		answer := p.Want("rolled_back", fmt.Sprintf(`{"branches":[{"participant":%q,"payload":{"statements":[{"sql":"SELECT 1"},{"sql":%q,"args":["hunter2"]}]}}]}`, id, b.Wrong))
		if !strings.Contains(answer, "statement 2") || strings.Contains(answer, "hunter2") {
			t.Errorf("it should name the statement, and not show its arguments: %s", answer)
		}
	}
	var list struct {
		Participants []struct {
			ID, Kind, URL, State string
			Listing              bool
		}
	}
	if _, answer := p.Call("GET", "/v1/participants", ""); json.Unmarshal([]byte(answer), &list) != nil || len(list.Participants) != 2 {
		t.Fatal(answer)
	}
	for i, b := range []*Bank{one, two} {
		l := list.Participants[i]
		if l.Kind != b.Kind || !l.Listing || l.State != "up" || strings.Contains(l.URL, "@") || !strings.HasPrefix(l.URL, b.Kind+"://") {
			t.Errorf("%+v", l)
		}
	}

	// Databases that are down hold nothing up but what needs them: neither the answer to a
	// caller, nor a start.
	one.Server.Kill(t)
	status, answer := p.Call("POST", "/v1/transactions", strings.Replace(payment("pay-3", one, two, 1), "10s", "100ms", 1))
	if status != http.StatusOK || !strings.Contains(answer, `"rolled_back"`) {
		t.Errorf("with a database down it answered %d %s", status, answer)
	}
	p.Kill()
	p.Again()
	one.Server.Start(t)
	p.untilPaid(one, two, 5)
	balances(t, one, two, 65, 135)
	p.finish(one, two)
}

// untilPaid pays once, as soon as the databases can be reached and nothing is locked.
func (p *Process) untilPaid(one, two *Bank, amount int) {
	p.t.Helper()
	n := 0
	Eventually(p.t, "a payment can be made", func() bool {
		n++
		_, answer := p.Call("POST", "/v1/transactions", payment(fmt.Sprintf("attempt-%d", n), one, two, amount))
		return strings.Contains(answer, `"committed"`)
	})
}

// finish is the end of a story: nothing is prepared any more, and nothing was said or
// written that must not be.
func (p *Process) finish(banks ...*Bank) {
	p.t.Helper()
	for _, b := range banks {
		Eventually(p.t, "nothing is prepared in "+b.URL, func() bool { return b.Prepared() == 0 })
	}
	if all := p.Complaints(); all != nil {
		p.t.Error(all)
	}
	if strings.Contains(p.Stderr(), "hunter2") {
		p.t.Error("the log shows what is secret")
	}
}

// Held is a statement of dtc's that has come to the server of the second bank, and waits
// there until it is let go, whatever becomes of dtc.
type Held struct {
	Come  <-chan struct{}
	LetGo func()
}

// KilledBefore: dtc is killed while a vote is on its way, and is rolled back: also the
// branch whose prepare comes when it has been.
func KilledBefore(t *testing.T, one, two *Bank, prepare Held) {
	p := Start(t, participants(one, two)...)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _, _ = p.Try("POST", "/v1/transactions", payment("pay-1", one, two, 30))
	}()
	<-prepare.Come
	p.Kill()
	<-asked
	p.Again()
	Eventually(t, "the first bank's branch is rolled back", func() bool { return one.Prepared() == 0 })
	prepare.LetGo()
	p.untilPaid(one, two, 30)
	balances(t, one, two, 70, 130)
	p.finish(one, two)
}

// KilledBetween: dtc is killed when the decision is on the disk and a commit is on its way,
// and is started while that still is.
func KilledBetween(t *testing.T, one, two *Bank, commit Held) {
	p := Start(t, participants(one, two)...)
	p.Want("committed", strings.Replace(payment("pay-1", one, two, 30), "10s", "1ms", 1))
	<-commit.Come
	Eventually(t, "the first bank's branch is finished", func() bool { return one.Prepared() == 0 })
	balances(t, one, two, 70, 100)
	p.Kill()
	p.Again()
	Eventually(t, "the second bank has the money", func() bool { return two.Balance() == 130 })
	commit.LetGo()
	Eventually(t, "the transaction has ended", func() bool {
		_, answer := p.Call("GET", "/v1/transactions/pay-1", "")
		return strings.Contains(answer, `"outcome":"committed"`) && !strings.Contains(answer, `"ended":null`)
	})
	p.Want("committed", payment("pay-1", one, two, 30)) // told again, and not done again
	balances(t, one, two, 70, 130)
	p.finish(one, two)
}

// Adopts: an application that prepares by itself, under the name that it was given.
func Adopts(t *testing.T, one, two *Bank) {
	p := Start(t, participants(one, two)...)
	for end, body := range map[string]string{"commit": `{"completion_wait":"10s"}`, "rollback": "{}"} {
		var tx struct{ ID, XID string }
		status, answer := p.Call("POST", "/v1/transactions/begin", `{}`)
		if err := json.Unmarshal([]byte(answer), &tx); err != nil || status != http.StatusCreated {
			t.Fatal(status, answer)
		}
		xid, err := dtc.ParseXID(tx.XID)
		if err != nil {
			t.Fatal(err)
		}
		for id, b := range map[string]*Bank{"one": one, "two": two} {
			if status, answer := p.Call("POST", "/v1/transactions/"+tx.ID+"/branches", `{"participant":"`+id+`","payload":{"adopted":true}}`); status >= 300 {
				t.Fatal(status, answer)
			}
			b.Prepare(xid, dtc.TxID(tx.ID), id, map[string]int{"one": -7, "two": 7}[id])
		}
		if one.Prepared() != 1 || two.Prepared() != 1 {
			t.Fatal("nothing was prepared")
		}
		if status, answer := p.Call("POST", "/v1/transactions/"+tx.ID+"/"+end, body); status != http.StatusOK {
			t.Fatal(status, answer)
		}
		p.finish(one, two)
	}
	balances(t, one, two, 93, 107) // once, and once not
}

package dtchttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// pages reads a list to its end, and returns what stands under a name in each item,
// and how long the pages were.
func (a *api) pages(list, query, name string) (all []string, sizes []int) {
	a.t.Helper()
	after := ""
	for len(sizes) < 1000 {
		answer := a.want("GET", "/v1/"+list+"?"+query+after, "", 200, nil)
		items, ok := answer[list].([]any)
		if !ok {
			a.t.Fatalf("%s is %v", list, answer[list])
		}
		for _, item := range items {
			all = append(all, at(item, name).(string))
		}
		sizes = append(sizes, len(items))
		next, there := answer["next"]
		if next == nil {
			if !there {
				a.t.Errorf("a page without next: %v", answer)
			}
			return all, sizes
		}
		after = "&after=" + url.QueryEscape(next.(string))
	}
	a.t.Fatal("the pages do not end")
	return nil, nil
}

// TestControlList: pages put together are all there is, newest first, by default 100 at
// a time and 1,000 at most; filters find what has ended as well.
func TestControlList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 2000, CompletionWait: -1}, dtchttp.ControlOptions{})
		a.want("GET", "/v1/transactions", "", 200, map[string]any{"next": nil})
		var waiting, ended []string
		a.members[1].OnCommit = func(_ context.Context, b dtc.Branch) error {
			if b.TxID[0] == 'w' {
				return errors.New("not yet")
			}
			return nil
		}
		for i := range 1003 {
			waiting = append(waiting, fmt.Sprint("w", i))
			run(a, waiting[i], "payment")
		}
		for i := range 10 {
			ended = append(ended, fmt.Sprint("e", i))
			run(a, ended[i], "payment", "orders")
		}
		a.members[2].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteAbort, nil }
		run(a, "no", "orders")
		a.want("POST", "/v1/transactions/begin", `{"id":"grows"}`, 201, nil)
		synctest.Wait()
		slices.Reverse(waiting)
		slices.Reverse(ended)
		live := append([]string{"grows"}, waiting...)
		for _, c := range []struct {
			query string
			want  []string
			sizes []int
		}{
			{"", live, []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 4}},
			{"limit=1000", live, []int{1000, 4}},
			{"limit=502", live, []int{502, 502}},
			{"limit=1&state=active", live[:1], []int{1}},
			{"limit=999&state=committing&participant=payment", waiting, []int{999, 4}},
			{"participant=orders", nil, []int{0}},
			{"limit=4&state=committed", ended, []int{4, 4, 2}},
			{"limit=10&state=committed&participant=orders", ended, []int{10}},
			{"state=committed&participant=inventory", nil, []int{0}},
			{"state=rolled_back", []string{"no"}, []int{1}},
			{"state=rolled_back&participant=payment", nil, []int{0}},
			{"state=heuristic", nil, []int{0}},
			{"state=preparing", nil, []int{0}},
			{"state=rolling_back", nil, []int{0}},
			{"state=&participant=&limit=", live, []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 4}},
		} {
			got, sizes := a.pages("transactions", c.query, "id")
			if !slices.Equal(got, c.want) || !slices.Equal(sizes, c.sizes) {
				t.Errorf("%q: %d in pages of %v: %.300v", c.query, len(got), sizes, got)
			}
		}
		a.want("GET", "/v1/transactions?limit=1&state=committing", "", 200, map[string]any{
			"transactions.0.id": waiting[0], "transactions.0.state": "committing", "transactions.0.outcome": "committed",
			"transactions.0.branches.0.participant": "payment", "transactions.0.remembered_since": nil,
		})
		for query, field := range map[string]string{
			"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=ten": "limit", "limit=1e2": "limit", "limit=99999999999999999999": "limit",
			"after=x": "after", "after=w1": "after", "state=ended": "state", "state=Committed": "state", "state=done&limit=1": "state",
			"participant=a/b": "participant", "participant=" + strings.Repeat("p", 65): "participant",
			"stat=active": "stat", "limit=1&limit=2": "limit", "verbose": "verbose",
		} {
			a.want("GET", "/v1/transactions?"+query, "", 400, map[string]any{"code": "bad_request", "field": field})
		}
	})
}

// TestControlListOrphans: branches that no log knows share the name of the transaction
// that they were part of, and stand on one page, so that the next begins after them.
func TestControlListOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := newDirect(t, disk, dtc.Config{}, dtchttp.ControlOptions{})
		for _, m := range a.members[:2] {
			m.OnRollback = func(context.Context, dtc.Branch) error { return errors.New("stuck") }
		}
		entered, release := held(a.members[2])
		defer release()
		var xid any
		go func() { xid = run(a, "t", "inventory", "payment", "orders")["xid"] }()
		<-entered
		synctest.Wait()
		after := disk.CrashWith(func(int, int) int { return 0 })
		if err := a.c.Close(); err != nil { // once it is rolled back
			t.Fatal(err)
		}
		b := newDirect(t, after, dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{}, a.members[:2]...)
		time.Sleep(5 * time.Minute)
		mute(b.members[0])
		run(b, "new", "inventory")
		synctest.Wait()
		page := b.want("GET", "/v1/transactions?limit=1", "", 200, map[string]any{"transactions.0.id": "new", "transactions.1": nil})
		page = b.want("GET", "/v1/transactions?limit=1&after="+fmt.Sprint(page["next"]), "", 200, map[string]any{
			"transactions.0.id": "", "transactions.0.xid": xid, "transactions.1.id": "", "transactions.1.xid": xid, "transactions.2": nil, "next": nil,
		})
		if p, q := at(page, "transactions.0.branches.0.participant"), at(page, "transactions.1.branches.0.participant"); p == q {
			t.Errorf("%v", page)
		}
	})
}

// run runs a transaction over the named participants.
func run(a *api, id string, participants ...string) map[string]any {
	a.t.Helper()
	return a.want("POST", "/v1/transactions", `{"id":"`+id+`","branches":[{"participant":"`+strings.Join(participants, `"},{"participant":"`)+`"}]}`, 200, nil)
}

// TestControlParticipants: by id and page; one that left stays while it has branches.
func TestControlParticipants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var members []*dtctest.Memory
		var want []string
		for i := range 250 {
			want = append(want, fmt.Sprintf("p%03d", i))
			members = append(members, dtctest.NewMemory(want[i]))
		}
		members[3].Plain = true
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{
			Describe: func(id string) (string, string) { return "http", "http://" + id + ".test/dtc" },
		}, members...)
		for query, sizes := range map[string][]int{"": {100, 100, 50}, "limit=125": {125, 125}, "limit=1000": {250}} {
			ids, got := a.pages("participants", query, "id")
			if !slices.Equal(ids, want) || !slices.Equal(got, sizes) {
				t.Errorf("%q: pages of %v: %v", query, got, ids)
			}
		}
		speak := mute(members[7])
		a.want("GET", "/v1/participants?limit=1&after=p248", "", 200, map[string]any{"participants.0.id": "p249", "next": nil})
		a.want("GET", "/v1/participants?limit=1&after=p249", "", 200, map[string]any{"participants.0": nil, "next": nil})
		a.want("GET", "/v1/participants?limit=4", "", 200, map[string]any{
			"participants.3.listing": false, "participants.2.listing": true, "participants.3.state": "unknown", "next": "p003",
			"participants.3.kind": "http", "participants.3.url": "http://p003.test/dtc",
		})
		started := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		run(a, "t", "p003", "p007")
		time.Sleep(time.Minute)
		run(a, "u", "p007")
		time.Sleep(time.Minute)
		seven := map[string]any{
			"participants.0.id": "p007", "participants.0.state": "down", "participants.0.in_doubt": 2.0,
			"participants.0.oldest_in_doubt": started, "participants.0.kind": "http", "participants.0.listing": true,
		}
		answer := a.want("GET", "/v1/participants?limit=1&after=p006", "", 200, seven)
		if e, _ := at(answer, "participants.0.last_error").(string); !strings.Contains(e, "mute") {
			t.Errorf("its last error is %q", e)
		}
		a.want("GET", "/v1/participants?limit=1&after=p002", "", 200, map[string]any{
			"participants.0.state": "up", "participants.0.in_doubt": 0.0, "participants.0.oldest_in_doubt": nil, "participants.0.last_error": "",
		})
		if err := a.c.Unregister("p007"); err != nil {
			t.Fatal(err)
		}
		a.want("GET", "/v1/participants?limit=1&after=p006", "", 200, map[string]any{
			"participants.0.id": "p007", "participants.0.in_doubt": 2.0, "participants.0.kind": "", "participants.0.url": "",
		})
		a.want("POST", "/v1/transactions", `{"branches":[{"participant":"p001"},{"participant":"p007"}]}`, 400, map[string]any{
			"code": "bad_request", "participant": "p007", "field": "branches[1].participant",
		})
		if err := a.c.Register(members[7]); err != nil {
			t.Fatal(err)
		}
		speak()
		a.settle()
		if err := a.c.Unregister("p007"); err != nil {
			t.Fatal(err)
		}
		a.want("GET", "/v1/participants?limit=1&after=p006", "", 200, map[string]any{"participants.0.id": "p008"})
		for query, field := range map[string]string{"limit=0": "limit", "limit=1001": "limit", "state=up": "state", "after=p&after=q": "after"} {
			a.want("GET", "/v1/participants?"+query, "", 400, map[string]any{"code": "bad_request", "field": field})
		}
	})
}

// TestControlDecision: each answer to a participant's question.
func TestControlDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{})
		a.members[2].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteAbort, nil }
		mute(a.members[1])
		yes := run(a, "yes", "inventory", "payment")["xid"].(string)
		no := run(a, "no", "inventory", "orders")["xid"].(string)
		over := run(a, "over", "inventory")["xid"].(string)
		grows := a.want("POST", "/v1/transactions/begin", `{"id":"grows"}`, 201, nil)["xid"].(string)
		a.want("POST", "/v1/transactions/grows/branches", `{"participant":"inventory"}`, 201, nil)
		synctest.Wait()
		parts := strings.Split(yes, ".")
		parts[3] = "999999"
		for _, c := range [][3]string{
			{yes, "inventory", "commit"},
			{yes, "payment", "commit"},
			{yes, "orders", "ask_later"},
			{over, "inventory", "commit"},
			{no, "inventory", "rollback"},
			{no, "orders", "rollback"},
			{grows, "inventory", "undecided"},
			{strings.Join(parts, "."), "inventory", "ask_later"},
		} {
			answer := a.want("GET", "/v1/branches/"+c[0]+"/"+c[1], "", 200, map[string]any{"decision": c[2]})
			if len(answer) != 1 {
				t.Errorf("%v", answer)
			}
		}
		other := "dtc.aaaaaaaaaaaaaaaa." + strings.Join(strings.Split(yes, ".")[2:], ".")
		a.want("GET", "/v1/branches/"+other+"/inventory", "", 404, map[string]any{"code": "unknown_transaction"})
		for _, x := range []string{"x", "dtc", yes + "0x", "DTC" + yes[3:], yes + "%2F"} {
			a.want("GET", "/v1/branches/"+x+"/inventory", "", 400, map[string]any{"code": "bad_request", "field": "xid"})
		}
		a.want("GET", "/v1/branches/"+yes+"/a%20b", "", 400, map[string]any{"code": "bad_request", "field": "participant"})
	})
}

// TestControlOrphans: what a participant still holds after a statement that it has not is
// nobody's in doubt any more, and is shown all the same.
func TestControlOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{})
		speak := mute(a.members[0])
		run(a, "t", "inventory", "payment")
		a.want("GET", "/v1/participants", "", 200, map[string]any{"participants.0.in_doubt": 1.0, "participants.0.orphans": 0.0})
		a.want("POST", "/v1/transactions/t/branches/inventory/resolve", `{"outcome":"rolled_back","reason":"a mistake"}`, 200, nil)
		speak()
		time.Sleep(3 * time.Minute) // it is listed once a minute
		a.want("GET", "/v1/participants", "", 200, map[string]any{
			"participants.0.id": "inventory", "participants.0.in_doubt": 0.0, "participants.0.orphans": 1.0, "participants.1.orphans": 0.0,
		})
	})
}

// TestControlListOfLongTexts: what waits is listed also when there is much to say of it.
// A page that takes megabytes for each of its transactions has fewer of them.
func TestControlListOfLongTexts(t *testing.T) {
	const members, transactions = 40, 80
	text := errors.New(strings.Repeat("x", 4<<10))
	var cfg dtc.Config
	var branches []dtc.Branch
	for i := range members {
		id := fmt.Sprint("p", i)
		cfg.Participants = append(cfg.Participants, dtc.ParticipantFuncs{
			ParticipantID: id,
			PrepareFunc:   func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
			CommitFunc:    func(context.Context, dtc.Branch) error { return text },
		})
		branches = append(branches, dtc.Branch{Participant: id})
	}
	cfg.CompletionWait = -1
	a := newAPI(t, cfg, dtchttp.ControlOptions{})
	for range transactions {
		if _, err := a.c.Execute(t.Context(), dtc.NewTxID(), branches...); err != nil {
			t.Fatal(err)
		}
	}
	long := 0 // texts that there are by now: each branch has been called once
	for info := range a.c.Transactions(dtc.Filter{}) {
		for _, b := range info.Branches {
			for b.LastError == "" {
				time.Sleep(time.Millisecond)
				now, err := a.c.Transaction(info.TxID)
				if err != nil {
					t.Fatal(err)
				}
				b = now.Branches[slices.IndexFunc(now.Branches, func(o dtc.BranchInfo) bool { return o.Participant == b.Participant })]
			}
			long += len(b.LastError)
		}
	}
	listed := 0
	for _, err := range newClient(t, a.URL, nil).Transactions(t.Context(), dtchttp.TransactionsFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if listed != transactions || long < 8<<20 {
		t.Errorf("%d of %d transactions are listed, with %d bytes of texts", listed, transactions, long)
	}
}

package dtchttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

func TestHandlerLists(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_900_000, time.FixedZone("", 3600))
	p := partFixed{list: []dtc.InDoubtBranch{{XID: callSeq(9)}, {XID: callSeq(10), PreparedAt: at}, {XID: callSeq(9)}}}
	before := slices.Clone(p.list)
	h := NewParticipantHandler(&p, &HandlerOptions{Logger: partQuiet})
	w := partRequest(h, "GET", "/in-doubt?log="+callLog.String(), "", "Content-Type", "")
	want := `{"branches":[{"xid":"` + callSeq(9).String() + `","branch":"stock","prepared_at":null},` +
		`{"xid":"` + callSeq(10).String() + `","branch":"stock","prepared_at":"2026-03-04T04:06:07.008Z"}],"next":null,"complete":true}`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("answered %d\n%s\nwant\n%s", w.Code, w.Body, want)
	}
	if !slices.Equal(p.list, before) {
		t.Error("the participant's own list was changed")
	}
	p.list = nil
	if w := partRequest(h, "GET", "/in-doubt?log="+callLog.String()+"&limit=1000&after=", ""); w.Body.String() != `{"branches":[],"next":null,"complete":true}` {
		t.Errorf("an empty list is %s", w.Body)
	}

	for query, field := range map[string]string{
		"": "log", "log=x": "log", "log=" + callLog.String()[:15] + "%0Aa": "log", "log=" + callLog.String() + "%0A": "log",
		"log=" + callLog.String() + "&limit=0": "limit", "log=" + callLog.String() + "&limit=1001": "limit", "log=" + callLog.String() + "&limit=x": "limit",
		"log=" + callLog.String() + "&after=x": "after", "log=" + callLog.String() + "&after=" + dtc.XID{Seq: 1}.String(): "after",
		"log=" + callLog.String() + "&more=1": "more", "log=" + callLog.String() + "&limit=1&limit=2": "limit", "log=%": "",
	} {
		partIsProblem(t, partRequest(h, "GET", "/in-doubt?"+query, ""), 400, "bad_request", field)
	}

	target := "/in-doubt?log=" + callLog.String()
	p.err = errors.New("broke")
	partIsProblem(t, partRequest(h, "GET", target, ""), 503, "no_answer", "")
	p.err, p.panics = nil, true
	partIsProblem(t, partRequest(h, "GET", target, ""), 503, "no_answer", "")
	p.panics, p.list = false, []dtc.InDoubtBranch{{XID: dtc.XID{Seq: 1}}}
	partIsProblem(t, partRequest(h, "GET", target, ""), 503, "no_answer", "")
	p.plain = true
	partIsProblem(t, partRequest(h, "GET", target, ""), 501, "not_listing", "")
	funcs := dtc.ParticipantFuncs{ParticipantID: "stock"}
	partIsProblem(t, partRequest(NewParticipantHandler(onlyParticipant{funcs}, nil), "GET", target, ""), 501, "not_listing", "")
}

type onlyParticipant struct{ dtc.Participant }

// TestHandlerPages: every branch is on exactly one page, in a stable order, also
// two that differ in the nonce alone, while others come and go.
func TestHandlerPages(t *testing.T) {
	var p partFixed
	for seq := range uint64(5) {
		twin := callSeq(seq + 10)
		twin.Incarnation.Nonce++
		p.list = append(p.list, dtc.InDoubtBranch{XID: callSeq(seq + 10)}, dtc.InDoubtBranch{XID: twin})
	}
	want := slices.Clone(p.list)
	h := NewParticipantHandler(&p, nil)
	for limit := 1; limit <= 11; limit++ {
		var got []string
		pages, after := 0, ""
		for {
			pages++
			slices.Reverse(p.list)
			w := partRequest(h, "GET", fmt.Sprintf("/in-doubt?log=%s&limit=%d&after=%s", callLog, limit, after), "")
			var page partPage
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
				t.Fatal(err)
			}
			if page.Complete != (page.Next == nil) {
				t.Errorf("limit %d: only the last page may say that the list is complete", limit)
			}
			for _, b := range page.Branches {
				got = append(got, b.XID)
			}
			if page.Next == nil {
				break
			}
			after = *page.Next
			// What ended meanwhile takes nothing else with it, the cursor included.
			p.list = append(slices.DeleteFunc(p.list, func(b dtc.InDoubtBranch) bool { return b.XID == callSeq(1) }),
				dtc.InDoubtBranch{XID: callSeq(1)})
		}
		p.list = slices.Clone(want)
		var names []string
		for _, b := range want {
			names = append(names, b.XID.String())
		}
		got = slices.DeleteFunc(got, func(s string) bool { return s == callSeq(1).String() })
		if !slices.Equal(got, names) {
			t.Errorf("limit %d: listed\n%s\nwant\n%s", limit, strings.Join(got, "\n"), strings.Join(names, "\n"))
		}
		if pages < 10/limit {
			t.Errorf("limit %d: %d pages", limit, pages)
		}
	}
	p.list = nil // the branch at the cursor is gone
	w := partRequest(h, "GET", fmt.Sprintf("/in-doubt?log=%s&after=%s", callLog, callSeq(12)), "")
	if w.Body.String() != `{"branches":[],"next":null,"complete":true}` {
		t.Errorf("after the last: %s", w.Body)
	}
}

func callEntry(seq uint64) string {
	return `{"xid":"` + callSeq(seq).String() + `","branch":"stock","prepared_at":"2026-03-04T04:06:07.008Z","more":1}`
}

func TestCallerUnderstandsListing(t *testing.T) {
	one := callEntry(1)
	for _, tt := range []struct {
		name  string
		reply callReply
		want  int // branches; -1: an error
		lists bool
	}{
		{"empty", callReply{200, "", `{"branches":[],"next":null,"complete":true,"more":1}`}, 0, true},
		{"one", callReply{200, "", `{"branches":[` + one + `],"complete":true}`}, 1, true},
		{"an empty cursor", callReply{200, "", `{"branches":[` + one + `],"next":"","complete":true}`}, 1, true},
		{"no time", callReply{200, "", `{"branches":[` + strings.Replace(one, `"2026-03-04T04:06:07.008Z"`, "null", 1) + `],"complete":true}`}, 1, true},
		{"incomplete", callReply{200, "", `{"branches":[` + one + `],"next":null,"complete":false}`}, -1, false},
		{"not said to be complete", callReply{200, "", `{"branches":[` + one + `],"next":null}`}, -1, false},
		{"complete is a text", callReply{200, "", `{"branches":[],"next":null,"complete":"true"}`}, -1, false},
		{"no branches", callReply{200, "", `{"next":null,"complete":true}`}, -1, false},
		{"branches null", callReply{200, "", `{"branches":null,"complete":true}`}, -1, false},
		{"branches an object", callReply{200, "", `{"branches":{},"complete":true}`}, -1, false},
		{"a branch a text", callReply{200, "", `{"branches":["x"],"complete":true}`}, -1, false},
		{"next a number", callReply{200, "", `{"branches":[],"next":1,"complete":true}`}, -1, false},
		{"a long cursor", callReply{200, "", `{"branches":[],"next":"` + strings.Repeat("x", callMaxCursor+1) + `","complete":true}`}, -1, false},
		{"twice", callReply{200, "", `{"branches":[` + one + `,` + one + `],"complete":true}`}, -1, false},
		{"another log", callReply{200, "", `{"branches":[` + strings.Replace(one, "dtc.a", "dtc.b", 1) + `],"complete":true}`}, -1, false},
		{"another participant", callReply{200, "", `{"branches":[` + strings.Replace(one, "stock", "other", 1) + `],"complete":true}`}, -1, false},
		{"no xid", callReply{200, "", `{"branches":[{"branch":"stock"}],"complete":true}`}, -1, false},
		{"a bad time", callReply{200, "", `{"branches":[` + strings.Replace(one, "2026", "x", 1) + `],"complete":true}`}, -1, false},
		{"HTML", callReply{200, "text/html", `<html>`}, -1, false},
		{"cut off", callReply{200, "", `{"branches":[` + one + `],"complete":true`}, -1, false},
		{"too long", callReply{200, "", `{"branches":[],"complete":true}` + strings.Repeat(" ", callMaxInDoubt)}, -1, false},
		{"long", callReply{200, "", `{"branches":[],"complete":true}` + strings.Repeat(" ", callMaxInDoubt-100)}, 0, true},
		{"204", callReply{204, "", ""}, -1, false},
		{"302", callReply{302, "", ""}, -1, false},
		{"400", callReply{400, "", ""}, -1, false},
		{"404", callReply{404, "", ""}, -1, false},
		{"500", callReply{500, "", ""}, -1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := callServe(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != "GET" || r.URL.Path != "/base/in-doubt" || r.URL.RawQuery != "limit=1000&log="+callLog.String() || r.Header.Get("Idempotency-Key") != "" {
					t.Errorf("asked with %s %s", r.Method, r.URL)
				}
				tt.reply.serve(w, r)
			}, nil)
			got, err := p.InDoubt(t.Context(), callLog)
			if (err != nil) != (tt.want < 0) || err == nil && len(got) != tt.want || err != nil && got != nil {
				t.Errorf("listed %v, %v; want %d branches", got, err, tt.want)
			}
			if p.listing.Load() != tt.lists {
				t.Errorf("it counts as listing: %v, want %v", !tt.lists, tt.lists)
			}
			if tt.want == 1 && got[0].XID != callSeq(1) {
				t.Errorf("listed %v", got)
			}
		})
	}
}

func TestCallerPages(t *testing.T) {
	pages := map[string]string{
		"":    `{"branches":[` + callEntry(1) + `,` + callEntry(2) + `],"next":"a&b","complete":false}`,
		"a&b": `{"branches":[],"next":"c"}`,
		"c":   `{"branches":[` + callEntry(3) + `],"next":null,"complete":true}`,
	}
	p := callServe(t, func(w http.ResponseWriter, r *http.Request) {
		callReply{200, "", pages[r.URL.Query().Get("after")]}.serve(w, r)
	}, nil)
	list := func() (all []uint64, err error) {
		got, err := p.InDoubt(t.Context(), callLog)
		for _, b := range got {
			all = append(all, b.XID.Seq)
		}
		return all, err
	}
	if got, err := list(); err != nil || !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("listed %v, %v", got, err)
	}
	for name, last := range map[string]string{
		"the first cursor again": `{"branches":[],"next":"a&b"}`,
		"its own cursor":         `{"branches":[],"next":"c","complete":true}`,
		"a branch again":         `{"branches":[` + callEntry(1) + `],"complete":true}`,
		"not complete":           `{"branches":[],"next":null}`,
		"a page that fails":      `oops`,
	} {
		pages["c"] = last
		if got, err := list(); err == nil || got != nil {
			t.Errorf("%s: listed %v, want an error", name, got)
		}
	}
	if !p.Listing() {
		t.Error("a listing that fails once does not make it plain")
	}

	// A listing that never ends is ended here, by its cursors if not by its branches.
	n := 0
	p = callServe(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		callReply{200, "", fmt.Sprintf(`{"branches":[],"next":"%d"}`, n)}.serve(w, r)
	}, nil)
	if _, err := p.InDoubt(t.Context(), callLog); err == nil || n != callMaxPages+1 {
		t.Errorf("%v after %d pages", err, n)
	}
	l := callList{id: "stock", log: callLog, all: make([]dtc.InDoubtBranch, callMaxBranches), seen: map[dtc.XID]bool{}}
	if _, err := l.page(callAnswer{status: 200, body: []byte(`{"branches":[` + callEntry(1) + `],"complete":true}`)}); err == nil {
		t.Error("there is no end to branches")
	}
}

// TestCallerListingFollowsTheService: plain until the first good answer, without
// anybody asking for it, and plain again when the service says so.
func TestCallerListingFollowsTheService(t *testing.T) {
	answer := make(chan callReply)
	p := callServe(t, func(w http.ResponseWriter, r *http.Request) { (<-answer).serve(w, r) }, nil)
	good := callReply{200, "", `{"branches":[],"complete":true}`}
	ask := func(reply callReply) error {
		go func() { answer <- reply }()
		_, err := p.InDoubt(t.Context(), callLog)
		return err
	}
	if first, second := p.Listing(), p.Listing(); first || second { // it asks once, in the background
		t.Fatal("listing before it was asked")
	}
	answer <- callReply{status: 503}
	p.probes.Wait()
	if p.Listing() || p.probing.Load() {
		t.Error("asks again at once")
	}
	p.nextProbe.Store(time.Now().AddDate(10, 0, 0).UnixNano()) // the clock has been set back
	if p.Listing() {
		t.Error("listing without a good answer")
	}
	if !p.probing.Load() {
		t.Fatal("it will not be asked for years")
	}
	answer <- good
	p.probes.Wait()
	if !p.Listing() {
		t.Error("not listing after a good answer")
	}
	for _, status := range []int{503, 401, 302} {
		if err := ask(callReply{status: status}); err == nil || !p.Listing() {
			t.Errorf("%d: %v, listing %v; want an error, and still listing", status, err, p.Listing())
		}
	}
	for _, status := range []int{404, 405, 501} {
		if err := ask(good); err != nil || !p.Listing() {
			t.Fatal(err)
		}
		p.nextProbe.Store(time.Now().Add(callProbePlain).UnixNano())
		if err := ask(callReply{status: status}); err == nil || p.Listing() {
			t.Errorf("%d: %v, listing %v; want an error, and plain", status, err, p.Listing())
		}
		go func() { answer <- callReply{status: status} }()
		if err := p.Probe(t.Context()); err != nil || p.Listing() {
			t.Errorf("%d to a probe: %v; it is known to be plain", status, err)
		}
	}
	go func() { answer <- callReply{status: 500} }()
	if err := p.Probe(t.Context()); err == nil {
		t.Error("a probe without a good answer must fail")
	}
	// Close ends the question that is out, and no other is asked.
	p.nextProbe.Store(0)
	p.Listing()
	if err := p.Close(); err != nil || p.Listing() || p.Listing() {
		t.Errorf("closed: %v", err)
	}
	close(answer)
}

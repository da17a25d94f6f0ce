package http_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

// slow is a participant that cannot list in time.
type slow struct{ *dtctest.Memory }

func (slow) InDoubt(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) {
	return nil, dtc.NoAnswer(context.DeadlineExceeded)
}

// dated lists with the time at which a branch was prepared.
type dated struct{ *dtctest.Memory }

func (d dated) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	all, err := d.Memory.InDoubt(ctx, log)
	for i := range all {
		all[i].PreparedAt = time.Unix(1_700_000_000, 0)
	}
	return all, err
}

// TestOpenAPIParticipant holds the description of a participant against the handler that
// serves one, and against the requests of the coordinator.
func TestOpenAPIParticipant(t *testing.T) {
	s := load(t, "openapi-participant.yaml")
	t.Run("coordinator", func(t *testing.T) { coordinated(t, s) })
	t.Run("answers", func(t *testing.T) { answers(t, s) })
	t.Run("requests", func(t *testing.T) { requests(t, s) })
	s.complete(nil)
}

// coordinated are the requests of a coordinator over three services.
func coordinated(t *testing.T, s *spec) {
	cfg := dtc.Config{Logger: quiet}
	for _, id := range []string{"inventory", "payment", "orders"} {
		m := dtctest.NewMemory(id)
		m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			switch {
			case b.Participant == "inventory" && b.TxID == "look":
				return dtc.VoteReadOnly, nil
			case b.Participant == "payment" && b.TxID == "no":
				return dtc.VoteAbort, dtc.Refuse(errors.New("no money"))
			case b.Participant == "payment" && b.TxID == "fault":
				return dtc.VoteAbort, errors.New("no account")
			}
			return dtc.VoteCommit, nil
		}
		c := serve(t, s, dtchttp.NewParticipantHandler(m, &dtchttp.HandlerOptions{Logger: quiet, Tokens: func() []string { return []string{"secret"} }}))
		p, err := dtchttp.NewParticipant(id, c.URL, &dtchttp.ParticipantOptions{Bearer: func() (string, error) { return "secret", nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		if err := p.Probe(t.Context()); err != nil || !p.Listing() {
			t.Fatalf("%s does not list: %v", id, err)
		}
		cfg.Participants = append(cfg.Participants, p)
	}
	c, err := dtc.Open(t.TempDir(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := dtchttp.WithTraceparent(t.Context(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	for _, id := range []dtc.TxID{"yes", "look", "no", "fault", `ä"b/\`} {
		ok, err := c.Execute(ctx, id, dtc.Branch{Participant: "inventory", Payload: []byte(`{"sku":["anvil",{"x":1}]}`)}, dtc.Branch{Participant: "payment"}, dtc.Branch{Participant: "orders", Payload: []byte("7")})
		if ok == (id == "no" || id == "fault") {
			t.Errorf("%s: %v, %v", id, ok, err)
		}
	}
}

// branch returns a branch of a log that no coordinator has.
func branch(t *testing.T, n int) dtc.Branch {
	t.Helper()
	x, err := dtc.ParseXID(fmt.Sprintf("dtc.aaaaaaaaaaaaaaaa.1-00000000.%d", n))
	if err != nil {
		t.Fatal(err)
	}
	return dtc.Branch{Participant: "payment", TxID: dtc.TxID(fmt.Sprint("t", n)), XID: x, Attempt: 1}
}

// answers are all that the handler gives, as the coordinator's side asks for them.
func answers(t *testing.T, s *spec) {
	m := dtctest.NewMemory("payment")
	m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		switch string(b.Payload) {
		case `"down"`:
			return dtc.VoteAbort, dtc.NoAnswer(errors.New("the database is down"))
		case `"late"`:
			return dtc.VoteAbort, dtc.NoAnswer(context.DeadlineExceeded)
		case `"panic"`:
			panic("meant")
		}
		return dtc.VoteCommit, nil
	}
	finish := func(_ context.Context, b dtc.Branch) error {
		switch b.Attempt {
		case 2:
			return errors.New("the row is locked")
		case 3:
			return dtc.NoAnswer(errors.New("the database is down"))
		case 4:
			return dtc.NoAnswer(context.DeadlineExceeded)
		case 5:
			return dtc.ErrUnknownBranch
		}
		return nil
	}
	m.OnCommit, m.OnRollback = finish, finish
	caller := func(served dtc.Participant) *dtchttp.Participant {
		c := serve(t, s, dtchttp.NewParticipantHandler(served, &dtchttp.HandlerOptions{Logger: quiet}))
		p, err := dtchttp.NewParticipant("payment", c.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	p, ctx := caller(dated{m}), t.Context()
	for _, payload := range []string{`"down"`, `"late"`, `"panic"`} {
		b := branch(t, 1)
		b.Payload, b.Deadline = []byte(payload), time.Now().Add(time.Hour)
		if _, err := p.Prepare(ctx, b); err == nil {
			t.Errorf("%s: no error", payload)
		}
	}
	for i, end := range []func(context.Context, dtc.Branch) error{p.Commit, p.Rollback} {
		b := branch(t, 10+i)
		if vote, err := p.Prepare(ctx, b); vote != dtc.VoteCommit || err != nil {
			t.Errorf("%v, %v", vote, err)
		}
		for b.Attempt = 2; b.Attempt < 6; b.Attempt++ {
			if end(ctx, b) == nil {
				t.Errorf("attempt %d: no error", b.Attempt)
			}
		}
		b.LowWater = branch(t, 1).XID
		if err := end(ctx, b); err != nil {
			t.Error(err)
		}
	}
	if p.Commit(ctx, branch(t, 11)) == nil || p.Rollback(ctx, branch(t, 10)) == nil || p.Commit(ctx, branch(t, 12)) == nil {
		t.Error("what ended the other way, or is not known, was acknowledged")
	}
	orphan := branch(t, 13)
	orphan.TxID = ""
	if err := p.Rollback(ctx, orphan); err != nil {
		t.Error(err)
	}
	held := branch(t, 14)
	if _, err := p.Prepare(ctx, held); err != nil {
		t.Error(err)
	}
	if all, err := p.InDoubt(ctx, held.XID.Log); len(all) != 1 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := caller(slow{m}).InDoubt(ctx, held.XID.Log); err == nil {
		t.Error("no error")
	}
	m.Crash()
	if _, err := p.InDoubt(ctx, held.XID.Log); err == nil {
		t.Error("no error")
	}
	plain := dtctest.NewMemory("payment")
	plain.Plain = true
	if _, err := caller(plain).InDoubt(ctx, held.XID.Log); err == nil {
		t.Error("no error")
	}
}

// requests are those that the handler refuses, and those that a page at a time lists.
func requests(t *testing.T, s *spec) {
	m := dtctest.NewMemory("payment")
	c := serve(t, s, dtchttp.NewParticipantHandler(m, &dtchttp.HandlerOptions{Logger: quiet, Tokens: func() []string { return []string{"secret"} }}))
	const (
		bearer = "Bearer secret"
		xid    = "dtc.aaaaaaaaaaaaaaaa.1-00000000.1"
		finish = `"xid":"` + xid + `","branch":"payment","attempt":1,"low_water":null`
		rest   = `,"deadline":null,"payload":null`
	)
	for _, op := range s.operations() {
		path := fill(op)
		c.want(401, op.method, path, "")
		c.want(405, "DELETE", path, "", "Authorization", bearer)
		if op.get("requestBody").exists() {
			c.bodies(op, path, "Authorization", bearer)
		}
	}
	c.want(404, "GET", "/", "", "Authorization", bearer)
	bad := func(method, path string, bodies ...string) {
		t.Helper()
		for _, body := range bodies {
			c.want(400, method, path, body, "Authorization", bearer)
			if !s.refuses(method, path, body) {
				t.Errorf("%s %s %s: the handler refuses it, and the file allows it", method, path, body)
			}
		}
	}
	for i := 1; i < 4; i++ {
		body := strings.Replace(finish, "00000.1", fmt.Sprint("00000.", i), 1)
		c.want(200, "POST", "/prepare", `{"tx_id":"t",`+body+rest+`}`, "Authorization", bearer)
	}
	bad("POST", "/prepare", `{"tx_id":"",`+finish+rest+`}`, `{`+finish+rest+`}`, `{"tx_id":"t",`+finish+`,"deadline":"soon","payload":null}`,
		`{"tx_id":"t","branch":"payment","attempt":1,"low_water":null`+rest+`}`)
	bad("POST", "/commit", `{"tx_id":"t",`+finish+rest+`}`, `{"tx_id":"t","xid":"x","branch":"payment","attempt":1,"low_water":null}`,
		`{"tx_id":"t","xid":"`+xid+`","branch":"payment","attempt":0,"low_water":null}`, `{"tx_id":"t","xid":"`+xid+`","branch":"payment","attempt":1,"low_water":"x"}`)
	c.want(400, "POST", "/rollback", `{"tx_id":"t","xid":"`+xid+`","branch":"orders","attempt":1,"low_water":null}`, "Authorization", bearer) // no file can know
	c.want(413, "POST", "/prepare", `{"tx_id":"t",`+finish+`,"deadline":null,"payload":"`+strings.Repeat("x", dtc.MaxPayload)+`"}`, "Authorization", bearer)

	after := ""
	for page := 1; ; page++ {
		answer := c.want(200, "GET", "/in-doubt?log=aaaaaaaaaaaaaaaa&limit=2"+after, "", "Authorization", bearer)
		next, more := answer["next"].(string)
		if complete := answer["complete"] == true; complete == more || complete != (page == 2) {
			t.Fatalf("page %d: %v", page, answer)
		}
		if !more {
			break
		}
		after = "&after=" + next
	}
	bad("GET", "/in-doubt", "")
	bad("GET", "/in-doubt?log=x", "")
	bad("GET", "/in-doubt?log=aaaaaaaaaaaaaaaa&limit=1001", "")
	bad("GET", "/in-doubt?log=aaaaaaaaaaaaaaaa&all=true", "")
	c.want(400, "GET", "/in-doubt?log=aaaaaaaaaaaaaaaa&after=x", "", "Authorization", bearer) // a cursor is the participant's own
}

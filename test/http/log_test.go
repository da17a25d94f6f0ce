package http_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// brittle is a log whose disk can fill up and break.
type brittle struct {
	*wal.Log
	full, broken atomic.Bool
}

func (b *brittle) Room() error {
	if b.full.Load() {
		return txlog.ErrNoRoom
	}
	return b.Log.Room()
}

func (b *brittle) Force(r txlog.Record) error {
	if b.broken.Load() {
		return txlog.ErrUnknown
	}
	return b.Log.Force(r)
}

// failingLog: the disk is full, and then it breaks under transactions.
func failingLog(t *testing.T, s *spec) {
	log, err := wal.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	disk := &brittle{Log: log}
	entered, release := make(chan bool, 10), make(chan struct{})
	cfg := dtc.Config{Logger: quiet}
	for _, id := range []string{"orders", "payment"} {
		m := dtctest.NewMemory(id)
		m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			entered <- true
			<-release
			return dtc.VoteCommit, nil
		}
		cfg.Participants = append(cfg.Participants, m)
	}
	coord, err := dtc.OpenLog(disk, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = coord.Close() })
	h := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet})
	h.Use(coord)
	c := serve(t, s, h)
	const order = `"branches":[{"participant":"orders"},{"participant":"payment"}]`
	c.want(201, "POST", "/v1/transactions/begin", `{"id":"grown"}`)
	for _, id := range []string{"orders", "payment"} {
		c.want(201, "POST", "/v1/transactions/grown/branches", `{"participant":"`+id+`"}`)
	}
	disk.full.Store(true)
	c.want(503, "POST", "/v1/transactions", `{`+order+`}`)
	c.want(503, "POST", "/v1/transactions/begin", "")
	disk.full.Store(false)
	var waiting sync.WaitGroup
	waiting.Go(func() { c.want(503, "POST", "/v1/transactions", `{"id":"doubtful",`+order+`}`) })
	waiting.Go(func() { c.want(503, "POST", "/v1/transactions/grown/commit", "") })
	for range 4 {
		<-entered
	}
	waiting.Go(func() { c.want(503, "POST", "/v1/transactions/grown/rollback", "") }) // it waits too, or comes later
	disk.broken.Store(true)
	close(release)
	waiting.Wait()
	c.want(503, "POST", "/v1/transactions", `{`+order+`}`)
	c.want(503, "POST", "/v1/transactions/begin", "")
	c.want(503, "GET", "/readyz?verbose", "")
	c.want(200, "GET", "/v1/transactions/doubtful", "")
}

// found is a branch that a participant lists and no log knows.
func found(t *testing.T, s *spec) {
	dir, m := t.TempDir(), dtctest.NewMemory("payment")
	m.OnRollback = func(context.Context, dtc.Branch) error { return errors.New("the row is locked") }
	open := func() *dtc.Coordinator {
		coord, err := dtc.Open(dir, &dtc.Config{Logger: quiet, Participants: []dtc.Participant{m}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = coord.Close() })
		return coord
	}
	before := open()
	info, _, err := before.Begin("before", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = before.Close()
	b := dtc.Branch{Participant: "payment", TxID: "lost", XID: info.XID, Attempt: 1}
	b.XID.Seq += 7
	if _, err := m.Prepare(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	h := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet})
	h.Use(open())
	c := serve(t, s, h)
	for range 10_000 {
		if list, _ := c.want(200, "GET", "/v1/transactions", "")["transactions"].([]any); len(list) > 0 {
			if doc := list[0].(map[string]any); doc["id"] != "" || doc["xid"] != b.XID.String() {
				t.Errorf("%v", doc)
			}
			c.want(200, "GET", "/v1/transactions/"+b.XID.String(), "")
			c.want(202, "POST", "/v1/transactions/"+b.XID.String()+"/retry", "")
			c.want(400, "POST", "/v1/transactions/"+b.XID.String()+"/branches/payment/resolve", `{"outcome":"rolled_back","reason":"x"}`)
			return
		}
		time.Sleep(time.Millisecond) // between two questions
	}
	t.Error("the branch was not found")
}

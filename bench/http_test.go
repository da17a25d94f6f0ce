package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/measure"
)

// BenchmarkHTTP runs transactions over HTTP, with a durable log, beside as many
// requests of the same shape that do nothing but JSON: a client asks a server, which
// asks two services twice, both at once. Everything is on loopback and in one process.
// Two more ratios: to the same with one small record forced to disk between the two
// halves, and to a client that makes the five requests itself, one by one.
func BenchmarkHTTP(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			for range b.N {
				compareHTTP(b, callers)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func compareHTTP(b *testing.B, callers int) {
	var calls, dials atomic.Int64
	participants := map[string]string{}
	cfg := &dtc.Config{Logger: slog.New(slog.DiscardHandler)}
	for _, id := range []string{"inventory", "payment"} {
		noop := measure.Noop(id, true, false)
		url := serve(b, &calls, &dials, dtchttp.NewParticipantHandler(noop, nil))
		p, err := dtchttp.NewParticipant(id, url, &dtchttp.ParticipantOptions{MaxIdleConns: 2 * callers})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Probe(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.Close() })
		participants[id] = url
		cfg.Participants = append(cfg.Participants, p)
	}
	cfg.Timing.Concurrency = max(64, 2*callers)
	c, err := dtc.Open(b.TempDir(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	control := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: cfg.Logger})
	control.Use(c)
	whole := serve(b, nil, &dials, control) + "/v1/transactions"

	echo := client(2 * callers)
	service := serve(b, nil, nil, http.HandlerFunc(answer))
	bare := serve(b, nil, nil, fanOut(echo, service, func() {}))
	disk, err := measure.OpenBare(filepath.Join(b.TempDir(), "bare"), 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = disk.Close() })
	record := make([]byte, 100)
	durable := serve(b, nil, nil, fanOut(echo, service, func() { disk.Append(record) }))

	caller := client(callers)
	var seq atomic.Int64
	transaction := func() {
		body := fmt.Sprintf(`{"id":"order-%d","branches":[{"participant":"inventory","payload":{"sku":"anvil","n":1}},`+
			`{"participant":"payment","payload":{"cents":4200}}]}`, seq.Add(1))
		var doc dtchttp.Transaction
		if err := post(caller, whole, []byte(body), &doc); err != nil || doc.Committed == nil || !*doc.Committed {
			b.Errorf("%+v, %v", doc, err)
		}
	}
	ask := func(url string) func() {
		return func() {
			var doc map[string]any
			if err := post(caller, url, prepareBody(seq.Add(1)), &doc); err != nil {
				b.Error(err)
			}
		}
	}
	inTurn := func() {
		var doc map[string]any
		for range 5 {
			if err := post(caller, service, prepareBody(1), &doc); err != nil {
				b.Error(err)
			}
		}
	}
	for _, f := range []func(){transaction, ask(bare), ask(durable), inTurn} { // warm up
		measure.Load(callers, 500*time.Millisecond, f)
	}
	if b.Failed() {
		return
	}
	var ratios, wholes, bares, turns, durables []float64
	opened, made, begun := dials.Load(), calls.Load(), c.Stats().Begun
	for range 5 {
		l, _ := measure.Load(callers, 500*time.Millisecond, ask(bare))
		w, _ := measure.Load(callers, 500*time.Millisecond, transaction)
		d, _ := measure.Load(callers, 500*time.Millisecond, ask(durable))
		five, _ := measure.Load(callers, 500*time.Millisecond, inTurn)
		durables = append(durables, w/d)
		wholes, bares, ratios, turns = append(wholes, w), append(bares, l), append(ratios, w/l), append(turns, w/five)
	}
	n := c.Stats().Begun - begun
	b.ReportMetric(measure.Median(wholes), "tx/s")
	b.ReportMetric(measure.Median(bares), "bare/s")
	b.ReportMetric(measure.Median(ratios), "ratio")
	b.ReportMetric(measure.Median(durables), "ratio-durable")
	b.ReportMetric(measure.Median(turns), "ratio-in-turn")
	b.ReportMetric(float64(calls.Load()-made)/float64(n), "calls/tx")
	b.ReportMetric(float64(dials.Load()-opened), "new-conns")
}

// serve serves a handler, and counts requests and connections.
func serve(b *testing.B, requests, conns *atomic.Int64, h http.Handler) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests != nil {
				requests.Add(1)
			}
			h.ServeHTTP(w, r)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if conns != nil && s == http.StateNew {
				conns.Add(1)
			}
		},
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
	}()
	b.Cleanup(func() { _ = s.Close() })
	return "http://" + l.Addr().String()
}

// fanOut is the bare server: for each request it asks the service twice at once, and
// again twice at once when both have answered, and decide has returned.
func fanOut(client *http.Client, service string, decide func()) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for i := range 2 {
			var wg sync.WaitGroup
			if i == 1 {
				decide()
			}
			for range 2 {
				wg.Go(func() {
					var out map[string]any
					if err := post(client, service, prepareBody(1), &out); err != nil {
						http.Error(w, err.Error(), http.StatusBadGateway)
					}
				})
			}
			wg.Wait()
		}
		_ = json.NewEncoder(w).Encode(in)
	})
}

// answer is the bare service: it reads JSON and writes JSON.
func answer(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"vote": "vote_commit"})
}

// prepareBody is as long as what a participant is sent.
func prepareBody(n int64) []byte {
	return []byte(`{"tx_id":"order-` + strconv.FormatInt(n, 10) + `","xid":"dtc.abcdefghijklmnop.1-9f3a10cc.17","branch":"inventory",` +
		`"attempt":1,"low_water":"dtc.abcdefghijklmnop.1-9f3a10cc.17","deadline":"2026-01-01T00:00:00.000Z","payload":{"sku":"anvil","n":1}}`)
}

func client(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns}}
}

func post(c *http.Client, url string, body []byte, answer any) error {
	resp, err := c.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return json.Unmarshal(text, answer)
}

package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/measure"
)

// BenchmarkLists asks a server for what it knows while 50,000 transactions wait for a
// participant that is down, and then lets that participant come back.
func BenchmarkLists(b *testing.B) {
	for range b.N {
		lists(b, 50_000)
	}
	b.ReportMetric(0, "ns/op")
}

func lists(b *testing.B, n int) {
	var down atomic.Bool
	down.Store(true)
	dead := dtc.ParticipantFuncs{
		ParticipantID: "dead",
		PrepareFunc:   func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
		CommitFunc: func(context.Context, dtc.Branch) error {
			if down.Load() {
				return dtc.NoAnswer(io.ErrUnexpectedEOF)
			}
			return nil
		},
		InDoubtFunc: func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, nil },
	}
	log := slog.New(slog.DiscardHandler)
	c, err := dtc.Open(b.TempDir(), &dtc.Config{
		Participants: []dtc.Participant{dead, measure.Noop("alive", true, false)}, CompletionWait: -1,
		MaxTransactions: 3 * n, KeepEnded: 10_000, Logger: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	var wg sync.WaitGroup
	for worker := range 100 {
		wg.Go(func() {
			for i := worker; i < n; i += 100 {
				id := dtc.TxID(fmt.Sprint("order-", i))
				if ok, err := c.Execute(context.Background(), id, dtc.Branch{Participant: "alive"}, dtc.Branch{Participant: "dead"}); !ok {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := c.Stats().Unfinished; left != n {
		b.Fatalf("%d are unfinished", left)
	}
	control := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: log})
	control.Use(c)
	url := serve(b, nil, nil, control)
	oldest := ""
	for info := range c.Transactions(dtc.Filter{}) {
		oldest = info.XID.String()
	}
	for name, path := range map[string]string{
		"newest-ms":       "/v1/transactions",
		"thousand-ms":     "/v1/transactions?limit=1000",
		"oldest-ms":       "/v1/transactions?after=" + oldest,
		"none-ms":         "/v1/transactions?state=preparing",
		"of-one-ms":       "/v1/transactions?participant=dead",
		"one-ms":          "/v1/transactions/order-0",
		"participants-ms": "/v1/participants",
	} {
		var took []time.Duration
		for range 20 {
			began := time.Now()
			resp, err := http.Get(url + path)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp.Status, err)
			}
			_ = resp.Body.Close()
			took = append(took, time.Since(began))
		}
		b.ReportMetric(float64(measure.Median(took).Microseconds())/1000, name)
	}
	down.Store(false)
	began := time.Now()
	for c.Stats().Unfinished > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	b.ReportMetric(time.Since(began).Seconds(), "return-s")
}

package chaos_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/tally"
)

// sick is a participant that votes, and then answers no commit until it is well.
type sick struct {
	ill                  atomic.Bool
	done, refused        atomic.Int64
	inFlight, mostAtOnce atomic.Int64
}

func (p *sick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	switch {
	case strings.HasSuffix(r.URL.Path, "/prepare"):
		_, _ = io.WriteString(w, `{"vote":"vote_commit"}`)
	case !strings.HasSuffix(r.URL.Path, "/commit"):
		w.WriteHeader(http.StatusNotFound)
	case p.ill.Load():
		now := p.inFlight.Add(1)
		defer p.inFlight.Add(-1)
		for most := p.mostAtOnce.Load(); now > most && !p.mostAtOnce.CompareAndSwap(most, now); most = p.mostAtOnce.Load() {
		}
		time.Sleep(2 * time.Millisecond) // so that calls at the same time meet
		p.refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		p.done.Add(1)
	}
}

// Tens of thousands of transactions that wait for a dead participant are listed page by
// page in no time, the participant is asked by one call at a time, and when it is back
// all of them finish.
func TestManyInDoubt(t *testing.T) {
	n := inDoubt
	if testing.Short() {
		n /= 10
	}
	well, ill := &sick{}, &sick{}
	ill.ill.Store(true)
	cfg := &dtc.Config{
		Logger: slog.New(slog.DiscardHandler), CompletionWait: -1,
		Timing:          dtc.Timing{FinishBackoffCap: 200 * time.Millisecond, PrepareAttempt: 10 * time.Second, PrepareTimeout: time.Minute},
		MaxTransactions: 2*n + 2, // half of them may wait for one participant
	}
	for name, p := range map[string]*sick{"well": well, "ill": ill} {
		s := httptest.NewServer(p)
		t.Cleanup(s.Close)
		caller, err := dtchttp.NewParticipant(name, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { caller.Close() })
		cfg.Participants = append(cfg.Participants, caller)
	}
	c, err := dtc.Open(t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	control := dtchttp.NewControlHandler(nil)
	control.Use(c)
	server := httptest.NewServer(control)
	defer server.Close()

	began := time.Now()
	commitMany(t, c, n)
	t.Logf("%d transactions committed in %v", n, time.Since(began).Round(time.Millisecond))
	tally.Add(t, "storm", "transactions in doubt at once, at a dead participant", int64(n), 1000)
	if got := c.Stats().Unfinished; got != n {
		t.Fatalf("%d transactions wait for the participant, want %d", got, n)
	}

	listed, pages := listAll(t, server.URL)
	if len(listed) != n {
		t.Errorf("%d transactions are listed, want %d", len(listed), n)
	}
	slices.Sort(pages)
	median := pages[len(pages)/2]
	t.Logf("a page of 100 of %d transactions in doubt: median %v, slowest %v, of %d pages", n, median, pages[len(pages)-1], len(pages))
	if median > time.Second { // ten times what it should be at most
		t.Errorf("the median page took %v", median)
	}

	// Nothing but commits is left to call it with.
	eventually(t, "no call is out", func() bool { return ill.inFlight.Load() == 0 })
	ill.mostAtOnce.Store(0)
	before := ill.refused.Load()
	eventually(t, "it is asked again and again", func() bool { return ill.refused.Load() >= before+10 })
	if most := ill.mostAtOnce.Load(); most > 1 {
		t.Errorf("a participant that is down has %d commits at a time", most)
	}

	back := time.Now()
	ill.ill.Store(false)
	eventually(t, "all are finished", func() bool { return c.Stats().Unfinished == 0 })
	t.Logf("all were finished %v after the participant was back", time.Since(back).Round(time.Millisecond))
	if got := ill.done.Load(); got != int64(n) {
		t.Errorf("%d commits were taken, want %d", got, n)
	}
	if got, _ := listAll(t, server.URL); len(got) > 0 {
		t.Errorf("%d transactions are listed, and all are finished", len(got))
	}
}

func commitMany(t *testing.T, c *dtc.Coordinator, n int) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				info, err := c.Transact(context.Background(), dtc.TxID(fmt.Sprintf("order-%d", i)), nil,
					dtc.Branch{Participant: "well"}, dtc.Branch{Participant: "ill"})
				if err != nil || info.Outcome != dtc.Committed {
					t.Errorf("order-%d: %v, %v", i, info.Outcome, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// listAll pages through the list, and says how long each page took.
func listAll(t *testing.T, server string) (ids map[string]bool, pages []time.Duration) {
	t.Helper()
	ids = map[string]bool{}
	for after := ""; ; {
		var page struct {
			Transactions []struct{ ID string }
			Next         *string
		}
		began := time.Now()
		if err := getJSON(t.Context(), server+"/v1/transactions?"+after, &page); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, time.Since(began))
		for _, tx := range page.Transactions {
			if ids[tx.ID] {
				t.Errorf("%s is listed twice", tx.ID)
			}
			ids[tx.ID] = true
		}
		if page.Next == nil {
			return ids, pages
		}
		after = "after=" + url.QueryEscape(*page.Next)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

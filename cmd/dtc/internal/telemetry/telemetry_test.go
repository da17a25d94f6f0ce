package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

var quiet = slog.New(slog.DiscardHandler)

// server is a coordinator with its metrics.
type server struct {
	*dtc.Coordinator
	m *Metrics
	t *testing.T
}

func start(t *testing.T, disk *vfs.Mem, cfg *dtc.Config) server {
	t.Helper()
	m := New("v1.2.3")
	o := &wal.Options{FS: disk, SegmentSize: 16 << 10}
	m.Log(o)
	log, err := wal.Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = quiet
	cfg.Trace = m.Trace(nil)
	c, err := dtc.OpenLog(log, cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", make([]byte, 1234), 0o600); err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour)
	m.Watch(c, log, dir, func() time.Time { return expires })
	return server{c, m, t}
}

func (s server) close() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
}

// text returns what Prometheus is told of the metrics of dtc.
func (s server) text() string {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		s.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// value returns a sample, named as in the text, or -1.
func (s server) value(sample string) float64 {
	s.t.Helper()
	for line := range strings.Lines(s.text()) {
		if rest, ok := strings.CutPrefix(line, sample+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

func (s server) expect(samples map[string]float64) {
	s.t.Helper()
	for sample, want := range samples {
		if got := s.value(sample); got != want {
			s.t.Errorf("%s = %v; want %v", sample, got, want)
		}
	}
}

func branches(ids ...string) (list []dtc.Branch) {
	for _, id := range ids {
		list = append(list, dtc.Branch{Participant: id})
	}
	return list
}

// service is a participant that can be told how to behave.
type service struct {
	*dtctest.Memory
	away    atomic.Bool
	against atomic.Bool
}

func newService(id string) *service { return &service{Memory: dtctest.NewMemory(id)} }

func (s *service) gone() error {
	switch {
	case s.against.Load():
		return &dtc.FinishedError{Outcome: dtc.RolledBack}
	case s.away.Load():
		return dtc.NoAnswer(errors.New("away"))
	}
	return nil
}

func (s *service) Commit(ctx context.Context, b dtc.Branch) error {
	if err := s.gone(); err != nil {
		return err
	}
	return s.Memory.Commit(ctx, b)
}

func (s *service) Rollback(ctx context.Context, b dtc.Branch) error {
	if err := s.gone(); err != nil {
		return err
	}
	return s.Memory.Rollback(ctx, b)
}

func (s server) settle() {
	s.t.Helper()
	for range 10_000 {
		if s.Stats().Unfinished == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatal("transactions are still unfinished")
}

// TestMetrics runs transactions of every kind and looks at every metric.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService("a"), newService("b")
		a.OnPrepare = func(ctx context.Context, br dtc.Branch) (dtc.Vote, error) {
			switch br.TxID {
			case "reads":
				return dtc.VoteReadOnly, nil
			case "slow":
				time.Sleep(300 * time.Millisecond)
			case "late":
				<-ctx.Done()
				return dtc.VoteAbort, ctx.Err()
			case "unreachable":
				return dtc.VoteAbort, dtc.NoAnswer(errors.New("no route"))
			case "refused":
				time.Sleep(time.Second) // when b is prepared
				return dtc.VoteAbort, nil
			case "error":
				time.Sleep(time.Second)
				return dtc.VoteAbort, errors.New("out of stock")
			}
			return dtc.VoteCommit, nil
		}
		disk := vfs.NewMem()
		cfg := &dtc.Config{
			Participants: []dtc.Participant{a, b}, CompletionWait: -1,
			Timing: dtc.Timing{PrepareTimeout: 5 * time.Second, PrepareAttempt: 2 * time.Second},
		}
		s := start(t, disk, cfg)
		s.expect(map[string]float64{ // before anything happens
			`dtc_transactions_total{outcome="committed",reason=""}`:             0,
			`dtc_transactions_total{outcome="rolled_back",reason="recovered"}`:  0,
			`dtc_transactions_active{state="active"}`:                           0,
			`dtc_branch_ops_total{op="prepare",participant="a",result="error"}`: 0,
			`dtc_branch_retries_total{op="commit",participant="b"}`:             0,
			`dtc_in_doubt{participant="a"}`:                                     0,
			`dtc_in_doubt_oldest_seconds`:                                       0,
			`dtc_forced_total{outcome="committed"}`:                             0,
			`dtc_hazard_total`:                                                  0,
			`dtc_recovery_hold`:                                                 0,
			`dtc_orphan_prepared{participant="a"}`:                              0,
			`dtc_log_bytes`:                                                     1234,
			`dtc_tls_cert_expiry_seconds`:                                       3600,
		})
		for _, id := range []dtc.TxID{"plain", "slow", "reads", "refused", "error", "late", "unreachable"} {
			_, _ = s.Execute(t.Context(), id, branches("a", "b")...)
		}
		s.settle()
		s.expect(map[string]float64{
			`dtc_transactions_total{outcome="committed",reason=""}`:                     3,
			`dtc_transactions_total{outcome="rolled_back",reason="vote_abort"}`:         2,
			`dtc_transactions_total{outcome="rolled_back",reason="prepare_timeout"}`:    1,
			`dtc_transactions_total{outcome="rolled_back",reason="unreachable"}`:        1,
			`dtc_transaction_duration_seconds_count{outcome="committed"}`:               3,
			`dtc_transaction_duration_seconds_bucket{outcome="committed",le="0.25"}`:    2,
			`dtc_transaction_duration_seconds_bucket{outcome="committed",le="0.5"}`:     3,
			`dtc_transaction_duration_seconds_sum{outcome="rolled_back"}`:               12,
			`dtc_branch_ops_total{op="prepare",participant="a",result="vote_commit"}`:   2,
			`dtc_branch_ops_total{op="prepare",participant="a",result="vote_abort"}`:    1,
			`dtc_branch_ops_total{op="prepare",participant="a",result="read_only"}`:     1,
			`dtc_branch_ops_total{op="prepare",participant="a",result="error"}`:         1,
			`dtc_branch_ops_total{op="prepare",participant="b",result="vote_commit"}`:   7,
			`dtc_branch_ops_total{op="commit",participant="a",result="done"}`:           2,
			`dtc_branch_ops_total{op="commit",participant="b",result="done"}`:           3,
			`dtc_branch_ops_total{op="rollback",participant="b",result="done"}`:         4,
			`dtc_branch_op_duration_seconds_count{op="rollback",participant="b"}`:       4,
			`dtc_in_doubt{participant="b"}`:                                             0,
			`dtc_transactions_active{state="committing"}`:                               0,
			`dtc_build_info{go_version="` + goVersion(s.text()) + `",version="v1.2.3"}`: 1,
		})
		if n := s.value(`dtc_branch_ops_total{op="prepare",participant="a",result="no_answer"}`); n < 2 {
			t.Errorf("%v calls ran into their deadline", n)
		}
		if n := s.value(`dtc_branch_retries_total{op="prepare",participant="a"}`); n < 1 {
			t.Errorf("%v retries of prepare", n)
		}
		synced, groups, sum := s.value(`dtc_log_sync_duration_seconds_count`), s.value(`dtc_log_group_size_count`), s.value(`dtc_log_group_size_sum`)
		if synced < 3 || groups != synced || sum < groups {
			t.Errorf("%v syncs, %v groups, %v records", synced, groups, sum)
		}
		if s.value(`dtc_log_free_bytes`) <= 0 || s.value(`dtc_recovery_duration_seconds`) < 0 {
			t.Error("no free space, or no recovery")
		}

		// One that grows, and cannot be finished: it is retried, is found to have gone the
		// other way, and is resolved.
		if _, _, err := s.Begin("stuck", nil); err != nil {
			t.Fatal(err)
		}
		s.expect(map[string]float64{`dtc_transactions_active{state="active"}`: 1})
		for _, id := range []string{"a", "b"} {
			if _, _, err := s.Enlist("stuck", dtc.Branch{Participant: id}); err != nil {
				t.Fatal(err)
			}
		}
		b.away.Store(true)
		if info, err := s.Commit(t.Context(), "stuck", nil); err != nil || info.Outcome != dtc.Committed {
			t.Fatal(info, err)
		}
		time.Sleep(3 * time.Minute)
		s.expect(map[string]float64{
			`dtc_transactions_active{state="active"}`:                              0,
			`dtc_transactions_active{state="committing"}`:                          1,
			`dtc_in_doubt{participant="a"}`:                                        0,
			`dtc_in_doubt{participant="b"}`:                                        1,
			`dtc_in_doubt_oldest_seconds`:                                          180,
			`dtc_hazard_total`:                                                     0,
			`dtc_branch_ops_total{op="commit",participant="b",result="no_answer"}`: s.value(`dtc_branch_retries_total{op="commit",participant="b"}`),
		})
		if n := s.value(`dtc_branch_retries_total{op="commit",participant="b"}`); n < 3 {
			t.Errorf("%v retries of commit", n)
		}
		b.against.Store(true)
		if err := s.Retry(t.Context(), "stuck"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.expect(map[string]float64{
			`dtc_hazard_total`: 1,
			`dtc_branch_ops_total{op="commit",participant="b",result="finished_otherwise"}`: 1,
		})
		if err := s.Resolve(t.Context(), "stuck", "b", dtc.RolledBack, "looked"); err != nil {
			t.Fatal(err)
		}
		s.settle()
		s.expect(map[string]float64{
			`dtc_forced_total{outcome="rolled_back"}`:     1,
			`dtc_forced_total{outcome="committed"}`:       0,
			`dtc_transactions_active{state="committing"}`: 0,
			`dtc_in_doubt{participant="b"}`:               0,
			`dtc_in_doubt_oldest_seconds`:                 0,
		})
		s.close()
		if problems, err := testutil.GatherAndLint(s.m.registry); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
}

func goVersion(text string) string {
	m := regexp.MustCompile(`go_version="([^"]*)"`).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

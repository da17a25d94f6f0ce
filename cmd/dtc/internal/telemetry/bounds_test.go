package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// labels are the labels of each metric, and the values of those that come from fixed
// lists.
var labels = map[string]map[string][]string{
	"dtc_transactions_total": {"outcome": {"committed", "rolled_back"}, "reason": {
		"", "vote_abort", "prepare_timeout", "unreachable", "participant_error", "cancelled", "deadline",
		"shutting_down", "recovered", "forced",
	}},
	"dtc_transaction_duration_seconds": {"outcome": {"committed", "rolled_back"}},
	"dtc_transactions_active":          {"state": {"active", "preparing", "committing", "rolling_back"}},
	"dtc_branch_ops_total": {"participant": nil, "op": {"prepare", "commit", "rollback", "commit_one_phase", "settle"}, "result": {
		"vote_commit", "vote_abort", "read_only", "done", "no_answer", "error", "unknown_branch", "finished_otherwise",
	}},
	"dtc_branch_op_duration_seconds": {"participant": nil, "op": {"prepare", "commit", "rollback", "commit_one_phase", "settle"}},
	"dtc_branch_retries_total":       {"participant": nil, "op": {"prepare", "commit", "rollback", "commit_one_phase", "settle"}},
	"dtc_in_doubt":                   {"participant": nil},
	"dtc_in_doubt_oldest_seconds":    {},
	"dtc_forced_total":               {"outcome": {"committed", "rolled_back"}},
	"dtc_hazard_total":               {},
	"dtc_orphan_prepared":            {"participant": nil},
	"dtc_recovery_hold":              {},
	"dtc_log_sync_duration_seconds":  {},
	"dtc_log_group_size":             {},
	"dtc_log_bytes":                  {},
	"dtc_log_free_bytes":             {},
	"dtc_recovery_duration_seconds":  {},
	"dtc_tls_cert_expiry_seconds":    {},
	"dtc_build_info":                 {"version": {"v1.2.3"}, "go_version": nil},
}

// TestNamesAndLabels: there are these metrics and no others, with these labels and
// values, and the reference has a line for each with its type.
func TestNamesAndLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		participants := []string{"a", "b"}
		s := start(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{newService("a"), newService("b")}})
		defer s.close()
		// Ids as long as they may be, with everything in them that may be.
		id := dtc.TxID("secret-" + strings.Repeat(`"\{x}ü`, 15))
		if _, err := s.Execute(t.Context(), id, branches("a", "b")...); err != nil {
			t.Fatal(err)
		}
		text := s.text()
		if strings.Contains(text, "secret") || strings.Contains(text, "dtc.") {
			t.Error("the metrics tell the id of a transaction")
		}
		_ = s.text() // once more: registering again would be a mistake
		page, err := os.ReadFile("../../../../docs/reference/metrics.md")
		if err != nil {
			t.Fatal(err)
		}
		families, err := s.m.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, f := range families {
			name := f.GetName()
			if !strings.HasPrefix(name, "dtc_") {
				if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
					t.Errorf("%s: of whom?", name)
				}
				continue
			}
			seen[name] = true
			want, known := labels[name]
			if !known {
				t.Errorf("%s is in no list", name)
			}
			for _, m := range f.GetMetric() {
				got := map[string]bool{}
				for _, l := range m.GetLabel() {
					got[l.GetName()] = true
					values := want[l.GetName()]
					if l.GetName() == "participant" {
						values = participants
					}
					if values != nil && !slices.Contains(values, l.GetValue()) {
						t.Errorf("%s: %s=%q", name, l.GetName(), l.GetValue())
					}
				}
				if len(got) != len(want) {
					t.Errorf("%s has the labels %v", name, got)
				}
			}
			var names []string
			for label := range want {
				names = append(names, "`"+label+"`")
			}
			slices.Sort(names)
			line := regexp.MustCompile("(?m)^\\| `" + name + "` \\| (\\w+) \\| (.*?) \\| .+ \\|$").FindStringSubmatch(string(page))
			if line == nil {
				t.Errorf("docs/reference/metrics.md has no line for %s", name)
				continue
			}
			documented := strings.Split(line[2], ", ")
			if line[2] == "" {
				documented = nil
			}
			slices.Sort(documented)
			if line[1] != strings.ToLower(f.GetType().String()) || !slices.Equal(documented, names) {
				t.Errorf("docs/reference/metrics.md calls %s a %s with the labels %s; it is a %s with %s", name, line[1], line[2], f.GetType(), names)
			}
		}
		for name := range labels {
			if !seen[name] {
				t.Errorf("%s is missing", name)
			}
		}
		for _, m := range regexp.MustCompile("`(dtc_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
			if !seen[m[1]] {
				t.Errorf("docs/reference/metrics.md tells of %s, which there is not", m[1])
			}
		}
		if problems, err := testutil.GatherAndLint(s.m.registry); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
}

// TestBeforeTheCoordinator: while the log is read there is nothing to ask, and the
// metrics say so.
func TestBeforeTheCoordinator(t *testing.T) {
	s := server{m: New("v1.2.3"), t: t}
	if s.value("dtc_hazard_total") != 0 || strings.Contains(s.text(), "dtc_in_doubt") {
		t.Error(s.text())
	}
	var o wal.Options
	told := 0
	o.Synced = func(time.Duration, int) { told++ }
	s.m.Log(&o)
	o.Synced(60*time.Millisecond, 3)
	s.expect(map[string]float64{
		`dtc_log_sync_duration_seconds_bucket{le="0.05"}`: 0,
		`dtc_log_sync_duration_seconds_bucket{le="0.1"}`:  1,
		`dtc_log_group_size_bucket{le="2"}`:               0,
		`dtc_log_group_size_bucket{le="4"}`:               1,
	})
	if told != 1 {
		t.Error("the function that was there before is not called")
	}
}

// TestParticipantsComeAndGo: what left the configuration stays while it has branches,
// and leaves nothing behind afterwards.
func TestParticipantsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService("a"), newService("b")
		s := start(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a, b}, CompletionWait: -1})
		defer s.close()
		b.away.Store(true)
		if ok, err := s.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Unregister("b"); err != nil {
			t.Fatal(err)
		}
		s.expect(map[string]float64{
			`dtc_in_doubt{participant="b"}`:                                           1,
			`dtc_branch_ops_total{op="prepare",participant="b",result="vote_commit"}`: 1,
		})
		if err := s.Resolve(t.Context(), "t", "b", dtc.Committed, "gone for good"); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if text := s.text(); strings.Contains(text, `participant="b"`) || !strings.Contains(text, `participant="a"`) {
			t.Error("b is still there, or a is gone")
		}
		b.away.Store(false)
		if err := s.Register(b); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Execute(t.Context(), "u", branches("b")...); !ok {
			t.Fatal(err)
		}
		s.settle()
		s.expect(map[string]float64{`dtc_branch_ops_total{op="commit",participant="b",result="done"}`: 1})
	})
}

// TestScrapeBesideWork: scrapes, transactions, and participants that come and go, all
// at once.
func TestScrapeBesideWork(t *testing.T) {
	a := dtctest.NewMemory("a")
	s := start(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a}})
	defer s.close()
	const rounds, runners = 50, 4
	var wg sync.WaitGroup
	for r := range runners {
		wg.Go(func() {
			for i := range rounds {
				if ok, err := s.Execute(context.Background(), dtc.TxID(fmt.Sprintf("t%d-%d", r, i)), branches("a")...); !ok {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range rounds {
			id := fmt.Sprintf("p%d", i)
			if err := s.Register(dtctest.NewMemory(id)); err != nil {
				t.Error(err)
			}
			if ok, err := s.Execute(context.Background(), dtc.TxID(id), branches(id)...); !ok {
				t.Error(err)
			}
			if err := s.Unregister(id); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for range rounds {
				_ = s.text()
			}
		})
	}
	wg.Wait()
	for s.Stats().Unfinished > 0 {
		time.Sleep(time.Millisecond)
	}
	s.expect(map[string]float64{
		`dtc_branch_ops_total{op="commit",participant="a",result="done"}`: rounds * runners,
		`dtc_transactions_total{outcome="committed",reason=""}`:           rounds * (runners + 1),
	})
	if n := len(*s.m.participants.Load()); n != 1 {
		t.Errorf("%d participants are still known", n)
	}
}

// TestTraceGoesOn: the hooks that were there are called as well.
func TestTraceGoesOn(t *testing.T) {
	var steps []string
	next := &dtc.Trace{
		Begun:     func(dtc.TraceTx) { steps = append(steps, "begun") },
		Decided:   func(dtc.TraceTx, dtc.Outcome, dtc.Reason) { steps = append(steps, "decided") },
		Called:    func(dtc.TraceCall, dtc.Vote, error, time.Duration) { steps = append(steps, "called") },
		Retrying:  func(dtc.TraceCall, time.Duration) { steps = append(steps, "retrying") },
		Hazard:    func(dtc.TraceCall) { steps = append(steps, "hazard") },
		Resolved:  func(dtc.TraceTx, string, dtc.Outcome) { steps = append(steps, "resolved") },
		Recovered: func(int, int, time.Duration) { steps = append(steps, "recovered") },
	}
	tr := New("v1.2.3").Trace(next)
	call := dtc.TraceCall{Participant: "a", Verb: "commit"}
	tr.Begun(dtc.TraceTx{})
	tr.Decided(dtc.TraceTx{}, dtc.RolledBack, dtc.Reason{Code: 200}) // a code of tomorrow
	tr.Decided(dtc.TraceTx{}, dtc.OutcomeUnknown, dtc.Reason{})
	tr.Called(call, dtc.VoteAbort, nil, time.Second)
	tr.Called(dtc.TraceCall{Participant: "a", Verb: "prepare"}, dtc.Vote(77), nil, time.Second)
	tr.Retrying(call, time.Second)
	tr.Hazard(call)
	tr.Resolved(dtc.TraceTx{}, "a", dtc.Committed)
	tr.Recovered(1, 2, time.Second)
	if got := strings.Join(steps, " "); got != "begun decided decided called called retrying hazard resolved recovered" {
		t.Error(got)
	}
}

// TestResults: what comes back from a call has one word, whatever it is.
func TestResults(t *testing.T) {
	finished := fmt.Errorf("commit: %w", &dtc.FinishedError{Outcome: dtc.RolledBack})
	for _, c := range []struct {
		op   op
		vote dtc.Vote
		err  error
		want string
	}{
		{prepare, dtc.VoteCommit, nil, "vote_commit"},
		{prepare, dtc.VoteAbort, nil, "vote_abort"},
		{prepare, dtc.VoteReadOnly, nil, "read_only"},
		{prepare, dtc.Vote(9), nil, "error"},
		{prepare, dtc.VoteCommit, errors.New("and yet"), "error"},
		{prepare, dtc.VoteAbort, dtc.Refuse(errors.New("no")), "error"},
		{prepare, dtc.VoteAbort, dtc.NoAnswer(errors.New("lost")), "no_answer"},
		{prepare, dtc.VoteAbort, fmt.Errorf("call: %w", context.DeadlineExceeded), "no_answer"},
		{prepare, dtc.VoteAbort, dtc.ErrUnknownBranch, "error"}, // makes no sense there
		{prepare, dtc.VoteAbort, finished, "error"},
		{onePhase, dtc.VoteCommit, nil, "vote_commit"},
		{onePhase, dtc.VoteAbort, errors.New("odd"), "error"},
		{settle, dtc.VoteAbort, nil, "done"},
		{settle, dtc.VoteAbort, finished, "finished_otherwise"},
		{commit, dtc.VoteAbort, nil, "done"},
		{rollback, dtc.VoteAbort, nil, "done"},
		{commit, dtc.VoteAbort, finished, "finished_otherwise"},
		{rollback, dtc.VoteAbort, fmt.Errorf("rollback: %w", dtc.ErrUnknownBranch), "unknown_branch"},
		{commit, dtc.VoteAbort, &net.OpError{Op: "dial", Err: errors.New("refused")}, "no_answer"},
		{rollback, dtc.VoteAbort, context.Canceled, "no_answer"},
		{commit, dtc.VoteAbort, errors.New("constraint violated"), "error"},
	} {
		got := resultOf(c.op, c.vote, c.err)
		if got.String() != c.want || !slices.Contains(possible[c.op], got) {
			t.Errorf("%v %v %v: %v; want %s", c.op, c.vote, c.err, got, c.want)
		}
	}
}

// TestRecovery: what an earlier process left is counted, but not how long it took; and
// of several participants the oldest counts.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService("a"), newService("b")
		disk := vfs.NewMem()
		cfg := func() *dtc.Config {
			return &dtc.Config{Participants: []dtc.Participant{a, b}, CompletionWait: -1, SweepInterval: time.Second}
		}
		s := start(t, disk, cfg())
		a.away.Store(true)
		b.away.Store(true)
		for _, id := range []string{"a", "b"} { // that of a is older
			if ok, err := s.Execute(t.Context(), dtc.TxID("of-"+id), branches(id)...); !ok {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		s.expect(map[string]float64{`dtc_in_doubt_oldest_seconds`: 120})
		info, err := s.Transaction("of-a")
		if err != nil {
			t.Fatal(err)
		}
		s.close()
		orphan := info.XID
		orphan.Seq += 7
		if _, err := b.Prepare(t.Context(), dtc.Branch{Participant: "b", TxID: "lost", XID: orphan}); err != nil {
			t.Fatal(err)
		}
		s = start(t, disk, cfg())
		time.Sleep(time.Minute)
		s.expect(map[string]float64{
			`dtc_transactions_total{outcome="committed",reason=""}`:       2,
			`dtc_transaction_duration_seconds_count{outcome="committed"}`: 0,
			`dtc_orphan_prepared{participant="a"}`:                        0,
			`dtc_orphan_prepared{participant="b"}`:                        1,
			`dtc_transactions_active{state="committing"}`:                 2,
			`dtc_transactions_active{state="rolling_back"}`:               1,
			`dtc_in_doubt_oldest_seconds`:                                 180,
		})
		a.away.Store(false)
		b.away.Store(false)
		s.settle()
		s.expect(map[string]float64{
			`dtc_orphan_prepared{participant="b"}`:                             0,
			`dtc_transactions_total{outcome="rolled_back",reason="recovered"}`: 1,
			`dtc_transaction_duration_seconds_count{outcome="rolled_back"}`:    0,
		})
		s.close()
	})
}

// TestNoCertificate: without TLS nothing expires.
func TestNoCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, vfs.NewMem(), &dtc.Config{})
		defer s.close()
		s.m.Trace(nil).Recovered(5, 1, 1500*time.Millisecond)
		s.m.Trace(nil).Decided(dtc.TraceTx{}, dtc.Committed, dtc.Reason{Code: dtc.ReasonCancelled})
		s.expect(map[string]float64{
			`dtc_recovery_duration_seconds`:                         1.5,
			`dtc_transactions_total{outcome="committed",reason=""}`: 1,
		})
		for _, certs := range []func() time.Time{nil, func() time.Time { return time.Time{} }} {
			s.m.Watch(s.Coordinator, nil, t.TempDir()+"/none", certs)
			for _, name := range []string{"dtc_tls_cert_expiry_seconds", "dtc_log_bytes", "dtc_log_free_bytes"} {
				if v := s.value(name); v != -1 {
					t.Errorf("%s %v", name, v)
				}
			}
		}
	})
}

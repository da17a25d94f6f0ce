package dtchttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

var partQuiet = slog.New(slog.DiscardHandler)

// partServe serves p and returns a participant that calls it.
func partServe(t testing.TB, p dtc.Participant, opts *ParticipantOptions) *Participant {
	t.Helper()
	s := httptest.NewServer(http.StripPrefix("/p", NewParticipantHandler(p, &HandlerOptions{Logger: partQuiet})))
	t.Cleanup(s.Close)
	return callParticipant(t, p.ID(), s.URL+"/p", opts)
}

func partOpen(t testing.TB, cfg dtc.Config) *dtc.Coordinator {
	t.Helper()
	return partOpenOn(t, vfs.NewMem(), cfg)
}

func partOpenOn(t testing.TB, disk *vfs.Mem, cfg dtc.Config) *dtc.Coordinator {
	t.Helper()
	log, err := wal.Open("log", &wal.Options{FS: disk, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = partQuiet
	c, err := dtc.OpenLog(log, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		// What it leaves is read the same by two decoders that share no code.
		if res, err := compare.Log("log", disk.Kill()); err != nil || res.SecondRefused != nil {
			t.Errorf("the log: %v, %v", err, res.SecondRefused)
		}
	})
	return c
}

// partSeen is what a coordinator makes of a participant that answers in a way.
type partSeen struct {
	Committed bool
	Code      string
	Message   string
	Heuristic bool
	// Which of the two was called.
	Committing, RolledBack bool
}

// TestRoundTrip drives every kind of answer through a coordinator twice: from a
// participant in its process, and from the same one behind handler and caller.
func TestRoundTrip(t *testing.T) {
	var typedNil *net.OpError
	for _, tt := range []struct {
		name string
		vote dtc.Vote
		err  error
		// panics with this
		panics string
		// finish is the error of the first commit and rollback.
		finish error
		// silent answers never count as one, so that the prepare timeout must pass.
		silent bool
		// waits until its context ends.
		waits bool
		// code is what the coordinator sees over HTTP, where it differs.
		code string
	}{
		{name: "vote_commit", vote: dtc.VoteCommit},
		{name: "vote_abort"},
		{name: "read_only", vote: dtc.VoteReadOnly},
		{name: "refuse", err: dtc.Refuse(errors.New("sold out"))},
		{name: "refuse without a reason", err: dtc.Refuse(nil)},
		{name: "refuse no answer", err: dtc.Refuse(dtc.NoAnswer(errors.New("odd")))},
		{name: "error", err: errors.New("it broke: 100%"), code: "participant_error"},
		{name: "error of several lines", err: errors.New("it broke\nand how"), code: "participant_error"},
		{name: "error of a file", err: &os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, code: "participant_error"},
		{name: "fault", err: dtc.Fault(errors.New("misconfigured"))},
		{name: "vote_commit and an error", vote: dtc.VoteCommit, err: errors.New("well")},
		{name: "vote_commit and no answer", vote: dtc.VoteCommit, err: dtc.NoAnswer(errors.New("well"))},
		{name: "a vote that does not exist", vote: 9},
		{name: "panic", panics: "boom"},
		{name: "typed nil", err: typedNil},
		{name: "no answer", silent: true, err: dtc.NoAnswer(errors.New("down"))},
		{name: "no answer, without a reason", silent: true, err: dtc.ErrNoAnswer},
		{name: "connection lost", silent: true, err: fmt.Errorf("db: %w", io.ErrUnexpectedEOF)},
		{name: "network", silent: true, err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}},
		{name: "bare errno", silent: true, err: syscall.ECONNREFUSED},
		{name: "deadline", silent: true, err: fmt.Errorf("db: %w", context.DeadlineExceeded)},
		{name: "cancelled", silent: true, err: context.Canceled},
		{name: "hangs", silent: true, waits: true},
		{name: "commit finished the other way", vote: dtc.VoteCommit, finish: &dtc.FinishedError{Outcome: dtc.RolledBack}},
		{name: "commit finished the same way", vote: dtc.VoteCommit, finish: &dtc.FinishedError{Outcome: dtc.Committed}},
		{name: "commit finished no way", vote: dtc.VoteCommit, finish: &dtc.FinishedError{}},
		{name: "commit unknown", vote: dtc.VoteCommit, finish: fmt.Errorf("row: %w", dtc.ErrUnknownBranch)},
		{name: "commit without answer", vote: dtc.VoteCommit, finish: dtc.NoAnswer(errors.New("down"))},
		{name: "commit with an error", vote: dtc.VoteCommit, finish: errors.New("again")},
		{name: "rollback finished the other way", err: errors.New("x"), finish: &dtc.FinishedError{Outcome: dtc.Committed}},
		{name: "rollback finished the same way", err: errors.New("x"), finish: &dtc.FinishedError{Outcome: dtc.RolledBack}, code: "participant_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen [2]partSeen
			for i := range seen {
				var mu sync.Mutex
				finishes := 0
				prepare := func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
					if tt.panics != "" {
						panic(tt.panics)
					}
					if tt.waits {
						<-ctx.Done()
						return 0, ctx.Err()
					}
					return tt.vote, tt.err
				}
				finish := func(flag *bool) func(context.Context, dtc.Branch) error {
					return func(context.Context, dtc.Branch) error {
						mu.Lock()
						defer mu.Unlock()
						*flag = true
						if finishes++; finishes == 1 {
							return tt.finish
						}
						return nil
					}
				}
				s := &seen[i]
				var p dtc.Participant = dtc.ParticipantFuncs{
					ParticipantID: "stock", PrepareFunc: prepare,
					CommitFunc: finish(&s.Committing), RollbackFunc: finish(&s.RolledBack),
				}
				if i == 1 {
					p = partServe(t, p, nil)
				}
				partExecute(t, p, s, tt.silent)
			}
			if tt.code != "" {
				if seen[1].Code != tt.code || seen[0].Code != "vote_abort" {
					t.Errorf("codes are %s and %s, want vote_abort and %s", seen[0].Code, seen[1].Code, tt.code)
				}
				seen[1].Code = seen[0].Code
			}
			if tt.vote > dtc.VoteReadOnly && seen[1].Message == "it answered with vote(9)" {
				seen[1].Message = seen[0].Message // which has no error to tell
			}
			for i := range seen {
				// The text is the last attempt's, in words of the transport; and the
				// timeout may fall into an attempt that would have failed, or after it.
				// TestHandlerAnswers looks closer.
				if code := seen[i].Code; code == "unreachable" || code == "prepare_timeout" {
					seen[i].Code, seen[i].Message = "no answer", ""
				}
			}
			if seen[0] != seen[1] {
				t.Errorf("in the same process: %+v\nover HTTP:           %+v", seen[0], seen[1])
			}
		})
	}
}

func partExecute(t *testing.T, p dtc.Participant, s *partSeen, silent bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	timing := dtc.Timing{Backoff: time.Millisecond, PrepareBackoffCap: 5 * time.Millisecond, FinishBackoffCap: 5 * time.Millisecond}
	timing.PrepareTimeout, timing.PrepareAttempt = time.Minute, time.Minute
	if silent {
		timing.PrepareTimeout, timing.PrepareAttempt = 60*time.Millisecond, 30*time.Millisecond
	}
	c := partOpen(t, dtc.Config{
		// What ends otherwise is kept until somebody looks at it: do not wait.
		Trace: &dtc.Trace{Hazard: func(call dtc.TraceCall) { cancel() }},
		Participants: []dtc.Participant{p, dtc.ParticipantFuncs{
			ParticipantID: "other",
			PrepareFunc:   func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteReadOnly, nil },
		}},
		Timing:         timing,
		CompletionWait: time.Minute,
	})
	ok, err := c.Execute(ctx, "t", dtc.Branch{Participant: "stock"}, dtc.Branch{Participant: "other"})
	s.Committed = ok
	var rolled *dtc.RollbackError
	var heuristic *dtc.HeuristicError
	switch {
	case errors.As(err, &rolled):
		s.Code, s.Message = rolled.Reason.Code.String(), rolled.Reason.Message
	case errors.As(err, &heuristic):
		s.Heuristic = true
	case err != nil:
		t.Errorf("Execute: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// openSmall opens a coordinator over a log of small segments, each of which makes a
// checkpoint worth while.
func openSmall(t testing.TB, disk *vfs.Mem, cfg *dtc.Config) (*dtc.Coordinator, *wal.Log) {
	t.Helper()
	log, err := wal.Open("log", &wal.Options{
		FS: disk, SegmentSize: 8 << 10, CheckpointAfter: 1,
		OutcomeLimit: cfg.OutcomeLimit, OutcomeRetention: cfg.OutcomeRetention,
	})
	if err != nil {
		t.Fatal(err)
	}
	full := *cfg
	if full.Logger == nil {
		full.Logger = quiet
	}
	c, err := dtc.OpenLog(log, &full)
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

// TestCompactedLog: a coordinator over a log that forgets all the time. What waits
// for a dead participant is finished after many checkpoints and two restarts; the
// latest outcomes are known, the others are known to be forgotten; the log stays
// small; and a branch that the log once held is never presumed aborted.
func TestCompactedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, each = 50, 600
		list := services("a", "b", "dead")
		var alive atomic.Bool
		list[2].OnCommit = func(context.Context, dtc.Branch) error {
			if !alive.Load() {
				return errors.New("not there")
			}
			return nil
		}
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: participants(list), OutcomeLimit: limit}
		checkpoints, size := 0, 0
		for opening := range 3 {
			c, log := openSmall(t, disk, cfg)
			for i := range each {
				id := dtc.TxID(fmt.Sprintf("order-%d-%d", opening, i))
				where, opts := branches("a", "b"), &dtc.TxOptions{}
				if i%100 == 0 {
					where, opts.CompletionWait = branches("a", "dead"), -1
				}
				if ok, err := c.ExecuteWith(t.Context(), id, opts, where...); !ok {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if waiting := c.Stats().Unfinished; waiting != (opening+1)*each/100 {
				t.Fatalf("%d transactions wait for the dead participant", waiting)
			}
			for i := range each {
				id := dtc.TxID(fmt.Sprintf("order-%d-%d", opening, i))
				o, err := c.Outcome(t.Context(), id)
				switch {
				case i >= each-limit || i%100 == 0: // remembered, or not finished
					if o != dtc.Committed {
						t.Fatalf("%s: %v, %v", id, o, err)
					}
				case i < each-2*limit && !errors.Is(err, dtc.ErrUnknownTx):
					t.Fatalf("%s is long forgotten: %v, %v", id, o, err)
				}
			}
			if c.RememberedSince().IsZero() {
				t.Fatal("outcomes were forgotten, and nothing says so")
			}
			checkpoints += log.Checkpoints().Made
			size = 0
			for _, path := range disk.Files() {
				size += len(disk.ReadFile(path))
			}
			next := disk.Kill()
			_ = c.Close() // next is apart
			disk = next
		}
		t.Logf("%d checkpoints, %d bytes", checkpoints, size)
		if checkpoints < 10 || size > 120<<10 {
			t.Errorf("%d checkpoints, and the directory has %d bytes", checkpoints, size)
		}

		c, _ := openSmall(t, disk, cfg)
		if c.RememberedSince().IsZero() {
			t.Error("after the restart it is not known that outcomes were forgotten")
		}
		alive.Store(true)
		settle(t, c)
		closed(t, c)
		if n := list[2].Counts(); n.Committed != 3*each/100 || n.RolledBack != 0 {
			t.Errorf("the participant that was dead: %+v", n)
		}
	})
}

// TestLoggedIsNotPresumed: a participant lists a branch whose transaction the log
// once held, committed and forgot. It is left alone and shown; one that the log
// never held is rolled back.
func TestLoggedIsNotPresumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		var xid dtc.XID
		list[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			if xid.IsZero() {
				xid = b.XID
			}
			return dtc.VoteCommit, nil
		}
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: participants(list), OutcomeLimit: 10, SweepInterval: time.Second}
		c, log := openSmall(t, disk, cfg)
		for i := range 400 {
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("a", "b")...); !ok {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if log.Checkpoints().Made == 0 {
			t.Fatal("no checkpoint was made")
		}
		closed(t, c)

		// A participant that was restored from a backup holds it prepared again; and
		// another branch of that incarnation, of which the log has never heard.
		restored := dtctest.NewMemory("a")
		never := xid
		never.Seq = 900_000
		for _, x := range []dtc.XID{xid, never} {
			if v, err := restored.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: x, TxID: "t"}); v != dtc.VoteCommit {
				t.Fatal(v, err)
			}
		}
		cfg.Participants = []dtc.Participant{restored, list[1]}
		c, _ = openSmall(t, disk, cfg)
		time.Sleep(time.Minute)
		closed(t, c)
		if st := restored.State(xid); st != dtctest.Prepared {
			t.Errorf("the branch that the log once held is now %q", st)
		}
		if st := restored.State(never); st != dtctest.RolledBack {
			t.Errorf("the branch that the log never held is now %q", st)
		}
	})
}

// TestNoRoom: while the log has room only to finish what was begun, nothing is
// begun, and what was begun is finished; then it goes on by itself.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		asked := 0
		list[0].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { asked++; return dtc.VoteCommit, nil }
		release := make(chan struct{})
		list[1].OnCommit = func(context.Context, dtc.Branch) error { <-release; return nil }
		disk := vfs.NewMem()
		var lines strings.Builder
		c, log := openSmall(t, disk, &dtc.Config{
			Participants: participants(list), CompletionWait: -1,
			Timing: dtc.Timing{FinishAttempt: time.Hour}, Logger: slog.New(slog.NewTextHandler(&lines, nil)),
		})
		var err error
		begun := 0
		disk.LimitSpace(0)
		for ; ; begun++ {
			if _, err = c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", begun)), branches("a")...); err != nil {
				break
			}
			if begun%50 == 0 {
				if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("slow", begun)), branches("a", "b")...); !ok && !errors.Is(err, dtc.ErrFull) {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		if !errors.Is(err, dtc.ErrFull) || !errors.Is(err, txlog.ErrNoRoom) || !errors.Is(err, syscall.ENOSPC) ||
			!strings.Contains(err.Error(), "make room") {
			t.Fatalf("refused with %v", err)
		}
		before, records := asked, log.Stats().Records
		if _, err := c.Execute(t.Context(), "one-more", branches("a")...); !errors.Is(err, dtc.ErrFull) || asked != before {
			t.Fatalf("%v, and %d prepares were sent", err, asked-before)
		}
		time.Sleep(90 * time.Second)
		for range 5 {
			_, _ = c.Execute(t.Context(), "one-more", branches("a")...)
		}
		if text := lines.String(); strings.Count(text, "new transactions are refused") != 2 || !strings.Contains(text, "make room") {
			t.Errorf("of many that were refused in two minutes the log says\n%s", text)
		}
		if log.Stats().Records != records {
			t.Fatal("something was written for a transaction that was refused")
		}
		if o, err := c.Outcome(t.Context(), "t3"); o != dtc.Committed {
			t.Fatalf("what is known is not told: %v, %v", o, err)
		}
		close(release)
		settle(t, c)
		disk.LimitSpace(1 << 20)
		time.Sleep(5 * time.Second)
		if ok, err := c.Execute(t.Context(), "one-more", branches("a")...); !ok {
			t.Fatal(err)
		}
		closed(t, c)
	})
}

package disk_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/wal"
)

// patience bounds every wait of these tests for something that must happen.
const patience = 20 * time.Second

// until waits for something to become true.
func (s *shop) until(what string, f func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("still not: %s", what)
		}
	}
}

// settled waits until nothing is unfinished anywhere.
func (s *shop) settled(c *dtc.Coordinator) {
	s.t.Helper()
	s.until("everything is finished", func() bool {
		held := 0
		for _, p := range s.parts {
			held += len(p.Prepared())
		}
		return held == 0 && c.Stats().Unfinished == 0
	})
}

// judge looks for a transaction that ended otherwise than somebody was told, or
// here and not there. Everything is settled.
func (s *shop) judge(c *dtc.Coordinator) {
	s.t.Helper()
	for id, told := range s.tellings() {
		outcome, err := c.Outcome(s.t.Context(), id)
		if err != nil && !errors.Is(err, dtc.ErrUnknownTx) {
			s.t.Errorf("%s: %v", id, err)
		}
		s.mu.Lock()
		effects := fmt.Sprint(s.applied["stock"][id], s.applied["payment"][id])
		plain := s.applied["plain"][id]
		s.mu.Unlock()
		switch {
		case told == committed && outcome != dtc.Committed:
			s.t.Errorf("%s was told committed, and the log says %v, %v", id, outcome, err)
		case (told == rolledBack || told == refused) && outcome == dtc.Committed:
			s.t.Errorf("%s was told %s, and the log says committed", id, told)
		case outcome == dtc.Committed && effects != "1 1":
			s.t.Errorf("%s is committed (told %s), its effects are %s", id, told, effects)
		case outcome != dtc.Committed && (effects != "0 0" || plain != 0):
			s.t.Errorf("%s is not committed (told %s, outcome %v), its effects are %s and %d", id, told, outcome, effects, plain)
		}
	}
}

// stillTells checks a coordinator whose log has failed: it tells what it knows and
// does nothing more.
func (s *shop) stillTells(c *dtc.Coordinator) {
	s.t.Helper()
	if err := c.Err(); !errors.Is(err, dtc.ErrLogFailed) {
		s.t.Errorf("the log has failed, and the coordinator says %v", err)
	}
	begun := c.Stats().Begun
	for id, told := range s.tellings() {
		outcome, err := c.Outcome(s.t.Context(), id)
		switch {
		case told == committed && outcome != dtc.Committed,
			told == rolledBack && outcome != dtc.RolledBack,
			told == inDoubt && !errors.Is(err, dtc.ErrInDoubt):
			s.t.Errorf("%s was told %s, and now it is %v, %v", id, told, outcome, err)
		}
		if told != committed && told != rolledBack {
			continue
		}
		var number int
		if _, err := fmt.Sscanf(string(id), "order-%d", &number); err != nil {
			s.t.Fatal(err)
		}
		if again, err := s.execute(c, id, request(number)); again != told {
			s.t.Errorf("%s was told %s, and when it was asked again %s: %v", id, told, again, err)
		}
	}
	if v, err := s.one(c); v != refused || !errors.Is(err, dtc.ErrLogFailed) {
		s.t.Errorf("the log has failed, and a new transaction was %s: %v", v, err)
	}
	if now := c.Stats().Begun; now != begun {
		s.t.Errorf("the log has failed, and %d transactions were begun", now-begun)
	}
}

// reopen opens the log on a disk that is well again and judges all that was told
// before. Then it does some more work, and closes: the log must be sound.
func (s *shop) reopen() {
	s.t.Helper()
	c, log, err := s.open()
	if err != nil {
		s.t.Fatal("the disk is well again: ", err)
	}
	s.settled(c)
	s.judge(c)
	s.until("there is room", func() bool { return log.Room() == nil })
	if v, err := s.execute(c, dtc.TxID(fmt.Sprintf("after-%p", c)), request(0)); v != committed {
		s.t.Errorf("the disk is well again, and a transaction was %s: %v", v, err)
	}
	s.settled(c)
	if err := c.Close(); err != nil {
		s.t.Error(err)
	}
	if r := s.verify(); !r.Clean || r.Copied {
		s.t.Errorf("after a clean close: %+v", r)
	}
}

// verify reads the log as `dtc log verify` does.
func (s *shop) verify() wal.Report {
	s.t.Helper()
	r, err := wal.OpenReadOnly(s.dir, &s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	report, err := r.Verify()
	if err != nil {
		s.t.Error(err)
	}
	return report
}

package disk_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/wal"
)

// TestErrors makes every call that the log makes fail once, one run for each: the
// first sync, the second, and so on until a run has no more of them; then the
// writes, and what else there is, some of them left out. Once is worse than for ever: a log that tries
// again is told that all is well.
func TestErrors(t *testing.T) {
	d := mountFailing(t)
	for _, kind := range []struct {
		op    string
		how   how
		times int
		each  int // so many runs with every call, then with every fourth
	}{
		{opSync, eio, 1, 16},
		{opSync, lose, 1, 16},
		{opWrite, eio, 1, 4},
		{opWrite, short, 1, 1}, // the standard library writes the rest
		{opWrite, short, 2, 4},
		{opRename, eio, 1, 99},
		{opOpen, eio, 1, 99},
		{opRemove, eio, 1, 99},
		{opAllocate, enospc, 1, 99},
	} {
		t.Run(fmt.Sprintf("%s/%s/%d", kind.op, kind.how, kind.times), func(t *testing.T) {
			d.t = t
			runs, failed, doubts := 0, 0, 0
			for k := 1; ; k++ {
				if k > kind.each {
					k += 3
				}
				s := newShop(t, filepath.Join(d.dir, fmt.Sprintf("%s-%s-%d-%d", kind.op, kind.how, kind.times, k)))
				d.fail(kind.op, k, kind.times, kind.how)
				broke := s.meetFault(d)
				fired := d.heal()
				if t.Failed() {
					t.Fatalf("with %s of %s number %d", kind.how, kind.op, k)
				}
				s.verifyIfThere()
				s.reopen()
				if t.Failed() {
					t.Fatalf("after %s of %s number %d", kind.how, kind.op, k)
				}
				if fired == 0 {
					break
				}
				runs++
				doubts += s.count(inDoubt)
				if broke {
					failed++
				}
			}
			tally.Add(t, "disks", "runs with a failing call, over FUSE", int64(runs), 2)
			tally.Add(t, "disks", "of them ended the log", int64(failed), 0)
			tally.Add(t, "disks", "transactions in doubt by a failure", int64(doubts), 0)
			if kind.op == opSync && doubts == 0 {
				t.Error("syncs of the log failed, and nothing was ever in doubt")
			}
		})
	}
}

// meetFault opens a coordinator, lets it work until it has made checkpoints, and
// closes it, with a fault somewhere. It reports whether the fault ended the log.
func (s *shop) meetFault(d *disk) bool {
	c, log, err := s.open()
	if err != nil {
		return true
	}
	s.work(c, 45)
	s.until("a checkpoint was tried", func() bool {
		made := log.Checkpoints()
		return made.Made+made.Failed > 0 || log.Err() != nil || s.count(refused) > 0
	})
	s.until("the coordinator has noticed", func() bool {
		if log.Err() == nil || c.Err() != nil {
			return true
		}
		_, _ = s.one(c) // the first that needs the log
		return false
	})
	failure, doubts := c.Err(), s.count(inDoubt)
	switch broke := log.Err() != nil; { // in this order: it may break at any moment
	case failure != nil:
		s.stillTells(c)
	case !broke && doubts > 0:
		s.t.Errorf("the log is well, and %d transactions are in doubt", doubts)
	}
	err = c.Close()
	if log.Err() != nil != (err != nil) && (err == nil || d.fired() == 0) {
		s.t.Errorf("the log's failure is %v, and Close returns %v", log.Err(), err)
	}
	return log.Err() != nil
}

// verifyIfThere verifies the log as the failed process left it, unless it failed
// before it had made one.
func (s *shop) verifyIfThere() {
	s.t.Helper()
	_, err := wal.OpenReadOnly(s.dir, &s.opts)
	if none := (*wal.NoLogError)(nil); errors.As(err, &none) {
		return
	}
	s.verify()
}

package disk_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/wal"
)

// TestHangs makes a call to the disk that never returns: whoever waits learns that
// nobody knows, and Close returns. When the call comes back after all, with
// success, nothing more is done with it.
func TestHangs(t *testing.T) {
	d := mountFailing(t)
	hung := 0
	for _, call := range []struct {
		op string
		k  int
	}{
		{opSync, 1}, {opSync, 2}, {opSync, 7}, {opSync, 12}, {opWrite, 1}, {opWrite, 3}, {opRename, 1},
	} {
		s := newShop(t, filepath.Join(d.dir, fmt.Sprintf("%s%d", call.op, call.k)))
		s.opts.StallLimit = 200 * time.Millisecond
		c, log, err := s.open()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.one(c) // something to know about
		d.fail(call.op, call.k, 1, hang)
		told := make(chan struct{})
		go func() {
			s.work(c, 60)
			close(told)
		}()
		select {
		case <-told:
		case <-time.After(patience):
			t.Fatal("callers wait for ever")
		}
		if d.fired() == 0 {
			t.Fatalf("nothing hung at %s %d", call.op, call.k)
		}
		s.until("the log has noticed", func() bool { return log.Err() != nil })
		hung++
		s.until("the coordinator has noticed", func() bool { _, _ = s.one(c); return c.Err() != nil })
		s.stillTells(c)
		shut := make(chan error)
		go func() { shut <- c.Close() }()
		select {
		case err := <-shut:
			if err == nil {
				t.Error("Close returned nothing after a hang")
			}
		case <-time.After(patience):
			t.Fatal("Close does not return")
		}
		if t.Failed() {
			t.Fatalf("%s %d hung", call.op, call.k)
		}
		s.lockedUntil(d)
		s.verify()
		s.reopen()
		if t.Failed() {
			t.Fatalf("%s %d had hung", call.op, call.k)
		}
	}
	tally.Add(t, "disks", "calls to the disk that hung", int64(hung), 1)
}

// lockedUntil checks that nobody else can open the log while a call to its disk is
// out, and waits until the call has come back.
func (s *shop) lockedUntil(d *disk) {
	s.t.Helper()
	used := (*wal.InUseError)(nil)
	if _, err := wal.Open(s.dir, &s.opts); !errors.As(err, &used) {
		s.t.Fatalf("the log was opened while a call to its disk was out: %v", err)
	}
	d.heal()
	s.until("the lock is free", func() bool {
		log, err := wal.Open(s.dir, &s.opts)
		if err == nil {
			_ = log.Close() // never replayed: nothing was added
			return true
		}
		if !errors.As(err, &used) {
			s.t.Fatal(err)
		}
		return false
	})
}

// TestLostFromTheCache is what Linux does when a sync fails: the disk does not
// have the pages, the cache does, and the next sync succeeds. Who reads the log
// then and believes it must also make it durable: after a restart of the machine
// only the disk is left.
func TestLostFromTheCache(t *testing.T) {
	d := mountFailing(t)
	s := newShop(t, filepath.Join(d.dir, "log"))
	s.opts.SegmentSize = 64 << 10 // no checkpoint, one segment
	c, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	s.work(c, 12)
	s.settled(c)
	s.verify() // reads all of the segment into the cache

	d.tell(order{Do: "fail", Op: opSync, K: 1, Times: 1, How: lose, Keep: true})
	const id = "the-last"
	if v, err := s.execute(c, id, request(0)); v != inDoubt {
		t.Fatalf("its sync failed, and it was %s: %v", v, err)
	}
	s.stillTells(c)
	_ = c.Close()
	if n := d.tell(order{Do: "count"}).Fired; n != 1 {
		t.Fatalf("%d syncs failed", n)
	}

	// The same machine: the cache is all that there is of the record.
	c, _, err = s.open()
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := c.Outcome(t.Context(), id)
	if outcome != dtc.Committed {
		t.Fatalf("the cache was to hold the commit record: %v, %v", outcome, err)
	}
	s.told[id] = committed // as somebody was told who asked now
	s.settled(c)
	d.heal()
	_ = c.Close() // writes none of it again
	d.restart()
	s.reopen()
}

package disk_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// TestReserve: when a log says that there is no room, what was begun can still be
// finished. Whoever writes on and on all the same is refused in the end; nothing
// that was durable is lost by it, also if the log is opened while the disk is full.
func TestReserve(t *testing.T) {
	d := mountSmall(t, 256<<10)
	opts := &wal.Options{SegmentSize: 16 << 10}
	log, err := wal.Open(d.log(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Replay(func(txlog.Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	d.fill()
	if err := log.Room(); err != nil {
		t.Error("the reserve was made before the disk was full: ", err)
	}
	var durable, before uint64
	for durable < 20_000 {
		if err := log.Force(&txlog.Block{Incarnation: 1, Through: durable + 1}); err != nil {
			if !errors.Is(err, txlog.ErrRefused) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("nothing of it can be on the disk, and the log says %v", err)
			}
			break
		}
		durable++
		if before == 0 && errors.Is(log.Room(), txlog.ErrNoRoom) {
			before = log.Stats().Bytes
		}
	}
	after := log.Stats().Bytes - before
	t.Logf("%d bytes before the log said that there was no room, %d bytes after that", before, after)
	if before == 0 || after < 8<<10 {
		t.Error("the log did not say in time that there was no room")
	}
	if err := log.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close returns %v", err)
	}

	if log, err := wal.Open(d.log(), opts); err == nil {
		_ = log.Close()
	} else if !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	d.empty()
	log, err = wal.Open(d.log(), opts)
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	err = log.Replay(func(e txlog.Entry) error {
		if b, ok := e.Record.(*txlog.Block); ok && b.Through != last+1 {
			t.Errorf("record %d follows %d", b.Through, last)
		} else if ok {
			last = b.Through
		}
		return nil
	})
	if err != nil || last != durable {
		t.Errorf("%d records were durable, %d are there: %v", durable, last, err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// TestFilledBehindItsBack: the disk runs full while the log has all the files that
// it wants, so that nothing has told it yet when it is closed. What the close gave
// back is taken by others too.
func TestFilledBehindItsBack(t *testing.T) {
	d := mountSmall(t, 256<<10)
	s := newShop(t, d.log())
	s.opts.SegmentSize = 16 << 10
	c, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	s.work(c, 9)
	s.settled(c)
	d.fill()
	if err := c.Close(); err != nil {
		t.Error("close on the full disk: ", err)
	}
	if r := s.verify(); !r.Clean {
		t.Errorf("closed on the full disk: %+v", r)
	}
	d.fill()
	if c, _, err = s.open(); err != nil {
		t.Fatal("open on the full disk: ", err)
	}
	s.settled(c)
	s.judge(c)
	d.empty()
	s.until("it takes work again", func() bool { v, _ := s.one(c); return v == committed })
	s.settled(c)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s.reopen()
}

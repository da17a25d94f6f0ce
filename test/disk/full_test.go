package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// smallDisk is a file system with so little room that it can be filled.
type smallDisk struct {
	t   *testing.T
	dir string
}

func mountSmall(t *testing.T, size int) *smallDisk {
	t.Helper()
	d := &smallDisk{t, t.TempDir()}
	if err := syscall.Mount("dtc-small-disk", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		skip(t, "no tmpfs can be mounted", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *smallDisk) log() string { return filepath.Join(d.dir, "log") }

// fill makes the ballast grow until there is no page left, and returns its size.
func (d *smallDisk) fill() int64 {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	page := bytes.Repeat([]byte("dtc."), 1<<10)
	for {
		if _, err := f.Write(page); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
	info, err := f.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	return info.Size()
}

func (d *smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// TestFull: a coordinator on a disk that runs full refuses new work before anybody
// is asked, finishes what it has begun, can be closed and opened, and takes work
// again when there is room, without a restart.
func TestFull(t *testing.T) {
	d := mountSmall(t, 512<<10)
	s := newShop(t, d.log())
	s.opts.SegmentSize = 16 << 10
	var down atomic.Bool // the participant that some transactions wait for
	apply := s.parts[2].OnCommit
	s.parts[2].OnCommit = func(ctx context.Context, b dtc.Branch) error {
		if down.Load() {
			return errors.New("not now")
		}
		return apply(ctx, b)
	}
	slow := make(chan struct{}) // some votes wait for this
	var waiting atomic.Int32
	vote := s.parts[0].OnPrepare
	s.parts[0].OnPrepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
		if strings.HasPrefix(string(b.TxID), "slow") {
			waiting.Add(1)
			select {
			case <-slow:
			case <-ctx.Done(): // the test has failed
			}
		}
		return vote(ctx, b)
	}

	c, log, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	s.work(c, 30)
	s.settled(c)
	down.Store(true)
	s.work(c, 30)
	var voting sync.WaitGroup
	t.Cleanup(voting.Wait) // also if the test fails
	for i := range 3 {
		voting.Go(func() {
			if v, err := s.execute(c, dtc.TxID(fmt.Sprint("slow-", i)), request(1)); v != committed {
				t.Errorf("a transaction that had begun was %s: %v", v, err)
			}
		})
	}
	s.until("three votes are awaited", func() bool { return waiting.Load() == 3 })

	t.Logf("%d transactions are unfinished, the ballast has %d bytes", c.Stats().Unfinished, d.fill())
	t.Logf("%d more transactions until the first was refused", s.untilRefused(d, c, log))
	down.Store(false)
	close(slow)
	voting.Wait()
	s.settled(c)
	d.fill()
	if err := errors.Join(log.Err(), c.Err()); err != nil {
		t.Error("a full disk is no failure: ", err)
	}
	if err := c.Close(); err != nil {
		t.Error("close on the full disk: ", err)
	}
	if r := s.verify(); !r.Clean {
		t.Errorf("closed on the full disk: %+v", r)
	}

	if c, log, err = s.open(); err != nil {
		t.Fatal("open on the full disk: ", err)
	}
	s.settled(c)
	s.judge(c)
	s.untilRefused(d, c, log)
	d.empty()
	s.until("it takes work again", func() bool { v, _ := s.one(c); return v == committed })
	s.work(c, 300)
	if n := s.count(inDoubt); n > 0 {
		t.Errorf("%d transactions in doubt", n)
	}
	s.settled(c)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s.reopen()
	t.Logf("%d committed, %d rolled back", s.count(committed), s.count(rolledBack))
	tally.Add(t, "disks", "transactions refused on a full disk", int64(s.count(refused)), 1)
}

// untilRefused runs transactions on a disk that is kept full, until one is refused,
// and returns how many were not.
func (s *shop) untilRefused(d *smallDisk, c *dtc.Coordinator, log *wal.Log) int {
	s.t.Helper()
	for n := range 3000 {
		d.fill()
		v, err := s.one(c)
		switch v {
		case committed, rolledBack:
			continue
		case refused:
			if !errors.Is(err, dtc.ErrFull) || !errors.Is(err, txlog.ErrNoRoom) || !errors.Is(err, syscall.ENOSPC) {
				s.t.Fatalf("refused with %v", err)
			}
			if err := log.Err(); err != nil {
				s.t.Fatal("the log has failed: ", err)
			}
			return n
		case inDoubt:
		}
		s.t.Fatalf("on a full disk a transaction was %s: %v", v, err)
	}
	s.t.Fatal("the disk is full, and nothing is refused")
	return 0
}

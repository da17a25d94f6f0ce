package wal_test

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

const limit = 40 // of outcomes, in these tests

// keeping returns options of a log that makes a checkpoint whenever it can.
func keeping(fs vfs.FS) *wal.Options {
	return &wal.Options{SegmentSize: 4096, FS: fs, CheckpointAfter: 1, OutcomeLimit: limit}
}

// teller writes a story into logs.
type teller struct {
	story
	all   []txlog.Record // that were added
	acked int            // so many of them are durable
}

func newTeller(seed int64) *teller {
	return &teller{story: story{rng: rand.New(rand.NewSource(seed))}}
}

func (t *teller) tell(l *wal.Log, r txlog.Record, force bool) error {
	t.all = append(t.all, r)
	if !force {
		return l.Append(r)
	}
	if err := l.Force(r); err != nil {
		return err
	}
	t.acked = len(t.all)
	return nil
}

// check opens the log on fs, and checks that it means what a prefix of the story
// means, with all that was acknowledged. It returns the log.
func (t *teller) check(fs *vfs.Mem) (*wal.Log, int, error) {
	l, err := wal.Open(dir, keeping(fs))
	if err != nil {
		return nil, 0, err
	}
	m, err := meaningOf(l, limit)
	if err != nil {
		return nil, 0, errors.Join(err, l.Close())
	}
	got, all := m.String(), newMeaning(limit)
	found := -1
	for n := range len(t.all) + 1 {
		if n > 0 {
			if err := all.add(t.all[n-1]); err != nil {
				return nil, 0, errors.Join(err, l.Close())
			}
		}
		if n >= t.acked && all.String() == got {
			found = n
		}
	}
	if found < 0 {
		return nil, 0, errors.Join(l.Close(), fmt.Errorf("the log means no prefix of %d records that has the first %d: it means\n%s\nall of them mean\n%s",
			len(t.all), t.acked, got, all))
	}
	return l, found, nil
}

// rewind makes the first n records all there is: what was lost never happened.
func (t *teller) rewind(n int) {
	t.all, t.acked = t.all[:n:n], n
	t.open, t.seq, t.through, t.incarnation = nil, 0, 0, 0
	for _, r := range t.all {
		t.relive(r)
	}
}

// relive brings the story to where it was behind a record.
func (s *story) relive(r txlog.Record) {
	find := func(ref txlog.Ref) int {
		for i, t := range s.open {
			if t.ref == ref {
				return i
			}
		}
		panic("a record of a transaction that is not open")
	}
	switch r := r.(type) {
	case *txlog.Incarnation:
		s.incarnation, s.seq, s.through = r.Incarnation.Number, 0, r.Through
	case *txlog.Block:
		s.through = r.Through
	case *txlog.Prepare:
		s.seq = r.Ref.Seq
		s.open = append(s.open, &storyTx{ref: r.Ref, branches: len(r.Branches)})
	case *txlog.Commit:
		s.open[find(r.Ref)].decided = protocol.Committed
	case *txlog.Abort:
		s.open[find(r.Ref)].decided = protocol.RolledBack
	case *txlog.End:
		i := find(r.Ref)
		s.open = slices.Delete(s.open, i, i+1)
	}
}

type checkpointTally struct{ images, checkpoints, recycled, lost, withCheckpoint int }

func (c *checkpointTally) add(t *testing.T, lost int64) {
	t.Helper()
	tally.Add(t, "crash images", "disks opened after a crash", int64(c.images), 1)
	tally.Add(t, "crash images", "with records lost that nobody had forced", int64(c.lost), lost)
	tally.Add(t, "crash images", "with a checkpoint", int64(c.withCheckpoint), 1)
}

// TestCheckpointsMeanTheSame tells random stories over several openings, each ended
// in its own way, with a checkpoint behind every full segment: whatever was crashed,
// the log means a prefix of the story.
func TestCheckpointsMeanTheSame(t *testing.T) {
	t.Parallel()
	images := crashImages(t, 2, 400) // each takes ten times as long as one of TestCrash
	var c checkpointTally
	// Whether a crash takes records depends on how far the writer has come.
	for seed := int64(0); c.images < images || c.lost == 0 && c.images < 10*images; seed++ {
		if err := c.run(newTeller(seed)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%+v", c)
	c.add(t, 1)
	if c.checkpoints < images/10 || c.recycled == 0 || c.lost == 0 || c.withCheckpoint < images/2 {
		t.Errorf("too little happened: %+v", c)
	}
}

func (c *checkpointTally) run(t *teller) error {
	fs := vfs.NewMem()
	for range 4 {
		l, n, err := t.check(fs)
		if err != nil {
			return err
		}
		if n < len(t.all) {
			c.lost++
		}
		t.rewind(n)
		fs.SetHook(func(op, path string) error {
			if op == "after rename" && strings.HasSuffix(path, ".free") {
				c.recycled++
			}
			return nil
		})
		if err := t.tell(l, t.opening(), true); err != nil {
			return err
		}
		for range t.rng.Intn(400) {
			if err := t.tell(l, t.next(), t.rng.Intn(3) == 0); err != nil {
				return err
			}
			if t.rng.Intn(40) == 0 {
				if err := c.image(t, fs.Crash(t.rng)); err != nil {
					return err
				}
			}
		}
		next := fs.Kill()
		switch t.rng.Intn(4) {
		case 0:
		case 1:
			if err := l.Close(); err != nil {
				return err
			}
			next, t.acked = fs.Crash(t.rng), len(t.all)
		default:
			next = fs.Crash(t.rng)
		}
		c.checkpoints += l.Checkpoints().Made
		if s := l.Checkpoints(); s.Failed > 0 {
			return errors.New(s.Error)
		}
		if err := l.Close(); err != nil { // ends the goroutines; next is apart
			return err
		}
		fs = next
	}
	return nil
}

// image opens a state of the disk, crashes that opening as well, and opens again.
func (c *checkpointTally) image(t *teller, fs *vfs.Mem) error {
	if c.images++; c.images%4 == 0 {
		if err := agreed(fs); err != nil {
			return err
		}
	}
	for _, path := range fs.Files() {
		if strings.HasSuffix(path, ".ckp") {
			c.withCheckpoint++
			break
		}
	}
	var during *vfs.Mem
	k := 1 + t.rng.Intn(60)
	fs.SetHook(func(string, string) error {
		if k--; k == 0 {
			during = fs.Crash(t.rng)
		}
		return nil
	})
	l, n, err := t.check(fs)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	fs.SetHook(nil)
	for _, again := range []*vfs.Mem{fs.Crash(t.rng), during} {
		if again == nil {
			continue
		}
		l, m, err := t.check(again)
		if err != nil {
			return fmt.Errorf("second opening: %w", err)
		}
		if m > n || again != during && m != n {
			return fmt.Errorf("second opening: %d records, the first one found %d", m, n)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

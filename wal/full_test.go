package wal_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

// TestFullDisk: when there is no room for the reserve, the log says so while there
// is room for a lot; and it takes up work again by itself.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		o := keeping(mem)
		o.CheckpointAfter = -1
		l, tt := told(t, o, 0)
		must(t, l.Room())
		mem.LimitSpace(0)
		must(t, tt.until(l, func() bool { synctest.Wait(); return l.Room() != nil }))
		err := l.Room()
		if !errors.Is(err, txlog.ErrNoRoom) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("no room: %v", err)
		}
		if l.Stats().Free != 1 {
			t.Fatalf("%d files in store", l.Stats().Free)
		}
		// What was begun goes on: a whole segment is left for it.
		bytes := l.Stats().Bytes
		must(t, tt.until(l, func() bool { return l.Stats().Bytes-bytes > 4096 }))
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.Room() == nil {
			t.Fatal("there is room out of nothing")
		}
		mem.LimitSpace(1 << 20)
		time.Sleep(time.Second)
		synctest.Wait()
		must(t, l.Room())
		must(t, tt.tell(l, tt.next(), true))
		must(t, l.Close())
		l, n, err := tt.check(mem)
		must(t, err)
		must(t, l.Close())
		if n != len(tt.all) {
			t.Errorf("%d of %d records", n, len(tt.all))
		}
	})
}

// TestFullDiskToTheEnd: when the reserve is used up as well, the log fails, and
// loses nothing; with room for one segment it opens again.
func TestFullDiskToTheEnd(t *testing.T) {
	mem := vfs.NewMem()
	o := keeping(mem)
	o.CheckpointAfter = -1
	l, tt := told(t, o, 0)
	mem.LimitSpace(0)
	err := tt.until(l, func() bool { return false })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("close: %v", err)
	}
	if _, _, err := tt.check(mem); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("open: %v", err)
	}
	mem.LimitSpace(4096)
	l, _, err = tt.check(mem)
	must(t, err)
	must(t, l.Close())
}

// TestOpenOnFullDisk: a log that was closed, or killed, while the disk was full opens
// there, works and closes: that is what the last file in store is for.
func TestOpenOnFullDisk(t *testing.T) {
	for _, closed := range []bool{false, true} {
		mem := vfs.NewMem()
		o := keeping(mem)
		o.CheckpointAfter = -1
		l, tt := told(t, o, 0)
		mem.LimitSpace(0)
		must(t, tt.until(l, func() bool { return l.Room() != nil }))
		if l.Stats().Free == 0 { // two segments were filled before the store was looked at
			_ = l.Close()
			continue
		}
		for opening := range 2 {
			if opening > 0 && !closed {
				break
			}
			next, used := mem.Kill(), total(mem)
			if closed {
				must(t, l.Close())
				next = mem.Crash(tt.rng)
			} else {
				_ = l.Close() // next is apart
			}
			mem = next
			mem.LimitSpace(max(0, used-total(mem))) // what the close gave back
			var n int
			var err error
			l, n, err = tt.check(mem)
			if err != nil {
				t.Fatalf("opening %d: %v", opening, err)
			}
			tt.rewind(n)
			for range 3 {
				must(t, tt.tell(l, tt.next(), true))
			}
			if closed && l.Room() == nil && opening == 0 {
				t.Error("the reserve was filled on a full disk")
			}
		}
		must(t, l.Close())
	}
}

// TestOthersFillTheDisk: what a close gives back on a full disk is taken by others, and
// the log opens all the same, whether it had noticed that the disk was full or not.
func TestOthersFillTheDisk(t *testing.T) {
	for _, noticed := range []bool{false, true} {
		mem := vfs.NewMem()
		o := keeping(mem)
		o.CheckpointAfter = -1
		l, tt := told(t, o, 5)
		mem.LimitSpace(0)
		if noticed {
			must(t, tt.until(l, func() bool { return l.Room() != nil }))
		}
		if l.Stats().Free == 0 { // two segments were filled before the store was looked at
			_ = l.Close()
			continue
		}
		must(t, l.Close())
		mem = mem.Kill()
		mem.LimitSpace(0)
		l, n, err := tt.check(mem)
		if err != nil {
			t.Fatalf("noticed %v: %v", noticed, err)
		}
		if n != len(tt.all) {
			t.Errorf("%d of %d records", n, len(tt.all))
		}
		must(t, tt.tell(l, tt.next(), true))
		_ = l.Close() // there need not be room for its mark
	}
}

// limits are the two ways in which there is no room.
var limits = map[error]func(*vfs.Mem, int64){
	syscall.ENOSPC: (*vfs.Mem).LimitSpace,
	syscall.EDQUOT: (*vfs.Mem).LimitQuota,
}

// TestOpenInLittleRoom: what was begun can finish where a whole segment has no room.
func TestOpenInLittleRoom(t *testing.T) {
	mem := vfs.NewMem()
	l, tt := told(t, keeping(mem), 30)
	must(t, l.Close())
	for full, limit := range limits {
		next := mem.Kill()
		limit(next, 100)
		if _, _, err := tt.check(next); !errors.Is(err, full) {
			t.Errorf("in 100 bytes: %v", err)
		}
		next = mem.Kill()
		limit(next, 2200)
		l, n, err := tt.check(next)
		must(t, err)
		if n != len(tt.all) || l.Room() == nil {
			t.Errorf("%d of %d records, and room for new work: %v", n, len(tt.all), l.Room())
		}
		must(t, tt.tell(l, tt.next(), true))
		tt.rewind(n)
		_ = l.Close() // there need not be room for its mark
	}
}

// TestCheckpointOnFullDisk: one whose name may not be durable gets it anew, but where there
// is no room for that the log opens all the same.
func TestCheckpointOnFullDisk(t *testing.T) {
	mem, tt := withCheckpoint(t)
	for _, path := range slices.Concat(files(mem, ".free"), files(mem, ".tmp")) {
		mem.RemoveFile(path) // else there is the room that these give back
	}
	for room := int64(100); room < 40<<10; room += 100 {
		opened := 0
		for _, limit := range limits {
			next := mem.Kill()
			limit(next, room)
			if l, _, err := tt.check(next); err == nil {
				opened++
				_ = l.Close() // there need not be room for its mark
			}
		}
		if opened == 1 {
			t.Fatalf("in %d bytes it opens for one kind of limit, and not for the other", room)
		}
	}
}

// total returns the bytes of all files.
func total(fs *vfs.Mem) (n int64) {
	for _, path := range fs.Files() {
		n += int64(len(fs.ReadFile(path)))
	}
	return n
}

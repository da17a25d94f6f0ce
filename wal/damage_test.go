package wal_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// damaged returns a copy of fs in which change has changed a file.
func damaged(fs *vfs.Mem, path string, change func([]byte) []byte) *vfs.Mem {
	fs = fs.Kill()
	fs.WriteFile(path, change(fs.ReadFile(path)))
	return fs
}

func isRefusal(err error) bool {
	var corrupt *wal.CorruptError
	var version *wal.VersionError
	var foreign *wal.NotLogError
	return errors.As(err, &corrupt) || errors.As(err, &version) || errors.As(err, &foreign)
}

func TestBitFlips(t *testing.T) {
	const n = 12
	fs := written(t, n)
	flips := 0
	for _, path := range fs.Files() {
		for i := range fs.ReadFile(path) {
			for bit := range 8 {
				flips++
				bad := damaged(fs, path, func(b []byte) []byte { b[i] ^= 1 << bit; return b })
				agree(t, bad)
				l, err := open(bad)
				if err == nil {
					l.Close()
					t.Fatalf("bit %d of byte %d of %s: the log opens", bit, i, path)
				}
				if !isRefusal(err) {
					t.Fatalf("bit %d of byte %d of %s: %v (%T)", bit, i, path, err, err)
				}
			}
		}
	}
	tally.Add(t, "damage", "bits flipped in a closed log, all refused", int64(flips), 4000)
}

// addDamage counts what became of a damaged log that was not closed.
func addDamage(t *testing.T, refused, cut, same int) {
	t.Helper()
	tally.Add(t, "damage", "of a log that was not closed, refused", int64(refused), 1)
	tally.Add(t, "damage", "of a log that was not closed, cut by its last batch", int64(cut), 1)
	tally.Add(t, "damage", "of a log that was not closed, without effect", int64(same), 0)
}

// TestBitFlipsAfterCrash does the same to a log that was not closed: only the
// last batch, which nothing that came later vouches for, may be cut.
func TestBitFlipsAfterCrash(t *testing.T) {
	const n = 12
	fs := crashed(t, n)
	refused, cut, same := 0, 0, 0
	for _, path := range fs.Files() {
		for i := 0; i < len(fs.ReadFile(path)); i += slower {
			bad := damaged(fs, path, func(b []byte) []byte { b[i] ^= 1 << (i % 8); return b })
			agree(t, bad)
			l, err := open(bad)
			if err != nil {
				if !isRefusal(err) {
					t.Fatalf("byte %d of %s: %v (%T)", i, path, err, err)
				}
				refused++
				continue
			}
			found, err := replayed(l)
			must(t, err)
			must(t, l.Close())
			switch found {
			case n:
				same++ // the flip is in the unused rest
			case n - 1:
				cut++
			default:
				t.Fatalf("byte %d of %s: %d records, want %d or a refusal", i, path, found, n)
			}
		}
	}
	addDamage(t, refused, cut, same)
	if same == 0 {
		t.Error("no flip was without effect")
	}
}

// TestTruncation: a file that is shorter than it was made is noticed whether the
// log was closed or not.
func TestTruncation(t *testing.T) {
	for name, fs := range map[string]*vfs.Mem{"Closed": written(t, 12), "Crashed": crashed(t, 12)} {
		t.Run(name, func(t *testing.T) {
			refused := 0
			for _, path := range fs.Files() {
				if strings.HasSuffix(path, ".free") || strings.HasSuffix(path, ".tmp") {
					continue // room for what is to come: there is nothing in it
				}
				for size := range fs.ReadFile(path) {
					bad := damaged(fs, path, func(b []byte) []byte { return b[:size] })
					agree(t, bad)
					l, err := open(bad)
					if err == nil {
						l.Close()
						t.Fatalf("%s cut to %d bytes: the log opens", path, size)
					}
					if !isRefusal(err) {
						t.Fatalf("%s cut to %d bytes: %v (%T)", path, size, err, err)
					}
					refused++
				}
			}
			tally.Add(t, "damage", "files cut short, all refused", int64(refused), 1000)
		})
	}
}

// big returns a log of at least three segments that was not closed.
func big(t *testing.T) *vfs.Mem {
	t.Helper()
	fs := crashed(t, 120)
	if fs.ReadFile(seg3) == nil {
		t.Fatalf("only %v", fs.Files())
	}
	return fs
}

func segmentPath(n int) string { return fmt.Sprintf("%s/%08d.seg", dir, n) }

func TestSegmentsThatDoNotFit(t *testing.T) {
	fs := big(t)
	newest := 0
	for fs.ReadFile(segmentPath(newest+1)) != nil {
		newest++
	}
	for name, change := range map[string]func(*vfs.Mem){
		"FirstMissing":  func(fs *vfs.Mem) { fs.RemoveFile(seg1) },
		"MiddleMissing": func(fs *vfs.Mem) { fs.RemoveFile(seg2) },
		"Swapped": func(fs *vfs.Mem) {
			a, b := fs.ReadFile(seg1), fs.ReadFile(seg2)
			fs.WriteFile(seg1, b)
			fs.WriteFile(seg2, a)
		},
		"Duplicated":         func(fs *vfs.Mem) { fs.WriteFile(dir+"/00000099.seg", fs.ReadFile(seg2)) },
		"NewestDuplicated":   func(fs *vfs.Mem) { fs.WriteFile(segmentPath(newest+1), fs.ReadFile(segmentPath(newest))) },
		"NewestOfAnotherLog": func(fs *vfs.Mem) { fs.WriteFile(segmentPath(newest), big(t).ReadFile(segmentPath(newest))) },
		"AnotherLog":         func(fs *vfs.Mem) { fs.WriteFile(seg2, big(t).ReadFile(seg2)) },
		"MiddleShort":        func(fs *vfs.Mem) { fs.WriteFile(seg2, fs.ReadFile(seg2)[:2000]) },
		"MiddleEmpty":        func(fs *vfs.Mem) { fs.WriteFile(seg2, nil) },
		"MiddleZeroed":       func(fs *vfs.Mem) { fs.WriteFile(seg2, append(fs.ReadFile(seg2)[:88], make([]byte, 4008)...)) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := fs.Kill()
			change(fs)
			err := refuses[*wal.CorruptError](t, fs)
			if !strings.HasPrefix(err.File, dir) || err.Why == "" {
				t.Errorf("the error does not name the file: %+v", err)
			}
		})
	}
}

func TestAllSegmentsMissing(t *testing.T) {
	fs := written(t, 3)
	fs.RemoveFile(seg1)
	_ = refuses[*wal.CorruptError](t, fs)
}

func TestForeignFile(t *testing.T) {
	list := func([]byte) []byte { return []byte("# a shopping list, not a log\n") }
	fs := damaged(written(t, 3), seg1, list)
	if err := refuses[*wal.CorruptError](t, fs); err.File != seg1 { // a clean close stands beside it
		t.Errorf("the error names %q", err.File)
	}
	fs = written(t, 3)
	fs.RemoveFile(dir + "/clean")
	flipped := damaged(fs, seg1, func(b []byte) []byte { b[5] ^= 1; return b })
	if err := refuses[*wal.CorruptError](t, flipped); err.File != seg1 { // the rest of the header is ours
		t.Errorf("the error names %q", err.File)
	}
	fs = damaged(fs, seg1, list)
	if err := refuses[*wal.NotLogError](t, fs); err.File != seg1 {
		t.Errorf("the error names %q", err.File)
	}
}

func TestOtherNamesAreLeftAlone(t *testing.T) {
	fs := written(t, 3)
	for _, name := range []string{"README", "1.seg", "00000000.seg", "notes.tmp", "00000001.seg.bak"} {
		fs.WriteFile(dir+"/"+name, []byte("x"))
	}
	before := len(fs.Files())
	l, n := recovered(t, fs)
	must(t, l.Close())
	if n != 3 || len(fs.Files()) != before {
		t.Errorf("%d records, files %v", n, fs.Files())
	}
}

// versioned returns a log of three records whose segment says that it is of a version.
func versioned(t *testing.T, version byte) *vfs.Mem {
	return damaged(written(t, 3), seg1, func(b []byte) []byte {
		b[8] = version
		copy(b[12:16], make([]byte, 4))
		sum := crc32.Checksum(b[:88], crc32.MakeTable(crc32.Castagnoli))
		b[12], b[13], b[14], b[15] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		return b
	})
}

func TestNewerVersion(t *testing.T) {
	err := refuses[*wal.VersionError](t, versioned(t, wal.Version+1))
	if err.Found != wal.Version+1 || err.Supported != wal.Version || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("%+v: %v", err, err)
	}
}

// TestOlderVersion opens a log of the version before, which differs only in what it has
// not got, and goes on in this one.
func TestOlderVersion(t *testing.T) {
	fs := versioned(t, 1)
	l, n := recovered(t, fs)
	if n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	must(t, l.Force(dtctest.SampleRecords()[6]))
	must(t, l.Close())
	r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs})
	must(t, err)
	kinds := map[txlog.Kind]int{}
	n = 0
	must(t, r.Replay(func(e txlog.Entry) error { kinds[e.Record.Kind()]++; n++; return nil }))
	if kinds[txlog.KindOnePhase] != 1 || n != 4 {
		t.Errorf("the log holds %v", kinds)
	}
	_ = refuses[*wal.CorruptError](t, versioned(t, 0))
}

// TestOldContentIsNotTaken puts batches of another place where the next batch
// would be: what a recycled file or a misdirected write leaves.
func TestOldContentIsNotTaken(t *testing.T) {
	fs := crashed(t, 10)
	r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs})
	must(t, err)
	report, err := r.Verify()
	must(t, err)
	at := 88 + int(report.End)
	fs = damaged(fs, seg1, func(b []byte) []byte {
		copy(b[at:], b[88:at])
		return b
	})
	l, n := recovered(t, fs)
	must(t, l.Close())
	if n != 10 {
		t.Errorf("%d records, want 10", n)
	}
}

func TestReaderOfDamagedLog(t *testing.T) {
	fs := damaged(crashed(t, 10), seg1, func(b []byte) []byte { b[300] ^= 1; return b })
	r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs})
	must(t, err)
	report, err := r.Verify()
	var corrupt *wal.CorruptError
	if !errors.As(err, &corrupt) || corrupt.File != seg1 || corrupt.Offset > 300 || corrupt.Offset < 100 {
		t.Errorf("verify: %v", err)
	}
	n, err := replayed(r)
	if !errors.As(err, &corrupt) || n != report.Records || n == 0 || n >= 10 {
		t.Errorf("replay: %d records, %v; report %+v", n, err, report)
	}
	enough := errors.New("enough")
	if err := r.Replay(func(txlog.Entry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("replay: %v", err)
	}
}

func TestReaderWithoutLog(t *testing.T) {
	var none *wal.NoLogError
	fs := vfs.NewMem()
	if _, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs}); !errors.As(err, &none) {
		t.Errorf("no directory: %v", err)
	}
	must(t, fs.MkdirAll(dir))
	if _, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs}); !errors.As(err, &none) {
		t.Errorf("empty directory: %v", err)
	}
}

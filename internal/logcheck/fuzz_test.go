package logcheck_test

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/logcheck"
)

// FuzzCheck gives every file of a log any content: the check never panics, says
// where the damage is, and never allocates for what is not there.
func FuzzCheck(f *testing.F) {
	d := sound()
	f.Add(d[name(2, "ckp")], d[name(3, "seg")], d[name(4, "seg")], d["clean"])
	f.Add([]byte(nil), segment(3, 0, 0, 0).batch(incarnation(1, 2)).full(), []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, ckp, first, second, closed []byte) {
		d := disk{}
		for n, b := range map[string][]byte{name(2, "ckp"): ckp, name(3, "seg"): first, name(4, "seg"): second, "clean": closed} {
			if len(b) > 0 {
				d[n] = b
			}
		}
		frugal(t, d)
	})
}

// FuzzRecord gives a batch with a good checksum any payload.
func FuzzRecord(f *testing.F) {
	for _, r := range []string{
		incarnation(1, 2), block(1, 2), prepare(1, 1, "t", "a", "*b"), commit(1, 1, "\x01\x02"), abort(1, 1, 1, "a", "m"), end(1, 1, 1),
		resolution(1, 1, "a", 1, "r"), logged(1, 1, 2, 4, 5), horizon(1), outcome(1, 1, 1, 0), hold(1, "r"), release("r"),
	} {
		f.Add(uint32(1), []byte(text(r)))
		f.Add(uint32(2), []byte(text(r)+text(r)))
	}
	f.Fuzz(func(t *testing.T, records uint32, payload []byte) {
		s := segment(1, 0, 0, 0).raw(records, string(payload))
		frugal(t, disk{name(1, "seg"): append(s.b, make([]byte, segSize)...)})
	})
}

// frugal checks the log and what the check takes for it.
func frugal(t *testing.T, d disk) {
	size := 0
	for _, b := range d {
		size += len(b)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, r, err := d.check()
	runtime.ReadMemStats(&after)
	// A branch of two bytes is 24 bytes in memory, and the lines for the records
	// are made as well; a window is larger than a small file, but only once.
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+200*size); got > most {
		t.Errorf("%d bytes allocated for files of %d", got, size)
	}
	if r.Tail < 0 || int(r.Tail) > size || r.Records > size || r.Folded > r.Records {
		t.Errorf("%+v, %v", r, err)
	}
	if kind(err) == "" && r.Synced > r.End {
		t.Errorf("sound, and not as far as it was durable: %+v", r)
	}
	names := slices.Collect(maps.Keys(d))
	if fields := strings.Fields(kind(err)); len(fields) == 2 && !slices.Contains(names, fields[1]) && fields[0] != "Damage" {
		t.Errorf("%v names a file that is not there", err)
	}
}

// TestOS reads the files of the operating system, in windows that do not hold
// them whole.
func TestOS(t *testing.T) {
	dir := t.TempDir()
	for n, b := range sound() {
		must(t, os.WriteFile(filepath.Join(dir, n), b, 0o600))
	}
	r, err := logcheck.Check(dir, logcheck.OS, nil)
	if err != nil || r.Records != 20 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := logcheck.Check(filepath.Join(dir, "none"), logcheck.OS, nil); kind(err) != "NoLog" {
		t.Error(err)
	}

	f := segment(1, 0, 0, 0).batch(incarnation(1, 1))
	large := abort(1, 1, 1, "p", strings.Repeat("m", 50_000))
	for range 40 {
		f.batch(large, large, large)
	}
	must(t, os.Mkdir(filepath.Join(dir, "large"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "large", name(1, "seg")), append(f.b, make([]byte, 1<<20)...), 0o600))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err = logcheck.Check(filepath.Join(dir, "large"), logcheck.OS, nil)
	runtime.ReadMemStats(&after)
	if kind(err) == "" || strings.HasPrefix(kind(err), "Damage") || r.Records != 121 || r.End != f.position() || r.Tail != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	// The texts of the records, and some windows; not the file once more.
	if got := after.TotalAlloc - before.TotalAlloc; got > 12<<20 {
		t.Errorf("%d bytes allocated for a file of %d", got, len(f.b))
	}
}

func TestSettle(t *testing.T) {
	damage := func(n int64) error { return &logcheck.Damage{File: "f", Offset: n} }
	for _, test := range []struct {
		what  string
		say   []error
		calls int
		err   bool
	}{
		{"sound", []error{nil}, 1, false},
		{"sound at the second look", []error{damage(1), nil}, 2, false},
		{"damage that moves", []error{damage(1), damage(2), damage(3), os.ErrNotExist, nil}, 5, false},
		{"damage that stays", []error{damage(1), damage(2), damage(2), nil}, 3, true},
		{"a version", []error{&logcheck.NewerVersion{}, nil}, 1, true},
	} {
		calls := 0
		err := logcheck.Settle(func() error { calls++; return test.say[calls-1] })
		if calls != test.calls || (err != nil) != test.err {
			t.Errorf("%s: %v after %d calls", test.what, err, calls)
		}
	}
}

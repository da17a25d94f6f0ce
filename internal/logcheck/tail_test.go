package logcheck_test

import (
	"slices"
	"testing"
)

// TestTail tells what a crash left from what was damaged.
func TestTail(t *testing.T) {
	first := incarnation(1, 9)
	one := func() *file { return segment(1, 0, 0, 0).batch(first) }
	end := one().position()
	torn := func(f *file, from int) []byte {
		b := f.full()
		b[from+60] ^= 1
		return b
	}
	for _, test := range []struct {
		what    string
		segment []byte
		want    string
		end     uint64
		tail    bool
	}{
		{"nothing behind the end", one().full(), "", end, false},
		{"no batch at all", segment(1, 0, 0, 0).full(), "", 0, false},
		{"a torn batch", torn(one().batch(block(1, 10)), len(one().b)), "", end, true},
		{"a torn batch, and one behind it that promises nothing", torn(one().durable().batch(block(1, 10)).batch(block(1, 11)), len(one().b)), "", end, true},
		{"a torn batch that one behind it promises", torn(one().batch(block(1, 10)).durable().batch(block(1, 11)), len(one().b)), "Damage 00000001.seg", end, true},
		{"a torn batch that a later one promises", torn(one().batch(block(1, 10)).batch(block(1, 11)).durable().batch(block(1, 12)), len(one().b)), "Damage 00000001.seg", end, true},
		{"shorter than it was made", one().full()[:segSize-8], "Damage 00000001.seg", end, false},
		{"larger than it was made", append(one().full(), 0), "", end, false},
		{"a batch of an earlier life", func() []byte {
			b := one().full()
			old := segment(9, 0, 0, 0).batch(first).durable().batch(first)
			copy(b[len(one().b):], old.b[88:])
			return b
		}(), "", end, false},
		{"a batch of an earlier life that would be here", func() []byte {
			f := one()
			f.number = 9
			return f.batch(block(1, 10)).full()
		}(), "", end, false},
		{"a batch of another log", func() []byte {
			f := one()
			logID[0]++
			defer func() { logID[0]-- }()
			return f.batch(block(1, 10)).full()
		}(), "", end, false},
		{"a batch of another position", func() []byte {
			b := one().full()
			copy(b[len(one().b):], one().b[88:])
			return b
		}(), "", end, false},
		{"durable before it was written", (&file{one().b, 88, 1, 0, end + 8}).batch(block(1, 10)).full(), "Damage 00000001.seg", end, true},
		{"no record in a batch", one().raw(0, "\x00").full(), "Damage 00000001.seg", end, true},
		{"more records than it says", one().raw(1, text(block(1, 10))+text(block(1, 11))).full(), "Damage 00000001.seg", end, true},
		{"fewer records than it says", one().raw(3, text(block(1, 10))+text(block(1, 11))).full(), "Damage 00000001.seg", end, true},
		{"a record that ends outside", one().raw(1, "\x09"+block(1, 10)).full(), "Damage 00000001.seg", end, true},
		{"an empty record", one().raw(1, "\x00").full(), "Damage 00000001.seg", end, true},
		{"a payload without length", one().raw(0, "").full(), "", end, true},
	} {
		_, r, err := disk{name(1, "seg"): test.segment}.check()
		if got := kind(err); got != test.want {
			t.Errorf("%s: %q (%v), want %q", test.what, got, err, test.want)
		}
		if r.End != test.end || test.want == "" && (r.Tail > 0) != test.tail {
			t.Errorf("%s: %+v, want the end at %d", test.what, r, test.end)
		}
	}
	// What is checked under a good checksum: fields that are always zero.
	for what, i := range map[string]int{"unused field": 54, "padding": 56 + len(text(block(1, 9)))} {
		f := segment(1, 0, 0, 0).batch(block(1, 9))
		f.b[88+i] = 1
		reseal(f.b[88:])
		if _, _, err := (disk{name(1, "seg"): f.full()}).check(); kind(err) != "Damage 00000001.seg" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCleanClose(t *testing.T) {
	f := segment(1, 0, 0, 0).batch(incarnation(1, 9))
	closed := clean(f.position())
	for _, test := range []struct {
		what  string
		disk  disk
		want  string
		clean bool
	}{
		{"closed", disk{name(1, "seg"): f.b, "clean": closed}, "", true},
		{"closed, and not cut yet", disk{name(1, "seg"): f.full(), "clean": closed}, "", true},
		{"used again", disk{name(1, "seg"): slices.Clone(f.batch(block(1, 10)).full()), "clean": closed}, "", false},
	} {
		_, r, err := test.disk.check()
		if kind(err) != test.want || r.Clean != test.clean {
			t.Errorf("%s: %v, %+v", test.what, err, r)
		}
	}
}

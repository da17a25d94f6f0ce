package logcheck_test

import (
	"strings"
	"testing"
)

// TestRecords: what stands in a batch with a good checksum is exactly a record, or
// is damage.
func TestRecords(t *testing.T) {
	many := strings.Repeat("\x01", 1001)
	branches := func(n int) string {
		return "\x03" + ref(1, 1) + text("") + finger + u(uint64(n)) + strings.Repeat("\x00\x01p", n)
	}
	for _, test := range []struct {
		what, record string
		good         bool
	}{
		{"all limits of an incarnation", "\x01" + u(1<<32-1) + u32(1<<32-1) + u(1<<64-1), true},
		{"incarnation of 33 bits", block(1<<32, 1), false},
		{"number with a zero too many", "\x02\x81\x00\x01", false},
		{"zero with a byte too many", "\x02\x80\x00\x01", false},
		{"number of 65 bits", "\x02\x01" + strings.Repeat("\xff", 9) + "\x02", false},
		{"nonce cut off", "\x01\x01\x01\x02\x03", false},
		{"a byte too many", block(1, 1) + "\x00", false},
		{"kind 0", "\x00", false},
		{"kind 13", "\x0d\x00", false},
		{"longest id", prepare(1, 1, strings.Repeat("t", 128), "p"), true},
		{"longer id", prepare(1, 1, strings.Repeat("t", 129), "p"), false},
		{"longest participant", prepare(1, 1, "t", strings.Repeat("p", 64)), true},
		{"longer participant", prepare(1, 1, "t", strings.Repeat("p", 65)), false},
		{"most branches", branches(1000), true},
		{"more branches", branches(1001), false},
		{"flag 2", "\x03" + ref(1, 1) + text("t") + finger + "\x01\x02" + text("p"), false},
		{"fingerprint cut off", "\x03" + ref(1, 1) + text("t") + finger[:15], false},
		{"fewer branches than counted", "\x03" + ref(1, 1) + text("t") + finger + "\x02\x00" + text("p"), false},
		{"most votes", commit(1, 1, many[:1000]), true},
		{"more votes", commit(1, 1, many), false},
		{"vote 3", commit(1, 1, "\x03"), false},
		{"code 9", abort(1, 1, 9, "p", "m"), true},
		{"code 10", abort(1, 1, 10, "p", "m"), false},
		{"longest message", abort(1, 1, 1, "p", strings.Repeat("m", 1<<16)), true},
		{"longer message", abort(1, 1, 1, "p", strings.Repeat("m", 1<<16+1)), false},
		{"outcome 3", end(1, 1, 3), true},
		{"outcome 4", end(1, 1, 4), false},
		{"end without outcome", "\x06" + ref(1, 1), false},
		{"resolved as rolled back", resolution(1, 1, "p", 2, "r"), true},
		{"resolved as unknown", resolution(1, 1, "p", 0, "r"), false},
		{"resolved as heuristic", resolution(1, 1, "p", 3, "r"), false},
		{"longer reason", resolution(1, 1, "p", 2, strings.Repeat("m", 1<<16+1)), false},
		{"runs", logged(1, 1, 1, 3, 1<<64-1), true},
		{"runs without a gap", logged(1, 1, 1, 2, 3), false},
		{"runs that overlap", logged(1, 1, 4, 3, 5), false},
		{"runs that descend", logged(1, 3, 4, 1, 1), false},
		{"a run behind the last number", logged(1, 1, 1<<64-1, 0, 1), false},
		{"a run behind the last number, ascending", logged(1, 1, 1<<64-1, 5, 6), false},
		{"a run from its end", logged(1, 2, 1), false},
		{"more runs than follow", "\x08\x01" + u(1<<63) + "\x01\x02", false},
		{"horizon", horizon(-1), true},
		{"horizon cut off", horizon(at)[:8], false},
		{"outcome", outcome(1, 1, 3, 9), true},
		{"outcome of code 10", outcome(1, 1, 3, 10), false},
		{"outcome cut off", outcome(1, 1, 3, 9)[:40], false},
		{"hold", hold(1<<32-1, strings.Repeat("m", 1<<16)), true},
		{"hold of 33 bits", hold(1<<32, ""), false},
		{"release", release(""), true},
		{"release cut off", "\x0c\x01", false},
	} {
		f := segment(1, 0, 0, 0).batch(test.record)
		_, r, err := disk{name(1, "seg"): append(f.b, make([]byte, segSize)...)}.check()
		// What the record says makes no sense alone; it is only asked for its form.
		damaged := strings.HasPrefix(kind(err), "Damage")
		if damaged == test.good || test.good && r.Records != 1 {
			t.Errorf("%s: %v, %d records", test.what, err, r.Records)
		}
	}
}

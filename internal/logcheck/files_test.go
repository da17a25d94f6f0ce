package logcheck_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/logcheck"
)

// sound returns a log of two segments behind a checkpoint, closed cleanly, with
// records of every kind.
func sound() disk {
	ckp := fold(2).batch(incarnation(1, 100), incarnation(2, 200), hold(1, "copied")).
		batch(logged(1, 1, 3, 5, 5), logged(2, 1, 1), horizon(at)).
		batch(outcome(1, 5, 1, 0), outcome(2, 1, 2, 1)).
		batch(prepare(1, 4, "old", "bank", "*shop"), commit(1, 4, "\x01\x02"), resolution(1, 4, "bank", 2, "lost"), prepare(2, 7, "new", "bank")).
		checkpoint(4000, 12, 2)
	three := segment(3, 4000, 4000, 4000).batch(release("looked at")).batch(incarnation(3, 50), block(3, 60))
	middle := three.durable().position()
	three.batch(prepare(3, 60, "a", "bank")) // copied into the next one
	four := segment(4, middle, middle+1, 0)
	four.batch(prepare(3, 60, "a", "bank")).durable().batch(abort(3, 60, 1, "bank", "no"), end(3, 60, 2), end(1, 4, 3), hold(3, ""))
	return disk{
		name(2, "ckp"): ckp, name(3, "seg"): three.b, name(4, "seg"): four.b, "clean": clean(four.position()),
		name(1, "ckp"): []byte("old"), name(2, "seg"): []byte("old"), "ckp.tmp": nil, name(5, "tmp"): nil, name(6, "free"): nil, "LOCK": nil, "0.seg": nil,
	}
}

func TestSound(t *testing.T) {
	lines, r, err := sound().check()
	must(t, err)
	want := `incarnation 1-0000abcd through 100
incarnation 2-0000abcd through 200
hold through 1 "copied"
logged 1 1-3 5-5
logged 2 1-1
horizon 1700000000000000000
outcome 1.5 key=00000000000000000000000000000000 fp=00000000000000000000000000000000 committed no_reason 1700000000000000000
outcome 2.1 key=00000000000000000000000000000000 fp=00000000000000000000000000000000 rolled_back vote_abort 1700000000000000000
prepare 1.4 "old" fp=00000000000000000000000000000000 ["bank"] ["shop" plain]
commit 1.4 vote_commit read_only
resolution 1.4 "bank" rolled_back "lost"
prepare 2.7 "new" fp=00000000000000000000000000000000 ["bank"]
release "looked at"
incarnation 3-0000abcd through 50
block 3 through 60
prepare 3.60 "a" fp=00000000000000000000000000000000 ["bank"]
abort 3.60 vote_abort "bank" "no"
end 3.60 rolled_back
end 1.4 heuristic
hold through 3 ""`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("it reads\n%s", got)
	}
	if r.Log.String() != "aebagbafaydqqcik" || r.Checkpoint != 2 || r.From != 4000 || r.Segments != 2 || r.Batches != 8 || r.Records != 20 ||
		r.Folded != 12 || !r.Clean || r.Tail != 0 || r.Synced != r.End || r.Incarnations != 3 || r.Unfinished != 1 {
		t.Errorf("%+v", r)
	}
}

// TestFiles damages the sound log in one way each.
func TestFiles(t *testing.T) {
	type change func(disk)
	edit := func(n string, change func([]byte) []byte) change {
		return func(d disk) { d[n] = change(slices.Clone(d[n])) }
	}
	without := func(names ...string) change {
		return func(d disk) {
			for _, n := range names {
				delete(d, n)
			}
		}
	}
	flip := func(n string, i int) change { return edit(n, func(b []byte) []byte { b[i] ^= 1; return b }) }
	with := func(n string, b []byte) change { return func(d disk) { d[n] = b } }
	ckp, seg3, seg4 := name(2, "ckp"), name(3, "seg"), name(4, "seg")
	end := segment(4, 0, 0, 0) // of the log: where the next segment would begin
	{
		_, r, err := sound().check()
		must(t, err)
		end.start = r.End
	}
	for _, test := range []struct {
		what   string
		change change
		want   string // kind of error and file
	}{
		{"nothing", func(disk) {}, ""},
		{"no directory", func(d disk) { clear(d) }, "NoLog"},
		{"only what has no meaning", without(ckp, seg3, seg4, "clean", name(1, "ckp"), name(2, "seg")), "NoLog"},
		{"only the clean file", without(ckp, seg3, seg4, name(1, "ckp"), name(2, "seg")), "Damage 00000001.seg"},
		{"no checkpoint", without(ckp, name(1, "ckp"), name(2, "seg")), "Damage 00000003.seg"},
		{"an older checkpoint", without(ckp), "Damage 00000001.ckp"},
		{"no segment", without(seg3, seg4), "Damage 00000003.seg"},
		{"the first segment missing", without(seg3), "Damage 00000004.seg"},
		{"the newest segment missing", without(seg4), "Damage 00000003.seg"},
		{"no clean file, so that the newest is too short", without("clean"), "Damage 00000004.seg"},
		{"no clean file, and the newest whole", func(d disk) {
			delete(d, "clean")
			d[seg4] = append(d[seg4], make([]byte, segSize-int64(len(d[seg4])))...)
		}, ""},
		{"checkpoint: magic", flip(ckp, 0), "Damage 00000002.ckp"},
		{"checkpoint: version", edit(ckp, func(b []byte) []byte { b[8] = 3; return b }), "NewerVersion 00000002.ckp"},
		{"checkpoint: header", flip(ckp, 70), "Damage 00000002.ckp"},
		{"checkpoint: batch", flip(ckp, 150), "Damage 00000002.ckp"},
		{"checkpoint: last byte", edit(ckp, func(b []byte) []byte { b[len(b)-1] = 1; return b }), "Damage 00000002.ckp"},
		{"checkpoint: cut", edit(ckp, func(b []byte) []byte { return b[:len(b)-8] }), "Damage 00000002.ckp"},
		{"checkpoint: longer", edit(ckp, func(b []byte) []byte { return append(b, 0) }), "Damage 00000002.ckp"},
		{"checkpoint: number of records", with(ckp, fold(2).batch(incarnation(1, 1)).checkpoint(4000, 2, 0)), "Damage 00000002.ckp"},
		{"checkpoint: number of outcomes", with(ckp, fold(2).batch(incarnation(1, 1)).checkpoint(4000, 1, 1)), "Damage 00000002.ckp"},
		{"checkpoint: another number", with(name(3, "ckp"), fold(2).batch(incarnation(1, 1)).checkpoint(4000, 1, 0)), "Damage 00000003.ckp"},
		{"checkpoint: another end", with(ckp, fold(2).batch(incarnation(1, 1)).checkpoint(4008, 1, 0)), "Damage 00000003.seg"},
		{"checkpoint: does not reach the begin of a header", with(seg3, segment(3, 4000, 4000, 4001).b), "Damage 00000003.seg"},
		{"checkpoint: header says another size", edit(ckp, func(b []byte) []byte { b[40] ^= 8; return resum(b, 72, 12) }), "Damage 00000002.ckp"},
		{"checkpoint: unused field", edit(ckp, func(b []byte) []byte { b[26] = 1; return resum(b, 72, 12) }), "Damage 00000002.ckp"},
		{"checkpoint: says what is durable", with(ckp, (&file{fold(2).b, 72, 2, 0, 8}).batch(incarnation(1, 1)).checkpoint(4000, 1, 0)), "Damage 00000002.ckp"},
		{"segment: magic", flip(seg3, 3), "Damage 00000003.seg"},
		{"segment: all of the header", edit(seg3, func([]byte) []byte { return []byte("a shopping list") }), "Damage 00000003.seg"},
		{"segment: empty", edit(seg3, func([]byte) []byte { return nil }), "Damage 00000003.seg"},
		{"segment: version", edit(seg4, func(b []byte) []byte { b[9] = 1; return b }), "NewerVersion 00000004.seg"},
		{"version before damage", func(d disk) { d[seg4][9] = 1; d[seg3][40] ^= 1; d["clean"] = nil }, "NewerVersion 00000004.seg"},
		{"version 0", edit(seg4, func(b []byte) []byte { b[8] = 0; return b }), "Damage 00000004.seg"},
		{"segment: header", flip(seg4, 80), "Damage 00000004.seg"},
		{"segment: needed batch", flip(seg3, 88+60), "Damage 00000003.seg"},
		{"segment: superseded batch", edit(seg3, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), ""},
		{"segment: superseded batch cut", edit(seg3, func(b []byte) []byte { return b[:len(b)-8] }), ""},
		{"segment: first batch of the newest", flip(seg4, 88+60), "Damage 00000004.seg"},
		{"segment: of another log", edit(seg4, func([]byte) []byte {
			logID[0]++
			defer func() { logID[0]-- }()
			return segment(4, 4000, 4000, 0).full()
		}), "Damage 00000004.seg"},
		{"segment: begins before the one before it", with(name(5, "seg"), segment(5, 4000, 9000, 0).full()), "Damage 00000005.seg"},
		{"segment: unused field", edit(seg3, func(b []byte) []byte { b[27] = 1; return resum(b, 88, 12) }), "Damage 00000003.seg"},
		{"segment: header of another file", edit(seg3, func(b []byte) []byte { b[28] = 9; return resum(b, 88, 12) }), "Damage 00000003.seg"},
		{"segment: begins within a batch", with(name(5, "seg"), segment(5, end.start-8, end.start-8, 0).full()), "Damage 00000004.seg"},
		{"segment: one more, made after a checkpoint that is gone", with(name(5, "seg"), segment(5, end.start, end.start, 4001).full()), "Damage 00000005.seg"},
		{"segment: one more, of another log", func(d disk) {
			logID[0]++
			defer func() { logID[0]-- }()
			d[name(5, "seg")] = segment(5, end.start, end.start, 0).full()
		}, "Damage 00000005.seg"},
		{"segment: begins behind the end", with(name(5, "seg"), segment(5, end.start+8, end.start+8, 0).full()), "Damage 00000004.seg"},
		{"segment: one more, empty", with(name(5, "seg"), segment(5, end.start, end.start, 0).full()), ""},
		{"segment: one more, said to hold something", with(name(5, "seg"), segment(5, end.start, end.start+8, 0).full()), "Damage 00000005.seg"},
		{"segment: an older header says what is gone", with(seg3, append(segment(3, 4000, 1<<40, 0).b, sound()[seg3][88:]...)), "Damage 00000004.seg"},
		{"segment: durable ends before it begins", with(name(5, "seg"), segment(5, end.start, end.start-8, 0).full()), "Damage 00000005.seg"},
		{"clean: position", with("clean", clean(end.start+8)), "Damage 00000004.seg"},
		{"clean: flipped", flip("clean", 25), "Damage clean"},
		{"clean: unused field", edit("clean", func(b []byte) []byte { b[22] = 1; return resum(b, 32, 8) }), "Damage clean"},
		{"clean: cut", edit("clean", func(b []byte) []byte { return b[:31] }), "Damage clean"},
		{"clean: longer", edit("clean", func(b []byte) []byte { return append(b, 0) }), "Damage clean"},
		{"clean: of another log", edit("clean", func([]byte) []byte { logID[0]++; defer func() { logID[0]-- }(); return clean(end.start) }), "Damage clean"},
	} {
		d := sound()
		test.change(d)
		_, _, err := d.check()
		if got := kind(err); got != test.want {
			t.Errorf("%s: %q (%v), want %q", test.what, got, err, test.want)
		}
	}
	foreign := disk{name(1, "seg"): []byte("a shopping list that is longer than the header of a segment, which has eighty-eight bytes")}
	if _, _, err := foreign.check(); kind(err) != "NotLog 00000001.seg" {
		t.Errorf("a foreign file: %v", err)
	}
	foreign[name(2, "seg")] = segment(2, 0, 0, 0).full()
	if _, _, err := foreign.check(); kind(err) != "Damage 00000001.seg" {
		t.Errorf("a foreign file beside a segment: %v", err)
	}
	if _, _, err := disk(nil).check(); kind(err) != "NoLog" {
		t.Errorf("no directory: %v", err)
	}
}

// kind is the class of an error and the file that it names.
func kind(err error) string {
	var damage *logcheck.Damage
	var newer *logcheck.NewerVersion
	var not *logcheck.NotLog
	var none *logcheck.NoLog
	var contradiction *logcheck.Contradiction
	base := func(s string) string { return strings.TrimPrefix(s, "dir/") }
	switch {
	case errors.As(err, &damage):
		return "Damage " + base(damage.File)
	case errors.As(err, &newer):
		return "NewerVersion " + base(newer.File)
	case errors.As(err, &not):
		return "NotLog " + base(not.File)
	case errors.As(err, &none):
		return "NoLog"
	case errors.As(err, &contradiction):
		return "Contradiction " + base(contradiction.File)
	case err != nil:
		return err.Error()
	}
	return ""
}

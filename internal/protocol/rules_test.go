package protocol

import "testing"

func TestSweepVerdicts(t *testing.T) {
	log := LogID{1}
	one, two := Incarnation{1, 11}, Incarnation{2, 22}
	view := View{Log: log, Replayed: true, History: []Opening{{one, 100}, {two, 200}}}
	with := func(change func(*View)) View { v := view; change(&v); return v }
	for _, tt := range []struct {
		name string
		xid  XID
		view View
		want Verdict
	}{
		{"nobody owns it", XID{log, one, 7}, view, RollBack},
		{"ours, of this opening", XID{log, two, 200}, view, RollBack},
		{"remembered as rolled back", XID{log, one, 7}, with(func(v *View) { v.Decision = RolledBack }), RollBack},
		{"another log's", XID{LogID{2}, one, 7}, view, Foreign},
		{"the log is not read yet", XID{log, one, 7}, with(func(v *View) { v.Replayed = false }), NotYet},
		{"it is running", XID{log, one, 7}, with(func(v *View) { v.Live = true }), Running},
		{"an opening that we do not know", XID{log, Incarnation{3, 33}, 7}, view, UnknownIncarnation},
		{"the opening of a copy of this log", XID{log, Incarnation{2, 99}, 7}, view, UnknownIncarnation},
		{"a sequence that was never reserved", XID{log, one, 101}, view, UnknownIncarnation},
		{"sequence zero", XID{log, one, 0}, view, UnknownIncarnation},
		{"committed, and still listed", XID{log, one, 7}, with(func(v *View) { v.Decision = Committed }), Decided},
		{"heuristic, and still listed", XID{log, one, 7}, with(func(v *View) { v.Decision = Heuristic }), Decided},
	} {
		if got := Sweep(tt.xid, tt.view); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLowWaterRules(t *testing.T) {
	x := func(i uint32, seq uint64) XID { return XID{LogID{1}, Incarnation{i, i}, seq} }
	next := x(2, 9)
	for _, tt := range []struct {
		name string
		view LowWaterView
		want XID
	}{
		{"nothing is running", LowWaterView{Replayed: true, Next: next, Swept: true}, next},
		{"the oldest that runs", LowWaterView{Replayed: true, Next: next, Swept: true, Oldest: x(2, 4)}, x(2, 4)},
		{"one of an earlier opening", LowWaterView{Replayed: true, Next: next, Swept: true, Oldest: x(1, 4)}, x(1, 4)},
		{"not swept yet", LowWaterView{Replayed: true, Next: next, Oldest: x(2, 4)}, XID{}},
		{"plain: everything is in the log", LowWaterView{Replayed: true, Next: next, Plain: true, Oldest: x(1, 4)}, x(1, 4)},
		{"the log is not read yet", LowWaterView{Next: next, Plain: true, Swept: true}, XID{}},
	} {
		if got := LowWater(tt.view); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestXIDHasOneSpelling(t *testing.T) {
	x := XID{LogID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, Incarnation{7, 0x9f3a10cc}, 42}
	s := x.String()
	if got, err := ParseXID(s); err != nil || got != x {
		t.Fatalf("%q: %v, %v", s, got, err)
	}
	for _, bad := range []string{
		"", "dtc", s + ".1", s[:len(s)-1], "DTC" + s[3:], "x" + s, s + " ",
		"dtc.aebagbafaydqqcik.07-9f3a10cc.42", "dtc.aebagbafaydqqcik.7-9F3A10CC.42",
		"dtc.aebagbafaydqqcik.7-9f3a10cc.042", "dtc.aebagbafaydqqcik.7-9f3a10cc.+42", "dtc.AEBAGBAFAYDQQCIK.7-9f3a10cc.42",
		"dtc.aebagbafaydqqcik.4294967296-9f3a10cc.42", "dtc.aebagbafaydqqcik.7-9f3a10cc.18446744073709551616",
	} {
		if got, err := ParseXID(bad); err == nil && got.String() == bad && bad != s[:len(s)-1] {
			t.Errorf("%q was accepted as %v", bad, got)
		}
	}
}

func FuzzParseXID(f *testing.F) {
	f.Add(XID{LogID{1}, Incarnation{7, 0x9f3a10cc}, 42}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if x, err := ParseXID(s); err == nil && x.String() != s {
			t.Errorf("%q is read as %q", s, x)
		}
	})
}

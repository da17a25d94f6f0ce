package logcheck_test

import (
	"strings"
	"testing"
)

// TestHistory: each of these is a log whose last record cannot stand there, or can
// where no reason is given.
func TestHistory(t *testing.T) {
	one := incarnation(1, 9)
	p := prepare(1, 1, "t", "a", "b")
	once := onePhase(1, 1, "t", "a")
	yes := commit(1, 1, "\x01\x02")
	no := abort(1, 1, 1, "a", "")
	for _, test := range []struct {
		what, why string
		records   []string
	}{
		{"first incarnation", "", []string{one}},
		{"first incarnation is 2", "follows incarnation 0", []string{incarnation(2, 9)}},
		{"incarnation again", "follows incarnation 1", []string{one, one}},
		{"incarnation left out", "follows incarnation 1", []string{one, incarnation(3, 9)}},
		{"incarnation left out behind a hold", "", []string{one, hold(1, ""), incarnation(65_538, 9)}},
		{"incarnation below a hold", "follows incarnation 1", []string{one, hold(9, ""), incarnation(3, 9)}},
		{"incarnation left out behind an old hold", "follows incarnation 2", []string{one, hold(1, ""), incarnation(2, 9), incarnation(4, 9)}},
		{"block", "", []string{one, block(1, 20)}},
		{"block of none", "there is no incarnation", []string{block(0, 20)}},
		{"block of the one before", "current incarnation is 2", []string{one, incarnation(2, 9), block(1, 20)}},
		{"block that shrinks", "9 sequences were reserved", []string{one, block(1, 8)}},
		{"prepare", "", []string{one, p}},
		{"prepare of no incarnation", "current incarnation is 0", []string{p}},
		{"prepare of the one before", "current incarnation is 2", []string{one, incarnation(2, 9), p}},
		{"last sequence", "", []string{one, prepare(1, 9, "t", "a")}},
		{"sequence not reserved", "not reserved", []string{one, prepare(1, 10, "t", "a")}},
		{"sequence reserved too late", "not reserved", []string{one, prepare(1, 10, "t", "a"), block(1, 20)}},
		{"sequence of a block", "", []string{one, block(1, 20), prepare(1, 10, "t", "a")}},
		{"sequence 0", "not reserved", []string{one, prepare(1, 0, "t", "a")}},
		{"prepared twice", "prepared before", []string{one, p, p}},
		{"prepared after its end", "prepared before", []string{one, p, no, end(1, 1, 2), p}},
		{"prepared around others", "", []string{one, p, prepare(1, 3, "t", "a"), prepare(1, 2, "t", "a"), prepare(1, 5, "t", "a")}},
		{"prepared in the middle", "prepared before", []string{one, p, prepare(1, 3, "t", "a"), prepare(1, 2, "t", "a"), prepare(1, 2, "t", "a")}},
		{"two branches of one", "two branches", []string{one, prepare(1, 1, "t", "a", "b", "a")}},
		{"commit", "", []string{one, p, yes}},
		{"commit in a later incarnation", "", []string{one, p, incarnation(2, 9), yes}},
		{"commit of nothing", "never prepared", []string{one, yes}},
		{"commit twice", "is decided", []string{one, p, yes, yes}},
		{"commit after abort", "is decided", []string{one, p, no, yes}},
		{"commit after the end", "has ended", []string{one, p, yes, end(1, 1, 1), yes}},
		{"votes missing", "there are 2 branches", []string{one, p, commit(1, 1, "\x01")}},
		{"vote too many", "there are 2 branches", []string{one, p, commit(1, 1, "\x01\x01\x01")}},
		{"vote against it", "against a vote", []string{one, p, commit(1, 1, "\x01\x00")}},
		{"abort", "", []string{one, p, no}},
		{"abort of nothing", "never prepared", []string{one, no}},
		{"abort after commit", "is decided", []string{one, p, yes, no}},
		{"abort without reason", "without a reason", []string{one, p, abort(1, 1, 0, "", "")}},
		{"end of a commit", "", []string{one, p, yes, end(1, 1, 1)}},
		{"end of a commit, broken", "", []string{one, p, yes, end(1, 1, 3)}},
		{"end against the commit", "was committed", []string{one, p, yes, end(1, 1, 2)}},
		{"end of an abort", "", []string{one, p, no, end(1, 1, 2)}},
		{"end against the abort", "was rolled_back", []string{one, p, no, end(1, 1, 1)}},
		{"end without outcome", "was committed", []string{one, p, yes, end(1, 1, 0)}},
		{"end of nothing to decide", "", []string{one, p, end(1, 1, 1)}},
		{"end before the decision", "not decided", []string{one, p, end(1, 1, 2)}},
		{"end of nothing", "never prepared", []string{one, end(1, 1, 1)}},
		{"end twice", "has ended", []string{one, p, no, end(1, 1, 2), end(1, 1, 2)}},
		{"resolution", "", []string{one, p, yes, resolution(1, 1, "b", 2, "r")}},
		{"resolution after the end", "", []string{one, p, yes, end(1, 1, 1), resolution(1, 1, "b", 1, "r")}},
		{"resolution of no branch", "no such branch", []string{one, p, yes, resolution(1, 1, "c", 1, "r")}},
		{"resolution of nothing", "never prepared", []string{one, resolution(1, 1, "c", 1, "r")}},
		{"resolution before the decision", "not decided", []string{one, p, resolution(1, 1, "b", 1, "r")}},
		{"one phase", "", []string{one, once, end(1, 1, 1)}},
		{"one phase, rolled back", "", []string{one, once, no, end(1, 1, 2)}},
		{"one phase, rolled back without a reason", "not decided", []string{one, once, end(1, 1, 2)}},
		{"one phase, not known any more", "", []string{one, once, end(1, 1, 0)}},
		{"one phase, broken", "", []string{one, once, end(1, 1, 3)}},
		{"one phase twice", "prepared before", []string{one, once, once}},
		{"one phase, with a decision to commit", "no decision", []string{one, once, commit(1, 1, "\x01")}},
		{"one phase, an operator's word", "", []string{one, once, resolution(1, 1, "a", 2, "r"), no, end(1, 1, 2)}},
		{"one phase, against an operator's word", "an operator has said", []string{one, once, resolution(1, 1, "a", 1, "r"), no}},
		{"hold", "", []string{one, hold(1, "r")}},
		{"hold of what another copy has had", "", []string{one, hold(2, "r")}},
		{"release", "", []string{one, release("r")}},
		{"logged", "checkpoints only", []string{one, logged(1, 1, 1)}},
		{"horizon", "checkpoints only", []string{one, horizon(1)}},
		{"outcome", "checkpoints only", []string{one, outcome(1, 1, 1, 0)}},
	} {
		f := segment(1, 0, 0, 0).batch(test.records...)
		_, r, err := disk{name(1, "seg"): f.full()}.check()
		contradicts(t, test.what, test.why, err)
		if r.Records != len(test.records) {
			t.Errorf("%s: %d records", test.what, r.Records)
		}
	}
}

func contradicts(t *testing.T, what, why string, err error) {
	t.Helper()
	switch {
	case why == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case why != "" && (err == nil || !strings.HasPrefix(kind(err), "Contradiction 00000001.") || !strings.Contains(err.Error(), why)):
		t.Errorf("%s: %v, want %q", what, err, why)
	}
}

// TestFold is the same for checkpoints.
func TestFold(t *testing.T) {
	one, two := incarnation(1, 9), incarnation(2, 9)
	p := prepare(1, 1, "t", "a", "b")
	for _, test := range []struct {
		what, why string
		records   []string
	}{
		{"of nothing", "", []string{one}},
		{"incarnation left out", "", []string{one, incarnation(65_538, 9)}},
		{"incarnation again", "follows incarnation 2", []string{one, two, two}},
		{"incarnation too late", "comes after the hold", []string{one, hold(1, ""), two}},
		{"second hold", "one already", []string{one, hold(1, ""), hold(1, "")}},
		{"hold of what another copy has had", "", []string{one, hold(2, "")}},
		{"release", "", []string{one, hold(2, ""), release("")}},
		{"release of nothing", "no hold", []string{one, release("")}},
		{"second horizon", "one already", []string{one, horizon(1), horizon(2)}},
		{"logged in parts", "", []string{one, two, logged(1, 1, 2), logged(1, 4, 5), logged(2, 1, 9)}},
		{"logged twice", "named twice", []string{one, logged(1, 1, 2), logged(1, 2, 5)}},
		{"logged around", "named twice", []string{one, logged(1, 4, 5), logged(1, 3, 7)}},
		{"logged from 0", "not reserved", []string{one, logged(1, 0, 2)}},
		{"logged and not reserved", "not reserved", []string{one, logged(1, 1, 10)}},
		{"logged of no incarnation", "not reserved", []string{one, logged(2, 1, 1)}},
		{"logged too late", "comes after the horizon", []string{one, horizon(1), logged(1, 1, 1)}},
		{"outcome", "", []string{one, logged(1, 1, 2), outcome(1, 2, 1, 0), outcome(1, 1, 2, 3)}},
		{"outcome twice", "has an outcome already", []string{one, logged(1, 1, 2), outcome(1, 2, 1, 0), outcome(1, 2, 1, 0)}},
		{"outcome of what was not logged", "not among those", []string{one, logged(1, 1, 2), outcome(1, 3, 1, 0)}},
		{"outcome unknown", "has an outcome", []string{one, logged(1, 1, 2), outcome(1, 2, 0, 0)}},
		{"commit for a reason", "has a reason", []string{one, logged(1, 1, 2), outcome(1, 2, 1, 1)}},
		{"rollback for no reason", "has a reason", []string{one, logged(1, 1, 2), outcome(1, 2, 2, 0)}},
		{"unfinished", "", []string{one, two, p, commit(1, 1, "\x01\x01"), prepare(1, 3, "", "a"), prepare(2, 1, "", "a"), abort(2, 1, 8, "", ""), resolution(2, 1, "a", 1, "r")}},
		{"unfinished, descending", "do not ascend", []string{one, prepare(1, 3, "", "a"), p}},
		{"unfinished and ended", "prepared before", []string{one, logged(1, 1, 1), p}},
		{"unfinished and not reserved", "not reserved", []string{one, prepare(2, 1, "", "a")}},
		{"decision apart", "does not follow", []string{one, p, prepare(1, 3, "", "a"), commit(1, 1, "\x01\x01")}},
		{"decided twice", "is decided", []string{one, p, commit(1, 1, "\x01\x01"), abort(1, 1, 1, "", "")}},
		{"outcome too late", "comes after what is unfinished", []string{one, logged(1, 2, 2), p, outcome(1, 2, 1, 0)}},
		{"end", "segments only", []string{one, p, commit(1, 1, "\x01\x01"), end(1, 1, 1)}},
		{"block", "segments only", []string{one, block(1, 10)}},
	} {
		outcomes := 0
		for _, r := range test.records {
			if r[0] == 10 {
				outcomes++
			}
		}
		ckp := fold(1).batch(test.records...).checkpoint(100, uint64(len(test.records)), uint64(outcomes))
		_, _, err := disk{name(1, "ckp"): ckp, name(2, "seg"): segment(2, 100, 100, 100).full()}.check()
		contradicts(t, test.what, test.why, err)
	}
	// What a checkpoint says counts in the segments behind it.
	ckp := fold(1).batch(one, logged(1, 1, 1), prepare(1, 2, "", "a")).checkpoint(100, 3, 0)
	for record, why := range map[string]string{
		prepare(1, 1, "", "a"): "prepared before", prepare(1, 2, "", "a"): "prepared before", prepare(1, 3, "", "a"): "",
		abort(1, 2, 8, "", ""): "", resolution(1, 1, "a", 1, "r"): "", incarnation(2, 1): "", incarnation(1, 1): "follows incarnation 1",
	} {
		_, _, err := disk{name(1, "ckp"): ckp, name(2, "seg"): segment(2, 100, 100, 100).batch(record).full()}.check()
		switch got := kind(err); {
		case why == "" && err != nil, why != "" && (got != "Contradiction 00000002.seg" || !strings.Contains(err.Error(), why)):
			t.Errorf("%q behind the checkpoint: %v", record, err)
		}
	}
}

package chaos_test

import (
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// What no server may say is seen: each story is one, and what is wrong with it.
func TestLedgerComplains(t *testing.T) {
	const id, c, r = dtc.TxID("1.1.www"), oracle.Committed, oracle.RolledBack
	for _, s := range []struct {
		name, complaint string
		story           func(l *ledger)
	}{
		{"twice the same", "", func(l *ledger) {
			l.tells(id, "x", c, l.asks())
			l.tells(id, "x", c, l.asks())
		}},
		{"forgotten in a kill", "", func(l *ledger) {
			l.tells(id, "x", r, l.asks())
			l.epoch.Add(1)
			l.tells(id, "y", c, l.asks())
		}},
		{"an answer that was late", "", func(l *ledger) {
			early := l.asks()
			l.epoch.Add(1)
			l.tells(id, "y", c, l.asks())
			l.tells(id, "x", r, early)
		}},
		{"both", "told committed and rolled_back", func(l *ledger) {
			q := l.asks()
			l.tells(id, "x", c, q)
			l.tells(id, "x", r, q)
		}},
		{"run again without a kill", "by the same process", func(l *ledger) {
			l.tells(id, "x", r, l.asks())
			l.tells(id, "y", c, l.asks())
		}},
		{"committed twice", "told committed as x and as y", func(l *ledger) {
			l.tells(id, "x", c, l.asks())
			l.epoch.Add(1)
			l.tells(id, "y", c, l.asks())
		}},
		{"a commit that was forgotten", "rolled back later", func(l *ledger) {
			l.tells(id, "x", c, l.asks())
			l.epoch.Add(1)
			l.tells(id, "y", r, l.asks())
		}},
		{"no outcome", "told \"heuristic\"", func(l *ledger) { l.tells(id, "x", "heuristic", l.asks()) }},
	} {
		l := newLedger()
		l.begins(id, oracle.ShapeOf(id), false)
		s.story(l)
		wrong := strings.Join(l.wrong, "\n")
		if (s.complaint == "") != (wrong == "") || !strings.Contains(wrong, s.complaint) {
			t.Errorf("%s: want %q, and the ledger says %q", s.name, s.complaint, wrong)
		}
	}
}

// What no transaction may leave behind is seen.
func TestTaleComplains(t *testing.T) {
	const id = dtc.TxID("1.1.www")
	const none, held, final = oracle.None, oracle.Held, oracle.Final
	for _, s := range []struct {
		complaint string
		tale      tale
		left      map[string]oracle.Effects
	}{
		{"", tale{committed: "x"}, map[string]oracle.Effects{"x": {final, final, final}}},
		{"", tale{told: map[string]string{"x": oracle.RolledBack}}, nil},
		{"", tale{told: map[string]string{"x": oracle.RolledBack}}, map[string]oracle.Effects{"y": {final, final, final}}},
		{"", tale{steps: true, xid: "x"}, map[string]oracle.Effects{"x": {final, none, none}}},
		{"here and not there", tale{}, map[string]oracle.Effects{"x": {final, none, final}}},
		{"here and not there", tale{steps: true, full: true, xid: "x"}, map[string]oracle.Effects{"x": {final, none, none}}},
		{"still held", tale{}, map[string]oracle.Effects{"x": {held, none, none}}},
		{"told committed", tale{committed: "x"}, nil},
		{"told committed as x", tale{committed: "x"}, map[string]oracle.Effects{"y": {final, final, final}}},
		{"told rolled back", tale{told: map[string]string{"x": oracle.RolledBack}}, map[string]oracle.Effects{"x": {final, final, final}}},
		{"under several", tale{committed: "x"}, map[string]oracle.Effects{"x": {final, final, final}, "y": {final, final, final}}},
		{
			"not there",
			tale{steps: true, full: true, xid: "x", told: map[string]string{"x": oracle.Committed}},
			map[string]oracle.Effects{"y": {final, final, final}},
		},
	} {
		s.tale.shape = oracle.ShapeOf(id)
		wrong := strings.Join(s.tale.judge(id, s.left), "\n")
		if (s.complaint == "") != (wrong == "") || !strings.Contains(wrong, s.complaint) {
			t.Errorf("%+v left %v: want %q, and the judge says %q", s.tale, s.left, s.complaint, wrong)
		}
	}
}

package grind

import (
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// judge holds what was told against what is there.
func (g *grind) judge() {
	begun, told, asked := g.journal()
	var rows [2]map[int]int
	balance := 0
	lost := map[wire.Fault]int{}
	for i, s := range g.sides {
		s.Clean()
		rows[i] = g.moved(s)
		balance += g.number(s, "SELECT SUM(balance) FROM account")
		if n := g.number(s, "SELECT SUM(balance) - 1000 * COUNT(*) - COALESCE((SELECT SUM(amount) FROM moved), 0) FROM account"); n != 0 {
			g.t.Errorf("database %d: balances and rows differ by %d", i, n)
		}
		by, _ := s.proxy.Counts()
		for f, n := range by {
			lost[f] += n
		}
	}
	if want := 2 * 1000 * accounts; balance != want {
		g.t.Errorf("the sum of all accounts is %d, it was %d", balance, want)
	}
	ends := map[string]int{}
	for id := range begun {
		heard := told[id]
		if heard == "" || heard == "nothing" {
			heard = asked[id]
		}
		ends[heard]++
		here, there := rows[0][id], rows[1][id]
		want, known := map[string]int{"committed": 1, "rolled_back": 0, "unknown": 0}[heard]
		if !known || here != want || there != want {
			g.t.Errorf("transaction %d: heard %q (told %q); rows: %d and %d", id, heard, told[id], here, there)
		}
	}
	statements := 0
	for _, f := range wire.Faults() {
		statements += lost[f]
	}
	g.t.Logf("%v; coordinators killed: %d, servers: %d; connections cut: %d; statements lost: %v", ends, g.coordinators, g.servers, g.cut(), lost)
	least := int64(2 * g.transactions)
	add := func(what string, n int, least int64) {
		tally.Add(g.t, "databases", g.kind.Name+": "+what, int64(n), least)
	}
	add("branches under random faults", 2*len(begun), least)
	add("transactions committed under random faults", ends["committed"], least/8)
	add("coordinators killed", g.coordinators, 1)
	add("servers killed at random", g.servers, 1)
	add("connections cut at random", g.cut(), 1)
	add("statements lost at random", statements, 5)
}

// moved returns how many rows each transaction has.
func (g *grind) moved(s *Side) map[int]int {
	rows, err := s.DB.QueryContext(g.t.Context(), "SELECT id, COUNT(*) FROM moved GROUP BY id")
	if err != nil {
		g.t.Fatal(err)
	}
	defer rows.Close()
	all := map[int]int{}
	for rows.Next() {
		var id, n int
		if err := rows.Scan(&id, &n); err != nil {
			g.t.Fatal(err)
		}
		all[id] = n
	}
	if err := rows.Err(); err != nil {
		g.t.Fatal(err)
	}
	return all
}

func (g *grind) number(s *Side, query string) (n int) {
	if err := s.DB.QueryRowContext(g.t.Context(), query).Scan(&n); err != nil {
		g.t.Fatal(err)
	}
	return n
}

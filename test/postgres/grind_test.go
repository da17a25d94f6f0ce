package postgres_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/procs"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// grind is two databases, each on a server of its own behind a proxy, and a coordinator in a
// process of its own. All of them are killed.
type grind struct {
	t       *testing.T
	rng     *rand.Rand
	orders  grindOrders
	worlds  [2]*world
	proxies [2]*wire.Proxy
	child   *procs.Process

	transactions          int
	coordinators, servers int // killed
}

// TestGrind moves money between two databases while the servers, the connections to them and
// the coordinator are killed at random. DTC_BRANCHES says how many branches there are to be,
// DTC_SEED how the dice fall.
func TestGrind(t *testing.T) {
	branches, seed := fromEnv(t, "DTC_BRANCHES", 240), uint64(fromEnv(t, "DTC_SEED", int(time.Now().UnixNano()>>16&0xffff)))
	t.Logf("DTC_SEED=%d", seed)
	dir := t.TempDir()
	g := &grind{t: t, transactions: branches / 2, rng: rand.New(rand.NewPCG(seed, 1)), orders: grindOrders{
		Log: filepath.Join(dir, "log"), Journal: filepath.Join(dir, "journal"), Seed: seed,
	}}
	var both sync.WaitGroup
	for i := range g.worlds {
		g.worlds[i] = newWorld(t, servers.Postgres(t))
		both.Go(func() { g.open(i, seed) })
	}
	both.Wait()
	for g.run() {
	}
	g.settle()
	g.judge()
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func (g *grind) open(i int, seed uint64) {
	w := g.worlds[i]
	w.exec(g.t, "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)")
	w.exec(g.t, "INSERT INTO account SELECT n, 1000 FROM generate_series(0, $1) AS n", grindAccounts-1)
	w.exec(g.t, "CREATE TABLE moved (id int NOT NULL, amount bigint NOT NULL)") // no key: what happens twice is to be seen
	p, err := wire.New(wire.Postgres, w.server.Addr())
	if err != nil {
		g.t.Error(err)
		return
	}
	g.t.Cleanup(p.Close)
	p.Storm(seed+uint64(i), map[wire.Fault]float64{wire.CutRequest: .03, wire.CutReply: .03, wire.StallRequest: .01, wire.StallReply: .01},
		1500*time.Millisecond, atPrepare, atCommit, atRollback, atSeal)
	g.proxies[i], g.orders.DSN[i] = p, w.server.Through(p.Port(), w.name)
}

// start starts a coordinator for the transactions that have not begun. One that was killed
// may have left out a few numbers.
func (g *grind) start() {
	begun, _, _ := g.journal()
	for id := range begun {
		g.orders.First = max(g.orders.First, id+1)
	}
	g.orders.Last = g.orders.First + g.transactions - len(begun) - 1
	orders, err := json.Marshal(g.orders)
	if err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), grindEnv+"="+string(orders))
	g.child = procs.Launch(g.t, "coordinator", cmd)
}

// run lets one coordinator live, and reports whether there is work for another one.
func (g *grind) run() bool {
	g.start()
	defer g.complaints()
	dies := g.orders.First + 20 + g.rng.IntN(60) // when this one has begun
	for {
		select {
		case <-g.child.Gone():
			if code := g.child.Code(); code != 0 {
				g.t.Fatalf("the coordinator has ended with %d: %s", code, g.child.Stderr())
			}
			return false
		case <-time.After(time.Duration(g.rng.IntN(1000)) * time.Millisecond):
		}
		if begun, _, _ := g.journal(); begun[dies] {
			g.child.Kill()
			g.coordinators++
			return true
		}
		i := g.rng.IntN(2)
		if g.servers > 0 && g.rng.IntN(6) > 0 {
			g.proxies[i].Cut()
			continue
		}
		g.worlds[i].server.Kill(g.t)
		g.worlds[i].server.Start(g.t)
		g.servers++
	}
}

func (g *grind) complaints() {
	for _, c := range g.child.Complaints() {
		g.t.Error(c)
	}
}

// settle heals everything, and has a last coordinator finish what is left, and say how those
// ended of which nobody has heard.
func (g *grind) settle() {
	for i, p := range g.proxies {
		p.Heal()
		g.worlds[i].pool.Reset()
	}
	begun, told, _ := g.journal()
	g.orders.Ask = []int{}
	for id := range begun {
		if told[id] == "" || told[id] == "nothing" {
			g.orders.Ask = append(g.orders.Ask, id)
		}
	}
	g.start()
	defer g.complaints()
	select {
	case <-g.child.Gone():
	case <-time.After(2 * time.Minute):
		g.t.Fatalf("it does not come to rest: %s", g.child.Stderr())
	}
	if code := g.child.Code(); code != 0 {
		g.t.Fatalf("the last coordinator has ended with %d: %s", code, g.child.Stderr())
	}
}

// journal reads what the coordinators have noted.
func (g *grind) journal() (begun map[int]bool, told, asked map[int]string) {
	begun, told, asked = map[int]bool{}, map[int]string{}, map[int]string{}
	f, err := os.Open(g.orders.Journal)
	if err != nil {
		return begun, told, asked // none yet
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		number, rest, _ := strings.Cut(rest, " ")
		id, err := strconv.Atoi(number)
		if err != nil {
			g.t.Fatalf("the journal: %q", lines.Text())
		}
		switch what {
		case "begun":
			begun[id] = true
		case "told":
			told[id], _, _ = strings.Cut(rest, ":")
		case "asked":
			asked[id] = rest
		}
	}
	return begun, told, asked
}

// judge holds what was told against what is there.
func (g *grind) judge() {
	begun, told, asked := g.journal()
	var rows [2]map[int]int
	balance, cut := 0, 0
	lost := map[wire.Fault]int{}
	for i, w := range g.worlds {
		w.clean(g.t)
		rows[i] = w.moved(g.t)
		balance += w.count(g.t, "SELECT sum(balance) FROM account")
		if n := w.count(g.t, "SELECT (SELECT sum(balance) FROM account) - 1000 * count(*) - COALESCE((SELECT sum(amount) FROM moved), 0) FROM account"); n != 0 {
			g.t.Errorf("database %d: balances and rows differ by %d", i, n)
		}
		by, n := g.proxies[i].Counts()
		cut += n
		for f, n := range by {
			lost[f] += n
		}
	}
	if want := 2 * 1000 * grindAccounts; balance != want {
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
	g.t.Logf("%v; connections cut: %d; statements lost: %v", ends, cut, lost)
	least := int64(2 * g.transactions)
	tally.Add(g.t, "databases", "PostgreSQL: branches under random faults", int64(2*len(begun)), least)
	tally.Add(g.t, "databases", "PostgreSQL: transactions committed under random faults", int64(ends["committed"]), least/8)
	tally.Add(g.t, "databases", "PostgreSQL: coordinators killed", int64(g.coordinators), 1)
	tally.Add(g.t, "databases", "PostgreSQL: servers killed at random", int64(g.servers), 1)
	tally.Add(g.t, "databases", "PostgreSQL: connections cut at random", int64(cut), 1)
	n := 0
	for _, f := range wire.Faults() {
		n += lost[f]
	}
	tally.Add(g.t, "databases", "PostgreSQL: statements lost at random", int64(n), 5)
}

// moved returns how many rows each transaction has.
func (w *world) moved(t *testing.T) map[int]int {
	rows, err := w.pool.Query(t.Context(), "SELECT id, count(*) FROM moved GROUP BY id")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]int{}
	var id, n int
	for rows.Next() {
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		all[id] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(fmt.Errorf("rows: %w", err))
	}
	return all
}

// Package grind kills everything around two-phase commit over real databases, and holds what
// was told against what is there. What is common to all databases is here; a test brings the
// servers, and its process is the coordinator's too: see [Child] and [DoubtChild].
package grind

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/test/internal/procs"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// Side is one of the two databases, on a server of its own, which is killed.
type Side struct {
	Server *servers.Server
	Name   string  // of the database
	DB     *sql.DB // past the proxy
	Clean  func()  // checks that nothing is left of branches
	proxy  *wire.Proxy
}

// Kind is what differs between databases.
type Kind struct {
	Name     string // in what is counted
	Protocol wire.Protocol
	Texts    []string                // of the statements at which connections are lost
	DSN      func(dsn string) string // with what a child needs
}

// grind is two databases, each behind a proxy, and a coordinator in a process of its own.
// All of them are killed.
type grind struct {
	t      testing.TB
	kind   Kind
	rng    *rand.Rand
	orders orders
	sides  [2]*Side
	child  *procs.Process

	transactions          int
	coordinators, servers int // killed
}

// Test moves money between two databases while the servers, the connections to them and
// the coordinator are killed at random. DTC_BRANCHES says how many branches there are to be,
// DTC_SEED how the dice fall.
func Test(t *testing.T, kind Kind, sides [2]*Side) {
	branches, seed := FromEnv(t, "DTC_BRANCHES", 240), uint64(FromEnv(t, "DTC_SEED", int(time.Now().UnixNano()>>16&0xffff)))
	t.Logf("DTC_SEED=%d", seed)
	dir := t.TempDir()
	g := &grind{t: t, kind: kind, sides: sides, transactions: branches / 2, rng: rand.New(rand.NewPCG(seed, 1)), orders: orders{
		Log: filepath.Join(dir, "log"), Journal: filepath.Join(dir, "journal"), Seed: seed,
	}}
	for i := range g.sides {
		g.open(i)
	}
	for g.run() {
	}
	g.settle()
	g.judge()
}

// FromEnv reads a number that may be set for longer runs.
func FromEnv(t testing.TB, name string, otherwise int) int {
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

func (g *grind) open(i int) {
	s := g.sides[i]
	var rows []string
	for id := range accounts {
		rows = append(rows, fmt.Sprintf("(%d, 1000)", id))
	}
	for _, sql := range []string{
		"CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)",
		"INSERT INTO account VALUES " + strings.Join(rows, ", "),
		"CREATE TABLE moved (id int NOT NULL, amount bigint NOT NULL)", // no key: what happens twice is to be seen
	} {
		if _, err := s.DB.ExecContext(g.t.Context(), sql); err != nil {
			g.t.Fatal(err)
		}
	}
	p, err := wire.New(g.kind.Protocol, s.Server.Addr())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(p.Close)
	p.Storm(g.orders.Seed+uint64(i), map[wire.Fault]float64{wire.CutRequest: .03, wire.CutReply: .03, wire.StallRequest: .01, wire.StallReply: .01},
		1500*time.Millisecond, g.kind.Texts...)
	s.proxy, g.orders.DSN[i] = p, g.kind.DSN(s.Server.Through(p.Port(), s.Name))
}

// start starts a coordinator for the transactions that have not begun. One that was killed
// may have left out a few numbers.
func (g *grind) start() {
	begun, _, _ := g.journal()
	for id := range begun {
		g.orders.First = max(g.orders.First, id+1)
	}
	g.orders.Last = g.orders.First + g.transactions - len(begun) - 1
	g.child = launch(g.t, env, g.orders)
}

func launch(t testing.TB, env string, orders any) *procs.Process {
	t.Helper()
	text, err := json.Marshal(orders)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+string(text))
	return procs.Launch(t, "coordinator", cmd)
}

// run lets one coordinator live, and reports whether there is work for another one.
func (g *grind) run() bool {
	g.start()
	defer g.complaints()
	dies := g.orders.First + 20 + g.rng.IntN(60) // when this one has begun
	for {
		pause := 1000
		if g.servers == 0 || g.cut() == 0 {
			pause = 100
		}
		select {
		case <-g.child.Gone():
			if code := g.child.Code(); code != 0 {
				g.t.Fatalf("the coordinator has ended with %d: %s", code, g.child.Stderr())
			}
			if g.coordinators > 0 && g.servers > 0 && g.cut() > 0 {
				return false
			}
			g.transactions += 100 // the machine is fast, and was through before everything had happened
			return true
		case <-time.After(time.Duration(g.rng.IntN(pause)) * time.Millisecond):
		}
		if begun, _, _ := g.journal(); begun[dies] {
			g.child.Kill()
			g.coordinators++
			return true
		}
		s := g.sides[g.rng.IntN(2)]
		if g.servers > 0 && (g.cut() == 0 || g.rng.IntN(6) > 0) {
			s.proxy.Cut()
			continue
		}
		s.Server.Kill(g.t)
		s.Server.Start(g.t)
		g.servers++
	}
}

// cut returns how many connections were cut at random.
func (g *grind) cut() (n int) {
	for _, s := range g.sides {
		_, cut := s.proxy.Counts()
		n += cut
	}
	return n
}

func (g *grind) complaints() {
	for _, c := range g.child.Complaints() {
		g.t.Error(c)
	}
}

// settle heals everything, and has a last coordinator finish what is left, and say how those
// ended of which nobody has heard.
func (g *grind) settle() {
	for _, s := range g.sides {
		s.proxy.Heal()
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

package chaos_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// namespaceEnv says that the test runs in a network namespace of its own.
const namespaceEnv = "DTC_TEST_CHAOS_NAMESPACE"

// The same with partitions: each process has an address of its own, and what goes to it,
// or comes from it, or both, is dropped for a while. Connections stay; what the kernel
// sends again arrives after the partition.
//
// It takes half as long as TestStorm. It needs a network namespace with nftables, which an ordinary user may have where
// the kernel and the machine's settings allow it.
func TestPartitions(t *testing.T) {
	d := duration(t) / 2
	if os.Getenv(namespaceEnv) == "" {
		inNamespace(t)
		return
	}
	cut, err := newPartitions()
	if err != nil {
		t.Fatal(err)
	}
	c := newCast(t, seed(t), "", storm, host)
	c.cut = cut
	goals := func() []goal { return append(c.goals(d), cut.goals(t)...) }
	took := c.weather(16, d, func() bool { return reached(goals()) })
	c.rest(time.Minute)
	t.Logf("%v of storm with partitions\n%s", took.Round(time.Second), c.report())
	c.complain()
	c.count("seconds", int(took.Seconds()), 1)
	c.wantEnough(append(goals(), goal{what: "unknown after the storm", got: c.unknown, least: 1}))
}

// goals are for the goroutine that strikes.
func (p *partitions) goals(t *testing.T) (all []goal) {
	sum := 0
	for how, n := range p.count {
		all = append(all, goal{what: "partitions " + how, got: n, least: 1})
		sum += n
	}
	return append(all,
		goal{"partitions", sum, len(p.count), true},
		goal{"packets dropped by partitions", p.dropped(t), 10, true})
}

// inNamespace runs the test again in a namespace.
func inNamespace(t *testing.T) {
	try := exec.Command("unshare", "-Urn", "sh", "-c", "ip link set lo up && nft add table ip dtc")
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: partitions were not tried: unshare -Urn with ip and nft does not work here: %v %s", err, out)
	}
	dtcBinary(t)
	args := []string{"-Urn", os.Args[0], "-test.run=^TestPartitions$", "-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	cmd.Env = append(os.Environ(), namespaceEnv+"=1", binariesEnv+"="+binaries)
	out, err := cmd.CombinedOutput()
	t.Logf("in a namespace:\n%s", out)
	if err != nil {
		t.Errorf("in a namespace: %v", err)
	}
}

func host(i int) string { return "127.0.0." + strconv.Itoa(10+i) }

// partitions drop what goes to an address, or comes from it.
type partitions struct {
	mu    sync.Mutex
	rules map[int]string // that hold now
	next  int
	count map[string]int
}

const (
	cutTo   = "to"   // what is sent to the process is lost
	cutFrom = "from" // what it sends is lost
	cutBoth = "both ways"
)

func newPartitions() (*partitions, error) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	p := &partitions{rules: map[int]string{}, count: map[string]int{cutTo: 0, cutFrom: 0, cutBoth: 0}}
	return p, nft("table ip dtc { counter dropped { }; chain in { type filter hook input priority 0; }; }")
}

func nft(script string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// strike cuts one process off for a while.
func (p *partitions) strike(c *cast) {
	c.hits.Add(1)
	addr := host(c.rng.IntN(1 + len(services)))
	how := []string{cutTo, cutFrom, cutBoth}[c.rng.IntN(3)]
	rule := ""
	if how != cutFrom {
		rule += "add rule ip dtc in ip daddr " + addr + " counter name dropped drop\n"
	}
	if how != cutTo {
		rule += "add rule ip dtc in ip saddr " + addr + " counter name dropped drop\n"
	}
	p.mu.Lock()
	p.next++
	n := p.next
	p.rules[n] = rule
	p.count[how]++
	p.mu.Unlock()
	p.apply(c)
	d := c.within(300*time.Millisecond, 4*time.Second)
	c.later.Go(func() {
		time.Sleep(d)
		p.mu.Lock()
		delete(p.rules, n)
		p.mu.Unlock()
		p.apply(c)
	})
}

// heal ends all partitions.
func (p *partitions) heal(c *cast) {
	p.mu.Lock()
	clear(p.rules)
	p.mu.Unlock()
	p.apply(c)
}

// apply makes exactly those rules hold that should.
func (p *partitions) apply(c *cast) {
	p.mu.Lock()
	defer p.mu.Unlock()
	script := "flush chain ip dtc in\n"
	for _, rule := range p.rules {
		script += rule
	}
	if err := nft(script); err != nil {
		c.fail("%v", err)
	}
}

var packets = regexp.MustCompile(`packets (\d+)`)

// dropped returns how many packets were lost.
func (p *partitions) dropped(t *testing.T) int {
	out, err := exec.Command("nft", "list", "counter", "ip", "dtc", "dropped").Output()
	found := packets.FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("nft list counter: %v: %s", err, out)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *partitions) String() string { return fmt.Sprintf("partitions: %v", p.count) }

package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/lossy"
)

// A server and its participants that are killed and stopped all the time, over networks
// that lose, repeat and delay, leave no transaction half done, and nobody is told what
// is not so.
//
// DTC_CHAOS is how long that goes (default 1m), DTC_SEED repeats the choices of a run,
// not its timing.
func TestStorm(t *testing.T) {
	d := duration(t)
	c := newCast(t, seed(t), "", storm, func(int) string { return "127.0.0.1" })
	took := c.weather(16, d, func() bool { return reached(c.goals(d)) })
	c.rest(time.Minute)
	t.Logf("%v of storm\n%s", took.Round(time.Second), c.report())
	c.complain()
	c.count("seconds", int(took.Seconds()), 1)
	c.wantEnough(append(c.goals(d), goal{what: "unknown after the storm", got: c.unknown, least: 1}))
}

// goal is something that has to happen often enough, for a green run that did nothing is
// a failure. It storms until all goals are reached: how much is done between two kills
// depends on the machine.
type goal struct {
	what       string
	got, least int
	listed     bool // it stands in the page that says what was tried
}

func reached(goals []goal) bool {
	return !slices.ContainsFunc(goals, func(g goal) bool { return g.got < g.least })
}

// goals are those of a storm that was meant to take d. They are for the goroutine that
// strikes.
func (c *cast) goals(d time.Duration) (all []goal) {
	kills, stops, hits, faults := 0, 0, 0, map[int]int{}
	for _, p := range c.everybody() {
		kills += p.kills
		stops += p.stops
		all = append(all, goal{what: "kills of " + p.name, got: p.kills, least: 1})
		for f, n := range p.proxy.Counts().By {
			faults[f] += n
		}
	}
	for _, f := range lossy.Faults() {
		all = append(all, goal{what: f.String(), got: faults[int(f)], least: 1})
		hits += faults[int(f)]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	minutes := func(n float64) int { return int(n * d.Minutes()) }
	return append(all,
		goal{"messages lost, cut, late or repeated", hits, len(lossy.Faults()), true},
		goal{"transactions", c.whole + c.steps, minutes(140), true},
		goal{"processes killed", kills, minutes(15), true},
		goal{"processes stopped for a while", stops, minutes(2), true},
		goal{"posted whole", c.whole, minutes(100), false},
		goal{"grown by steps", c.steps, minutes(40), false},
		goal{"told committed", c.committed, minutes(100), true},
		goal{"told committed although messages were hit", c.toldUnderFault, minutes(20), true},
		goal{"told committed during a kill, a stop or a partition", c.toldUnderHit, minutes(5), true},
		goal{"told rolled back", c.rolledBack, minutes(20), true},
		goal{"answers lost", c.lost, minutes(20), true},
		goal{"asked how one ended", c.asked, minutes(6), false},
		goal{"answers told again, and the same", c.repeated, minutes(10), true},
	)
}

func (c *cast) wantEnough(goals []goal) {
	if c.t.Failed() {
		return
	}
	for _, g := range goals {
		switch {
		case g.listed:
			c.count(g.what, g.got, g.least)
		case g.got < g.least:
			c.t.Errorf("%s: %d, want %d at least", g.what, g.got, g.least)
		}
	}
}

// count keeps what stands in the page that says what was tried.
func (c *cast) count(what string, got, least int) {
	tally.Add(c.t, "storm", what, int64(got), int64(least))
}

// The storm finds what it looks for: each deliberate bug of a participant, by a complaint
// that is meant for it. How much happens within one storm depends on the machine, so there
// are more of them where the first was too calm.
func TestBreaksAreFound(t *testing.T) {
	const storms = 6
	for breakage, complaint := range map[string]string{
		commitLost: "still held",
		voteLost:   "are unfinished",
		forgets:    "are unfinished",
	} {
		t.Run(breakage, func(t *testing.T) {
			t.Parallel()
			var c *cast
			for seed := range uint64(storms) {
				c = newCast(t, seed, breakage, nil, func(int) string { return "127.0.0.1" })
				c.weather(8, 6*time.Second, func() bool { return true })
				c.rest(3 * time.Second)
				if i := slices.IndexFunc(c.wrong, func(w string) bool { return strings.Contains(w, complaint) }); i >= 0 {
					t.Logf("found in storm %d: %.300s", seed, c.wrong[i])
					return
				}
			}
			t.Errorf("no %q in %d storms; in the last only:\n%s\n%s", complaint, storms, strings.Join(c.wrong, "\n"), c.report())
		})
	}
}

func duration(t *testing.T) time.Duration {
	d := time.Minute
	if s := os.Getenv("DTC_CHAOS"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatalf("DTC_CHAOS: %v", err)
		}
	} else if testing.Short() {
		d = 15 * time.Second
	}
	return d
}

func seed(t *testing.T) uint64 {
	s := os.Getenv("DTC_SEED")
	if s == "" {
		return uint64(rand.Uint32())
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("DTC_SEED: %v", err)
	}
	return n
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

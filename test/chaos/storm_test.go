package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
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
	c.weather(16, d)
	c.rest(time.Minute)
	t.Logf("%v of storm\n%s", d, c.report())
	c.complain()
	c.wantEnough(d)
}

// wantEnough: a green run that did nothing is a failure. The numbers are far below the
// usual ones: how much is done between two kills depends on the machine.
func (c *cast) wantEnough(d time.Duration) {
	if c.t.Failed() {
		return
	}
	kills, stops, hits, faults := 0, 0, 0, map[int]int{}
	for _, p := range c.everybody() {
		kills += p.kills
		stops += p.stops
		c.want("kills of "+p.name, p.kills, 1)
		for f, n := range p.proxy.Counts().By {
			faults[f] += n
		}
	}
	for _, f := range lossy.Faults() {
		c.want(f.String(), faults[int(f)], 1)
		hits += faults[int(f)]
	}
	minutes := d.Minutes()
	c.count("seconds", int(d.Seconds()), 1)
	c.count("messages lost, cut, late or repeated", hits, len(lossy.Faults()))
	c.count("transactions", c.whole+c.steps, int(140*minutes))
	c.count("processes killed", kills, int(15*minutes))
	c.count("processes stopped for a while", stops, int(2*minutes))
	c.want("posted whole", c.whole, int(100*minutes))
	c.want("grown by steps", c.steps, int(40*minutes))
	c.count("told committed", c.committed, int(100*minutes))
	c.count("told committed although messages were hit", c.toldUnderFault, int(20*minutes))
	c.count("told committed during a kill, a stop or a partition", c.toldUnderHit, int(5*minutes))
	c.count("told rolled back", c.rolledBack, int(20*minutes))
	c.count("answers lost", c.lost, int(20*minutes))
	c.want("asked how one ended", c.asked, int(10*minutes))
	c.count("answers told again, and the same", c.repeated, int(10*minutes))
	c.want("unknown after the storm", c.unknown, 1)
}

// count is want for what stands in the page that says what was tried.
func (c *cast) count(what string, got, least int) {
	tally.Add(c.t, "storm", what, int64(got), int64(least))
}

func (c *cast) want(what string, got, least int) {
	if got < least {
		c.t.Errorf("%s: %d, want %d at least", what, got, least)
	}
}

// The storm finds what it looks for: each deliberate bug of a participant, by a complaint
// that is meant for it.
func TestBreaksAreFound(t *testing.T) {
	for breakage, complaint := range map[string]string{
		commitLost: "still held",
		voteLost:   "are unfinished",
		forgets:    "are unfinished",
	} {
		t.Run(breakage, func(t *testing.T) {
			t.Parallel()
			c := newCast(t, 1, breakage, nil, func(int) string { return "127.0.0.1" })
			c.weather(8, 6*time.Second)
			c.rest(3 * time.Second)
			for _, w := range c.wrong {
				if strings.Contains(w, complaint) {
					t.Logf("found: %.300s", w)
					return
				}
			}
			t.Errorf("no %q, only:\n%s\n%s", complaint, strings.Join(c.wrong, "\n"), c.report())
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

package kill_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// A coordinator that is killed a hundred times at random moments, and killed
// again while it recovers, never leaves a transaction half done and never goes
// back on its word.
//
// DTC_KILLS is how many kills, DTC_SEED repeats the choices of a run (not its
// timing), DTC_SOAK_HOURS goes on with new directories for that long.
func TestKilledAtRandom(t *testing.T) {
	kills := int(number(t, "DTC_KILLS", 120))
	if testing.Short() {
		kills = min(kills, 20)
	}
	seed := uint64(number(t, "DTC_SEED", float64(rand.Uint32())))
	end := time.Now().Add(time.Duration(number(t, "DTC_SOAK_HOURS", 0) * float64(time.Hour)))
	for again := true; again && !t.Failed(); again = time.Now().Before(end) {
		began := time.Now()
		l := newLoop(t, seed, "")
		l.run(t, kills)
		for text, n := range l.warned {
			t.Logf("%d × %s", n, text)
		}
		t.Logf("seed %d, %v\n%s", seed, time.Since(began).Round(time.Millisecond), l.counts)
		l.report(t)
		wantEnough(t, l.counts, kills)
		tally.Add(t, "histories", "calls of killed processes explained", int64(l.counts.calls), int64(2*kills))
		seed++
	}
}

// wantEnough: a green run that did nothing is a failure. The numbers are far below
// the usual ones: how much is done between two kills depends on the machine.
func wantEnough(t *testing.T, c counts, kills int) {
	for _, w := range []struct {
		what       string
		got, least int
	}{
		{"processes killed", c.kills, kills},
		{"killed while opening", c.opening, kills / 24},
		{"killed while opening or finishing what was found", c.opening + c.recovering, kills / 16},
		{"killed at work", c.working, kills / 16},
		{"told committed", c.committed, kills},
		{"told rolled back", c.rolledBack, kills / 4},
		{"transactions under way at a kill", c.underWay, kills / 4},
		{"ids asked again and told the same", c.repeats, kills / 4},
		{"transactions finished by recovery", c.recovered, kills / 4},
		{"orphans planted", c.planted, kills / 16},
		{"orphans rolled back by the sweep", c.orphans, min(1, kills/16)},
		{"looks into log and databases", c.checks, kills / 16},
		{"ids committed in one phase", c.onePhase, kills / 4},
		{"segments of logs", c.segments, 1},
	} {
		tally.Add(t, "killed processes", w.what, int64(w.got), int64(w.least))
	}
}

// The loop finds what it looks for: each deliberate bug, by the complaint that is
// meant for it.
func TestBreaksAreFound(t *testing.T) {
	for breakage, complaints := range map[string][]string{
		toldTooEarly: {"told committed, and not there", "cannot all be true"},
		commitLost:   {"still held"},
		voteLost:     {"are unfinished"},

		oracle.NoProof: {"whether there is proof of it is false"},
	} {
		t.Run(breakage, func(t *testing.T) {
			l := newLoop(t, 1, breakage)
			l.run(t, 16)
			for _, complaint := range complaints {
				i := slices.IndexFunc(l.wrong, func(w string) bool { return strings.Contains(w, complaint) })
				if i < 0 {
					t.Errorf("no %q in %d kills, only:\n%s", complaint, l.counts.kills, strings.Join(l.wrong, "\n"))
					continue
				}
				t.Logf("found after %d kills: %s", l.counts.kills, l.wrong[i])
			}
		})
	}
}

func number(t *testing.T, env string, otherwise float64) float64 {
	s := os.Getenv(env)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}

func newLoop(t *testing.T, seed uint64, breakage string) *loop {
	dir, err := os.MkdirTemp("", "dtc-kill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
		} else {
			t.Log("the files are kept in", dir)
		}
	})
	return &loop{
		ledger: newLedger(), dir: dir, seed: seed, breakage: breakage,
		rng: rand.New(rand.NewPCG(seed, 0)), openTook: 10 * time.Millisecond,
	}
}

// run plays rounds until enough were played or something is wrong, then lets a
// last node finish what is left.
func (l *loop) run(t *testing.T, kills int) {
	for i := 1; i <= kills && len(l.wrong) == 0; i++ {
		err := l.play()
		// Not every time: who looks at a database also recovers it, which the next
		// child shall do itself.
		if err == nil && i%4 == 0 {
			err = l.look(false)
		}
		if err == nil && i%8 == 0 {
			err = l.plant()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := l.rest(); err != nil {
		t.Fatal(err)
	}
}

func (l *loop) report(t *testing.T) {
	for i, w := range l.wrong {
		if i == 30 {
			t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		t.Error(w)
	}
}

// plant prepares a branch that no log knows. Prepare records are not forced for
// participants that list, so a power failure leaves such branches, and a kill
// does when the record waits behind a sync; a planted one is there for certain.
// The next nodes must find it and roll it back.
func (l *loop) plant() error {
	r, err := wal.OpenReadOnly(filepath.Join(l.dir, "log"), nil)
	if err != nil {
		return err
	}
	var last *txlog.Incarnation
	err = r.Replay(func(e txlog.Entry) error {
		if rec, ok := e.Record.(*txlog.Incarnation); ok {
			last = rec
		}
		return nil
	})
	if err != nil || last == nil {
		return err
	}
	service := l.rng.IntN(plain)
	db, err := openDatabase(l.dir, service)
	if err != nil {
		return err
	}
	defer db.Close()
	g, err := oracle.NewGuard(db, services[service])
	if err != nil {
		return err
	}
	l.counts.planted++
	vote, err := g.Prepare(context.Background(), dtc.Branch{
		Participant: services[service], Payload: oracle.Payload(oracle.Writes), Attempt: 1,
		TxID: dtc.TxID(fmt.Sprintf("orphan.%d", l.counts.planted)),
		// Within what the incarnation may have used, far from what it did use.
		XID: dtc.XID{Log: r.ID(), Incarnation: last.Incarnation, Seq: last.Through - uint64(l.counts.planted)},
	})
	if err == nil && vote != dtc.VoteCommit {
		err = errors.New("the orphan was not prepared")
	}
	return err
}

package kill_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/sim"
)

// loop is a run of rounds over one directory.
type loop struct {
	*ledger
	dir      string
	seed     uint64
	rng      *rand.Rand
	breakage string
	owed     []dtc.TxID    // ids whose callers never got an answer
	openTook time.Duration // lately
}

// round is the life of one child.
type round struct {
	*loop
	trigger string // the word after which the kill is due
	delay   time.Duration
	due     <-chan time.Time
	said    map[string]time.Time // when each word came first
}

// patience is how long a child may take to say what is waited for.
const patience = 30 * time.Second

// aim draws the moment of a kill. A third are early, to hit replay, the new
// incarnation and the first steps of recovery; how long these take is taken from
// the rounds before, so that the kills fall into them on every machine.
func (r *round) aim() {
	within := func(from, to time.Duration) time.Duration { return from + time.Duration(r.rng.Int64N(int64(to-from))) }
	switch p := r.rng.Float64(); {
	case p < 0.03:
		r.trigger, r.delay = "exec", within(0, 50*time.Millisecond)
	case p < 0.33:
		r.trigger, r.delay = "opening", within(0, r.openTook)
	case p < 0.45:
		r.trigger, r.delay = "open", within(0, 20*time.Millisecond)
	case p < 0.75:
		r.trigger, r.delay = "told", within(5*time.Millisecond, 150*time.Millisecond)
	default:
		r.trigger, r.delay = "settled", within(5*time.Millisecond, 150*time.Millisecond)
	}
}

// play starts a child, kills it, and books what it said.
func (l *loop) play() error {
	l.ledger.round++
	r := &round{loop: l, said: map[string]time.Time{}}
	r.aim()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe() // stays open: its end tells the child that we are gone
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.hear("exec")
	err = json.NewEncoder(in).Encode(orders{l.dir, l.ledger.round, l.seed, l.toRepeat(), l.breakage})
	if err != nil {
		l.fail("the child does not take its orders: %v", err)
	}
	r.listen(out, cmd.Process)
	// All that the child said was heard before, in the order in which it was said.
	l.history.During(sim.OpKilled, func() { _ = cmd.Wait() })
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		l.fail("the child was not killed, it ended by itself: %v", cmd.ProcessState)
	}
	if stderr.Len() > 0 { // a panic, a data race, a node that would not open
		l.fail("the child says: %.4000s", stderr.String())
	}
	r.book()
	return nil
}

// listen takes in the child's lines until it is dead, and kills it in time.
func (r *round) listen(out io.Reader, child *os.Process) {
	lines := make(chan string, 1024)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return
			}
			r.hear(line)
		case <-r.due:
			_ = child.Kill()
			r.due = nil
		case <-late.C:
			r.fail("no %q from the child in %v", r.trigger, patience)
			_ = child.Kill()
		}
	}
}

// hear takes in one line of a node.
func (r *round) hear(line string) {
	word, rest, _ := strings.Cut(line, " ")
	if _, again := r.said[word]; !again {
		r.said[word] = time.Now()
		if word == r.trigger {
			r.due = time.After(r.delay)
		}
	}
	switch word {
	case "start":
		caller, id, _ := strings.Cut(rest, " ")
		r.started(caller, dtc.TxID(id))
	case "told":
		said := strings.SplitN(rest, " ", 4) // caller, id, outcome, detail
		r.told(said[0], dtc.TxID(said[1]), said[2], strings.Join(said[3:], " "))
	case "recovered":
		var records, unfinished int
		_, _ = fmt.Sscan(rest, &records, &unfinished)
		r.counts.recovered += unfinished
	case "swept":
		var orphans int
		_, _ = fmt.Sscan(rest, &orphans)
		r.counts.orphans += orphans
	case "warning":
		r.counts.warnings++
		r.warned[rest]++
	case "alarm":
		r.fail("the node raises an alarm: %s", rest)
	case "exec", "opening", "open", "settled":
	default:
		r.fail("the child says %q", line)
	}
}

// book counts the kill by what it fell into.
func (r *round) book() {
	c := &r.counts
	c.kills++
	switch {
	case r.said["opening"].IsZero():
		c.unborn++
	case r.said["open"].IsZero():
		c.opening++
	case r.said["settled"].IsZero():
		c.recovering++
	default:
		c.working++
	}
	if at := r.said["open"]; !at.IsZero() {
		r.openTook = (r.openTook*3 + at.Sub(r.said["opening"])) / 4
	}
	r.owed = append(r.owed, r.killed()...)
}

// toRepeat picks what the next child runs again: what nobody knows the end of,
// and some of what is known.
func (l *loop) toRepeat() []dtc.TxID {
	var ids []dtc.TxID
	for _, id := range l.owed {
		if l.tales[id].known == "" {
			ids = append(ids, id)
		}
	}
	l.owed = ids[max(0, len(ids)-4*callers):]
	ids = append([]dtc.TxID(nil), l.owed...)
	for range min(callers, len(l.order)) {
		ids = append(ids, l.order[l.rng.IntN(len(l.order))])
	}
	l.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids
}

package sim_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
)

// all is what the shards have said so far.
type all struct {
	t        *testing.T
	mu       sync.Mutex
	sum      map[string]int64
	failures []string
}

func (a *all) add(s said) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for what, n := range s.Tally {
		a.sum[what] += n
	}
	if s.Failure != nil {
		text := fmt.Sprintf("%v\n%s", s.Failure, s.Picture)
		a.t.Log(text) // at once: whoever ends a soak wants to know
		a.failures = append(a.failures, text)
	}
}

// runAll runs the seeds in shards, says how it goes, and tells what failed.
func runAll(t *testing.T) {
	o := ordered(t)
	step := uint64(runtime.NumCPU())
	t.Logf("%v, in %d processes", o, step)
	a := &all{t: t, sum: map[string]int64{}}
	began := time.Now()
	var working sync.WaitGroup
	for i := range step {
		n := uint64(0)
		if o.N > 0 {
			n = (o.N + step - 1 - i) / step
			if n == 0 {
				continue
			}
		}
		working.Go(func() { a.shard(t, shard{From: o.From + i, Step: step, N: n, Until: o.Until}) })
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for working := true; working; {
		select {
		case <-tick.C:
			a.progress(t, began)
		case <-done:
			working = false
		}
	}
	for i, f := range a.failures {
		if i == 20 {
			t.Errorf("and %d more", len(a.failures)-i)
			break
		}
		t.Error(f)
	}
	if o.N > 0 && a.sum[runs] != int64(o.N) && !t.Failed() {
		t.Errorf("%d runs, want %d", a.sum[runs], o.N)
	}
	wantEnough(t, a.sum, time.Since(began))
}

func (a *all) progress(t *testing.T, began time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.Logf("%v: %d runs, %d transactions, %d crashes, %d failures", time.Since(began).Round(time.Second),
		a.sum[runs], a.sum["transactions"], a.sum["crashes"], len(a.failures))
}

// shard has a process run a shard. If it dies, the seed that it was at has failed, and
// another goes on after it.
func (a *all) shard(t *testing.T, s shard) {
	for {
		last, ended, output := a.process(t, s)
		if ended {
			return
		}
		a.add(said{Failure: &sim.Failure{Seed: last, Violated: "process", Why: output}, Tally: map[string]int64{runs: 1}})
		if last < s.From || s.N == 0 && time.Now().After(s.Until) {
			return // it did not even begin, or it is time
		}
		gone := (last-s.From)/s.Step + 1
		if s.From = last + s.Step; s.N > 0 {
			if s.N -= gone; s.N == 0 {
				return
			}
		}
	}
}

// patience is how long one seed may take, by the real clock, with all that is needed to
// make it simple.
const patience = 5 * time.Minute

// process runs one process, and returns the seed that began last, whether the process
// ended well, and what it said if it did not.
func (a *all) process(t *testing.T, s shard) (last uint64, ended bool, output string) {
	text, err := json.Marshal(s)
	if err != nil {
		return 0, false, err.Error()
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSeeds$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), shardEnv+"="+string(text), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, false, err.Error()
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return 0, false, err.Error()
	}
	var hung atomic.Bool
	alarm := time.AfterFunc(patience, func() {
		hung.Store(true)
		_ = cmd.Process.Signal(syscall.SIGQUIT) // it says where it is
	})
	var rest []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if text, ok := strings.CutPrefix(line, mark); ok {
			var said said
			if err := json.Unmarshal([]byte(text), &said); err != nil {
				rest = append(rest, err.Error()+": "+line)
			}
			if said.Seed != 0 || said.Tally == nil && said.Failure == nil {
				last = said.Seed
				alarm.Reset(patience)
			}
			a.add(said)
		} else if strings.TrimSpace(line) != "" && len(rest) < 2000 {
			rest = append(rest, strings.TrimSuffix(line, "\n"))
		}
		if err != nil {
			if err != io.EOF {
				rest = append(rest, err.Error())
			}
			break
		}
	}
	alarm.Stop()
	err = cmd.Wait()
	if hung.Load() {
		err = fmt.Errorf("a seed took more than %v: %w", patience, err)
	}
	return last, err == nil, fmt.Sprintf("%v\n%s", err, strings.Join(rest, "\n"))
}

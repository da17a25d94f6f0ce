package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// machine is a computer on which a coordinator runs until it is killed at a
// chosen step. Steps are: before and after each operation of its disk (append,
// sync, create, rename, …), before each message leaves it, after a message has
// arrived and before its answer does. Participants are other computers: they
// live on.
type machine struct {
	disk *vfs.Mem

	mu     sync.Mutex
	killAt int // 0: never
	step   int
	dead   bool
}

var errDead = errors.New("the machine is dead")

// at passes one step, and reports errDead from the chosen one on.
func (m *machine) at() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step++
	if m.step == m.killAt {
		m.dead = true
	}
	if m.dead {
		return errDead
	}
	return nil
}

func (m *machine) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func newMachine(disk *vfs.Mem, killAt int) *machine {
	m := &machine{disk: disk, killAt: killAt}
	disk.SetHook(func(string, string) error { return m.at() })
	return m
}

// remote is a participant as the machine sees it.
type remote struct {
	*dtctest.Memory
	m    *machine
	seen *sync.Map // every XID it was asked to prepare
}

func (r remote) call(f func() error) error {
	if err := r.m.at(); err != nil {
		return err // it never left
	}
	err := f()
	if dead := r.m.at(); dead != nil {
		return dead // nobody hears the answer
	}
	return err
}

func (r remote) Prepare(ctx context.Context, b dtc.Branch) (v dtc.Vote, err error) {
	if e := r.call(func() error {
		r.seen.Store(b.XID, true)
		v, err = r.Memory.Prepare(ctx, b)
		return nil
	}); e != nil {
		return dtc.VoteAbort, dtc.NoAnswer(e)
	}
	return v, err
}

func (r remote) Commit(ctx context.Context, b dtc.Branch) error {
	return r.call(func() error { return r.Memory.Commit(ctx, b) })
}

func (r remote) Rollback(ctx context.Context, b dtc.Branch) error {
	return r.call(func() error { return r.Memory.Rollback(ctx, b) })
}

func (r remote) InDoubt(ctx context.Context, log dtc.LogID) (list []dtc.InDoubtBranch, err error) {
	if e := r.call(func() error { list, err = r.Memory.InDoubt(ctx, log); return nil }); e != nil {
		return nil, e
	}
	return list, err
}

// story is one transaction, killed somewhere.
type story struct {
	services []*dtctest.Memory
	seen     sync.Map
	told     dtc.Outcome // what the client heard
}

// run opens a coordinator on a machine, executes the transaction, and closes.
func (s *story) run(m *machine) {
	var list []dtc.Participant
	for _, p := range s.services {
		list = append(list, remote{p, m, &s.seen})
	}
	c, _, err := tryOpen(m.disk, &dtc.Config{Participants: list, SweepInterval: 10 * time.Second})
	if err != nil {
		if !m.isDead() {
			panic(err)
		}
		return
	}
	ok, err := c.Execute(context.Background(), "t", branches("a", "b", "c")...)
	if !m.isDead() {
		switch {
		case ok:
			s.hears(dtc.Committed)
		case errors.Is(err, dtc.ErrRolledBack):
			s.hears(dtc.RolledBack)
		default:
			panic(err)
		}
		time.Sleep(time.Minute) // retries, the sweep
	}
	_ = c.Close()
}

func (s *story) hears(o dtc.Outcome) {
	if s.told == dtc.Committed && o != dtc.Committed {
		panic("committed was told, and then " + o.String())
	}
	s.told = o
}

// check looks at the participants: every transaction is committed everywhere or
// nowhere, nothing is left prepared, and what was told is true.
func (s *story) check(t *testing.T, where string) {
	t.Helper()
	committed := 0
	s.seen.Range(func(x, _ any) bool {
		var states []string
		n := 0
		for _, p := range s.services {
			st := p.State(x.(dtc.XID))
			states = append(states, p.ID()+"="+string(st))
			switch st {
			case dtctest.Committed:
				n++
			case dtctest.Prepared:
				t.Errorf("%s: %v is left in doubt: %v", where, x, states)
			}
		}
		if n != 0 && n != len(s.services) {
			t.Errorf("%s: %v is committed here and not there: %v", where, x, states)
		}
		if n > 0 {
			committed++
		}
		return true
	})
	if committed > 1 {
		t.Errorf("%s: the order was carried out %d times", where, committed)
	}
	if s.told == dtc.Committed != (committed == 1) {
		t.Errorf("%s: the client heard %v, and it was carried out %d times", where, s.told, committed)
	}
}

// TestKillAtEveryPoint kills the coordinator at every step of a transaction, as a
// process (what was written stays) and with the power (what was not synced may
// go), then kills the recovery at every step too. The last one may finish.
func TestKillAtEveryPoint(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plain bool
		vote  dtc.Vote
	}{
		{"commit", false, dtc.VoteCommit},
		{"commit with a plain participant", true, dtc.VoteCommit},
		{"abort", false, dtc.VoteAbort},
		{"abort with a plain participant", true, dtc.VoteAbort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			newStory := func() *story {
				s := &story{services: services("a", "b", "c")}
				s.services[2].Plain = tt.plain
				s.services[1].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return tt.vote, nil }
				return s
			}
			kills, recoveries := 0, 0
			for _, power := range []bool{false, true} {
				for first := 1; ; first++ {
					finished := false
					for second := 0; ; second += stride() {
						if second == stride() {
							second = 1 + first%stride()
						}
						again := false
						synctest.Test(t, func(t *testing.T) {
							s := newStory()
							m := newMachine(vfs.NewMem(), first)
							s.run(m)
							finished = !m.isDead()
							rng := rand.New(rand.NewSource(int64(first*10_000 + second)))
							if second > 0 && !finished {
								m = newMachine(lost(m.disk, power, rng), second)
								sound(t, m.disk)
								s.run(m)
								again = m.isDead()
							}
							if !finished {
								m = newMachine(lost(m.disk, power, rng), 0)
								s.run(m)
							}
							sound(t, m.disk)
							s.check(t, fmt.Sprintf("killed at step %d, then at %d, power lost: %v", first, second, power))
						})
						kills++
						if second > 0 && again {
							recoveries++
						}
						if finished || second > 0 && !again {
							break
						}
					}
					if finished {
						break
					}
				}
			}
			t.Logf("%d runs, %d of them with a recovery killed too", kills, recoveries)
			if kills < 100 || recoveries < 100 {
				t.Error("too few runs: nothing was shown")
			}
		})
	}
}

// stride is 1 in a soak: recovery is then killed at every step.
func stride() int {
	if os.Getenv("DTC_SOAK_HOURS") != "" || os.Getenv("DTC_CRASH_IMAGES") != "" {
		return 1
	}
	return secondStride
}

// lost returns the disk as the next process finds it.
func lost(disk *vfs.Mem, power bool, rng *rand.Rand) *vfs.Mem {
	disk.SetHook(nil)
	if power {
		return disk.Crash(rng)
	}
	return disk.Kill()
}

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

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/tally"
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

func (r remote) CommitOnePhase(ctx context.Context, b dtc.Branch) (v dtc.Vote, err error) {
	if e := r.call(func() error {
		r.seen.Store(b.XID, true)
		v, err = r.Memory.CommitOnePhase(ctx, b)
		return nil
	}); e != nil {
		return dtc.VoteAbort, dtc.NoAnswer(e)
	}
	return v, err
}

func (r remote) Settle(ctx context.Context, b dtc.Branch) (o dtc.Outcome, err error) {
	if e := r.call(func() error { o, err = r.Memory.Settle(ctx, b); return nil }); e != nil {
		return dtc.OutcomeUnknown, e
	}
	return o, err
}

func (r remote) InDoubt(ctx context.Context, log dtc.LogID) (list []dtc.InDoubtBranch, err error) {
	if e := r.call(func() error { list, err = r.Memory.InDoubt(ctx, log); return nil }); e != nil {
		return nil, e
	}
	return list, err
}

// TestKillAtEveryPoint kills the coordinator at every step of a transaction, as a
// process (what was written stays) and with the power (what was not synced may
// go), then kills the recovery at every step too. The last one may finish. What
// the transactions are is said in story_test.go.
func TestKillAtEveryPoint(t *testing.T) {
	for _, p := range plots {
		t.Run(p.name, func(t *testing.T) {
			kills, recoveries, step := 0, 0, stride(p)
			for _, power := range []bool{false, true} {
				for first := 1; ; first += firstStride {
					finished := false
					for second := 0; ; second += step {
						if second == step {
							second = 1 + first%step
						}
						again := false
						synctest.Test(t, func(t *testing.T) {
							s := newStory(p)
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
			tally.Add(t, "killed coordinators", "runs, each killed at another step", int64(kills), 100/firstStride)
			tally.Add(t, "killed coordinators", "of them with the recovery killed too", int64(recoveries), 100/firstStride)
		})
	}
}

// stride is 1 in a soak: recovery is then killed at every step.
func stride(p plot) int {
	if os.Getenv("DTC_SOAK_HOURS") != "" || os.Getenv("DTC_CRASH_IMAGES") != "" {
		return 1
	}
	return secondStride * max(1, p.thin)
}

// lost returns the disk as the next process finds it.
func lost(disk *vfs.Mem, power bool, rng *rand.Rand) *vfs.Mem {
	disk.SetHook(nil)
	if power {
		return disk.Crash(rng)
	}
	return disk.Kill()
}

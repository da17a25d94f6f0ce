package dtctest

import (
	"context"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
)

func onePhaseSubject() (Subject, *Memory) {
	s, m := memorySubject()
	m.OnePhase = true
	return s, m
}

func TestMemoryCommitsInOnePhase(t *testing.T) {
	TestOnePhaser(t, func(*testing.T) Subject {
		s, _ := onePhaseSubject()
		return s
	})
}

// The ability takes nothing away from what a participant promises.
func TestMemoryWithOnePhaseConforms(t *testing.T) {
	TestParticipant(t, func(*testing.T) Subject {
		s, _ := onePhaseSubject()
		return s
	})
}

// A participant that loses and repeats calls on the way keeps all promises too.
func TestFlakyCommitsInOnePhase(t *testing.T) {
	TestOnePhaser(t, func(*testing.T) Subject {
		s, m := onePhaseSubject()
		m.Plain = true // the suite asks for a listing once
		f := NewFlaky(m, 3, Faults{Rate: map[Fault]float64{
			Drop: 0.1, LoseAnswer: 0.1, Late: 0.1, Duplicate: 0.1, AtOnce: 0.1, Echo: 0.1,
		}})
		s.Participant = f
		s.Restart = func() (dtc.Participant, error) {
			m.Crash()
			m.Restart(true)
			return f, nil
		}
		return s
	})
}

// brokenOne overrides methods of a good participant.
type brokenOne struct {
	*Memory
	prepare, onePhase func(ctx context.Context, b dtc.Branch) (dtc.Vote, error)
	rollback          func(ctx context.Context, b dtc.Branch) error
	settle            func(ctx context.Context, b dtc.Branch) (dtc.Outcome, error)
	prove             func(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error)
	inDoubt           func(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error)
}

func (p *brokenOne) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	return p.prepare(ctx, b)
}

func (p *brokenOne) Rollback(ctx context.Context, b dtc.Branch) error { return p.rollback(ctx, b) }

func (p *brokenOne) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	return p.onePhase(ctx, b)
}

func (p *brokenOne) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	return p.settle(ctx, b)
}

func (p *brokenOne) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	return p.prove(ctx, log, id)
}

func (p *brokenOne) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	return p.inDoubt(ctx, log)
}

// unbrokenOne overrides nothing yet.
func unbrokenOne() (*Subject, *Memory, *brokenOne) {
	s, m := onePhaseSubject()
	p := &brokenOne{m, m.Prepare, m.CommitOnePhase, m.Rollback, m.Settle, m.Prove, m.InDoubt}
	s.Participant = p
	s.Restart = func() (dtc.Participant, error) {
		m.Crash()
		m.Restart(true)
		return p, nil
	}
	return &s, m, p
}

func TestOnePhaseSuiteCatchesEveryBrokenPromise(t *testing.T) {
	caught := map[string]bool{}
	for _, b := range oneBreakages {
		t.Run(b.name, func(t *testing.T) {
			s, _, _ := unbrokenOne()
			if r := judgeOne(t, OnePhaserPromises(), b.promise, *s); len(r.errors) > 0 || r.skipped {
				t.Fatalf("the unbroken participant fails, or was not checked: %q", r.errors)
			}
			s, m, p := unbrokenOne()
			b.how(s, m, p)
			r := judgeOne(t, OnePhaserPromises(), b.promise, *s)
			if len(r.errors) == 0 {
				t.Fatal("the suite did not notice")
			}
			if !strings.Contains(strings.Join(r.errors, "\n"), b.says) {
				t.Errorf("the suite noticed something else than %q: %q", b.says, r.errors)
			}
		})
		for _, p := range OnePhaserPromises() {
			if strings.Contains(p.Name, b.promise) {
				caught[p.Name] = true
			}
		}
	}
	for _, p := range OnePhaserPromises() {
		if !caught[p.Name] {
			t.Errorf("no broken participant shows that the suite checks: %s", p.Name)
		}
		if p.Why == "" {
			t.Errorf("does not say why it matters: %s", p.Name)
		}
	}
}

// Each promise needs the ability, and fails without it.
func TestOnePhaseSuiteNeedsTheAbility(t *testing.T) {
	for _, p := range OnePhaserPromises() {
		s, m := onePhaseSubject()
		m.OnePhase = false
		if r := judgeOne(t, OnePhaserPromises(), p.Name, s); len(r.errors) == 0 {
			t.Errorf("%s: passes although CanOnePhase says no", p.Name)
		}
		s, m = onePhaseSubject()
		s.Participant = dtc.ParticipantFuncs{
			ParticipantID: m.ID(), PrepareFunc: m.Prepare, CommitFunc: m.Commit, RollbackFunc: m.Rollback,
		}
		if r := judgeOne(t, OnePhaserPromises(), p.Name, s); len(r.errors) == 0 {
			t.Errorf("%s: passes for a participant without the ability", p.Name)
		}
	}
}

// A bare participant can be checked for what its answers tell.
func TestOnePhaseSuiteWithoutObserver(t *testing.T) {
	skipped := 0
	for _, p := range OnePhaserPromises() {
		m := NewMemory("bare")
		m.Plain, m.OnePhase = true, true
		r := judgeOne(t, OnePhaserPromises(), p.Name, Subject{Participant: m, Rounds: 2})
		if len(r.errors) > 0 {
			t.Errorf("%s: %q", p.Name, r.errors)
		}
		if r.skipped {
			skipped++
		}
	}
	if skipped != 3 {
		t.Errorf("%d promises skipped, want 3: refusal, two incarnations, restart", skipped)
	}
}

package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Judge names what does not hold in a run, and says how, or returns two empty
// strings. The zero one is what [Run] itself has found.
type Judge func(*Result) (violated, why string)

func (j Judge) of(r *Result) (violated, why string) {
	if j == nil || r.Violated != "" {
		return r.Violated, r.Why
	}
	return j(r)
}

// Failure is a run that violates something, made as simple as it could be.
type Failure struct {
	Seed     uint64
	Violated string
	Why      string
	Faults   string   // the classes that it had at first
	Without  string   // those that it does not need, to be given to DTC_WITHOUT
	Needed   string   // those that are left
	Trace    []string // of the simplest run
}

// Shrink takes one class of faults after the other out of a run, as long as the same
// thing is violated, and returns the simplest run. It returns nil if the run violates
// nothing.
func Shrink(t *testing.T, seed uint64, without Faults, judge Judge) *Failure {
	t.Helper()
	first := Run(t, seed, Options{Without: without, Trace: true})
	violated, why := judge.of(first)
	if violated == "" {
		return nil
	}
	best := first
	for again := true; again; {
		again = false
		for i := range numFaults {
			class := Faults(1) << i
			if best.Faults&class == 0 {
				continue
			}
			r := Run(t, seed, Options{Without: without | class, Trace: true})
			if what, how := judge.of(r); what == violated {
				best, why, without, again = r, how, without|class, true
			}
		}
	}
	return &Failure{
		Seed: seed, Violated: violated, Why: why, Trace: best.Trace,
		Faults: list(first.Faults), Without: list(Plan(seed) & without), Needed: list(best.Faults),
	}
}

// Replay is the command that has the run again, in the directory of the module's root.
func (f *Failure) Replay() string {
	set := fmt.Sprintf("DTC_SEED=%d", f.Seed)
	if f.Without != "" {
		set += " DTC_WITHOUT=" + f.Without
	}
	return set + " go -C test test ./sim -run '^TestSeeds$' -v"
}

// String tells all that there is to tell.
func (f *Failure) String() string {
	s := fmt.Sprintf("seed %d: %s: %s\nreplay: %s", f.Seed, f.Violated, f.Why, f.Replay())
	if f.Trace == nil {
		return s
	}
	return fmt.Sprintf("%s\nneeded of [%s]: [%s]\n%s", s, f.Faults, f.Needed, strings.Join(f.Trace, "\n"))
}

func list(f Faults) string { return strings.Join(f.Names(), ",") }

// ParseFaults reads a list of names of classes, with commas between them.
func ParseFaults(names string) (Faults, error) {
	var f Faults
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		i := slices.Index(faultNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("sim: there is no class of faults %q; there are %s", name, list(All))
		}
		f |= 1 << i
	}
	return f, nil
}

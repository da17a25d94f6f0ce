// Package refs keeps sets of transactions by their place in the log, as runs of
// sequences: what grows nearly in order costs next to nothing, however much it is.
package refs

import (
	"iter"
	"maps"
	"slices"

	"github.com/dtc-project/dtc/txlog"
)

// Set is a set of transactions of one log. The zero value is empty. It may be read
// concurrently, but not while it changes.
type Set struct {
	runs map[uint32][]txlog.Run // by incarnation; ascending, with a gap between any two
}

// Add adds one transaction.
func (s *Set) Add(r txlog.Ref) { s.AddRun(r.Incarnation, txlog.Run{First: r.Seq, Last: r.Seq}) }

// AddRun adds a run of sequences, of which the last is not below the first.
func (s *Set) AddRun(incarnation uint32, r txlog.Run) {
	if s.runs == nil {
		s.runs = make(map[uint32][]txlog.Run)
	}
	runs := s.runs[incarnation]
	// The usual place is at the end or a little before it, where transactions
	// overtake each other.
	to := len(runs) // behind the last run that begins before r ends, or touches it
	if n := len(runs); n > 0 && r.Last < runs[n-1].First && runs[n-1].First-r.Last > 1 {
		to = after(runs, r.Last)
	}
	from := to // the first of those that r touches or covers
	for from > 0 && (runs[from-1].Last >= r.First || r.First-runs[from-1].Last == 1) {
		from--
		r.First, r.Last = min(r.First, runs[from].First), max(r.Last, runs[from].Last)
	}
	s.runs[incarnation] = slices.Replace(runs, from, to, r)
}

// after returns the number of runs that begin at most one behind seq.
func after(runs []txlog.Run, seq uint64) int {
	n, _ := slices.BinarySearchFunc(runs, seq, func(run txlog.Run, seq uint64) int {
		if run.First <= seq || run.First-seq == 1 {
			return -1
		}
		return 1
	})
	return n
}

// Has reports whether a transaction is in the set.
func (s *Set) Has(r txlog.Ref) bool {
	runs := s.runs[r.Incarnation]
	n, _ := slices.BinarySearchFunc(runs, r.Seq, func(run txlog.Run, seq uint64) int {
		if run.Last < seq {
			return -1
		}
		return 1
	})
	return n < len(runs) && runs[n].First <= r.Seq
}

// Runs returns the runs of each incarnation, in order: ascending, with a gap
// between any two. The set must not change meanwhile, and the runs are its own.
func (s *Set) Runs() iter.Seq2[uint32, []txlog.Run] {
	return func(yield func(uint32, []txlog.Run) bool) {
		for _, incarnation := range slices.Sorted(maps.Keys(s.runs)) {
			if !yield(incarnation, s.runs[incarnation]) {
				return
			}
		}
	}
}

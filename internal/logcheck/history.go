package logcheck

import (
	"cmp"
	"fmt"
	"slices"
)

// history is what the records have said so far, as far as the next ones have to
// agree with it.
type history struct {
	reserved map[uint32]uint64 // sequences of each incarnation
	newest   uint32            // the number of the newest one, or 0
	held     uint32            // the last hold is of those up to here
	open     map[ref]*open
	prepared refs // every transaction that ever was, for a ref is used once

	// Of a checkpoint only.
	section  int
	last     ref  // in the section of unfinished transactions
	outcomes refs // those that it remembers
}

type ref struct {
	number uint32
	seq    uint64
}

func (r ref) compare(s ref) int {
	return cmp.Or(cmp.Compare(r.number, s.number), cmp.Compare(r.seq, s.seq))
}

// open is a transaction without its end.
type open struct {
	branches []Branch
	once     bool // it commits in one phase
	stated   byte // of such a one, by an operator
	decision byte
}

func newHistory() *history {
	return &history{reserved: map[uint32]uint64{}, open: map[ref]*open{}, prepared: refs{}, outcomes: refs{}}
}

// add takes a record in and says what is wrong with it. What is wrong is left
// out, so that one record too many does not make every later one wrong.
func (h *history) add(r *Record) (why string) {
	x, current := ref{r.Number, r.Seq}, h.newest
	switch r.Kind {
	case Incarnation:
		// Behind a hold it stands above all that the hold is of.
		if r.Number != current+1 && (h.held < max(current, 1) || r.Number <= h.held) {
			return fmt.Sprintf("incarnation %d follows incarnation %d", r.Number, current)
		}
		h.newest, h.reserved[r.Number] = r.Number, r.Through
	case Block:
		switch {
		case r.Number != current:
			return fmt.Sprintf("the current incarnation is %d", current)
		case current == 0:
			return "there is no incarnation"
		case r.Through < h.reserved[current]:
			return fmt.Sprintf("%d sequences were reserved before", h.reserved[current])
		}
		h.reserved[current] = r.Through
	case Prepare, OnePhase:
		if r.Number != current {
			return fmt.Sprintf("the current incarnation is %d", current)
		}
		return h.prepare(x, r)
	case Commit:
		t, why := h.undecided(x)
		switch {
		case why != "":
			return why
		case t.once:
			return "in one phase there is no decision to commit"
		case len(r.Votes) != len(t.branches):
			return fmt.Sprintf("there are %d branches", len(t.branches))
		case slices.Contains(r.Votes, voteAbort):
			return "nothing is committed against a vote"
		}
		t.decision = committed
	case Abort:
		t, why := h.undecided(x)
		switch {
		case why != "":
			return why
		case r.Code == noReason:
			return "nothing is rolled back without a reason"
		case t.stated == committed:
			return "an operator has said that it was committed"
		}
		t.decision = rolledBack
	case End:
		return h.end(x, r.Outcome)
	case Resolution:
		t := h.open[x]
		switch {
		case t == nil && h.prepared.has(x): // it ended while the statement was written
		case t == nil:
			return "the transaction was never prepared"
		case t.decision == unknown && !t.once:
			return "the transaction is not decided"
		case !slices.ContainsFunc(t.branches, func(b Branch) bool { return b.Participant == r.Participant }):
			return "the transaction has no such branch"
		case t.stated == unknown:
			t.stated = r.Outcome
		}
	case Hold:
		h.held = max(h.held, r.Number) // which may be one that only another copy has had
	case Release: // of no hold it is idle, not wrong
	case Logged, Horizon, Outcome:
		return "it stands in checkpoints only"
	}
	return ""
}

func (h *history) prepare(x ref, r *Record) (why string) {
	switch {
	case !h.isReserved(x):
		return "its sequence was not reserved before"
	case h.prepared.has(x):
		return "the transaction was prepared before"
	}
	seen := make(map[string]bool, len(r.Branches))
	for _, b := range r.Branches {
		if seen[b.Participant] {
			return "a participant has two branches"
		}
		seen[b.Participant] = true
	}
	h.prepared.add(x, x)
	h.open[x] = &open{branches: r.Branches, once: r.Kind == OnePhase}
	return ""
}

func (h *history) isReserved(x ref) bool {
	return x.seq >= 1 && x.seq <= h.reserved[x.number]
}

func (h *history) undecided(x ref) (*open, string) {
	t := h.open[x]
	switch {
	case t == nil && h.prepared.has(x):
		return nil, "the transaction has ended"
	case t == nil:
		return nil, "the transaction was never prepared"
	case t.decision != unknown:
		return nil, "the transaction is decided"
	}
	return t, ""
}

func (h *history) end(x ref, outcome byte) string {
	t := h.open[x]
	switch {
	case t == nil && h.prepared.has(x):
		return "the transaction has ended"
	case t == nil:
		return "the transaction was never prepared"
	// Where every branch voted read-only there is nothing to decide, and the decision
	// to commit is not written. In one phase it never is, and an end that comes too late
	// does not know.
	case t.once && t.decision == unknown && outcome != rolledBack:
	case t.decision == unknown && outcome != committed:
		return "the transaction is not decided"
	case t.decision != unknown && outcome != t.decision && outcome != heuristic:
		return "the transaction was " + outcomeWords[t.decision]
	}
	delete(h.open, x)
	return ""
}

// refs is a set of references: for each incarnation its runs of sequences,
// ascending, with a gap between any two.
type refs map[uint32][]Run

func (s refs) has(x ref) bool {
	runs := s[x.number]
	i, found := slices.BinarySearchFunc(runs, x.seq, func(r Run, seq uint64) int { return cmp.Compare(r.First, seq) })
	return found || i > 0 && runs[i-1].Last >= x.seq
}

// add adds the references from a to b, which are of one incarnation and not in
// the set; it reports whether that was so.
func (s refs) add(a, b ref) bool {
	runs := s[a.number]
	i, found := slices.BinarySearchFunc(runs, a.seq, func(r Run, seq uint64) int { return cmp.Compare(r.First, seq) })
	if found || i > 0 && runs[i-1].Last >= a.seq || i < len(runs) && runs[i].First <= b.seq {
		return false
	}
	left, right := i > 0 && runs[i-1].Last+1 == a.seq, i < len(runs) && runs[i].First == b.seq+1
	switch {
	case left && right:
		runs[i-1].Last = runs[i].Last
		runs = slices.Delete(runs, i, i+1)
	case left:
		runs[i-1].Last = b.seq
	case right:
		runs[i].First = a.seq
	default:
		runs = slices.Insert(runs, i, Run{a.seq, b.seq})
	}
	s[a.number] = runs
	return true
}

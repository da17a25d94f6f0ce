package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// plot is what a transaction over a, b and c meets, besides being killed.
type plot struct {
	name  string
	plain bool // c cannot list
	thin  int  // how much thinner the kills of recovery are than secondStride says
	// votes are those of a, b and c; nil: it never answers a prepare.
	votes [3]*dtc.Vote
	// byHand: c never answers a commit. When the caller was told "committed" an
	// operator states that c rolled back.
	byHand bool
	// once: a and b take no part, and c commits in one phase.
	once bool
}

func votes(a, b, c dtc.Vote) [3]*dtc.Vote { return [3]*dtc.Vote{&a, &b, &c} }

var (
	yes, no, reads = dtc.VoteCommit, dtc.VoteAbort, dtc.VoteReadOnly

	plots = []plot{
		{name: "commit", votes: votes(yes, yes, yes)},
		{name: "commit with a plain participant", plain: true, votes: votes(yes, yes, yes)},
		{name: "abort", votes: votes(yes, no, yes)},
		{name: "abort with a plain participant", plain: true, votes: votes(yes, no, yes)},
		{name: "one only reads", thin: 3, votes: votes(yes, reads, yes)},
		{name: "all only read", thin: 2, votes: votes(reads, reads, reads)},
		{name: "prepare timeout", thin: 3, votes: [3]*dtc.Vote{&yes, nil, &yes}},
		{name: "one phase", once: true, votes: votes(reads, reads, yes)},
		{name: "one phase, abort", once: true, votes: votes(reads, reads, no)},
		{name: "one phase, timeout", once: true, thin: 2, votes: [3]*dtc.Vote{&reads, &reads, nil}},
		{name: "resolved by hand", thin: 4, votes: votes(yes, yes, yes), byHand: true},
	}
)

// may reports whether the transaction can end that way.
func (p plot) may(o dtc.Outcome) bool {
	for _, v := range p.votes {
		if v == nil || *v == no {
			return o == dtc.RolledBack
		}
	}
	return o == dtc.Committed || o == dtc.RolledBack || o == dtc.Heuristic && p.byHand
}

// writers is how many participants commit, if anybody does.
func (p plot) writers() (n int) {
	for i, v := range p.votes {
		if v != nil && *v == yes && !(p.byHand && i == 2) {
			n++
		}
	}
	return n
}

// story is one transaction, killed somewhere.
type story struct {
	plot
	services []*dtctest.Memory
	seen     sync.Map
	told     dtc.Outcome // what the client heard
	stated   bool        // the operator's statement was acknowledged
}

func newStory(p plot) *story {
	s := &story{plot: p, services: services("a", "b", "c")}
	s.services[2].Plain, s.services[2].OnePhase = p.plain, p.once
	for i, vote := range p.votes {
		s.services[i].OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			if vote == nil {
				<-ctx.Done()
				return no, ctx.Err()
			}
			return *vote, nil
		}
	}
	if p.byHand {
		s.services[2].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("gone") }
	}
	return s
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
	stated := s.stated // what was acknowledged counts from the first moment on
	request := branches("a", "b", "c")
	if s.once {
		request = request[2:]
	}
	ok, err := c.Execute(context.Background(), "t", request...)
	var heuristic *dtc.HeuristicError
	if !m.isDead() {
		switch {
		case ok && !stated:
			s.hears(dtc.Committed)
		case errors.Is(err, dtc.ErrRolledBack) && !stated:
			s.hears(dtc.RolledBack)
		case errors.As(err, &heuristic) && s.byHand:
			s.hears(dtc.Heuristic)
		default:
			panic(fmt.Sprintf("told %v, %v; the operator's statement was acknowledged: %v", ok, err, stated))
		}
		if s.byHand && ok {
			s.resolve(c, m)
		}
		time.Sleep(time.Minute) // retries, the sweep
	}
	_ = c.Close()
}

// resolve is the operator, who looks before and after.
func (s *story) resolve(c *dtc.Coordinator, m *machine) {
	err := c.Resolve(context.Background(), "t", "c", dtc.RolledBack, "gone for ever")
	o, _ := c.Outcome(context.Background(), "t")
	switch {
	case err == nil:
		s.stated = true
		if o != dtc.Heuristic {
			panic("resolved, and the outcome is " + o.String())
		}
	case !m.isDead():
		panic(err)
	}
}

func (s *story) hears(o dtc.Outcome) {
	if !s.may(o) {
		panic("told " + o.String())
	}
	// Nothing was forced for a transaction that only read, and nothing is lost.
	if s.told == dtc.Committed && o == dtc.RolledBack && s.writers() > 0 || s.told == dtc.Heuristic && o != dtc.Heuristic {
		panic(s.told.String() + " was told, and then " + o.String())
	}
	s.told = o
}

// check looks at the participants: every transaction is committed everywhere or
// nowhere, nothing is left prepared, and what was told is true.
func (s *story) check(t *testing.T, where string) {
	t.Helper()
	committed, writers := 0, s.writers()
	s.seen.Range(func(x, _ any) bool {
		var states []string
		n := 0
		for i, p := range s.services {
			st := p.State(x.(dtc.XID))
			states = append(states, p.ID()+"="+string(st))
			switch {
			case st == dtctest.Committed:
				n++
			case st == dtctest.Prepared && !(s.byHand && i == 2): // that one is left as it is
				t.Errorf("%s: %v is left in doubt: %v", where, x, states)
			}
		}
		if n != 0 && n != writers {
			t.Errorf("%s: %v is committed here and not there: %v", where, x, states)
		}
		if n > 0 {
			committed++
		}
		return true
	})
	if s.once { // rows go below low water, and what was done stays
		committed = s.services[2].Counts().OnePhase
	}
	if committed > 1 {
		t.Errorf("%s: the order was carried out %d times", where, committed)
	}
	told := s.told == dtc.Committed || s.told == dtc.Heuristic
	if told != (committed == 1) && (writers > 0 || committed > 0) {
		t.Errorf("%s: the client heard %v, and it was carried out %d times", where, s.told, committed)
	}
	if s.told == dtc.OutcomeUnknown {
		t.Errorf("%s: the client never heard anything", where)
	}
}

package wal_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/refs"
	"github.com/dtc-project/dtc/txlog"
)

// story makes up records in an order in which a coordinator could have written
// them: openings, transactions that overtake each other, holds.
type story struct {
	rng         *rand.Rand
	incarnation uint32
	seq         uint64
	through     uint64
	open        []*storyTx
}

type storyTx struct {
	ref      txlog.Ref
	branches int
	decided  protocol.Outcome
}

// opening returns the record of a new incarnation. Those that are open stay so.
func (s *story) opening() txlog.Record {
	s.incarnation++
	s.seq, s.through = 0, 100
	return &txlog.Incarnation{
		Incarnation: protocol.Incarnation{Number: s.incarnation, Nonce: s.rng.Uint32()}, Through: s.through,
	}
}

// next returns the next record.
func (s *story) next() txlog.Record {
	for {
		switch k := s.rng.Intn(100); {
		case k < 2:
			s.through += 100
			return &txlog.Block{Incarnation: s.incarnation, Through: s.through}
		case k < 3:
			return &txlog.Hold{Through: uint32(s.rng.Intn(int(s.incarnation) + 1)), Reason: "why not"}
		case k < 4:
			return &txlog.Release{Reason: "because"}
		case k < 36 && len(s.open) < 30 || len(s.open) == 0:
			if s.rng.Intn(4) == 0 && s.seq < s.through {
				s.seq++ // one that was never logged
			}
			if s.seq == s.through {
				s.through += 100
				return &txlog.Block{Incarnation: s.incarnation, Through: s.through}
			}
			return s.prepare()
		default:
			if r := s.move(s.rng.Intn(len(s.open))); r != nil {
				return r
			}
		}
	}
}

func (s *story) prepare() txlog.Record {
	s.seq++
	t := &storyTx{ref: txlog.Ref{Incarnation: s.incarnation, Seq: s.seq}, branches: 1 + s.rng.Intn(3)}
	s.open = append(s.open, t)
	r := &txlog.Prepare{Ref: t.ref, TxID: fmt.Sprintf("order-%d", s.rng.Intn(1000))}
	if s.rng.Intn(5) == 0 {
		r.TxID = strings.Repeat("long", 10) + r.TxID
	}
	s.rng.Read(r.Fingerprint[:])
	for i := range t.branches {
		r.Branches = append(r.Branches, txlog.Branch{Participant: fmt.Sprintf("p%d", i), Plain: s.rng.Intn(3) == 0})
	}
	return r
}

// move takes an open transaction one step on.
func (s *story) move(i int) txlog.Record {
	t := s.open[i]
	switch {
	case t.decided == protocol.OutcomeUnknown && s.rng.Intn(3) > 0:
		t.decided = protocol.Committed
		r := &txlog.Commit{Ref: t.ref, Votes: make([]protocol.Vote, t.branches)}
		for i := range r.Votes {
			r.Votes[i] = protocol.VoteCommit
		}
		return r
	case t.decided == protocol.OutcomeUnknown:
		t.decided = protocol.RolledBack
		return &txlog.Abort{Ref: t.ref, Reason: protocol.Reason{
			Code: protocol.ReasonVoteAbort, Participant: "p0", Message: strings.Repeat("m", s.rng.Intn(100)),
		}}
	case s.rng.Intn(10) == 0:
		return &txlog.Resolution{Ref: t.ref, Participant: "p0", Outcome: protocol.Committed, Reason: "asked"}
	case s.rng.Intn(10) == 0:
		return nil // it takes its time
	}
	s.open = slices.Delete(s.open, i, i+1)
	return &txlog.End{Ref: t.ref, Outcome: t.decided}
}

// meaning is what records come to, whether a checkpoint stands for some of them or
// not. It is written without a look at the fold.
type meaning struct {
	limit    int
	history  []string
	through  map[uint32]uint64
	hold     string
	open     map[txlog.Ref][]string
	ids      map[txlog.Ref]*txlog.Prepare
	codes    map[txlog.Ref]protocol.Code
	logged   refs.Set
	outcomes []string
}

func newMeaning(limit int) *meaning {
	return &meaning{
		limit: limit, through: map[uint32]uint64{}, open: map[txlog.Ref][]string{},
		ids: map[txlog.Ref]*txlog.Prepare{}, codes: map[txlog.Ref]protocol.Code{},
	}
}

func (m *meaning) add(r txlog.Record) error {
	text := fmt.Sprintf("%v %+v", r.Kind(), r)
	switch r := r.(type) {
	case *txlog.Incarnation:
		m.history = append(m.history, fmt.Sprint(r.Incarnation))
		m.through[r.Incarnation.Number] = r.Through
	case *txlog.Block:
		m.through[r.Incarnation] = r.Through
	case *txlog.Prepare:
		m.open[r.Ref], m.ids[r.Ref] = []string{text}, r
	case *txlog.Commit:
		m.open[r.Ref] = append(m.open[r.Ref], text)
	case *txlog.Abort:
		m.open[r.Ref], m.codes[r.Ref] = append(m.open[r.Ref], text), r.Reason.Code
	case *txlog.Resolution:
		m.open[r.Ref] = append(m.open[r.Ref], text)
	case *txlog.End:
		p := m.ids[r.Ref]
		if p == nil {
			return fmt.Errorf("the end of %v, which is not open", r.Ref)
		}
		m.outcome(r.Ref, txlog.KeyOf(p.TxID), p.Fingerprint, r.Outcome, m.codes[r.Ref])
		m.logged.Add(r.Ref)
		delete(m.open, r.Ref)
	case *txlog.Outcome:
		m.outcome(r.Ref, r.Key, r.Fingerprint, r.Outcome, r.Code)
	case *txlog.Logged:
		for _, run := range r.Runs {
			m.logged.AddRun(r.Incarnation, run)
		}
	case *txlog.Horizon:
	case *txlog.Hold:
		var before uint32
		_, _ = fmt.Sscanf(m.hold, "%d", &before)
		m.hold = fmt.Sprint(max(before, r.Through), r.Reason)
	case *txlog.Release:
		if m.hold != "" {
			var through uint32
			_, _ = fmt.Sscanf(m.hold, "%d", &through)
			m.hold = fmt.Sprint(through, "released")
		}
	default:
		return fmt.Errorf("a %v", r.Kind())
	}
	return nil
}

func (m *meaning) outcome(ref txlog.Ref, key, fp [16]byte, o protocol.Outcome, c protocol.Code) {
	m.outcomes = append(m.outcomes, fmt.Sprintf("%v %x %x %v %v", ref, key, fp, o, c))
	if m.limit > 0 {
		m.outcomes = m.outcomes[max(0, len(m.outcomes)-m.limit):]
	}
}

// String returns all of it in one spelling.
func (m *meaning) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, m.history, m.through, m.hold)
	for inc, runs := range m.logged.Runs() {
		fmt.Fprintln(&b, "logged", inc, runs)
	}
	fmt.Fprintln(&b, strings.Join(m.outcomes, "\n"))
	for inc := range uint32(len(m.history) + 2) {
		for seq := range m.through[inc] + 1 {
			if lines := m.open[txlog.Ref{Incarnation: inc, Seq: seq}]; lines != nil {
				// Decisions and statements come behind the prepare record; among
				// each other their order does not matter.
				slices.Sort(lines[1:])
				fmt.Fprintln(&b, strings.Join(lines, "\n"))
			}
		}
	}
	return b.String()
}

// meaningOf replays a log.
func meaningOf(l interface {
	Replay(func(txlog.Entry) error) error
}, limit int,
) (*meaning, error) {
	m := newMeaning(limit)
	err := l.Replay(func(e txlog.Entry) error { return m.add(e.Record) })
	return m, err
}

package protocol

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScripts runs testdata/*.txt. A script is lines: what happens to the
// transaction, and behind ">" what the machine must do about it, in order and
// nothing else. See testdata/README.md for the words.
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	seen := map[string]bool{} // the types of events and effects in all scripts
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			runScript(t, file, seen)
		})
	}
	for _, v := range []any{
		Begun{},
		Synced{},
		Refused{},
		LogFailed{},
		Voted{},
		Withdrawn{},
		NoAnswer{},
		Acked{},
		Unknown{},
		FinishedOtherwise{},
		Hung{},
		RetryDue{},
		TimedOut{},
		Cancelled{},
		Resolved{},
		Recovered{},
		Settled{},
		Stating{},
		AppendPrepare{},
		ForceCommit{},
		AppendAbort{},
		AppendEnd{},
		SendPrepare{},
		SendCommit{},
		SendRollback{},
		AppendOnePhase{},
		SendOnePhase{},
		Interrupt{},
		SendSettle{},
		Retry{},
		Tell{},
		Refuse{},
		Hazard{},
		Forget{},
	} {
		if name := fmt.Sprintf("%T", v); !seen[name] {
			t.Errorf("no script has %s", name)
		}
	}
}

type script struct {
	tx    Tx
	names []string
	seen  map[string]bool
}

func runScript(t *testing.T, file string, seen map[string]bool) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &script{tx: New(0), seen: seen}
	var got []string
	checks := 0
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		want, isEffect := strings.CutPrefix(line, "> ")
		switch {
		case line == "":
		case isEffect && len(got) == 0:
			t.Fatalf("%s:%d: want %q, but the machine asks for nothing more", file, n, want)
		case isEffect && got[0] != want:
			t.Fatalf("%s:%d: want %q, but the machine asks for %q", file, n, want, got[0])
		case isEffect:
			got = got[1:]
			checks++
		case line == "crash": // what was asked for and not done yet is lost with the process
			got, s.tx, s.names = nil, New(0), nil
		case len(got) > 0:
			t.Fatalf("%s:%d: before %q the machine also asks for %q", file, n, line, got)
		default:
			if got, err = s.do(strings.Fields(line)); err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
		}
	}
	if err := lines.Err(); err != nil || checks == 0 {
		t.Fatalf("%s: it checks nothing: %v", file, err)
	}
	if len(got) > 0 {
		t.Fatalf("%s: at the end the machine also asks for %q", file, got)
	}
}

func (s *script) branch(name string) (int, error) {
	for i, n := range s.names {
		if n == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no branch %q", name)
}

func (s *script) do(w []string) ([]string, error) {
	rest := func(i int) string { return strings.Join(w[min(i, len(w)):], " ") }
	switch w[0] {
	case "with", "plain", "working": // with inventory; plain ledger; working orders
		for _, n := range w[1:] {
			s.names = append(s.names, n)
			s.tx.Enlist(w[0] == "plain", w[0] == "working")
		}
		return nil, nil
	case "state", "outcome", "branch", "why":
		return nil, s.check(w)
	case "one-phase": // the only branch is able to
		s.tx.MayOnePhase()
		return nil, nil
	case "log-after-all":
		s.tx.Log()
		return nil, nil
	case "recover":
		return s.recover(w[1:])
	}
	ev, err := s.event(w, rest)
	if err != nil {
		return nil, err
	}
	return s.step(ev), nil
}

func (s *script) step(ev Event) []string {
	effects := s.tx.Step(nil, ev)
	s.seen[fmt.Sprintf("%T", ev)] = true
	for _, e := range effects {
		s.seen[fmt.Sprintf("%T", e)] = true
	}
	return s.words(effects)
}

func (s *script) check(w []string) error {
	var got string
	switch w[0] {
	case "state":
		got = s.tx.State().String()
	case "outcome":
		got = s.tx.Outcome().String()
	case "why":
		code, whose := s.tx.Why()
		got = code.String()
		if whose >= 0 {
			got += " " + s.names[whose]
		}
	case "branch":
		i, err := s.branch(w[1])
		if err != nil {
			return err
		}
		got = s.tx.Branch(i).String()
		w = w[1:]
	}
	if want := strings.Join(w[1:], " "); got != want {
		return fmt.Errorf("%s is %q, want %q", w[0], got, want)
	}
	return nil
}

// recover replaces the machine by the one that the log gives:
//
//	recover inventory ledger            (no decision in the log)
//	recover inventory=vote_commit …     (a decision to commit, with votes)
//	recover rolled_back inventory …     (an abort record)
//	recover inventory plain/ledger      (one that could not list)
//	recover one-phase inventory[/committed] (a record of one phase, and what was stated)
func (s *script) recover(w []string) ([]string, error) {
	f := Found{}
	s.names = nil
	for _, word := range w {
		name, value, voted := strings.Cut(word, "=")
		if name == "unlogged" {
			f.Unlogged = true
			continue
		}
		if name == "rolled_back" {
			f.Decision, f.Why = RolledBack, ReasonVoteAbort
			continue
		}
		if name == "one-phase" {
			f.OnePhase = true
			continue
		}
		name, plain := strings.CutPrefix(name, "plain/")
		stated := ""
		if f.OnePhase {
			name, stated, _ = strings.Cut(name, "/")
		}
		s.names = append(s.names, name)
		f.Plain = append(f.Plain, plain)
		f.Resolved = append(f.Resolved, OutcomeUnknown)
		if stated != "" {
			f.Resolved[len(f.Resolved)-1] = parseOutcome(stated)
		}
		if voted {
			f.Decision = Committed
			vote, stated, _ := strings.Cut(value, "/")
			f.Votes = append(f.Votes, parseVote(vote))
			if stated != "" {
				f.Resolved[len(f.Resolved)-1] = parseOutcome(stated)
			}
		}
	}
	s.tx = Recover(f)
	return s.step(Recovered{}), nil
}

func parseVote(s string) Vote {
	for v := VoteAbort; v <= VoteReadOnly; v++ {
		if v.String() == s {
			return v
		}
	}
	panic("no vote " + s)
}

func parseOutcome(s string) Outcome {
	if s == "committed" {
		return Committed
	}
	return RolledBack
}

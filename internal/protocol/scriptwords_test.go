package protocol

import "fmt"

func (s *script) event(w []string, rest func(int) string) (Event, error) {
	i := 0
	var err error
	if len(w) > 1 && w[0] != "cancelled" {
		if i, err = s.branch(w[1]); err != nil {
			return nil, err
		}
	}
	switch w[0] {
	case "begun":
		return Begun{}, nil
	case "synced":
		return Synced{}, nil
	case "refused":
		return Refused{}, nil
	case "log-failed":
		return LogFailed{}, nil
	case "voted": // voted inventory vote_abort [unsure|broken]
		how := rest(3)
		return Voted{Branch: i, Vote: parseVote(w[2]), Unsure: how != "", Broken: how == "broken"}, nil
	case "withdrawn":
		return Withdrawn{i}, nil
	case "no-answer": // no-answer inventory prepare [reached]
		verb := map[string]Verb{"prepare": Prepare, "commit": Commit, "rollback": Rollback, "commit_one_phase": CommitOnePhase, "settle": Settle}[w[2]]
		return NoAnswer{Branch: i, Verb: verb, Reached: rest(3) == "reached"}, nil
	case "acked":
		return Acked{i}, nil
	case "unknown":
		return Unknown{i}, nil
	case "finished-otherwise":
		return FinishedOtherwise{i, parseOutcome(w[2])}, nil
	case "hung":
		return Hung{i}, nil
	case "retry-due":
		return RetryDue{i}, nil
	case "timed-out":
		return TimedOut{}, nil
	case "cancelled":
		return Cancelled{ReasonCancelled}, nil
	case "settled": // settled inventory committed|rolled_back|unknown
		if w[2] == "unknown" {
			return Settled{i, OutcomeUnknown}, nil
		}
		return Settled{i, parseOutcome(w[2])}, nil
	case "stating":
		return Stating{i}, nil
	case "resolved":
		return Resolved{i, parseOutcome(w[2])}, nil
	}
	return nil, fmt.Errorf("no event %q", w[0])
}

func (s *script) words(effects []Effect) (words []string) {
	for _, e := range effects {
		words = append(words, s.word(e))
	}
	return words
}

func (s *script) word(e Effect) string {
	switch e := e.(type) {
	case AppendPrepare:
		if e.Force {
			return "force prepare"
		}
		return "append prepare"
	case ForceCommit:
		return "force commit"
	case AppendAbort:
		return "append abort"
	case AppendEnd:
		return "append end"
	case SendPrepare:
		return "send prepare " + s.names[e.Branch]
	case SendCommit:
		return "send commit " + s.names[e.Branch]
	case SendRollback:
		return "send rollback " + s.names[e.Branch]
	case AppendOnePhase:
		return "append one-phase"
	case SendOnePhase:
		return "send one-phase " + s.names[e.Branch]
	case Interrupt:
		return "interrupt"
	case SendSettle:
		return "send settle " + s.names[e.Branch]
	case Retry:
		return "retry " + s.names[e.Branch]
	case Tell:
		return "tell " + e.Outcome.String()
	case Refuse:
		return "refuse"
	case Hazard:
		return "hazard " + s.names[e.Branch]
	case Forget:
		return "forget"
	}
	return fmt.Sprintf("%T", e)
}

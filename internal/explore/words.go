package explore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtc-project/dtc/internal/protocol"
)

// String returns "remote" or "local".
func (k Kind) String() string { return [...]string{"remote", "local"}[k] }

// kinds names the kinds of participants.
func (r *Rules) kinds() string {
	var kinds []string
	for _, k := range r.Kinds {
		kinds = append(kinds, k.String())
	}
	return strings.Join(kinds, "+")
}

// String names the kinds and the budgets of a world.
func (r *Rules) String() string {
	s := fmt.Sprintf("%s, %s crashes, %s cold starts, %d log faults, %d prepare attempts",
		r.kinds(), r.bound(r.Crashes), r.bound(r.Colds), r.LogFaults, r.Attempts)
	for _, option := range r.options() {
		s += ", " + option
	}
	return s
}

// bound says how many crashes there may be where n are asked for.
func (r *Rules) bound(n uint8) string {
	if n > 0 && r.reduces(uncounted) {
		return "any number of"
	}
	return strconv.Itoa(int(n))
}

func (r *Rules) options() (names []string) {
	for _, option := range []struct {
		on   bool
		name string
	}{
		{r.ReadOnly, "read-only votes"},
		{r.Withdrawals, "withdrawals"},
		{r.HungRemotes, "hung remotes"},
		{r.UnsureAnswers, "unsure answers"},
		{r.NoTombstones, "no tombstones"},
	} {
		if option.on {
			names = append(names, option.name)
		}
	}
	return names
}

// name is a short name for a test.
func (r *Rules) name() string {
	s := fmt.Sprintf("%s/%d-%d", r.kinds(), r.Crashes, r.Colds)
	if len(r.options()) > 0 {
		s += "-rich"
	}
	if !r.reduces(uncounted) {
		s += "-counted"
	}
	return s
}

// name is what a branch is called in a trace.
func (s *step) name(i int) string {
	return fmt.Sprintf("%s-%c", s.r.Kinds[i], 'A'+rune(i))
}

var appending = [...]string{
	prepareRecord: "append the prepare record",
	commitRecord:  "append the decision to commit",
	abortRecord:   "append the abort record",
	endRecord:     "append the end record",
}

var sending = [...]string{protocol.Commit: "send commit to %s", protocol.Rollback: "send rollback to %s"}

var telling = [...]string{
	protocol.OutcomeUnknown: "tell the client: unknown",
	protocol.Committed:      "tell the client: committed",
	protocol.RolledBack:     "tell the client: rolled_back",
}

var answering = [...]string{
	votedAbort:      "%s answers: vote_abort",
	votedCommit:     "%s answers: vote_commit",
	votedReadOnly:   "%s answers: read_only",
	acknowledged:    "%s answers: done",
	unknown:         "%s answers: unknown",
	endedCommitted:  "%s answers: ended, committed",
	endedRolledBack: "%s answers: ended, rolled back",
}

var sentences = map[what]string{
	begin:           "the transaction begins",
	logSynced:       "the log syncs",
	logRefuses:      "the log refuses the record",
	logFails:        "the log fails: what of its tail is durable, nobody knows",
	truncate:        "a checkpoint drops the transaction from the log",
	replayed:        "the log is replayed, a new incarnation begins",
	leave:           "the prepare to %s leaves",
	withdraw:        "the prepare to %s is withdrawn",
	acked:           "the coordinator hears from %s: done",
	notKnown:        "the coordinator hears from %s: unknown",
	endedOtherwise:  "the coordinator hears from %s: ended otherwise",
	noAnswerPrepare: "the prepare call to %s ends without an answer",
	noAnswerFinish:  "the call to %s ends without an answer",
	hung:            "the prepare call to %s hangs",
	retryDue:        "the retry for %s is due",
	timedOut:        "the prepare timeout passes",
	cancelled:       "the caller cancels",
	takeCommit:      "a commit arrives at %s",
	takeRollback:    "a rollback arrives at %s",
	takeLowWater:    "low water above the transaction arrives at %s",
	prune:           "%s drops the finished row",
	goCold:          "%s crashes and comes back cold",
	warmUp:          "%s has warmed up",
	takeCold:        "a request arrives at %s while it is cold",
	runFinish:       "the call to %s takes effect",
	returns:         "the prepare call to %s returns",
	returnsError:    "the prepare call to %s returns an error",
	finishReturns:   "the call to %s returns",
	list:            "the sweep lists what %s holds prepared",
	look:            "the sweep looks at the live table and the log, for %s",
	sweepAcked:      "the sweep's rollback arrives at %s and is answered",
	otherTraffic:    "other traffic goes to %s",
}

// words says what a move is.
func (s *step) words(m move) string {
	name := s.name(int(m.branch))
	switch m.what {
	case crash, restart:
		n := m.arg
		if m.what == restart {
			n = s.unsynced
		}
		return fmt.Sprintf("the coordinator crashes; of %d unsynced records %d survive", s.unsynced, n)
	case voted:
		return fmt.Sprintf("the coordinator hears from %s: %s", name, protocol.Vote(m.arg))
	case takePrepare:
		return fmt.Sprintf("a prepare arrives at %s", name)
	case runFinish:
		if m.arg != 0 {
			return fmt.Sprintf("the call to %s runs into cold storage", name)
		}
	case runPrepare:
		return fmt.Sprintf("the prepare call to %s takes effect: %s", name, protocol.Vote(m.arg))
	}
	sentence := sentences[m.what]
	if strings.Contains(sentence, "%s") {
		return fmt.Sprintf(sentence, name)
	}
	return sentence
}

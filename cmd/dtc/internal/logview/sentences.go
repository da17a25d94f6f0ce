package logview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
)

const timeFormat = "2006-01-02 15:04:05.000"

// Sentences tells what happened to the transaction: first what it comes to, then
// line by line what the log says and when.
func (h *History) Sentences() []string {
	lines := []string{
		fmt.Sprintf("%s %s", h.name(), h.verdict()),
		fmt.Sprintf("  xid %s, under which the participants know it", h.XID),
	}
	at := func(t time.Time, format string, args ...any) {
		lines = append(lines, "  "+t.Local().Format(timeFormat)+"  "+fmt.Sprintf(format, args...))
	}
	if h.Folded {
		if h.Reason.Code != 0 {
			lines = append(lines, fmt.Sprintf("  rolled back because of %s", h.Reason.Code))
		}
		at(h.Ended, "ended: every participant has finished its part")
		return append(lines, "  the rest was dropped when the log was compacted")
	}
	asked := "prepare"
	if h.OnePhase {
		asked = "commit in one phase"
	}
	at(h.Prepared, "begun: %s asked to %s", wereAll(h.ids()), asked)
	switch h.Decision {
	case dtc.Committed:
		at(h.Decided, "votes: %s", h.votes())
		at(h.Decided, "decided: commit, forced to disk; from then on nothing could undo it")
	case dtc.RolledBack:
		at(h.Decided, "decided: roll back, because %s", because(h.Reason))
	case dtc.OutcomeUnknown, dtc.Heuristic:
		switch {
		case h.OnePhase, !h.Ended.IsZero() && h.Outcome == dtc.RolledBack:
		case !h.Ended.IsZero():
			at(h.Ended, "no decision was needed: no participant had changed anything")
		}
	}
	for _, r := range h.Resolutions {
		at(r.At, "an operator stated that the branch of %s ended %s: %s", r.Participant, words(r.Outcome), r.Reason)
	}
	if !h.Ended.IsZero() {
		at(h.Ended, "ended: every participant has finished its part")
		return lines
	}
	return append(lines, "  "+h.next())
}

func (h *History) name() string {
	if h.TxID == "" {
		return h.XID.String()
	}
	return string(h.TxID)
}

// verdict is the rest of the sentence that begins with the transaction's name.
func (h *History) verdict() string {
	switch {
	case !h.Ended.IsZero() && h.Outcome == dtc.Heuristic:
		return "was finished against its decision by somebody: it is not the same everywhere"
	case !h.Ended.IsZero() && h.Outcome == dtc.OutcomeUnknown:
		return "was forgotten: it ended long before anybody asked how, and its participant no longer knew"
	case !h.Ended.IsZero():
		return "was " + words(h.Outcome) + " everywhere"
	case h.Decision == dtc.Committed:
		return "is committed, and not finished everywhere: some participants may still be in doubt"
	case h.Decision == dtc.RolledBack:
		return "is rolled back, and not finished everywhere: some participants may still hold something"
	}
	return "is in doubt: it was begun, and no decision is in the log"
}

// next says what will become of an unfinished transaction.
func (h *History) next() string {
	who := listed(h.waiting(h.ids()))
	switch h.Decision {
	case dtc.Committed:
		who = listed(h.waiting(h.holders()))
		return fmt.Sprintf("not ended: commit goes to %s until each has answered, also after a restart", who)
	case dtc.RolledBack:
		if h.Held && h.Reason.Code == dtc.ReasonRecovered {
			return "not ended: a recovery hold covers it, so nobody is told to roll back until 'dtc log release' was run"
		}
		return fmt.Sprintf("not ended: rollback goes to %s until each has answered, also after a restart", who)
	case dtc.OutcomeUnknown, dtc.Heuristic:
	}
	if h.Held {
		return "in doubt: a recovery hold covers it, so it waits until the participants were compared with the log and 'dtc log release' was run"
	}
	if h.OnePhase {
		return fmt.Sprintf("in doubt: %s decides; it is asked what became of it until it answers, also after a restart", who)
	}
	if h.Later {
		return "in doubt: the coordinator that began it stopped before it decided, so it is being rolled back"
	}
	return "in doubt: if the coordinator is running it is waiting for votes; if not, the next start rolls it back"
}

func (h *History) ids() []string {
	var list []string
	for _, b := range h.Participants {
		list = append(list, b.Participant)
	}
	return list
}

// waiting leaves out those about whose branches an operator has said how they ended.
func (h *History) waiting(ids []string) []string {
	return slices.DeleteFunc(ids, func(id string) bool {
		return slices.ContainsFunc(h.Resolutions, func(r Resolution) bool { return r.Participant == id })
	})
}

// holders are those who voted commit: the others are finished.
func (h *History) holders() []string {
	var list []string
	for i, v := range h.Votes {
		if v == dtc.VoteCommit {
			list = append(list, h.Participants[i].Participant)
		}
	}
	return list
}

func (h *History) votes() string {
	var list []string
	for i, v := range h.Votes {
		list = append(list, h.Participants[i].Participant+" "+v.String())
	}
	return strings.Join(list, ", ")
}

// because puts a reason into words, with its code.
func because(r dtc.Reason) string {
	text := r.Code.String()
	if r.Participant != "" {
		text += " by " + r.Participant
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	return text
}

func words(o dtc.Outcome) string { return strings.ReplaceAll(o.String(), "_", " ") }

func wereAll(names []string) string {
	if len(names) == 1 {
		return names[0] + " was"
	}
	return listed(names) + " were"
}

// listed joins names: "a, b and c".
func listed(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	names = slices.Clone(names)
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

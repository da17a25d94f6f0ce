package dtchttp

import (
	"time"

	"github.com/dtc-project/dtc"
)

// newTransaction makes the document of a transaction.
func newTransaction(info dtc.TxInfo, remembered time.Time) Transaction {
	doc := Transaction{
		ID: string(info.TxID), XID: info.XID.String(), State: info.State, Held: info.Held,
		Branches: make([]TxBranch, 0, len(info.Branches)),
		Started:  newTime(info.Started), Decided: newTime(info.Decided), Ended: newTime(info.Ended),
		RememberedSince: newTime(remembered),
	}
	if info.Outcome != dtc.OutcomeUnknown {
		word := info.Outcome.String()
		doc.Outcome = &word
	}
	if yes := info.Outcome == dtc.Committed; yes || info.Outcome == dtc.RolledBack {
		doc.Committed = &yes
	}
	if info.Reason.Code != 0 {
		doc.Reason = &Reason{info.Reason.Code.String(), info.Reason.Participant, info.Reason.Message}
	}
	for _, b := range info.Branches {
		branch := TxBranch{
			Participant: b.Participant, State: b.State, Attempts: b.Attempts,
			LastError: b.LastError, NextAttempt: newTime(b.NextAttempt),
		}
		if b.Voted {
			word := b.Vote.String()
			branch.Vote = &word
		}
		doc.Branches = append(doc.Branches, branch)
	}
	return doc
}

// newTime returns a time for the wire; the zero time is none.
func newTime(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	at := Time(t)
	return &at
}

package dtchttp

import (
	"encoding/json"
	"time"
)

// Transaction is the document that describes a transaction on the wire.
type Transaction struct {
	ID    string `json:"id"` // empty for a branch that the sweep found and no log knows
	XID   string `json:"xid"`
	State string `json:"state"` // active, preparing, committing, rolling_back, committed, rolled_back or heuristic
	// Held says that a recovery hold covers it: the coordinator cannot know how it
	// ends until the hold is released.
	Held bool `json:"held,omitempty"`
	// Outcome is committed, rolled_back or heuristic, and nil while it is not known;
	// Committed is true, false, or nil for the last two.
	Outcome   *string    `json:"outcome"`
	Committed *bool      `json:"committed"`
	Reason    *Reason    `json:"reason"` // of a rollback
	Branches  []TxBranch `json:"branches"`
	Started   *Time      `json:"started"`
	Decided   *Time      `json:"decided"`
	Ended     *Time      `json:"ended"` // when every branch was finished
	// RememberedSince is from when on every finished transaction is remembered;
	// nil means that none was forgotten since the log was opened.
	RememberedSince *Time `json:"remembered_since"`
}

// Reason says why a transaction was rolled back.
type Reason struct {
	Code        string `json:"code"`
	Participant string `json:"participant"`
	Message     string `json:"message"`
}

// TxBranch is one participant's part of a [Transaction].
type TxBranch struct {
	Participant string `json:"participant"`
	// Vote is vote_commit, vote_abort or read_only, and nil before there is one.
	Vote *string `json:"vote"`
	// State is enlisted, preparing, prepared, read_only, aborted, committing,
	// committed, rolling_back, rolled_back, quarantined, heuristic_committed or
	// heuristic_rolled_back.
	State       string `json:"state"`
	Attempts    int    `json:"attempts"` // calls of the current phase, since the coordinator was started
	LastError   string `json:"last_error"`
	NextAttempt *Time  `json:"next_attempt"`
}

// ParticipantStatus describes a participant of the coordinator.
type ParticipantStatus struct {
	ID string `json:"id"`
	// Kind is http for a service at URL, postgres or mysql for a database there, go for
	// one in the coordinator's process, and empty for one that left the configuration and
	// still has branches.
	Kind    string `json:"kind"`
	URL     string `json:"url"` // without credentials
	Listing bool   `json:"listing"`
	State   string `json:"state"` // up, down or unknown
	// InDoubt is how many branches are not finished there, OldestInDoubt when the
	// oldest of them began.
	InDoubt       int   `json:"in_doubt"`
	OldestInDoubt *Time `json:"oldest_in_doubt"`
	// Orphans is how many branches it holds prepared that no transaction owns, as its last
	// listing says: they are being rolled back, or left alone because somebody must look.
	Orphans   int    `json:"orphans"`
	LastError string `json:"last_error"`
}

// Time is a time on the wire: RFC 3339 in UTC with milliseconds.
type Time time.Time

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format(partTimeLayout))
}

// UnmarshalJSON implements [json.Unmarshaler]; any RFC 3339 time is understood.
func (t *Time) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	*t = Time(at)
	return err
}

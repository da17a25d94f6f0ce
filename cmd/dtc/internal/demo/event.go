package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

// event is one step of the protocol as a [dtc.Trace] tells it. The child process
// sends its events to the parent as JSON, so that one story is told of both.
type event struct {
	Kind        kind          `json:"kind"`
	Tx          string        `json:"tx,omitempty"`
	Record      string        `json:"record,omitempty"`
	Participant string        `json:"participant,omitempty"`
	Verb        string        `json:"verb,omitempty"`
	Attempt     int           `json:"attempt,omitempty"`
	Vote        string        `json:"vote,omitempty"`
	Error       string        `json:"error,omitempty"`
	NoVote      bool          `json:"no_vote,omitempty"` // the prepare got no answer
	Took        time.Duration `json:"took,omitempty"`
	Wait        time.Duration `json:"wait,omitempty"`
	Outcome     string        `json:"outcome,omitempty"`
	Code        string        `json:"code,omitempty"`
	Records     int           `json:"records,omitempty"`
	Unfinished  int           `json:"unfinished,omitempty"`
}

type kind string

const (
	appended  kind = "appended"
	forced    kind = "forced"
	calling   kind = "calling"
	called    kind = "called"
	retrying  kind = "retrying"
	decided   kind = "decided"
	ended     kind = "ended"
	hazard    kind = "hazard"
	recovered kind = "recovered"
)

// traceTo returns a trace that hands every step to tell.
func traceTo(tell func(event)) *dtc.Trace {
	of := func(k kind, c dtc.TraceCall) event {
		return event{Kind: k, Tx: string(c.TxID), Participant: c.Participant, Verb: c.Verb, Attempt: c.Attempt}
	}
	return &dtc.Trace{
		Appended: func(tx dtc.TraceTx, record string) {
			tell(event{Kind: appended, Tx: string(tx.TxID), Record: record})
		},
		Forced: func(tx dtc.TraceTx, record string, took time.Duration, err error) {
			e := event{Kind: forced, Tx: string(tx.TxID), Record: record, Took: took}
			if err != nil {
				e.Error = err.Error()
			}
			tell(e)
		},
		Calling: func(c dtc.TraceCall) { tell(of(calling, c)) },
		Called: func(c dtc.TraceCall, vote dtc.Vote, err error, took time.Duration) {
			e := of(called, c)
			e.Took = took
			if c.Verb == "prepare" {
				e.Vote = vote.String()
				e.NoVote = noVote(err)
			}
			if err != nil {
				e.Error = err.Error()
			}
			tell(e)
		},
		Retrying: func(c dtc.TraceCall, wait time.Duration) {
			e := of(retrying, c)
			e.Wait = wait
			tell(e)
		},
		Decided: func(tx dtc.TraceTx, outcome dtc.Outcome, reason dtc.Reason) {
			tell(event{
				Kind: decided, Tx: string(tx.TxID), Outcome: outcome.String(),
				Code: reason.Code.String(), Participant: reason.Participant, Error: reason.Message,
			})
		},
		Ended: func(tx dtc.TraceTx, outcome dtc.Outcome) {
			tell(event{Kind: ended, Tx: string(tx.TxID), Outcome: outcome.String()})
		},
		Hazard: func(c dtc.TraceCall) { tell(of(hazard, c)) },
		Recovered: func(records, unfinished int, took time.Duration) {
			tell(event{Kind: recovered, Records: records, Unfinished: unfinished, Took: took})
		},
	}
}

// noVote reports whether a prepare got no answer, and will be asked again.
func noVote(err error) bool {
	return errors.Is(err, dtc.ErrNoAnswer) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// reporter returns a function that writes each event as a line of JSON. Its
// caller may be any goroutine.
func reporter(w io.Writer) func(event) {
	var mu sync.Mutex
	lines := json.NewEncoder(w)
	return func(e event) {
		mu.Lock()
		defer mu.Unlock()
		_ = lines.Encode(e) // who does not read it is not there any more
	}
}

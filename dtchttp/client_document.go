package dtchttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	"github.com/dtc-project/dtc"
)

// json returns the body of an answer that must be a whole JSON document.
func (a callAnswer) json() ([]byte, error) {
	media, _, err := mime.ParseMediaType(a.media)
	switch {
	case a.cut != nil:
		return nil, a.cut
	case err != nil || media != "application/json":
		return nil, fmt.Errorf("%s, and its content type is %q", a.statusText(), partShorten(a.media, 64))
	}
	return a.body, nil
}

// clientField is a member of an answer, and where it goes.
type clientField struct {
	name string
	to   any
}

// clientDecode reads members of an object by their exact names. Others are ignored: a
// later server may say more.
func clientDecode(text []byte, fields ...clientField) error {
	members, err := jsonMembers(text)
	if err != nil {
		return err
	}
	for _, f := range fields {
		value := members[f.name]
		if partNull(value) {
			continue
		}
		if err := json.Unmarshal(value, f.to); err != nil {
			return fmt.Errorf("%q is not understood", f.name)
		}
	}
	return nil
}

func clientTime(value json.RawMessage) (*Time, error) {
	if partNull(value) {
		return nil, nil
	}
	t := new(Time)
	if err := t.UnmarshalJSON(value); err != nil {
		return nil, err
	}
	return t, nil
}

// clientTransaction reads the document of a transaction. What decides has one reading
// only: a document that contradicts itself is none.
func clientTransaction(text []byte) (t Transaction, err error) {
	var reason, branches json.RawMessage
	err = clientDecode(text,
		clientField{"id", &t.ID}, clientField{"xid", &t.XID}, clientField{"state", &t.State}, clientField{"held", &t.Held},
		clientField{"outcome", &t.Outcome}, clientField{"committed", &t.Committed}, clientField{"reason", &reason},
		clientField{"branches", &branches}, clientField{"started", &t.Started}, clientField{"decided", &t.Decided},
		clientField{"ended", &t.Ended}, clientField{"remembered_since", &t.RememberedSince})
	if err != nil {
		return Transaction{}, err
	}
	if len(reason) > 0 {
		t.Reason = new(Reason)
		err = clientDecode(reason, clientField{"code", &t.Reason.Code},
			clientField{"participant", &t.Reason.Participant}, clientField{"message", &t.Reason.Message})
		if err != nil {
			return Transaction{}, fmt.Errorf("reason: %w", err)
		}
	}
	list, err := clientList(branches, controlMaxBranches)
	if err != nil {
		return Transaction{}, fmt.Errorf("branches: %w", err)
	}
	t.Branches = make([]TxBranch, len(list))
	for i, item := range list {
		b := &t.Branches[i]
		err := clientDecode(item, clientField{"participant", &b.Participant}, clientField{"vote", &b.Vote},
			clientField{"state", &b.State}, clientField{"attempts", &b.Attempts},
			clientField{"last_error", &b.LastError}, clientField{"next_attempt", &b.NextAttempt})
		if err != nil {
			return Transaction{}, fmt.Errorf("branches[%d]: %w", i, err)
		}
	}
	if err := t.check(); err != nil {
		return Transaction{}, err
	}
	return t, nil
}

// check says what a document that was received lacks.
func (t *Transaction) check() error {
	if _, err := dtc.ParseXID(t.XID); err != nil {
		return err
	}
	if t.State == "" {
		return errors.New("it says no state")
	}
	outcome, err := t.outcome()
	if err != nil {
		return err
	}
	committed, known := outcome == dtc.Committed, outcome == dtc.Committed || outcome == dtc.RolledBack
	if known != (t.Committed != nil) || known && *t.Committed != committed {
		return errors.New("outcome and committed do not say the same")
	}
	return nil
}

// outcome returns the outcome that a document tells.
func (t *Transaction) outcome() (dtc.Outcome, error) {
	if t.Outcome == nil {
		return dtc.OutcomeUnknown, nil
	}
	for _, o := range []dtc.Outcome{dtc.Committed, dtc.RolledBack, dtc.Heuristic} {
		if o.String() == *t.Outcome {
			return o, nil
		}
	}
	return dtc.OutcomeUnknown, fmt.Errorf("%q is no outcome", partShorten(*t.Outcome, 64))
}

// clientList returns the items of a list that is a part of valid JSON. More than so many
// are an error, and take no memory: what is read of an item is larger than its text.
func clientList(list json.RawMessage, most int) ([]json.RawMessage, error) {
	switch {
	case partNull(list):
		return nil, nil
	case list[0] != '[':
		return nil, errors.New("it is no list")
	}
	items := jsonItems(list, most+1)
	if len(items) > most {
		return nil, fmt.Errorf("it has more than %d items", most)
	}
	return items, nil
}

// result is what the library would have returned for a document with an outcome.
func (t *Transaction) result() (bool, error) {
	outcome, err := t.outcome()
	if err != nil {
		return false, err
	}
	switch outcome {
	case dtc.Committed:
		return true, nil
	case dtc.RolledBack:
		return false, &dtc.RollbackError{TxID: dtc.TxID(t.ID), Reason: t.reason()}
	case dtc.Heuristic:
		return false, t.heuristic()
	case dtc.OutcomeUnknown:
	}
	return false, fmt.Errorf("%w: %s is %s", dtc.ErrInDoubt, t.ID, t.State)
}

// reasons are the codes by their words.
var clientReasons = func() map[string]dtc.Code {
	m := map[string]dtc.Code{}
	for _, c := range []dtc.Code{
		dtc.ReasonVoteAbort, dtc.ReasonPrepareTimeout, dtc.ReasonUnreachable, dtc.ReasonParticipantError, dtc.ReasonCancelled,
		dtc.ReasonDeadline, dtc.ReasonShuttingDown, dtc.ReasonRecovered, dtc.ReasonForced,
	} {
		m[c.String()] = c
	}
	return m
}()

func (t *Transaction) reason() dtc.Reason {
	if t.Reason == nil {
		return dtc.Reason{}
	}
	r := dtc.Reason{Code: clientReasons[t.Reason.Code], Participant: t.Reason.Participant, Message: t.Reason.Message}
	if r.Code == 0 { // of a later server
		r.Message = t.Reason.Code + ": " + r.Message
	}
	return r
}

func (t *Transaction) heuristic() error {
	e := &dtc.HeuristicError{TxID: dtc.TxID(t.ID)}
	for _, b := range t.Branches {
		switch b.State {
		case "heuristic_committed":
			e.Decision = dtc.RolledBack
		case "heuristic_rolled_back":
			e.Decision = dtc.Committed
		default:
			continue
		}
		e.Participants = append(e.Participants, b.Participant)
	}
	return e
}

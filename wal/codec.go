package wal

import (
	"encoding/binary"
	"fmt"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// MaxText is the longest message of an abort and the longest reason of a
// resolution, in bytes. A record with a longer one is refused.
const MaxText = 1 << 16

// maxRuns bounds the runs of one record: with the longest numbers that is half of
// the largest batch.
const maxRuns = 1 << 14

// appendRecord appends kind and body of r to b. If r cannot be written it says
// why, and b is to be thrown away.
func appendRecord(b []byte, r txlog.Record) ([]byte, error) {
	switch r := r.(type) {
	case *txlog.Incarnation:
		b = append(b, byte(txlog.KindIncarnation))
		b = binary.AppendUvarint(b, uint64(r.Incarnation.Number))
		b = binary.LittleEndian.AppendUint32(b, r.Incarnation.Nonce)
		return binary.AppendUvarint(b, r.Through), nil

	case *txlog.Block:
		b = append(b, byte(txlog.KindBlock))
		b = binary.AppendUvarint(b, uint64(r.Incarnation))
		return binary.AppendUvarint(b, r.Through), nil

	case *txlog.Prepare:
		return appendPrepare(b, r)

	case *txlog.Commit:
		if len(r.Votes) > protocol.MaxBranches {
			return b, tooMany("votes", len(r.Votes))
		}
		b = append(b, byte(txlog.KindCommit))
		b = appendRef(b, r.Ref)
		b = binary.AppendUvarint(b, uint64(len(r.Votes)))
		for _, v := range r.Votes {
			if v > protocol.VoteReadOnly {
				return b, fmt.Errorf("%v is no vote", v)
			}
			b = append(b, byte(v))
		}
		return b, nil

	case *txlog.Abort:
		if r.Reason.Code > protocol.ReasonForced {
			return b, fmt.Errorf("%v is no reason", r.Reason.Code)
		}
		b = append(b, byte(txlog.KindAbort))
		b = appendRef(b, r.Ref)
		b = append(b, byte(r.Reason.Code))
		b, err := appendText(b, r.Reason.Participant, protocol.MaxParticipantID, "participant id")
		if err != nil {
			return b, err
		}
		return appendText(b, r.Reason.Message, MaxText, "message")

	case *txlog.End:
		if r.Outcome > protocol.Heuristic {
			return b, fmt.Errorf("%v is no outcome", r.Outcome)
		}
		b = append(b, byte(txlog.KindEnd))
		b = appendRef(b, r.Ref)
		return append(b, byte(r.Outcome)), nil

	case *txlog.Resolution:
		if !resolves(r.Outcome) {
			return b, fmt.Errorf("a resolution says committed or rolled_back, not %v", r.Outcome)
		}
		b = append(b, byte(txlog.KindResolution))
		b = appendRef(b, r.Ref)
		b, err := appendText(b, r.Participant, protocol.MaxParticipantID, "participant id")
		if err != nil {
			return b, err
		}
		b = append(b, byte(r.Outcome))
		return appendText(b, r.Reason, MaxText, "reason")

	case *txlog.Hold:
		b = append(b, byte(txlog.KindHold))
		b = binary.AppendUvarint(b, uint64(r.Through))
		return appendText(b, r.Reason, MaxText, "reason")

	case *txlog.Release:
		return appendText(append(b, byte(txlog.KindRelease)), r.Reason, MaxText, "reason")

	default:
		return b, fmt.Errorf("this log cannot hold a record of type %T", r)
	}
}

// appendCheckpointed is appendRecord for checkpoints, which hold kinds that nobody
// can add to a log.
func appendCheckpointed(b []byte, r txlog.Record) ([]byte, error) {
	switch r := r.(type) {
	case *txlog.Logged:
		b = append(b, byte(txlog.KindLogged))
		b = binary.AppendUvarint(b, uint64(r.Incarnation))
		b = binary.AppendUvarint(b, uint64(len(r.Runs)))
		for _, run := range r.Runs {
			b = binary.AppendUvarint(b, run.First)
			b = binary.AppendUvarint(b, run.Last)
		}
		return b, nil

	case *txlog.Horizon:
		b = append(b, byte(txlog.KindHorizon))
		return le.AppendUint64(b, uint64(r.At.UnixNano())), nil

	case *txlog.Outcome:
		b = append(b, byte(txlog.KindOutcome))
		b = appendRef(b, r.Ref)
		b = append(b, r.Key[:]...)
		b = append(b, r.Fingerprint[:]...)
		b = append(b, byte(r.Outcome), byte(r.Code))
		return le.AppendUint64(b, uint64(r.At.UnixNano())), nil

	default:
		return appendRecord(b, r)
	}
}

func appendPrepare(b []byte, r *txlog.Prepare) ([]byte, error) {
	if len(r.Branches) > protocol.MaxBranches {
		return b, tooMany("branches", len(r.Branches))
	}
	if r.OnePhase && len(r.Branches) != 1 {
		return b, fmt.Errorf("a transaction of %d branches is none in one phase", len(r.Branches))
	}
	b = append(b, byte(r.Kind()))
	b = appendRef(b, r.Ref)
	b, err := appendText(b, r.TxID, protocol.MaxTxID, "transaction id")
	if err != nil {
		return b, err
	}
	b = append(b, r.Fingerprint[:]...)
	b = binary.AppendUvarint(b, uint64(len(r.Branches)))
	for i := range r.Branches {
		plain := byte(0)
		if r.Branches[i].Plain {
			plain = 1
		}
		b = append(b, plain)
		if b, err = appendText(b, r.Branches[i].Participant, protocol.MaxParticipantID, "participant id"); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendRef(b []byte, r txlog.Ref) []byte {
	b = binary.AppendUvarint(b, uint64(r.Incarnation))
	return binary.AppendUvarint(b, r.Seq)
}

func appendText(b []byte, s string, most int, what string) ([]byte, error) {
	if len(s) > most {
		return b, fmt.Errorf("%s of %d bytes is longer than %d", what, len(s), most)
	}
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...), nil
}

func tooMany(what string, n int) error {
	return fmt.Errorf("%d %s are more than %d", n, what, protocol.MaxBranches)
}

func resolves(o protocol.Outcome) bool {
	return o == protocol.Committed || o == protocol.RolledBack
}

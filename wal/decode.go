package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// decodePayload calls fn for each record of a batch's payload. It accepts exactly
// what the encoder writes, so that a record has one spelling.
func decodePayload(payload []byte, count uint32, decode func([]byte) (txlog.Record, error), fn func(txlog.Record) error) error {
	for i := range count {
		d := decoder{b: payload}
		body := d.bytes(d.uvarint())
		if d.failed != nil {
			return fmt.Errorf("record %d: %w", i+1, d.failed)
		}
		payload = d.b
		r, err := decode(body)
		if err != nil {
			return fmt.Errorf("record %d: %w", i+1, err)
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	if len(payload) > 0 {
		return fmt.Errorf("%d bytes behind the last record", len(payload))
	}
	return nil
}

// decodeRecord decodes a record of a segment.
func decodeRecord(b []byte) (txlog.Record, error) {
	if len(b) > 0 && txlog.Kind(b[0]) >= txlog.KindLogged && txlog.Kind(b[0]) <= txlog.KindOutcome {
		return nil, fmt.Errorf("%v stands in checkpoints only", txlog.Kind(b[0]))
	}
	return decodeCheckpointed(b)
}

// decodeCheckpointed decodes a record of a checkpoint, which may be of any kind.
func decodeCheckpointed(b []byte) (txlog.Record, error) {
	if len(b) == 0 {
		return nil, errors.New("empty record")
	}
	d := decoder{b: b[1:]}
	var r txlog.Record
	switch kind := txlog.Kind(b[0]); kind {
	case txlog.KindIncarnation:
		r = &txlog.Incarnation{
			Incarnation: protocol.Incarnation{Number: d.uint32(), Nonce: d.fixed32()},
			Through:     d.uvarint(),
		}
	case txlog.KindBlock:
		r = &txlog.Block{Incarnation: d.uint32(), Through: d.uvarint()}
	case txlog.KindPrepare, txlog.KindOnePhase:
		p := d.prepare()
		if p.OnePhase = kind == txlog.KindOnePhase; p.OnePhase && len(p.Branches) != 1 {
			d.fail("one phase with %d branches", len(p.Branches))
		}
		r = p
	case txlog.KindCommit:
		r = d.commit()
	case txlog.KindAbort:
		r = &txlog.Abort{Ref: d.ref(), Reason: protocol.Reason{
			Code:        protocol.Code(d.upTo(uint8(protocol.ReasonForced), "reason")),
			Participant: d.text(protocol.MaxParticipantID),
			Message:     d.text(MaxText),
		}}
	case txlog.KindEnd:
		r = &txlog.End{Ref: d.ref(), Outcome: d.outcome()}
	case txlog.KindResolution:
		res := &txlog.Resolution{Ref: d.ref(), Participant: d.text(protocol.MaxParticipantID), Outcome: d.outcome()}
		if !resolves(res.Outcome) {
			d.fail("a resolution of outcome %v", res.Outcome)
		}
		res.Reason = d.text(MaxText)
		r = res
	case txlog.KindLogged:
		r = d.logged()
	case txlog.KindHorizon:
		r = &txlog.Horizon{At: d.time()}
	case txlog.KindOutcome:
		out := &txlog.Outcome{Ref: d.ref()}
		copy(out.Key[:], d.bytes(16))
		copy(out.Fingerprint[:], d.bytes(16))
		out.Outcome, out.Code = d.outcome(), protocol.Code(d.upTo(uint8(protocol.ReasonForced), "reason"))
		out.At = d.time()
		r = out
	case txlog.KindHold:
		r = &txlog.Hold{Through: d.uint32(), Reason: d.text(MaxText)}
	case txlog.KindRelease:
		r = &txlog.Release{Reason: d.text(MaxText)}
	default:
		return nil, fmt.Errorf("unknown %v", kind)
	}
	if d.failed == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	if d.failed != nil {
		return nil, fmt.Errorf("%v: %w", r.Kind(), d.failed)
	}
	return r, nil
}

// decoder takes values off the front of b. After the first failure it returns
// zero values, so that callers check once.
type decoder struct {
	b      []byte
	failed error
}

func (d *decoder) fail(format string, args ...any) {
	if d.failed == nil {
		d.failed = fmt.Errorf(format, args...)
	}
	d.b = nil
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("%d bytes wanted, %d left", n, len(d.b))
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) upTo(most uint8, what string) uint8 {
	b := d.byte()
	if b > most {
		d.fail("%s of number %d", what, b)
	}
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.fail("number %d is too large", v)
	}
	return uint32(v)
}

func (d *decoder) fixed32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) time() time.Time {
	b := d.bytes(8)
	if b == nil {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(b)))
}

func (d *decoder) text(most uint64) string {
	n := d.uvarint()
	if n > most {
		d.fail("text of %d bytes", n)
	}
	return string(d.bytes(n))
}

func (d *decoder) ref() txlog.Ref { return txlog.Ref{Incarnation: d.uint32(), Seq: d.uvarint()} }

func (d *decoder) outcome() protocol.Outcome {
	return protocol.Outcome(d.upTo(uint8(protocol.Heuristic), "outcome"))
}

// count reads how many items follow, of at least size bytes each: no damaged
// number makes the decoder allocate more than a few times its input.
func (d *decoder) count(size int) int {
	return d.countUpTo(protocol.MaxBranches, size)
}

func (d *decoder) countUpTo(most uint64, size int) int {
	n := d.uvarint()
	if n > most || n > uint64(len(d.b)/size) {
		d.fail("count of %d", n)
		return 0
	}
	return int(n)
}

func (d *decoder) logged() *txlog.Logged {
	r := &txlog.Logged{Incarnation: d.uint32()}
	if n := d.countUpTo(maxRuns, 2); n > 0 {
		r.Runs = make([]txlog.Run, n)
	}
	next := uint64(0) // the lowest that the next run may begin with
	for i := range r.Runs {
		run := txlog.Run{First: d.uvarint(), Last: d.uvarint()}
		if d.failed == nil && (run.First < next || run.Last < run.First || run.Last > 1<<64-3) {
			d.fail("runs out of order")
		}
		r.Runs[i], next = run, run.Last+2
	}
	return r
}

func (d *decoder) commit() *txlog.Commit {
	r := &txlog.Commit{Ref: d.ref()}
	if n := d.count(1); n > 0 {
		r.Votes = make([]protocol.Vote, n)
		for i := range r.Votes {
			r.Votes[i] = protocol.Vote(d.upTo(uint8(protocol.VoteReadOnly), "vote"))
		}
	}
	return r
}

func (d *decoder) prepare() *txlog.Prepare {
	r := &txlog.Prepare{Ref: d.ref(), TxID: d.text(protocol.MaxTxID)}
	copy(r.Fingerprint[:], d.bytes(uint64(len(r.Fingerprint))))
	if n := d.count(2); n > 0 {
		r.Branches = make([]txlog.Branch, n)
		for i := range r.Branches {
			r.Branches[i].Plain = d.upTo(1, "flag") == 1
			r.Branches[i].Participant = d.text(protocol.MaxParticipantID)
		}
	}
	return r
}

package compare

import (
	"bytes"
	"slices"

	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/txlog"
)

// Line returns a record of the first decoder as the line of the second one.
func Line(record txlog.Record) string { return translate(record).String() }

// translate says in the second decoder's words what the first one has read.
func translate(record txlog.Record) *logcheck.Record {
	r := logcheck.Record{Kind: logcheck.Kind(record.Kind())}
	ref := func(ref txlog.Ref) { r.Number, r.Seq = ref.Incarnation, ref.Seq }
	switch rec := record.(type) {
	case *txlog.Incarnation:
		r.Number, r.Nonce, r.Through = rec.Incarnation.Number, rec.Incarnation.Nonce, rec.Through
	case *txlog.Block:
		r.Number, r.Through = rec.Incarnation, rec.Through
	case *txlog.Prepare:
		ref(rec.Ref)
		r.Tx, r.Fingerprint = rec.TxID, rec.Fingerprint
		for _, b := range rec.Branches {
			r.Branches = append(r.Branches, logcheck.Branch(b))
		}
	case *txlog.Commit:
		ref(rec.Ref)
		for _, v := range rec.Votes {
			r.Votes = append(r.Votes, byte(v))
		}
	case *txlog.Abort:
		ref(rec.Ref)
		r.Code, r.Participant, r.Text = byte(rec.Reason.Code), rec.Reason.Participant, rec.Reason.Message
	case *txlog.End:
		ref(rec.Ref)
		r.Outcome = byte(rec.Outcome)
	case *txlog.Resolution:
		ref(rec.Ref)
		r.Participant, r.Outcome, r.Text = rec.Participant, byte(rec.Outcome), rec.Reason
	case *txlog.Logged:
		r.Number = rec.Incarnation
		for _, run := range rec.Runs {
			r.Runs = append(r.Runs, logcheck.Run(run))
		}
	case *txlog.Horizon:
		r.Time = rec.At.UnixNano()
	case *txlog.Outcome:
		ref(rec.Ref)
		r.Key, r.Fingerprint, r.Outcome, r.Code, r.Time = rec.Key, rec.Fingerprint, byte(rec.Outcome), byte(rec.Code), rec.At.UnixNano()
	case *txlog.Hold:
		r.Number, r.Text = rec.Through, rec.Reason
	case *txlog.Release:
		r.Text = rec.Reason
	}
	return &r
}

// same compares two records without writing their lines, which is most of the
// time that a comparison takes.
func same(a, b *logcheck.Record) bool {
	return a.Kind == b.Kind && a.Number == b.Number && a.Seq == b.Seq && a.Nonce == b.Nonce && a.Through == b.Through &&
		a.Tx == b.Tx && a.Fingerprint == b.Fingerprint && a.Key == b.Key && slices.Equal(a.Branches, b.Branches) &&
		bytes.Equal(a.Votes, b.Votes) && a.Code == b.Code && a.Participant == b.Participant && a.Outcome == b.Outcome &&
		a.Text == b.Text && slices.Equal(a.Runs, b.Runs) && a.Time == b.Time
}

package txlog

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// Ref names a transaction within its log.
type Ref struct {
	Incarnation uint32 // the number of the incarnation that began it
	Seq         uint64
}

// String returns "<incarnation>.<sequence>".
func (r Ref) String() string { return fmt.Sprintf("%d.%d", r.Incarnation, r.Seq) }

// Compare orders the references of one log: by incarnation, then sequence.
func (r Ref) Compare(s Ref) int {
	return cmp.Or(cmp.Compare(r.Incarnation, s.Incarnation), cmp.Compare(r.Seq, s.Seq))
}

// Record is one entry of a log: a pointer to one of the record types of this
// package.
type Record interface {
	// Kind returns the record's kind, which is also its first byte on disk.
	Kind() Kind
}

// Kind tells record types apart. The numbers are part of the format and are
// never used again for something else.
type Kind uint8

// The kinds of records.
const (
	KindIncarnation Kind = 1
	KindBlock       Kind = 2
	KindPrepare     Kind = 3
	KindCommit      Kind = 4
	KindAbort       Kind = 5
	KindEnd         Kind = 6
	KindResolution  Kind = 7
	KindLogged      Kind = 8
	KindHorizon     Kind = 9
	KindOutcome     Kind = 10
	KindHold        Kind = 11
	KindRelease     Kind = 12
	KindOnePhase    Kind = 13
)

var kindNames = [...]string{
	1: "incarnation", 2: "block", 3: "prepare", 4: "commit", 5: "abort",
	6: "end", 7: "resolution", 8: "logged", 9: "horizon", 10: "outcome",
	11: "hold", 12: "release", 13: "one_phase",
}

// String returns the kind's name in lower case, as `dtc log dump` prints it.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Incarnation is forced at every opening, before the first XID of it is used. It
// reserves the sequences 1 to Through.
type Incarnation struct {
	Incarnation protocol.Incarnation
	Through     uint64
}

// Block reserves the sequences up to Through for the current incarnation. None
// of them is used before the record is durable.
type Block struct {
	Incarnation uint32
	Through     uint64
}

// Prepare says that prepares are about to leave, and to whom. It is appended
// before the first one does, and forced if a branch is plain. With OnePhase it says that
// the only branch is about to be asked to commit in one phase, and is not forced.
type Prepare struct {
	Ref  Ref
	TxID string
	// Fingerprint decides whether a repeated TxID is the same request. It is
	// zero for a transaction grown by code, where a repeated id joins by id
	// alone.
	Fingerprint [16]byte
	Branches    []Branch
	OnePhase    bool
}

// Branch is one participant's part of a transaction.
type Branch struct {
	Participant string
	// Plain says that the participant could not list what it holds in doubt
	// when the transaction began: only the log knows of this branch.
	Plain bool
}

// Commit is the decision to commit, with the votes it rests on, one for each
// branch of the prepare record and in its order. It is always forced.
type Commit struct {
	Ref   Ref
	Votes []protocol.Vote
}

// Abort is the decision to roll back. It is never forced.
type Abort struct {
	Ref    Ref
	Reason protocol.Reason
}

// End says that every branch is finished. It is never forced: a lost end makes
// recovery finish the branches again, which changes nothing.
type End struct {
	Ref     Ref
	Outcome protocol.Outcome
}

// Resolution is an operator's statement of how one branch ended. It is always
// forced.
type Resolution struct {
	Ref         Ref
	Participant string
	Outcome     protocol.Outcome // Committed or RolledBack
	Reason      string
}

// Logged says for which transactions of an incarnation the log once held a prepare
// record, and that they have ended. A store that compacts its log writes it in
// their place; a coordinator never does. There may be several for an incarnation.
type Logged struct {
	Incarnation uint32
	Runs        []Run // ascending, with a gap between any two
}

// Run is the sequences First to Last.
type Run struct{ First, Last uint64 }

// Horizon says that every transaction that ended after At is still remembered. It
// is written by a store that has dropped outcomes when it compacted its log.
type Horizon struct{ At time.Time }

// Outcome says how a transaction ended, in place of all its other records. It is
// written by a store that compacts its log.
type Outcome struct {
	Ref         Ref
	Key         [16]byte // KeyOf its TxID
	Fingerprint [16]byte
	Outcome     protocol.Outcome
	Code        protocol.Code // why it was rolled back
	At          time.Time     // when it ended
}

// Hold says that the log may not be the whole truth about the incarnations up to
// this number: nothing of them is presumed until a [Release]. It is forced, or
// written by a store that finds itself copied.
type Hold struct {
	Through uint32 // the number of an incarnation
	Reason  string
}

// Release ends every hold before it, by an operator's word. It is always forced.
type Release struct{ Reason string }

// KeyOf returns the key by which the outcome of an id is remembered: a short id is
// its own key, a longer one is hashed. The last byte keeps the two apart.
func KeyOf(id string) (k [16]byte) {
	if len(id) < len(k) {
		copy(k[:], id)
		k[15] = byte(len(id))
		return k
	}
	sum := sha256.Sum256([]byte(id))
	copy(k[:], sum[:])
	k[15] |= 0x80
	return k
}

// Kind implements [Record].
func (*Incarnation) Kind() Kind { return KindIncarnation }

// Kind implements [Record].
func (*Block) Kind() Kind { return KindBlock }

// Kind implements [Record]. It is KindPrepare or KindOnePhase.
func (r *Prepare) Kind() Kind {
	if r.OnePhase {
		return KindOnePhase
	}
	return KindPrepare
}

// Kind implements [Record].
func (*Commit) Kind() Kind { return KindCommit }

// Kind implements [Record].
func (*Abort) Kind() Kind { return KindAbort }

// Kind implements [Record].
func (*End) Kind() Kind { return KindEnd }

// Kind implements [Record].
func (*Resolution) Kind() Kind { return KindResolution }

// Kind implements [Record].
func (*Logged) Kind() Kind { return KindLogged }

// Kind implements [Record].
func (*Horizon) Kind() Kind { return KindHorizon }

// Kind implements [Record].
func (*Outcome) Kind() Kind { return KindOutcome }

// Kind implements [Record].
func (*Hold) Kind() Kind { return KindHold }

// Kind implements [Record].
func (*Release) Kind() Kind { return KindRelease }

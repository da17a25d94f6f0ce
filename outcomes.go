package dtc

import (
	"crypto/sha256"
	"time"

	"github.com/dtc-project/dtc/txlog"
)

// remembered is what is kept of a finished transaction.
type remembered struct {
	outcome     Outcome
	code        Code
	fingerprint [16]byte
	ref         txlog.Ref
	at          time.Time
}

// result returns what Execute returns for a transaction that ended earlier.
func (r *remembered) result(id TxID) (bool, error) {
	switch r.outcome {
	case Committed:
		return true, nil
	case RolledBack:
		return false, &RollbackError{TxID: id, Reason: Reason{Code: r.code, Message: "it ended earlier"}}
	case Heuristic:
		return false, &HeuristicError{TxID: id}
	case OutcomeUnknown:
	}
	return false, ErrInDoubt
}

// outcomes remembers how transactions ended, the latest ones only. An id that is
// not remembered is unknown, and never guessed. It is guarded by c.mu.
type outcomes struct {
	keep    time.Duration
	limit   int
	ring    []outcomeEntry // in the order in which they ended
	first   int            // the oldest, once the ring is full
	byID    map[[16]byte]int32
	dropped time.Time // when the youngest forgotten one had ended
}

type outcomeEntry struct {
	key [16]byte // 16 bytes of SHA-256 of the id
	remembered
}

func newOutcomes(limit int, keep time.Duration) *outcomes {
	return &outcomes{keep: keep, limit: limit, byID: make(map[[16]byte]int32)}
}

func outcomeKey(id TxID) (k [16]byte) {
	sum := sha256.Sum256([]byte(id))
	copy(k[:], sum[:])
	return k
}

func (o *outcomes) len() int { return len(o.byID) }

func (o *outcomes) add(id TxID, r remembered) {
	e := outcomeEntry{outcomeKey(id), r}
	at := len(o.ring)
	if at < o.limit {
		o.ring = append(o.ring, e)
	} else {
		at = o.first
		o.first = (o.first + 1) % o.limit
		if old := &o.ring[at]; o.byID[old.key] == int32(at) {
			delete(o.byID, old.key)
			o.dropped = old.at
		}
		o.ring[at] = e
	}
	o.byID[e.key] = int32(at)
}

func (o *outcomes) get(id TxID, now time.Time) *remembered {
	if len(o.byID) == 0 {
		return nil
	}
	at, ok := o.byID[outcomeKey(id)]
	if !ok || now.Sub(o.ring[at].at) > o.keep {
		return nil
	}
	r := o.ring[at].remembered
	return &r
}

// decision returns the outcome of a transaction by its place in the log.
func (o *outcomes) decisions(want map[txlog.Ref]Outcome) {
	for i := range o.ring {
		if _, ok := want[o.ring[i].ref]; ok {
			want[o.ring[i].ref] = o.ring[i].outcome
		}
	}
}

// since returns from when on every outcome is remembered; the zero time means
// that none was forgotten since the log was opened.
func (o *outcomes) since(now time.Time) time.Time {
	if horizon := now.Add(-o.keep); horizon.After(o.dropped) && len(o.ring) > 0 && o.ring[o.first].at.Before(horizon) {
		return horizon
	}
	return o.dropped
}

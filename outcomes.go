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
	at          int64 // nanoseconds since 1970, by the wall clock
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
	dropped int64 // when the youngest forgotten one had ended
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

func (o *outcomes) add(key [16]byte, r remembered) {
	e := outcomeEntry{key, r}
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

func (o *outcomes) get(key [16]byte, now time.Time) *remembered {
	at, ok := o.byID[key]
	if !ok || now.UnixNano()-o.ring[at].at > int64(o.keep) {
		return nil
	}
	r := o.ring[at].remembered
	return &r
}

// decisions fills in the outcomes of transactions by their place in the log.
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
	since := o.dropped
	if horizon := now.Add(-o.keep).UnixNano(); len(o.ring) > 0 && o.ring[o.first].at < horizon {
		since = max(since, horizon)
	}
	if since == 0 {
		return time.Time{}
	}
	return time.Unix(0, since)
}

package dtc

import (
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/txlog"
)

// remembered is what is kept of a finished transaction.
type remembered struct {
	outcome     Outcome
	code        Code
	fingerprint [16]byte
	ref         txlog.Ref
	at          int64 // nanoseconds since 1970, by the wall clock; see steady
}

// result returns what Execute returns for a transaction that ended earlier.
func (r *remembered) result(id TxID) (bool, error) {
	switch r.outcome {
	case Committed:
		return true, nil
	case RolledBack:
		return false, &RollbackError{TxID: id, Reason: Reason{Code: r.code, Message: endedEarlier}}
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
	pages   []*outcomePage // a ring, in the order in which they ended
	n       int            // entries in it
	first   int            // the oldest, once the ring is full
	byKey   outcomeIndex
	dropped int64 // when the youngest forgotten one had ended
	opened  time.Time
}

// outcomePage keeps the ring from being copied when it grows: that would hold up
// every transaction.
type outcomePage [1024]outcomeEntry

func (o *outcomes) at(i int) *outcomeEntry {
	return &o.pages[i/len(outcomePage{})][i%len(outcomePage{})]
}

// key returns the key that stands at a place in the ring.
func (o *outcomes) key(i int) *[16]byte { return &o.at(i).key }

type outcomeEntry struct {
	key [16]byte // see outcomeKey
	remembered
}

func newOutcomes(limit int, keep time.Duration) *outcomes {
	return &outcomes{keep: keep, limit: limit, byKey: newOutcomeIndex(), opened: time.Now()}
}

// steady returns a time of this process by the wall clock as it ran when the log was
// opened: who sets the clock forward makes nothing forgotten.
func (o *outcomes) steady(t time.Time) time.Time { return o.opened.Add(t.Sub(o.opened)) }

// outcomeKey returns the key of an id.
func outcomeKey(id TxID) [16]byte { return txlog.KeyOf(string(id)) }

func (o *outcomes) len() int { return o.byKey.n }

func (o *outcomes) add(key [16]byte, r remembered) { o.put(&key, o.byKey.hash(&key), &r) }

// put is add for whoever has the key's hash.
func (o *outcomes) put(key *[16]byte, hash uint32, r *remembered) {
	at := o.n
	if at < o.limit {
		if at == len(o.pages)*len(outcomePage{}) {
			o.pages = append(o.pages, new(outcomePage))
		}
		o.n++
	} else {
		at = o.first
		o.first = (o.first + 1) % o.limit
		old := o.at(at)
		if slot, place, ok := o.byKey.find(&old.key, o.byKey.hash(&old.key), o.key); ok && place == at {
			o.byKey.remove(slot)
			o.dropped = old.remembered.at
			failpoint.Hit(failpoint.OutcomeForgotten)
		}
	}
	*o.at(at) = outcomeEntry{*key, *r}
	o.byKey.set(key, hash, at, o.key)
}

// look returns what is remembered under a key with that hash, or nil.
func (o *outcomes) look(key *[16]byte, hash uint32, now time.Time) *remembered {
	_, at, ok := o.byKey.find(key, hash, o.key)
	if canary.On(canary.ForgetOutcomesEarly) {
		now = now.Add(o.keep / 2)
	}
	if !ok || o.steady(now).UnixNano()-o.at(at).remembered.at > int64(o.keep) {
		return nil
	}
	r := o.at(at).remembered
	return &r
}

// decisions fills in the outcomes of transactions by their place in the log.
func (o *outcomes) decisions(want map[txlog.Ref]Outcome) {
	for i := range o.n {
		e := o.at(i)
		if _, ok := want[e.ref]; ok {
			want[e.ref] = e.outcome
		}
	}
}

// within looks for a place in the log among the entries of one page, and reports
// whether there are later pages.
func (o *outcomes) within(from int, ref txlog.Ref) (outcome Outcome, more bool) {
	to := min(from+len(outcomePage{}), o.n)
	for i := from; i < to; i++ {
		if e := o.at(i); e.ref == ref {
			outcome = e.outcome
		}
	}
	return outcome, to < o.n
}

// since returns from when on every outcome is remembered; the zero time means
// that none was forgotten since the log was opened.
func (o *outcomes) since(now time.Time) time.Time {
	since := o.dropped
	if horizon := o.steady(now).Add(-o.keep).UnixNano(); o.n > 0 && o.at(o.first).remembered.at < horizon {
		since = max(since, horizon)
	}
	if since == 0 {
		return time.Time{}
	}
	// Who asks reads the clock as it is now: what was just forgotten ended later by it if it
	// was set forward.
	return time.Unix(0, since+max(0, now.UnixNano()-o.steady(now).UnixNano()))
}

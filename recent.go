package dtc

import "github.com/dtc-project/dtc/txlog"

// recent keeps the latest finished transactions as they were. It is guarded by c.mu.
//
// It holds only what no other transaction is made of again; see memory.go.
type recent struct {
	limit int
	ring  []*txn
	next  int // where the next one goes, once the ring is full
	byID  map[TxID]*txn
}

// add keeps a transaction that has ended. The caller holds t.mu as well.
func (r *recent) add(t *txn) {
	if r.limit == 0 || t.id == "" || !t.sent && t.whole != nil {
		return
	}
	if r.byID == nil {
		r.byID = make(map[TxID]*txn)
	}
	if len(r.ring) < r.limit {
		r.ring = append(r.ring, t)
	} else {
		if old := r.ring[r.next]; r.byID[old.id] == old {
			delete(r.byID, old.id)
		}
		r.ring[r.next] = t
		r.next = (r.next + 1) % r.limit
	}
	r.byID[t.id] = t
}

// find returns the transaction of that id and place in the log, if it is kept.
func (r *recent) find(id TxID, ref txlog.Ref) *txn {
	if t := r.byID[id]; t != nil && t.ref() == ref {
		return t
	}
	return nil
}

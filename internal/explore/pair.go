package explore

import "github.com/dtc-project/dtc/internal/protocol"

// PairRules says how large a world of two transactions is: see "The world of
// two" in the package comment.
type PairRules struct {
	At       [2]uint8 // at how many participants each transaction has a branch, one or two
	Crashes  uint8    // of the coordinator
	Restores uint8    // how many of them bring back an older copy of the log
	SameID   bool     // the second one is the first one's request, repeated
	NoHold   bool     // a mistake: nothing is held after a restore

	Without reduction // the reductions not to use, of oblivion and listingNow

	only string // the invariant to look for, if not all
}

func (r *PairRules) reduces(by reduction) bool { return r.Without&by == 0 }

// pair is one state of a world of two transactions. Like world it is copied for
// every step.
type pair struct {
	run [2]pairRun
	at  [2]place

	log      [maxEntries]entry // in order
	n        uint8             // entries in it
	durable  uint8             // how many of them are synced
	openings uint8             // how many there have been, also of a log that was lost
	number   [maxOpenings]uint8
	next     uint8 // the next sequence of this opening

	crashes, restores uint8
	hold              uint8 // the number through which nothing is presumed, or 0
	released          uint8 // the number through which a hold was let go
}

// pairRun is one transaction, and what was heard of it.
type pairRun struct {
	tx        *protocol.Tx // nil unless it is live
	begun     bool
	opening   uint8 // in which it began
	seq       uint8
	recovered bool // the log has brought it back
	parked    bool // and a hold keeps it as it was found
	forced    bool // it waits for the sync of its decision
	decided   bool // for ever: a log has durably held its decision to commit
	logged    bool // the log has held it in an earlier opening, and knows that
	lost      bool // the log has dropped it, or it is a copy that never held its end
	told      protocol.Outcome
	part      [2]part
}

// part is a branch: the participant's row, the requests ever sent, and what must
// not be forgotten about it.
type part struct {
	row       row
	sent      messages
	committed bool // for ever, also when the row is gone
	undone    bool // likewise: a rollback took effect
	orphan    bool // a crash left it prepared and no live transaction owns it
	adopted   bool // the sweep rolls it back
}

// place is a participant, and what the coordinator knows of it.
type place struct {
	low     uint8 // the transactions below its low water, as bits
	lowSent uint8 // such sets that were ever sent, as bits
	listing bool  // a listing was taken and not looked up yet
	listed  uint8 // the transactions in it, as bits
	swept   bool
}

// entry is a record of the log, with the opening or the transaction it is about.
type entry uint8

func (e entry) record() record { return record(e >> 4) }
func (e entry) about() int     { return int(e & 15) }

const (
	openingRecord = endRecord + 1
	maxEntries    = 16
	maxOpenings   = 5
	numberGap     = 8 // between the numbers of a log and of its restored copy
	reserved      = 2 // sequences of an opening
)

func newEntry(r record, about int) entry { return entry(r)<<4 | entry(about) }

func newPair() pair {
	var w pair
	w.open(1)
	for p := range w.at {
		w.at[p].swept = true // there is no earlier opening
	}
	return w
}

// open begins an opening of the log.
func (w *pair) open(number uint8) {
	w.number[w.openings] = number
	w.log[w.n] = newEntry(openingRecord, int(w.openings))
	w.n++
	w.durable = w.n
	w.openings++
	w.next = 1
}

// says returns what the log holds of a transaction, synced or not.
func (w *pair) says(r int) (all records) {
	for _, e := range w.log[:w.n] {
		if e.record() != openingRecord && e.about() == r {
			all |= 1 << e.record()
		}
	}
	return all
}

// says returns what the log durably holds of a transaction.
func (w *pair) saysDurably(r int) records {
	c := *w
	c.n = c.durable
	return c.says(r)
}

// incarnation is that of an opening. Its nonce is its own, whatever its number.
func (w *pair) incarnation(opening uint8) protocol.Incarnation {
	return protocol.Incarnation{Number: uint32(w.number[opening]), Nonce: uint32(opening) + 1}
}

func (w *pair) xid(r int) protocol.XID {
	return protocol.XID{Incarnation: w.incarnation(w.run[r].opening), Seq: uint64(w.run[r].seq)}
}

// history is what the log says of openings.
func (w *pair) history() (all []protocol.Opening) {
	for _, e := range w.log[:w.n] {
		if e.record() == openingRecord {
			all = append(all, protocol.Opening{Incarnation: w.incarnation(uint8(e.about())), Through: reserved})
		}
	}
	return all
}

// covered reports whether a hold is in force and covers a transaction.
func (w *pair) covered(r int) bool { return w.hold > 0 && w.number[w.run[r].opening] <= w.hold }

// liveAt reports whether the live table holds a branch.
func (w *pair) liveAt(r, p int) bool { return w.run[r].tx != nil || w.run[r].part[p].adopted }

// below reports whether a branch is below its participant's low water.
func (w *pair) below(r, p int) bool { return w.at[p].low&(1<<r) != 0 }

// key appends bytes that are equal for two worlds only if the same can happen in both
// for ever. Left out is what nobody reads again: why a transaction rolls back, the
// order of synced records that are not restored any more, requests that change nothing
// now nor later, low water that has arrived, and rows that nobody asks for.
func (w *pair) key(r *PairRules, dst []byte) []byte {
	forget := r.reduces(oblivion)
	dst = append(dst, w.openings, w.next, w.n, w.durable, w.crashes, w.restores, w.hold, w.released)
	dst = append(dst, w.number[:w.openings]...)
	from := len(dst)
	for _, e := range w.log[:w.n] {
		dst = append(dst, byte(e))
	}
	if w.restores == r.Restores && forget {
		sortBytes(dst[from : from+int(w.durable)])
	}
	for i := range w.run {
		run := &w.run[i]
		dst = append(dst, flags(run.begun, run.recovered, run.parked, run.forced, run.decided, run.lost, run.tx != nil),
			run.opening, run.seq, byte(run.told)<<1|flags(run.logged))
		for p := range r.At[i] {
			b := run.part[p]
			if forget {
				b.forget(w.below(i, int(p)), w.over(r, i) && w.at[p].listed&(1<<i) == 0)
			}
			dst = append(dst, byte(b.row)<<4|byte(b.sent), flags(b.committed, b.undone, b.orphan, b.adopted))
		}
		if run.tx != nil {
			at := len(dst)
			dst = run.tx.AppendKey(dst)
			if forget {
				forgetReasons(dst[at:], int(r.At[i]))
			}
		}
	}
	for p := range r.places() {
		at := w.at[p]
		for low := uint8(0); low < 4 && forget; low++ {
			if low&^at.low == 0 {
				at.lowSent &^= 1 << low
			}
		}
		dst = append(dst, at.low, at.lowSent, at.listed<<2|flags(at.listing, at.swept))
	}
	return dst
}

// forget takes out of a copy of a branch the requests that find nothing to change any
// more. A row that is finished goes only where low water has passed. Over says that
// nobody will ask for it.
func (b *part) forget(below, over bool) {
	switch {
	case b.row == prepared:
		b.sent &^= prepareSent
	case b.row != none || below:
		b.sent, b.undone = 0, false
		if below && over && !b.adopted {
			b.row = none
		}
	}
}

// over reports whether a transaction is not live and never will be again.
func (w *pair) over(r *PairRules, i int) bool {
	if w.run[i].tx != nil || w.restores < r.Restores {
		return false
	}
	return !w.says(i).has(prepareRecord) || w.saysDurably(i).has(endRecord)
}

// forgetReasons takes out of a machine's key what is for people, as in world.key.
func forgetReasons(key []byte, branches int) {
	key[reasonByte], key[whoseByte] = 0, 0
	each := (len(key) - headSize) / branches
	for i := range branches {
		key[headSize+i*each] = 0
	}
}

func sortBytes(b []byte) {
	for i := 1; i < len(b); i++ {
		for j := i; j > 0 && b[j] < b[j-1]; j-- {
			b[j], b[j-1] = b[j-1], b[j]
		}
	}
}

// places is the number of participants.
func (r *PairRules) places() int { return int(max(r.At[0], r.At[1])) }

package dtc

import "sync"

// memory is a transaction of two branches, the usual case, in one piece.
//
// It is used again for another transaction, because making and collecting it
// would be a tenth of what a transaction costs. That is safe only if nobody else
// can hold a pointer into it, and a pointer leaves in two ways only:
//
//   - through the live table, which marks what it hands out ([txn.known]): to those
//     who join, list, ask, resolve, retry, sweep or close. Once the transaction is
//     forgotten nobody finds it there any more.
//   - with what outlives the owner's work ([txn.sent]): a call on a goroutine of
//     the lane, a branch that waits for its retry, a timer for a call that hangs.
//
// What was marked once is left to the garbage collector, also when it has long
// been let go of: counting who still holds it would save little and could be
// wrong. Participants, traces and callers get copies; [Tx] is handed out by Run,
// whose transactions are never used again.
type memory struct {
	txn
	block [2]branchRun
	list  [2]*branchRun
	calls [4]inlineCall // a prepare and a commit or rollback for each branch
}

var memories = sync.Pool{New: func() any { return new(memory) }}

// newMemory returns an empty transaction with room for its branches.
func newMemory(branches int) (t *txn, block []branchRun) {
	if branches != len(memory{}.block) {
		t = new(txn)
		t.branches = make([]*branchRun, branches)
		return t, make([]branchRun, branches)
	}
	m := memories.Get().(*memory)
	m.whole, m.branches, m.inline = m, m.list[:], m.calls[:0]
	return &m.txn, m.block[:]
}

// private reports whether its owner alone can hold a pointer to the transaction,
// for ever. The caller is the owner and holds t.mu; the transaction has been
// forgotten, so that nobody marks it as known any more.
func (t *txn) private() bool {
	return t.whole != nil && t.ended && t.refused == nil && !t.known && !t.sent && !t.pumping
}

// free lets the memory of a transaction be used for another one. The caller is
// the only one who knows the transaction, and must not touch it afterwards.
func (t *txn) free() {
	m := t.whole
	if m == nil {
		return
	}
	machine := m.m
	*m = memory{} // payloads and causes are not kept alive
	m.m = machine
	memories.Put(m)
}

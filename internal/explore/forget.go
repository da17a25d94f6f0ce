package explore

// over reports whether the transaction is not live and never will be again,
// whatever a crash leaves of the log: nobody waits for an answer any more.
func (w *world) over() bool {
	return w.begun && w.tx == nil && (!w.log().has(prepareRecord) || w.synced.has(endRecord))
}

// forget takes out of a copy of a branch what nobody will read again. Votes says
// that an answer to a prepare may still be of use, over that none is.
func (b *branch) forget(votes, over bool) {
	if b.row == aborted {
		b.row = rolledBack // it answers everything in the same way
	}
	if b.row != prepared {
		b.orphan = false
	}
	if b.lowWater {
		b.sent &^= lowWaterSent
	}
	if b.row == none && !b.lowWater {
		return // the first prepare may still come
	}
	b.undone = false
	if !votes {
		b.sent &^= prepareSent
	}
	if !over || b.row == prepared {
		return
	}
	b.sent &^= commitSent | rollbackSent
	if b.lowWater && b.sweep == sweepIdle {
		b.row, b.swept = none, true // to settle low water was all they were for
	}
}

package simdb

import "slices"

// tx is a transaction.
type tx struct {
	db       *DB
	written  []*row   // by this one, in order, each once
	locked   []*row   // locked but not written
	created  []*table // not yet there for others
	waitsFor *tx
	failed   bool // everything is undone already, and COMMIT rolls back
	ended    bool
}

// job is a statement that is being executed.
type job struct {
	tx *tx
	// run carries it on, and returns the transaction that it has to wait for, or nil
	// if it is done.
	run  func() *tx
	on   *tx
	done chan struct{}
	then func(*job) // nil if somebody waits for done
	result
	err error
}

type result struct {
	affected int64
	columns  []string
	rows     [][]any
}

// begin starts a transaction. db.mu is held, as in everything in this file.
func (db *DB) begin() *tx {
	t := &tx{db: db}
	db.txs = append(db.txs, t)
	return t
}

// start executes a statement as far as it goes, and then calls then, if not nil.
func (db *DB) start(t *tx, s *statement, args []any, then func(*job)) *job {
	j := &job{tx: t, done: make(chan struct{}), then: then}
	j.run = s.in(t, j, args)
	db.carryOn(j)
	return j
}

func (db *DB) carryOn(j *job) {
	on := j.run()
	switch {
	case on == nil:
	case on.reaches(j.tx):
		j.err = &Error{"40P01", "deadlock detected"}
	default:
		j.on, j.tx.waitsFor = on, on
		db.waiting = append(db.waiting, j)
		return
	}
	if j.err != nil {
		// As on PostgreSQL the locks go at once, not with the ROLLBACK to come.
		j.tx.failed = true
		j.tx.undo()
		db.wake(j.tx)
	}
	close(j.done)
	if j.then != nil {
		j.then(j)
	}
}

// reaches reports whether t waits, through whomever, for other.
func (t *tx) reaches(other *tx) bool {
	for ; t != nil; t = t.waitsFor {
		if t == other {
			return true
		}
	}
	return false
}

// wake carries on what waited for t, in the order of waiting.
func (db *DB) wake(t *tx) {
	var woken []*job
	db.waiting = slices.DeleteFunc(db.waiting, func(j *job) bool {
		if j.on == t {
			woken = append(woken, j)
		}
		return j.on == t
	})
	for _, j := range woken {
		j.on, j.tx.waitsFor = nil, nil
	}
	for _, j := range woken {
		db.carryOn(j)
	}
}

// giveUp ends a wait from outside, if the statement still waits.
func (db *DB) giveUp(j *job, err error) {
	i := slices.Index(db.waiting, j)
	if i < 0 {
		return
	}
	db.waiting = slices.Delete(db.waiting, i, i+1)
	j.on, j.tx.waitsFor, j.err = nil, nil, err
	close(j.done)
}

// end commits or rolls back, and lets those who waited go on.
func (db *DB) end(t *tx, commit bool) {
	if t.ended {
		return
	}
	if commit && !t.failed {
		t.apply()
	} else {
		t.undo()
	}
	t.ended = true
	if i := slices.Index(db.txs, t); i >= 0 {
		db.txs = slices.Delete(db.txs, i, i+1)
	}
	db.wake(t)
}

// apply makes everything written the state that others see, and that a crash leaves.
func (t *tx) apply() {
	if len(t.written) > 0 {
		t.db.changes++
	}
	for _, r := range t.written {
		r.committed, r.version = r.pending, r.version+1
		r.pending, r.writer = nil, nil
		if r.committed == nil {
			r.table.drop(r)
		}
	}
	for _, tab := range t.created {
		tab.creator = nil
	}
	t.unlock()
}

// undo leaves no trace of t, and may be called again.
func (t *tx) undo() {
	for _, r := range t.written {
		r.pending, r.writer = nil, nil
		if r.committed == nil {
			r.table.drop(r)
		}
	}
	for _, tab := range t.created {
		delete(t.db.tables, tab.name)
	}
	t.unlock()
}

func (t *tx) unlock() {
	for _, r := range t.locked {
		r.locker = nil
	}
	t.written, t.locked, t.created = nil, nil, nil
}

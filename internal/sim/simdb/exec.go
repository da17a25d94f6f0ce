package simdb

import (
	"fmt"
	"slices"
)

// in binds a statement to a transaction: what is returned carries it on.
func (s *statement) in(t *tx, j *job, args []any) func() *tx {
	e := &env{args: args}
	if err := s.bind(t, e); err != nil {
		return func() *tx {
			j.err = err
			return nil
		}
	}
	switch s.verb {
	case verbInsert:
		return func() *tx { return s.insert(t, j, e) }
	case verbUpdate, verbDelete:
		return s.change(t, j, e)
	case verbSelect:
		return func() *tx {
			j.err = s.read(t, j, e)
			return nil
		}
	case verbCreateTable:
		return func() *tx { return s.createTable(t, j) }
	case verbProbe:
		j.columns = []string{"version", "fsync", "synchronous_commit", "standby"}
		j.rows = [][]any{{int64(150000), "on", "on", false}}
	case verbCreateIndex: // everything is found without
	}
	return func() *tx { return nil }
}

// bind finds the table, and wrong names also where no row would show them.
func (s *statement) bind(t *tx, e *env) (err error) {
	switch {
	case t.failed:
		return &Error{"25P02", "the transaction has failed, and does nothing until it is rolled back"}
	case s.verb == verbProbe || s.verb == verbCreateTable:
		return nil
	}
	if e.table, err = t.db.tableFor(t, s.table); err != nil {
		return err
	}
	for _, c := range slices.Concat(s.columns, s.order) {
		if _, err := e.table.index(c); err != nil {
			return err
		}
	}
	return nil
}

// tableFor finds a table that t may see.
func (db *DB) tableFor(t *tx, name string) (*table, error) {
	tab := db.tables[name]
	if tab == nil || tab.creator != nil && tab.creator != t {
		return nil, &Error{"42P01", "no table " + name}
	}
	return tab, nil
}

func (s *statement) createTable(t *tx, j *job) *tx {
	switch old := t.db.tables[s.table]; {
	case old == nil:
		tab := &table{name: s.table, columns: s.declared.columns, key: s.declared.key, creator: t, byKey: map[string][]*row{}}
		t.db.tables[s.table] = tab
		t.created = append(t.created, tab)
	case old.creator != nil && old.creator != t:
		// What is created beside it stands on a key of the catalogue, whatever
		// IF NOT EXISTS says.
		on := old.creator
		j.run = func() *tx {
			if t.db.tables[s.table] == nil {
				return s.createTable(t, j)
			}
			j.err = &Error{"23505", "table " + s.table + " was created at the same time"}
			return nil
		}
		return on
	case !s.ignore:
		j.err = &Error{"42P07", "table " + s.table + " exists"}
	}
	return nil
}

// insert waits for whoever inserts, changes or deletes a row of the same key, as
// PostgreSQL does.
func (s *statement) insert(t *tx, j *job, e *env) *tx {
	tab := e.table
	values := make([]any, len(tab.columns))
	for i, name := range s.columns {
		at, _ := tab.index(name)
		if values[at], j.err = s.values[i](e); j.err != nil {
			return nil
		}
	}
	for i := range tab.columns {
		if j.err = tab.columns[i].check(values[i]); j.err != nil {
			return nil
		}
	}
	if tab.key != nil {
		for _, r := range tab.byKey[tab.keyOf(values)] {
			switch {
			case r.writer != nil && r.writer != t:
				return r.writer
			case r.seenBy(t) == nil: // deleted by ourselves
			case s.ignore:
				return nil
			default:
				j.err = &Error{"23505", fmt.Sprintf("table %s has a row of key %q", tab.name, r.key)}
				return nil
			}
		}
	}
	tab.insert(t, values)
	j.affected = 1
	return nil
}

// change is UPDATE and DELETE: the rows are found once, as they are when the
// statement begins, and each is looked at again if it has changed since.
func (s *statement) change(t *tx, j *job, e *env) func() *tx {
	type found struct {
		*row
		version uint64
		seen    []any
	}
	var rows []found
	begun := false
	return func() *tx {
		if !begun {
			begun = true
			for _, r := range e.table.rows {
				seen := r.seenBy(t)
				ok, err := s.matches(e, seen)
				if j.err = err; err != nil {
					return nil
				}
				if ok {
					rows = append(rows, found{r, r.version, seen})
				}
			}
		}
		for ; len(rows) > 0; rows = rows[1:] {
			r := rows[0]
			// What is not allowed fails before it waits.
			values, err := s.changed(e, r.seen)
			if j.err = err; err != nil {
				return nil
			}
			if on := r.heldBy(t); on != nil {
				return on
			}
			if r.gone || r.seenBy(t) == nil {
				continue // a row of the same key that has come since is another one
			}
			r.lock(t) // to the end, also if it does not match any more
			if r.version != r.row.version {
				ok, err := s.matches(e, r.seenBy(t))
				if err == nil && ok {
					values, err = s.changed(e, r.seenBy(t))
				}
				if j.err = err; err != nil {
					return nil
				}
				if !ok {
					continue
				}
			}
			r.write(t, values)
			j.affected++
		}
		return nil
	}
}

func (s *statement) matches(e *env, values []any) (bool, error) {
	if values == nil || s.where == nil {
		return values != nil, nil
	}
	e.values = values
	return truth(s.where, e)
}

// changed returns what becomes of a row, nil if it is deleted.
func (s *statement) changed(e *env, old []any) ([]any, error) {
	if s.verb == verbDelete {
		return nil, nil
	}
	e.values = old
	values := slices.Clone(old)
	for i, name := range s.columns {
		at, _ := e.table.index(name)
		var err error
		if values[at], err = s.values[i](e); err == nil {
			err = e.table.columns[at].check(values[at])
		}
		if err == nil && slices.Contains(e.table.key, at) {
			err = &Error{"0A000", "the simulated database does not change a key, " + name}
		}
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (s *statement) read(t *tx, j *job, e *env) error {
	var rows [][]any
	for _, r := range e.table.rows {
		values := r.seenBy(t)
		if ok, err := s.matches(e, values); err != nil {
			return err
		} else if ok {
			rows = append(rows, values)
		}
	}
	if s.count {
		j.columns, j.rows = []string{"count"}, [][]any{{int64(len(rows))}}
		return nil
	}
	slices.SortStableFunc(rows, func(a, b []any) int {
		for _, name := range s.order {
			at, _ := e.table.index(name)
			if c, _ := order(a[at], b[at]); c != 0 {
				return c
			}
		}
		return 0
	})
	if s.limit != nil {
		v, err := s.limit(e)
		n, ok := v.(int64)
		if err != nil || !ok {
			return &Error{"42601", fmt.Sprintf("LIMIT %v", v)}
		}
		rows = rows[:min(int64(len(rows)), n)]
	}
	j.columns = s.columns
	for _, values := range rows {
		out := make([]any, len(s.columns))
		for i, name := range s.columns {
			at, _ := e.table.index(name)
			out[i] = values[at]
		}
		j.rows = append(j.rows, out)
	}
	return nil
}

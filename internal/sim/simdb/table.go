package simdb

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is a table; creator is nil once it is there for everybody.
type table struct {
	name    string
	columns []column
	key     []int // the columns of the primary key
	creator *tx
	rows    []*row            // in the order in which they were inserted
	byKey   map[string][]*row // more than one only while a row is replaced
}

type column struct {
	name    string
	kind    kind
	max     int // characters, if not 0
	notNull bool
	in      []string // the only values, if not nil
}

// kind is the type of a column.
type kind uint8

const (
	kindText kind = iota
	kindInt
	kindBytes
)

// row is a row through all its versions, of which there are at most two: the
// committed one, and that of the one transaction which has it locked.
type row struct {
	table     *table
	key       string
	committed []any // nil: not there for others
	version   uint64
	pending   []any // nil: deleted by writer
	writer    *tx
	locker    *tx  // locked without having been written
	gone      bool // for good; what waited for it finds nothing
}

// seenBy is what a statement of t that begins now sees of r; nil is nothing.
func (r *row) seenBy(t *tx) []any {
	if r.writer == t {
		return r.pending
	}
	return r.committed
}

// heldBy returns the other transaction that has r locked, or nil.
func (r *row) heldBy(t *tx) *tx {
	if r.writer != nil && r.writer != t {
		return r.writer
	}
	if r.locker != nil && r.locker != t {
		return r.locker
	}
	return nil
}

func (r *row) write(t *tx, values []any) {
	if r.writer == nil {
		r.writer = t
		t.written = append(t.written, r)
	}
	r.pending = values
}

// lock keeps r from being written by others.
func (r *row) lock(t *tx) {
	if r.writer == nil && r.locker == nil {
		r.locker = t
		t.locked = append(t.locked, r)
	}
}

func (tab *table) insert(t *tx, values []any) {
	r := &row{table: tab, key: tab.keyOf(values)}
	tab.rows = append(tab.rows, r)
	if tab.key != nil {
		tab.byKey[r.key] = append(tab.byKey[r.key], r)
	}
	r.write(t, values)
}

func (tab *table) drop(r *row) {
	r.gone = true
	isIt := func(other *row) bool { return other == r }
	tab.rows = slices.DeleteFunc(tab.rows, isIt)
	if tab.key == nil {
		return
	}
	if left := slices.DeleteFunc(tab.byKey[r.key], isIt); len(left) > 0 {
		tab.byKey[r.key] = left
	} else {
		delete(tab.byKey, r.key)
	}
}

func (tab *table) keyOf(values []any) string {
	var b strings.Builder
	for _, i := range tab.key {
		fmt.Fprintf(&b, "%T:%v\x00", values[i], values[i])
	}
	return b.String()
}

func (tab *table) index(name string) (int, error) {
	for i, c := range tab.columns {
		if c.name == name {
			return i, nil
		}
	}
	return 0, &Error{"42703", fmt.Sprintf("table %s has no column %s", tab.name, name)}
}

// check refuses what the column's declaration does.
func (c *column) check(v any) error {
	if v == nil {
		if c.notNull {
			return &Error{"23502", "null in column " + c.name}
		}
		return nil
	}
	switch x := v.(type) {
	case int64:
		if c.kind == kindInt {
			return nil
		}
	case []byte:
		if c.kind == kindBytes {
			return nil
		}
	case string:
		switch {
		case c.kind != kindText:
		case strings.Contains(x, "\x00") || !utf8.ValidString(x):
			return &Error{"22021", fmt.Sprintf("%q is no text for column %s", x, c.name)}
		case c.max > 0 && utf8.RuneCountInString(x) > c.max:
			return &Error{"22001", fmt.Sprintf("%q is too long for column %s", x, c.name)}
		case c.in != nil && !slices.Contains(c.in, x):
			return &Error{"23514", fmt.Sprintf("%q is not allowed in column %s", x, c.name)}
		default:
			return nil
		}
	}
	return &Error{"42804", fmt.Sprintf("%T in column %s", v, c.name)}
}

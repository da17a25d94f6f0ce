package simdb

import (
	"database/sql/driver"
	"io"
)

// rows is an answer, complete before it is read.
type rows struct {
	columns []string
	left    [][]any
}

// Columns implements driver.Rows.
func (r *rows) Columns() []string { return r.columns }

// Close implements driver.Rows.
func (r *rows) Close() error { return nil }

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	for i, v := range r.left[0] {
		dest[i] = v
	}
	r.left = r.left[1:]
	return nil
}

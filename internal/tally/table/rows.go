package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dtc-project/dtc/internal/tally"
)

// name says what a row counts: the machinery, and what of it.
type name struct{ of, what string }

func (n name) String() string { return n.of + ": " + n.what }

// row is a sum over all tests and processes that counted the same.
type row struct {
	n     int64
	tests map[test]bool
}

type test struct{ dir, name string }

func sum(counts []tally.Count) map[name]*row {
	rows := map[name]*row{}
	for _, c := range counts {
		k := name{c.Of, c.What}
		if rows[k] == nil {
			rows[k] = &row{tests: map[test]bool{}}
		}
		top, _, _ := strings.Cut(c.Test, "/")
		rows[k].n += c.N
		rows[k].tests[test{c.Dir, top}] = true
	}
	return rows
}

// by lists the tests, after the directory of their package.
func (r *row) by() string {
	tests := slices.SortedFunc(maps.Keys(r.tests), func(a, b test) int {
		return cmp.Or(strings.Compare(a.dir, b.dir), strings.Compare(a.name, b.name))
	})
	var b strings.Builder
	for i, t := range tests {
		switch {
		case i == 0:
			fmt.Fprintf(&b, "`%s` ", t.dir)
		case t.dir != tests[i-1].dir:
			fmt.Fprintf(&b, "; `%s` ", t.dir)
		default:
			b.WriteString(", ")
		}
		b.WriteString(t.name)
	}
	return b.String()
}

// thousands writes a number as it is read.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// sorted returns the names of the rows.
func sorted(rows map[name]*row) []name {
	return slices.SortedFunc(maps.Keys(rows), func(a, b name) int {
		return cmp.Or(strings.Compare(a.of, b.of), strings.Compare(a.what, b.what))
	})
}

// text prints the rows by name: for a run that is not the page's.
func text(out io.Writer, rows map[name]*row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, k := range sorted(rows) {
		if _, err := fmt.Fprintf(w, "%s\t  %s\n", thousands(rows[k].n), k); err != nil {
			return err
		}
	}
	return w.Flush()
}

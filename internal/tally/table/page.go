package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What the page marks: the names of the rows, one "machinery: what" on a line and in
// the order in which they are shown, and the place of the table.
const (
	rowsBegin  = "<!-- counts: rows\n"
	rowsEnd    = "-->\n"
	tableBegin = "<!-- counts: begin -->\n"
	tableEnd   = "<!-- counts: end -->\n"

	// absent stands where a run has counted nothing. No figure of an earlier run is kept.
	absent = "not in this run"
)

// rewrite returns the page with another table. Every row must be one that the page
// expects.
func rewrite(page string, rows map[name]*row, machine string) (string, error) {
	want, err := expected(page)
	if err != nil {
		return "", err
	}
	var unknown []string
	for k := range rows {
		if !slices.Contains(want, k) {
			unknown = append(unknown, k.String())
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return "", fmt.Errorf("the list of rows lacks what was counted; add, where it belongs:\n%s", strings.Join(unknown, "\n"))
	}
	before, _, after, err := cut(page, tableBegin, tableEnd)
	if err != nil {
		return "", err
	}
	return before + tableBegin + table(want, rows, machine) + tableEnd + after, nil
}

func table(want []name, rows map[name]*row, machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Counted by a complete run of `./test.sh` (%s):\n\n", machine)
	b.WriteString("| machinery | what | how many | by |\n|---|---|---:|---|\n")
	for i, k := range want {
		of := k.of
		if i > 0 && want[i-1].of == of {
			of = ""
		}
		n, by := absent, ""
		if r := rows[k]; r != nil {
			n, by = thousands(r.n), r.by()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", of, k.what, n, by)
	}
	return b.String()
}

// expected returns the names of the rows that the page lists.
func expected(page string) (names []name, err error) {
	_, list, _, err := cut(page, rowsBegin, rowsEnd)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		of, what, ok := strings.Cut(line, ": ")
		switch k := (name{of, what}); {
		case !ok || strings.Contains(line, "|"):
			return nil, fmt.Errorf("the list of rows: %q is no \"machinery: what\"", line)
		case slices.Contains(names, k):
			return nil, fmt.Errorf("the list of rows has %q twice", line)
		default:
			names = append(names, k)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("the list of rows is empty")
	}
	return names, nil
}

// shown returns the names of the rows that the page's table has.
func shown(page string) (names []name, err error) {
	_, table, _, err := cut(page, tableBegin, tableEnd)
	if err != nil {
		return nil, err
	}
	of := ""
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "--") || strings.TrimSpace(cells[1]) == "machinery" {
			continue
		}
		if s := strings.TrimSpace(cells[1]); s != "" {
			of = s
		}
		names = append(names, name{of, strings.TrimSpace(cells[2])})
	}
	return names, nil
}

// cut splits a page at two marks, each of which must stand there once.
func cut(page, begin, end string) (before, between, after string, err error) {
	if n := strings.Count(page, begin); n != 1 {
		return "", "", "", fmt.Errorf("%q stands there %d times, want once", strings.TrimSpace(begin), n)
	}
	before, rest, _ := strings.Cut(page, begin)
	between, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", "", "", fmt.Errorf("no %q after %q", strings.TrimSpace(end), strings.TrimSpace(begin))
	}
	return before, between, after, nil
}

package main

import (
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

// rewrite returns the page with another table. What was counted and is not in the
// list of rows is added to it, behind what else the machinery has.
func rewrite(page string, rows map[name]*row, machine string) (string, error) {
	want, err := expected(page)
	if err != nil {
		return "", err
	}
	want = extended(want, rows)
	page, err = replace(page, rowsBegin, rowsEnd, list(want))
	if err != nil {
		return "", err
	}
	return replace(page, tableBegin, tableEnd, table(want, rows, machine))
}

// extended returns want and every other name of rows.
func extended(want []name, rows map[name]*row) []name {
	for _, k := range sorted(rows) {
		if slices.Contains(want, k) {
			continue
		}
		at := len(want)
		for i, w := range want {
			if w.of == k.of {
				at = i + 1
			}
		}
		want = slices.Insert(slices.Clone(want), at, k)
	}
	return want
}

func list(names []name) string {
	var b strings.Builder
	for _, k := range names {
		fmt.Fprintln(&b, k)
	}
	return b.String()
}

func replace(page, begin, end, by string) (string, error) {
	before, _, after, err := cut(page, begin, end)
	if err != nil {
		return "", err
	}
	return before + begin + by + end + after, nil
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

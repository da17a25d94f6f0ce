package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is where something was written.
type Place struct {
	File string // or the name of a variable or a flag, with its dashes
	Line int    // from 1; 0: not in a file
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Mistake is something wrong in a configuration.
type Mistake struct {
	Place
	Text string // what is wrong, and what to do
}

func (m Mistake) Error() string {
	if m.File == "" {
		return m.Text
	}
	return m.Place.String() + ": " + m.Text
}

// Mistakes are all that is wrong.
type Mistakes []Mistake

// Error implements error: a line for each.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (m Mistakes) sorted() Mistakes {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return m
}

// guess returns what somebody may have meant, as the end of a sentence, or "".
func guess(word string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := edits(word, k); d < distance && d < len(k)/2+1 {
			best, distance = k, d
		}
	}
	if best == "" {
		for _, k := range known { // a part of the word, or more than it
			if len(word) > 2 && (strings.HasPrefix(k, word) || strings.HasSuffix(k, word) || strings.HasPrefix(word, k)) {
				best = k
				break
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// edits is how many letters have to be put in, taken out or replaced, in words that
// are written alike but for - and _ and capitals.
func edits(a, b string) int {
	a, b = strings.ToLower(strings.ReplaceAll(a, "-", "_")), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			other := 1
			if a[i] == b[j] {
				other = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+other)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
)

const page = "# Tests\n\n" + rowsBegin + "simulator: seeds\nstorm: kills\n" + rowsEnd + "\n" + tableBegin + "old\n" + tableEnd + "\nThe end.\n"

// keep writes counts as tests do, and returns them as rows.
func keep(t *testing.T, counts func()) map[name]*row {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(tally.Env, dir)
	counts()
	all, err := tally.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return sum(all)
}

func TestRewrite(t *testing.T) {
	rows := keep(t, func() {
		tally.Add(t, "simulator", "seeds", 9_999, 1)
		t.Run("Part", func(t *testing.T) { tally.Add(t, "simulator", "seeds", 1_234_567, 1) })
		tally.Add(t, "simulator", "crashes", 7, 1)
	})
	got, err := rewrite(page, rows, "go1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| simulator | seeds | 1,244,566 | `internal/tally/table` TestRewrite |\n|  | crashes | 7 |",
		"| storm | kills | " + absent + " |  |", // and no old figure
		"\nThe end.\n",
		"simulator: seeds\nsimulator: crashes\nstorm: kills\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "old") {
		t.Errorf("the old table is still there:\n%s", got)
	}
	again, err := rewrite(got, rows, "go1")
	if err != nil || again != got {
		t.Errorf("written again it is %v:\n%s", err, again)
	}
}

func TestPagesThatAreNone(t *testing.T) {
	rows := map[name]*row{}
	for _, bad := range []string{
		"",
		strings.Replace(page, tableBegin, "", 1),
		strings.Replace(page, tableEnd, "", 1),
		strings.Replace(page, rowsBegin, "", 1),
		page + tableBegin,
		strings.Replace(page, "storm: kills", "simulator: seeds", 1),
		strings.Replace(page, "storm: kills", "kills", 1),
		strings.Replace(page, "storm: kills", "storm: a|b", 1),
	} {
		if got, err := rewrite(bad, rows, ""); err == nil {
			t.Errorf("rewritten:\n%s\nto:\n%s", bad, got)
		}
	}
}

// A page is left alone by a run that counted nothing.
func TestNothingCounted(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(doc, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Output(), t.TempDir(), doc); err == nil {
		t.Error("a table was made of nothing")
	}
	if text, err := os.ReadFile(doc); err != nil || string(text) != page {
		t.Errorf("%v: the page is now:\n%s", err, text)
	}
}

// TestCommittedPage: the table in docs/testing.md has the rows that its list has, in
// that order, and was written by the program.
func TestCommittedPage(t *testing.T) {
	text, err := os.ReadFile("../../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := expected(string(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := shown(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the table has the rows\n%s\nand the list\n%s", list(got), list(want))
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// Command table writes the counts of a run of the tests into the page that says what
// was tried, or prints them:
//
//	go run ./internal/tally/table -dir DIR [-doc docs/testing.md]
//
// The page lists its rows, so that one which is no longer counted does not go unseen:
// it stays, without a figure, until somebody takes it from the list.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/dtc-project/dtc/internal/tally"
)

func main() {
	dir := flag.String("dir", os.Getenv(tally.Env), "`directory` with the counts of a run")
	doc := flag.String("doc", "", "`page` to rewrite; without it the counts are printed")
	flag.Parse()
	if err := run(os.Stdout, *dir, *doc); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, dir, doc string) error {
	if dir == "" {
		return errors.New("which directory has the counts?")
	}
	counts, err := tally.Read(dir)
	if err != nil {
		return err
	}
	rows := sum(counts)
	if doc == "" {
		return text(out, rows)
	}
	if len(rows) == 0 {
		return fmt.Errorf("no count in %s", dir)
	}
	page, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	changed, err := rewrite(string(page), rows, machine())
	if err != nil {
		return fmt.Errorf("%s: %w", doc, err)
	}
	if changed == string(page) {
		return nil
	}
	if err := os.WriteFile(doc, []byte(changed), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d counts written into %s\n", len(rows), doc)
	return err
}

// machine says where the figures are from. It leaves out the date and the commit: the
// page's own history has both.
func machine() string {
	return fmt.Sprintf("%s, %s/%s, %d processors", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}

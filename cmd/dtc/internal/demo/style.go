package demo

import (
	"fmt"
	"io"
	"os"
)

// style colours text on a terminal, and leaves it alone elsewhere.
type style bool

// styleOf: colour only for people who look at a terminal and have not asked for
// none.
func styleOf(w io.Writer) style {
	return style(IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

// IsTerminal reports whether a person may be looking at w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (s style) paint(code, text string) string {
	if !s || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%sm%s\x1b[0m", code, text)
}

func (s style) bold(text string) string  { return s.paint("1", text) }
func (s style) faint(text string) string { return s.paint("2", text) }
func (s style) good(text string) string  { return s.paint("32", text) }
func (s style) bad(text string) string   { return s.paint("31", text) }
func (s style) wait(text string) string  { return s.paint("33", text) }
func (s style) mark(text string) string  { return s.paint("1;36", text) }

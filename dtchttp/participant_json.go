package dtchttp

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dtc-project/dtc"
)

// partNull reports whether a member is absent or null, which mean the same.
func partNull(value json.RawMessage) bool {
	return len(value) == 0 || string(value) == "null"
}

// partString reads a member that is a string; absent or null it is empty.
func partString(value json.RawMessage) (s string, ok bool) {
	if partNull(value) {
		return "", true
	}
	if value[0] != '"' {
		return "", false
	}
	s, err := jsonText(value)
	return s, err == nil
}

// partMaxReason bounds the text of an error on its way over the wire, in bytes.
const partMaxReason = 4 << 10

// partShorten cuts a text to at most n bytes, and between characters.
func partShorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// partLine returns the first line of a text that a stranger sent, fit to be
// logged: without control characters, and not long.
func partLine(text string) string {
	text = strings.TrimSpace(partShorten(text, 64<<10))
	line, _, _ := strings.Cut(text, "\n")
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, line)
	return strings.TrimSpace(partShorten(line, partMaxReason))
}

const (
	partMaxTxID = 128
	partMaxID   = 64
)

// partCheckID checks the id of a participant.
func partCheckID(id string) error {
	ok := len(id) >= 1 && len(id) <= partMaxID
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return fmt.Errorf("%w: participant id %q: want 1 to %d characters of [A-Za-z0-9._-]", dtc.ErrBadRequest, partShorten(id, 2*partMaxID), partMaxID)
	}
	return nil
}

// partGoodTxID reports whether s can name a transaction.
func partGoodTxID(s string) bool {
	if s == "" || len(s) > partMaxTxID || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return false
		}
	}
	return true
}

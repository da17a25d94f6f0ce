package dtchttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dtc-project/dtc"
)

// partObject reads one JSON object and returns its members as they stand. It is
// stricter than encoding/json, which takes "VOTE" for "vote" and the last of two
// members of one name: what decides about a transaction has one reading only.
func partObject(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("it is no JSON object")
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%q stands in it twice", partShorten(name, 64))
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("it is no JSON object")
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("it is no JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}

// partNull reports whether a member is absent or null, which mean the same.
func partNull(value json.RawMessage) bool {
	return len(value) == 0 || string(value) == "null"
}

// partString reads a member that is a string; absent or null it is empty.
func partString(value json.RawMessage) (s string, ok bool) {
	if partNull(value) {
		return "", true
	}
	return s, value[0] == '"' && json.Unmarshal(value, &s) == nil
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

package dtchttp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// slowMembers is what jsonMembers must be, by the decoder of the standard library.
func slowMembers(text []byte) (map[string]json.RawMessage, bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') || !utf8.Valid(text) {
		return nil, false
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if _, twice := members[name]; err != nil || !ok || twice || len(members) == jsonMaxMembers {
			return nil, false
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil, false
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, false
	}
	_, err := dec.Token()
	return members, err != nil && err.Error() == "EOF"
}

// FuzzJSONMembers: the members are those that the standard library finds, and what it
// refuses is refused.
func FuzzJSONMembers(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":1,"b":[{"c":"}"}],"d":"\"\\"}`, "{\"a\" :\n-1.5e+7\t, \"b\":null}", `{"a":true,"a":false}`,
		`{"A":1,"a":2}`, `{"\u0061":1,"a":2}`, `{"a":1}x`, `{"a":1}{}`, `[1]`, `"a"`, `1`, ``, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{,}`,
		`{"a":{}}`, `{"a":[]}`, `{"a":[[],{}]}`, `{"":""}`, `{"a":"\ud800"}`, "{\"\xff\":1}", `{"a":01}`, `{"a":nul}`, `{"a":"` + "\n" + `"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := jsonMembers(text)
		want, ok := slowMembers(text)
		if (err == nil) != ok || len(got) != len(want) && ok {
			t.Fatalf("%q: %v, %v; want %v, %v", text, got, err, want, ok)
		}
		for name, value := range want {
			if ok && !bytes.Equal(got[name], value) {
				t.Errorf("%q: %q is %q, want %q", text, name, got[name], value)
			}
		}
	})
}

// TestJSONMembersMany: an object of very many members is refused before it has taken
// many times the memory of its text.
func TestJSONMembersMany(t *testing.T) {
	object := func(n int) []byte {
		text := []byte{'{'}
		for i := range n {
			text = fmt.Appendf(text, `"%x":1,`, i)
		}
		return append(bytes.TrimSuffix(text, []byte{','}), '}')
	}
	if members, err := jsonMembers(object(jsonMaxMembers)); err != nil || len(members) != jsonMaxMembers {
		t.Errorf("%d members, %v", len(members), err)
	}
	text := object(100_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	members, err := jsonMembers(text)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || members != nil || n > uint64(len(text)) {
		t.Errorf("%d bytes took %d of memory: %d members, %v", len(text), n, len(members), err)
	}
}

// FuzzJSONHalf: a string has half of a surrogate pair if decoding makes U+FFFD of
// something else.
func FuzzJSONHalf(f *testing.F) {
	for _, s := range []string{`""`, `"\ud800"`, `"\ud83d\ude00"`, `"\ude00\ud83d"`, `"\ufffd"`, `"\\ud800"`, `"\\\ud800"`, `"\ud83d\\ude00"`, `"\ud83d\ud83d\ude00"`, "\"\ufffd\"", `"\uD8"`, `"\"\uDFFF"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, quoted []byte) {
		var s string
		if !utf8.Valid(quoted) || len(quoted) == 0 || quoted[0] != '"' || json.Unmarshal(quoted, &s) != nil {
			return
		}
		quoted = bytes.TrimRight(quoted, " \t\r\n")
		// Escapes of U+FFFD itself become another character first.
		var plain []byte
		for i := 0; i < len(quoted); i++ {
			if quoted[i] == '\\' && i+6 <= len(quoted) && strings.EqualFold(string(quoted[i:i+6]), `\ufffd`) {
				plain, i = append(plain, 'x'), i+5
				continue
			}
			plain = append(plain, quoted[i])
			if quoted[i] == '\\' {
				i++
				plain = append(plain, quoted[i])
			}
		}
		plain = bytes.ReplaceAll(plain, []byte("\ufffd"), []byte("x"))
		if err := json.Unmarshal(plain, &s); err != nil {
			t.Fatal(err)
		}
		if got, want := jsonHalf(quoted), strings.Contains(s, "\ufffd"); got != want {
			t.Fatalf("%s: %v, want %v", quoted, got, want)
		}
	})
}

package dtchttp

import (
	"bytes"
	"encoding/json"
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
		if _, twice := members[name]; err != nil || !ok || twice {
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

package dtchttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonMaxMembers bounds the members of one object. No object of ours has a dozen, and a
// table of all the members that fit into a body takes many times the memory of the body.
const jsonMaxMembers = 1000

// jsonMembers reads one JSON object and returns its members as they stand. It is
// stricter than encoding/json, which takes "VOTE" for "vote" and the last of two
// members of one name: what decides about a transaction has one reading only.
//
// encoding/json says whether the text is JSON at all; what is left is to find where
// the members begin and end, which needs no decoder.
func jsonMembers(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	if !json.Valid(text) {
		if whole := jsonEnd(text); whole < len(text) && json.Valid(text[:whole]) {
			return nil, errors.New("something follows the JSON object")
		}
		return nil, errors.New("it is no JSON object")
	}
	i := jsonSpace(text, 0)
	if text[i] != '{' {
		return nil, errors.New("it is no JSON object")
	}
	members := make(map[string]json.RawMessage, 8)
	for i = jsonSpace(text, i+1); text[i] != '}'; i = jsonSpace(text, i) {
		if text[i] == ',' {
			i = jsonSpace(text, i+1)
		}
		end := jsonSkip(text, i)
		name, err := jsonText(text[i:end])
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%q stands in it twice", partShorten(name, 64))
		}
		if len(members) == jsonMaxMembers {
			return nil, fmt.Errorf("it has more than %d members", jsonMaxMembers)
		}
		i = jsonSpace(text, jsonSpace(text, end)+1) // past the colon
		end = jsonSkip(text, i)
		members[name] = json.RawMessage(text[i:end:end])
		i = end
	}
	return members, nil
}

// jsonItems returns the first items of a list of valid JSON, at most so many.
func jsonItems(list []byte, most int) (items []json.RawMessage) {
	for i := jsonSpace(list, 1); list[i] != ']' && len(items) < most; i = jsonSpace(list, i) {
		if list[i] == ',' {
			i = jsonSpace(list, i+1)
		}
		end := jsonSkip(list, i)
		items = append(items, json.RawMessage(list[i:end:end]))
		i = end
	}
	return items
}

// jsonText decodes a string of valid JSON.
func jsonText(quoted []byte) (s string, err error) {
	inside := quoted[1 : len(quoted)-1]
	for _, c := range inside {
		if c == '\\' {
			err = json.Unmarshal(quoted, &s)
			return s, err
		}
	}
	return string(inside), nil
}

// jsonHalf reports whether a string of valid JSON has an escape that is half of a
// surrogate pair, and so no character. Decoders make U+FFFD of each, and with it one
// string of many that differ: an id must not be read so.
func jsonHalf(quoted []byte) bool {
	unit := func(i int) rune { // the escape \uXXXX that begins at i, or -1
		if i+6 > len(quoted) || quoted[i] != '\\' || quoted[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(quoted[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		if r := unit(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6 // the other half
		}
		i++ // what is escaped
	}
	return false
}

// jsonSpace returns the first place from i on that is no white space.
func jsonSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// jsonSkip returns where the value that begins at i ends, in valid JSON.
func jsonSkip(text []byte, i int) int {
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return i // the end of what the value stands in
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			continue
		default: // a number or a word goes on
			if i+1 < len(text) && jsonWord(text[i+1]) {
				continue
			}
		}
		if depth == 0 {
			return min(i+1, len(text))
		}
	}
	return len(text)
}

func jsonWord(c byte) bool {
	return c == '+' || c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// jsonEnd returns where the first value of a text ends, if it is one.
func jsonEnd(text []byte) int { return jsonSkip(text, jsonSpace(text, 0)) }

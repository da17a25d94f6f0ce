package simdb

import "strings"

// token is a word of a statement.
type token struct {
	kind tokenKind
	text string // of a string what is in it
}

type tokenKind uint8

const (
	tokenWord tokenKind = iota
	tokenNumber
	tokenString // 'a string'
	tokenParam  // ? or $1, of which text is 1
	tokenSign
	tokenEnd
)

// plain is how a token is written in the parser.
func (t token) plain() string {
	switch t.kind {
	case tokenString:
		return "'" + t.text + "'"
	case tokenParam, tokenEnd:
		return "" // never a word
	case tokenWord, tokenNumber, tokenSign:
	}
	return strings.ToLower(t.text)
}

func tokenize(query string) []token {
	var all []token
	for query != "" {
		n, t := 1, token{kind: tokenSign, text: query[:1]}
		switch c := query[0]; {
		case strings.ContainsRune(" \t\n", rune(c)):
			query = query[1:]
			continue
		case isLetter(c):
			n = span(query, func(c byte) bool { return isLetter(c) || isDigit(c) })
			t = token{tokenWord, query[:n]}
		case isDigit(c):
			n = span(query, isDigit)
			t = token{tokenNumber, query[:n]}
		case c == '?':
			t = token{tokenParam, ""}
		case c == '$':
			n = 1 + span(query[1:], isDigit)
			t = token{tokenParam, query[1:n]}
		case c == '\'' || c == '"':
			if end := strings.IndexByte(query[1:], c); end >= 0 {
				n = end + 2
				t = token{tokenString, query[1 : n-1]}
				if c == '"' {
					t = token{tokenWord, query[:n]}
				}
			}
		case len(query) > 1 && (query[:2] == "<=" || query[:2] == ">=" || query[:2] == "<>"):
			n, t.text = 2, query[:2]
		}
		all, query = append(all, t), query[n:]
	}
	return all
}

func span(s string, is func(byte) bool) int {
	n := 0
	for n < len(s) && is(s[n]) {
		n++
	}
	return n
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

package postgres

import "strings"

// endsTransaction reports whether a statement ends a transaction, if only to begin another
// one at once (COMMIT AND CHAIN), which nobody would notice afterwards. ROLLBACK TO a
// savepoint does not.
func endsTransaction(sql string) bool {
	word, rest := nextWord(sql)
	switch word {
	case "COMMIT", "END", "ABORT":
		return true
	case "PREPARE":
		word, _ = nextWord(rest)
		return word == "TRANSACTION"
	case "ROLLBACK":
		if word, rest = nextWord(rest); word == "WORK" || word == "TRANSACTION" {
			word, _ = nextWord(rest)
		}
		return word != "TO"
	}
	return false
}

// nextWord returns the next word, in capitals, and what follows it. Before it may be white
// space, comments, and semicolons, which alone are no statement.
func nextWord(sql string) (word, rest string) {
	for depth := 0; sql != ""; {
		switch {
		case strings.HasPrefix(sql, "/*"): // they nest
			depth, sql = depth+1, sql[2:]
		case depth > 0 && strings.HasPrefix(sql, "*/"):
			depth, sql = depth-1, sql[2:]
		case depth > 0 || strings.IndexByte(" \t\n\v\f\r;", sql[0]) >= 0:
			sql = sql[1:]
		case strings.HasPrefix(sql, "--"):
			end := strings.IndexAny(sql, "\r\n")
			if end < 0 {
				return "", ""
			}
			sql = sql[end:]
		default:
			n := 0
			for n < len(sql) && ('a' <= sql[n]|0x20 && sql[n]|0x20 <= 'z' || sql[n] == '_' || sql[n] >= 0x80) {
				n++
			}
			return strings.ToUpper(sql[:n]), sql[n:]
		}
	}
	return "", ""
}

package postgres

import (
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// Name returns the name under which a branch is prepared in the database, as it stands
// in pg_prepared_xacts: the XID, a dot, and the participant's id. It has at most 129
// bytes of [A-Za-z0-9._-].
func Name(xid dtc.XID, participant string) string { return xid.String() + "." + participant }

// parseName is the inverse of Name. It reports false for a name that is not of its
// making.
func parseName(name string) (xid dtc.XID, participant string, ok bool) {
	rest, dots := name, 0
	for i, c := range name {
		if c == '.' {
			if dots++; dots == 4 { // dtc.<log>.<incarnation>.<sequence>.<participant>
				rest, participant = name[:i], name[i+1:]
				break
			}
		}
	}
	xid, err := dtc.ParseXID(rest)
	return xid, participant, err == nil && participant != ""
}

var errName = errors.New("postgres: a name of a branch has other characters than [A-Za-z0-9._-]")

// literal quotes a name of ours as an SQL literal. PREPARE TRANSACTION takes no
// parameters. It refuses everything that could need escaping.
func literal(name string) (string, error) {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return "", errName
		}
	}
	return "'" + name + "'", nil
}

// bytesLiteral quotes anything as an expression of type bytea, whatever the session's
// settings for strings are.
func bytesLiteral(s string) string { return fmt.Sprintf("decode('%x', 'hex')", s) }

package mysql

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/dtc-project/dtc"
)

// An XID of the server has two parts of at most 64 bytes each.
const maxPart = 64

// Name returns the name under which a branch is prepared, as XA START, XA END and XA
// PREPARE take it: the XID and the participant's id, in hexadecimal.
func Name(xid dtc.XID, participant string) string {
	return "X'" + hex.EncodeToString([]byte(xid.String())) + "',X'" + hex.EncodeToString([]byte(participant)) + "'"
}

// formatID is the server's default; a name without it has this one.
const formatID = 1

// xaName is Name for what is ours, checked.
func xaName(b dtc.Branch) (string, error) {
	if _, err := literal(b.XID.String()); err != nil {
		return "", err
	}
	if _, err := literal(b.Participant); err != nil {
		return "", err
	}
	return Name(b.XID, b.Participant), nil
}

// rowKey is the key of a branch's row: the XID, a dot, and the participant's id.
func rowKey(xid dtc.XID, participant string) string { return xid.String() + "." + participant }

var (
	errName     = errors.New("mysql: a name of a branch has other characters than [A-Za-z0-9._-]")
	errNameSize = errors.New("mysql: the two parts of a branch's name have 1 to 64 bytes each")
)

// literal quotes a name of ours as an SQL literal. It refuses everything that could need
// escaping, and what the server would refuse in an XID.
func literal(name string) (string, error) {
	if len(name) == 0 || len(name) > maxPart {
		return "", errNameSize
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-", c):
		default:
			return "", errName
		}
	}
	return "'" + name + "'", nil
}

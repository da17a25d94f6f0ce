package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dtc-project/dtc/dtchttp"
)

// Tokens are the bearer tokens of a file: who may call, and what for. A line is
//
//	NAME ROLE[,ROLE…] sha256:HEX
//
// where NAME is what the audit log calls its bearer, ROLE is app, participant,
// observer or operator, and HEX the SHA-256 hash of the token, 64 digits. The role
// participant:ID may ask for the branches of the participant ID only. Empty lines
// and those that begin with # say nothing. A name may stand on several lines, so
// that an old and a new token are good side by side while one is replaced.
//
// A plain hash is enough, and nothing slower is needed: a token made by [NewToken]
// is 256 random bits, which nobody finds by trying, and no table holds. That is not
// true of a word that a person made up.
type Tokens struct{ r *reloader[[]entry] }

type entry struct {
	hash   [sha256.Size]byte
	caller dtchttp.Caller
}

// OpenTokens reads a tokens file, and watches it from then on. The error names the
// line. A file without a token, or one that others than its owner may write, is an
// error too.
func OpenTokens(path string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{&reloader[[]entry]{what: "tokens file", paths: []string{path}, check: ownersOnly, log: log}}
	t.r.parse = func(contents [][]byte) (*[]entry, error) {
		entries, err := parseTokens(contents[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return &entries, nil
	}
	t.r.renewed = func(e *[]entry) { log.Info("the tokens file was read again", "path", path, "tokens", len(*e)) }
	if err := t.r.open(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file now. With an error the tokens stay as they are.
func (t *Tokens) Reload() error { return t.r.reload() }

// Len returns how many tokens are good.
func (t *Tokens) Len() int { return len(*t.r.get()) }

// find returns whose token it is. It takes as long for a token that is nearly
// right as for any other, and compares with every entry, so that the time says
// nothing about where in the file one stands.
func (t *Tokens) find(token string) (dtchttp.Caller, bool) {
	hash := sha256.Sum256([]byte(token))
	entries := *t.r.get()
	found := -1
	for i := range entries {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], entries[i].hash[:]), i, found)
	}
	if found < 0 {
		return dtchttp.Caller{}, false
	}
	return entries[found].caller, true
}

// ownersOnly refuses a file that others than its owner may write. What the bits
// mean is not known on Windows.
func ownersOnly(f os.FileInfo) error {
	if f.Mode().Perm()&0o022 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("may be written by others than its owner (%v), who could give themselves any role: chmod go-w", f.Mode().Perm())
	}
	return nil
}

const (
	hashPrefix = "sha256:"
	maxName    = 64
)

// parseTokens reads the lines of a tokens file. No error holds a word of the file
// that could be a token: a person may have put it in the wrong place.
func parseTokens(content []byte) ([]entry, error) {
	var entries []entry
	lines := map[[sha256.Size]byte]int{}
	for i, line := range strings.Split(string(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		e, err := parseEntry(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if first, twice := lines[e.hash]; twice {
			return nil, fmt.Errorf("line %d: the same token stands on line %d", i+1, first)
		}
		lines[e.hash] = i + 1
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, errors.New("it holds no token: make one with 'dtc config token NAME ROLE'")
	}
	return entries, nil
}

func parseEntry(words []string) (e entry, err error) {
	if len(words) != 3 {
		return e, fmt.Errorf("%d words instead of three: NAME ROLE[,ROLE…] sha256:HEX", len(words))
	}
	if err := CheckName(words[0]); err != nil {
		return e, err
	}
	e.caller.Name = words[0]
	if e.caller.Roles, e.caller.Participant, err = ParseRoles(strings.Split(words[1], ",")); err != nil {
		return e, err
	}
	digits, ok := strings.CutPrefix(words[2], hashPrefix)
	hash, err := hex.DecodeString(digits)
	if !ok || err != nil || len(hash) != sha256.Size {
		return e, errors.New("the third word must be sha256: and 64 hexadecimal digits, as 'dtc config token' prints it (the token itself does not belong here)")
	}
	copy(e.hash[:], hash)
	return e, nil
}

// CheckName checks what a bearer may be called: 1 to 64 bytes of printable UTF-8
// without spaces, not beginning with #.
func CheckName(name string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }
	if name == "" || len(name) > maxName || name[0] == '#' || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) {
		return errors.New("a name is 1 to 64 bytes of printable UTF-8 without spaces, and does not begin with #")
	}
	return nil
}

// ParseRoles reads the names of roles: app, participant, participant:ID, observer
// and operator. ID is returned beside them, and is empty for every participant.
func ParseRoles(words []string) (roles []dtchttp.Role, participant string, err error) {
	seen := map[dtchttp.Role]bool{}
	for _, w := range words {
		word, id, named := strings.Cut(w, ":")
		role := dtchttp.Role(word)
		switch role {
		case dtchttp.RoleApp, dtchttp.RoleParticipant, dtchttp.RoleObserver, dtchttp.RoleOperator:
		default:
			return nil, "", errors.New("a role is app, participant, participant:ID, observer or operator, and several are separated by commas")
		}
		switch {
		case named && (role != dtchttp.RoleParticipant || id == ""):
			return nil, "", errors.New("only the role participant takes the id of a participant: participant:ID")
		case seen[role]:
			return nil, "", fmt.Errorf("the role %s stands there twice", role)
		case named:
			participant = id
		}
		seen[role] = true
		roles = append(roles, role)
	}
	if len(roles) == 0 {
		return nil, "", errors.New("no role is given")
	}
	return roles, participant, nil
}

// NewToken returns a token of 256 random bits and the word that stands for it in a
// tokens file. It begins with "dtc_", so that those who look for leaked secrets
// know what they have found.
func NewToken() (token, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	token = "dtc_" + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	return token, hashPrefix + hex.EncodeToString(sum[:])
}

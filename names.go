package dtc

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/dtc-project/dtc/internal/protocol"
)

// MaxPayload is the largest payload of a branch, in bytes.
const MaxPayload = 256 << 10

func checkTxID(id TxID) error {
	if printable(id) {
		return nil // the usual id: ASCII, and not too long
	}
	switch {
	case id == "":
		return fmt.Errorf("%w: the transaction id is empty", ErrBadRequest)
	case len(id) > protocol.MaxTxID:
		return fmt.Errorf("%w: the transaction id has %d bytes; at most %d are allowed", ErrBadRequest, len(id), protocol.MaxTxID)
	case !utf8.ValidString(string(id)):
		return fmt.Errorf("%w: the transaction id %q is not valid UTF-8", ErrBadRequest, string(id))
	}
	for _, r := range string(id) {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return fmt.Errorf("%w: the transaction id %q contains %q; only printable characters without spaces are allowed", ErrBadRequest, string(id), r)
		}
	}
	return nil
}

// printable reports whether an id is right and in ASCII.
func printable(id TxID) bool {
	if len(id) == 0 || len(id) > protocol.MaxTxID {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

func checkParticipantID(id string) error {
	ok := len(id) >= 1 && len(id) <= protocol.MaxParticipantID
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return fmt.Errorf("%w: participant id %q: want 1 to %d characters of [A-Za-z0-9._-]", ErrBadRequest, id, protocol.MaxParticipantID)
	}
	return nil
}

// checkBranches checks what a caller handed to Execute.
func checkBranches(branches []Branch) error {
	switch {
	case len(branches) == 0:
		return fmt.Errorf("%w: a transaction needs at least one branch", ErrBadRequest)
	case len(branches) > protocol.MaxBranches:
		return fmt.Errorf("%w: %d branches; at most %d are allowed", ErrBadRequest, len(branches), protocol.MaxBranches)
	}
	for i := range branches {
		if n := len(branches[i].Payload); n > MaxPayload {
			return fmt.Errorf("%w: the payload for %s has %d bytes; at most %d are allowed", ErrBadRequest, branches[i].Participant, n, MaxPayload)
		}
	}
	if len(branches) <= 8 {
		for i := range branches {
			for j := range i {
				if branches[i].Participant == branches[j].Participant {
					return errTwice(branches[i].Participant)
				}
			}
		}
		return nil
	}
	seen := make(map[string]bool, len(branches))
	for i := range branches {
		if seen[branches[i].Participant] {
			return errTwice(branches[i].Participant)
		}
		seen[branches[i].Participant] = true
	}
	return nil
}

func errTwice(id string) error {
	return fmt.Errorf("%w: participant %s is named twice; a transaction has one branch for each participant", ErrBadRequest, id)
}

// fingerprint decides whether a repeated transaction id is the same request:
// sorted participants with their payloads, JSON compacted first because white
// space is no difference.
func fingerprint(branches []Branch) (f [16]byte) {
	var space [8]int
	order := space[:0]
	sorted := true // as branches usually are: always listed in the same order
	for i := range branches {
		order = append(order, i)
		sorted = sorted && (i == 0 || branches[i-1].Participant <= branches[i].Participant)
	}
	if !sorted {
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(branches[a].Participant, branches[b].Participant) })
	}
	var buf [512]byte
	text := buf[:0]
	for _, i := range order {
		b := &branches[i]
		text = append(text, byte(len(b.Participant)))
		text = append(text, b.Participant...)
		text = binary.LittleEndian.AppendUint32(text, uint32(len(b.Payload)))
		if len(b.Payload) > 0 {
			sum := sha256.Sum256(compact(b.Payload))
			text = append(text[:len(text)-4], 1, 0, 0, 0) // the length changes with white space
			text = append(text, sum[:]...)
		}
	}
	sum := sha256.Sum256(text)
	copy(f[:], sum[:])
	if f == ([16]byte{}) {
		f[0] = 1 // zero means "none"
	}
	return f
}

func compact(payload []byte) []byte {
	switch payload[0] {
	case '{', '[', '"', ' ', '\t', '\n', '\r':
		var b bytes.Buffer
		if json.Compact(&b, payload) == nil {
			return b.Bytes()
		}
	}
	return payload
}

package protocol

import (
	"cmp"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// LogID names a decision log for ever: 80 random bits made with it.
type LogID [10]byte

var logIDEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the id as 16 characters of a-z and 2-7.
func (id LogID) String() string { return logIDEncoding.EncodeToString(id[:]) }

// ParseLogID is the inverse of [LogID.String].
func ParseLogID(s string) (LogID, error) {
	var id LogID
	b, err := logIDEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return LogID{}, fmt.Errorf("log id %q: want 16 characters of a-z and 2-7", s)
	}
	copy(id[:], b)
	return id, nil
}

// Incarnation is one opening of a log: a number one higher each time, and 32
// random bits that tell apart two openings of a log and its copy.
type Incarnation struct {
	Number uint32
	Nonce  uint32
}

// String returns for example "7-9f3a10cc".
func (i Incarnation) String() string { return fmt.Sprintf("%d-%08x", i.Number, i.Nonce) }

// XID is a transaction's name for its participants. The caller's id may run
// again after it was forgotten; an XID is never used twice, not even by a log
// that was copied or restored.
type XID struct {
	Log         LogID
	Incarnation Incarnation
	Seq         uint64
}

// IsZero reports whether x is the zero XID, which names nothing.
func (x XID) IsZero() bool { return x == XID{} }

// String returns "dtc.<log>.<incarnation>.<sequence>": at most 64 bytes of
// letters, digits, '.', and '-'. The zero XID is the empty string.
func (x XID) String() string {
	if x.IsZero() {
		return ""
	}
	return string(x.AppendText(make([]byte, 0, 64)))
}

// AppendText appends the text of [XID.String] to b.
func (x XID) AppendText(b []byte) []byte {
	b = append(b, "dtc."...)
	b = logIDEncoding.AppendEncode(b, x.Log[:])
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(x.Incarnation.Number), 10)
	b = append(b, '-')
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[x.Incarnation.Nonce>>shift&0xf])
	}
	b = append(b, '.')
	return strconv.AppendUint(b, x.Seq, 10)
}

// MarshalText returns the text of [XID.String].
func (x XID) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// UnmarshalText accepts what [ParseXID] accepts, and the empty text for the zero
// XID.
func (x *XID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*x = XID{}
		return nil
	}
	p, err := ParseXID(string(b))
	if err == nil {
		*x = p
	}
	return err
}

var errXID = errors.New(`want "dtc.<log>.<number>-<8 hex digits>.<sequence>"`)

// ParseXID is the inverse of [XID.String]; it accepts no other spelling.
func ParseXID(s string) (XID, error) {
	x, err := parseXID(s)
	if err == nil && x.String() != s {
		err = errXID // leading zeros, capitals: one name has one spelling
	}
	if err != nil {
		return XID{}, fmt.Errorf("xid %q: %w", s, err)
	}
	return x, nil
}

func parseXID(s string) (x XID, err error) {
	part := strings.Split(s, ".")
	if len(s) > 64 || len(part) != 4 || part[0] != "dtc" {
		return x, errXID
	}
	number, nonce, ok := strings.Cut(part[2], "-")
	if !ok || len(nonce) != 8 {
		return x, errXID
	}
	if x.Log, err = ParseLogID(part[1]); err != nil {
		return x, errXID
	}
	n, err1 := strconv.ParseUint(number, 10, 32)
	r, err2 := strconv.ParseUint(nonce, 16, 32)
	q, err3 := strconv.ParseUint(part[3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return x, errXID
	}
	x.Incarnation = Incarnation{Number: uint32(n), Nonce: uint32(r)}
	x.Seq = q
	return x, nil
}

// Compare orders two XIDs of one log by incarnation number, then sequence. It
// says nothing about XIDs of different logs.
func (x XID) Compare(y XID) int {
	if c := cmp.Compare(x.Incarnation.Number, y.Incarnation.Number); c != 0 {
		return c
	}
	return cmp.Compare(x.Seq, y.Seq)
}

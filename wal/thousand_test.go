package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// thousand returns a log of 1,000 transactions in one segment, closed or not, and
// what its records are.
func thousand(t *testing.T, closed bool) (*vfs.Mem, []byte) {
	t.Helper()
	fs := vfs.NewMem()
	l, err := wal.Open(dir, &wal.Options{SegmentSize: 80 << 10, FS: fs})
	must(t, err)
	for i := range 1000 {
		ref := txlog.Ref{Incarnation: 1, Seq: uint64(i + 1)}
		must(t, l.Append(&txlog.Prepare{Ref: ref, TxID: fmt.Sprint("order-", i), Branches: []txlog.Branch{{Participant: "a"}, {Participant: "b"}}}))
		must(t, l.Append(&txlog.Commit{Ref: ref, Votes: []protocol.Vote{protocol.VoteCommit, protocol.VoteCommit}}))
		end := &txlog.End{Ref: ref, Outcome: protocol.Committed}
		if i%20 == 19 {
			must(t, l.Force(end))
		} else {
			must(t, l.Append(end))
		}
	}
	after := fs.Kill()
	must(t, l.Close())
	if closed {
		after = fs
	}
	said, records, err := says(after)
	must(t, err)
	if records != 3000 || after.ReadFile(seg2) != nil {
		t.Fatalf("%d records, %v", records, after.Files())
	}
	return after, said
}

// says returns what a log says: its records with their places and times, and how
// many there are; or that it is refused.
func says(fs *vfs.Mem) (said []byte, records int, err error) {
	r, err := wal.OpenReadOnly(dir, &wal.Options{FS: fs})
	if err != nil {
		return nil, 0, err
	}
	if _, err := r.Verify(); err != nil {
		return nil, 0, err
	}
	err = r.Replay(func(e txlog.Entry) (err error) {
		records++
		said = binary.LittleEndian.AppendUint64(said, e.Position)
		said = binary.LittleEndian.AppendUint64(said, uint64(e.Time.UnixNano()))
		said, err = wal.AppendRecord(said, e.Record)
		return err
	})
	return said, records, err
}

// TestThousandTransactions flips a bit of every byte of a log with 1,000
// transactions, and cuts it at every byte: it is refused, or what it says is what it
// said, without records that nobody can show to have been durable.
func TestThousandTransactions(t *testing.T) {
	t.Parallel()
	stride := 64 * slower
	if crashImages(t, 100, 0) >= 1_000_000 {
		stride = 1 // every byte in a soak
	}
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed=%v", closed), func(t *testing.T) {
			t.Parallel()
			fs, want := thousand(t, closed)
			whole := fs.ReadFile(seg1)
			refused, cut, same := 0, 0, 0
			try := func(what string, at int, bad []byte) {
				fs.WriteFile(seg1, bad)
				got, n, err := says(fs)
				switch {
				case err != nil && isRefusal(err):
					refused++
				case err != nil:
					t.Fatalf("%s byte %d: %v (%T)", what, at, err, err)
				case closed:
					t.Fatalf("%s byte %d: the log was closed, and is read with %d records", what, at, n)
				case !bytes.HasPrefix(want, got):
					t.Fatalf("%s byte %d: the log says something else", what, at)
				case n == 3000:
					same++
				case n < 3000-60: // the last batch
					t.Fatalf("%s byte %d: %d records are left", what, at, n)
				default:
					cut++
				}
			}
			for i := 0; i < len(whole); i += stride {
				bad := append([]byte(nil), whole...)
				bad[i] ^= 1 << (i % 8)
				try("flipped", i, bad)
			}
			for i := 0; i < len(whole); i += stride {
				try("cut at", i, whole[:i])
			}
			if closed {
				tally.Add(t, "damage", "flips and cuts of a log of 1,000 transactions, all refused", int64(refused), 1)
			} else {
				addDamage(t, refused, cut, same)
			}
			if refused < len(whole)/stride/2 || closed != (cut+same == 0) {
				t.Error("something never happened, or what must not happen has")
			}
		})
	}
}

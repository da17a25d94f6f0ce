package logcheck

import "math"

// Kind is the first byte of a record.
type Kind uint8

// The kinds of records.
const (
	Incarnation Kind = 1 + iota
	Block
	Prepare
	Commit
	Abort
	End
	Resolution
	Logged
	Horizon
	Outcome
	Hold
	Release
	OnePhase
)

// The limits of what a record holds.
const (
	maxTx          = 128
	maxParticipant = 64
	maxBranches    = 1000
	maxText        = 1 << 16
)

// Record is a record of any kind; what a kind does not have is zero.
type Record struct {
	Kind        Kind
	Number      uint32 // of the incarnation: its own, or that of the ref
	Seq         uint64 // of the ref
	Nonce       uint32
	Through     uint64
	Tx          string
	Fingerprint [16]byte
	Key         [16]byte
	Branches    []Branch
	Votes       []byte
	Code        byte
	Participant string
	Outcome     byte
	Text        string // message or reason
	Runs        []Run
	Time        int64 // nanoseconds since 1970
}

// Branch is one participant's part of a transaction.
type Branch struct {
	Participant string
	Plain       bool
}

// Run is the sequences First to Last.
type Run struct{ First, Last uint64 }

// decoder takes a record apart from its front. The first thing that is wrong
// stays, and everything after it reads as zero.
type decoder struct {
	b   []byte
	why string
}

func (d *decoder) fail(why string) {
	if d.why == "" {
		d.why = why
	}
	d.b = nil
}

func (d *decoder) number() uint64 {
	n, used := uvarint(d.b)
	if used == 0 {
		d.fail("a number is cut off, too large, or not in its shortest form")
		return 0
	}
	d.b = d.b[used:]
	return n
}

func (d *decoder) incarnation() uint32 {
	n := d.number()
	if n > math.MaxUint32 {
		d.fail("the number of an incarnation has more than 32 bits")
	}
	return uint32(n)
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("the record is cut off")
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// byte reads one that is at most limit.
func (d *decoder) byte(limit byte) byte {
	b := d.bytes(1)
	if len(b) == 0 {
		return 0
	}
	if b[0] > limit {
		d.fail("a vote, an outcome, a code or a flag has a value without meaning")
	}
	return b[0]
}

func (d *decoder) text(limit uint64) string {
	n := d.number()
	if n > limit {
		d.fail("a text is longer than allowed")
	}
	return string(d.bytes(n))
}

// count reads how many things follow, each of at least size bytes: nothing is
// allocated for what cannot be there.
func (d *decoder) count(limit, size uint64) uint64 {
	n := d.number()
	if n > limit || n > uint64(len(d.b))/size {
		d.fail("there are more branches, votes or runs than allowed, or than follow")
		return 0
	}
	return n
}

func (d *decoder) time() int64 {
	if b := d.bytes(8); len(b) == 8 {
		return int64(le.Uint64(b))
	}
	return 0
}

func (d *decoder) ref(r *Record) { r.Number, r.Seq = d.incarnation(), d.number() }

// decode reads a record from exactly b. why is empty if it is one.
func decode(b []byte) (r *Record, why string) {
	d := &decoder{b: b}
	r = &Record{Kind: Kind(d.byte(math.MaxUint8))}
	switch r.Kind {
	case Incarnation:
		r.Number = d.incarnation()
		if n := d.bytes(4); len(n) == 4 {
			r.Nonce = le.Uint32(n)
		}
		r.Through = d.number()
	case Block:
		r.Number, r.Through = d.incarnation(), d.number()
	case Prepare, OnePhase:
		d.ref(r)
		r.Tx = d.text(maxTx)
		copy(r.Fingerprint[:], d.bytes(16))
		n := d.count(maxBranches, 2)
		r.Branches = make([]Branch, 0, n)
		for ; n > 0 && d.why == ""; n-- {
			plain := d.byte(1) == 1
			r.Branches = append(r.Branches, Branch{d.text(maxParticipant), plain})
		}
		if r.Kind == OnePhase && len(r.Branches) != 1 {
			d.fail("a transaction in one phase has one branch")
		}
	case Commit:
		d.ref(r)
		for n := d.count(maxBranches, 1); n > 0 && d.why == ""; n-- {
			r.Votes = append(r.Votes, d.byte(voteReadOnly))
		}
	case Abort:
		d.ref(r)
		r.Code, r.Participant, r.Text = d.byte(maxCode), d.text(maxParticipant), d.text(maxText)
	case End:
		d.ref(r)
		r.Outcome = d.byte(heuristic)
	case Resolution:
		d.ref(r)
		r.Participant, r.Outcome = d.text(maxParticipant), d.byte(rolledBack)
		r.Text = d.text(maxText)
		if r.Outcome == unknown {
			d.fail("a branch is resolved as committed or rolled back, not as unknown")
		}
	case Logged:
		r.Number = d.incarnation()
		n := d.count(math.MaxUint64, 2)
		r.Runs = make([]Run, 0, n)
		for ; n > 0 && d.why == ""; n-- {
			run := Run{d.number(), d.number()}
			if k := len(r.Runs); run.Last < run.First || k > 0 && (r.Runs[k-1].Last == math.MaxUint64 || run.First <= r.Runs[k-1].Last+1) {
				d.fail("the runs of sequences do not ascend with a gap between any two")
			}
			r.Runs = append(r.Runs, run)
		}
	case Horizon:
		r.Time = d.time()
	case Outcome:
		d.ref(r)
		copy(r.Key[:], d.bytes(16))
		copy(r.Fingerprint[:], d.bytes(16))
		r.Outcome, r.Code, r.Time = d.byte(heuristic), d.byte(maxCode), d.time()
	case Hold:
		r.Number, r.Text = d.incarnation(), d.text(maxText)
	case Release:
		r.Text = d.text(maxText)
	default:
		d.fail("a record is of a kind that this version does not have")
	}
	if d.why == "" && len(d.b) > 0 {
		d.fail("a record is longer than what it holds")
	}
	return r, d.why
}

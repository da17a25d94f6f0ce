// Package compare holds the two decoders of a decision log against each other:
// that of package wal, which a coordinator runs on, and package logcheck, which
// shares no code with it.
package compare

import (
	"errors"
	"fmt"

	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// Disagreement says that the two decoders do not say the same of a log: one of
// them is wrong, or the format does not say enough.
type Disagreement struct{ What, First, Second string }

// Error implements error.
func (e *Disagreement) Error() string {
	return fmt.Sprintf("the two decoders of the log disagree on %s: the first says %s, the second %s", e.What, e.First, e.Second)
}

// Result is what the two say of a log.
type Result struct {
	Second        logcheck.Report
	First         wal.Report
	FirstRecords  int // that replay gives, with those of a checkpoint
	Refused       error
	SecondRefused error
}

// Log reads the log in dir with both decoders and compares what they say, record
// by record. The error is a *Disagreement, or what kept a file from being read. A
// log that both refuse is no error: that is in the result. A *logcheck.Contradiction
// is in SecondRefused and no disagreement: the first decoder looks at the framing
// alone. The log must not be in use.
func Log(dir string, files vfs.FS) (Result, error) {
	var res Result
	first, err := firstRecords(dir, files, &res)
	if err != nil {
		return res, err
	}
	n := 0
	var differ error
	res.Second, res.SecondRefused = logcheck.Check(dir, logcheck.Over[vfs.File](files), func(e logcheck.Entry) error {
		switch {
		case n >= len(first):
			// Before a damage the two may stop at different records.
			differ = &Disagreement{"the number of records", fmt.Sprint(len(first)), "more"}
		case differ == nil && !same(first[n], e.Record):
			differ = &Disagreement{fmt.Sprintf("record %d", n), first[n].String(), e.Record.String()}
		}
		n++
		return nil
	})
	if a, b := Verdict(res.Refused), Verdict(res.SecondRefused); a != b {
		return res, &Disagreement{"whether it is sound", fmt.Sprintf("%s (%v)", a, res.Refused), fmt.Sprintf("%s (%v)", b, res.SecondRefused)}
	}
	if Verdict(res.Refused) != Sound {
		return res, nil
	}
	if differ == nil && n != len(first) {
		differ = &Disagreement{"the number of records", fmt.Sprint(len(first)), fmt.Sprint(n)}
	}
	if differ != nil {
		return res, differ
	}
	return res, Reports(res.First, res.Second)
}

// Reports compares what the two say of a log that both find sound.
func Reports(first wal.Report, second logcheck.Report) error {
	for _, f := range []struct {
		what string
		a, b any
	}{
		{"the end", first.End, second.End},
		{"what is durable", first.Synced, second.Synced},
		{"whether it was closed cleanly", first.Clean, second.Clean},
	} {
		if f.a != f.b {
			return &Disagreement{f.what, fmt.Sprint(f.a), fmt.Sprint(f.b)}
		}
	}
	return nil
}

// firstRecords returns what the first decoder reads, in the second one's words.
func firstRecords(dir string, files vfs.FS, res *Result) (records []*logcheck.Record, err error) {
	r, err := wal.OpenReadOnly(dir, &wal.Options{FS: files})
	if err == nil {
		if res.First, err = r.Verify(); err == nil {
			err = r.Replay(func(e txlog.Entry) error {
				records = append(records, translate(e.Record))
				return nil
			})
		}
	}
	res.Refused, res.FirstRecords = err, len(records)
	if Verdict(err) == Failed {
		return nil, err
	}
	return records, nil
}

// The verdicts on a log, in the words of neither decoder.
const (
	Sound   = "sound"
	Damaged = "damaged"
	Version = "of another version"
	NotLog  = "no log, by its files"
	NoLog   = "no log"
	Failed  = "not read"
)

// Verdict returns the verdict that an error of either decoder stands for.
func Verdict(err error) string {
	var (
		corrupt       *wal.CorruptError
		version       *wal.VersionError
		not           *wal.NotLogError
		none          *wal.NoLogError
		damage        *logcheck.Damage
		newer         *logcheck.NewerVersion
		foreign       *logcheck.NotLog
		empty         *logcheck.NoLog
		contradiction *logcheck.Contradiction
	)
	switch {
	case err == nil, errors.As(err, &contradiction):
		return Sound
	case errors.As(err, &corrupt), errors.As(err, &damage):
		return Damaged
	case errors.As(err, &version), errors.As(err, &newer):
		return Version
	case errors.As(err, &not), errors.As(err, &foreign):
		return NotLog
	case errors.As(err, &none), errors.As(err, &empty):
		return NoLog
	}
	return Failed
}

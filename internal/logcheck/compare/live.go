package compare

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"

	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// Live is [Log] for a log that may be in use, and for one that is larger than
// memory. The first decoder reads before the second and after it: what the second
// says has to lie between, and all records that the first has read, the second
// must have read the same. A log that does not change in between leaves no room.
func Live(dir string, files vfs.FS) (res Result, err error) {
	// A checkpoint that is made meanwhile replaces what was read: then it is read
	// once more. They are far apart.
	for range 20 {
		var moved bool
		if res, moved, err = live(dir, files); err == nil || !moved {
			break
		}
	}
	return res, err
}

// live compares once, and says whether the log has changed meanwhile.
func live(dir string, files vfs.FS) (res Result, moved bool, err error) {
	before, err := readFirst(dir, files, true)
	if err != nil {
		return res, false, err
	}
	var second prefix
	report, refused := logcheck.Report{}, error(nil)
	_ = logcheck.Settle(func() error {
		second = prefix{upTo: before.records}
		report, refused = logcheck.Check(dir, logcheck.Over[vfs.File](files), func(e logcheck.Entry) error {
			second.add(e.Record.String())
			return nil
		})
		return refused
	})
	after, err := readFirst(dir, files, false)
	if err != nil {
		return res, false, err
	}
	moved = before.report != after.report || fmt.Sprint(before.refused) != fmt.Sprint(after.refused)
	res = Result{First: before.report, Second: report, FirstRecords: before.records, Refused: before.refused, SecondRefused: refused}
	a, b := Verdict(before.refused), Verdict(refused)
	switch {
	case a != b:
		err = &Disagreement{"whether it is sound", fmt.Sprintf("%s (%v)", a, before.refused), fmt.Sprintf("%s (%v)", b, refused)}
	case a != Sound:
	case before.log != report.Log.String():
		err = &Disagreement{"its id", before.log, report.Log.String()}
	case second.records < before.records || !moved && second.records != before.records:
		err = &Disagreement{"the number of records", fmt.Sprint(before.records), fmt.Sprint(second.records)}
	case second.sum != before.sum:
		err = &Disagreement{fmt.Sprintf("the first %d records", before.records), fmt.Sprintf("%016x", before.sum), fmt.Sprintf("%016x", second.sum)}
	case !moved:
		err = Reports(before.report, report)
	case report.End < before.report.End || report.End > after.report.End:
		err = &Disagreement{"the end", fmt.Sprintf("%d to %d", before.report.End, after.report.End), fmt.Sprint(report.End)}
	case report.Synced < before.report.Synced || report.Synced > after.report.Synced:
		err = &Disagreement{"what is durable", fmt.Sprintf("%d to %d", before.report.Synced, after.report.Synced), fmt.Sprint(report.Synced)}
	}
	return res, moved, err
}

// prefix is a sum over the first records of a log.
type prefix struct {
	upTo    int // records that count
	records int
	sum     uint64
}

func (p *prefix) add(line string) {
	if p.records++; p.records > p.upTo {
		return
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%016x", p.sum)
	_, _ = io.WriteString(h, line)
	p.sum = h.Sum64()
}

// reading is what the first decoder says.
type reading struct {
	prefix
	log     string
	report  wal.Report
	refused error
}

// readFirst reads with the first decoder; replay: every record too.
func readFirst(dir string, files vfs.FS, replay bool) (f reading, err error) {
	for range 20 {
		f, err = reading{prefix: prefix{upTo: math.MaxInt}}, nil
		var r *wal.Reader
		if r, f.refused = wal.OpenReadOnly(dir, &wal.Options{FS: files}); f.refused == nil {
			f.log = r.ID().String()
			if f.report, f.refused = r.Verify(); f.refused == nil && replay {
				err = r.Replay(func(e txlog.Entry) error {
					f.add(Line(e.Record))
					return nil
				})
			}
		}
		if err == nil {
			break
		}
		// It was sound a moment ago: the files have changed under the reader.
	}
	if Verdict(f.refused) == Failed {
		err = errors.Join(err, f.refused)
	}
	return f, err
}

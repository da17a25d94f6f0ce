package oracle

import (
	"fmt"

	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// CheckLog verifies a log that nobody has open, with both decoders, and looks for an id
// that committed twice. closed says that it was closed and not killed. The error is a
// *[wal.NoLogError] if there is none.
func CheckLog(dir string, closed bool) (report wal.Report, wrong []string, err error) {
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	r, err := wal.OpenReadOnly(dir, nil)
	if err != nil {
		return report, nil, err
	}
	report, err = r.Verify()
	if err != nil {
		fail("the log does not verify: %v", err)
	}
	if closed && !report.Clean {
		fail("the log was closed and is not clean: %+v", report)
	}
	// Two decoders that share no code read the same, and every record can stand where
	// it stands.
	if res, err := compare.Log(dir, vfs.OS{}); err != nil {
		fail("%v", err)
	} else if res.SecondRefused != nil {
		fail("the log is not sound: %v", res.SecondRefused)
	}
	ids, commits := map[txlog.Ref]string{}, map[string]int{}
	err = r.Replay(func(e txlog.Entry) error {
		switch rec := e.Record.(type) {
		case *txlog.Prepare:
			ids[rec.Ref] = rec.TxID
		case *txlog.Commit:
			id := ids[rec.Ref]
			if commits[id]++; commits[id] > 1 {
				fail("%s: the log holds %d commit decisions", id, commits[id])
			}
		}
		return nil
	})
	return report, wrong, err
}

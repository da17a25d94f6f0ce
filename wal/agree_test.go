package wal_test

import (
	"fmt"
	"testing"

	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
)

// agreed asks both decoders about the log on fs, which may be in use and may be
// broken: they must give the same verdict, and if it is sound read the same. The
// records of these tests need not make sense one after another, only their form
// is compared.
func agreed(fs *vfs.Mem) error {
	res, err := compare.Log(dir, fs.Kill()) // without hooks and faults
	if err != nil {
		return fmt.Errorf("%w\n%+v\n%+v", err, res.First, res.Second)
	}
	return nil
}

func agree(t testing.TB, fs *vfs.Mem) {
	t.Helper()
	if err := agreed(fs); err != nil {
		t.Fatal(err)
	}
}

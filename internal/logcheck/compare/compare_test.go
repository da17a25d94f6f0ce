package compare_test

import (
	"errors"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

const dir = "/log"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// history returns a file system with a random log: openings, records of all
// kinds, rotations, crashes and clean ends.
func history(t testing.TB, rng *rand.Rand) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem()
	records := dtctest.SampleRecords()
	for range 1 + rng.Intn(4) {
		l, err := wal.Open(dir, &wal.Options{FS: fs, SegmentSize: 4096})
		must(t, err)
		for range rng.Intn(20) {
			r := records[rng.Intn(len(records))]
			if p, ok := r.(*txlog.Prepare); ok && len(p.Branches) > 9 && rng.Intn(10) > 0 {
				continue // the largest are larger than all others together
			}
			if c, ok := r.(*txlog.Commit); ok && len(c.Votes) > 9 && rng.Intn(10) > 0 {
				continue
			}
			if rng.Intn(2) == 0 {
				must(t, l.Force(r))
			} else {
				must(t, l.Append(r))
			}
		}
		next := fs.Kill()
		if rng.Intn(2) == 0 {
			next = fs.Crash(rng)
		}
		must(t, l.Close())
		if rng.Intn(3) > 0 {
			fs = next
		}
	}
	return fs.Kill()
}

func seeds(t *testing.T, normal int) int {
	if n, err := strconv.Atoi(os.Getenv("DTC_CRASH_IMAGES")); err == nil && n > 0 {
		return n
	}
	if testing.Short() {
		return normal / 10
	}
	return normal
}

// TestMutations changes real logs at random: whatever it is that the change does,
// the two decoders must say the same of it.
func TestMutations(t *testing.T) {
	verdicts, differ := map[string]int{}, map[string]int{}
	for seed := range seeds(t, 100) {
		rng := rand.New(rand.NewSource(int64(seed)))
		fs := history(t, rng)
		res, err := compare.Log(dir, fs)
		if err != nil || res.Refused != nil {
			t.Fatalf("seed %d: %v, %v", seed, err, res.Refused)
		}
		for range 20 {
			changed, what := fs.Kill(), ""
			changes := 1 + rng.Intn(2)
			for range changes {
				what += "; " + mutate(changed, rng)
			}
			res, err := compare.Log(dir, changed)
			if why := unsettled(res, changes); err != nil && why != "" {
				differ[why]++
			} else if err != nil {
				t.Errorf("seed %d%s: %v", seed, what, err)
			}
			verdicts[compare.Verdict(res.Refused)]++
		}
	}
	t.Log(verdicts, differ)
	for _, v := range []string{compare.Sound, compare.Damaged, compare.Version, compare.NoLog, compare.NotLog} {
		if verdicts[v] == 0 {
			t.Errorf("no log is %s: %v", v, verdicts)
		}
	}
	if verdicts[compare.Failed] > 0 {
		t.Errorf("not read: %v", verdicts)
	}
}

// unsettled says in which known way the two may differ. None of it makes the first
// decoder accept what a crash or a disk has damaged: that takes a forged checksum.
func unsettled(res compare.Result, changes int) string {
	first, second := compare.Verdict(res.Refused), compare.Verdict(res.SecondRefused)
	var damage *logcheck.Damage
	if errors.As(res.SecondRefused, &damage) && first == compare.Sound {
		for _, why := range []string{
			"unused field", // the first decoder takes what no writer has put there
			"padding",      // the same
		} {
			if strings.Contains(damage.Why, why) {
				return why
			}
		}
	}
	switch {
	case changes > 1 && first == compare.Damaged && second == compare.Version:
		return "of two reasons the first decoder gives the first that it meets, the second the version"
	}
	return ""
}

// FuzzAgree gives the two any files; with seal every checksum is made good, so
// that what stands behind it is looked at.
func FuzzAgree(f *testing.F) {
	for seed := range int64(12) {
		fs := history(f, rand.New(rand.NewSource(seed)))
		var files [][]byte
		for _, path := range fs.Files() {
			if strings.HasSuffix(path, ".seg") {
				files = append(files, fs.ReadFile(path))
			}
		}
		files = append(files, nil)
		f.Add(files[0], files[1], fs.ReadFile(dir+"/clean"), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, first, second, closed []byte, seal bool) {
		fs := vfs.NewMem()
		must(t, fs.MkdirAll(dir))
		for i, b := range [][]byte{first, second, closed} {
			if len(b) == 0 {
				continue
			}
			if seal {
				b = sealed(b)
			}
			fs.WriteFile(dir+"/"+[...]string{"00000001.seg", "00000002.seg", "clean"}[i], b)
		}
		res, err := compare.Log(dir, fs)
		if err != nil && unsettled(res, 2) == "" {
			t.Error(err)
		}
	})
}

package measure_test

import (
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/measure"
)

// TestCompare: something was done, and counted. How fast is for benchmarks.
func TestCompare(t *testing.T) {
	for _, s := range []measure.Setup{{Callers: 1, Plain: true}, {Callers: 4, Participants: 3, Blocking: true}} {
		s.Dir, s.Rounds, s.Slice = t.TempDir(), 1, 20*time.Millisecond
		row, err := measure.Compare(s)
		if err != nil {
			t.Fatal(err)
		}
		if row.Callers != s.Callers || row.TxPerS <= 0 || row.BarePerS <= 0 || row.LogPerS <= 0 || row.Ratio <= 0 ||
			row.LogRatio <= 0 || row.FsyncsPerTx <= 0 || row.P50 <= 0 || row.P99 < row.P50 {
			t.Errorf("%+v", row)
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []int{5, 1, 4, 2, 3}
	if measure.Median(v) != 3 || measure.Quantile(v, 0.99) != 5 || measure.Quantile(v, 0) != 1 || measure.Median([]int(nil)) != 0 {
		t.Error(measure.Median(v), measure.Quantile(v, 0.99), measure.Quantile(v, 0))
	}
}

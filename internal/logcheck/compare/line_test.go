package compare

import (
	"reflect"
	"testing"

	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/logcheck"
)

// TestSame: records are the same if nothing in them differs, and only then.
func TestSame(t *testing.T) {
	samples := dtctest.SampleRecords()
	for i, a := range samples {
		for j, b := range samples {
			if got := same(translate(a), translate(b)); got != (i == j) || (Line(a) == Line(b)) != (i == j) {
				t.Errorf("%s and %s: %v", Line(a), Line(b), got)
			}
		}
	}
	fields := reflect.TypeFor[logcheck.Record]()
	for i := range fields.NumField() {
		var a, b logcheck.Record
		switch f := reflect.ValueOf(&b).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Array:
			f.Index(7).SetUint(1)
		case reflect.Int64:
			f.SetInt(1)
		default:
			f.SetUint(1)
		}
		if same(&a, &b) {
			t.Errorf("a difference in %s is not seen", fields.Field(i).Name)
		}
	}
}

package chance

import (
	"bytes"
	"testing"
)

func draw() (b [16]byte, n int64) {
	Read(b[:])
	return b, Int64N(1 << 60)
}

func TestSeedCanBeHadAgain(t *testing.T) {
	restore := Seed([32]byte{1})
	b1, n1 := draw()
	Seed([32]byte{1})
	b2, n2 := draw()
	if b1 != b2 || n1 != n2 {
		t.Errorf("one seed: %x and %d, then %x and %d", b1, n1, b2, n2)
	}
	Seed([32]byte{2})
	if b3, _ := draw(); b3 == b1 {
		t.Error("two seeds are alike")
	}
	restore()
	b4, _ := draw()
	b5, _ := draw()
	if b4 == b5 || bytes.Equal(b4[:], make([]byte, 16)) {
		t.Errorf("without a seed: %x, %x", b4, b5)
	}
}

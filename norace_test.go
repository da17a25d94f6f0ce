//go:build !race

package dtc_test

// firstStride and secondStride thin out the kills; see race_test.go.
const (
	firstStride  = 1
	secondStride = 23
)

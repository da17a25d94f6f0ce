//go:build !race

package dtc_test

// secondStride thins out the kills of recovery; see race_test.go.
const secondStride = 11

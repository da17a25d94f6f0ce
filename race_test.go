//go:build race

package dtc_test

// secondStride thins out the kills of recovery: every 97th step, another one for
// each step at which the first kill came.
const secondStride = 97

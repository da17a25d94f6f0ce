//go:build race

package dtc_test

// firstStride thins out the kills of TestKillAtEveryPoint: here they look for races, and
// every step is for the run without the race detector.
const firstStride = 7

// secondStride thins out the kills of recovery: every 97th step, another one for
// each step at which the first kill came.
const secondStride = 97

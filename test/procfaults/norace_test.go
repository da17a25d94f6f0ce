//go:build !race

package procfaults_test

const raceDetector = false

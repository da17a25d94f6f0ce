//go:build race

package procfaults_test

// The server is built like the test.
func init() { buildFlags = []string{"-race"} }

const raceDetector = true

//go:build race

package procfaults_test

func init() { buildFlags = []string{"-race"} }

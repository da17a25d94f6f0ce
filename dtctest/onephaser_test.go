package dtctest

import "testing"

func TestMemoryCommitsInOnePhase(t *testing.T) {
	TestOnePhaser(t, func(*testing.T) Subject {
		s, m := memorySubject()
		m.OnePhase = true
		return s
	})
}

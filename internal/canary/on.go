//go:build canary

package canary

// Active is the planted bug that is switched on, or None. Only tests set it, and
// only while nothing else runs. Package env sets it for a whole process.
var Active Bug

// On reports whether b is the active bug.
func On(b Bug) bool { return b == Active }

//go:build !unix

package measure

import "time"

// CPU returns the processor time that this process has used, or zero where that
// is not known.
func CPU() time.Duration { return 0 }

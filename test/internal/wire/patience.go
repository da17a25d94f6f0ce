package wire

import (
	"time"

	"github.com/dtc-project/dtc"
)

// What somebody gives up on after GiveUp may be held back for good. Nothing else may fail for
// want of time, however slow the machine is: it has Enough.
const (
	GiveUp = 3 * time.Second
	Enough = time.Minute
)

// Patience is that of a coordinator with a participant of which f is one message: what is
// lost is known at once, so only what is held back is given up on.
func Patience(f Fault) dtc.Timing {
	t := dtc.Timing{PrepareTimeout: Enough, PrepareAttempt: Enough, FinishAttempt: Enough, FinishBackoffCap: 300 * time.Millisecond}
	if f == StallRequest || f == StallReply {
		t.PrepareAttempt, t.FinishAttempt = GiveUp, GiveUp
	}
	return t
}

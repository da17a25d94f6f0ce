package procfaults_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
)

const machinery = "process faults"

// TestStopped stops the coordinator and the participants for a time and lets them go on,
// under load. A process that wakes finds everybody's deadlines passed, and has messages
// of long ago to send and to answer.
func TestStopped(t *testing.T) {
	const least = 50 // told committed; it goes on until there are as many
	each(t, func(t *testing.T, h *house) {
		h.start()
		stopLoad := h.load(6)
		defer stopLoad()
		length, longest := 8*time.Second, 3*time.Second
		if soak := hours(t); soak > 0 {
			length, longest = soak, 70*time.Second
		}
		coordinator, participants := int64(0), int64(0)
		enough := func() bool {
			return coordinator >= 2 && h.count().committed >= least && (h.kind != serve || participants >= 1)
		}
		began := time.Now()
		for turn := 0; time.Since(began) < length || time.Since(began) < 8*length && !enough(); turn++ {
			time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
			// Most are short, so that there are many.
			d := 200*time.Millisecond + time.Duration(rand.Float64()*rand.Float64()*float64(longest-200*time.Millisecond))
			if turn%2 == 1 && h.kind == serve {
				participants++
				pause(h.parts[turn/2%len(h.parts)], d)
			} else {
				coordinator++
				pause(h.server, d)
			}
		}
		stopLoad()
		told := h.count().committed
		h.rest()
		tally.Add(t, machinery, "times a coordinator was stopped and went on, "+h.kind, coordinator, 2)
		if h.kind == serve {
			tally.Add(t, machinery, "times a participant was stopped and went on", participants, 1)
		}
		tally.Add(t, machinery, "transactions told committed while processes were stopped, "+h.kind, told, least)
	})
}

// TestStoppedStillOwns: a coordinator that does not run still has its directory. A second
// one must not take over from it, for it will wake; it may when the first is dead.
func TestStoppedStillOwns(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.start()
		stopLoad := h.load(6)
		defer stopLoad()
		rounds := int64(0)
		for range 3 {
			time.Sleep(500 * time.Millisecond)
			h.server.Signal(syscall.SIGSTOP)
			began := time.Now()
			h.refused(h.command(h.data), h.server.PID())
			if took := time.Since(began); took > 10*time.Second {
				h.fail("it took %v to refuse", took)
			}
			switch rounds {
			case 0: // it wakes, and nothing has happened
				h.server.Signal(syscall.SIGCONT)
			default:
				h.kill()
				h.start()
			}
			rounds++
		}
		time.Sleep(500 * time.Millisecond)
		stopLoad()
		h.rest()
		tally.Add(t, machinery, "times a stopped coordinator's directory was refused to another, "+h.kind, rounds, 3)
	})
}

// hours is how long a soak goes, or 0.
func hours(t *testing.T) time.Duration {
	s := os.Getenv("DTC_SOAK_HOURS")
	if s == "" {
		return 0
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatalf("DTC_SOAK_HOURS: %v", err)
	}
	return time.Duration(n * float64(time.Hour))
}

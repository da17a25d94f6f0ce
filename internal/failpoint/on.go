//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ArmEnv says what is to happen: a list of POINT:HIT:ACTION, separated by commas. At
// that hit of that point, counted from 1, the process kills itself ("kill") or stops
// itself ("stop").
const ArmEnv = "DTC_FAILPOINT"

// RecordEnv names a file to which the name of every point that is hit is appended,
// before anything happens there.
const RecordEnv = "DTC_FAILPOINT_RECORD"

var armed = arm(os.Getenv(ArmEnv), os.Getenv(RecordEnv))

type state struct {
	mu     sync.Mutex // taken under any lock of the program, and takes none
	hits   map[Point]int
	at     map[Point]map[int]syscall.Signal
	record *os.File
}

var signals = map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP}

// arm reads what is to happen. A mistake ends the process: a test that is not armed
// would pass.
func arm(list, record string) *state {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "failpoint:", err)
		os.Exit(2)
	}
	if list == "" && record == "" {
		return nil
	}
	s := &state{hits: map[Point]int{}, at: map[Point]map[int]syscall.Signal{}}
	for one := range strings.SplitSeq(list, ",") {
		if one == "" {
			continue
		}
		f := strings.Split(one, ":")
		if len(f) != 3 || signals[f[2]] == 0 {
			fail(fmt.Errorf("%s: want POINT:HIT:kill or POINT:HIT:stop", one))
		}
		n, err := strconv.Atoi(f[1])
		if err != nil || n < 1 {
			fail(fmt.Errorf("%s: hits are counted from 1", one))
		}
		if p := Point(f[0]); s.at[p] == nil {
			s.at[p] = map[int]syscall.Signal{}
		}
		s.at[Point(f[0])][n] = signals[f[2]]
	}
	if record != "" {
		var err error
		if s.record, err = os.OpenFile(record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			fail(err)
		}
	}
	return s
}

// Hit passes a point: it does what the environment says.
func Hit(p Point) {
	if armed != nil {
		armed.hit(p)
	}
}

func (s *state) hit(p Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits[p]++
	if s.record != nil {
		_, _ = s.record.WriteString(string(p) + "\n") // the test counts lines, and misses it
	}
	signal := s.at[p][s.hits[p]]
	if signal == 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), signal)
	if signal == syscall.SIGKILL {
		select {} // it is on its way; nothing happens behind this point
	}
}

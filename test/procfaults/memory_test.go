package procfaults_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/procs"
)

// TestNoMemory: a program with the library in it takes memory until the kernel gives it
// no more, and dies of that in the middle of its work. The next one finishes everything.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	h := newHouse(t, library)
	h.plain = plainBinary(t)
	deaths := int64(0)
	for range 3 {
		h.startLimited()
		stopLoad := h.load(6)
		<-h.server.Gone()
		h.epoch.Add(1)
		stopLoad()
		text := h.server.Stderr()
		// The last one is how C says that there is no room for the stack of a thread.
		if !strings.Contains(text, "out of memory") && !strings.Contains(text, "cannot allocate memory") && !strings.Contains(text, "pthread_create failed") {
			h.fail("it did not die of memory, code %d: %.2000s", h.server.Code(), text)
		}
		deaths++
		h.start()
		h.settle()
		h.kill()
	}
	told := h.count().committed
	h.start()
	h.rest()
	tally.Add(t, machinery, "coordinators that died because there was no memory", deaths, 3)
	tally.Add(t, machinery, "transactions told committed before that", told, 0) // it may come soon
}

// plainBinary is this test binary without the race detector, which needs more address
// space than any limit would leave.
func plainBinary(t *testing.T) string {
	t.Helper()
	if !raceDetector {
		return binaries + "/self"
	}
	cmd := exec.Command("go", "test", "-c", "-o", binaries+"/plain", ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the test without the race detector: %v\n%s", err, out)
	}
	return binaries + "/plain"
}

// startLimited starts a coordinator that leaks with the least address space with which it
// starts at all.
func (h *house) startLimited() {
	h.t.Helper()
	for mib := 256; mib <= 4096; mib *= 2 {
		cmd := childOf(h.plain, role{Dir: h.dir, Data: h.data, Leak: true})
		env := cmd.Env
		wrap := limited(fmt.Sprintf("ulimit -v %d", mib<<10))
		cmd = h.shell(append(wrap, cmd.Args...), env)
		h.server = procs.Start(h.t, "limited", cmd)
		if h.server.URL != "" {
			h.t.Logf("it starts with %d MiB of addresses", mib)
			h.moved(h.server.URL)
			return
		}
	}
	h.t.Fatalf("it does not start with 4 GiB of addresses: %s", h.server.Stderr())
}

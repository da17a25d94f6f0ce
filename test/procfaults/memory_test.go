package procfaults_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/procs"
)

// TestNoMemory: a program with the library in it takes memory until the kernel gives it
// no more, and dies of that in the middle of its work. The next one finishes everything.
func TestNoMemory(t *testing.T) {
	if raceDetector {
		t.Skip("SKIPPED: the race detector needs more address space than any limit would leave; the run without it tests this")
	}
	t.Parallel()
	h := newHouse(t, library)
	deaths := int64(0)
	for range 3 {
		h.startLimited()
		stopLoad := h.load(6)
		<-h.server.Gone()
		h.epoch.Add(1)
		stopLoad()
		text := h.server.Stderr()
		if !strings.Contains(text, "out of memory") && !strings.Contains(text, "cannot allocate memory") {
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
	tally.Add(t, machinery, "transactions told committed before that", told, 30)
}

// startLimited starts a coordinator that leaks with the least address space with which it
// starts at all.
func (h *house) startLimited() {
	h.t.Helper()
	for mib := 256; mib <= 4096; mib *= 2 {
		cmd := child(role{Dir: h.dir, Data: h.data, Leak: true})
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

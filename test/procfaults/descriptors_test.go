package procfaults_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/dtc-project/dtc/internal/tally"
)

// TestFewDescriptors gives the coordinator 64 file descriptors and far more clients, who
// hold on to their connections. When they have gone it works as before, without a
// restart.
func TestFewDescriptors(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.start(limited("ulimit -n 64")...)
		stopLoad := h.load(8)
		defer stopLoad()
		time.Sleep(500 * time.Millisecond)
		var held []net.Conn
		for range 120 {
			// The kernel accepts them all, the coordinator as many as it can.
			c, err := net.DialTimeout("tcp", strings.TrimPrefix(h.server.URL, "http://"), time.Second)
			if err != nil {
				break
			}
			held = append(held, c)
		}
		used, full := 0, 0
		for range 30 { // new clients that find no room, beside those that have it
			stopMore := h.load(4)
			time.Sleep(60 * time.Millisecond)
			stopMore()
			if used = descriptors(t, h.server.PID()); used >= 60 {
				full++
			}
		}
		for _, c := range held {
			_ = c.Close()
		}
		before := h.count().committed
		h.until("it goes on when there are descriptors again", func() bool { return h.count().committed > before+20 })
		if !h.isReady() {
			h.fail("it is not ready: %s", h.server.Stderr())
		}
		stopLoad()
		h.rest()
		tally.Add(t, machinery, "looks at a coordinator that had used up its 64 descriptors, "+h.kind, int64(full), 5)
	})
}

// TestNoDescriptors takes all descriptors away in the moment, which lasts until the log
// has needed new segments and checkpoints: it can open nothing. Clients with a
// connection go on to be told the truth.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, library) // whose segments are small, and whose databases are open
	h.start()
	c := h.newClient()
	c.patience = 10 * time.Second // who gives up loses the connection, and gets no other
	for i := range 30 {
		c.post(t.Context(), c.newID([]string{"www", "ww-", "w-w"}[i%3]))
	}
	rounds, survived, told, refused := int64(0), int64(0), int64(0), int64(0)
	for range 3 {
		limit(t, h.server.PID(), 3)
		was := h.count()
		for end := time.Now().Add(patience); time.Now().Before(end) && h.count().notNow < was.notNow+50; {
			if id := c.newID("www"); !c.post(context.Background(), id) {
				c.owed(id)
			}
		}
		now := h.count()
		told += now.committed - was.committed
		refused += now.notNow - was.notNow
		limit(t, h.server.PID(), 1024)
		rounds++
		if strings.Contains(h.server.Stderr(), "the log has failed") {
			if h.isReady() {
				h.fail("the log has failed, and the coordinator says that it is ready")
			}
			h.kill()
			h.start()
		} else {
			survived++
			before := h.count().committed
			h.until("it takes work again", func() bool {
				if id := c.newID("www"); !c.post(context.Background(), id) {
					c.owed(id)
					time.Sleep(50 * time.Millisecond)
				}
				return h.count().committed > before
			})
		}
	}
	h.rest()
	tally.Add(t, machinery, "times a coordinator had no descriptor left for its log", rounds, 3)
	tally.Add(t, machinery, "of these it went on without a restart", survived, rounds)
	tally.Add(t, machinery, "transactions told committed meanwhile", told, 4)
	tally.Add(t, machinery, "transactions refused meanwhile", refused, 4)
}

// descriptors is how many a process has open.
func descriptors(t *testing.T, pid int) int {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// limit sets how many descriptors a process may have from now on. It keeps what it has.
func limit(t *testing.T, pid int, n uint64) {
	t.Helper()
	var old syscall.Rlimit
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&old)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	r := syscall.Rlimit{Cur: n, Max: old.Max}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&r)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

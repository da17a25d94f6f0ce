package disk_test

import (
	"sync"
	"syscall"
	"time"
)

// order tells the failing disk what to do.
type order struct {
	// Do is "fail", "heal" or "count".
	Do string
	// Op is the kind of call that fails: see ops. The Kth of them from now on does,
	// and so do those that follow it, Times in all.
	Op       string
	K, Times int
	How      how
	// Keep makes the kernel keep what it has cached of a file when it is opened
	// again, as it does on a local disk.
	Keep bool
}

// report is what the disk answers.
type report struct {
	Error string
	Fired int // calls that failed since the last order to fail
	Seen  int // calls of the kind in question since then
}

type how string

const (
	eio    how = "EIO"
	enospc how = "ENOSPC"
	lose   how = "lose"  // EIO to a sync; what was not synced before is gone from the disk
	short  how = "short" // half of it is written, and that is no error; ENOSPC if it comes again
	hang   how = "hang"  // no answer until it is healed, then success
)

// The kinds of calls that can fail. A sync is that of a file or of a directory.
const (
	opSync     = "sync"
	opWrite    = "write"
	opRename   = "rename"
	opOpen     = "open" // or create
	opRemove   = "remove"
	opAllocate = "allocate"
)

// hangLimit ends a hang that nobody heals: the process that waits for the answer
// cannot even die before it has it.
const hangLimit = 30 * time.Second

// faults decides what becomes of each call.
type faults struct {
	mu     sync.Mutex
	order  order
	report report
	healed chan struct{} // closed when what hangs may go on
}

func newFaults() *faults { return &faults{healed: make(chan struct{})} }

// obey carries out an order and returns what happened until then.
func (f *faults) obey(o order) report {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.report
	switch o.Do {
	case "fail":
		f.order, f.report = o, report{}
	case "heal":
		f.order.Op = ""
		close(f.healed)
		f.healed = make(chan struct{})
	}
	return was
}

func (f *faults) keeps() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order.Keep
}

// next returns what is to happen to this call, or "" for nothing. A call that
// hangs does so in here.
func (f *faults) next(op string) (h how, again bool) {
	f.mu.Lock()
	o := &f.order
	if o.Op != op {
		f.mu.Unlock()
		return "", false
	}
	f.report.Seen++
	if f.report.Seen < o.K || f.report.Fired >= o.Times {
		f.mu.Unlock()
		return "", false
	}
	f.report.Fired++
	h, again = o.How, f.report.Fired > 1
	healed := f.healed
	f.mu.Unlock()
	if h != hang {
		return h, again
	}
	select {
	case <-healed:
	case <-time.After(hangLimit):
	}
	return "", false
}

// fail is next for calls that can do nothing but fail.
func (f *faults) fail(op string) syscall.Errno {
	switch h, _ := f.next(op); h {
	case "":
		return 0
	case enospc:
		return syscall.ENOSPC
	default:
		return syscall.EIO
	}
}

package procfaults_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
)

// busy has clients at work, and a participant that does not answer in the end, so that
// there are branches that wait for a decision or have not heard it.
func (h *house) busy() (stopLoad func()) {
	stopLoad = h.load(6)
	h.until("there is something to lose", func() bool { return h.count().committed > 20 })
	if h.kind == serve {
		h.parts[1].Signal(syscall.SIGSTOP)
		time.Sleep(300 * time.Millisecond)
	}
	return stopLoad
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// wake lets the participant go on that busy has stopped.
func (h *house) wake() {
	if h.kind == serve {
		h.parts[1].Signal(syscall.SIGCONT)
	}
}

// gone checks that the coordinator notices that its directory is not its own any more,
// and says so.
func (h *house) gone() {
	h.t.Helper()
	h.until("the coordinator is not ready any more", func() bool { return !h.isReady() })
	h.until("it says that its log has failed", func() bool {
		return strings.Contains(h.server.Stderr(), "the log has failed")
	})
}

// held is how many branches are prepared at the participants.
func (h *house) held() (n int) {
	for i := range services {
		n += h.prepared(i)
	}
	return n
}

// presumes checks that the coordinator, whose log is not the one that the branches
// belong to, leaves them all alone, and works.
func (h *house) presumes() {
	h.t.Helper()
	before := h.held()
	// Who posts an id again runs it again: what became of it stands in the other log.
	stopLoad := h.loadWith(2, true)
	was := h.count().committed
	h.until("new work is done", func() bool { return h.count().committed > was+5 })
	time.Sleep(1500 * time.Millisecond) // several sweeps
	stopLoad()
	h.until("new work is finished", func() bool { return h.held() <= before })
	if n := h.held(); n != before {
		h.fail("%d branches of a log that is not there were prepared, and now %d are", before, n)
	}
	h.judge(false)
	if h.kind == serve { // its participants hold what it held when it was killed
		tally.Add(h.t, machinery, "branches in doubt that a log of another past left alone", int64(before), 1)
	}
}

// exchange is what somebody does to the directory under a coordinator.
var exchanges = map[string]struct {
	do   func(h *house)
	back bool // the directory still exists, as data.lost
}{
	"removed": {do: func(h *house) {
		// Removing goes file by file, and a log that is in use makes new ones.
		h.until("it is removed", func() bool { return os.RemoveAll(h.data) == nil })
	}},
	"renamed": {back: true, do: func(h *house) {
		h.must(os.Rename(h.data, h.data+".lost"))
	}},
	"replaced by an empty one": {back: true, do: func(h *house) {
		h.must(os.Rename(h.data, h.data+".lost"))
		h.must(os.Mkdir(h.data, 0o700))
	}},
	"replaced by an older copy": {back: true, do: func(h *house) {
		h.must(os.Rename(h.data, h.data+".lost"))
		h.must(os.Rename(h.data+".old", h.data))
	}},
}

// TestDirectoryTaken: a coordinator whose directory is taken away notices, and says so
// before it says of anything more that it is committed. What comes back in its place
// presumes nothing about branches of the log that was there. When the directory is put
// back, everything is finished as it was told.
func TestDirectoryTaken(t *testing.T) {
	t.Parallel()
	for name, x := range exchanges {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.start()
				h.backUp()
				stopLoad := h.busy()
				defer stopLoad()
				x.do(h)
				h.gone()
				h.kill() // in the middle of its work
				stopLoad()
				h.wake()
				if x.back && name == "renamed" {
					h.putBack()
				} else {
					h.start()
					h.presumes()
					if x.back {
						h.kill()
						h.putBack()
					}
				}
				if x.back {
					h.start()
					h.restAfterExchange()
				}
				tally.Add(t, machinery, "directories "+name+" under a coordinator, "+h.kind, 1, 1)
			})
		})
	}
}

// TestBackupRestored: between two lives the directory is replaced by an older copy. The
// next one knows that it has a copy, and presumes nothing of the past.
func TestBackupRestored(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.start()
		h.backUp()
		stopLoad := h.busy()
		defer stopLoad()
		h.kill()
		stopLoad()
		h.wake()
		h.must(os.Rename(h.data, h.data+".lost"))
		h.must(os.Rename(h.data+".old", h.data))
		h.start()
		h.presumes()
		h.kill()
		h.putBack()
		h.start()
		h.restAfterExchange()
		tally.Add(t, machinery, "older copies restored while the coordinator was stopped, "+h.kind, 1, 1)
	})
}

// TestRenamedAndBack: a directory that is away for a moment is perhaps not missed. If it
// is, a restart finishes everything.
func TestRenamedAndBack(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.start()
		stopLoad := h.busy()
		defer stopLoad()
		h.must(os.Rename(h.data, h.data+".away"))
		time.Sleep(30 * time.Millisecond)
		h.must(os.Rename(h.data+".away", h.data))
		time.Sleep(300 * time.Millisecond)
		h.wake()
		missed := !h.isReady()
		stopLoad()
		if missed {
			h.kill()
			h.start()
		}
		t.Logf("it was missed: %v", missed)
		h.rest()
		tally.Add(t, machinery, "directories renamed and renamed back, "+h.kind, 1, 1)
	})
}

// backUp copies the directory after some work, as somebody does who does not know that a
// log in use is not to be copied. A copy that is torn is refused by the next opening, so
// it is taken between two lives.
func (h *house) backUp() {
	h.t.Helper()
	stopLoad := h.load(2)
	h.until("there is something to back up", func() bool { return h.count().committed > 10 })
	stopLoad()
	if code := h.stop(); code != 0 {
		h.fail("code %d", code)
	}
	h.must(os.CopyFS(h.data+".old", os.DirFS(h.data)))
	h.start()
}

// putBack puts the directory back that was taken.
func (h *house) putBack() {
	h.t.Helper()
	h.must(os.RemoveAll(h.data))
	h.must(os.Rename(h.data+".lost", h.data))
}

// restAfterExchange is rest for a log that knows nothing of what ran on another one
// meanwhile, which was told and stays true: only the databases say that.
func (h *house) restAfterExchange() {
	h.t.Helper()
	h.settle()
	if code := h.stop(); code != 0 {
		h.fail("asked to stop, the coordinator ended with code %d: %s", code, h.server.Stderr())
	}
	h.judge(true)
	h.checkLog()
	h.t.Logf("%v", h.count())
}

// TestReadOnly: nothing can be made in the directory any more. What is open can be
// written, so that shows when the log needs its next file.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, library)
	if os.Geteuid() == 0 { // to whom no permission is denied
		const nobody = 65534
		h.cred = &syscall.Credential{Uid: nobody, Gid: nobody}
		h.must(os.Mkdir(h.data, 0o700))
		entries, err := os.ReadDir(h.dir)
		h.must(err)
		h.must(os.Chown(h.dir, nobody, nobody))
		for _, e := range entries {
			h.must(os.Chown(h.dir+"/"+e.Name(), nobody, nobody))
		}
	}
	h.start()
	stopLoad := h.busy()
	defer stopLoad()
	h.must(os.Chmod(h.data, 0o500))
	h.until("it says that it cannot go on", func() bool { return !h.isReady() || h.count().notNow > 0 })
	failed := !h.isReady()
	h.must(os.Chmod(h.data, 0o700))
	if failed {
		h.kill()
		stopLoad()
		h.start()
		stopLoad = h.load(2)
	}
	before := h.count().committed
	h.until("it works", func() bool { return h.count().committed > before+5 })
	stopLoad()
	t.Logf("the log failed: %v", failed)
	h.rest()
	tally.Add(t, machinery, "directories made read-only under a coordinator", 1, 1)
}

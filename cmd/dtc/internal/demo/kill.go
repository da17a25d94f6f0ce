package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/audit"
	"github.com/dtc-project/dtc/cmd/dtc/internal/logview"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/wal"
)

func (d *demo) actKilled(ctx context.Context) error {
	d.heading(4, "The coordinator is killed after its decision, before it tells anybody")
	o, err := d.next(ctx, 1, true)
	if err != nil {
		return err
	}
	if err := d.close(); err != nil {
		return err
	}
	if err := d.killChild(ctx, o); err != nil {
		return fmt.Errorf("act 4: %w", err)
	}
	if err := d.autopsy(ctx, o); err != nil {
		return fmt.Errorf("act 4: %w", err)
	}
	// A new coordinator over the same directory; what it does is told as it
	// happens.
	d.begin(o, true)
	if err := d.open(ctx); err != nil {
		return err
	}
	if !d.await("ended", 1) {
		return fmt.Errorf("act 4: %s was not finished within %v after the restart", o.ID, patience)
	}
	outcome, err := d.c.Outcome(ctx, o.TxID())
	if err != nil || outcome != dtc.Committed {
		return errors.Join(fmt.Errorf("act 4: the outcome of %s is %v, not committed", o.ID, outcome), err)
	}
	d.told[o.ID] = true
	d.line("caller", "asks again", fmt.Sprintf("what became of %s? It is told: committed", o.ID), d.good)
	return d.sayBalance(ctx)
}

// Killed says how the child process of act 4 ended.
type Killed struct {
	PID    int    `json:"pid"`
	Signal string `json:"signal"`
}

// killChild runs the order in a process of its own, and kills that process when
// it reports that its decision is durable.
func (d *demo) killChild(ctx context.Context, o shop.Order) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append(d.Child, d.dir, o.ID, alice, keyboard, fmt.Sprint(o.Quantity))...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	// The child ends by itself when this pipe does: it never outlives us.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the coordinator's process: %w", err)
	}
	d.say("%v", o)
	d.say("This time coordinator and services run in a process of their own, pid %d.", cmd.Process.Pid)
	reported := false
	steps := json.NewDecoder(stdout)
	for !reported {
		var e event
		if err = steps.Decode(&e); err != nil {
			break
		}
		d.tell(e)
		reported = e.Kind == decided && e.Outcome == dtc.Committed.String()
	}
	killed := cmd.Process.Kill()
	rest, _ := io.ReadAll(stdout) // what it still said before it died
	_ = cmd.Wait()                // it was killed, which the status says
	if !reported {
		return errors.Join(fmt.Errorf("the process ended before it had decided: %s", strings.TrimSpace(complaint.String())), err)
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if killed != nil || !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return errors.Join(fmt.Errorf("the process was not killed: %v", cmd.ProcessState), killed)
	}
	if strings.Contains(string(rest), string(calling)) {
		return errors.New("the process went on after its decision")
	}
	d.sum.Killed = &Killed{PID: cmd.Process.Pid, Signal: "SIGKILL"}
	d.line("SIGKILL", fmt.Sprintf("pid %d", cmd.Process.Pid), "is dead. No commit message left it, its caller heard nothing", d.bad)
	return nil
}

// autopsy shows what the dead process left, and fails if that is not what it had
// promised.
func (d *demo) autopsy(ctx context.Context, o shop.Order) error {
	books, err := audit.Open(ctx, d.dir)
	if err != nil {
		return err
	}
	defer books.Close()
	held, err := books.Order(ctx, o.ID)
	if err != nil {
		return err
	}
	for _, h := range held {
		d.line(h.Service+".db", h.State, h.What, d.wait)
		if h.State != "prepared" {
			return fmt.Errorf("%s holds %q of %s, not a prepared branch", h.Service, h.State, o.ID)
		}
	}
	log, err := wal.OpenReadOnly(filepath.Join(d.dir, LogDir), nil)
	if err != nil {
		return err
	}
	found, err := logview.Find(log, o.ID)
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0].Decision != dtc.Committed || !found[0].Ended.IsZero() {
		return fmt.Errorf("the log should hold the decision about %s and no end: %+v", o.ID, found)
	}
	d.line("log/", "commit", "decided, no end record: whoever opens this log must finish it", d.mark)
	return nil
}

// Child is the process that is killed: it runs one order over the directory of
// the demo, reports each step as JSON, and stops when the decision is durable
// and nobody has been told.
func Child(ctx context.Context, dir string, o shop.Order, in io.Reader, out io.Writer) error {
	var actors []dtc.Participant
	for _, s := range shop.New(dir) {
		if err := s.Start(ctx); err != nil {
			return err
		}
		actors = append(actors, s)
	}
	log, err := os.OpenFile(filepath.Join(dir, "coordinator.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	DieWithParent(in)
	report := reporter(out)
	c, err := openCoordinator(dir, actors, log, func(e event) {
		report(e)
		if e.Kind == decided && e.Tx == o.ID {
			select {} // commit messages would leave when this returns
		}
	})
	if err != nil {
		return err
	}
	_, err = c.Execute(ctx, o.TxID(), o.Branches()...)
	return errors.Join(err, errors.New("the order was finished, and nobody killed this process"), c.Close())
}

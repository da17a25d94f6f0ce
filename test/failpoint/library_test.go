package failpoint_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/failpoint/internal/node"
)

// patience is how long a life may take.
const patience = 30 * time.Second

// library is a coordinator embedded in a program, with its participants.
type library struct {
	child, breakage string
}

func (f library) close() {}

func (f library) live(w *world, l life) (end, error) {
	o := node.Orders{Dir: w.dir, Life: w.life, Plant: w.life > 1, Settle: l.settle, Work: l.work, Break: f.breakage}
	if l.work > 0 {
		o.Repeat = w.owed()
	}
	if l.ask {
		o.Ask = w.ids()
	}
	record := w.recordFile("child")
	p, err := f.start(o, l.arm, record)
	if err != nil {
		return end{}, err
	}
	late := time.AfterFunc(patience, func() {
		w.fail("it is not over after %v", patience)
		_ = p.cmd.Process.Kill()
	})
	defer late.Stop()
	stopped := p.goOn(l.arm)
	for line := range p.lines {
		hear(w, line)
	}
	<-p.gone
	e := end{killed: p.killed(), stopped: stopped(), records: []string{record}}
	if e.killed && l.settle {
		_, _, settled, err := hits(record)
		if e.recovering = !settled; err != nil {
			return e, err
		}
	}
	if !p.cmd.ProcessState.Success() && (!e.killed || !l.arm.kills()) {
		w.fail("the child ended with %v", p.cmd.ProcessState)
	}
	if p.stderr.Len() > 0 {
		w.fail("the child says: %.4000s", p.stderr.String())
	}
	return e, nil
}

func (f library) start(o node.Orders, a arm, record string) (*process, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(f.child)
	cmd.Env = append(cmd.Environ(), node.OrdersEnv+"="+string(text))
	p, err := start(cmd, a, record)
	if err != nil {
		return nil, fmt.Errorf("start a child: %w", err)
	}
	return p, nil
}

// hear takes in a line of a child.
func hear(w *world, line string) {
	word, rest, _ := strings.Cut(line, " ")
	id, detail, _ := strings.Cut(rest, " ")
	switch word {
	case "start":
		w.started(dtc.TxID(id))
	case "told":
		outcome, detail, _ := strings.Cut(detail, " ")
		w.told(dtc.TxID(id), outcome, detail)
	case "outcome":
		w.answered(dtc.TxID(id), detail)
	case "proved":
		w.proved(dtc.TxID(id), detail == "true")
	case "settled", "closed":
	default:
		w.fail("the child says %q", line)
	}
}

package kill_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// orders is what a child is told on its standard input.
type orders struct {
	Dir    string
	Round  int
	Seed   uint64
	Repeat []dtc.TxID // ids of earlier rounds to run again
	Break  string
}

const callers = 16

// childMain opens a node and runs transactions until the process is killed.
func childMain() int {
	in := bufio.NewReader(os.Stdin)
	var o orders
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		return 2
	}
	go func() { // whoever would kill us is gone
		_, _ = io.Copy(io.Discard, in)
		os.Exit(3)
	}()
	n, err := openNode(o.Dir, o.Break, say)
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 2
	}
	go sayRecovered(n.Coordinator)
	w := &work{node: n, orders: o, later: o.Repeat}
	for i := range callers {
		go w.caller(i)
	}
	select {}
}

// say writes one line in one write, which a kill cannot tear: it is shorter than
// what a pipe takes as a whole.
func say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	_, _ = os.Stdout.WriteString(line[:min(len(line), 2000)] + "\n")
}

// sayRecovered says when everything is finished that an earlier process left.
func sayRecovered(c *dtc.Coordinator) {
	old := map[dtc.XID]bool{}
	for t := range c.Transactions(dtc.Filter{}) {
		old[t.XID] = true
	}
	for left := len(old); left > 0; {
		time.Sleep(time.Millisecond)
		left = 0
		for t := range c.Transactions(dtc.Filter{}) {
			if old[t.XID] {
				left++
			}
		}
	}
	say("settled")
}

// work is what the callers of one process share.
type work struct {
	*node
	orders

	mu     sync.Mutex
	later  []dtc.TxID // still to repeat
	recent []dtc.TxID // begun by this process, perhaps running
}

func (w *work) caller(number int) {
	rng := rand.New(rand.NewPCG(w.Seed, uint64(w.Round*callers+number)))
	for i := 0; ; i++ {
		id, repeated := w.pick(rng)
		if !repeated {
			id = dtc.TxID(fmt.Sprintf("%d.%d.%d.%s", w.Round, number, i, shapes[rng.IntN(len(shapes))]))
			w.begun(id)
		}
		w.execute(number, id, rng, !repeated)
	}
}

// pick returns an id to repeat, now and then: one of an earlier process, which
// recovery may be busy with, or one of ours, which another caller may be in.
func (w *work) pick(rng *rand.Rand) (dtc.TxID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.later) - 1; last >= 0 && rng.IntN(2) == 0 {
		id := w.later[last]
		w.later = w.later[:last]
		return id, true
	}
	if len(w.recent) > 0 && rng.IntN(8) == 0 {
		return w.recent[rng.IntN(len(w.recent))], true
	}
	return "", false
}

func (w *work) begun(id dtc.TxID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recent = append(w.recent, id); len(w.recent) > 2*callers {
		w.recent = w.recent[1:]
	}
}

func (w *work) execute(caller int, id dtc.TxID, rng *rand.Rand, hasty bool) {
	opts := &dtc.TxOptions{}
	if rng.IntN(2) == 0 {
		opts.CompletionWait = -1 // told as soon as it may be
	}
	ctx := context.Background()
	if hasty && rng.IntN(16) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(30))*time.Millisecond)
		defer cancel()
	}
	say("start %d %s", caller, id)
	early := w.Break == toldTooEarly && !strings.ContainsRune(shapeOf(id), oracle.Declines)
	if early {
		say("told %d %s committed", caller, id)
	}
	committed, err := w.ExecuteWith(ctx, id, opts, branches(id)...)
	switch {
	case early:
	case committed && err == nil:
		say("told %d %s committed", caller, id)
	case errors.Is(err, dtc.ErrRolledBack):
		say("told %d %s rolled_back", caller, id)
	case ctx.Err() != nil && (errors.Is(err, dtc.ErrInDoubt) || errors.Is(err, ctx.Err())):
		say("told %d %s nothing", caller, id) // it joined and went away, or came too late
	case errors.Is(err, dtc.ErrInDoubt) && strings.HasPrefix(shapeOf(id), "----"):
		say("told %d %s nothing", caller, id) // in one phase, and its participant has not said yet
	default:
		say("told %d %s error %s", caller, id, strings.ReplaceAll(fmt.Sprint(err), "\n", " "))
	}
}

// shapes are drawn from, so what stands here twice comes twice as often.
var shapes = []string{
	"www--", "www--", "www--", "-ww--", "w-w--", "w---w", // one forced write
	"wwww-", "wwww-", "w--ww", "-www-", "---w-", // two, because of the plain one
	"wwr--", "rww--", "rwww-", "wwwr-", // somebody only reads
	"rr---", "r--r-", // everybody does
	"nww--", "wwwn-", "wnrw-", // somebody declines
	"----w", "----w", "----w", "----w", "----n", "----r", // in one phase: no forced write
}

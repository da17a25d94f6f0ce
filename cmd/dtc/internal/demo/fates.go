package demo

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtctest"
)

// How an order of the crowd ends, and which of its messages meet which fault, is
// drawn from the seed, the order's place in the list and the place of the message
// among its kind. It must be no matter of who comes first, or how long something
// takes:
//
//   - A service that refuses an order does so last: the others have voted, so each
//     is asked, and told to roll back, until it has answered.
//   - Payment is out for a number of orders, not for a time. Their callers give up
//     when it has not answered a few times.
//   - Faults are drawn for each message until it is answered, and then no more. The
//     orders that payment does not serve have none: how far they come is a matter of
//     time.

var (
	items     = []string{"chair", "desk", "lamp", "mouse", "screen"}
	customers = []string{"Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan"}
)

const (
	rarity = "unicorn" // never in stock
	beggar = "Mallory" // has no money

	triesUnserved = 3 // after so many a caller gives up
)

// rates is how often a message meets which fault.
var rates = []struct {
	fault dtctest.Fault
	rate  float64
}{
	{dtctest.Drop, 0.03},
	{dtctest.LoseAnswer, 0.03},
	{dtctest.Late, 0.01},
	{dtctest.Duplicate, 0.02},
	{dtctest.Echo, 0.01},
}

// fates are those of all orders.
type fates struct {
	seed     uint64
	of       map[string]*fate // by order id
	unserved int              // orders that come while payment is out

	mu       sync.Mutex
	injected map[dtctest.Fault]int
}

// fate is what is in store for one order.
type fate struct {
	place    uint64
	refuser  string        // the service that refuses it, if one does
	unserved bool          // payment does not answer it
	kills    bool          // payment dies of its commit
	votes    [3]bool       // who has voted to commit
	voted    chan struct{} // closed when all but the refuser have; nil if nobody refuses
	sent     [3][3]uint8   // messages to each service of each method; answered if they are
}

const answered = 1<<8 - 1

// draw makes the orders and what is in store for them.
func draw(seed uint64, ids []string) ([]shop.Order, *fates) {
	fs := &fates{seed: seed, of: make(map[string]*fate, len(ids)), injected: map[dtctest.Fault]int{}}
	half := len(ids) / 2
	fs.unserved = min(2*callers, len(ids)/10)
	list := make([]shop.Order, 0, len(ids))
	for i, id := range ids {
		f := &fate{place: uint64(i), kills: i == half, unserved: i > half && i <= half+fs.unserved}
		dice := rand.New(rand.NewPCG(seed, f.place))
		o := shop.Order{
			ID: id, Customer: customers[dice.IntN(len(customers))],
			Item: items[dice.IntN(len(items))], Quantity: 1 + dice.IntN(3),
		}
		switch n := dice.IntN(20); {
		case f.kills || f.unserved:
		case n == 0:
			o.Item, f.refuser, f.voted = rarity, shop.Inventory, make(chan struct{})
		case n == 1:
			o.Customer, f.refuser, f.voted = beggar, shop.Payment, make(chan struct{})
		}
		list, fs.of[id] = append(list, o), f
	}
	return list, fs
}

// vote notes a vote to commit. The caller keeps others from calling it at once.
func (f *fate) vote(service string) {
	i := slices.Index(shop.Names, service)
	if f.voted == nil || i < 0 || f.votes[i] || service == f.refuser {
		return
	}
	f.votes[i] = true
	for i, yes := range f.votes {
		if !yes && shop.Names[i] != f.refuser {
			return
		}
	}
	close(f.voted)
}

// next draws the fault of a message.
func (fs *fates) next(service int, m dtctest.Method, order string) dtctest.Fault {
	method := slices.Index([]dtctest.Method{dtctest.MethodPrepare, dtctest.MethodCommit, dtctest.MethodRollback}, m)
	f := fs.of[order]
	switch {
	case method < 0 || f == nil || f.unserved:
		return dtctest.NoFault
	case m == dtctest.MethodRollback && f.refuser == shop.Names[service]:
		return dtctest.NoFault // it is sent only if an earlier prepare ran out of time
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	sent := &f.sent[service][method]
	if *sent == answered {
		return dtctest.NoFault // it came again for a reason of its own
	}
	fault := dtctest.NoFault
	if f.kills && *sent == 0 && m == dtctest.MethodCommit && shop.Names[service] == shop.Payment {
		fault = dtctest.CrashAfter // after the effect and before the answer: the hardest moment
	} else {
		p := rand.New(rand.NewPCG(fs.seed, f.place<<16|uint64(service)<<12|uint64(method)<<8|uint64(*sent)+1)).Float64()
		for _, r := range rates {
			if p -= r.rate; p < 0 {
				fault = r.fault
				break
			}
		}
	}
	if unanswered := []dtctest.Fault{dtctest.Drop, dtctest.LoseAnswer, dtctest.Late, dtctest.CrashAfter}; slices.Contains(unanswered, fault) {
		*sent++
	} else {
		*sent = answered
	}
	if fault != dtctest.NoFault {
		fs.injected[fault]++
	}
	return fault
}

var errNoPatience = errors.New("payment does not answer")

// patienceKey is the key of the function with which a caller's patience ends.
type patienceKey struct{}

// line is a bad connection to a service, over which some orders meet what is in
// store for them as a whole.
type line struct {
	*dtctest.Flaky
	c *crowd
}

// Prepare implements [dtc.Participant].
func (l line) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	f := l.c.fates.of[string(b.TxID)]
	switch {
	case f == nil:
	case f.unserved && l.ID() == shop.Payment:
		if giveUp, ok := ctx.Value(patienceKey{}).(context.CancelCauseFunc); ok && b.Attempt >= triesUnserved {
			giveUp(errNoPatience)
		}
		return dtc.VoteAbort, dtc.NoAnswer(shop.ErrDown)
	case f.refuser == l.ID():
		select {
		case <-f.voted:
		case <-ctx.Done():
			return dtc.VoteAbort, dtc.NoAnswer(ctx.Err())
		}
	}
	return l.Flaky.Prepare(ctx, b)
}

package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/tally"
)

const (
	bankAccounts = 8
	bankOpening  = 300
)

// bank is one of two banks in one database, which share the guard's tables.
// Money leaves an account when it is prepared and arrives when it is committed.
type bank struct {
	*database
	name string
}

func newBank(t *testing.T, d *database, name string) *bank {
	d.exec(t, "CREATE TABLE "+name+"_account (id integer NOT NULL PRIMARY KEY, balance integer NOT NULL)")
	d.exec(t, "CREATE TABLE "+name+"_done (xid varchar(64) NOT NULL)")
	for i := range bankAccounts {
		d.exec(t, "INSERT INTO "+name+"_account (id, balance) VALUES (?, ?)", i, bankOpening)
	}
	return &bank{d, name}
}

// order is the payload: move amount to (or, negative, from) an account.
type order struct{ account, amount int }

func (o order) payload() []byte { return fmt.Appendf(nil, "%d %d", o.account, o.amount) }

func readOrder(b dtc.Branch) (o order, err error) {
	_, err = fmt.Sscan(string(b.Payload), &o.account, &o.amount)
	return o, err
}

func (k *bank) add(ctx context.Context, tx *sql.Tx, account, amount int) (bool, error) {
	res, err := tx.ExecContext(ctx, k.q("UPDATE "+k.name+"_account SET balance = balance + ? WHERE id = ? AND balance + ? >= 0"),
		amount, account, amount)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (k *bank) prepare(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	o, err := readOrder(b)
	if err != nil || o.amount >= 0 {
		return dtc.VoteCommit, err
	}
	ok, err := k.add(ctx, tx, o.account, o.amount)
	if err != nil {
		return dtc.VoteAbort, fmt.Errorf("debit: %w", err)
	}
	if !ok {
		return dtc.VoteAbort, errors.New("not enough money")
	}
	return dtc.VoteCommit, nil
}

func (k *bank) commit(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	o, err := readOrder(b)
	if err != nil {
		return err
	}
	if err := k.execTx(ctx, tx, "INSERT INTO "+k.name+"_done (xid) VALUES (?)", b.XID.String()); err != nil {
		return err
	}
	if o.amount > 0 {
		_, err = k.add(ctx, tx, o.account, o.amount)
	}
	return err
}

func (k *bank) rollback(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	o, err := readOrder(b)
	if err == nil && o.amount < 0 {
		_, err = k.add(ctx, tx, o.account, -o.amount)
	}
	return err
}

// votes watches that the answers of each branch agree until it is told how the
// transaction ends. (Afterwards a late prepare may be refused.)
type votes struct {
	dtc.Participant
	t     *testing.T
	mu    sync.Mutex
	first map[dtc.XID]dtc.Vote
	ended map[dtc.XID]bool
}

func (v *votes) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	vote, err := v.Participant.Prepare(ctx, b)
	if errors.Is(err, dtc.ErrNoAnswer) {
		return vote, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	first, ok := v.first[b.XID]
	if !ok {
		v.first[b.XID] = vote
	}
	if ok && first != vote && !v.ended[b.XID] {
		v.t.Errorf("%s voted %v, then %v (%v)", b.XID, first, vote, err)
	}
	return vote, err
}

func (v *votes) Commit(ctx context.Context, b dtc.Branch) error {
	v.end(b.XID)
	return v.Participant.Commit(ctx, b)
}

func (v *votes) Rollback(ctx context.Context, b dtc.Branch) error {
	v.end(b.XID)
	return v.Participant.Rollback(ctx, b)
}

func (v *votes) end(x dtc.XID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended[x] = true
}

// transfers is the smallest coordinator that keeps the protocol's order.
type transfers struct {
	names
	mu      sync.Mutex
	next    uint64
	running map[uint64]bool
	told    map[dtc.XID]bool // committed?
}

func (c *transfers) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.running[c.next] = true
	return c.next
}

func (c *transfers) end(seq uint64, committed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, seq)
	c.told[c.xid(seq)] = committed
}

// branch carries the low water of now.
func (c *transfers) branch(p string, seq uint64, o order) dtc.Branch {
	b := c.names.branch(seq)
	b.Participant, b.Payload = p, o.payload()
	c.mu.Lock()
	defer c.mu.Unlock()
	low := c.next + 1
	for s := range c.running {
		low = min(low, s)
	}
	b.LowWater = c.xid(low)
	return b
}

func (c *transfers) run(t *testing.T, ps [2]dtc.Participant, orders [2]order) {
	ctx := t.Context()
	seq := c.begin()
	commit := true
	for i, p := range ps {
		vote, err := dtc.VoteAbort, error(nil)
		for range 6 {
			vote, err = p.Prepare(ctx, c.branch(p.ID(), seq, orders[i]))
			if !errors.Is(err, dtc.ErrNoAnswer) {
				break
			}
		}
		if vote != dtc.VoteCommit || err != nil {
			commit = false
			break
		}
	}
	for i, p := range ps {
		for attempt := 0; ; attempt++ {
			finish := p.Rollback
			if commit {
				finish = p.Commit
			}
			b := c.branch(p.ID(), seq, orders[i])
			b.Payload = nil
			err := finish(ctx, b)
			if err == nil {
				break
			}
			var finished *dtc.FinishedError
			if errors.As(err, &finished) || errors.Is(err, dtc.ErrUnknownBranch) || attempt > 1000 {
				t.Errorf("%s at %s, commit=%v: %v", b.XID, p.ID(), commit, err)
				break
			}
		}
	}
	c.end(seq, commit)
}

// Sixteen workers move money between two banks, over connections that lose,
// repeat, overlap and delay messages beyond the end of their transactions.
func TestBank(t *testing.T) {
	const workers, perWorker = 16, 20
	onEach(t, func(t *testing.T, d *database) {
		d.db.SetMaxOpenConns(24)
		c := &transfers{names: newNames(""), running: map[uint64]bool{}, told: map[dtc.XID]bool{}}
		banks := [2]*bank{newBank(t, d, "north"), newBank(t, d, "south")}
		var guards [2]*guard.Guard
		var flaky [2]*dtctest.Flaky
		var ps [2]dtc.Participant
		for i, k := range banks {
			guards[i] = newGuard(t, k.name, d, guard.Funcs{Prepare: k.prepare, Commit: k.commit, Rollback: k.rollback},
				&guard.Options{KeepPayload: true, PruneEvery: 20})
			watched := &votes{Participant: guards[i], t: t, first: map[dtc.XID]dtc.Vote{}, ended: map[dtc.XID]bool{}}
			flaky[i] = dtctest.NewFlaky(watched, uint64(i), dtctest.Faults{Rate: map[dtctest.Fault]float64{
				dtctest.Drop: 0.04, dtctest.LoseAnswer: 0.08, dtctest.Late: 0.08, dtctest.Duplicate: 0.06,
				dtctest.AtOnce: 0.08, dtctest.Echo: 0.12, dtctest.Delay: 0.03,
			}})
			ps[i] = flaky[i]
		}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 1))
				for range perWorker {
					amount := 1 + r.IntN(150)
					orders := [2]order{{r.IntN(bankAccounts), -amount}, {r.IntN(bankAccounts), amount}}
					if r.IntN(2) == 0 {
						orders[0].amount, orders[1].amount = amount, -amount
					}
					c.run(t, ps, orders)
				}
			})
		}
		wg.Wait()
		late := 0
		for i := range flaky {
			flaky[i].Heal()
			late += flaky[i].DeliverLate(t.Context())
		}
		checkBank(t, c, banks, guards)
		t.Logf("faults: %v and %v; %d requests delivered at the very end", flaky[0].Injected(), flaky[1].Injected(), late)
		injected := 0
		for _, f := range flaky {
			for _, n := range f.Injected() {
				injected += n
			}
			for _, fault := range []dtctest.Fault{dtctest.Drop, dtctest.LoseAnswer, dtctest.Late, dtctest.Duplicate, dtctest.AtOnce, dtctest.Echo} {
				if f.Injected()[fault] == 0 {
					t.Errorf("fault %v was never injected", fault)
				}
			}
		}
		tally.Add(t, "guard", "messages lost, late or repeated", int64(injected), 1)
	})
}

func checkBank(t *testing.T, c *transfers, banks [2]*bank, guards [2]*guard.Guard) {
	t.Helper()
	sum, committed := 0, 0
	for _, ok := range c.told {
		if ok {
			committed++
		}
	}
	for i, k := range banks {
		sum += k.int(t, "SELECT sum(balance) FROM "+k.name+"_account")
		if list, err := guards[i].InDoubt(t.Context(), c.log); err != nil || len(list) > 0 {
			t.Errorf("%s: in doubt at rest: %v, %v", k.name, list, err)
		}
		if got := k.int(t, "SELECT count(*) FROM "+k.name+"_done"); got != committed {
			t.Errorf("%s: %d transfers done, %d told committed", k.name, got, committed)
		}
		if got := k.int(t, "SELECT count(DISTINCT xid) FROM "+k.name+"_done"); got != committed {
			t.Errorf("%s: %d different transfers done, %d told committed", k.name, got, committed)
		}
	}
	if want := len(banks) * bankAccounts * bankOpening; sum != want {
		t.Errorf("the banks hold %d, want %d", sum, want)
	}
	rows := banks[0].int(t, "SELECT count(*) FROM dtc_guard_branch")
	t.Logf("%d rows left of %d", rows, 2*len(c.told))
	tally.Add(t, "guard", "transfers between banks", int64(len(c.told)), 1)
	tally.Add(t, "guard", "of them committed", int64(committed), 1)
	if committed == 0 || committed == len(c.told) {
		t.Error("want some transfers committed and some not")
	}
	if rows >= len(c.told) {
		t.Error("rows were not dropped")
	}
}

package chaos_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/histories"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// rest heals everything, waits until nothing is unfinished, ends all processes, and
// judges. patience is how long that may take.
func (c *cast) rest(patience time.Duration) {
	if c.cut != nil {
		c.cut.heal(c)
	}
	c.later.Wait()
	for _, p := range c.everybody() {
		p.proxy.Heal()
	}
	c.front.Close() // what clients sent long ago must not arrive any more
	for _, p := range c.everybody() {
		<-p.ready
	}
	dbs := c.databases()
	began := time.Now()
	if !c.settle(dbs, patience) {
		c.fail("after %v of peace %s", patience, c.left(dbs))
	} else {
		c.t.Logf("everything was finished %v after everything had healed", time.Since(began).Round(time.Millisecond))
	}
	c.inquire()
	c.explain()
	c.server.end(syscall.SIGTERM)
	if !c.server.cmd.ProcessState.Success() {
		c.fail("the server was asked to stop: %v", c.server.cmd.ProcessState)
	}
	for _, p := range c.parts {
		p.proxy.Close()
		p.kill()
	}
	c.judge(dbs)
	_, wrong, err := oracle.CheckLog(filepath.Join(c.dir, "log"), true)
	if err != nil {
		c.fail("the log: %v", err)
	}
	for _, w := range wrong {
		c.fail("%s", w)
	}
	for _, p := range c.everybody() {
		for _, w := range p.complaints() {
			c.fail("%s", w)
		}
	}
}

func (c *cast) databases() (dbs []*sql.DB) {
	for _, name := range services {
		db, err := oracle.Open(filepath.Join(c.dir, name+".db"))
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { db.Close() })
		dbs = append(dbs, db)
	}
	return dbs
}

func (c *cast) settle(dbs []*sql.DB, patience time.Duration) bool {
	for end := time.Now().Add(patience); c.left(dbs) != ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// left says what is unfinished, or "".
func (c *cast) left(dbs []*sql.DB) string {
	for i, db := range dbs {
		if n, err := oracle.Prepared(db); err != nil || n > 0 {
			return fmt.Sprintf("%d branches are still prepared at %s (%v)", n, services[i], err)
		}
	}
	var list struct {
		Transactions []struct{ ID, State string }
	}
	if err := c.get("/v1/transactions", &list); err != nil {
		return fmt.Sprintf("the server does not answer: %v", err)
	}
	if len(list.Transactions) > 0 {
		return fmt.Sprintf("%d transactions are unfinished, at least: %v", len(list.Transactions), list.Transactions)
	}
	var parts struct {
		Participants []struct {
			ID      string
			InDoubt int `json:"in_doubt"`
		}
	}
	if err := c.get("/v1/participants", &parts); err != nil {
		return fmt.Sprintf("the server does not answer: %v", err)
	}
	for _, p := range parts.Participants {
		if p.InDoubt > 0 {
			return fmt.Sprintf("%d branches are in doubt at %s", p.InDoubt, p.ID)
		}
	}
	return ""
}

// inquire asks how everything ended. Some are posted again, which must tell the same.
func (c *cast) inquire() {
	again := newClient(c.ledger, c.server.address(), c.seed, 0)
	defer again.http.CloseIdleConnections()
	for i, id := range c.order {
		t := c.tales[id]
		q := c.asks()
		heard := func(sim.Answer) {}
		if !t.steps {
			heard = c.history.Call(sim.Op{Kind: sim.OpOutcome, ID: string(id)})
		}
		r, err := ask(c.t.Context(), http.DefaultClient, http.MethodGet, c.server.address()+"/v1/transactions/"+string(id), nil)
		heard(answer(r, err))
		known := t.committed != "" || len(t.told) > 0
		if !known {
			c.unknown++
		}
		switch {
		case err != nil:
			c.fail("%s: %v", id, err)
		case r.status == http.StatusNotFound && t.committed == "":
			if known {
				c.forgotten++
			}
		case r.status == http.StatusNotFound:
			c.fail("%s: told committed, and now nobody knows it", id)
		case r.Outcome == nil:
			c.fail("%s: nothing is unfinished, and it has no outcome", id)
		default:
			if !known && *r.Outcome == oracle.Committed {
				c.found++
			}
			c.tells(id, r.XID, *r.Outcome, q)
		}
		if t.committed != "" && !t.steps && i%16 == 0 {
			again.whole(context.Background(), id, t.shape)
		}
	}
}

// explain looks for an order of all that clients were told that the coordinator's
// promise allows.
func (c *cast) explain() {
	ops := c.history.Ops()
	began := time.Now()
	ids, err := histories.Check(ops, histories.Params{Retention: time.Hour, Limit: 1_000_000, Networked: true})
	if err != nil {
		c.fail("%v%s", err, histories.Draw(err))
		return
	}
	tally.Add(c.t, "histories", "calls of clients of killed servers explained", int64(len(ops)), 10)
	c.t.Logf("the history of %d calls and kills, of %d ids, has an explanation, found in %v",
		len(ops), ids, time.Since(began).Round(time.Millisecond))
}

// judge holds what is in the databases against what was told.
func (c *cast) judge(dbs []*sql.DB) {
	found := oracle.Found{}
	for i, db := range dbs {
		wrong, err := found.Read(db, i, len(services))
		if err != nil {
			c.fail("%s: %v", services[i], err)
		}
		for _, w := range wrong {
			c.fail("%s", w)
		}
	}
	for _, id := range c.order {
		for _, w := range c.tales[id].judge(id, found[id]) {
			c.fail("%s", w)
		}
		delete(found, id)
	}
	for id, attempts := range found {
		c.fail("%s: nobody began it, and it left %v", id, attempts)
	}
}

// judge holds what one transaction left behind against what was told.
func (t *tale) judge(id dtc.TxID, attempts map[string]oracle.Effects) (wrong []string) {
	mine := map[string]oracle.Effects{}
	for xid, e := range attempts {
		if e.Any(oracle.Held) {
			wrong = append(wrong, fmt.Sprintf("%s (%s): still held: %v", id, xid, e))
		}
		if t.told[xid] == oracle.RolledBack {
			wrong = append(wrong, fmt.Sprintf("%s (%s): told rolled back, and committed: %v", id, xid, e))
		}
		// Of steps it is known which branches there are only where the client added
		// them all to what it began.
		if !t.steps || t.full && xid == t.xid {
			mine[xid] = e
		}
	}
	told := ""
	switch {
	case t.steps && !t.full:
	case t.steps:
		told = t.told[t.xid]
	case t.committed != "":
		told = oracle.Committed
		if _, ok := mine[t.committed]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s: told committed as %s, and there is %v", id, t.committed, attempts))
		}
	}
	return append(wrong, oracle.Judge(id, t.shape, told, mine, true)...)
}

// get asks the server itself, not through its proxy.
func (c *cast) get(path string, into any) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	return getJSON(ctx, c.server.address()+path, into)
}

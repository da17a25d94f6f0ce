package guard_test

// The guard's chapter of the manual. It stands here and not in package guard because
// it needs a database driver, and the root module requires nothing.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/guard"
)

// holdTen puts 10 of an account on hold: what can fail is done here. The functions
// use the transaction they are given for everything, and wrap errors of the database.
func holdTen(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	account := string(b.Payload)
	res, err := tx.ExecContext(ctx, `UPDATE account SET balance = balance - 10 WHERE id = ? AND balance >= 10`, account)
	if err != nil {
		return dtc.VoteAbort, fmt.Errorf("hold: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return dtc.VoteAbort, errors.Join(err, errNoMoney)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO hold (xid, account, amount) VALUES (?, ?, 10)`, b.XID.String(), account)
	return dtc.VoteCommit, err
}

var errNoMoney = errors.New("not enough money")

// takeTen spends the money on hold.
func takeTen(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM hold WHERE xid = ?`, b.XID.String())
	return err
}

// freeTen gives it back.
func freeTen(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	_, err := tx.ExecContext(ctx, `UPDATE account SET balance = balance + (SELECT amount FROM hold WHERE xid = ?1)
		WHERE id = (SELECT account FROM hold WHERE xid = ?1)`, b.XID.String())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM hold WHERE xid = ?`, b.XID.String())
	return err
}

var tens = guard.Funcs{Prepare: holdTen, Commit: takeTen, Rollback: freeTen}

// A payment service over SQLite: three ordinary functions, and the guard makes a
// participant of them.
func Example() {
	x := openExample()
	defer x.close()
	payment, err := guard.New(context.Background(), "payment", x.db, guard.SQLite, tens, nil)
	if err != nil {
		log.Fatal(err)
	}
	c := x.coordinator(payment)

	for _, account := range []string{"alice", "bob"} {
		id := dtc.TxID("order-of-" + account)
		committed, err := c.Execute(context.Background(), id, dtc.Branch{Participant: "payment", Payload: []byte(account)})
		fmt.Println(account, committed, errors.Is(err, errNoMoney))
	}
	fmt.Println(x.accounts())
	// Output:
	// alice true false
	// bob false true
	// alice has 90, bob has 5, 0 on hold
}

// Another participant refuses after the money was put on hold: it is given back.
func Example_rollback() {
	x := openExample()
	defer x.close()
	payment, err := guard.New(context.Background(), "payment", x.db, guard.SQLite, tens, nil)
	if err != nil {
		log.Fatal(err)
	}
	stock := dtctest.NewMemory("stock")
	stock.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
		<-x.held // not before payment has voted, so that there is something to undo
		return dtc.VoteAbort, dtc.Refuse(errors.New("out of stock"))
	}
	c := x.coordinator(watched{payment, x.held}, stock)

	_, err = c.Execute(context.Background(), "order-1",
		dtc.Branch{Participant: "payment", Payload: []byte("alice")}, dtc.Branch{Participant: "stock"})
	fmt.Println(err)
	fmt.Println(x.accounts())
	// Output:
	// dtc: transaction order-1 rolled back: vote_abort by stock: out of stock
	// alice has 100, bob has 5, 0 on hold
}

// Calls that come twice, or after the fact, have the effect of one, or none. What a
// guard holds without knowing the decision it can list.
func Example_repeats() {
	x := openExample()
	defer x.close()
	ctx := context.Background()
	payment, err := guard.New(ctx, "payment", x.db, guard.SQLite, tens, nil)
	if err != nil {
		log.Fatal(err)
	}
	incarnation := dtc.Incarnation{Number: 1, Nonce: 1}
	first := dtc.Branch{Participant: "payment", Payload: []byte("alice"), XID: dtc.XID{Incarnation: incarnation, Seq: 1}}

	for range 2 {
		vote, err := payment.Prepare(ctx, first)
		fmt.Println("prepare:", vote, err)
	}
	inDoubt, err := payment.InDoubt(ctx, first.XID.Log)
	fmt.Println("in doubt:", len(inDoubt), err)
	for range 2 {
		fmt.Println("commit:", payment.Commit(ctx, first))
	}

	second := first
	second.XID.Seq = 2
	fmt.Println("rollback of what never came:", payment.Rollback(ctx, second))
	vote, _ := payment.Prepare(ctx, second)
	fmt.Println("and when it comes:", vote)
	fmt.Println(x.accounts())
	// Output:
	// prepare: vote_commit <nil>
	// prepare: vote_commit <nil>
	// in doubt: 1 <nil>
	// commit: <nil>
	// commit: <nil>
	// rollback of what never came: <nil>
	// and when it comes: vote_abort
	// alice has 90, bob has 5, 0 on hold
}

// The payload reaches Prepare only, unless the guard keeps it. Who migrates by hand
// makes the tables himself.
func Example_options() {
	x := openExample()
	defer x.close()
	ctx := context.Background()
	schema, err := guard.Schema(guard.SQLite, "shop_tx")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := x.db.Exec(schema); err != nil {
		log.Fatal(err)
	}
	mail, err := guard.New(ctx, "mail", x.db, guard.SQLite, guard.Funcs{
		Prepare: func(context.Context, *sql.Tx, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
		Commit: func(_ context.Context, _ *sql.Tx, b dtc.Branch) error {
			fmt.Printf("send to %s\n", b.Payload)
			return nil
		},
	}, &guard.Options{TablePrefix: "shop_tx", NoCreate: true, KeepPayload: true})
	if err != nil {
		log.Fatal(err)
	}
	c := x.coordinator(mail)

	committed, err := c.Execute(ctx, "order-1", dtc.Branch{Participant: "mail", Payload: []byte("alice@example.org")})
	fmt.Println(committed, err)
	// Output:
	// send to alice@example.org
	// true <nil>
}

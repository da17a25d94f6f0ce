// Package bank is accounts in two databases, and transfers between them.
package bank

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc/mysql"
)

// Each database has so many accounts, with so much in each at first.
const (
	accounts = 10
	deposit  = 1000
)

// Bank is the two databases.
type Bank struct {
	Postgres  *pgxpool.Pool
	MariaDB   *sql.DB
	Connector driver.Connector // of MariaDB
}

// Open makes the pools. The databases are not called yet.
func Open(ctx context.Context, pgURL, mariaDSN string) (*Bank, error) {
	pg, err := pgxpool.ParseConfig(pgURL)
	if err != nil {
		return nil, err
	}
	// Whoever wants a row that a branch in doubt holds is not to wait for ever.
	pg.ConnConfig.RuntimeParams["lock_timeout"] = "2s"
	maria, err := mysqldriver.ParseDSN(mariaDSN)
	if err != nil {
		return nil, err
	}
	maria.Params = map[string]string{"innodb_lock_wait_timeout": "2"}
	maria.Logger = log.New(io.Discard, "", 0) // what it would say is in its errors
	b := &Bank{}
	if b.Connector, err = mysqldriver.NewConnector(maria); err != nil {
		return nil, err
	}
	b.MariaDB = sql.OpenDB(b.Connector)
	b.Postgres, err = pgxpool.NewWithConfig(ctx, pg)
	return b, err
}

// Close closes the pools.
func (b *Bank) Close() {
	b.Postgres.Close()
	_ = b.MariaDB.Close()
}

// Create makes the tables and the accounts, if they are not there.
func (b *Bank) Create(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, b.Postgres, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf(`
			CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
			CREATE TABLE IF NOT EXISTS transfer (id text PRIMARY KEY, amount bigint NOT NULL);
			INSERT INTO account SELECT n, %d FROM generate_series(1, %d) AS n ON CONFLICT DO NOTHING`, deposit, accounts))
		return err
	})
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) ENGINE=InnoDB",
		"CREATE TABLE IF NOT EXISTS transfer (id varchar(64) PRIMARY KEY, amount bigint NOT NULL) ENGINE=InnoDB",
		fmt.Sprintf("INSERT IGNORE INTO account SELECT seq, %d FROM seq_1_to_%d", deposit, accounts),
	} {
		if _, err := b.MariaDB.ExecContext(ctx, sql); err != nil {
			return fmt.Errorf("MariaDB: %w", err)
		}
	}
	return nil
}

// Transfer takes an amount from an account in PostgreSQL and gives it to one in MariaDB,
// or the other way round if it is negative.
type Transfer struct {
	ID                string
	Amount            int64
	Postgres, MariaDB int // the accounts
}

// Random returns a transfer of a random amount between random accounts.
func Random(id string) Transfer {
	amount := 1 + rand.Int64N(200)
	if rand.IntN(2) == 0 {
		amount = -amount
	}
	return Transfer{ID: id, Amount: amount, Postgres: 1 + rand.IntN(accounts), MariaDB: 1 + rand.IntN(accounts)}
}

func (t Transfer) String() string {
	return fmt.Sprintf("%s: %+d from PostgreSQL %d to MariaDB %d", t.ID, t.Amount, t.Postgres, t.MariaDB)
}

var errPoor = errors.New("there is not enough money in the account")

// InPostgres is the half of a transfer that PostgreSQL has.
func (t Transfer) InPostgres(ctx context.Context, tx pgx.Tx) error {
	r, err := tx.Exec(ctx, "UPDATE account SET balance = balance - $1 WHERE id = $2 AND balance >= $1", t.Amount, t.Postgres)
	if err != nil {
		return err
	}
	if r.RowsAffected() != 1 {
		return errPoor
	}
	_, err = tx.Exec(ctx, "INSERT INTO transfer VALUES ($1, $2)", t.ID, t.Amount)
	return err
}

// InMariaDB is the half of a transfer that MariaDB has.
func (t Transfer) InMariaDB(ctx context.Context, q *mysql.Tx) error {
	r, err := q.ExecContext(ctx, "UPDATE account SET balance = balance + ? WHERE id = ? AND balance >= ?", t.Amount, t.MariaDB, -t.Amount)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, errPoor)
	}
	_, err = q.ExecContext(ctx, "INSERT INTO transfer VALUES (?, ?)", t.ID, t.Amount)
	return err
}

package bank

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ledger is what one of the databases says.
type ledger struct {
	name      string
	money     int64
	transfers map[string]int64
	prepared  []string // what is in doubt
}

// Check says whether every transfer is in both databases or in none, and all the money is
// still there. It is for a moment in which nobody makes transfers.
func (b *Bank) Check(ctx context.Context) error {
	pg, err := b.inPostgres(ctx)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	maria, err := b.inMariaDB(ctx)
	if err != nil {
		return fmt.Errorf("MariaDB: %w", err)
	}
	fmt.Printf("PostgreSQL %6d in %d accounts, %d transfers, %d in doubt\n", pg.money, accounts, len(pg.transfers), len(pg.prepared))
	fmt.Printf("MariaDB    %6d in %d accounts, %d transfers, %d in doubt\n", maria.money, accounts, len(maria.transfers), len(maria.prepared))
	if wrong := compare(pg, maria); wrong != nil {
		return fmt.Errorf("FAILED: %s", strings.Join(wrong, "; "))
	}
	fmt.Printf("OK: %d together, as at first, and each transfer is in both\n", pg.money+maria.money)
	return nil
}

func compare(pg, maria *ledger) (wrong []string) {
	for _, l := range []*ledger{pg, maria} {
		if n := len(l.prepared); n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d are in doubt in %s; start transfer again, which finishes them", n, l.name))
		}
	}
	var moved int64
	for id, amount := range pg.transfers {
		moved += amount
		if other, ok := maria.transfers[id]; !ok || other != amount {
			wrong = append(wrong, "transfer "+id+" is in PostgreSQL only")
		}
	}
	for id := range maria.transfers {
		if _, ok := pg.transfers[id]; !ok {
			wrong = append(wrong, "transfer "+id+" is in MariaDB only")
		}
	}
	if want := int64(accounts*deposit) - moved; pg.money != want {
		wrong = append(wrong, fmt.Sprintf("PostgreSQL has %d, and should have %d", pg.money, want))
	}
	if want := int64(accounts*deposit) + moved; maria.money != want && len(wrong) == 0 {
		wrong = append(wrong, fmt.Sprintf("MariaDB has %d, and should have %d", maria.money, want))
	}
	return wrong
}

func (b *Bank) inPostgres(ctx context.Context) (*ledger, error) {
	l := &ledger{name: "PostgreSQL", transfers: map[string]int64{}}
	if err := b.Postgres.QueryRow(ctx, "SELECT sum(balance)::bigint FROM account").Scan(&l.money); err != nil {
		return nil, err
	}
	rows, err := b.Postgres.Query(ctx, "SELECT id, amount FROM transfer")
	if err != nil {
		return nil, err
	}
	var id string
	var amount int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &amount}, func() error { l.transfers[id] = amount; return nil }); err != nil {
		return nil, err
	}
	if rows, err = b.Postgres.Query(ctx, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"); err != nil {
		return nil, err
	}
	l.prepared, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return l, err
}

func (b *Bank) inMariaDB(ctx context.Context) (*ledger, error) {
	l := &ledger{name: "MariaDB", transfers: map[string]int64{}}
	if err := b.MariaDB.QueryRowContext(ctx, "SELECT SUM(balance) FROM account").Scan(&l.money); err != nil {
		return nil, err
	}
	err := each(ctx, b.MariaDB, "SELECT id, amount FROM transfer", func(rows *sql.Rows) error {
		var id string
		var amount int64
		err := rows.Scan(&id, &amount)
		l.transfers[id] = amount
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, b.MariaDB, "XA RECOVER", func(rows *sql.Rows) error {
		var format, gtrid, bqual int
		var name string
		err := rows.Scan(&format, &gtrid, &bqual, &name)
		l.prepared = append(l.prepared, name)
		return err
	})
	return l, err
}

func each(ctx context.Context, db *sql.DB, query string, do func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

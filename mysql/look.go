package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/dtc-project/dtc"
)

// Look is [Database.Findings] for a database that is not open: it changes nothing. It says
// too whether the tables are there with the privileges that they take, or can be created,
// and whether the session of a branch can be ended from another.
func Look(ctx context.Context, c driver.Connector, opts *Options) ([]Finding, error) {
	d := &Database{id: "look"}
	if opts != nil {
		d.opts = *opts
	}
	if d.opts.TablePrefix == "" {
		d.opts.TablePrefix = defaultPrefix
	}
	create, err := Schema(d.opts.TablePrefix)
	if err != nil {
		return nil, err
	}
	if d.q, err = speak(ctx, c, d.opts.TablePrefix); err != nil {
		return nil, err
	}
	d.finish = d.openFinish(c, "READ COMMITTED", 2)
	defer d.finish.Close()
	d.pool = sql.OpenDB(c)
	defer d.pool.Close()
	all, err := d.Findings(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := d.lookTables(ctx, create)
	if err != nil {
		return nil, err
	}
	all = append(all, tables...)
	if err := d.tryFence(ctx); errors.Is(err, ErrUnusable) {
		all = append(all, Finding{
			Fatal: true, Setting: "KILL CONNECTION", Value: "of no use", Remedy: strings.TrimPrefix(err.Error(), ErrUnusable.Error()+": "),
		})
	} else if err != nil {
		return nil, err
	}
	return all, nil
}

// lookTables has the server prepare the statements that will be used, as a client does
// before it executes one: it looks at the tables and the privileges then, and does nothing.
func (d *Database) lookTables(ctx context.Context, create string) ([]Finding, error) {
	var schema string
	var there int
	err := d.finish.QueryRowContext(ctx, "SELECT DATABASE(), (SELECT COUNT(*) FROM information_schema.TABLES"+
		" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ('"+strings.Join(d.q.tables(), "', '")+"'))").
		Scan(&schema, &there)
	if err != nil {
		return nil, fmt.Errorf("look for the tables: %w", safe(err))
	}
	b := dtc.Branch{Participant: d.id, XID: dtc.XID{Seq: 1}}
	row, err := d.q.insert(b, stateCommitted, startVariable)
	if err != nil {
		return nil, err
	}
	what := "the privileges on " + strings.Join(d.q.tables(), ", ")
	remedy := fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.* TO this account", schema)
	statements := []string{row, d.q.state(b), d.q.drop(rowKey(b.XID, d.id)), d.q.raiseLow(d.id, b.XID), d.q.storedLow(d.id, b.XID.Log)}
	statements = append(statements, d.q.onceTried(b)...)
	if there < len(d.q.tables()) {
		what = "the privilege to create " + strings.Join(d.q.tables(), ", ")
		remedy = fmt.Sprintf("GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON %s.* TO this account, or create the tables as another", schema)
		statements = strings.SplitAfter(strings.TrimSpace(create), ";\n")
	}
	for _, s := range statements {
		prepared, err := d.finish.PrepareContext(ctx, s)
		switch {
		case err == nil:
			_ = prepared.Close()
		case gone(err):
			return nil, fmt.Errorf("look for the tables: %w", safe(err))
		default:
			return []Finding{{Fatal: true, Setting: what, Value: fmt.Sprintf("missing (%d)", number(err)), Remedy: remedy}}, nil
		}
	}
	return nil, nil
}

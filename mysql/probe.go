package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dtc-project/dtc"
)

// Finding is one thing that a look at the server has shown.
type Finding struct {
	// Fatal: the server cannot be a participant as it is.
	Fatal bool
	// Lossy: a crash may lose votes.
	Lossy bool
	// Setting and Value are what was found, Remedy what to do about it.
	Setting, Value, Remedy string
}

func (f Finding) String() string { return fmt.Sprintf("%s is %s: %s", f.Setting, f.Value, f.Remedy) }

// Findings looks at the server and says what stands in the way of distributed
// transactions, and what may when there is more work. It needs no tables.
func (d *Database) Findings(ctx context.Context) ([]Finding, error) {
	fail := func(err error) ([]Finding, error) {
		return nil, fmt.Errorf("the server's settings cannot be read: %w", safe(err))
	}
	version, err := versionOf(ctx, d.finish)
	if err != nil {
		return fail(err)
	}
	vars, err := settings(ctx, d.finish)
	if err != nil {
		return fail(err)
	}
	all := judge(version, vars)
	// A table of another engine takes part in no transaction: its rows survive a rollback.
	others, err := texts(d.finish.QueryContext(ctx, "SELECT CONCAT(TABLE_NAME, ' ', ENGINE) FROM information_schema.TABLES"+
		" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB' ORDER BY TABLE_NAME"))
	if err != nil {
		return fail(err)
	}
	for _, other := range others {
		table, engine, _ := strings.Cut(other, " ")
		all = append(all, Finding{
			Fatal:   slices.Contains(d.q.tables(), table),
			Setting: "the engine of " + table, Value: engine,
			Remedy: "its rows survive a rollback: ALTER TABLE " + table + " ENGINE = InnoDB",
		})
	}
	if _, err := d.recoverable(ctx, d.finish); err != nil && number(err) != 0 && !gone(err) {
		all = append(all, Finding{
			Fatal: true, Setting: "XA RECOVER", Value: fmt.Sprintf("refused (%d)", number(err)),
			Remedy: "it lists what is prepared: GRANT XA_RECOVER_ADMIN ON *.* to the account",
		})
	}
	return all, nil
}

func versionOf(ctx context.Context, q querier) (version string, err error) {
	err = q.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version)
	return version, err
}

// settings reads what matters of the variables that the session has.
func settings(ctx context.Context, q querier) (map[string]string, error) {
	rows, err := q.QueryContext(ctx, "SHOW SESSION VARIABLES WHERE Variable_name IN ('legacy_xa_rollback_at_disconnect',"+
		" 'xa_detach_on_prepare', 'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'read_only',"+
		" 'default_storage_engine', 'wsrep_on', 'innodb_doublewrite')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	vars := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		vars[name] = value
	}
	return vars, rows.Err()
}

// judge says what is wrong with a server of that version and with those settings. A
// setting that the server does not have is not in vars.
func judge(version string, vars map[string]string) (all []Finding) {
	add := func(when bool, f Finding) {
		if when {
			all = append(all, f)
		}
	}
	is := func(name, value string) bool { return strings.EqualFold(vars[name], value) }
	mariadb := isMariaDB(version)
	add(mariadb && olderThan(version, 10, 5, 0), Finding{
		Fatal: true, Setting: "version()", Value: version,
		Remedy: "it rolls a prepared branch back when its connection ends; use MariaDB 10.5 or newer",
	})
	add(!mariadb && olderThan(version, 8, 0, 29), Finding{
		Fatal: true, Setting: "version()", Value: version,
		Remedy: "it keeps a prepared branch with its connection for ever; use MySQL 8.0.29 or newer",
	})
	all = append(all, judgeSession(vars)...)
	add(is("wsrep_on", "ON"), Finding{
		Fatal: true, Setting: "wsrep_on", Value: "ON",
		Remedy: "Galera has no XA transactions; use a server that is not in a cluster",
	})
	add(vars["read_only"] != "" && !is("read_only", "OFF"), Finding{
		Fatal: true, Setting: "read_only", Value: vars["read_only"],
		Remedy: "this server is a replica, whose list of prepared branches proves nothing; connect to the primary, or SET GLOBAL read_only = OFF",
	})
	add(!is("default_storage_engine", "InnoDB"), Finding{
		Fatal: true, Setting: "default_storage_engine", Value: vars["default_storage_engine"],
		Remedy: "rows of other engines survive a rollback: SET GLOBAL default_storage_engine = InnoDB, and in the server's configuration",
	})
	add(vars["innodb_flush_log_at_trx_commit"] != "1", Finding{
		Lossy: true, Setting: "innodb_flush_log_at_trx_commit", Value: vars["innodb_flush_log_at_trx_commit"],
		Remedy: "a crash loses votes: SET GLOBAL innodb_flush_log_at_trx_commit = 1, and in the server's configuration",
	})
	add(is("log_bin", "ON") && vars["sync_binlog"] != "1", Finding{
		Lossy: true, Setting: "sync_binlog", Value: vars["sync_binlog"],
		Remedy: "after a crash the binary log and the tables may differ: SET GLOBAL sync_binlog = 1, and in the server's configuration",
	})
	add(is("innodb_doublewrite", "OFF"), Finding{
		Lossy: true, Setting: "innodb_doublewrite", Value: "OFF",
		Remedy: "a crash may damage pages: set it to ON in the server's configuration, then restart",
	})
	return all
}

// judgeSession looks at the settings that a session may have of its own.
func judgeSession(vars map[string]string) (all []Finding) {
	if strings.EqualFold(vars["legacy_xa_rollback_at_disconnect"], "ON") {
		all = append(all, Finding{
			Fatal: true, Setting: "legacy_xa_rollback_at_disconnect", Value: "ON",
			Remedy: "a prepared branch is rolled back when its connection ends: SET GLOBAL legacy_xa_rollback_at_disconnect = OFF," +
				" and in the server's configuration and what the connections set",
		})
	}
	if v := vars["xa_detach_on_prepare"]; v != "" && !strings.EqualFold(v, "ON") {
		all = append(all, Finding{
			Fatal: true, Setting: "xa_detach_on_prepare", Value: v,
			Remedy: "a prepared branch stays with its connection: SET GLOBAL xa_detach_on_prepare = ON," +
				" and in the server's configuration and what the connections set",
		})
	}
	return all
}

func isMariaDB(version string) bool { return strings.Contains(strings.ToLower(version), "mariadb") }

// olderThan compares the first three numbers of a version. MariaDB's may stand behind a
// 5.5.5 that is there for old replicas.
func olderThan(version string, want ...int) bool {
	part := strings.SplitN(strings.TrimPrefix(version, "5.5.5-"), ".", 3)
	for i, w := range want {
		n := 0
		if i < len(part) {
			digits := strings.IndexFunc(part[i], func(r rune) bool { return r < '0' || r > '9' })
			if digits < 0 {
				digits = len(part[i])
			}
			n, _ = strconv.Atoi(part[i][:digits])
		}
		if n != w {
			return n < w
		}
	}
	return false
}

func (d *Database) refuse(all []Finding) error {
	for _, f := range all {
		if f.Fatal || f.Lossy && !d.opts.AllowLossy {
			return fmt.Errorf("%w: %v", ErrUnusable, f)
		}
	}
	return nil
}

// tryTables tries what will be done with the tables, and takes it back.
func (d *Database) tryTables(ctx context.Context) error {
	tx, err := d.finish.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("try the tables: %w", safe(err))
	}
	defer tx.Rollback()
	var log dtc.LogID
	_, _ = rand.Read(log[:]) // never fails
	b := dtc.Branch{Participant: d.id, XID: dtc.XID{Log: log, Seq: 1}}
	row, err := d.q.insert(b, stateCommitted, startVariable)
	if err != nil {
		return err
	}
	list := []string{row, d.q.state(b), d.q.drop(rowKey(b.XID, d.id)), d.q.raiseLow(d.id, b.XID), d.q.storedLow(d.id, log)}
	for _, sql := range append(list, d.q.onceTried(b)...) {
		if _, err := tx.ExecContext(ctx, sql); err != nil {
			err = fmt.Errorf("try the tables %s, which mysql.Schema creates: %w", strings.Join(d.q.tables(), ", "), safe(err))
			if gone(err) {
				return err
			}
			return fmt.Errorf("%w: %w", ErrUnusable, err)
		}
	}
	return nil
}

// tryFence tries whether the session of a branch can be ended from here: a connection of
// the pool is.
func (d *Database) tryFence(ctx context.Context) error {
	conn, err := d.pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("a connection of the pool: %w", safe(err))
	}
	defer drop(conn)
	vars, err := settings(ctx, conn)
	if err != nil {
		return fmt.Errorf("look at the settings of the pool: %w", safe(err))
	}
	if err := d.refuse(judgeSession(vars)); err != nil {
		return err
	}
	// The id means nothing to another server, where it may be somebody's: a lock that
	// the one has taken and the other can see says that both are the same.
	lock := "dtc.probe." + rand.Text()
	var id uint64
	var holder sql.Null[uint64]
	err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID() FROM (SELECT GET_LOCK('"+lock+"', 0)) AS l").Scan(&id)
	if err == nil {
		err = d.finish.QueryRowContext(ctx, "SELECT IS_USED_LOCK('"+lock+"')").Scan(&holder)
	}
	switch {
	case err != nil:
		return fmt.Errorf("compare the pool with the connections that finish: %w", safe(err))
	case !holder.Valid || holder.V != id:
		return fmt.Errorf("%w: the pool and the connections that finish reach different servers; make both with the same address", ErrUnusable)
	}
	if err := d.fence(ctx, d.finish, id); err != nil {
		if errors.Is(err, errNotOwner) {
			return fmt.Errorf("%w: %w", ErrUnusable, err)
		}
		return err
	}
	return nil
}

package guard

import (
	"context"
	"fmt"
	"strings"
)

const defaultPrefix = "dtc_guard"

// The states of a row. Only prepared ever changes; the others are final.
const (
	statePrepared   = "prepared"    // voted commit, waits to be told
	stateCommitted  = "committed"   // told commit, the effect is visible
	stateRolledBack = "rolled_back" // told to roll back, before or after a prepare
	stateAborted    = "aborted"     // voted abort, holds nothing
	stateReadOnly   = "read_only"   // voted read_only, holds nothing
)

// tables are the quoted-free names of one prefix; the prefix is validated, so
// they can stand in SQL text as they are.
type tables struct{ branch, lowWater string }

func tablesOf(prefix string) (tables, error) {
	if !validPrefix.MatchString(prefix) {
		return tables{}, fmt.Errorf("guard: table prefix %q: want at most 40 of [a-z_0-9], not beginning with a digit", prefix)
	}
	return tables{branch: prefix + "_branch", lowWater: prefix + "_low_water"}, nil
}

// Schema returns the statements, each ended by a semicolon, that create the
// guard's tables if they are missing: for those who migrate by hand and set
// [Options.NoCreate]. An empty prefix is the default one.
//
// The branch table has one row per branch. Times are microseconds since 1970.
// The index serves both the listing of what is prepared and the dropping of what
// is finished. Identifiers compare byte by byte whatever the database's default.
func Schema(dialect Dialect, tablePrefix string) (string, error) {
	d, err := dialect.find()
	if err != nil {
		return "", err
	}
	if tablePrefix == "" {
		tablePrefix = defaultPrefix
	}
	t, err := tablesOf(tablePrefix)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("{branch}", t.branch, "{low_water}", t.lowWater).Replace(d.schema), nil
}

const sqliteSchema = `CREATE TABLE IF NOT EXISTS {branch} (
	participant TEXT    NOT NULL,
	xid         TEXT    NOT NULL,
	log         TEXT    NOT NULL,
	incarnation INTEGER NOT NULL,
	seq         INTEGER NOT NULL,
	state       TEXT    NOT NULL CHECK (state IN ('prepared', 'committed', 'rolled_back', 'aborted', 'read_only')),
	reason      TEXT    NOT NULL,
	prepared_at INTEGER NOT NULL,
	payload     BLOB,
	PRIMARY KEY (participant, xid)
);
CREATE INDEX IF NOT EXISTS {branch}_state ON {branch} (participant, log, state, incarnation, seq);
CREATE TABLE IF NOT EXISTS {low_water} (
	participant TEXT    NOT NULL,
	log         TEXT    NOT NULL,
	incarnation INTEGER NOT NULL,
	seq         INTEGER NOT NULL,
	PRIMARY KEY (participant, log)
);
`

const postgresSchema = `CREATE TABLE IF NOT EXISTS {branch} (
	participant varchar(64) COLLATE "C" NOT NULL,
	xid         varchar(64) COLLATE "C" NOT NULL,
	log         varchar(16) COLLATE "C" NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	state       varchar(12) COLLATE "C" NOT NULL CHECK (state IN ('prepared', 'committed', 'rolled_back', 'aborted', 'read_only')),
	reason      text        NOT NULL,
	prepared_at bigint      NOT NULL,
	payload     bytea,
	PRIMARY KEY (participant, xid)
);
CREATE INDEX IF NOT EXISTS {branch}_state ON {branch} (participant, log, state, incarnation, seq);
CREATE TABLE IF NOT EXISTS {low_water} (
	participant varchar(64) COLLATE "C" NOT NULL,
	log         varchar(16) COLLATE "C" NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	PRIMARY KEY (participant, log)
);
`

const mariadbSchema = `CREATE TABLE IF NOT EXISTS {branch} (
	participant varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	xid         varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	log         varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	state       varchar(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL CHECK (state IN ('prepared', 'committed', 'rolled_back', 'aborted', 'read_only')),
	reason      text        CHARACTER SET utf8mb4 NOT NULL,
	prepared_at bigint      NOT NULL,
	payload     mediumblob,
	PRIMARY KEY (participant, xid),
	KEY {branch}_state (participant, log, state, incarnation, seq)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {low_water} (
	participant varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	log         varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	PRIMARY KEY (participant, log)
) ENGINE=InnoDB;
`

// createTables makes sure that the tables are there and have the columns, and
// creates them only if they are not: an application's account often may not.
func (g *Guard) createTables(ctx context.Context) error {
	err := g.checkTables(ctx)
	for attempt := 0; err != nil && !g.opts.NoCreate && attempt < 10; attempt++ {
		// Processes that start at once on an empty PostgreSQL database may all find
		// no table, and all but one then fail on a key of the catalogue.
		created := g.runSchema(ctx)
		if err = g.checkTables(ctx); err != nil && created != nil {
			err = created
		}
	}
	if err != nil {
		return fmt.Errorf("tables of prefix %s: %w", g.opts.TablePrefix, err)
	}
	return g.checkEngine(ctx)
}

func (g *Guard) checkTables(ctx context.Context) error {
	for _, q := range []string{
		"SELECT participant, xid, log, incarnation, seq, state, reason, prepared_at, payload FROM " + g.tables.branch + " WHERE 1 = 0",
		"SELECT participant, log, incarnation, seq FROM " + g.tables.lowWater + " WHERE 1 = 0",
	} {
		if _, err := g.db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// runSchema runs in one transaction, so that where that is possible no table ever
// stands without its index. (MariaDB commits after each statement, and its index
// comes with the table.)
func (g *Guard) runSchema(ctx context.Context) error {
	text, err := Schema(g.d.is, g.opts.TablePrefix)
	if err != nil {
		return err
	}
	tx, err := g.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for stmt := range strings.SplitSeq(text, ";\n") {
		if stmt = strings.TrimSpace(stmt); stmt == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// checkEngine refuses tables made by hand in an engine without transactions:
// their rows would survive a rollback.
func (g *Guard) checkEngine(ctx context.Context) error {
	if g.d != &mariadb {
		return nil
	}
	rows, err := g.db.QueryContext(ctx, `SELECT table_name, engine FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name IN (?, ?)`, g.tables.branch, g.tables.lowWater)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, engine string
		if err := rows.Scan(&name, &engine); err != nil {
			return err
		}
		if engine != "InnoDB" {
			return fmt.Errorf("table %s is in engine %s: want InnoDB", name, engine)
		}
	}
	return rows.Err()
}

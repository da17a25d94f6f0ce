package mysql

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/dtc-project/dtc"
)

const defaultPrefix = "dtc"

var validPrefix = regexp.MustCompile(`^[a-z_][a-z_0-9]{0,39}$`)

// The states of a row.
const (
	stateCommitted  = "committed"   // written by the branch itself: visible if it has committed
	stateRolledBack = "rolled_back" // written from outside: it can commit no more
)

// Schema returns the statements that create the tables, for those who migrate by hand
// and set [Options.NoCreate]. An empty prefix is the default one, "dtc".
func Schema(tablePrefix string) (string, error) {
	if tablePrefix == "" {
		tablePrefix = defaultPrefix
	}
	if !validPrefix.MatchString(tablePrefix) {
		return "", fmt.Errorf("mysql: table prefix %q: want at most 40 of [a-z_0-9], not beginning with a digit", tablePrefix)
	}
	return strings.ReplaceAll(schema, "{prefix}", tablePrefix), nil
}

const schema = `CREATE TABLE IF NOT EXISTS {prefix}_branch (
	name          varchar(129) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
	participant   varchar(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	log           varchar(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	incarnation   bigint unsigned NOT NULL,
	seq           bigint unsigned NOT NULL,
	tx_id         varbinary(128)  NOT NULL,
	state         varchar(12)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	connection_id bigint unsigned NOT NULL,
	server_start  bigint          NOT NULL,
	KEY {prefix}_branch_order (participant, log, incarnation, seq)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {prefix}_low_water (
	participant varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	log         varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	incarnation bigint unsigned NOT NULL,
	seq         bigint unsigned NOT NULL,
	PRIMARY KEY (participant, log)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {prefix}_once (
	participant varchar(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	log         varchar(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	tx_id       varbinary(128)  NOT NULL,
	incarnation bigint unsigned NOT NULL,
	nonce       bigint unsigned NOT NULL,
	seq         bigint unsigned NOT NULL,
	request     binary(16),
	state       varchar(12)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	ended       datetime NOT NULL,
	PRIMARY KEY (participant, log, tx_id),
	KEY {prefix}_once_order (participant, log, state, incarnation, seq)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {prefix}_fence (
	participant         varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	log                 varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	incarnation         bigint unsigned NOT NULL,
	low_incarnation     bigint unsigned NOT NULL DEFAULT 0,
	low_seq             bigint unsigned NOT NULL DEFAULT 0,
	dropped_incarnation bigint unsigned NOT NULL DEFAULT 0,
	dropped_seq         bigint unsigned NOT NULL DEFAULT 0,
	PRIMARY KEY (participant, log)
) ENGINE=InnoDB;
`

// tables returns the names of the tables.
func (q queries) tables() []string {
	return []string{q.prefix + "_branch", q.prefix + "_low_water", q.prefix + "_once", q.prefix + "_fence"}
}

// in returns the statements over the tables in that schema, wherever a session has moved to:
// the row of a branch that went elsewhere would not be found.
func (q queries) in(schema string) queries {
	schema = "`" + strings.ReplaceAll(schema, "`", "``") + "`."
	for _, table := range []*string{&q.branch, &q.lowWater, &q.once, &q.fence} {
		*table = schema + *table
	}
	return q
}

// queries are the statements over the tables of one prefix. Names of branches stand in
// them as literals: of their characters none means anything to SQL.
type queries struct {
	prefix           string
	branch, lowWater string
	once, fence      string
	start            string // an expression: when the server was started, in seconds
	mariadb          bool   // it takes several statements in one, and has NOWAIT
	latest           string // before a statement: it may lock rows that are younger than the branch's snapshot
}

// startVariable is what a session of ours remembers the start of its server in: to compute
// it costs more than all else that a branch does.
const startVariable = "@dtc_server_start"

// remember returns the statement that sets the variable.
func (q queries) remember() string { return "SET " + startVariable + " = " + q.start }

// unlessRemembered fails as the row would without the variable, before anything is written:
// in a session that checks neither unique nor foreign keys, an error of an INSERT undoes what
// the branch has written to tables that were empty.
var unlessRemembered = fmt.Sprintf("IF %s IS NULL THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = %d; END IF", startVariable, codeNull)

func queriesOf(prefix string, mariadb bool) queries {
	status := "performance_schema.global_status"
	if mariadb {
		status = "information_schema.GLOBAL_STATUS"
	}
	return queries{
		prefix: prefix, branch: prefix + "_branch", lowWater: prefix + "_low_water", once: prefix + "_once", fence: prefix + "_fence",
		// Both count from the same reading of the clock, SET TIMESTAMP included, so the
		// difference is the same for as long as the server runs.
		start: "(SELECT CAST(UNIX_TIMESTAMP() AS SIGNED) - CAST(VARIABLE_VALUE AS SIGNED) FROM " +
			status + " WHERE VARIABLE_NAME = 'Uptime')",
		mariadb: mariadb,
	}
}

// insert returns the statement that writes the row of a branch. The row of the branch's
// own hand names the session that executes it, and the start of the server, which is the
// given expression.
func (q queries) insert(b dtc.Branch, state, start string) (string, error) {
	xid, err := literal(b.XID.String())
	if err != nil {
		return "", err
	}
	participant, err := literal(b.Participant)
	if err != nil {
		return "", err
	}
	session := "0, 0"
	if state == stateCommitted {
		session = "CONNECTION_ID(), " + start
	}
	return fmt.Sprintf("INSERT INTO %s (name, participant, log, incarnation, seq, tx_id, state, connection_id, server_start)"+
		" VALUES ('%s', %s, '%s', %d, %d, X'%s', '%s', %s)",
		q.branch, strings.Trim(xid, "'")+"."+strings.Trim(participant, "'"), participant, b.XID.Log,
		b.XID.Incarnation.Number, b.XID.Seq, hex.EncodeToString([]byte(b.TxID)), state, session), nil
}

// row returns the statement that reads a branch's row, on a session that remembers the
// start. Whether it sees one that is not committed depends on the session.
func (q queries) row(b dtc.Branch) string {
	return fmt.Sprintf("SELECT state, connection_id, server_start = %s, @@global.read_only FROM %s WHERE name = '%s'",
		startVariable, q.branch, rowKey(b.XID, b.Participant))
}

// state returns the statement that reads what a branch's row says if it is committed. A
// row that is not has a lock, so on MariaDB the question is whether it is free: to make a
// snapshot the server goes through all transactions, with many branches in doubt a slow walk.
func (q queries) state(b dtc.Branch) string {
	sql := fmt.Sprintf("SELECT state FROM %s WHERE name = '%s'", q.branch, rowKey(b.XID, b.Participant))
	if q.mariadb {
		sql += " LOCK IN SHARE MODE NOWAIT"
	}
	return sql
}

func (q queries) storedLow(participant string, log dtc.LogID) string {
	return fmt.Sprintf("SELECT incarnation, seq FROM %s WHERE participant = '%s' AND log = '%s'", q.lowWater, participant, log)
}

// raiseLow never lowers. The assignments are made in order, so the one that looks at the
// old incarnation comes first.
func (q queries) raiseLow(participant string, lw dtc.XID) string {
	return fmt.Sprintf("INSERT INTO %s (participant, log, incarnation, seq) VALUES ('%s', '%s', %d, %d) ON DUPLICATE KEY UPDATE"+
		" seq = IF(VALUES(incarnation) > incarnation OR VALUES(incarnation) = incarnation AND VALUES(seq) > seq, VALUES(seq), seq),"+
		" incarnation = GREATEST(incarnation, VALUES(incarnation))",
		q.lowWater, participant, lw.Log, lw.Incarnation.Number, lw.Seq)
}

// below returns the statement that finds rows below low water, and drop the one that
// drops a row by its name. A DELETE that looks for them, or has a list of names, even one
// that is told to go by the key, walks over the rows of branches in work in a small table,
// and waits for their locks.
func (q queries) below(participant string, lw dtc.XID, limit int) string {
	return fmt.Sprintf("SELECT name FROM %s WHERE participant = '%s' AND log = '%s'"+
		" AND (incarnation < %d OR incarnation = %[4]d AND seq < %d) ORDER BY incarnation, seq LIMIT %d",
		q.branch, participant, lw.Log, lw.Incarnation.Number, lw.Seq, limit)
}

func (q queries) drop(name string) string {
	return fmt.Sprintf("DELETE FROM %s WHERE name = '%s'", q.branch, name)
}

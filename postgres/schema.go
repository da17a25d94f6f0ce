package postgres

import (
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
	stateAdopted    = "adopted"     // written with the vote for a branch that somebody else has prepared
)

// What else a row of an adopted branch may say; see [queries].state.
const (
	statePrepared = "prepared"
	stateUnknown  = "unknown" // the server has forgotten how the transaction ended
)

// Schema returns the statements that create the tables, for those who migrate by hand
// and set [Options.NoCreate]. An empty prefix is the default one, "dtc".
func Schema(tablePrefix string) (string, error) {
	if tablePrefix == "" {
		tablePrefix = defaultPrefix
	}
	if !validPrefix.MatchString(tablePrefix) {
		return "", fmt.Errorf("postgres: table prefix %q: want at most 40 of [a-z_0-9], not beginning with a digit", tablePrefix)
	}
	return strings.ReplaceAll(schema, "{prefix}", tablePrefix), nil
}

// The check of the state has a second duty, see [queries].prove.
const schema = `CREATE TABLE IF NOT EXISTS {prefix}_branch (
	name        varchar(129) COLLATE "C" PRIMARY KEY,
	participant varchar(64)  COLLATE "C" NOT NULL,
	log         varchar(16)  COLLATE "C" NOT NULL,
	incarnation bigint       NOT NULL,
	seq         bigint       NOT NULL,
	tx_id       bytea        NOT NULL,
	state       varchar(12)  COLLATE "C" NOT NULL CHECK (state IN ('committed', 'rolled_back', 'adopted')),
	xact        xid8
);
CREATE INDEX IF NOT EXISTS {prefix}_branch_order ON {prefix}_branch (participant, log, incarnation, seq);
CREATE TABLE IF NOT EXISTS {prefix}_low_water (
	participant varchar(64) COLLATE "C" NOT NULL,
	log         varchar(16) COLLATE "C" NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	PRIMARY KEY (participant, log)
);
`

// queries are the statements over the tables of one prefix.
type queries struct {
	table            string // of the branches, as errors of the server name it
	branch, lowWater string // with their schemas: search_path may be the work of the application
	role             string // that finishes, a literal
	seal, state      string
	adopt            string
	storedLow        string
	raiseLow         string
	prune            string
}

func queriesOf(prefix, branch, lowWater, role string) queries {
	b, lw := branch, lowWater
	return queries{
		table: prefix + "_branch", branch: b, lowWater: lw, role: role,
		seal: "INSERT INTO " + b + " (name, participant, log, incarnation, seq, tx_id, state)" +
			" VALUES ($1, $2, $3, $4, $5, $6, '" + stateRolledBack + "') ON CONFLICT (name) DO NOTHING",
		// What became of an adopted branch is known to the server. Its row was written after
		// the prepare, so a server that has the row, be it restored or a standby that was
		// promoted, has given the number to no other transaction.
		state: "SELECT CASE WHEN state <> '" + stateAdopted + "' THEN state ELSE CASE pg_xact_status(xact)" +
			" WHEN 'committed' THEN '" + stateCommitted + "' WHEN 'aborted' THEN '" + stateRolledBack + "'" +
			" WHEN 'in progress' THEN '" + statePrepared + "' ELSE '" + stateUnknown + "' END END FROM " + b + " WHERE name = $1",
		// pg_prepared_xacts shows the lower half of the number of a transaction. The whole one
		// is less than 2^31 away from that of the next transaction, before it or behind.
		adopt: "INSERT INTO " + b + " (name, participant, log, incarnation, seq, tx_id, state, xact)" +
			" SELECT $1, $2, $3, $4, $5, $6, '" + stateAdopted + "'," +
			" (next + (low - (next & 4294967295) + 6442450944) % 4294967296 - 2147483648)::text::xid8" +
			" FROM (SELECT transaction::text::bigint AS low, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next" +
			" FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database()) AS listed ON CONFLICT (name) DO NOTHING",
		storedLow: "SELECT incarnation, seq FROM " + lw + " WHERE participant = $1 AND log = $2",
		raiseLow: "INSERT INTO " + lw + " AS l (participant, log, incarnation, seq) VALUES ($1, $2, $3, $4)" +
			" ON CONFLICT (participant, log) DO UPDATE SET incarnation = excluded.incarnation, seq = excluded.seq" +
			" WHERE (l.incarnation, l.seq) < (excluded.incarnation, excluded.seq)",
		prune: "DELETE FROM " + b + " WHERE name IN (SELECT name FROM " + b +
			" WHERE participant = $1 AND log = $2 AND (incarnation, seq) < ($3, $4)" +
			" ORDER BY incarnation, seq LIMIT $5)",
	}
}

// prove returns the message that proves and prepares a branch: two statements, the
// second of which is reached only if the first one succeeds. The value of the state is
// chosen so that the first one fails where nothing must be prepared, and its error
// says why: NULL, which the column does not take, if the transaction has written
// nothing; a word that the check does not know if low water has passed the branch. The
// participant is NULL if the role is not the one that finishes, which then could not.
//
// What a serializable transaction has read is valid only if it ends well: it is prepared
// even if it has only read.
func (q queries) prove(b dtc.Branch) (string, error) {
	name, err := literal(Name(b.XID, b.Participant))
	if err != nil {
		return "", err
	}
	participant, err := literal(b.Participant)
	if err != nil {
		return "", err
	}
	log, err := literal(b.XID.Log.String())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("INSERT INTO %s (name, participant, log, incarnation, seq, tx_id, state) VALUES (%s,"+
		" CASE WHEN current_user = %[10]s THEN %[3]s END, %[4]s, %[5]d, %[6]d, %[7]s,"+
		" CASE WHEN pg_current_xact_id_if_assigned() IS NULL AND current_setting('transaction_isolation') <> 'serializable' THEN NULL"+
		" WHEN EXISTS (SELECT 1 FROM %[8]s WHERE participant = %[3]s AND log = %[4]s AND (incarnation, seq) > (%[5]d, %[6]d)) THEN 'late'"+
		" ELSE '%[9]s' END); PREPARE TRANSACTION %[2]s",
		q.branch, name, participant, log, b.XID.Incarnation.Number, b.XID.Seq, bytesLiteral(string(b.TxID)), q.lowWater, stateCommitted, q.role), nil
}

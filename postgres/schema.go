package postgres

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

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

// One key serves the seal, the questions and the order in which rows go: every index more
// costs each branch some locks, which its prepared transaction keeps. So does every other
// table that it looks at, and a CHECK is parsed anew for each row. What has the key of an
// earlier form, a name alone, does too.
const schema = `CREATE TABLE IF NOT EXISTS {prefix}_branch (
	name        varchar(129) COLLATE "C" NOT NULL,
	participant varchar(64)  COLLATE "C" NOT NULL,
	log         varchar(16)  COLLATE "C" NOT NULL,
	incarnation bigint       NOT NULL,
	seq         bigint       NOT NULL,
	tx_id       bytea        NOT NULL,
	state       varchar(12)  COLLATE "C" NOT NULL,
	xact        xid8,
	PRIMARY KEY (participant, log, incarnation, seq, name)
);
CREATE TABLE IF NOT EXISTS {prefix}_low_water (
	participant varchar(64) COLLATE "C" NOT NULL,
	log         varchar(16) COLLATE "C" NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	PRIMARY KEY (participant, log)
);
CREATE TABLE IF NOT EXISTS {prefix}_once (
	participant varchar(64) COLLATE "C" NOT NULL,
	log         varchar(16) COLLATE "C" NOT NULL,
	tx_id       bytea       NOT NULL,
	incarnation bigint      NOT NULL,
	nonce       bigint      NOT NULL,
	seq         bigint      NOT NULL,
	request     bytea,
	state       varchar(12) COLLATE "C" NOT NULL,
	at          timestamptz NOT NULL,
	PRIMARY KEY (participant, log, tx_id)
);
CREATE TABLE IF NOT EXISTS {prefix}_fence (
	participant varchar(64) COLLATE "C" NOT NULL,
	log         varchar(16) COLLATE "C" NOT NULL,
	kind        varchar(12) COLLATE "C" NOT NULL,
	incarnation bigint      NOT NULL,
	seq         bigint      NOT NULL,
	PRIMARY KEY (participant, log, kind)
);
`

// tableNames are what the names of the tables end with; privileges is what the role needs on
// each.
var (
	tableNames = []string{"branch", "low_water", "once", "fence"}
	privileges = []string{"SELECT, INSERT, DELETE", "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE"}
)

// queries are the statements over the tables of one prefix.
type queries struct {
	table            string // of the branches, as errors of the server name it
	branch, lowWater string // with their schemas: search_path may be the work of the application
	role             string // that finishes, a literal
	seal, state      string
	adopt, prove     string
	storedLow        string
	raiseLow         string
	prune            string
	once             onceQueries
}

// queriesOf makes the statements over the tables of [tableNames].
func queriesOf(prefix string, tables []string, role string) queries {
	branch, lowWater := tables[0], tables[1]
	b, lw := branch, lowWater
	q := queries{
		table: prefix + "_branch", branch: b, lowWater: lw, role: role,
		seal: "INSERT INTO " + b + " (name, participant, log, incarnation, seq, tx_id, state)" +
			" VALUES ($1, $2, $3, $4, $5, $6, '" + stateRolledBack + "') ON CONFLICT DO NOTHING",
		// What became of an adopted branch is known to the server. Its row was written after
		// the prepare, so a server that has the row, be it restored or a standby that was
		// promoted, has given the number to no other transaction.
		state: "SELECT CASE WHEN state <> '" + stateAdopted + "' THEN state ELSE CASE pg_xact_status(xact)" +
			" WHEN 'committed' THEN '" + stateCommitted + "' WHEN 'aborted' THEN '" + stateRolledBack + "'" +
			" WHEN 'in progress' THEN '" + statePrepared + "' ELSE '" + stateUnknown + "' END END FROM " + b +
			" WHERE name = $1 AND participant = $2 AND log = $3 AND incarnation = $4 AND seq = $5",
		// pg_prepared_xacts shows the lower half of the number of a transaction. The whole one
		// is less than 2^31 away from that of the next transaction, before it or behind.
		adopt: "INSERT INTO " + b + " (name, participant, log, incarnation, seq, tx_id, state, xact)" +
			" SELECT $1, $2, $3, $4, $5, $6, '" + stateAdopted + "'," +
			" (next + (low - (next & 4294967295) + 6442450944) % 4294967296 - 2147483648)::text::xid8" +
			" FROM (SELECT transaction::text::bigint AS low, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next" +
			" FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database()) AS listed ON CONFLICT DO NOTHING",
		storedLow: "SELECT incarnation, seq FROM " + lw + " WHERE participant = $1 AND log = $2",
		raiseLow: "INSERT INTO " + lw + " AS l (participant, log, incarnation, seq) VALUES ($1, $2, $3, $4)" +
			" ON CONFLICT (participant, log) DO UPDATE SET incarnation = excluded.incarnation, seq = excluded.seq" +
			" WHERE (l.incarnation, l.seq) < (excluded.incarnation, excluded.seq)",
		prune: "DELETE FROM " + b + " WHERE ctid = ANY (ARRAY(SELECT ctid FROM " + b +
			" WHERE participant = $1 AND log = $2 AND (incarnation, seq) < ($3, $4)" +
			" ORDER BY incarnation, seq LIMIT $5))",
	}
	q.prove = q.resolve(prove)
	q.once = onceQueriesOf(prefix, tables)
	return q
}

// prove proves a branch: the statement before PREPARE TRANSACTION, which is reached only if
// this one succeeds. It fails where nothing must be prepared, on a NULL in a column that takes
// none, and which one that is says why: the state, if the transaction has written nothing;
// the participant, if the role is not the one that finishes, which then could not; the
// transaction's id, if low water has passed the branch.
//
// What a serializable transaction has read is valid only if it ends well: it is prepared
// even if it has only read.
const prove = "INSERT INTO {branch} (name, participant, log, incarnation, seq, tx_id, state) VALUES ($1," +
	" CASE WHEN current_user = {role} THEN $2::varchar END, $3::varchar, $4::bigint, $5::bigint," +
	" CASE WHEN NOT EXISTS (SELECT 1 FROM {low} WHERE participant = $2::varchar AND log = $3::varchar AND (incarnation, seq) > ($4::bigint, $5::bigint))" +
	" THEN $6::bytea END," +
	" CASE WHEN pg_current_xact_id_if_assigned() IS NOT NULL OR current_setting('transaction_isolation') = 'serializable'" +
	" THEN '" + stateCommitted + "' END)"

// proof is a branch as it is proved and prepared.
type proof struct {
	name, participant, log, incarnation, seq string
	txID                                     []byte
	quoted                                   string // the name
}

func proofOf(b dtc.Branch) (p proof, err error) {
	p = proof{
		name: Name(b.XID, b.Participant), participant: b.Participant, log: b.XID.Log.String(),
		incarnation: strconv.FormatUint(uint64(b.XID.Incarnation.Number), 10), seq: strconv.FormatUint(b.XID.Seq, 10), txID: []byte(b.TxID),
	}
	p.quoted, err = literal(p.name) // which has the participant and the log in it
	return p, err
}

// prepare is the second statement.
func (p proof) prepare() string { return "PREPARE TRANSACTION " + p.quoted }

// message returns both statements as one message of the simple protocol, for a connection on
// which nothing is kept between two transactions.
func (q queries) message(p proof) string {
	values := strings.NewReplacer("$1", "'"+p.name+"'", "$2", "'"+p.participant+"'", "$3", "'"+p.log+"'",
		"$4", p.incarnation, "$5", p.seq, "$6", bytesLiteral(string(p.txID)))
	return q.resolve(values.Replace(prove)) + "; " + p.prepare()
}

// pipeline returns both statements as a batch, the first of which the server has planned
// before. What follows an error in a batch is not executed.
func (p proof) pipeline(statement string) *pgconn.Batch {
	var b pgconn.Batch
	b.ExecPrepared(statement, [][]byte{[]byte(p.name), []byte(p.participant), []byte(p.log), []byte(p.incarnation), []byte(p.seq), p.txID},
		[]int16{0, 0, 0, 0, 0, 1}, nil)
	b.ExecParams(p.prepare(), nil, nil, nil, nil)
	return &b
}

func (q queries) resolve(sql string) string {
	return strings.NewReplacer("{branch}", q.branch, "{low}", q.lowWater, "{role}", q.role).Replace(sql)
}

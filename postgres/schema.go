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
	state       varchar(12)  COLLATE "C" NOT NULL CHECK (state IN ('committed', 'rolled_back'))
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
	branch, lowWater string
	seal, state      string
	storedLow        string
	raiseLow         string
	prune            string
}

func queriesOf(prefix string) queries {
	b, lw := prefix+"_branch", prefix+"_low_water"
	return queries{
		branch: b, lowWater: lw,
		seal: "INSERT INTO " + b + " (name, participant, log, incarnation, seq, tx_id, state)" +
			" VALUES ($1, $2, $3, $4, $5, $6, '" + stateRolledBack + "') ON CONFLICT (name) DO NOTHING",
		state:     "SELECT state FROM " + b + " WHERE name = $1",
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
// nothing; a word that the check does not know if low water has passed the branch.
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
	return fmt.Sprintf("INSERT INTO %s (name, participant, log, incarnation, seq, tx_id, state) VALUES (%s, %s, %s, %d, %d, %s,"+
		" CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN NULL"+
		" WHEN EXISTS (SELECT 1 FROM %s WHERE participant = %[3]s AND log = %[4]s AND (incarnation, seq) > (%[5]d, %[6]d)) THEN 'late'"+
		" ELSE '%[9]s' END); PREPARE TRANSACTION %[2]s",
		q.branch, name, participant, log, b.XID.Incarnation.Number, b.XID.Seq, bytesLiteral(string(b.TxID)), q.lowWater, stateCommitted), nil
}

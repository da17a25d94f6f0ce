package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtc-project/dtc"
)

// stateSealed is that of a row of the evidence which says that up to its XID the id can not
// be committed in one phase. The other state is stateCommitted.
const stateSealed = "sealed"

// The kinds of rows of the table fence.
const (
	fenceRaised  = "raised"  // no earlier incarnation commits in one phase any more
	fenceDropped = "dropped" // the highest XID whose evidence was dropped
)

// onceQueries are the statements over the evidence of branches that were committed in one
// phase.
type onceQueries struct {
	table, name  string // of the evidence: as errors of the server name it, and with its schema
	names        *strings.Replacer
	lock, record string
	seal, look   string
	extend       string
	raise, fence string
	earlier      string
	dropped      string
	prune        string
}

func onceQueriesOf(prefix string, tables []string) onceQueries {
	names := strings.NewReplacer("{low}", tables[1], "{once}", tables[2], "{fence}", tables[3])
	q := onceQueries{
		table: prefix + "_once", name: tables[2], names: names,
		lock: lock, record: record,
		seal: "INSERT INTO {once} AS o (participant, log, tx_id, incarnation, nonce, seq, state, at)" +
			" VALUES ($1, $2, $3, $4, $5, $6, '" + stateSealed + "', clock_timestamp())" +
			" ON CONFLICT (participant, log, tx_id) DO UPDATE SET incarnation = excluded.incarnation, nonce = excluded.nonce, seq = excluded.seq, at = excluded.at" +
			" WHERE o.state = '" + stateSealed + "' AND (o.incarnation, o.seq) < (excluded.incarnation, excluded.seq)",
		look: "SELECT incarnation, nonce, seq, request, state = '" + stateCommitted + "' FROM {once} WHERE participant = $1 AND log = $2 AND tx_id = $3",
		// What answers for a later XID is kept as long as if that had been the one.
		extend: "UPDATE {once} SET incarnation = $4, nonce = $5, seq = $6, at = clock_timestamp()" +
			" WHERE participant = $1 AND log = $2 AND tx_id = $3 AND state = '" + stateCommitted + "' AND (incarnation, seq) < ($4, $6)",
		raise: "INSERT INTO {fence} AS f (participant, log, kind, incarnation, seq) VALUES ($1, $2, '" + fenceRaised + "', $3, 0)" +
			" ON CONFLICT (participant, log, kind) DO UPDATE SET incarnation = excluded.incarnation WHERE f.incarnation < excluded.incarnation",
		fence:   "SELECT incarnation FROM {fence} WHERE participant = $1 AND log = $2 AND kind = '" + fenceRaised + "'",
		earlier: "SELECT EXISTS (SELECT 1 FROM {once} WHERE participant = $1 AND log = $2 AND incarnation < $3)",
		dropped: "SELECT EXISTS (SELECT 1 FROM {fence} WHERE participant = $1 AND log = $2 AND kind = '" + fenceDropped + "' AND (incarnation, seq) >= ($3, $4))",
		// Which was the highest is known as soon as the row is gone.
		prune: "WITH gone AS (DELETE FROM {once} WHERE ctid >= ($5::text)::tid AND ctid < ($6::text)::tid" +
			" AND participant = $1 AND log = $2 AND (incarnation, seq) < ($3, $4)" +
			" AND (state = '" + stateSealed + "' OR at < clock_timestamp() - make_interval(secs => $7)) RETURNING incarnation, seq, state)," +
			" noted AS (INSERT INTO {fence} AS f (participant, log, kind, incarnation, seq)" +
			" SELECT $1, $2, '" + fenceDropped + "', incarnation, seq FROM gone WHERE state = '" + stateCommitted + "' ORDER BY incarnation DESC, seq DESC LIMIT 1" +
			" ON CONFLICT (participant, log, kind) DO UPDATE SET incarnation = excluded.incarnation, seq = excluded.seq" +
			" WHERE (f.incarnation, f.seq) < (excluded.incarnation, excluded.seq))" +
			" SELECT count(*) FROM gone",
	}
	for _, s := range []*string{&q.lock, &q.record, &q.seal, &q.look, &q.extend, &q.raise, &q.fence, &q.earlier, &q.dropped, &q.prune} {
		*s = names.Replace(*s)
	}
	return q
}

// lock goes before the evidence. The fence is not raised while it is held, and what follows
// sees how high it stands, but in a transaction that has a snapshot of its own. That one
// locks the row, which fails if the row has changed since; unless it has only read, for a
// lock is a write.
const lock = "SELECT pg_advisory_xact_lock_shared($1::bigint), (SELECT incarnation FROM {fence}" +
	" WHERE participant = $2::varchar AND log = $3::varchar AND kind = '" + fenceRaised + "'" +
	" AND current_setting('transaction_isolation') <> 'read committed' AND pg_current_xact_id_if_assigned() IS NOT NULL FOR SHARE)"

// record records the evidence: the statement before COMMIT, which is reached only if this
// one succeeds. It fails where nothing must be committed, on a NULL in a column that takes
// none, and which one that is says why: the incarnation, if the fence is not that of the
// branch; the sequence, if low water has passed it; the state, if the id was committed, or
// sealed under this XID or a later one. A transaction that has written nothing leaves no
// evidence.
const record = "INSERT INTO {once} AS o (participant, log, tx_id, incarnation, nonce, seq, request, state, at) SELECT $1::varchar, $2::varchar, $3::bytea," +
	" CASE WHEN EXISTS (SELECT 1 FROM {fence} WHERE participant = $1::varchar AND log = $2::varchar AND kind = '" + fenceRaised + "' AND incarnation = $4::bigint)" +
	" THEN $4::bigint END, $5::bigint," +
	" CASE WHEN NOT EXISTS (SELECT 1 FROM {low} WHERE participant = $1::varchar AND log = $2::varchar AND (incarnation, seq) > ($4::bigint, $6::bigint))" +
	" THEN $6::bigint END, $7::bytea, '" + stateCommitted + "', clock_timestamp()" +
	" WHERE pg_current_xact_id_if_assigned() IS NOT NULL OR EXISTS (SELECT 1 FROM {once} WHERE participant = $1::varchar AND log = $2::varchar AND tx_id = $3::bytea)" +
	" ON CONFLICT (participant, log, tx_id) DO UPDATE SET state = CASE WHEN o.state = '" + stateSealed + "'" +
	" AND (o.incarnation, o.seq) < (excluded.incarnation, excluded.seq) THEN excluded.state END," +
	" incarnation = excluded.incarnation, nonce = excluded.nonce, seq = excluded.seq, request = excluded.request, at = excluded.at"

// evidence is a branch as it is recorded.
type evidence struct {
	key                      string // of the lock
	participant, log         string
	txID                     []byte
	incarnation, nonce, seqn string
	request                  []byte // its fingerprint, nil if there is none
}

func evidenceOf(b dtc.Branch) evidence {
	x := b.XID
	return evidence{
		strconv.FormatInt(fenceKey(b.Participant, x.Log), 10), b.Participant, x.Log.String(), []byte(b.TxID),
		strconv.FormatUint(uint64(x.Incarnation.Number), 10), strconv.FormatUint(uint64(x.Incarnation.Nonce), 10), strconv.FormatUint(x.Seq, 10),
		requestOf(b),
	}
}

// fenceKey is the key of the advisory lock of one participant and one log.
func fenceKey(participant string, log dtc.LogID) int64 {
	sum := sha256.Sum256([]byte("dtc fence " + participant + " " + log.String()))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// requestOf returns the fingerprint of the branch's request, or nil if it has none.
func requestOf(b dtc.Branch) []byte {
	if b.Fingerprint == ([16]byte{}) {
		return nil
	}
	return b.Fingerprint[:]
}

// message returns the lock, the evidence and COMMIT as one message of the simple protocol,
// for a connection on which nothing is kept between two transactions.
func (q onceQueries) message(e evidence) (string, error) {
	if _, err := literal(e.participant + e.log); err != nil {
		return "", err
	}
	participant, log, request := "'"+e.participant+"'", "'"+e.log+"'", "NULL"
	if e.request != nil {
		request = bytesLiteral(string(e.request))
	}
	// The values first: a name of a schema may look like a placeholder of one.
	locks := strings.NewReplacer("$1", "'"+e.key+"'", "$2", participant, "$3", log)
	records := strings.NewReplacer("$1", participant, "$2", log, "$3", bytesLiteral(string(e.txID)),
		"$4", e.incarnation, "$5", e.nonce, "$6", e.seqn, "$7", request)
	return q.names.Replace(locks.Replace(lock)) + "; " + q.names.Replace(records.Replace(record)) + "; COMMIT", nil
}

// queue adds the same to a batch, with statements that the server has planned before.
func (e evidence) queue(b *pgconn.Batch, lock, record string) {
	participant, log := []byte(e.participant), []byte(e.log)
	b.ExecPrepared(lock, [][]byte{[]byte(e.key), participant, log}, nil, nil)
	b.ExecPrepared(record, [][]byte{participant, log, e.txID, []byte(e.incarnation), []byte(e.nonce), []byte(e.seqn), e.request},
		[]int16{0, 0, 1, 0, 0, 0, 1}, nil)
	b.ExecParams("COMMIT", nil, nil, nil, nil)
}

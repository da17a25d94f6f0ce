package mysql

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
)

// stateSealed is the state of a row of the table once that says what can commit no more:
// its XID, and those below it under the same id.
const stateSealed = "sealed"

// codeTaken is what the statement that commits in one phase answers if something stands in
// its way. No error of the server has the number.
const codeTaken = 45000

// checked is a condition: an error of the INSERT before has not undone what the branch has done;
// see unlessRemembered.
const checked = " AND (@@unique_checks OR @@foreign_key_checks)"

// request returns the fingerprint of a request as it is compared, as a literal.
func request(fingerprint [16]byte) string {
	if fingerprint == ([16]byte{}) {
		return "NULL"
	}
	return "X'" + hex.EncodeToString(fingerprint[:]) + "'"
}

// less is a condition: the pair of columns is below an XID.
func less(incarnation, seq string, x dtc.XID) string {
	return fmt.Sprintf("(%[1]s < %[2]d OR %[1]s = %[2]d AND %[3]s < %[4]d)", incarnation, x.Incarnation.Number, seq, x.Seq)
}

// ofLog is a condition: the rows of a participant and a log.
func ofLog(participant string, log dtc.LogID) string {
	return fmt.Sprintf("participant = '%s' AND log = '%s'", participant, log)
}

func ofID(participant string, log dtc.LogID, id dtc.TxID) string {
	return ofLog(participant, log) + " AND tx_id = X'" + hex.EncodeToString([]byte(id)) + "'"
}

// onceInsert writes the row of an id in the given state, if the fence lets it. The row of
// the fence stays locked against others that would raise it, but not against its readers.
func (q queries) onceInsert(b dtc.Branch, state, unless string) string {
	return fmt.Sprintf("INSERT INTO %s (participant, log, tx_id, incarnation, nonce, seq, request, state, ended)"+
		" SELECT '%s', '%s', X'%s', %d, %d, %d, %s, '%s', UTC_TIMESTAMP() FROM %s WHERE %s AND NOT %s LOCK IN SHARE MODE",
		q.once, b.Participant, b.XID.Log, hex.EncodeToString([]byte(b.TxID)), b.XID.Incarnation.Number, b.XID.Incarnation.Nonce, b.XID.Seq,
		request(b.Fingerprint), state, q.fence, ofLog(b.Participant, b.XID.Log), unless)
}

// onceOver takes over the row that seals a lower XID of the same id.
func (q queries) onceOver(b dtc.Branch, state string) string {
	if state == stateSealed {
		b.Fingerprint = [16]byte{}
	}
	return fmt.Sprintf("UPDATE %s SET incarnation = %d, nonce = %d, seq = %d, request = %s, state = '%s', ended = UTC_TIMESTAMP()"+
		" WHERE %s AND state = 'sealed' AND %s",
		q.once, b.XID.Incarnation.Number, b.XID.Incarnation.Nonce, b.XID.Seq, request(b.Fingerprint), state,
		ofID(b.Participant, b.XID.Log, b.TxID), less("incarnation", "seq", b.XID))
}

// tooLate is a condition on the row of the fence: it does not let an XID commit.
func tooLate(x dtc.XID) string {
	return fmt.Sprintf("(incarnation <> %[1]d OR low_incarnation > %[1]d OR low_incarnation = %[1]d AND low_seq > %[2]d)", x.Incarnation.Number, x.Seq)
}

// commitOnce is the end of a branch in one phase, in one message: the evidence, then the
// commit. Whatever fails is rolled back by the server itself, so that no lock waits for a
// client that is gone; and from the evidence on nothing else waits for it either.
//
// The evidence is inserted only if the row of the fence lets it, which stays locked until the
// commit is done. So whoever raises the fence waits until the evidence can be seen; and whoever
// comes to the row after it was raised reads it as it is then, whatever its own snapshot, and
// inserts nothing. A key is met only behind the fence, so a seal is taken over under the lock too.
//
// The server parses the message anew each time, all of it. So the statement that is executed
// seldom is a text, which it does not look into before.
func (q queries) commitOnce(b dtc.Branch, name string) string {
	over := strings.ReplaceAll(q.latest+q.onceOver(b, stateCommitted)+checked, "'", "''")
	return "BEGIN NOT ATOMIC" +
		" DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN" +
		" BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; XA END " + name + "; XA ROLLBACK " + name + "; END;" +
		" RESIGNAL; END;" +
		// Its own errors, and those of the insert but for this one, go to the handler above.
		" BEGIN DECLARE CONTINUE HANDLER FOR 1062 EXECUTE IMMEDIATE '" + over + "'; " +
		q.latest + q.onceInsert(b, stateCommitted, tooLate(b.XID)) + "; END;" +
		fmt.Sprintf(" IF ROW_COUNT() <> 1 THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = %d; END IF;", codeTaken) +
		" XA END " + name + "; XA COMMIT " + name + " ONE PHASE; END"
}

// onceSeal seals an id, unless the evidence of its XID may have been dropped.
func (q queries) onceSeal(b dtc.Branch) string {
	sealed := b
	sealed.Fingerprint = [16]byte{}
	x := b.XID
	return q.onceInsert(sealed, stateSealed, fmt.Sprintf("(dropped_incarnation > %[1]d OR dropped_incarnation = %[1]d AND dropped_seq >= %[2]d)",
		x.Incarnation.Number, x.Seq))
}

// onceRow reads the row of an id: whether it is committed, its XID, and whether the request
// may be the same.
func (q queries) onceRow(participant string, log dtc.LogID, id dtc.TxID, fingerprint [16]byte) string {
	return fmt.Sprintf("SELECT state = 'committed', incarnation, nonce, seq, COALESCE(request = %s, TRUE) FROM %s WHERE %s",
		request(fingerprint), q.once, ofID(participant, log, id))
}

// onceExtend lets the evidence of an id stand for one more XID: it is kept as long as if
// that had been the one.
func (q queries) onceExtend(b dtc.Branch) string {
	return fmt.Sprintf("UPDATE %s SET incarnation = %d, nonce = %d, seq = %d, ended = UTC_TIMESTAMP() WHERE %s AND state = 'committed' AND %s",
		q.once, b.XID.Incarnation.Number, b.XID.Incarnation.Nonce, b.XID.Seq,
		ofID(b.Participant, b.XID.Log, b.TxID), less("incarnation", "seq", b.XID))
}

// fenceRow reads how far a log's incarnations are fenced off.
func (q queries) fenceRow(participant string, log dtc.LogID) string {
	return fmt.Sprintf("SELECT incarnation, low_incarnation, low_seq FROM %s WHERE %s", q.fence, ofLog(participant, log))
}

func (q queries) fenceInsert(participant string, log dtc.LogID, n uint32) string {
	return fmt.Sprintf("INSERT IGNORE INTO %s (participant, log, incarnation) VALUES ('%s', '%s', %d)", q.fence, participant, log, n)
}

// fenceRaise waits for all that commit in one phase under the row as it was.
func (q queries) fenceRaise(participant string, log dtc.LogID, n uint32) string {
	return fmt.Sprintf("UPDATE %[1]s SET incarnation = %[2]d WHERE %[3]s AND incarnation < %[2]d", q.fence, n, ofLog(participant, log))
}

// fencePass says below which XID rows are dropped, and up to which evidence. It lowers
// nothing; the assignments are made in order.
func (q queries) fencePass(participant string, low, dropped dtc.XID) string {
	raise := func(what string, x dtc.XID) string {
		i, s := what+"_incarnation", what+"_seq"
		return fmt.Sprintf("%[1]s = IF(%[2]s, %[3]d, %[1]s), %[4]s = GREATEST(%[4]s, %[5]d)", s, less(i, s, x), x.Seq, i, x.Incarnation.Number)
	}
	return fmt.Sprintf("UPDATE %s SET %s, %s WHERE %s", q.fence, raise("low", low), raise("dropped", dropped), ofLog(participant, low.Log))
}

// onceEarlier asks whether an incarnation before that one has committed something in one
// phase that is remembered.
func (q queries) onceEarlier(participant string, log dtc.LogID, n uint32) string {
	return fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM %s WHERE %s AND state = 'committed' AND incarnation < %d)", q.once, ofLog(participant, log), n)
}

// onceBelow finds the lowest rows below low water, and whether they are older than that.
func (q queries) onceBelow(participant string, lw dtc.XID, state string, age time.Duration, limit int) string {
	return fmt.Sprintf("SELECT HEX(tx_id), incarnation, seq, ended < UTC_TIMESTAMP() - INTERVAL %d SECOND FROM %s WHERE %s AND state = '%s'"+
		" AND %s ORDER BY incarnation, seq LIMIT %d",
		int(age.Seconds()), q.once, ofLog(participant, lw.Log), state, less("incarnation", "seq", lw), limit)
}

// onceDrop drops a row by its key, if it is still that one.
func (q queries) onceDrop(participant string, x dtc.XID, hexID, state string) string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s AND tx_id = X'%s' AND state = '%s' AND incarnation = %d AND seq = %d",
		q.once, ofLog(participant, x.Log), hexID, state, x.Incarnation.Number, x.Seq)
}

// onceTried are the statements over these tables, for those who look whether they are allowed.
func (q queries) onceTried(b dtc.Branch) []string {
	x := b.XID
	return []string{
		q.fenceInsert(b.Participant, x.Log, x.Incarnation.Number), q.fenceRaise(b.Participant, x.Log, x.Incarnation.Number),
		q.fenceRow(b.Participant, x.Log), q.fencePass(b.Participant, x, x), q.onceSeal(b), q.onceOver(b, stateSealed),
		q.onceRow(b.Participant, x.Log, b.TxID, [16]byte{}), q.onceDrop(b.Participant, x, "", stateSealed),
	}
}

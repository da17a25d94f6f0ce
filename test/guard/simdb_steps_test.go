package guard_test

import (
	"fmt"
	"math/rand/v2"
)

// step is a statement with its arguments, or begin, commit, or rollback.
type step struct {
	query string
	args  []any
}

func (s step) String() string { return fmt.Sprintf("%s %v", s.query, s.args) }

const (
	insertBranch = "INSERT INTO dtc_guard_branch (participant, xid, log, incarnation, seq, state, reason, prepared_at, payload)" +
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
	ignoreConflict = " ON CONFLICT DO NOTHING"
	finishBranch   = "UPDATE dtc_guard_branch SET state = $1 WHERE participant = $2 AND xid = $3 AND state = 'prepared'"
	readBranch     = "SELECT state, reason FROM dtc_guard_branch WHERE participant = $1 AND xid = $2"
	payloadBranch  = "SELECT payload FROM dtc_guard_branch WHERE participant = $1 AND xid = $2"
	lowWater       = "SELECT incarnation, seq FROM dtc_guard_low_water WHERE participant = $1 AND log = $2"
	raiseLowWater  = "UPDATE dtc_guard_low_water SET incarnation = $1, seq = $2" +
		" WHERE participant = $3 AND log = $4 AND (incarnation < $5 OR (incarnation = $6 AND seq < $7))"
	insertLowWater = "INSERT INTO dtc_guard_low_water (participant, log, incarnation, seq) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
	listBranches   = "SELECT xid, prepared_at FROM dtc_guard_branch WHERE participant = $1 AND log = $2 AND state = 'prepared'" +
		" AND incarnation >= $3 AND (incarnation > $4 OR seq > $5 OR (seq = $6 AND xid > $7)) ORDER BY incarnation, seq, xid LIMIT $8"
	prunable = "SELECT xid FROM dtc_guard_branch WHERE participant = $1 AND log = $2 AND state = $3" +
		" AND incarnation <= $4 AND (incarnation < $5 OR seq < $6) ORDER BY incarnation, seq LIMIT $7"
	onlyPrimary   = "UPDATE dtc_guard_low_water SET seq = seq WHERE 1 = 0"
	deleteBranch  = "DELETE FROM dtc_guard_branch WHERE participant = $1 AND state <> 'prepared' AND xid IN ($2)"
	deleteBoth    = "DELETE FROM dtc_guard_branch WHERE participant = $1 AND state <> 'prepared' AND xid IN ($2, $3)"
	insertToken   = "INSERT INTO token (xid, token, state) VALUES ($1, $2, 'held')"
	countTokens   = "SELECT count(*) FROM token WHERE xid = $1"
	readTokens    = "SELECT xid, token, state FROM token WHERE state <> 'gone'"
	updateToken   = "UPDATE token SET state = $1 WHERE xid = $2 AND state = 'held'"
	deleteToken   = "DELETE FROM token WHERE xid = $1"
	insertAccount = "INSERT INTO account (id, balance) VALUES ($1, 10)"
	pay           = "UPDATE account SET balance = balance - $1 WHERE id = $2 AND balance >= $3"
	receive       = "UPDATE account SET balance = balance + $1 WHERE id = $2"
	readAccounts  = "SELECT id, balance FROM account ORDER BY id"
)

// script is what is asked of both databases.
type script struct {
	name   string
	first  []step // over the first connection
	length int
	// next is the n-th step, and the connection for it: none if that one waits.
	next func(n int, s *side) (int, step)
}

func randomScript(seed uint64) script {
	r := rand.New(rand.NewPCG(seed, 0))
	all := first(r)
	some := r.Perm(kinds)[:2+r.IntN(5)] // a script of few kinds meets itself more often
	switch seed % 4 {
	case 0:
		some = []int{0, 3} // two accounts: deadlocks
	case 2:
		some = r.Perm(hot)[:2+r.IntN(hot-1)]
	}
	return script{fmt.Sprint("seed ", seed), all, 40, func(_ int, s *side) (int, step) {
		i := r.IntN(len(s.conns))
		return i, randomStep(r, s.conns[i], some)
	}}
}

// lockIsKept: an update that has waited for a row and then does not match it any more
// has it locked all the same.
func lockIsKept() script {
	steps := []struct {
		conn int
		step step
	}{
		{0, step{query: "begin"}},
		{1, step{query: "begin"}},
		{0, step{finishBranch, []any{"committed", "p", "x1"}}},
		{1, step{finishBranch, []any{"rolled_back", "p", "x1"}}}, // waits
		{0, step{query: "commit"}},
		{2, step{deleteBranch, []any{"p", "x1"}}}, // waits
		{1, step{query: "commit"}},
	}
	prepared := step{insertBranch, []any{"p", "x1", "l", int64(2), int64(1), "prepared", "", int64(5), nil}}
	return script{"a lock is kept", []step{prepared}, len(steps), func(n int, _ *side) (int, step) {
		return steps[n].conn, steps[n].step
	}}
}

// first is what stands at the beginning.
func first(r *rand.Rand) []step {
	var all []step
	for _, account := range []string{"a", "b"} {
		if r.IntN(4) > 0 {
			all = append(all, step{insertAccount, []any{account}})
		}
	}
	for seq := int64(1); seq <= 2; seq++ {
		if r.IntN(2) == 0 {
			all = append(all, step{insertBranch, []any{"p", fmt.Sprintf("x%d", seq), "l", int64(2), seq, "prepared", "", int64(5), nil}})
		}
	}
	return all
}

// kinds is how many kinds of statements there are; the first are those that wait most.
var kinds = len(statements(rand.New(rand.NewPCG(0, 0))))

const hot = 6

func randomStep(r *rand.Rand, c *client, some []int) step {
	if c.tx == nil && r.IntN(10) < 8 {
		return step{query: "begin"}
	}
	if c.tx != nil {
		switch r.IntN(12) {
		case 0, 1:
			return step{query: "commit"}
		case 2:
			return step{query: "rollback"}
		}
	}
	return statements(r)[some[r.IntN(len(some))]]
}

func statements(r *rand.Rand) []step {
	seq := 1 + r.Int64N(2)
	xid := fmt.Sprintf("x%d", seq)
	account := string(rune('a' + r.IntN(2)))
	states := []string{"prepared", "prepared", "committed", "rolled_back", "aborted", "read_only"}
	state := states[r.IntN(len(states))]
	if r.IntN(40) == 0 {
		state = "undone" // no state
	}
	branch := []any{"p", xid, "l", int64(2), seq, state, "why", int64(5), []byte{1, byte(seq)}}
	if r.IntN(40) == 0 {
		branch[2] = "a log whose name is too long"
	}
	if r.IntN(4) == 0 {
		branch[8] = nil
	}
	return []step{
		{receive, []any{int64(2), account}},
		{insertBranch + ignoreConflict, branch},
		{finishBranch, []any{state, "p", xid}},
		{pay, []any{int64(3), account, int64(3)}},
		{insertBranch, branch},
		{deleteBranch, []any{"p", xid}},
		{finishBranch, []any{"committed", "p", xid}},
		{readBranch, []any{"p", xid}},
		{payloadBranch, []any{"p", xid}},
		{lowWater, []any{"p", "l"}},
		{raiseLowWater, []any{int64(2), seq, "p", "l", int64(2), int64(2), seq}},
		{insertLowWater, []any{"p", "l", int64(2), seq}},
		{listBranches, []any{"p", "l", int64(0), int64(0), int64(0), int64(0), "", int64(1 + r.IntN(2))}},
		{prunable, []any{"p", "l", state, int64(2), int64(2), int64(3), int64(256)}},
		{onlyPrimary, nil},
		{deleteBoth, []any{"p", "x1", "x2"}},
		{insertToken, []any{xid, "t"}},
		{countTokens, []any{xid}},
		{readTokens, nil},
		{updateToken, []any{"applied", xid}},
		{deleteToken, []any{xid}},
		{insertAccount, []any{account}},
		{readAccounts, nil},
	}
}

package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

// model is a participant that keeps every promise, but for the one that its bug
// names. It sells what it has in stock.
type model struct {
	bug string

	mu       sync.Mutex
	stock    int
	reserved int
	rows     map[dtc.XID]string
	low      map[dtc.LogID]dtc.XID
	finished int
	answers  map[string]string // of the bug that caches them
}

func newModel(bug string) *model {
	return &model{bug: bug, stock: 100_000, rows: map[dtc.XID]string{}, low: map[dtc.LogID]dtc.XID{}, answers: map[string]string{}}
}

func (m *model) observe() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf(`{"stock":%d,"reserved":%d}`, m.stock, m.reserved)
}

// kill loses what the bug forgets.
func (m *model) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.bug {
	case "forgets prepared branches when it is killed":
		m.forget("prepared")
	case "gives back what was prepared when it is killed":
		for _, state := range m.rows {
			if state == "prepared" {
				m.reserved, m.stock = m.reserved-1, m.stock+1
			}
		}
	case "forgets tombstones when it is killed":
		m.forget("rolled_back")
	case "forgets what it committed when it is killed":
		m.forget("committed")
	case "keeps low water in memory only":
		m.low = map[dtc.LogID]dtc.XID{}
	}
}

func (m *model) forget(state string) {
	maps.DeleteFunc(m.rows, func(_ dtc.XID, s string) bool { return s == state })
}

type request struct {
	TxID     string          `json:"tx_id"`
	XID      string          `json:"xid"`
	Branch   string          `json:"branch"`
	LowWater *string         `json:"low_water"`
	Payload  json.RawMessage `json:"payload"`
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer := m.serve(r)
	if m.bug == "caches answers by Idempotency-Key" && r.Method == http.MethodPost {
		m.mu.Lock()
		key := r.Header.Get("Idempotency-Key")
		if old, ok := m.answers[key]; ok {
			status, answer = 200, old
		} else if status == 200 {
			m.answers[key] = answer
		}
		m.mu.Unlock()
	}
	if m.bug == "answers with HTML" && strings.HasSuffix(r.URL.Path, "prepare") {
		w.Header().Set("Content-Type", "text/html")
		answer = "<html>ok</html>"
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

func (m *model) serve(r *http.Request) (int, string) {
	verb := strings.TrimPrefix(r.URL.Path, "/p/")
	if m.bug == "redirects" {
		return 307, ""
	}
	if verb == verbInDoubt {
		return m.inDoubt(r)
	}
	if m.bug == "lets everybody in" {
	} else if a := r.Header.Get("Authorization"); a != "Bearer secret" {
		return 401, ""
	}
	limit := int64(1 << 20)
	if m.bug == "reads 64 KiB only" {
		limit = 64 << 10
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, limit))
	var q request
	err := json.Unmarshal(body, &q)
	x, err2 := dtc.ParseXID(q.XID)
	bad := 400
	switch m.bug {
	case "answers 500 to garbage":
		bad = 500
	case "answers 200 to garbage":
		bad = 200
	case "wants ASCII":
		for _, c := range q.TxID {
			if c > 127 {
				return 400, ""
			}
		}
	case "refuses an empty tx_id":
		if q.TxID == "" {
			return 400, ""
		}
	case "chokes on unknown fields":
		if strings.Contains(string(body), "x_conformance") {
			return 500, ""
		}
	case "is keyed by tx_id":
		if q.TxID != "" && err2 == nil { // all that the tx_id names is one branch
			x.Seq, x.Incarnation.Number = uint64(len(q.TxID))<<32, 1
			for _, c := range q.TxID {
				x.Seq = x.Seq*31 + uint64(c)
			}
		}
	case "is keyed without the log":
		x.Log, x.Incarnation.Nonce = dtc.LogID{}, 0
	}
	if err != nil || err2 != nil || q.Branch != "stock" {
		return bad, "{}"
	}
	if verb == verbPrepare {
		switch m.bug {
		case "understands traces only":
			if t := r.Header.Get("Traceparent"); t != "" && len(t) != 55 {
				return 400, ""
			}
		case "gives up when its caller does":
			select {
			case <-r.Context().Done():
				m.mu.Lock()
				defer m.mu.Unlock()
				m.rows[x] = "rolled_back"
				return 503, ""
			case <-time.After(10 * time.Millisecond):
			}
		case "forgets the rollback beside a prepare":
			m.mu.Lock()
			state := m.rows[x]
			m.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			if state == "" {
				m.mu.Lock()
				delete(m.rows, x)
				m.mu.Unlock()
			}
		case "loses updates of others":
			m.mu.Lock()
			stock := m.stock
			m.mu.Unlock()
			time.Sleep(2 * time.Millisecond)
			m.mu.Lock()
			m.stock = stock
			m.mu.Unlock()
		}
	}
	if m.bug == "prepares without a lock" && verb == verbPrepare || m.bug == "commits without a lock" && verb == verbCommit {
		return m.unlocked(verb, x)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteLowWater(x, q.LowWater)
	switch verb {
	case verbPrepare:
		return m.prepare(x, string(q.Payload))
	case verbCommit:
		return m.commit(x)
	case verbRollback:
		return m.rollback(x)
	}
	return 404, ""
}

// unlocked looks, lets others look, and acts.
func (m *model) unlocked(verb string, x dtc.XID) (int, string) {
	m.mu.Lock()
	state := m.rows[x]
	m.mu.Unlock()
	time.Sleep(2 * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	if verb == verbPrepare && state == "" {
		delete(m.rows, x)
		return m.prepare(x, "")
	}
	if verb == verbCommit && state == "prepared" {
		m.rows[x] = state
		return m.commit(x)
	}
	if verb == verbPrepare {
		return m.prepare(x, "")
	}
	return m.commit(x)
}

func (m *model) noteLowWater(x dtc.XID, low *string) {
	if low == nil || m.bug == "ignores low water" {
		return
	}
	l, err := dtc.ParseXID(*low)
	if old := m.low[x.Log]; err == nil && (old.IsZero() || m.less(old, l)) {
		m.low[x.Log] = l
	}
	for y, state := range m.rows {
		drop := state != "prepared" || m.bug == "drops prepared rows below low water"
		if drop && (y.Log == x.Log && m.less(y, l) || m.bug == "drops the rows of other logs" && y.Compare(l) < 0) {
			delete(m.rows, y)
		}
	}
}

func (m *model) less(x, y dtc.XID) bool {
	if m.bug == "compares XIDs as text" {
		return x.String() < y.String()
	}
	return x.Compare(y) < 0
}

func (m *model) below(x dtc.XID) bool {
	low := m.low[x.Log]
	if m.bug == "has one low water for all logs" {
		for _, l := range m.low {
			if x.Compare(l) < 0 {
				return true
			}
		}
	}
	return !low.IsZero() && m.less(x, low)
}

func (m *model) prepare(x dtc.XID, payload string) (int, string) {
	vote := func(v string) (int, string) { return 200, `{"vote":"` + v + `"}` }
	state, below := m.rows[x], m.below(x)
	switch {
	case state == "prepared" && m.bug == "votes abort when it is asked again",
		state == "committed" && m.bug == "refuses a prepare after the commit",
		state == "rolled_back" && m.bug != "accepts a late prepare",
		below && state == "" && m.bug != "accepts a late prepare below low water",
		below && m.bug == "lets low water answer for a row that stands":
		return vote(voteAbort)
	case state == "committed" && m.bug == "prepares again after the commit":
		state = ""
	case state == "prepared" && m.bug == "reserves again when it is asked again":
		m.stock, m.reserved = m.stock-1, m.reserved+1
	}
	if state == "prepared" || state == "committed" {
		return vote(voteCommit)
	}
	if payload == `"read-only"` {
		if m.bug == "keeps what it only read" {
			m.stock, m.reserved = m.stock-1, m.reserved+1
		}
		m.rows[x] = "read_only"
	}
	if m.rows[x] == "read_only" {
		return vote(voteReadOnly)
	}
	if payload == `"abort"` && m.bug == "does not keep its refusal" {
		return vote(voteAbort)
	}
	if payload == `"abort"` {
		if m.bug == "keeps what it refused" {
			m.stock, m.reserved = m.stock-1, m.reserved+1
		}
		m.rows[x] = "rolled_back"
		return vote(voteAbort)
	}
	m.rows[x] = "prepared"
	m.stock, m.reserved = m.stock-1, m.reserved+1
	if m.bug == "words its vote otherwise" {
		return vote("commit")
	}
	return vote(voteCommit)
}

func (m *model) commit(x dtc.XID) (int, string) {
	switch state := m.rows[x]; {
	case state == "" && m.below(x) && m.bug != "knows nothing below low water",
		state == "" && m.bug == "acknowledges a commit of the unknown",
		state == "rolled_back" && m.bug == "acknowledges a commit after the rollback":
		return 200, ""
	case state == "" && m.bug == "answers a commit of the unknown with 500":
		return 500, ""
	case state == "":
		return 404, ""
	case state == "rolled_back":
		return 409, `{"state":"rolled_back"}`
	case state == "committed" && m.bug == "refuses a commit that is repeated":
		return 409, `{"state":"ended"}`
	case state == "committed" && m.bug == "ships again when it is told again", state == "prepared":
		m.rows[x] = "committed"
		m.reserved--
		m.finished++
	}
	return 204, ""
}

func (m *model) rollback(x dtc.XID) (int, string) {
	switch state := m.rows[x]; {
	case state == "committed" && m.bug == "acknowledges a rollback after the commit":
		return 200, ""
	case state == "committed" && m.bug == "answers a rollback after the commit with 404":
		return 404, ""
	case state == "committed":
		return 409, `{"state":"committed"}`
	case state == "" && m.below(x):
		return 200, ""
	case state == "" && m.bug == "does not know what it never saw":
		return 404, ""
	case state == "" && m.bug == "leaves no tombstone":
		return 200, ""
	case state == "prepared" && m.bug == "keeps what it rolled back":
	case state == "prepared", state == "rolled_back" && m.bug == "gives back again when it is told again":
		m.stock, m.reserved = m.stock+1, m.reserved-1
	}
	if m.rows[x] != "read_only" {
		m.rows[x] = "rolled_back"
	}
	m.finished++
	return 200, "{}"
}

func (m *model) inDoubt(r *http.Request) (int, string) {
	if m.bug == "is plain" {
		return 404, ""
	}
	q := r.URL.Query()
	log, err := dtc.ParseLogID(q.Get("log"))
	if err != nil {
		return 400, ""
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	if limit == 0 || m.bug == "ignores limit" {
		limit = 100
	}
	m.mu.Lock()
	var all []dtc.XID
	for x, state := range m.rows {
		if (x.Log == log || m.bug == "lists every log") && (state == "prepared" || m.bug == "lists finished branches" && state == "committed") {
			all = append(all, x)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, dtc.XID.Compare)
	after := q.Get("after")
	if m.bug == "pages by count" {
		n, _ := strconv.Atoi(after)
		all = all[min(n, len(all)):]
		after = strconv.Itoa(n + limit)
	} else if after != "" {
		from, _ := dtc.ParseXID(after)
		all = slices.DeleteFunc(all, func(x dtc.XID) bool { return x.Compare(from) <= 0 })
	}
	page := map[string]any{"complete": true, "next": nil}
	if m.bug == "does not say complete" {
		delete(page, "complete")
	}
	if len(all) > limit {
		all = all[:limit]
		if m.bug != "ends after one page" {
			page["complete"], page["next"] = false, all[limit-1].String()
			if m.bug == "pages by count" {
				page["next"] = after
			}
		}
	}
	branches := []any{}
	for i, x := range all {
		if m.bug == "misses one" && i == 1 {
			continue
		}
		entry := map[string]any{"xid": x.String(), "branch": "stock", "prepared_at": "2026-01-31T12:00:00.000Z"}
		switch m.bug {
		case "words times otherwise":
			entry["prepared_at"] = "31.01.2026"
		case "lists no branch names":
			delete(entry, "branch")
		}
		branches = append(branches, entry)
	}
	page["branches"] = branches
	text, _ := json.Marshal(page)
	return 200, string(text)
}

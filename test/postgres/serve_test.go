package postgres_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/procs"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// serving is `dtc serve` with two databases as participants.
type serving struct {
	t      *testing.T
	binary string
	args   []string
	p      *procs.Process
	url    string
}

// binary builds dtc, once for all tests.
func binary(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		var dir string
		if dir, errBuilt = os.MkdirTemp("", "dtc-bin-"); errBuilt == nil {
			servers.AtExit(func() { os.RemoveAll(dir) })
			pathBuilt, errBuilt = procs.Build(dir, "-race")
		}
	})
	if errBuilt != nil {
		t.Fatal(errBuilt)
	}
	return pathBuilt
}

var (
	built     sync.Once
	pathBuilt string
	errBuilt  error
)

func serve(t *testing.T, participants ...string) *serving {
	t.Helper()
	dir := t.TempDir()
	s := &serving{t: t, binary: binary(t), args: []string{
		"serve", "--data", filepath.Join(dir, "log"), "--listen", "127.0.0.1:0", "-o", "json", "--log-format", "json",
		"--prepare-timeout", "3s", "--prepare-attempt", "3s", "--sweep-interval", "1s", "--finish-backoff-cap", "200ms",
	}}
	for _, p := range participants {
		s.args = append(s.args, "--participant", p)
	}
	s.start()
	return s
}

func (s *serving) start() {
	s.t.Helper()
	s.p = procs.Start(s.t, "dtc", exec.Command(s.binary, s.args...))
	if s.url = s.p.URL; s.url == "" {
		s.t.Fatalf("dtc serve ended: %s", s.p.Stderr())
	}
}

func (s *serving) call(method, path, body string) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// want posts a transaction, and wants it to end like that.
func (s *serving) want(outcome, body string) string {
	s.t.Helper()
	status, answer := s.call("POST", "/v1/transactions", body)
	var r struct{ Outcome string }
	if err := json.Unmarshal([]byte(answer), &r); err != nil || status != http.StatusOK || r.Outcome != outcome {
		s.t.Fatalf("%d %s; want %s", status, answer, outcome)
	}
	return answer
}

// payment is the body of a transaction that moves money from one database to the other.
func payment(id string, amount int) string {
	return fmt.Sprintf(`{"id":%q,"completion_wait":"10s","branches":[
		{"participant":"one","payload":{"statements":[{"sql":"UPDATE account SET balance = balance - $1::int WHERE id = $2 AND balance >= $1::int","args":[%[2]d,"alice"],"rows":1}]}},
		{"participant":"two","payload":{"statements":[{"sql":"UPDATE account SET balance = balance + $1 WHERE id = $2","args":[%[2]d,"bob"],"rows":1}]}}]}`, id, amount)
}

func newBank(t *testing.T, server *servers.Server, owner string) (pool *pgxpool.Pool, dsn string) {
	t.Helper()
	name := servers.NewName()
	server.NewDatabase(t, name)
	pool = openPool(t, server.DSN(name))
	for _, sql := range []string{"CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0))", "INSERT INTO account VALUES ('" + owner + "', 100)"} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return pool, server.DSN(name)
}

func balance(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT sum(balance) FROM account").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Callers in any language move money between two databases with statements.
func TestServe(t *testing.T) {
	server := servers.Postgres(t)
	one, dsn1 := newBank(t, server, "alice")
	two, dsn2 := newBank(t, server, "bob")
	s := serve(t, "one="+dsn1, "two="+dsn2)
	check := func(wantOne, wantTwo int) {
		t.Helper()
		if a, b := balance(t, one), balance(t, two); a != wantOne || b != wantTwo {
			t.Fatalf("the balances are %d and %d, want %d and %d", a, b, wantOne, wantTwo)
		}
	}

	s.want("committed", payment("pay-1", 30))
	check(70, 130)
	s.want("committed", payment("pay-1", 30)) // told again, and not done again
	check(70, 130)
	if answer := s.want("rolled_back", payment("pay-2", 71)); !strings.Contains(answer, "statement 1 affected 0 rows; it must affect 1") {
		t.Errorf("it does not say why: %s", answer)
	}
	check(70, 130)
	answer := s.want("rolled_back", `{"branches":[{"participant":"one","payload":{"statements":[{"sql":"SELECT 1"},{"sql":"SELECT $1::int","args":["hunter2"]}]}}]}`)
	if !strings.Contains(answer, "statement 2") || strings.Contains(answer, "hunter2") {
		t.Errorf("it should name the statement, and not show its arguments: %s", answer)
	}

	var list struct {
		Participants []struct {
			ID, Kind, URL, State string
			Listing              bool
		}
	}
	if _, answer := s.call("GET", "/v1/participants", ""); json.Unmarshal([]byte(answer), &list) != nil || len(list.Participants) != 2 {
		t.Fatal(answer)
	}
	for _, p := range list.Participants {
		if p.Kind != "postgres" || !p.Listing || p.State != "up" || strings.Contains(p.URL, "@") || !strings.HasPrefix(p.URL, "postgres://") {
			t.Errorf("%+v", p)
		}
	}

	// Databases that are down hold nothing up but what needs them: neither the answer to a
	// caller, nor a start.
	server.Kill(t)
	status, answer := s.call("POST", "/v1/transactions", strings.Replace(payment("pay-3", 1), "10s", "100ms", 1))
	if status != http.StatusOK || !strings.Contains(answer, `"rolled_back"`) {
		t.Errorf("with its databases down it answered %d %s", status, answer)
	}
	s.p.Kill()
	s.start()
	server.Start(t)
	eventually(t, "the databases are used again", func() bool {
		status, answer := s.call("POST", "/v1/transactions", payment("pay-4", 5))
		return status == http.StatusOK && strings.Contains(answer, `"committed"`)
	})
	check(65, 135)
	if all := s.p.Complaints(); all != nil {
		t.Error(all)
	}
}

// An application that prepares by itself, under the name that it was given, is adopted.
func TestServeAdopts(t *testing.T) {
	one, dsn1 := newBank(t, servers.SharedPostgres(t), "alice")
	two, dsn2 := newBank(t, servers.SharedPostgres(t), "bob")
	s := serve(t, "one="+dsn1, "two="+dsn2)
	var tx struct{ ID, XID string }
	status, answer := s.call("POST", "/v1/transactions/begin", `{}`)
	if err := json.Unmarshal([]byte(answer), &tx); err != nil || status != http.StatusCreated {
		t.Fatal(status, answer)
	}
	for i, pool := range []*pgxpool.Pool{one, two} {
		id := []string{"one", "two"}[i]
		if status, answer := s.call("POST", "/v1/transactions/"+tx.ID+"/branches", `{"participant":"`+id+`","payload":{"adopted":true}}`); status >= 300 {
			t.Fatal(status, answer)
		}
		xid, err := dtc.ParseXID(tx.XID)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{
			"BEGIN", "UPDATE account SET balance = balance + " + []string{"-7", "7"}[i],
			"PREPARE TRANSACTION '" + postgres.Name(xid, id) + "'",
		} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		conn.Release()
	}
	if status, answer := s.call("POST", "/v1/transactions/"+tx.ID+"/commit", `{"completion_wait":"10s"}`); status != http.StatusOK || !strings.Contains(answer, `"committed"`) {
		t.Fatal(status, answer)
	}
	if a, b := balance(t, one), balance(t, two); a != 93 || b != 107 {
		t.Errorf("the balances are %d and %d", a, b)
	}
}

// What cannot be a participant is refused with what to change, by serve and by doctor, and
// without its password.
func TestServeRefuses(t *testing.T) {
	server := servers.Postgres(t, "max_prepared_transactions=0")
	_, dsn := newBank(t, server, "alice")
	dsn = strings.Replace(dsn, "postgres@", "postgres:hunter2@", 1)
	if !strings.Contains(dsn, "hunter2") {
		t.Fatal(dsn)
	}
	dir, dtc := t.TempDir(), binary(t)
	var file bytes.Buffer
	fmt.Fprintf(&file, "participants:\n  orders:\n    url: %q\n", dsn)
	config := filepath.Join(dir, "dtc.yaml")
	if err := os.WriteFile(config, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"serve", "--data", filepath.Join(dir, "log"), "--listen", "127.0.0.1:0", "--config", config},
		{"doctor", "--config", config},
		{"doctor", "--participant", "orders=" + dsn},
		{"doctor", "-o", "json", "--participant", "orders=" + dsn},
	} {
		out, err := exec.CommandContext(t.Context(), dtc, args...).CombinedOutput()
		text := string(out)
		if err == nil || !strings.Contains(text, "ALTER SYSTEM SET max_prepared_transactions = ") || strings.Contains(text, "hunter2") {
			t.Errorf("dtc %v: %v\n%s", args, err, text)
		}
	}
	healthy, dsn := newBank(t, servers.SharedPostgres(t), "alice")
	out, err := exec.CommandContext(t.Context(), dtc, "doctor", "--participant", "orders="+dsn).CombinedOutput()
	if err != nil || strings.Contains(string(out), "bad ") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	var tables int
	if err := healthy.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname LIKE 'dtc%'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("a look has left %d tables: %v", tables, err)
	}
}

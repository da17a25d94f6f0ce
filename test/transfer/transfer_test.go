// Package transfer_test kills examples/transfer, and the two databases that it moves money
// between, and looks afterwards whether each transfer is in both or in none.
package transfer_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/procs"
	"github.com/dtc-project/dtc/test/internal/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }

// world is the program and its two servers.
type world struct {
	t        *testing.T
	postgres *servers.Server
	mariadb  *servers.Server
	binary   string
	told     string // the file to which the program tells what is committed
	args     []string
	p        *procs.Process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, postgres: servers.Postgres(t), mariadb: servers.MariaDB(t),
		binary: filepath.Join(dir, "transfer"), told: filepath.Join(dir, "told"),
	}
	build := exec.Command("go", "build", "-o", w.binary, "./transfer")
	build.Dir = filepath.Join("..", "..", "examples")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.mariadb.NewDatabase(t, "bank")
	w.args = []string{
		"--postgres", w.postgres.DSN(""), "--mariadb", w.mariadb.DSN("bank"), "--data", filepath.Join(dir, "log"), "--workers", "8",
	}
	return w
}

// start starts the program, which tells of each transfer in a line of the file.
func (w *world) start(more ...string) {
	w.t.Helper()
	tell := exec.Command("sh", append([]string{"-c", `exec "$0" "$@" >>"$TOLD"`, w.binary}, append(w.args, more...)...)...)
	tell.Env = append(os.Environ(), "TOLD="+w.told)
	w.p = procs.Launch(w.t, "transfer", tell)
}

// kill kills the program and looks what it has said.
func (w *world) kill() {
	w.p.Kill()
	w.complaints()
}

func (w *world) complaints() {
	w.t.Helper()
	said := w.p.Stderr()
	if all := w.p.Complaints(); all != nil || strings.Contains(said, "heuristic") || strings.Contains(said, "must not be presumed") {
		w.t.Errorf("%v\n%s", all, said)
	}
}

var line = regexp.MustCompile(`^committed (\S+): ([+-]\d+) from PostgreSQL (\d+) to MariaDB (\d+)$`)

// committed returns what was told as committed, by its id. Of what a killed program has
// written last the end may be missing: nobody was told that.
func (w *world) committed() map[string]int64 {
	w.t.Helper()
	text, err := os.ReadFile(w.told)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	all := map[string]int64{}
	for l := range bytes.Lines(text) {
		if !bytes.HasSuffix(l, []byte("\n")) {
			continue
		}
		m := line.FindSubmatch(bytes.TrimSuffix(l, []byte("\n")))
		if m == nil {
			continue // begun by one that was killed, and gone on with by the next
		}
		all[string(m[1])], _ = strconv.ParseInt(string(m[2]), 10, 64)
	}
	return all
}

// more waits until so many more transfers are committed.
func (w *world) more(n int) {
	w.t.Helper()
	want := len(w.committed()) + n
	for range 6000 {
		select {
		case <-w.p.Gone():
			w.t.Fatalf("it has ended: %s", w.p.Stderr())
		case <-time.After(10 * time.Millisecond):
		}
		if len(w.committed()) >= want {
			return
		}
	}
	w.t.Fatalf("no transfers are made: %s", w.p.Stderr())
}

// TestTransfer kills at random: DTC_TRANSFER_KILLS says how often, DTC_SEED how the dice
// fall.
func TestTransfer(t *testing.T) {
	kills, seed := fromEnv(t, "DTC_TRANSFER_KILLS", 7), uint64(fromEnv(t, "DTC_SEED", int(time.Now().UnixNano()>>16&0xffff)))
	t.Logf("DTC_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	w.start()
	killed := map[string]int{}
	for done := 0; done < kills; {
		// Each of these once, in some order, and then again.
		for _, i := range rng.Perm(len(victims)) {
			if done++; done > kills {
				break
			}
			w.more(1 + rng.IntN(20))
			w.strike(victims[i])
			for name := range strings.FieldsSeq(victims[i]) {
				killed[name]++
			}
		}
	}
	w.more(20)
	w.p.Signal(syscall.SIGTERM)
	if code := w.p.Code(); code != 0 {
		t.Errorf("stopped, it ended with %d: %s", code, w.p.Stderr())
	}
	w.complaints()
	w.start("--transfers", "1") // which finishes what was left
	if code := w.p.Code(); code != 0 {
		t.Errorf("it ended with %d: %s", code, w.p.Stderr())
	}
	w.complaints()
	told := w.judge()
	w.checkIsOne()
	tally.Add(t, "databases", "transfers between PostgreSQL and MariaDB told as committed", int64(told), int64(kills))
	for name, least := range map[string]int64{"program": 1, "postgres": 1, "mariadb": 1} {
		tally.Add(t, "databases", "transfers between PostgreSQL and MariaDB: kill -9 of the "+name, int64(killed[name]), least)
	}
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// victims are who is killed together.
var victims = []string{"program", "program", "mariadb", "program mariadb", "postgres", "program postgres", "program postgres mariadb"}

// strike kills all that are named, and starts them again: the program first, so that it
// finds the servers as they come.
func (w *world) strike(names string) {
	w.t.Helper()
	is := func(name string) bool { return strings.Contains(names, name) }
	if is("program") {
		w.kill()
	}
	if is("postgres") {
		w.postgres.Kill(w.t)
	}
	if is("mariadb") {
		w.mariadb.Kill(w.t)
	}
	if is("program") {
		w.start()
	}
	if is("mariadb") {
		w.mariadb.Start(w.t)
	}
	if is("postgres") {
		w.postgres.Start(w.t)
	}
}

// judge looks into the databases, by other means than the program's, and returns how many
// transfers were told.
func (w *world) judge() int {
	w.t.Helper()
	pg, maria := w.postgres.Open(w.t, ""), w.mariadb.Open(w.t, "bank")
	told, inPostgres, inMariaDB := w.committed(), transfers(w.t, pg), transfers(w.t, maria)
	var moved int64
	for id, amount := range inPostgres {
		moved += amount
		if other, ok := inMariaDB[id]; !ok || other != amount {
			w.t.Errorf("transfer %s is in PostgreSQL only", id)
		}
	}
	for id := range inMariaDB {
		if _, ok := inPostgres[id]; !ok {
			w.t.Errorf("transfer %s is in MariaDB only", id)
		}
	}
	for id, amount := range told {
		if there, ok := inPostgres[id]; !ok || there != amount {
			w.t.Errorf("transfer %s was told as committed, and is not there", id)
		}
	}
	// Whatever is done twice, or half, makes a difference here.
	if n := number(w.t, pg, "SELECT sum(balance) FROM account"); n != 10*1000-moved {
		w.t.Errorf("PostgreSQL has %d, and by its transfers should have %d", n, 10*1000-moved)
	}
	if n := number(w.t, maria, "SELECT SUM(balance) FROM account"); n != 10*1000+moved {
		w.t.Errorf("MariaDB has %d, and by its transfers should have %d", n, 10*1000+moved)
	}
	if n := number(w.t, pg, "SELECT count(*) FROM pg_prepared_xacts"); n != 0 {
		w.t.Errorf("%d transactions are left prepared in PostgreSQL", n)
	}
	rows, err := maria.Query("XA RECOVER")
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	if rows.Next() || rows.Err() != nil {
		w.t.Errorf("transactions are left prepared in MariaDB: %v", rows.Err())
	}
	w.t.Logf("%d transfers, of which %d were told as committed", len(inPostgres), len(told))
	return len(told)
}

func transfers(t *testing.T, db *sql.DB) map[string]int64 {
	t.Helper()
	rows, err := db.Query("SELECT id, amount FROM transfer")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]int64{}
	for rows.Next() {
		var id string
		var amount int64
		if err := rows.Scan(&id, &amount); err != nil {
			t.Fatal(err)
		}
		all[id] = amount
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func number(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// checkIsOne: the example's own check finds that all is well, and what is not.
func (w *world) checkIsOne() {
	w.t.Helper()
	check := func() string {
		out, err := exec.Command(w.binary, append([]string{"--check"}, w.args...)...).CombinedOutput()
		return fmt.Sprintf("%s%v", out, err)
	}
	if said := check(); !strings.Contains(said, "OK: 20000 together") || !strings.HasSuffix(said, "<nil>") {
		w.t.Errorf("check: %s", said)
	}
	pg, maria := w.postgres.Open(w.t, ""), w.mariadb.Open(w.t, "bank")
	for _, breaking := range []struct {
		db          *sql.DB
		query, undo string
		finds       string
	}{
		{maria, "UPDATE account SET balance = balance + 1 WHERE id = 1", "UPDATE account SET balance = balance - 1 WHERE id = 1", "MariaDB has "},
		{pg, "UPDATE account SET balance = balance + 1 WHERE id = 1", "UPDATE account SET balance = balance - 1 WHERE id = 1", "PostgreSQL has "},
		{pg, "INSERT INTO transfer VALUES ('torn', 0)", "DELETE FROM transfer WHERE id = 'torn'", "transfer torn is in PostgreSQL only"},
		{maria, "INSERT INTO transfer VALUES ('torn', 0)", "DELETE FROM transfer WHERE id = 'torn'", "transfer torn is in MariaDB only"},
	} {
		for i, query := range []string{breaking.query, breaking.undo} {
			if _, err := breaking.db.Exec(query); err != nil {
				w.t.Fatal(err)
			}
			if i > 0 {
				break
			}
			if said := check(); !strings.Contains(said, "FAILED: "+breaking.finds) || !strings.HasSuffix(said, "exit status 1") {
				w.t.Errorf("after %q the check says %s", breaking.query, said)
			}
		}
	}
}

package mysql_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/serving"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// address is how `dtc serve` names a database of a server.
func address(host, account, database string) string {
	return "mysql://" + account + "@" + host + "/" + database
}

func newBank(t *testing.T, server *servers.Server) (*serving.Bank, *world) {
	t.Helper()
	w := &world{server: server, name: servers.NewName()}
	w.admin = server.NewDatabase(t, w.name)
	w.exec(t, "CREATE TABLE account (id varchar(9) PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0)) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO account VALUES ('alice', 100), ('hunter2', 0)")
	return &serving.Bank{
		URL: address(server.Addr(), "root", w.name), Kind: "mysql", Server: server,
		Take:    "UPDATE account JOIN (SELECT ? AS n) AS amount SET balance = balance - n WHERE id = 'alice' AND balance >= n",
		Give:    "UPDATE account SET balance = balance + ? WHERE id = 'alice'",
		Wrong:   "INSERT INTO account VALUES (?, 1)", // a duplicate key, which the server quotes
		Balance: func() int { return w.count(t, "SELECT SUM(balance) FROM account") },
		Prepared: func() int { // those of other tests on the same server have other names of participants
			all, err := w.prepared()
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		},
		Prepare: func(xid dtc.XID, tx dtc.TxID, participant string, amount int) {
			prepareByHand(t, w, xid, tx, participant, amount)
		},
	}, w
}

// prepareByHand is what a program of somebody else does: see the guide.
func prepareByHand(t *testing.T, w *world, xid dtc.XID, tx dtc.TxID, participant string, amount int) {
	t.Helper()
	conn, err := w.admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = discard(conn) }()
	name := mysql.Name(xid, participant)
	for _, sql := range []string{
		"XA START " + name, fmt.Sprintf("UPDATE account SET balance = balance + %d WHERE id = 'alice'", amount),
		proof(t, w, xid, tx, participant), "XA END " + name, "XA PREPARE " + name,
	} {
		if _, err := conn.ExecContext(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// proof is the statement that the package gives for a branch of that database.
func proof(t *testing.T, w *world, xid dtc.XID, tx dtc.TxID, participant string) string {
	t.Helper()
	c := connector(t, w.server.DSN(w.name))
	db, err := mysql.Open(t.Context(), participant, openPool(t, c), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	text, err := db.Proof(xid, tx)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// held makes the bank's database be reached through a proxy that holds a statement.
func heldAt(t *testing.T, b *serving.Bank, w *world, statement string) serving.Held {
	t.Helper()
	proxy, err := wire.New(wire.MySQL, w.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	trap := proxy.Arm(statement, 1, wire.StallRequest)
	b.URL = address(fmt.Sprintf("127.0.0.1:%d", proxy.Port()), "root", w.name)
	return serving.Held{Come: trap.Hit(), LetGo: trap.Release}
}

// twoBanks are two servers: XA RECOVER lists what all databases of one hold.
func twoBanks(t *testing.T) (one, two *serving.Bank, second *world) {
	t.Helper()
	one, _ = newBank(t, servers.MariaDB(t))
	two, second = newBank(t, servers.MariaDB(t))
	return one, two, second
}

func TestServe(t *testing.T) {
	one, two, _ := twoBanks(t)
	serving.Pays(t, one, two)
}

func TestServeAdopts(t *testing.T) {
	one, two, _ := twoBanks(t)
	serving.Adopts(t, one, two)
}

func TestServeKilledBefore(t *testing.T) {
	one, two, w := twoBanks(t)
	serving.KilledBefore(t, one, two, heldAt(t, two, w, "XA PREPARE"))
}

func TestServeKilledBetween(t *testing.T) {
	one, two, w := twoBanks(t)
	serving.KilledBetween(t, one, two, heldAt(t, two, w, "XA COMMIT"))
}

func TestServeRefuses(t *testing.T) {
	b, w := newBank(t, servers.MariaDB(t))
	serving.Examined(t, b.URL)
	if tables := w.count(t, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'dtc%'"); tables != 0 {
		t.Errorf("a look has left %d tables", tables)
	}
	as := func(account string) string { return address(w.server.Addr(), account+":hunter2", w.name) }
	grant := func(account, rights string) string {
		w.exec(t, "CREATE USER "+account+" IDENTIFIED BY 'hunter2'")
		if rights != "" {
			w.exec(t, "GRANT "+rights+" ON "+w.name+".* TO "+account)
		}
		return as(account)
	}
	serving.Refused(t, grant("little", "SELECT, INSERT, UPDATE, DELETE"), "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON "+w.name+".* TO")
	good := grant("good", "ALL")
	w.exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
	serving.Refused(t, good, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
	w.exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")

	// With the tables there, other rights are looked at.
	serving.Examined(t, good)
	proof(t, w, dtc.XID{Seq: 1}, "", "orders")
	serving.Examined(t, as("little"))
	serving.Refused(t, grant("reader", "SELECT"), "GRANT SELECT, INSERT, UPDATE, DELETE")
	if rows := w.count(t, "SELECT COUNT(*) FROM dtc_branch") + w.count(t, "SELECT COUNT(*) FROM dtc_low_water"); rows != 0 {
		t.Errorf("a look has left %d rows", rows)
	}
	w.exec(t, "CREATE TABLE journal (n int) ENGINE=MyISAM")
	if said := serving.Examined(t, good); !strings.Contains(said, "ALTER TABLE journal ENGINE = InnoDB") {
		t.Errorf("it does not warn of a table whose rows survive a rollback: %s", said)
	}
}

func TestServeReloads(t *testing.T) {
	one, two, _ := twoBanks(t)
	third, w := newBank(t, servers.MariaDB(t))
	w.exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
	w.exec(t, "CREATE USER good IDENTIFIED BY 'hunter2'")
	w.exec(t, "GRANT ALL ON "+w.name+".* TO good")
	serving.Reloads(t, one, two, strings.Replace(third.URL, "root@", "good:hunter2@", 1), "SET GLOBAL innodb_flush_log_at_trx_commit = 1", func() {
		w.exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
	})
}

// TestGuide does what the guide shows to those who prepare by themselves. Its row is the
// one that the package gives.
func TestGuide(t *testing.T) {
	b, w := newBank(t, servers.SharedMariaDB(t))
	w.exec(t, "CREATE TABLE stock (item varchar(20) PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES ('keyboard', 10)")
	said := serving.Start(t, "stock="+b.URL).Guided(t, "mariadb.md",
		"mariadb stock", fmt.Sprintf("mariadb --no-defaults -h 127.0.0.1 -P %d -u root %s", w.server.Port, w.name))
	if n := w.count(t, "SELECT n FROM stock"); n != 8 || !strings.Contains(said, `"outcome":"committed"`) {
		t.Errorf("%d are in stock: %s", n, said)
	}
	var id, text string
	if err := w.admin.QueryRow("SELECT name, tx_id FROM dtc_branch WHERE state = 'committed'").Scan(&text, &id); err != nil {
		t.Fatal(err)
	}
	xid, err := dtc.ParseXID(strings.TrimSuffix(text, ".stock"))
	if err != nil {
		t.Fatal(err)
	}
	const columns = "CONCAT_WS(',', name, participant, log, incarnation, seq, tx_id, state, server_start)"
	var guide, own string
	if err := w.admin.QueryRow("SELECT " + columns + " FROM dtc_branch").Scan(&guide); err != nil {
		t.Fatal(err)
	}
	w.exec(t, "DELETE FROM dtc_branch")
	w.exec(t, proof(t, w, xid, dtc.TxID(id), "stock"))
	if err := w.admin.QueryRow("SELECT " + columns + " FROM dtc_branch").Scan(&own); err != nil || own != guide {
		t.Errorf("the guide writes %s, and the package %s: %v", guide, own, err)
	}
}

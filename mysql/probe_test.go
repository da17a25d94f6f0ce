package mysql

import (
	"maps"
	"strings"
	"testing"
)

// TestJudge: what cannot be set on a server of this test's, or not on every release.
func TestJudge(t *testing.T) {
	good := map[string]string{
		"innodb_flush_log_at_trx_commit": "1", "log_bin": "OFF", "sync_binlog": "0", "read_only": "OFF",
		"default_storage_engine": "InnoDB", "wsrep_on": "OFF", "innodb_doublewrite": "ON",
	}
	const mariadb, mysql = "10.11.19-MariaDB-0+deb12u1", "8.0.36"
	for _, tt := range []struct {
		version, set string
		want         string // of the first finding; none if empty
		fatal        bool
	}{
		{version: mariadb},
		{version: mysql, set: "xa_detach_on_prepare=ON"},
		{version: "10.5.0-MariaDB"},
		{version: "5.5.5-10.6.4-MariaDB-log"},
		{version: "12.0.2-MariaDB", set: "legacy_xa_rollback_at_disconnect=OFF"},
		{version: mariadb, set: "read_only="},
		{version: "10.4.34-MariaDB", want: "use MariaDB 10.5 or newer", fatal: true},
		{version: "5.5.5-10.4.34-MariaDB", want: "use MariaDB 10.5 or newer", fatal: true},
		{version: "8.0.28", want: "use MySQL 8.0.29 or newer", fatal: true},
		{version: "5.7.44-log", want: "use MySQL 8.0.29 or newer", fatal: true},
		{version: mariadb, set: "legacy_xa_rollback_at_disconnect=ON", want: "SET GLOBAL legacy_xa_rollback_at_disconnect = OFF", fatal: true},
		{version: mysql, set: "xa_detach_on_prepare=OFF", want: "SET GLOBAL xa_detach_on_prepare = ON", fatal: true},
		{version: mariadb, set: "wsrep_on=ON", want: "not in a cluster", fatal: true},
		{version: mariadb, set: "read_only=ON", want: "connect to the primary", fatal: true},
		{version: mariadb, set: "read_only=NO_LOCK_NO_ADMIN", want: "connect to the primary", fatal: true},
		{version: mariadb, set: "default_storage_engine=MyISAM", want: "SET GLOBAL default_storage_engine = InnoDB", fatal: true},
		{version: mariadb, set: "innodb_flush_log_at_trx_commit=2", want: "SET GLOBAL innodb_flush_log_at_trx_commit = 1"},
		{version: mariadb, set: "log_bin=ON", want: "SET GLOBAL sync_binlog = 1"},
		{version: mariadb, set: "innodb_doublewrite=OFF", want: "innodb_doublewrite"},
	} {
		vars := maps.Clone(good)
		if name, value, ok := strings.Cut(tt.set, "="); ok {
			vars[name] = value
		}
		all := judge(tt.version, vars)
		switch {
		case tt.want == "" && len(all) > 0:
			t.Errorf("%s with %q: %v", tt.version, tt.set, all)
		case tt.want != "" && (len(all) != 1 || !strings.Contains(all[0].String(), tt.want) || all[0].Fatal != tt.fatal || all[0].Lossy == tt.fatal):
			t.Errorf("%s with %q: %+v, want one that says %q", tt.version, tt.set, all, tt.want)
		}
	}
}

// TestPlainRead: what is taken for a plain read surely is one.
func TestPlainRead(t *testing.T) {
	for _, sql := range []string{
		"SELECT 1", "select count(*) from token", "SELECT a.x FROM a JOIN b USING (x) WHERE a.y IN (1, 2) AND b.z = 'for update'",
		"SELECT COALESCE(SUM(n), 0) FROM `lock`", "  SELECT\n* FROM t WHERE id = ?",
	} {
		if !plainRead(sql) {
			t.Errorf("%q is not taken for a plain read", sql)
		}
	}
	for _, sql := range []string{
		"", "UPDATE t SET n = 1", "SELECT * FROM t FOR UPDATE", "SELECT * FROM t for\tshare", "SELECT * FROM t LOCK IN SHARE MODE",
		"SELECT * FROM t WHERE x = 'a' FOR UPDATE", "SELECT * FROM t WHERE x = 'it''s' FOR UPDATE", `SELECT '\' FOR UPDATE, '`,
		"SELECT 1 INTO @x", "SELECT pay(1)", "SELECT pay (1)", "SELECT NEXTVAL(s)", "SELECT NEXT VALUE FOR s", "SELECT GET_LOCK('a', 1)",
		"SELECT * FROM t /*! FOR UPDATE */", "SELECT `pay`(1)", "SELECT 1; DELETE FROM t", "SELECT @a := 1",
		"INSERT INTO t VALUES (1) RETURNING n", "WITH x AS (SELECT 1) SELECT * FROM x", "CALL p()", "SHOW TABLES",
		"SELECT n -- '\nFOR UPDATE -- '", "SELECT n # '\nFOR UPDATE # '",
	} {
		if plainRead(sql) {
			t.Errorf("%q is taken for a plain read", sql)
		}
	}
}

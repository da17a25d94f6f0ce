package dbbench_test

import (
	"database/sql"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func cpu(b *testing.B, pools [2]*sql.DB) (client, server float64, n [2]int) {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	client = float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
	for _, p := range pools {
		var file string
		var q, f int
		if err := p.QueryRow("SELECT @@pid_file, (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='QUESTIONS'), (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='INNODB_DATA_FSYNCS')").Scan(&file, &q, &f); err != nil {
			b.Fatal(err)
		}
		n[0] += q
		n[1] += f
		pid, _ := os.ReadFile(file)
		stat, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		fs := strings.Fields(rest)
		ut, _ := strconv.Atoi(fs[11])
		st, _ := strconv.Atoi(fs[12])
		server += float64(ut+st) * 1e4
	}
	return client, server, n
}

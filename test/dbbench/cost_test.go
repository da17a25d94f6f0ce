package dbbench_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"
)

// cost is what transactions have taken, beside their time: who else works on the machine
// changes it less.
type cost struct {
	client, server float64 // microseconds of processor, of this process and those of the servers
	wal            float64 // bytes
}

func (c cost) plus(o cost, factor float64) cost {
	return cost{c.client + factor*o.client, c.server + factor*o.server, c.wal + factor*o.wal}
}

// spent returns what was spent since this process and those of the servers were started. A
// process of a server that ends takes its share along, so connections are to stay.
func spent(ctx context.Context, pools []*pgxpool.Pool) (c cost, err error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return c, err
	}
	c.client = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e3
	for _, pool := range pools {
		var pids []int
		var wal float64
		err := pool.QueryRow(ctx, "SELECT array_agg(pid), max(pg_current_wal_insert_lsn() - '0/0')::float8 FROM pg_stat_activity").Scan(&pids, &wal)
		if err != nil {
			return c, err
		}
		c.wal += wal
		for _, pid := range pids {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid)) // nanoseconds, and more
			if os.IsNotExist(err) {
				continue // it has ended
			}
			if err != nil {
				return c, err
			}
			ns, err := strconv.ParseFloat(strings.Fields(string(stat))[0], 64)
			if err != nil {
				return c, err
			}
			c.server += ns / 1e3
		}
	}
	return c, nil
}

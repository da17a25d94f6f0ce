package dbbench_test

import ("os"; "strconv"; "github.com/dtc-project/dtc/mysql")

func opts() *mysql.Options {
	n, _ := strconv.Atoi(os.Getenv("PRUNE"))
	return &mysql.Options{PruneEvery: n}
}

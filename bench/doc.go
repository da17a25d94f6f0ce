// Package bench measures whole transactions beside the limit of the machine, in
// the same run: see package internal/measure. Beside that it measures what a
// coordinator costs without a log, what it needs to recover, how large its log
// becomes, and what a dead participant does to the others.
//
//	go test -bench . -run '^$' -benchtime 1x
package bench

// Package bench measures whole transactions beside the limit of the machine, in
// the same run: a bare group commit of one 100-byte record for each transaction,
// with the same kind of file and the same sync, and no protocol. The ratio is
// what counts; absolute numbers belong to one machine at one hour.
//
//	go test -bench . -run '^$' -benchtime 1x
package bench

// Package bench measures whole transactions beside the limit of the machine, in
// the same run: a bare group commit of one 100-byte record for each transaction,
// with the same kind of file and the same sync, and no protocol. The ratio is
// what counts; absolute numbers belong to one machine at one hour. Beside it
// stands "log": the same 100 bytes through the log that the transactions use, same
// file layout and same sync, again without a protocol.
//
//	go test -bench . -run '^$' -benchtime 1x
package bench

// Package access decides who a caller of `dtc serve` is, and keeps the secrets
// that this takes: bearer tokens, and the certificates of both sides of a
// connection.
//
// What it guarantees:
//
//  1. A file is read again when it has changed, without a restart. It is looked at
//     when it is needed, and no more than once a second.
//  2. A file that has become unreadable or wrong changes nothing: what was read
//     before holds on, and the log says once what is wrong. So nobody is locked out
//     by a renewal that failed, and to take a right away one has to write a file
//     that is right.
//  3. A tokens file holds hashes only, and who reads it can call nothing. Who can
//     write it can give himself any role: so a file that others than its owner may
//     write is refused.
//  4. No error and no line in the log holds a token, or a word of a file that could
//     be one.
//
// Everything may be called concurrently.
package access

// Package examples holds programs to read, run and copy from. They are a module of
// their own, and the tests run all of them.
package examples

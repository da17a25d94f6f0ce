// Package silence tells errors that mean "there was no answer" from answers.
package silence

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"syscall"
)

// Is reports whether an error of a call means that whoever was called may not have
// answered at all: the call ended with its context, or its connection was lost.
func Is(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || isNetwork(err) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// isNetwork reports whether err comes from the network. A bare errno satisfies
// net.Error too, also that of a file that does not exist.
func isNetwork(err error) bool {
	var network net.Error
	if !errors.As(err, &network) {
		return false
	}
	errno, bare := network.(syscall.Errno)
	return !bare || errno == syscall.ECONNREFUSED || errno == syscall.ECONNRESET ||
		errno == syscall.EPIPE || errno == syscall.ETIMEDOUT
}

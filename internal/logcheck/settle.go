package logcheck

import (
	"errors"
	"io/fs"
	"time"
)

// Settle calls check until it returns nil, or the same verdict twice in a row.
// A log that is written meanwhile can look damaged for a moment, because its files
// are not read at one instant: a batch is half there, a segment has been freed
// and is used again. Damage that is real stays where it is.
func Settle(check func() error) (err error) {
	last := ""
	wait := time.Millisecond
	for range 50 {
		if err = check(); err == nil || err.Error() == last || !passes(err) {
			break
		}
		last = err.Error()
		time.Sleep(wait)
		wait = min(2*wait, 100*time.Millisecond)
	}
	return err
}

// passes reports whether an error may be of the moment.
func passes(err error) bool {
	var damage *Damage
	var not *NotLog
	var none *NoLog
	var contradiction *Contradiction
	return errors.As(err, &damage) || errors.As(err, &not) || errors.As(err, &none) || errors.As(err, &contradiction) ||
		errors.Is(err, fs.ErrNotExist)
}

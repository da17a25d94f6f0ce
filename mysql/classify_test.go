package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestClassify: what an error says is told by its number, and by its type if it has none.
func TestClassify(t *testing.T) {
	const (
		unknown   = 1 << iota // of a call that was to finish: no answer
		later                 // of the same: it is there, and may be finished later
		transient             // of statements: they may succeed when executed again
	)
	for want, numbers := range map[int][]uint16{
		unknown | transient: {1040, 1053, 1158, 1290, 1317, 1792, 1836, 1927, 1969, 2006, 2013, 3024},
		later | transient:   {1205, 1213},
		later:               {1397, 3197},
		transient:           {1020, 1440},
		0:                   {1044, 1045, 1062, 1064, 1094, 1095, 1142, 1146, 1399, 1400, 1401, 1402, 1452, 1613, 1614, 4025},
	} {
		for _, n := range numbers {
			// The text is the same whatever it is, and says something else.
			raw := &mysql.MySQLError{Number: n, SQLState: [5]byte{'X', 'Y', '0', '0', '0'}, Message: "Lost connection, 'alice'"}
			for _, err := range []error{raw, fmt.Errorf("wrapped: %w", raw), safe(raw)} {
				if got := classOf(err, unknown, later, transient); got != want {
					t.Errorf("%d is of class %b, want %b", n, got, want)
				}
			}
			if text := safe(raw).Error(); strings.Contains(text, "alice") || !strings.Contains(text, fmt.Sprint(n)) {
				t.Errorf("%d becomes %q", n, text)
			}
		}
	}
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, mysql.ErrInvalidConn, context.DeadlineExceeded, context.Canceled} {
		if got := classOf(err, unknown, later, transient); got != unknown|transient {
			t.Errorf("%v is of class %b", err, got)
		}
	}
	// Whatever it is: a call that was to finish knows nothing after it.
	if got := classOf(errors.New("something else"), unknown, later, transient); got != unknown {
		t.Errorf("an error of another kind is of class %b", got)
	}
}

func classOf(err error, unknown, later, transient int) (class int) {
	if gone(err) {
		class |= unknown
	}
	if busy(err) {
		class |= later
	}
	if isTransient(err) {
		class |= transient
	}
	return class
}

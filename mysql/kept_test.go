package mysql

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"
)

// slow is a server whose answers come when they are let go.
type slow struct {
	querier
	asked  int
	answer chan error
}

func (s *slow) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	s.asked++
	return nil, <-s.answer
}

// TestKeptShares: a commit serves all who had read before it began, and nobody else.
func TestKeptShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Database{id: "orders", q: queriesOf("dtc", true), keeper: keeper{sem: make(chan struct{}, 1)}}
		s := &slow{answer: make(chan error)}
		told := make(chan error, 10)
		ask := func(n int) {
			for range n {
				go func() { told <- d.kept(t.Context(), s) }()
			}
			synctest.Wait()
		}
		answer := func(err error, asked, answered int) {
			t.Helper()
			s.answer <- err
			synctest.Wait()
			if s.asked != asked || len(told) != answered {
				t.Errorf("%d commits, %d answers; want %d and %d", s.asked, len(told), asked, answered)
			}
		}
		ask(1)
		ask(4) // while one is under way that says nothing of what they have read
		answer(nil, 2, 1)
		answer(errors.New("lost"), 3, 2) // which serves nobody, so the next one commits
		answer(nil, 3, 5)
		failed := 0
		for range 5 {
			if <-told != nil {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d were told of the error", failed)
		}
	})
}

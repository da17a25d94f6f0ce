package main

import (
	"context"
	"net/http"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
)

// decided is how long participants that answer are waited for when everything is
// decided: what they hold prepared keeps others waiting until the next start.
const decided = 5 * time.Second

// lastWords is how long the end may take when the drain timeout is over.
const lastWords = 5 * time.Second

// drain ends the server: nothing new, and time for what runs. What is left then is
// safe in the log, and finished by the next start.
func (s *server) drain(web *http.Server) error {
	s.log.Info("draining: nothing new is taken", "timeout", s.cfg.DrainTimeout.String())
	s.control.Drain()
	failpoint.Hit(failpoint.ServeDrain)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	s.settle(ctx)
	failpoint.Hit(failpoint.ServeSettled)

	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancelEnd()
	closed := make(chan error, 1)
	go func() { closed <- s.c.Close() }()
	var err error
	select {
	case err = <-closed:
		failpoint.Hit(failpoint.ServeClosed)
		_ = web.Shutdown(end) // the answers of those that Close ended
	case <-end.Done():
		// The process ends with the goroutine. That is a crash to the log, which it is
		// made for.
		s.log.Warn("stopping while calls to participants are out; the next start finishes what is left")
	}
	failpoint.Hit(failpoint.ServeStopped)
	s.log.Info("stopped", "unfinished", s.c.Stats().Unfinished)
	return err
}

// settle waits until no request runs a transaction and none waits for its next step.
func (s *server) settle(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.control.Wait(ctx); err != nil {
			break
		}
		if s.c.ActiveByState()["active"] == 0 {
			s.finish(ctx, tick)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	s.log.Warn("the drain timeout is over: transactions that have no decision are rolled back, the next start finishes the others", "active", s.c.ActiveByState()["active"])
}

// finish waits for phase two at participants that answer.
func (s *server) finish(ctx context.Context, tick *time.Ticker) {
	ctx, cancel := context.WithTimeout(ctx, decided)
	defer cancel()
	for s.finishing() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) finishing() bool {
	for _, p := range s.c.Participants() {
		if p.Unfinished > 0 && p.Registered && p.State == "up" {
			return true
		}
	}
	return false
}

package main

import (
	"context"
	"net/http"
	"time"
)

// lastWords is how long the end may take when the drain timeout is over.
const lastWords = 5 * time.Second

// drain ends the server: nothing new, and time for what runs. What is left then is
// safe in the log, and finished by the next start.
func (s *server) drain(web *http.Server) error {
	s.log.Info("draining: nothing new is taken", "timeout", s.cfg.DrainTimeout.String())
	s.control.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	s.settle(ctx)

	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancelEnd()
	closed := make(chan error, 1)
	go func() { closed <- s.c.Close() }()
	var err error
	select {
	case err = <-closed:
		_ = web.Shutdown(end) // the answers of those that Close ended
	case <-end.Done():
		// The process ends with the goroutine. That is a crash to the log, which it is
		// made for.
		s.log.Warn("stopping while calls to participants are out; the next start finishes what is left")
	}
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
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	s.log.Warn("the drain timeout is over: transactions that have no decision are rolled back, the next start finishes the others", "active", s.c.ActiveByState()["active"])
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/cmd/dtc/internal/fleet"
	"github.com/dtc-project/dtc/cmd/dtc/internal/front"
	"github.com/dtc-project/dtc/cmd/dtc/internal/telemetry"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/wal"
)

// server is `dtc serve` while it runs.
type server struct {
	cfg     *config.Config
	sources *config.Sources
	out     io.Writer
	json    bool
	log     *slog.Logger
	audit   *slog.Logger
	began   time.Time

	metrics  *telemetry.Metrics
	fleet    *fleet.Fleet
	tokens   *access.Tokens // nil: none
	watch    *access.Watch  // nil: no TLS
	tls      *tls.Config
	control  *dtchttp.ControlHandler
	listener net.Listener
	c        *dtc.Coordinator
}

// run serves until ctx ends, and then drains.
func (s *server) run(ctx context.Context) error {
	slog.SetDefault(s.log) // of what has no log of its own
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	// What is written to a pipe that nobody reads any more is lost, and nothing else: the
	// signal would end the process, as if it had crashed.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	defer s.secondSignal(ctx)()

	if err := s.secure(); err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.ServeListening)
	s.metrics = telemetry.New(readVersion().Version)
	s.control = dtchttp.NewControlHandler(s.controlOptions())
	web := front.New(s.routes(), front.Options{Log: s.log, TLS: s.tls, LocalNames: !s.cfg.Auth() && s.local()})
	defer web.Close()
	served := make(chan error, 1)
	go func() { served <- s.serve(web) }()
	s.log.Info("listening", "address", s.listener.Addr().String())
	if !s.local() && !s.cfg.Auth() {
		s.log.Warn("there is no authentication: whoever can reach this address can do everything", "address", s.listener.Addr().String())
	}

	var err error
	if s.fleet, err = fleet.Open(ctx, s.cfg, s.log); err != nil {
		return err
	}
	defer s.fleet.Close()
	if err := s.open(); err != nil {
		return err
	}
	failpoint.Hit(failpoint.ServeOpened)
	s.control.Use(s.c)
	failpoint.Hit(failpoint.ServeReady)
	if err := s.banner(); err != nil { // it serves all the same: participants wait for it
		s.log.Warn("what the server says of itself could not be written", "error", err.Error())
	}
	var wg sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	defer func() { stop(); wg.Wait() }()
	wg.Go(func() { s.follow(watching, hup) })
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("the server stopped: %w", err), s.c.Close())
	case <-ctx.Done():
	}
	stop()
	wg.Wait()
	return s.drain(web)
}

// oneSignal is for how long signals count as the first one. Who stops a group of
// processes, as timeout(1) and a terminal do, sends the same signal more than once.
const oneSignal = time.Second

// secondSignal makes the process end at once when a second signal comes, from a moment
// after the first one has ended ctx.
func (s *server) secondSignal(ctx context.Context) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		first := time.Now()
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		for {
			select {
			case <-over:
				return
			case sig := <-again:
				if time.Since(first) < oneSignal {
					continue
				}
				s.log.Warn("a second signal: stopping at once; the next start finishes what is left", "signal", sig.String())
				os.Exit(exitFailed)
			}
		}
	}()
	return func() { close(over); <-done }
}

// secure reads the secrets that decide who may call.
func (s *server) secure() (err error) {
	if s.cfg.TokensFile != "" {
		if s.tokens, err = access.OpenTokens(s.cfg.TokensFile, s.log); err != nil {
			return err
		}
	}
	if s.cfg.TLS.Cert != "" {
		if s.tls, s.watch, err = s.cfg.TLS.ServerConfig(s.log); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use: another dtc or another program listens there; stop it, or choose another address with --listen", s.cfg.Listen)
	case err != nil:
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	s.listener = front.Limit(l, s.cfg.MaxConnections, s.log)
	// The configuration was checked by what it says; a name may have led elsewhere.
	if !s.local() && !s.cfg.Insecure && (s.tls == nil || !s.cfg.Auth()) {
		_ = l.Close()
		return usagef("%s is %s, which can be reached from other machines: listen on 127.0.0.1, or set TLS and authentication, or take --insecure", s.cfg.Listen, l.Addr())
	}
	return nil
}

// local reports whether only this machine can reach the listener.
func (s *server) local() bool {
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

func (s *server) serve(web *http.Server) error {
	if s.tls != nil {
		return web.ServeTLS(s.listener, "", "")
	}
	return web.Serve(s.listener)
}

func (s *server) controlOptions() *dtchttp.ControlOptions {
	o := &dtchttp.ControlOptions{
		Logger: s.audit, MaxInFlight: s.cfg.MaxRequests,
		Describe: func(id string) (string, string) { return s.fleet.Describe(id) },
	}
	if s.cfg.Auth() {
		o.Authenticate = access.Rules{Tokens: s.tokens, Certificates: s.cfg.Certificates}.Authenticate
	}
	return o
}

// routes are all that is served. There is no ServeMux: it would clean paths, and a
// transaction may be called "..".
func (s *server) routes() http.Handler {
	scrape := s.control.Require(dtchttp.RoleObserver, s.metrics.Handler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" && s.cfg.Metrics && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			scrape.ServeHTTP(w, r)
			return
		}
		s.control.ServeHTTP(w, r)
	})
}

// open reads the log and begins to finish what an earlier run left.
func (s *server) open() error {
	told := time.Now()
	o := &wal.Options{
		OutcomeLimit: s.cfg.OutcomeLimit, OutcomeRetention: s.cfg.OutcomeRetention,
		Progress: func(read, total int64) {
			if now := time.Now(); now.Sub(told) > 5*time.Second {
				told = now
				s.log.Info("reading the log", "bytes", read, "of", total)
			}
		},
	}
	s.metrics.Log(o)
	log, err := wal.Open(s.cfg.Data, o)
	if err != nil {
		return advice(fmt.Errorf("open the log in %s: %w", s.cfg.Data, err))
	}
	cfg := &dtc.Config{
		Timing: s.cfg.Timing, CompletionWait: s.cfg.CompletionWait, TxLifetime: s.cfg.TxLifetime,
		SweepInterval: s.cfg.SweepInterval, MaxTransactions: s.cfg.MaxTransactions,
		OutcomeLimit: s.cfg.OutcomeLimit, OutcomeRetention: s.cfg.OutcomeRetention, KeepEnded: s.cfg.KeepEnded,
		Logger: s.log, Trace: s.metrics.Trace(nil),
	}
	if cfg.CompletionWait == 0 {
		cfg.CompletionWait = -1 // which is what the library calls none
	}
	cfg.Participants, cfg.ParticipantTiming = s.fleet.Participants()
	if s.c, err = dtc.OpenLog(log, cfg); err != nil {
		return errors.Join(err, log.Close())
	}
	var certs func() time.Time
	if s.watch != nil {
		certs = s.watch.NotAfter
	}
	s.metrics.Watch(s.c, log, s.cfg.Data, certs)
	return nil
}

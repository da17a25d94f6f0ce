package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// serving is what `dtc serve` is told.
type serving struct {
	data, listen   string
	participants   []string
	prepareTimeout time.Duration
	drain          time.Duration
	insecure       bool
}

func serveCommand() *cobra.Command {
	var s serving
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Coordinate transactions for services in any language, over HTTP",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.data, "data", "", "directory `DIR` of the decision log")
	f.StringVar(&s.listen, "listen", "127.0.0.1:7420", "address `HOST:PORT` of the API")
	f.StringArrayVar(&s.participants, "participant", nil, "a participant as `NAME=URL`; repeatable")
	f.DurationVar(&s.prepareTimeout, "prepare-timeout", 5*time.Second, "how long participants may take to vote")
	f.DurationVar(&s.drain, "drain-timeout", 30*time.Second, "how long running transactions may take when the server is stopped")
	f.BoolVar(&s.insecure, "insecure", false, "listen on any address, without TLS and authentication")
	return cmd
}

func (s *serving) run(cmd *cobra.Command) error {
	if s.data == "" {
		return usagef("--data is required: the directory of the decision log")
	}
	if err := s.checkListen(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	urls := map[string]string{}
	var participants []*dtchttp.Participant
	for _, p := range s.participants {
		name, url, ok := strings.Cut(p, "=")
		if !ok {
			return usagef("--participant: want NAME=URL")
		}
		participant, err := dtchttp.NewParticipant(name, url, nil)
		if err != nil {
			return usageError{err}
		}
		defer participant.Close()
		urls[name] = participant.URL()
		participants = append(participants, participant)
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.listen, err)
	}
	control := dtchttp.NewControlHandler(&dtchttp.ControlOptions{
		Logger: log, Describe: func(id string) (string, string) { return "http", urls[id] },
	})
	server := &http.Server{
		Handler: control, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Close()
	cfg := &dtc.Config{Logger: log, KeepEnded: 10_000, Timing: dtc.Timing{PrepareTimeout: s.prepareTimeout}}
	probe(cmd.Context(), participants)
	for _, p := range participants {
		cfg.Participants = append(cfg.Participants, p)
	}
	c, err := dtc.Open(s.data, cfg)
	if err != nil {
		return err
	}
	control.Use(c)
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "dtc serves http://%s, log %s in %s\n", listener.Addr(), c.ID(), s.data)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	select {
	case err := <-served:
		return errors.Join(err, c.Close())
	case <-cmd.Context().Done():
	}
	control.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	_ = control.Wait(ctx) // what is left is finished by the next start
	_ = server.Shutdown(ctx)
	return c.Close()
}

// probe asks the participants whether they list what they hold in doubt.
func probe(ctx context.Context, participants []*dtchttp.Participant) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range participants {
		wg.Go(func() { _ = p.Probe(ctx) }) // one that is down is asked again later
	}
	wg.Wait()
}

// checkListen refuses an address that others than this machine can reach.
func (s *serving) checkListen() error {
	host, _, err := net.SplitHostPort(s.listen)
	if err != nil {
		return usagef("--listen: want HOST:PORT")
	}
	addrs, err := net.LookupHost(host)
	open := err != nil || slices.ContainsFunc(addrs, func(a string) bool { return !net.ParseIP(a).IsLoopback() })
	if open && !s.insecure {
		return usagef("--listen %s can be reached from elsewhere, and there is neither TLS nor authentication; listen on 127.0.0.1, or say --insecure", s.listen)
	}
	return nil
}

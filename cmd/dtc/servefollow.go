package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/internal/failpoint"
)

// lookEvery is how often the configuration file is looked at. It is small, and reading
// it sees every change, whatever the file system says of times.
const lookEvery = 500 * time.Millisecond

// follow takes what changed in the configuration, at SIGHUP and when the file has
// changed, until ctx ends.
func (s *server) follow(ctx context.Context, hup <-chan os.Signal) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	if s.sources.File == "" {
		tick.Stop()
	}
	f := newFollower(s)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.log.Info("SIGHUP: reading files again")
			f.secrets()
			f.look(ctx, true)
		case <-tick.C:
			f.look(ctx, false)
		}
	}
}

// follower remembers what it has seen of the file.
type follower struct {
	*server
	taken, seen []byte // what was last used or refused, and what was last read
	missing     bool
}

// newFollower begins with what the server runs with, and not with what stands in the
// file now: it may have changed since.
func newFollower(s *server) follower {
	loaded := s.sources.Loaded()
	return follower{server: s, taken: loaded, seen: loaded}
}

// look takes the file if it has changed. Without being asked it waits until it has
// seen the same twice: whoever writes a file in place may be half way.
func (f *follower) look(ctx context.Context, asked bool) {
	var content []byte
	if f.sources.File != "" {
		var err error
		if content, err = os.ReadFile(f.sources.File); err != nil {
			if !f.missing || asked {
				f.log.Error("the configuration file cannot be read; what was read before holds on", "error", err.Error())
			}
			f.missing = true
			return
		}
	}
	f.missing = false
	settled := bytes.Equal(content, f.seen)
	f.seen = content
	if !asked && (!settled || bytes.Equal(content, f.taken)) {
		return
	}
	f.taken = content
	cfg, err := f.sources.Use(content)
	if err == nil {
		if names := cfg.Restart(f.cfg); names != nil {
			f.log.Warn("what was changed here needs a restart; until then the old holds on", "settings", names)
		}
		err = f.fleet.Apply(ctx, cfg, f.c)
	}
	if err != nil {
		f.refused(err)
		return
	}
	failpoint.Hit(failpoint.ServeReread)
	f.log.Info("the configuration was read", "file", f.sources.File, "participants", len(cfg.Participants))
}

// refused tells of each mistake.
func (f *follower) refused(err error) {
	const message = "the configuration was refused; what was read before holds on"
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) {
		f.log.Error(message, "error", err.Error())
		return
	}
	for _, m := range mistakes {
		f.log.Error(message, "at", m.Place.String(), "error", m.Text)
	}
}

// secrets reads what says who may call. These files are followed anyway; whoever sends
// the signal wants to see now whether they are good.
func (s *server) secrets() {
	if s.tokens != nil {
		if err := s.tokens.Reload(); err != nil {
			s.log.Error("the tokens file was refused; what was read before holds on", "error", err.Error())
		}
	}
	if s.watch != nil {
		if err := s.watch.Reload(); err != nil {
			s.log.Error("the certificate was refused; what was read before holds on", "error", err.Error())
		}
	}
}

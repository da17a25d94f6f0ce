// Package fleet keeps the participants of `dtc serve`: those that the configuration
// names now, services that are called over HTTP and databases, registered with the
// coordinator.
//
//  1. A new configuration is taken as a whole or not at all.
//  2. A participant that did not change is not touched. One whose timing alone
//     changed keeps its connections.
//  3. What was replaced or taken out is closed when the last of its calls is over.
//  4. Nothing told or logged holds the credentials of a URL.
//  5. One that does not answer is used all the same. A database that answers and cannot
//     keep what a participant promises is a mistake of the configuration.
package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/cmd/dtc/internal/database"
	"github.com/dtc-project/dtc/dtchttp"
)

// ProbeTime bounds how long participants are asked whether they are listing, before
// they are used. One that is down holds nothing up longer than that.
const ProbeTime = 2 * time.Second

// Registry is where participants are registered: a [dtc.Coordinator].
type Registry interface {
	RegisterWith(p dtc.Participant, timing dtc.Timing) error
	Unregister(id string) error
}

// Fleet are the participants. Its methods may be called concurrently.
type Fleet struct {
	log *slog.Logger

	applying sync.Mutex // one new configuration at a time

	mu      sync.Mutex
	members map[string]*member
}

type member struct {
	config.Participant
	ca   [sha256.Size]byte // of the content of the CAFile, which is read once
	link *link
}

// Open makes the participants of a configuration, and asks them whether they list.
// They are registered by whoever opens the coordinator.
func Open(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Fleet, error) {
	f := &Fleet{log: log, members: map[string]*member{}}
	for _, id := range cfg.IDs() {
		m, err := open(id, cfg.Participants[id])
		if err != nil {
			f.Close()
			return nil, err
		}
		f.members[id] = m
	}
	if err := f.probe(ctx, slices.Collect(maps.Values(f.members))); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func open(id string, p config.Participant) (*member, error) {
	m := &member{Participant: p}
	if p.Database() != "" {
		made, err := database.New(id, p.Source())
		if err != nil {
			return nil, err
		}
		m.link = &link{peer: made}
		return m, nil
	}
	opts := &dtchttp.ParticipantOptions{MaxIdleConns: p.Timing.Concurrency}
	if p.BearerTokenFile != "" {
		opts.Bearer = access.Bearer(p.BearerTokenFile)
	}
	var err error
	if m.ca, err = sum(p.CAFile); err != nil {
		return nil, fmt.Errorf("participant %s: %w", id, err)
	}
	if p.CAFile+p.CertFile+p.ServerName != "" {
		if opts.TLS, err = access.ClientConfig(p.CAFile, p.CertFile, p.KeyFile, p.ServerName); err != nil {
			return nil, fmt.Errorf("participant %s: %w", id, err)
		}
	}
	made, err := dtchttp.NewParticipant(id, p.URL, opts)
	if err != nil {
		return nil, err
	}
	m.link = &link{peer: caller{made}}
	return m, nil
}

func sum(path string) (s [sha256.Size]byte, err error) {
	if path == "" {
		return s, nil
	}
	content, err := os.ReadFile(path)
	return sha256.Sum256(content), err
}

// probe asks each whether it answers. The error is that of those that do, and must not
// be used.
func (f *Fleet) probe(ctx context.Context, members []*member) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTime)
	defer cancel()
	var wg sync.WaitGroup
	unusable := make([]error, len(members))
	for i, m := range members {
		wg.Go(func() {
			switch err := m.link.Probe(ctx); {
			case errors.Is(err, database.ErrUnusable):
				unusable[i] = fmt.Errorf("participant %s at %s: %w", m.link.ID(), m.link.URL(), err)
			case err != nil:
				f.log.Warn("a participant does not answer yet; it is called all the same", "participant", m.link.ID(), "url", m.link.URL(), "error", err.Error())
			}
		})
	}
	wg.Wait()
	return errors.Join(unusable...)
}

// Participants returns the participants, for the configuration of a coordinator.
func (f *Fleet) Participants() (all []dtc.Participant, timing map[string]dtc.Timing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	timing = map[string]dtc.Timing{}
	for _, id := range slices.Sorted(maps.Keys(f.members)) {
		all = append(all, f.members[id].link)
		timing[id] = f.members[id].Timing
	}
	return all, timing
}

// Describe is for [dtchttp.ControlOptions].
func (f *Fleet) Describe(id string) (kind, url string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[id]; m != nil {
		return m.link.Kind(), m.link.URL()
	}
	return "", ""
}

// Apply makes the participants those of a new configuration. With an error nothing
// has changed.
func (f *Fleet) Apply(ctx context.Context, cfg *config.Config, c Registry) error {
	f.applying.Lock()
	defer f.applying.Unlock()
	fresh, changed := map[string]*member{}, map[string]*member{}
	var dialled []*member
	var mistakes []error
	for _, id := range cfg.IDs() { // f.members is written below only
		old, want := f.members[id], cfg.Participants[id]
		ca, err := sum(want.CAFile)
		switch {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("participant %s: %w", id, err))
			continue
		case old != nil && old.Participant == want && old.ca == ca:
			fresh[id] = old
			continue
		case old != nil && old.ca == ca && sameService(old.Participant, want):
			fresh[id] = &member{want, ca, old.link}
		default:
			m, err := open(id, want)
			if err != nil {
				mistakes = append(mistakes, err)
				continue
			}
			fresh[id] = m
			dialled = append(dialled, m)
		}
		changed[id] = fresh[id]
	}
	if mistakes != nil {
		for _, m := range dialled {
			m.link.retire()
		}
		return errors.Join(mistakes...)
	}
	if err := f.probe(ctx, dialled); err != nil {
		for _, m := range dialled {
			m.link.retire()
		}
		return err
	}
	f.mu.Lock()
	old := f.members
	f.members = fresh
	f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		m := changed[id]
		if err := c.RegisterWith(m.link, m.Timing); err != nil {
			f.log.Error("a participant could not be registered", "participant", id, "error", err.Error())
		}
		f.log.Info("a participant was registered", "participant", id, "url", m.link.URL(), "listing", m.link.Listing(), "new", old[id] == nil)
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		now := fresh[id]
		if now == nil {
			if err := c.Unregister(id); err != nil {
				f.log.Error("a participant could not be taken out", "participant", id, "error", err.Error())
			}
			f.log.Info("a participant was taken out; branches that it has wait until it is put in again, or resolved", "participant", id)
		}
		if now == nil || now.link != old[id].link {
			old[id].link.retire()
		}
	}
	return nil
}

// sameService reports whether two participants are called in the same way.
func sameService(a, b config.Participant) bool {
	same := a.Timing.Concurrency == b.Timing.Concurrency // so many connections are kept
	a.Timing, b.Timing = dtc.Timing{}, dtc.Timing{}
	return same && a == b
}

// Close closes the participants, when the coordinator is closed.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		m.link.retire()
	}
}

// Package config is what `dtc serve` is told: by flags, by environment variables, and
// by a file, in this order of precedence.
//
//  1. A setting has one name. In the file it is prepare_timeout, in the environment
//     DTC_PREPARE_TIMEOUT, and on the command line --prepare-timeout.
//  2. All mistakes are told at once, each with the place where it was made: the line
//     of the file, the variable, or the flag.
//  3. A participant of the command line or the environment takes the place of the
//     file's of that name as a whole: no secret goes to another address than the one
//     that it was written beside.
//  4. Relative paths in the file start at the file's directory, others where dtc runs.
//  5. Nothing that this package prints or says holds the credentials of a URL.
package config

import (
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
	"github.com/dtc-project/dtc/cmd/dtc/internal/database"
	"github.com/dtc-project/dtc/dtchttp"
)

// Config is what a server runs with.
type Config struct {
	Data, Listen string
	Insecure     bool
	Metrics      bool

	Timing           dtc.Timing
	CompletionWait   time.Duration
	TxLifetime       time.Duration
	SweepInterval    time.Duration
	MaxTransactions  int
	OutcomeLimit     int
	OutcomeRetention time.Duration
	KeepEnded        int
	DrainTimeout     time.Duration
	MaxConnections   int
	MaxRequests      int

	TLS        access.Files
	TokensFile string

	LogLevel, LogFormat string

	// Certificates are the roles of client certificates, by a name in them.
	Certificates map[string][]dtchttp.Role
	Participants map[string]Participant

	// places say where what is set was set: by the name of a setting, or
	// participants.NAME, or participants.NAME.KEY. What has none is a default.
	places map[string]Place
}

// Participant is a service or a database that takes part in transactions. Participants
// can be compared: what is equal need not be registered again.
type Participant struct {
	URL                       string // may hold credentials: print it with [Participant.Address]
	BearerTokenFile           string
	PasswordFile              string // of a database
	CAFile, CertFile, KeyFile string
	ServerName                string
	Timing                    dtc.Timing // complete
}

// Database returns what kind of database a participant is, or "" for a service.
func (p Participant) Database() string { return database.Kind(p.URL) }

// Source says how a database is reached.
func (p Participant) Source() database.Source {
	s := database.Source{URL: p.URL, Conns: p.Timing.Concurrency}
	if p.PasswordFile != "" {
		s.Password = access.Password(p.PasswordFile)
	}
	return s
}

// Address is the participant's URL without credentials.
func (p Participant) Address() string {
	if p.Database() != "" {
		return database.Address(p.URL)
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return "(a URL that cannot be read)"
	}
	u.User = nil
	return u.String()
}

// Auth reports whether callers have to say who they are.
func (c *Config) Auth() bool { return c.TokensFile != "" || c.TLS.ClientCA != "" }

// IDs returns the participants, sorted.
func (c *Config) IDs() []string { return slices.Sorted(maps.Keys(c.Participants)) }

// Place returns where something was set; see the field places.
func (c *Config) Place(name string) (Place, bool) {
	p, ok := c.places[name]
	return p, ok
}

// Level returns the level of the log.
func (c *Config) Level() slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(c.LogLevel)) // it was checked when it was set
	return l
}

func defaults() *Config {
	return &Config{
		Listen: "127.0.0.1:7420", Metrics: true,
		Timing: dtc.Timing{
			PrepareTimeout: 5 * time.Second, PrepareAttempt: time.Second, FinishAttempt: 10 * time.Second,
			Backoff: 50 * time.Millisecond, PrepareBackoffCap: time.Second, FinishBackoffCap: 30 * time.Second,
			Concurrency: 64,
		},
		CompletionWait: time.Second, TxLifetime: time.Minute, SweepInterval: time.Minute,
		MaxTransactions: 100_000, OutcomeLimit: 1_000_000, OutcomeRetention: time.Hour, KeepEnded: 10_000,
		DrainTimeout: 30 * time.Second, MaxConnections: 16_384, MaxRequests: 10_000,
		LogLevel: "info", LogFormat: "auto",
		Certificates: map[string][]dtchttp.Role{}, Participants: map[string]Participant{},
		places: map[string]Place{},
	}
}

// Sources are where a configuration comes from. It may be loaded again and again.
type Sources struct {
	File         string            // a path; empty: none
	Environ      []string          // as of [os.Environ]
	Flags        map[string]string // settings by name, as they stand on the command line
	Participants []string          // NAME=URL, of the command line

	loaded []byte
}

// Load reads the configuration. The error is a [Mistakes], or that of reading the file.
func (s *Sources) Load() (*Config, error) {
	var content []byte
	if s.File != "" {
		var err error
		if content, err = os.ReadFile(s.File); err != nil {
			return nil, err
		}
	}
	s.loaded = content
	return s.Use(content)
}

// Loaded returns what Load has read of the file: what the file says by now may be
// something else.
func (s *Sources) Loaded() []byte { return s.loaded }

// Use is Load with the content of the file.
func (s *Sources) Use(content []byte) (*Config, error) {
	c, err := s.Parse(content)
	if err != nil {
		return nil, err
	}
	return c, c.checkFiles()
}

// Parse is Use without a look at the files that the configuration names.
func (s *Sources) Parse(content []byte) (*Config, error) {
	l := &loading{c: defaults(), timings: map[string]map[string]string{}}
	if s.File != "" {
		l.file(s.File, content)
	}
	l.environment(s.Environ)
	l.flags(s.Flags, s.Participants)
	l.finish()
	if len(l.mistakes) > 0 {
		return nil, l.mistakes.sorted()
	}
	return l.c, nil
}

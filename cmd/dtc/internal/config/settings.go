package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one thing that a server can be told in three ways.
type Setting struct {
	Name  string // as it stands in the file
	Arg   string // what it takes, for the help; empty for a switch
	Usage string

	// Live: it can change while the server runs.
	Live bool

	kind  kind
	least int64    // of a number or a duration
	most  int64    // 0: as much as you like
	words []string // of a word
	field func(*Config) any
}

type kind int

const (
	text kind = iota
	path
	address
	word
	toggle
	number
	duration
)

// Settings are all of them, in the order in which they are explained.
var Settings = []*Setting{
	{Name: "data", Arg: "DIR", Usage: "directory of the decision log; it is made if it is not there", kind: path, field: func(c *Config) any { return &c.Data }},
	{Name: "listen", Arg: "HOST:PORT", Usage: "address of the API; port 0 takes any that is free", kind: address, field: func(c *Config) any { return &c.Listen }},
	{Name: "insecure", Usage: "listen on addresses that others can reach, although there is no TLS or no authentication", kind: toggle, field: func(c *Config) any { return &c.Insecure }},
	{Name: "tls_cert_file", Arg: "FILE", Usage: "certificate of the API in PEM, read again when it changes", kind: path, field: func(c *Config) any { return &c.TLS.Cert }},
	{Name: "tls_key_file", Arg: "FILE", Usage: "key of that certificate", kind: path, field: func(c *Config) any { return &c.TLS.Key }},
	{Name: "tls_client_ca_file", Arg: "FILE", Usage: "authorities whose client certificates count; what their bearers may do stands in the file, below certificates", kind: path, field: func(c *Config) any { return &c.TLS.ClientCA }},
	{Name: "tokens_file", Arg: "FILE", Usage: "bearer tokens and what they allow, as 'dtc config token' prints them", kind: path, field: func(c *Config) any { return &c.TokensFile }},
	{Name: "metrics", Usage: "serve /metrics", kind: toggle, field: func(c *Config) any { return &c.Metrics }},

	span("prepare_timeout", "how long the participants of a transaction may take to vote", time.Millisecond, day, func(c *Config) any { return &c.Timing.PrepareTimeout }).live(),
	span("prepare_attempt", "how long one call of prepare may take", time.Millisecond, day, func(c *Config) any { return &c.Timing.PrepareAttempt }).live(),
	span("finish_attempt", "how long one call of commit or rollback may take", time.Millisecond, day, func(c *Config) any { return &c.Timing.FinishAttempt }).live(),
	span("backoff", "the first wait between two attempts", time.Millisecond, day, func(c *Config) any { return &c.Timing.Backoff }).live(),
	span("prepare_backoff_cap", "the longest wait between two calls of prepare", time.Millisecond, day, func(c *Config) any { return &c.Timing.PrepareBackoffCap }).live(),
	span("finish_backoff_cap", "the longest wait between two calls of commit or rollback", time.Millisecond, day, func(c *Config) any { return &c.Timing.FinishBackoffCap }).live(),
	count("concurrency", "how many calls may be out at one participant at a time", 2, 100_000, func(c *Config) any { return &c.Timing.Concurrency }).live(),

	span("completion_wait", "how long an answer waits for the participants to finish after the outcome is known", 0, day, func(c *Config) any { return &c.CompletionWait }),
	span("tx_lifetime", "how long a transaction that is grown by steps may take, unless its begin says otherwise", time.Millisecond, time.Hour, func(c *Config) any { return &c.TxLifetime }),
	span("sweep_interval", "how often participants are asked for what they hold in doubt", time.Second, day, func(c *Config) any { return &c.SweepInterval }),
	count("max_transactions", "how many transactions may be unfinished", 2, 100_000_000, func(c *Config) any { return &c.MaxTransactions }),
	count("outcome_limit", "how many finished transactions are remembered", 1, 1_000_000_000, func(c *Config) any { return &c.OutcomeLimit }),
	span("outcome_retention", "for how long they are remembered", time.Second, 10*365*day, func(c *Config) any { return &c.OutcomeRetention }),
	count("keep_ended", "how many of them are kept with their branches", 0, 100_000_000, func(c *Config) any { return &c.KeepEnded }),
	span("drain_timeout", "how long running transactions may take when the server is stopped", 0, day, func(c *Config) any { return &c.DrainTimeout }),
	count("max_connections", "how many connections the API may have", 1, 10_000_000, func(c *Config) any { return &c.MaxConnections }),
	count("max_requests", "how many requests may run or wait for transactions", 1, 10_000_000, func(c *Config) any { return &c.MaxRequests }),
	{Name: "log_level", Arg: "LEVEL", Usage: "debug, info, warn or error", kind: word, words: []string{"debug", "info", "warn", "error"}, field: func(c *Config) any { return &c.LogLevel }},
	{Name: "log_format", Arg: "FORMAT", Usage: "text, json, or auto: text on a terminal", kind: word, words: []string{"auto", "text", "json"}, field: func(c *Config) any { return &c.LogFormat }},
}

const day = 24 * time.Hour

func span(name, usage string, least, most time.Duration, field func(*Config) any) *Setting {
	return &Setting{Name: name, Arg: "DURATION", Usage: usage, kind: duration, least: int64(least), most: int64(most), field: field}
}

func count(name, usage string, least, most int64, field func(*Config) any) *Setting {
	return &Setting{Name: name, Arg: "N", Usage: usage, kind: number, least: least, most: most, field: field}
}

func (s *Setting) live() *Setting {
	s.Live = true
	return s
}

// Flag returns the name on the command line, without the dashes in front.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Variable returns the name in the environment.
func (s *Setting) Variable() string { return "DTC_" + strings.ToUpper(s.Name) }

// Switch reports whether the setting is on or off.
func (s *Setting) Switch() bool { return s.kind == toggle }

// Default returns what holds if nothing is set.
func (s *Setting) Default() string { return s.Text(defaults()) }

// Text returns the setting of a configuration as it would be written.
func (s *Setting) Text(c *Config) string {
	switch v := s.field(c).(type) {
	case *string:
		return *v
	case *bool:
		return strconv.FormatBool(*v)
	case *int:
		return strconv.Itoa(*v)
	case *time.Duration:
		return short(*v)
	}
	panic("config: a setting of an unknown type")
}

// Check returns what is wrong with a value.
func (s *Setting) Check(value string) error { return s.set(defaults(), value) }

func (s *Setting) set(c *Config, value string) error {
	switch v := s.field(c).(type) {
	case *string:
		if err := s.checkText(value); err != nil {
			return err
		}
		*v = value
	case *bool:
		on, ok := map[string]bool{"true": true, "false": false, "1": true, "0": false}[value]
		if !ok {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*v = on
	case *int:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", value)
		}
		if n < s.least || n > s.most {
			return fmt.Errorf("%d is out of range: it must be between %d and %d", n, s.least, s.most)
		}
		*v = int(n)
	case *time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is no duration: write a number with its unit, as in 5s or 250ms", value)
		}
		if int64(d) < s.least || int64(d) > s.most {
			return fmt.Errorf("%s is out of range: it must be between %s and %s", value, short(time.Duration(s.least)), short(time.Duration(s.most)))
		}
		*v = d
	}
	return nil
}

func (s *Setting) checkText(value string) error {
	switch {
	case strings.ContainsRune(value, 0):
		return errors.New("there is a zero byte in it")
	case value == "" && s.kind != path:
		return errors.New("it is empty")
	case s.kind == word && !slices.Contains(s.words, value):
		return fmt.Errorf("%q is none of %s", value, strings.Join(s.words, ", "))
	case s.kind == address:
		_, port, err := net.SplitHostPort(value)
		if n, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("%q is no address: write HOST:PORT, as in 127.0.0.1:7420", value)
		}
	}
	return nil
}

// short is a duration without the units that are zero.
func short(d time.Duration) string {
	t := d.String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return t
}

func find(name string) *Setting {
	for _, s := range Settings {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// below returns a path of the file, which starts at the file's directory.
func below(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

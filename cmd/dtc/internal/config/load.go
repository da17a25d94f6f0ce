package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/dtc-project/dtc/cmd/dtc/internal/database"
	"github.com/dtc-project/dtc/dtchttp"
)

// loading is one reading of all sources.
type loading struct {
	c        *Config
	timings  map[string]map[string]string // of participants, as they were written
	mistakes Mistakes
}

func (l *loading) mistake(place Place, format string, args ...any) {
	l.mistakes = append(l.mistakes, Mistake{place, fmt.Errorf(format, args...).Error()})
}

// put sets a setting.
func (l *loading) put(s *Setting, value string, place Place) {
	if err := s.set(l.c, value); err != nil {
		where := s.Name + ": "
		if place.Line == 0 {
			where = "" // the place is the name
		}
		l.mistake(place, "%s%w", where, err)
		return
	}
	l.c.places[s.Name] = place
}

func (l *loading) environment(environ []string) {
	env := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	for _, s := range Settings {
		if value := env[s.Variable()]; value != "" {
			l.put(s, value, Place{File: s.Variable()})
		}
	}
	l.named("DTC_PARTICIPANT", strings.Fields(env["DTC_PARTICIPANT"]))
}

func (l *loading) flags(flags map[string]string, participants []string) {
	for _, s := range Settings {
		if value, ok := flags[s.Name]; ok {
			l.put(s, value, Place{File: "--" + s.Flag()})
		}
	}
	l.named("--participant", participants)
}

// named takes participants that are written NAME=URL.
func (l *loading) named(from string, all []string) {
	seen := map[string]bool{}
	for _, one := range all {
		id, url, ok := strings.Cut(one, "=")
		place := Place{File: from}
		switch {
		case !ok || id == "" || url == "" || strings.Contains(id, "://"):
			l.mistake(place, "write NAME=URL, as in inventory=http://127.0.0.1:8081") // it may be a URL with a password
			continue
		case seen[id]:
			l.mistake(place, "participant %q stands twice", id)
			continue
		}
		seen[id] = true
		maps.DeleteFunc(l.c.places, func(name string, _ Place) bool { return strings.HasPrefix(name, "participants."+id+".") })
		l.c.places["participants."+id] = place
		l.c.Participants[id] = Participant{URL: url}
		delete(l.timings, id)
	}
}

// finish fills in what depends on more than one setting, and checks it.
func (l *loading) finish() {
	c := l.c
	for _, id := range c.IDs() {
		p := c.Participants[id]
		filled := &Config{Timing: c.Timing}
		for key, value := range l.timings[id] {
			if err := find(key).set(filled, value); err != nil {
				l.mistake(l.at("participants."+id+"."+key), "participant %s: %s: %w", id, key, err)
			}
		}
		p.Timing = filled.Timing
		c.Participants[id] = p
		l.checkParticipant(id, p)
	}
	files := c.TLS
	switch {
	case files.Cert != "" && files.Key == "":
		l.mistake(l.at("tls_cert_file"), "tls_cert_file needs tls_key_file: a certificate is nothing without its key")
	case files.Key != "" && files.Cert == "":
		l.mistake(l.at("tls_key_file"), "tls_key_file needs tls_cert_file")
	case files.ClientCA != "" && files.Cert == "":
		l.mistake(l.at("tls_client_ca_file"), "tls_client_ca_file needs tls_cert_file and tls_key_file: client certificates are shown over TLS only")
	case files.ClientCA != "" && len(c.Certificates) == 0 && c.TokensFile == "":
		l.mistake(l.at("tls_client_ca_file"), "no client certificate has a role, so nobody could call: name them in the file, below certificates, or give tokens_file")
	case files.ClientCA == "" && len(c.Certificates) > 0:
		l.mistake(l.at("certificates"), "certificates need tls_client_ca_file: without it no client certificate is asked for")
	}
	l.checkListen()
}

// checkListen refuses an address that others can reach if everybody who reaches it
// could do everything, or read it.
func (l *loading) checkListen() {
	c := l.c
	if c.Insecure || c.TLS.Cert != "" && c.Auth() {
		return
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || Loopback(host) {
		return // what is no address has been told
	}
	var missing []string
	if c.TLS.Cert == "" {
		missing = append(missing, "TLS (tls_cert_file, tls_key_file)")
	}
	if !c.Auth() {
		missing = append(missing, "authentication (tokens_file, or tls_client_ca_file with certificates)")
	}
	l.mistake(l.at("listen"), "listen %s can be reached from other machines, and there is no %s: set that, or listen on 127.0.0.1, or take --insecure if the network is trusted", c.Listen, strings.Join(missing, " and no "))
}

// Loopback reports whether the host of an address is this machine for certain.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (l *loading) checkParticipant(id string, p Participant) {
	at := func(keys ...string) Place {
		for _, key := range keys {
			if place, ok := l.c.places["participants."+id+"."+key]; ok {
				return place
			}
		}
		return l.at("participants." + id)
	}
	if p.URL == "" {
		if _, tried := l.c.places["participants."+id+".url"]; !tried {
			l.mistake(at(), "participant %s has no url", id)
		}
		return
	}
	if p.Database() != "" {
		if p.BearerTokenFile+p.CAFile+p.CertFile+p.KeyFile+p.ServerName != "" {
			l.mistake(at("bearer_token_file", "ca_file", "cert_file", "key_file", "server_name"),
				"participant %s is a database: it takes password_file, and what concerns TLS stands in its url (%s)", id, database.TLSParameters(p.URL))
		}
		if err := database.Check(p.URL); err != nil {
			l.mistake(at("url"), "participant %s: %w", id, err)
		}
		return
	}
	if p.PasswordFile != "" {
		l.mistake(at("password_file"), "participant %s: password_file is for databases; what a service wants to see is a bearer_token_file", id)
	}
	opts := &dtchttp.ParticipantOptions{}
	if p.BearerTokenFile != "" {
		opts.Bearer = func() (string, error) { return "", nil }
	}
	switch made, err := dtchttp.NewParticipant(id, p.URL, opts); {
	case err != nil:
		text := strings.TrimPrefix(err.Error(), "dtc: bad request: ")
		if strings.Contains(text, "must begin with") {
			text += "; that of a database with postgres:// or mysql://"
		}
		l.mistake(at("url"), "%s", text)
		return
	default:
		_ = made.Close()
	}
	secure := strings.HasPrefix(strings.ToLower(p.URL), "https:")
	tls := p.CAFile + p.CertFile + p.KeyFile + p.ServerName
	switch {
	case !secure && tls != "":
		l.mistake(at("ca_file", "cert_file", "key_file", "server_name"), "participant %s has settings for TLS, and its url does not begin with https://", id)
	case (p.CertFile == "") != (p.KeyFile == ""):
		l.mistake(at("cert_file", "key_file"), "participant %s needs both, cert_file and key_file, or neither", id)
	}
}

func (l *loading) at(name string) Place {
	if p, ok := l.c.places[name]; ok {
		return p
	}
	return Place{}
}

// Restart returns the settings that differ from those of another configuration and
// do not change while the server runs.
func (c *Config) Restart(other *Config) (names []string) {
	for _, s := range Settings {
		if !s.Live && s.Text(c) != s.Text(other) {
			names = append(names, s.Name)
		}
	}
	if !maps.EqualFunc(c.Certificates, other.Certificates, slices.Equal) {
		names = append(names, "certificates")
	}
	return names
}

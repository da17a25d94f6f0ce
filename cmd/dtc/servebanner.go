package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

// greeting is what a server says of itself when it is ready.
type greeting struct {
	Version      string             `json:"version"`
	URL          string             `json:"url"`
	Data         string             `json:"data"`
	Log          string             `json:"log"`
	Durability   string             `json:"durability"`
	TLS          bool               `json:"tls"`
	Auth         []string           `json:"auth"` // tokens, client certificates; empty: none
	Loopback     bool               `json:"loopback"`
	Metrics      string             `json:"metrics,omitempty"`
	Config       string             `json:"config,omitempty"`
	Unfinished   int                `json:"unfinished"`     // of earlier runs
	Hold         string             `json:"hold,omitempty"` // why a recovery hold is in force
	Participants []greetParticipant `json:"participants"`
	PID          int                `json:"pid"`
}

type greetParticipant struct {
	ID   string `json:"id"`
	URL  string `json:"url"`
	Kind string `json:"kind"` // listing, or plain: as far as is known
}

func (s *server) greet() *greeting {
	g := &greeting{
		Version: readVersion().Version, URL: "http://" + s.listener.Addr().String(),
		Data: s.cfg.Data, Log: s.c.ID().String(), Durability: "every outcome is on disk (fdatasync) before it is told",
		TLS: s.tls != nil, Auth: []string{}, Loopback: s.local(), Config: s.sources.File,
		Unfinished: s.c.Stats().Unfinished, Participants: []greetParticipant{}, PID: os.Getpid(),
	}
	if g.TLS {
		g.URL = "https://" + s.listener.Addr().String()
	}
	if s.cfg.Metrics {
		g.Metrics = g.URL + "/metrics"
	}
	if s.cfg.TokensFile != "" {
		g.Auth = append(g.Auth, "tokens")
	}
	if s.cfg.TLS.ClientCA != "" {
		g.Auth = append(g.Auth, "client certificates")
	}
	if h, held := s.c.Held(); held {
		g.Hold = h.Reason
	}
	for _, p := range s.c.Participants() {
		if !p.Registered {
			g.Participants = append(g.Participants, greetParticipant{p.ID, "", "not in the configuration, and has unfinished branches"})
			continue
		}
		kind := "plain"
		if p.Listing {
			kind = "listing"
		}
		_, url := s.fleet.Describe(p.ID)
		g.Participants = append(g.Participants, greetParticipant{p.ID, url, kind})
	}
	return g
}

// banner says that the server is ready. The first line is for scripts too: it has the
// address.
func (s *server) banner() error {
	g := s.greet()
	s.log.Info("serving", "url", g.URL, "log", g.Log, "unfinished", g.Unfinished, "took", time.Since(s.began).String())
	if s.json {
		return json.NewEncoder(s.out).Encode(g)
	}
	_, err := s.out.Write([]byte(g.text(s.cfg)))
	return err
}

func (g *greeting) text(cfg *config.Config) string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s %s\n", key, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "dtc serves %s, log %s in %s\n", g.URL, g.Log, g.Data)
	line("version", "%s", g.Version)
	line("durability", "%s", g.Durability)
	line("access", "%s", g.access())
	if g.Metrics != "" {
		line("metrics", "%s", g.Metrics)
	}
	if g.Unfinished > 0 {
		line("unfinished", "%d transactions of earlier runs, being finished", g.Unfinished)
	}
	if g.Hold != "" {
		line("hold", "nothing of earlier runs is presumed: %s", g.Hold)
		line("", "compare the participants with the log, stop, then 'dtc log release'")
	}
	key := "participants"
	for _, p := range g.Participants {
		line(key, "%s  %s  %s", p.ID, p.URL, p.Kind)
		key = ""
	}
	if len(g.Participants) == 0 {
		line(key, "none yet: give --participant NAME=URL, or name them in the file of --config")
	}
	fmt.Fprintf(&b, "try\n  %s\n", g.try(cfg))
	return b.String()
}

func (g *greeting) access() string {
	reach := "anybody who can reach the address"
	if g.Loopback {
		reach = "everybody on this machine (loopback only)"
	}
	how := "no authentication"
	if len(g.Auth) > 0 {
		reach, how = "who is known", strings.Join(g.Auth, ", ")
	}
	wire := "no TLS"
	if g.TLS {
		wire = "TLS"
	}
	return fmt.Sprintf("%s; %s; %s", reach, how, wire)
}

// try is a command that does something with the server as it is.
func (g *greeting) try(cfg *config.Config) string {
	curl := "curl -s"
	if g.TLS {
		curl += " --cacert CA.pem"
	}
	if cfg.TokensFile != "" {
		curl += ` -H "Authorization: Bearer $TOKEN"`
	} else if cfg.TLS.ClientCA != "" {
		curl += " --cert CLIENT.pem --key CLIENT.key"
	}
	if len(g.Participants) == 0 || g.Participants[0].URL == "" {
		return curl + " " + g.URL + "/v1/participants"
	}
	branch := fmt.Sprintf(`{"participant":"%s"}`, g.Participants[0].ID)
	if cfg.Participants[g.Participants[0].ID].Database() != "" {
		branch = fmt.Sprintf(`{"participant":"%s","payload":{"statements":[{"sql":"SELECT 1"}]}}`, g.Participants[0].ID)
	}
	return fmt.Sprintf(`%s %s/v1/transactions -H 'Content-Type: application/json' -d '{"branches":[%s]}'`, curl, g.URL, branch)
}

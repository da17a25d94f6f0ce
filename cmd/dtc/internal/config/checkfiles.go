package config

import (
	"log/slog"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
)

// checkFiles reads what the configuration names, as the server will, so that all
// mistakes are told at once and before anything is begun.
func (c *Config) checkFiles() error {
	var found Mistakes
	wrong := func(name string, err error) {
		if err != nil {
			found = append(found, Mistake{c.places[name], err.Error()})
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	if c.TokensFile != "" {
		_, err := access.OpenTokens(c.TokensFile, quiet)
		wrong("tokens_file", err)
	}
	if c.TLS.Cert != "" {
		_, _, err := c.TLS.ServerConfig(quiet)
		wrong("tls_cert_file", err)
	}
	for _, id := range c.IDs() {
		p, name := c.Participants[id], "participants."+id
		if p.BearerTokenFile != "" {
			_, err := access.Bearer(p.BearerTokenFile)()
			wrong(name+".bearer_token_file", err)
		}
		if p.PasswordFile != "" {
			_, err := access.Password(p.PasswordFile)()
			wrong(name+".password_file", err)
		}
		if p.CAFile != "" {
			_, err := access.ClientConfig(p.CAFile, "", "", "")
			wrong(name+".ca_file", err)
		}
		if p.CertFile != "" {
			_, err := access.ClientConfig("", p.CertFile, p.KeyFile, "")
			wrong(name+".cert_file", err)
		}
	}
	if found != nil {
		return found.sorted()
	}
	return nil
}

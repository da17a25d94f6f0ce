package config

import (
	"log/slog"
	"os"

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
	if c.TLS.Cert != "" && !unreadable(wrong, map[string]string{
		"tls_cert_file": c.TLS.Cert, "tls_key_file": c.TLS.Key, "tls_client_ca_file": c.TLS.ClientCA,
	}) {
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
		if p.CertFile != "" && !unreadable(wrong, map[string]string{name + ".cert_file": p.CertFile, name + ".key_file": p.KeyFile}) {
			_, err := access.ClientConfig("", p.CertFile, p.KeyFile, "")
			wrong(name+".cert_file", err)
		}
	}
	if found != nil {
		return found.sorted()
	}
	return nil
}

// unreadable tells each of the files that cannot be opened, by the setting that names it, and
// whether there was one: of files that belong together the first would hide the others.
func unreadable(wrong func(name string, err error), files map[string]string) (some bool) {
	for name, path := range files {
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err == nil {
			err = f.Close()
		}
		wrong(name, err)
		some = some || err != nil
	}
	return some
}

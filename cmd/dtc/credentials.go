package main

import (
	"crypto/tls"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
)

// credentials say who calls, and whom the caller believes.
type credentials struct{ token, ca, cert, key string }

func (c *credentials) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.token, "token-file", "", "send the bearer token in this `FILE`")
	f.StringVar(&c.ca, "ca-file", "", "believe servers whose certificates are signed by those in this PEM `FILE`, in place of the system's")
	f.StringVar(&c.cert, "cert-file", "", "the client certificate: PEM `FILE`")
	f.StringVar(&c.key, "key-file", "", "its private key: PEM `FILE`")
}

// bearer returns what returns the token, or nil.
func (c *credentials) bearer() (func() (string, error), error) {
	if c.token == "" {
		return nil, nil
	}
	bearer := access.Bearer(c.token)
	if _, err := bearer(); err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	return bearer, nil
}

// tls returns the configuration of outgoing calls.
func (c *credentials) tls() (*tls.Config, error) {
	if (c.cert == "") != (c.key == "") {
		return nil, usagef("--cert-file and --key-file go together")
	}
	config, err := access.ClientConfig(c.ca, c.cert, c.key, "")
	if err != nil {
		return nil, fmt.Errorf("--ca-file, --cert-file, --key-file: %w", err)
	}
	return config, nil
}

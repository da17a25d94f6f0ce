package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// credentialFiles says who calls, and whom the caller believes.
type credentialFiles struct{ token, ca, cert, key string }

func (c *credentialFiles) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.token, "token-file", "", "send the bearer token in this `FILE`")
	f.StringVar(&c.ca, "ca-file", "", "believe servers whose certificates are signed by those in this PEM `FILE`")
	f.StringVar(&c.cert, "cert-file", "", "the client certificate: PEM `FILE`")
	f.StringVar(&c.key, "key-file", "", "its private key: PEM `FILE`")
}

// load returns what authorizes a call, or nil, and what makes it.
func (c *credentialFiles) load() (authorize func() (string, error), transport *http.Transport, err error) {
	transport = http.DefaultTransport.(*http.Transport).Clone()
	// The participant, and nobody between.
	transport.Proxy, transport.MaxIdleConnsPerHost, transport.DisableCompression = nil, 64, true
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, nil, fmt.Errorf("--ca-file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("--ca-file: there is no certificate in %s", c.ca)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if (c.cert == "") != (c.key == "") {
		return nil, nil, usagef("--cert-file and --key-file go together")
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	if c.token != "" {
		text, err := os.ReadFile(c.token)
		if err != nil {
			return nil, nil, fmt.Errorf("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" || strings.ContainsAny(token, " \t\r\n") {
			return nil, nil, fmt.Errorf("--token-file: %s must hold one token and nothing else", c.token)
		}
		authorize = func() (string, error) { return "Bearer " + token, nil }
	}
	return authorize, transport, nil
}

// shellStart runs a command that may leave something running. Its output goes to a
// file: a pipe would be held open by what it started.
func shellStart(ctx context.Context, command string) error {
	out, err := os.CreateTemp("", "dtc-restart-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	defer out.Close()
	cmd := shell(ctx, command)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(text))
	}
	return nil
}

func shellOutput(ctx context.Context, command string) (string, error) {
	out, err := shell(ctx, command).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

func shell(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.WaitDelay = time.Second
	return cmd
}

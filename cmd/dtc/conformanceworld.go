package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// conformanceCalls returns what authorizes a call, or nil, and what makes it.
func conformanceCalls(c *credentials) (authorize func() (string, error), transport *http.Transport, err error) {
	transport = http.DefaultTransport.(*http.Transport).Clone()
	// The participant, and nobody between.
	transport.Proxy, transport.MaxIdleConnsPerHost, transport.DisableCompression = nil, 64, true
	if transport.TLSClientConfig, err = c.tls(); err != nil {
		return nil, nil, err
	}
	bearer, err := c.bearer()
	if err != nil || bearer == nil {
		return nil, transport, err
	}
	return func() (string, error) {
		token, err := bearer()
		return "Bearer " + token, err
	}, transport, nil
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

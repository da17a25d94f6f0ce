package access

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// ClientConfig returns a configuration for outgoing calls. Without a caFile the
// authorities of the system are trusted; with a certFile and a keyFile the client
// shows that certificate, and follows the files when they change. The caFile is
// read once. An empty serverName is that of the address called.
func ClientConfig(caFile, certFile, keyFile, serverName string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if caFile != "" {
		content, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		if c.RootCAs, err = authorities(caFile, content); err != nil {
			return nil, err
		}
	}
	switch {
	case (certFile == "") != (keyFile == ""):
		return nil, errors.New("a client certificate takes both, the certificate and its key")
	case certFile == "":
		return c, nil
	}
	r := &reloader[tls.Certificate]{what: "client certificate", paths: []string{certFile, keyFile}, log: slog.Default()}
	r.parse = func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := keyPair(certFile, keyFile, contents[0], contents[1])
		return &pair, err
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.get(), nil }
	return c, nil
}

// Bearer returns a function that returns the token in a file: one word, with or
// without a newline. It follows the file, and what was read before stays when the
// file goes bad. The error is that of a file from which no token was ever read.
func Bearer(path string) func() (string, error) {
	r := &reloader[string]{what: "token file", paths: []string{path}, log: slog.Default()}
	r.parse = func(contents [][]byte) (*string, error) {
		words := strings.Fields(string(contents[0]))
		if len(words) != 1 {
			return nil, fmt.Errorf("%s must hold a token and nothing else; it holds %d words", path, len(words))
		}
		return &words[0], nil
	}
	return secret(r)
}

// Password returns a function that returns the password in a file: all that it holds but
// the end of its line. It follows the file as [Bearer] does.
func Password(path string) func() (string, error) {
	r := &reloader[string]{what: "password file", paths: []string{path}, log: slog.Default()}
	r.parse = func(contents [][]byte) (*string, error) {
		text := strings.TrimSuffix(strings.TrimSuffix(string(contents[0]), "\n"), "\r")
		if text == "" || strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf("%s must hold a password in one line and nothing else", path)
		}
		return &text, nil
	}
	return secret(r)
}

// secret returns a function that reads when it is first called, and follows the file
// from then on.
func secret(r *reloader[string]) func() (string, error) {
	return func() (string, error) {
		if r.current.Load() == nil {
			if err := r.open(); err != nil {
				return "", err
			}
		}
		return *r.get(), nil
	}
}

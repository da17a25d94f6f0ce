package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Files are the certificate of a listener.
type Files struct {
	Cert, Key string // PEM; the certificate with those between it and its authority
	// ClientCA holds the authorities whose client certificates are verified; without
	// it none is asked for. A caller without a certificate still gets a connection,
	// and [Rules] decides: some have tokens, and a probe has neither.
	ClientCA string
}

// Watch is the certificate of a listener as it is now.
type Watch struct{ r *reloader[identity] }

// identity is what was read from Files.
type identity struct {
	config *tls.Config
	leaf   *x509.Certificate
}

// ServerConfig reads the files and returns a configuration for a listener, which
// follows them: a handshake looks whether they have changed. Connections that stand
// stay as they are, also those of a client whose authority was taken away.
func (f Files) ServerConfig(log *slog.Logger) (*tls.Config, *Watch, error) {
	w := &Watch{&reloader[identity]{what: "certificate", paths: []string{f.Cert, f.Key, f.ClientCA}, parse: f.parse, log: log}}
	w.r.renewed = func(id *identity) {
		log.Info("the certificate was read again", "path", f.Cert, "not_after", id.leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if f.Cert == "" || f.Key == "" {
		return nil, nil, errors.New("a listener with TLS needs a certificate and its key")
	}
	if err := w.r.open(); err != nil {
		return nil, nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		// Both, for whoever looks at one only: net/http wants to see a certificate.
		GetCertificate:     func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &w.r.get().config.Certificates[0], nil },
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.r.get().config, nil },
	}, w, nil
}

var protocols = []string{"h2", "http/1.1"}

// NotAfter returns when the certificate expires.
func (w *Watch) NotAfter() time.Time { return w.r.get().leaf.NotAfter }

// Reload reads the files now. With an error the certificate stays as it is.
func (w *Watch) Reload() error { return w.r.reload() }

func (f Files) parse(contents [][]byte) (*identity, error) {
	pair, err := keyPair(f.Cert, f.Key, contents[0], contents[1])
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Certificates: []tls.Certificate{pair}}
	if f.ClientCA != "" {
		if c.ClientCAs, err = authorities(f.ClientCA, contents[2]); err != nil {
			return nil, err
		}
		// A resumed session does not outlive its authority: crypto/tls sees to that.
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return &identity{c, pair.Leaf}, nil
}

func keyPair(certFile, keyFile string, cert, key []byte) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("the certificate %s with the key %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

func authorities(path string, content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate of an authority in PEM", path)
	}
	return pool, nil
}

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.make(name, 24*time.Hour)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	return a
}

func (a *authority) make(name string, life time.Duration) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, parent, signer = true, true, x509.KeyUsageCertSign, c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// pair returns a certificate and its key in PEM.
func (a *authority) pair(name string, life time.Duration) (cert, key string) {
	a.t.Helper()
	c, k := a.make(name, life)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (a *authority) tls(name string) tls.Certificate {
	a.t.Helper()
	cert, key := a.pair(name, time.Hour)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// TestServeTLS: from one end to the other. The API is reached over TLS by callers with
// tokens or certificates, participants are called with a certificate or a token of the
// coordinator's, and everything is renewed while it runs.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	servers, callers, ours, next := newAuthority(t, "servers"), newAuthority(t, "callers"), newAuthority(t, "ours"), newAuthority(t, "next")

	// a wants a client certificate of the coordinator's, b a token.
	a := newServiceOff(t, "a", true)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{servers.tls("a.internal")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool()}
	a.StartTLS()
	b := newServiceOff(t, "b", false)
	b.TLS = &tls.Config{Certificates: []tls.Certificate{servers.tls("b.internal")}}
	inner := b.Config.Handler
	var accepted safeBuffer // the tokens that it takes, one after the other
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); token == "" || !strings.Contains(accepted.String(), token) {
			http.Error(w, "who are you?", http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	})
	b.StartTLS()
	put(t, at("ca.pem"), servers.pem)
	put(t, at("callers.pem"), callers.pem)
	put(t, at("b.token"), "token-one\n")
	_, _ = accepted.Write([]byte("token-one "))
	cert, key := ours.pair("dtc", time.Hour)
	put(t, at("out.pem"), cert)
	put(t, at("out.key"), key)
	cert, key = servers.pair("dtc.internal", time.Hour)
	put(t, at("dtc.pem"), cert)
	put(t, at("dtc.key"), key)
	appToken, appHash := access.NewToken()
	watchToken, watchHash := access.NewToken()
	put(t, at("tokens"), "shop app "+appHash+"\nwatch observer "+watchHash+"\n")
	put(t, at("dtc.yaml"), `
data: data
listen: 127.0.0.1:0
tls_cert_file: dtc.pem
tls_key_file: dtc.key
tls_client_ca_file: callers.pem
tokens_file: tokens
certificates:
  ops: [operator]
participants:
  a: {url: '`+a.URL+`', ca_file: ca.pem, cert_file: out.pem, key_file: out.key, server_name: a.internal}
  b: {url: '`+b.URL+`', ca_file: ca.pem, bearer_token_file: b.token}
`)
	r := launch(t, nil, "--config", at("dtc.yaml"))
	until(t, "the banner is there", func() bool { return strings.Contains(r.out.String(), "curl") })
	for _, want := range []string{"dtc serves https://", "who is known; tokens, client certificates; TLS", "--cacert", `"Authorization: Bearer $TOKEN"`, "a  " + a.URL + "  listing"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	url, _, _ := strings.Cut(strings.TrimPrefix(r.out.String(), "dtc serves "), ",")
	r.greeting = &greeting{URL: url}
	bare := over(&tls.Config{RootCAs: servers.pool()})
	as := func(client *http.Client, token string) *running {
		r.client, r.token = client, token
		return r
	}
	as(bare, "").want(401, "GET", "/v1/participants", "")
	as(bare, "").want(200, "GET", "/readyz", "")
	as(bare, appToken).want(403, "GET", "/metrics", "")
	if text := as(bare, watchToken).want(200, "GET", "/metrics", ""); !strings.Contains(text, "dtc_tls_cert_expiry_seconds") {
		t.Error("the metrics do not say when the certificate expires")
	}
	tx := r.transaction(as(bare, appToken).want(200, "POST", "/v1/transactions", branchesOf("t", "a", "b")))
	if tx.Outcome == nil || *tx.Outcome != "committed" || a.did("committed") != "t" || b.did("committed") != "t" {
		t.Fatalf("%+v", tx)
	}
	ops := over(&tls.Config{RootCAs: servers.pool(), Certificates: []tls.Certificate{callers.tls("ops")}})
	as(ops, "").want(200, "GET", "/v1/transactions", "")
	stranger := over(&tls.Config{RootCAs: servers.pool(), Certificates: []tls.Certificate{callers.tls("stranger")}})
	as(stranger, "").want(401, "GET", "/v1/transactions", "")
	if _, _, err := as(over(&tls.Config{}), "").do("GET", "/livez", ""); err == nil {
		t.Error("a client that trusts nobody trusts it")
	}
	if _, _, err := as(over(&tls.Config{RootCAs: servers.pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}), "").do("GET", "/livez", ""); err == nil {
		t.Error("TLS 1.1 is spoken")
	}

	// Renew everything: the server's certificate (from another authority), the tokens,
	// the coordinator's certificate and token for its participants.
	cert, key = next.pair("dtc.internal", time.Hour)
	put(t, at("dtc.key"), key)
	put(t, at("dtc.pem"), cert)
	newToken, newHash := access.NewToken()
	put(t, at("tokens"), "shop app "+newHash+"\n")
	put(t, at("b.token"), "token-two")
	_, _ = accepted.Write([]byte("token-two "))
	cert, key = ours.pair("dtc-renewed", time.Hour)
	put(t, at("out.key"), key)
	put(t, at("out.pem"), cert)
	r.signal(syscall.SIGHUP)
	renewed := over(&tls.Config{RootCAs: next.pool()})
	until(t, "the new certificate and the new token are good", func() bool {
		status, _, err := as(renewed, newToken).do("GET", "/v1/transactions/t", "")
		return err == nil && status == 200
	})
	if _, _, err := as(bare, newToken).do("GET", "/livez", ""); err == nil {
		t.Error("the old certificate is still shown")
	}
	until(t, "the old tokens are good no more", func() bool {
		status, _, err := as(renewed, appToken).do("GET", "/v1/transactions/t", "")
		return err == nil && status == 401
	})
	until(t, "the participant sees the new token", func() bool {
		as(renewed, newToken).want(200, "POST", "/v1/transactions", branchesOf(time.Now().Format("t150405.000000"), "a", "b"))
		seen := b.requests()
		return seen[len(seen)-1].Header.Get("Authorization") == "Bearer token-two"
	})
	until(t, "the participant sees the new certificate", func() bool {
		a.CloseClientConnections()
		as(renewed, newToken).want(200, "POST", "/v1/transactions", branchesOf(time.Now().Format("t150405.000000"), "a", "b"))
		seen := a.requests()
		return seen[len(seen)-1].TLS.PeerCertificates[0].Subject.CommonName == "dtc-renewed"
	})
	r.stop()
	for _, secret := range []string{appToken, watchToken, newToken, "token-one", "token-two", "PRIVATE"} {
		if strings.Contains(r.log.String()+r.out.String(), secret) {
			t.Errorf("it shows %.9s…", secret)
		}
	}
}

package access

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/dtchttp"
)

// serve serves over TLS who is calling, and returns the address.
func serve(t *testing.T, config *tls.Config, rules Rules) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &http.Server{TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := rules.Authenticate(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		how := map[bool]string{true: ", resumed"}[r.TLS.DidResume]
		_, _ = io.WriteString(w, caller.Name+" over "+r.Proto+how)
	})}
	served := make(chan bool)
	go func() { defer close(served); _ = s.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = s.Close(); <-served })
	return "https://" + listener.Addr().String()
}

// ask calls with a connection of its own, and returns the answer's text.
func ask(t *testing.T, url string, config *tls.Config, token string) (string, error) {
	t.Helper()
	_, body, err := do(t, url, config, token)
	return body, err
}

// do is ask with the status of the answer.
func do(t *testing.T, url string, config *tls.Config, token string) (status int, text string, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	must(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

// TestMutualTLS goes through the net: certificates, tokens, and their renewal.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ca, clients, others := newAuthority(t, "ca"), newAuthority(t, "clients"), newAuthority(t, "others")
	f := Files{ClientCA: clients.file(dir, "clients.crt")}
	f.Cert, f.Key = ca.pair(dir, "server", names{dns: []string{"dtc.internal"}})
	var log lines
	config, watch, err := f.ServerConfig(log.log())
	must(t, err)
	token, l := line("ops", "operator")
	tokens, _ := open(t, &log, l)
	url := serve(t, config, Rules{Tokens: tokens, Certificates: map[string][]dtchttp.Role{"shop": {"app"}, "renewed": {"app"}}})

	caFile := ca.file(dir, "ca.crt")
	client := func(a *authority, cn string) (*tls.Config, string, string) {
		t.Helper()
		cert, key := a.pair(dir, cn, names{cn: cn})
		c, err := ClientConfig(caFile, cert, key, "dtc.internal")
		must(t, err)
		return c, cert, key
	}
	expect := func(when string, c *tls.Config, token, want string) {
		t.Helper()
		if got, err := ask(t, url, c, token); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, %v; want %q", when, got, err, want)
		}
	}
	refused := func(when string, c *tls.Config, want string) {
		t.Helper()
		if got, err := ask(t, url, c, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", when, got, err, want)
		}
	}
	shop, shopCert, shopKey := client(clients, "shop")
	bare, err := ClientConfig(caFile, "", "", "dtc.internal")
	must(t, err)
	expect("with a certificate", shop, "", "shop over HTTP/2.0")
	expect("with both", shop, token, "ops over")
	expect("with a token", bare, token, "ops over")
	expect("with nothing", bare, "", errNone.Error())
	stranger, _, _ := client(clients, "stranger")
	expect("of no role", stranger, "", "the client certificate has no role here")
	foreign, _, _ := client(others, "shop")
	refused("of another authority", foreign, "") // over HTTP/2 the alert is not told
	lost, err := ClientConfig(others.file(dir, "others.crt"), "", "", "dtc.internal")
	must(t, err)
	refused("who trusts another authority", lost, "certificate")
	astray, err := ClientConfig(caFile, "", "", "elsewhere.internal")
	must(t, err)
	refused("who wants another server", astray, "elsewhere.internal")
	old := bare.Clone()
	old.MaxVersion, old.MinVersion = tls.VersionTLS11, tls.VersionTLS10
	refused("of yesterday", old, "protocol version")

	// The client renews its certificate.
	renewedCert, renewedKey := clients.pair(dir, "renewed", names{cn: "renewed"})
	copyFile(t, renewedCert, shopCert)
	copyFile(t, renewedKey, shopKey)
	fresh, err := ClientConfig(caFile, shopCert, shopKey, "dtc.internal")
	must(t, err)
	expect("renewed", fresh, "", "renewed over")

	// The server takes another authority for its clients; a session that was begun
	// before must not outlive that.
	stays, staysKey := clients.pair(dir, "stays", names{cn: "shop"})
	shop, err = ClientConfig(caFile, stays, staysKey, "dtc.internal")
	must(t, err)
	shop.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	expect("that begins a session", shop, "", "shop over HTTP/2.0")
	expect("that resumes it", shop, "", "shop over HTTP/2.0, resumed")
	copyFile(t, others.file(dir, "others.crt"), f.ClientCA)
	must(t, watch.Reload())
	expect("of the new authority", foreign, "", "shop over")
	refused("of the old authority", shop, "")
	if log.errors() != 0 || !strings.Contains(log.String(), "the certificate was read again") {
		t.Errorf("the log:\n%s", &log)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	must(t, err)
	write(t, to, content)
}

// TestServerCertificateIsRenewed: at a handshake, and no more than once a second; a
// broken renewal keeps the old one, and is told of once.
func TestServerCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ca := newAuthority(t, "ca")
		f := Files{}
		f.Cert, f.Key = ca.pair(dir, "server", names{cn: "one", dns: []string{"dtc"}})
		var log lines
		config, watch, err := f.ServerConfig(log.log())
		must(t, err)
		client, err := ClientConfig(ca.file(dir, "ca.crt"), "", "", "dtc")
		must(t, err)
		expect := func(when, want string) {
			t.Helper()
			if got := shown(t, config, client); got != want {
				t.Errorf("%s: %s is shown; want %s", when, got, want)
			}
		}
		expect("at first", "one")
		if d := time.Until(watch.NotAfter()); d < 23*time.Hour || d > 24*time.Hour {
			t.Errorf("it expires in %v", d)
		}
		ca.pair(dir, "server", names{cn: "two", dns: []string{"dtc"}, until: 48 * time.Hour})
		expect("too early", "one")
		time.Sleep(lookEvery)
		expect("renewed", "two")
		if d := time.Until(watch.NotAfter()); d < 47*time.Hour {
			t.Errorf("it expires in %v", d)
		}
		good, err := os.ReadFile(f.Key)
		must(t, err)
		write(t, f.Key, []byte("half a ke"))
		for range 5 {
			time.Sleep(lookEvery)
			expect("broken", "two")
		}
		if log.errors() != 1 {
			t.Errorf("the log was told %d times:\n%s", log.errors(), &log)
		}
		write(t, f.Key, good)
		time.Sleep(lookEvery)
		expect("mended", "two")
		ca.pair(dir, "other", names{cn: "three", dns: []string{"dtc"}})
		copyFile(t, filepath.Join(dir, "other.crt"), f.Cert) // the key has not come yet
		time.Sleep(lookEvery)
		expect("half renewed", "two")
		copyFile(t, filepath.Join(dir, "other.key"), f.Key)
		time.Sleep(lookEvery)
		expect("renewed again", "three")
		if text := log.String(); strings.Contains(text, "half a ke") || strings.Contains(text, "PRIVATE") {
			t.Errorf("the log shows the key:\n%s", text)
		}
		if err := watch.Reload(); err != nil {
			t.Error(err)
		}
		must(t, os.Remove(f.Cert))
		if err := watch.Reload(); err == nil {
			t.Error("nothing was missed")
		}
		expect("gone", "three")
		// The gauge must not wait for a handshake.
		ca.pair(dir, "server", names{cn: "four", dns: []string{"dtc"}, until: 99 * time.Hour})
		time.Sleep(lookEvery)
		if d := time.Until(watch.NotAfter()); d < 98*time.Hour {
			t.Errorf("it expires in %v", d)
		}
	})
}

// shown returns the name in the certificate that a server shows, over a pipe: that
// of the net would not let virtual time pass.
func shown(t *testing.T, server, client *tls.Config) string {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(a, server).HandshakeContext(context.Background()) }()
	conn := tls.Client(b, client)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, b) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTLSFilesThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	cert, key := ca.pair(dir, "one", names{cn: "one"})
	_, other := ca.pair(dir, "two", names{cn: "two"})
	none := filepath.Join(dir, "none")
	junk := filepath.Join(dir, "junk")
	write(t, junk, []byte("junk"))
	for _, f := range []Files{
		{},
		{Cert: cert},
		{Key: key},
		{Cert: cert, Key: other},
		{Cert: none, Key: key},
		{Cert: junk, Key: key},
		{Cert: cert, Key: junk},
		{Cert: cert, Key: key, ClientCA: junk},
		{Cert: cert, Key: key, ClientCA: none},
		{Cert: key, Key: cert},
	} {
		if _, _, err := f.ServerConfig(slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	for _, f := range [][3]string{{"", cert, ""}, {"", "", key}, {none}, {junk}, {"", cert, other}, {"", none, key}} {
		if _, err := ClientConfig(f[0], f[1], f[2], ""); err == nil {
			t.Errorf("%q is taken", f)
		}
	}
}

// TestServerConfigBesideNetHTTP: the configuration works where net/http, or a test
// server, adds to it.
func TestServerConfigBesideNetHTTP(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	var f Files
	f.Cert, f.Key = ca.pair(dir, "server", names{dns: []string{"dtc"}})
	config, _, err := f.ServerConfig(slog.New(slog.DiscardHandler))
	must(t, err)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = config
	s.StartTLS()
	defer s.Close()
	client, err := ClientConfig(ca.file(dir, "ca.crt"), "", "", "dtc")
	must(t, err)
	if got, err := ask(t, s.URL, client, ""); err != nil || !strings.Contains(got, "not found") {
		t.Errorf("%q, %v", got, err)
	}
	if !slices.Contains(config.NextProtos, "h2") {
		t.Error("no HTTP/2")
	}
}

func TestBearer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		bearer := Bearer(path)
		if _, err := bearer(); err == nil {
			t.Error("no file is taken for a token")
		}
		write(t, path, []byte("\n"))
		if _, err := bearer(); err == nil {
			t.Error("nothing is taken for a token")
		}
		expect := func(when, want string) {
			t.Helper()
			if got, err := bearer(); err != nil || got != want {
				t.Errorf("%s: %q, %v", when, got, err)
			}
		}
		write(t, path, []byte("one\n"))
		expect("at first", "one")
		write(t, path, []byte("two"))
		expect("too early", "one")
		time.Sleep(lookEvery)
		expect("renewed", "two")
		write(t, path, []byte("secret words"))
		time.Sleep(lookEvery)
		expect("broken", "two")
		must(t, os.Remove(path))
		time.Sleep(lookEvery)
		expect("gone", "two")
		_, err := Bearer(path)()
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
		write(t, path, []byte("secret words"))
		if _, err := Bearer(path)(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	})
}

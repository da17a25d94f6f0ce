package access

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/dtchttp"
)

// TestBeforeTheControlAPI: who is known by a token or a certificate can do what its
// role says, and nobody else anything; no answer holds a token.
func TestBeforeTheControlAPI(t *testing.T) {
	dir := t.TempDir()
	ca, clients := newAuthority(t, "ca"), newAuthority(t, "clients")
	f := Files{ClientCA: clients.file(dir, "clients.crt")}
	f.Cert, f.Key = ca.pair(dir, "server", names{dns: []string{"dtc"}})
	config, _, err := f.ServerConfig(slog.New(slog.DiscardHandler))
	must(t, err)
	app, l1 := line("shop", "app")
	watch, l2 := line("watch", "observer")
	ops, l3 := line("ops", "operator")
	tokens, _ := open(t, new(lines), l1+l2+l3)
	rules := Rules{Tokens: tokens, Certificates: map[string][]dtchttp.Role{"prometheus": {"observer"}}}
	control := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Authenticate: rules.Authenticate, Logger: slog.New(slog.DiscardHandler)})
	mux := http.NewServeMux()
	mux.Handle("/", control)
	mux.Handle("GET /metrics", control.Require(dtchttp.RoleObserver, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Handler: mux, TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan bool)
	go func() { defer close(served); _ = server.ServeTLS(listener, "", "") }()
	defer func() { _ = server.Close(); <-served }()

	caFile := ca.file(dir, "ca.crt")
	bare, err := ClientConfig(caFile, "", "", "dtc")
	must(t, err)
	cert, key := clients.pair(dir, "prometheus", names{cn: "prometheus"})
	scraper, err := ClientConfig(caFile, cert, key, "dtc")
	must(t, err)
	for _, c := range []struct {
		config      *tls.Config
		token, path string
		want        int
	}{
		{bare, "", "/livez", 200}, // a probe has nothing
		{bare, "", "/metrics", 401},
		{bare, app + "x", "/metrics", 401},
		{bare, app, "/metrics", 403},
		{bare, watch, "/metrics", 204},
		{bare, ops, "/metrics", 204},
		{scraper, "", "/metrics", 204},
		{scraper, app, "/metrics", 403}, // the token counts
		{bare, "", "/v1/participants", 401},
		{bare, app, "/v1/participants", 403},
		{bare, watch, "/v1/participants", 503}, // let in, but there is no coordinator
		{scraper, "", "/v1/participants", 503},
		{bare, watch, "/v1/transactions/t/retry", 405},
	} {
		status, body, err := do(t, "https://"+listener.Addr().String()+c.path, c.config, c.token)
		if err != nil || status != c.want {
			t.Errorf("%s with the token %.8q: %d %s, %v; want %d", c.path, c.token, status, body, err, c.want)
		}
		if c.token != "" && strings.Contains(body, c.token) {
			t.Errorf("%s: the answer shows the token", c.path)
		}
	}
}

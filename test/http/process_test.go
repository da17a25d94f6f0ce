package http_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dtc-project/dtc/test/internal/procs"
)

// process holds the file against the program, which serves more than the handler.
func process(t *testing.T, s *spec) {
	dtc := os.Getenv(procs.BinaryEnv)
	if dtc == "" {
		var err error
		if dtc, err = procs.Build(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, s, dtc)
	c.want(200, "GET", "/metrics", "")
	c.want(200, "GET", "/livez", "")
	c.want(200, "GET", "/readyz?verbose", "")
	c.want(200, "GET", "/v1/participants", "")
	c.want(404, "GET", "/v1/metrics", "")
	c = start(t, s, dtc, "--metrics=false")
	c.want(404, "GET", "/metrics", "")
}

// start starts a server, which ends with the test.
func start(t *testing.T, s *spec, dtc string, flags ...string) *client {
	t.Helper()
	flags = append([]string{"serve", "--data", filepath.Join(t.TempDir(), "log"), "--listen", "127.0.0.1:0", "--output", "json", "--participant", "payment=http://127.0.0.1:1/"}, flags...)
	cmd := exec.Command(dtc, flags...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	var greeting struct{ URL string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &greeting)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	base, err := url.Parse(greeting.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			r.Out.Header.Set("Accept-Encoding", "identity")
		},
		ModifyResponse: func(r *http.Response) error { r.Header.Del("Date"); r.Header.Del("Content-Length"); return nil },
	}
	return serve(t, s, proxy)
}

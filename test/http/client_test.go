package http_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// client makes requests to a server that a description is held against.
type client struct {
	*httptest.Server
	t *testing.T
	s *spec
}

func serve(t *testing.T, s *spec, h http.Handler) *client {
	server := httptest.NewServer(s.watch(h))
	t.Cleanup(server.Close)
	return &client{server, t, s}
}

// want makes a request, checks the status and returns the answer. Headers are names and
// values.
func (c *client) want(status int, method, path, body string, headers ...string) map[string]any {
	c.t.Helper()
	got, text := c.call(method, path, body, headers...)
	if got != status {
		c.t.Errorf("%s %s %.200s: %d, want %d: %s", method, path, body, got, status, text)
	}
	var answer map[string]any
	_ = json.Unmarshal(text, &answer) // it may be plain text
	return answer
}

// until makes a request until it has the status.
func (c *client) until(status int, method, path string) {
	c.t.Helper()
	got := 0
	for range 10_000 {
		if got, _ = c.call(method, path, ""); got == status {
			return
		}
		time.Sleep(time.Millisecond) // between two questions
	}
	c.t.Errorf("%s %s: %d, want %d", method, path, got, status)
}

func (c *client) call(method, path, body string, headers ...string) (status int, text []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Client().Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, text
}

// bad makes requests that are refused, and must not be sent by what the file says.
func (c *client) bad(method, path string, bodies ...string) {
	c.t.Helper()
	for _, body := range bodies {
		c.want(400, method, path, body)
		if !c.s.refuses(method, path, body) {
			c.t.Errorf("%s %s %.200s: the server refuses it, and the file allows it", method, path, body)
		}
	}
}

// broken makes a request whose body ends before it should.
func (c *client) broken(method, path string, headers ...string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: dtc.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n", method, path)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n{")
	if _, err := conn.Write(b.Bytes()); err != nil {
		c.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) {
		c.t.Errorf("%s %s: %v: %s", method, path, err, answer)
	}
}

// bodies sends to an operation what any body may be wrong in.
func (c *client) bodies(op *operation, path string, headers ...string) {
	c.t.Helper()
	with := func(more ...string) []string { return append(slices.Clone(headers), more...) }
	c.want(415, op.method, path, "{}", with("Content-Type", "text/plain")...)
	c.want(415, op.method, path, "{}", with("Content-Encoding", "gzip")...)
	c.want(413, op.method, path, `{`+strings.Repeat(" ", 1<<20)+`}`, headers...)
	c.want(400, op.method, path, `{"bogus":1}`, headers...)
	if !c.s.refuses(op.method, path, `{"bogus":1}`) {
		c.t.Errorf("%s: the file allows an unknown member", op)
	}
	c.broken(op.method, path, headers...)
}

// members checks that an operation knows those members that the file says.
func (c *client) members(op *operation, path string, names map[string]bool) {
	c.t.Helper()
	known := members(op)
	for name := range names {
		_, text := c.call(op.method, path, `{"`+name+`":[]}`)
		if unknown := strings.Contains(string(text), "is not known here"); unknown == known[name] {
			c.t.Errorf("%s: whether it takes %s is %v in the file: %s", op, name, known[name], text)
		}
	}
}

// members returns the names of the members that a request may have.
func members(op *operation) map[string]bool {
	names := map[string]bool{}
	for name := range op.get("requestBody", "content", "application/json", "schema", "properties").each() {
		names[name] = true
	}
	return names
}

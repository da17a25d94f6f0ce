package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeRefuses: each mistake has its exit code and says what to do, and leaves no
// trace.
func TestServeRefuses(t *testing.T) {
	dir := dataDir(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: x\n\nlistne: y\nparticipants:\n  a: {url: 'http://u:secret@h:x'}\n")
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{nil, exitUsage, []string{"--data", "DTC_DATA"}},
		{[]string{"--data", dir, "extra"}, exitUsage, nil},
		{[]string{"--data", dir, "--listen", "0.0.0.0:0"}, exitUsage, []string{"--listen: ", "other machines", "--insecure", "TLS", "authentication"}},
		{[]string{"--data", dir, "--listen", ":0"}, exitUsage, []string{"--insecure"}},
		{[]string{"--data", dir, "--listen", "[::]:0"}, exitUsage, []string{"--insecure"}},
		{[]string{"--data", dir, "--listen", "here"}, exitUsage, []string{"HOST:PORT"}},
		{[]string{"--data", dir, "--prepare-timeout", "5"}, exitUsage, []string{"5s"}},
		{[]string{"--data", dir, "--participant", "http://u:secret@h"}, exitUsage, []string{"NAME=URL"}},
		{[]string{"--data", dir, "--participant", "a=http://u:secret@h:x"}, exitUsage, []string{"participant a", "cannot be read"}},
		{[]string{"--data", dir, "--participant", "a b=http://h"}, exitUsage, nil},
		{[]string{"--data", dir, "--config", file}, exitUsage, []string{file + `:3: unknown key "listne", did you mean "listen"?`, file + ":5: the URL of participant a"}},
		{[]string{"--data", dir, "--config", file + ".not"}, exitUsage, []string{"no such file"}},
		{[]string{"--data", file, "--listen", "127.0.0.1:0"}, exitFailed, []string{file + ", or what it is in, is a file", "needs a directory"}},
		{[]string{"--data", filepath.Join(file, "dtc"), "--listen", "127.0.0.1:0"}, exitFailed, []string{"is a file", "needs a directory"}},
		{[]string{"--data", dir, "--tokens-file", file}, exitUsage, []string{"--tokens-file: "}},
		{[]string{"--data", dir, "--listen", taken.Addr().String()}, exitFailed, []string{taken.Addr().String() + " is in use", "--listen"}},
	} {
		r := launch(t, nil, c.args...)
		if code := r.code(); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("%q: it does not say %q: %s", c.args, want, r.log.String())
			}
		}
		if r.out.String() != "" || strings.Contains(r.log.String(), "secret") {
			t.Errorf("%q: %s%s", c.args, r.out.String(), r.log.String())
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

// TestServeExitCodes of a log that cannot be used.
func TestServeExitCodes(t *testing.T) {
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir)
	second := launch(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	if code := second.code(); code != exitInUse || second.out.String() != "" {
		t.Errorf("in use: exit code %d: %s", code, second.log.String())
	}
	r.want(200, "GET", "/readyz", "") // the first one does not mind
	r.stop()
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[100] ^= 1
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	third := launch(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	if code := third.code(); code != exitCorrupt {
		t.Errorf("corrupt: exit code %d: %s", code, third.log.String())
	}
	if text := third.log.String(); !strings.Contains(text, "What to do") || !strings.Contains(text, "dtc log verify") {
		t.Errorf("corrupt: it does not say what to do:\n%s", text)
	}
}

// TestServeConnectionLimit: beyond it nobody is answered until somebody leaves.
func TestServeConnectionLimit(t *testing.T) {
	r := serve(t, nil, "--data", dataDir(t), "--max-connections", "2")
	address := strings.TrimPrefix(r.URL, "http://")
	ask := func(c net.Conn) {
		if _, err := c.Write([]byte("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	var conns []net.Conn
	answered := make(chan int, 3)
	for i := range 3 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		ask(c)
		go func() {
			if _, err := c.Read(make([]byte, 1000)); err == nil {
				answered <- i
			}
		}()
		if i < 2 {
			<-answered
		}
	}
	r.logged("max_connections")
	select {
	case <-answered:
		t.Fatal("the third one is answered")
	default:
	}
	conns[0].Close()
	if i := <-answered; i != 2 {
		t.Error(i)
	}
	conns[1].Close()
	conns[2].Close()
	r.stop()
}

// TestServeForBrowsers: pages of others, and names that lead here, get nothing.
func TestServeForBrowsers(t *testing.T) {
	r := serve(t, nil, "--data", dataDir(t))
	for _, head := range []string{"Host: evil.example\r\n", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", "Host: localhost\r\nOrigin: https://evil.example\r\n"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("POST /v1/transactions/begin HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" + head + "\r\n{}")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		n, err := c.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 403 ") {
			t.Errorf("%q: %q, %v", head, buf[:n], err)
		}
	}
	var list struct{ Transactions []json.RawMessage }
	if err := json.Unmarshal([]byte(r.want(200, "GET", "/v1/transactions", "")), &list); err != nil || len(list.Transactions) != 0 {
		t.Errorf("%v, %s", err, list.Transactions)
	}
	r.stop()
}

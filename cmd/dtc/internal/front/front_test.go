package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// TestWhatABrowserIsTrickedInto: pages of other origins, and names that lead here.
func TestWhatABrowserIsTrickedInto(t *testing.T) {
	served := 0
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
	for _, c := range []struct {
		local              bool
		method, host       string
		site, origin, want string
	}{
		{true, "POST", "127.0.0.1:7420", "", "", "yes"}, // not a browser
		{true, "POST", "localhost:7420", "", "", "yes"},
		{true, "GET", "LOCALHOST.", "", "", "yes"},
		{true, "GET", "[::1]:7420", "", "", "yes"},
		{true, "GET", "::1", "", "", "yes"},
		{true, "GET", "10.1.2.3:7420", "", "", "yes"}, // nobody can make an address lead elsewhere
		{true, "GET", "evil.example:7420", "", "", "no"},
		{true, "GET", "evil.example", "same-origin", "", "no"},
		{true, "POST", "localhost.evil.example:7420", "same-origin", "http://localhost.evil.example:7420", "no"},
		{true, "GET", "127.0.0.1.evil.example:7420", "", "", "no"},
		{true, "GET", "", "", "", "no"},
		{false, "GET", "dtc.internal", "", "", "yes"},
		{false, "POST", "dtc.internal", "same-origin", "https://dtc.internal", "yes"},
		{false, "POST", "dtc.internal", "cross-site", "https://evil.example", "no"},
		{false, "POST", "dtc.internal", "same-site", "https://other.internal", "no"},
		{true, "POST", "127.0.0.1:7420", "cross-site", "https://evil.example", "no"},
		{true, "POST", "127.0.0.1:7420", "", "https://evil.example", "no"}, // an old browser
		{true, "POST", "127.0.0.1:7420", "", "null", "no"},
		{true, "GET", "127.0.0.1:7420", "cross-site", "", "yes"}, // it cannot read the answer
	} {
		served = 0
		s := New(h, Options{Log: quiet, LocalNames: c.local})
		r := httptest.NewRequestWithContext(t.Context(), c.method, "/v1/transactions", nil)
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if got := map[int]string{0: "no", 1: "yes"}[served]; got != c.want {
			t.Errorf("%+v: served %s", c, got)
		}
		if served == 0 && (w.Code != 403 || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), `"code":"forbidden"`)) {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}

// pipes is a listener of connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p pipes) dial() net.Conn {
	a, b := net.Pipe()
	p <- b
	return a
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
	}
}

// bubble runs a server in memory, in virtual time.
func bubble(t *testing.T, h http.HandlerFunc, f func(t *testing.T, p pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := make(pipes)
		s := New(h, Options{Log: quiet})
		served := make(chan error, 1)
		go func() { served <- s.Serve(p) }()
		f(t, p)
		close(p)
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		_ = s.Close()
		time.Sleep(time.Minute) // for those who write now and then to see it
	})
}

// TestATransactionMayTakeLong: longer than a request may take to be read, and the
// connection can be used again afterwards, also after it was idle for long.
func TestATransactionMayTakeLong(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		select {
		case <-time.After(time.Hour):
		case <-r.Context().Done():
			t.Error("the request was given up")
		}
		_, _ = w.Write(body)
	}, func(t *testing.T, p pipes) {
		c := p.dial()
		defer c.Close()
		answers := bufio.NewReader(c)
		for _, head := range []string{"", "Expect: 100-continue\r\n"} {
			for _, body := range []string{"hello", ""} {
				send(t, c, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", head, len(body)))
				if head != "" && body != "" {
					if line, _ := answers.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
						t.Fatal(line)
					}
					_, _ = answers.ReadString('\n')
				}
				send(t, c, body)
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(got) != body {
					t.Errorf("%q, %v; want %q", got, err, body)
				}
				time.Sleep(time.Minute)
			}
		}
	})
}

// TestSlowPeers: one that sends slowly or not at all, or takes no answer, is cut off.
func TestSlowPeers(t *testing.T) {
	for name, peer := range map[string]func(t *testing.T, c net.Conn){
		"no header":   func(*testing.T, net.Conn) {},
		"half header": func(t *testing.T, c net.Conn) { send(t, c, "POST / HTTP/1.1\r\nHost:") },
		"half body": func(t *testing.T, c net.Conn) {
			send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
		},
		"drop by drop": func(t *testing.T, c net.Conn) {
			send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
			go func() {
				for {
					if _, err := fmt.Fprint(c, "x"); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
		},
		"no reading": func(t *testing.T, c net.Conn) {
			send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				_, _ = w.Write(make([]byte, 1<<20)) // more than is buffered
			}, func(t *testing.T, p pipes) {
				began := time.Now()
				c := p.dial()
				defer c.Close()
				peer(t, c)
				if name == "no reading" {
					time.Sleep(5 * time.Minute)
				}
				for { // the answer, if there is one, and the end
					if _, err := c.Read(make([]byte, 64<<10)); err != nil {
						break
					}
				}
				if took := time.Since(began); took > 6*time.Minute {
					t.Errorf("cut off after %v only", took)
				}
			})
		})
	}
}

// TestLimit: no more connections than allowed; the next gets its turn when one is
// closed; Close ends an Accept that waits.
func TestLimit(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Limit(raw, 2, quiet)
	accepted := make(chan net.Conn)
	over := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				over <- err
				return
			}
			accepted <- c
		}
	}()
	dial := func() {
		c, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	dial()
	dial()
	dial()
	a, b := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("a third one")
	default:
	}
	if n := len(l.(*limited).slots); n != 2 {
		t.Errorf("%d slots", n)
	}
	a.Close()
	a.Close() // does not make room twice
	c := <-accepted
	dial()
	select {
	case <-accepted:
		t.Fatal("closing twice made room for two")
	default:
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-over; err == nil {
		t.Error("Accept goes on after Close")
	}
	b.Close()
	c.Close()
}

// TestHTTP2: a server with TLS speaks HTTP/2 and reads bodies there too.
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	s.Config = New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %v", r.Proto, body, err)
	}), Options{Log: quiet, TLS: &tls.Config{NextProtos: []string{"h2"}}})
	s.StartTLS()
	defer s.Close()
	for _, body := range []string{"", "hello"} {
		req, _ := http.NewRequestWithContext(context.Background(), "POST", s.URL, strings.NewReader(body))
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(got) != "HTTP/2.0 "+body+" <nil>" {
			t.Errorf("%s", got)
		}
	}
}

// TestComplaints: strangers cannot fill the log.
func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		c := &complaints{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 100 {
			fmt.Fprintln(c, "http: TLS handshake error") //nolint:errcheck // it never fails
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(log.String(), "a connection failed"); n != 10 || !strings.Contains(log.String(), "others=9") {
			t.Error(n, log.String())
		}
	})
}

//go:build linux || darwin

package dtchttp_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// hostile is an API behind a server with the limits that dtc serve sets, but for the time that
// it gives to a request.
type hostile struct {
	*api
	open   atomic.Int64 // connections
	before int          // goroutines, when there was no coordinator and no server
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{before: runtime.NumGoroutine()}
	h.api = newAPI(t, dtc.Config{}, dtchttp.ControlOptions{MaxInFlight: 100, MaxBytes: 64 << 20})
	h.Server.Close()
	h.Server = httptest.NewUnstartedServer(h.api.h)
	c := h.Config
	// Thousands of connections take a slow machine longer to open than a header may take.
	c.ReadHeaderTimeout, c.ReadTimeout, c.IdleTimeout, c.MaxHeaderBytes = 10*time.Minute, 10*time.Minute, 10*time.Minute, 32<<10
	c.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			h.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			h.open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}
	h.Start()
	t.Cleanup(h.Server.Close)
	h.Client().Transport.(*http.Transport).DisableKeepAlives = true
	h.serves()
	h.settled(0)
	return h
}

// serves checks that a well-behaved client is served.
func (h *hostile) serves() {
	h.t.Helper()
	h.want("POST", "/v1/transactions", `{`+order+`}`, 200, map[string]any{"committed": true})
}

// settled waits until so many connections are open.
func (h *hostile) settled(n int64) {
	h.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); h.open.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%d connections are open, want %d", h.open.Load(), n)
		}
	}
}

// leavesNothing ends the server and its coordinator, and waits until no more goroutines run
// than before there were any. While the coordinator is open it may keep a few for its next
// calls, as many as happened to be needed at once.
func (h *hostile) leavesNothing() {
	h.t.Helper()
	h.settled(0)
	h.Server.Close()
	if err := h.c.Close(); err != nil {
		h.t.Error(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); runtime.NumGoroutine() > h.before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			text := make([]byte, 64<<10)
			h.t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), h.before, text[:runtime.Stack(text, true)])
		}
	}
}

func (h *hostile) dial() *net.TCPConn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(3 * time.Minute)) // the test hangs no longer than that
	_ = conn.(*net.TCPConn).SetLinger(0)                  // leaves no port behind that must wait
	return conn.(*net.TCPConn)
}

const hostileHead = "POST /v1/transactions HTTP/1.1\r\nHost: dtc.test\r\nContent-Type: application/json\r\n"

// TestControlStalled: thousands of clients that say half of what they have to say keep
// nobody else from being served.
func TestControlStalled(t *testing.T) {
	clients := stalledClients
	const files = 24_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if more := (syscall.Rlimit{Cur: files, Max: max(files, limit.Max)}); limit.Cur < files && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
		limit = more
	}
	if most := int(min(limit.Cur, 1<<20))/2 - 250; clients > most { // both ends are here
		clients = most
	}
	t.Logf("%d clients", clients)
	h := newHostile(t)
	begun := h.c.Stats().Begun
	parts := []string{
		"", "POST /v1/transactions HTTP/1.1\r\nHost", hostileHead + "Content-Length: 1048576\r\n\r\n",
		hostileHead + "Content-Length: 1000\r\n\r\n{" + order, hostileHead + "Transfer-Encoding: chunked\r\n\r\n100\r\n{" + order,
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		conns[i] = h.dial()
		if _, err := conns[i].Write([]byte(parts[i%len(parts)])); err != nil {
			t.Fatal(err)
		}
	}
	h.settled(int64(clients))
	const good = 20
	for range good {
		h.serves()
	}
	h.want("GET", "/v1/participants", "", 200, nil)
	h.wantText("/readyz", 200, "ok\n")
	each := (heap() - before) / int64(clients)
	if t.Logf("each takes %d bytes of the heap", each); each > 64<<10 {
		t.Error("what is announced takes memory before it comes")
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	if n := h.c.Stats().Begun - begun; n != good {
		t.Errorf("%d were begun, want %d", n, good)
	}
	h.leavesNothing()
}

// TestControlEndless: bodies and headers of a gigabyte are refused long before their
// end, in bounded memory.
func TestControlEndless(t *testing.T) {
	h := newHostile(t)
	begun := h.c.Stats().Begun
	const gigabyte = 1 << 30
	var highest atomic.Uint64
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		highest.Store(max(highest.Load(), m.HeapAlloc)) // one that another overwrites is about as high
		return m.HeapAlloc
	}
	spaces, nested := strings.Repeat(" ", 1<<16), "10000\r\n"+strings.Repeat("[", 1<<16)+"\r\n"
	headers, long := strings.Repeat("X-Again: and again\r\n", 3000), strings.Repeat("x", 1<<16)
	runtime.GC()
	before := heap()
	var clients sync.WaitGroup
	for name, c := range map[string]struct {
		head   string
		unit   string
		status int
	}{
		"announced":  {hostileHead + "Content-Length: 1073741824\r\n\r\n", spaces, 413},
		"streamed":   {hostileHead + "Transfer-Encoding: chunked\r\n\r\n", nested, 413},
		"no type":    {"POST /v1/transactions/begin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", nested, 415},
		"to a read":  {"GET /v1/participants HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", spaces, 200},
		"headers":    {hostileHead, headers, 431},
		"one header": {hostileHead + "X-Long: ", long, 431},
		"a path":     {"GET /v1/transactions/", long, 431},
	} {
		conn := h.dial()
		clients.Go(func() {
			status := make(chan string, 1)
			go func() {
				line, err := bufio.NewReader(conn).ReadString('\n')
				status <- fmt.Sprint(line, err)
			}()
			unit := []byte(c.unit)
			sent, _ := conn.Write([]byte(c.head))
			for sent < gigabyte {
				n, err := conn.Write(unit)
				if sent += n; err != nil {
					break // the server has closed it
				}
				heap()
			}
			if line := <-status; !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("%s: %q, want %d", name, line, c.status)
			}
			_ = conn.Close()
			if sent > 32<<20 {
				t.Errorf("%s: %d bytes were taken", name, sent)
			}
		})
	}
	clients.Wait()
	grown := int64(highest.Load()) - int64(before)
	t.Logf("the heap grew by %d KiB at most", grown>>10)
	if grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	h.serves()
	if n := h.c.Stats().Begun - begun; n != 1 {
		t.Errorf("%d were begun", n)
	}
	h.leavesNothing()
}

// TestControlStrange: what is no request of ours is refused as the client's fault.
func TestControlStrange(t *testing.T) {
	h := newHostile(t)
	begun := h.c.Stats().Begun
	deep := strings.Repeat("[", 100_000)
	for _, body := range []string{
		deep, deep + strings.Repeat("]", 100_000), strings.Repeat(`{"a":`, 100_000), `{"branches":` + deep,
		`{"branches":[{"participant":"orders","payload":` + deep[:100_000/2] + strings.Repeat("]", 100_000/2) + `}]}`,
		"{\"id\":\"\xff\xfe\"," + order + "}", "{\"branches\":[{\"participant\":\"orders\",\"payload\":\"\xc3\x28\"}]}", "{\"\xed\xa0\x80\":1}",
		"\xef\xbb\xbf{" + order + "}", "\x00", "{" + order + "}\x00", `{` + order + `}{` + order + `}`, "'", "{'id':1}",
	} {
		if status, answer := h.call("POST", "/v1/transactions", body); status != 400 || answer["code"] != "bad_request" {
			t.Errorf("%.60q: %d %v", body, status, answer)
		}
	}
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /v1/transactions/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		hostileHead + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", hostileHead + "Content-Length: -1\r\n\r\n{}", hostileHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"CONNECT /v1/transactions HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn := h.dial()
		_, _ = io.WriteString(conn, text)
		_ = conn.CloseWrite()
		answer, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(answer, []byte("HTTP/1.1 505")) {
			t.Errorf("%q: %.80q", text, answer)
		}
		_ = conn.Close()
	}
	h.serves()
	if n := h.c.Stats().Begun - begun; n != 1 {
		t.Errorf("%d were begun", n)
	}
	h.leavesNothing()
}

// TestControlCut: a request that breaks off anywhere begins nothing.
func TestControlCut(t *testing.T) {
	h := newHostile(t)
	begun := h.c.Stats().Begun
	body := `{"id":"cut",` + order + `}`
	for name, whole := range map[string]string{
		"length":  hostileHead + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunked": hostileHead + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 40, body[:40], len(body)-40, body[40:]),
		"begin":   "POST /v1/transactions/begin HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nContent-Type: application/json\r\n\r\n" + `{"id":"cut"}`,
	} {
		for n := range len(whole) {
			conn := h.dial()
			_, _ = io.WriteString(conn, whole[:n])
			if n%2 == 0 { // gone at once, or with no more to say
				_ = conn.CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			}
			_ = conn.Close()
		}
		h.settled(0)
		if n := h.c.Stats().Begun - begun; n != 0 {
			t.Fatalf("%s: %d were begun", name, n)
		}
		h.want("GET", "/v1/transactions/cut", "", 404, nil)
		h.serves()
		begun++
	}
	h.leavesNothing()
}

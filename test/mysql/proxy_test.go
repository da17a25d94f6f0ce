package mysql_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// what a proxy does with a statement.
type what int

const (
	pass      what = iota
	hold           // it waits until release is called, whatever becomes of the client
	cutBefore      // the connection is lost before the server sees it
	cutAfter       // the connection is lost with the answer
	lie            // the server is asked something else, and says OK
)

// proxy stands between clients and a server, and meddles with the first statement that
// begins with a text.
type proxy struct {
	addr   string
	begins string
	do     what

	mu   sync.Mutex
	met  chan struct{} // closed when the statement has come
	free chan struct{}
	done bool
}

func newProxy(t *testing.T, server, begins string, do what) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), begins: begins, do: do, met: make(chan struct{}), free: make(chan struct{})}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		p.release()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(client, server) })
		}
	})
	return p
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.free:
	default:
		close(p.free)
	}
}

// meddle reports what to do with a packet of a client.
func (p *proxy) meddle(packet []byte) what {
	const query = 3
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || len(packet) < 5 || packet[4] != query || !strings.HasPrefix(string(packet[5:]), p.begins) {
		return pass
	}
	p.done = true
	close(p.met)
	return p.do
}

func (p *proxy) serve(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	defer server.Close()
	deaf := make(chan struct{}) // closed: the next answer is lost
	answers.Go(func() {
		defer client.Close()
		for {
			packet, err := readPacket(server)
			if err != nil {
				return
			}
			select {
			case <-deaf:
				return
			default:
			}
			if _, err := client.Write(packet); err != nil {
				return
			}
		}
	})
	for {
		packet, err := readPacket(client)
		if err != nil {
			return
		}
		switch p.meddle(packet) {
		case pass:
		case hold:
			<-p.free
		case cutBefore:
			return
		case cutAfter:
			close(deaf)
			_, _ = server.Write(packet)
			answers.Wait()
			return
		case lie:
			packet = append([]byte{5, 0, 0, 0, 3}, "DO 0"...)
		}
		if _, err := server.Write(packet); err != nil {
			return
		}
	}
}

// readPacket reads one packet: three bytes of length, a number, and the content.
func readPacket(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	packet := append(head, make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)...)
	_, err := io.ReadFull(r, packet[4:])
	return packet, err
}

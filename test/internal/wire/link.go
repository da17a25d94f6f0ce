package wire

import (
	"net"
	"sync"
)

// link is one connection of a client, and the one to the server that belongs to it.
type link struct {
	p              *Proxy
	client, server net.Conn
	codec          Codec
	replied        chan struct{} // closed when no answer comes any more, or the late one has come

	once sync.Once

	mu   sync.Mutex
	trap *Trap // of the answer that comes next
	late bool  // a request was held back, and its answer has not come
	gone bool  // no answer comes any more
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// wait returns when what is held is released, or the proxy ends.
func (l *link) wait(t *Trap) {
	select {
	case <-t.release:
	case <-l.p.done:
	}
}

func (l *link) requests() {
	defer l.close()
	for {
		raw, text, err := l.codec.Request()
		if err != nil {
			// The client may have gone long ago. The server is to have done what was held
			// back before it learns that.
			l.mu.Lock()
			late := l.late
			l.mu.Unlock()
			if late {
				<-l.replied
			}
			return
		}
		if err := l.request(raw, l.p.fate(text)); err != nil {
			return
		}
	}
}

func (l *link) request(raw []byte, t *Trap) error {
	if t == nil {
		_, err := l.server.Write(raw)
		return err
	}
	if t.fault == CutRequest {
		l.close()
		close(t.hit)
		close(t.done)
		return errCut
	}
	if t.fault == StallRequest {
		close(t.hit)
		l.wait(t)
	}
	l.mu.Lock()
	l.trap, l.late = t, t.fault == StallRequest // before the answer can come
	if l.gone {
		close(t.done)
	}
	l.mu.Unlock()
	_, err := l.server.Write(raw)
	return err
}

func (l *link) replies() {
	defer func() {
		l.close()
		l.mu.Lock()
		if l.trap != nil {
			close(l.trap.done)
		}
		l.gone = true
		l.mu.Unlock()
		l.once.Do(func() { close(l.replied) })
	}()
	var held []byte
	for {
		raw, last, err := l.codec.Reply()
		if err != nil {
			return
		}
		l.mu.Lock()
		t := l.trap
		if last && t != nil {
			l.trap = nil
			close(t.done)
		}
		l.mu.Unlock()
		if t != nil && t.fault != StallRequest {
			held = append(held, raw...)
			if !last {
				continue
			}
			if t.fault == CutReply {
				l.close()
				close(t.hit)
				return
			}
			close(t.hit)
			l.wait(t)
			raw, held = held, nil
		}
		_, err = l.client.Write(raw)
		if t != nil && t.fault == StallRequest {
			if last {
				l.once.Do(func() { close(l.replied) })
			}
			continue // the answer is read to its end, if there is somebody to hear it or not
		}
		if err != nil {
			return
		}
	}
}

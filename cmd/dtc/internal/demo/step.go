package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc/dtctest"
)

// A service's process tells the demo of each call before it carries it out, and
// again before it answers, as an [event]. It waits for the reply, so that what is
// told is told in the order in which one thing causes the other, and so that the
// demo can kill a process at one exact step.

// reply says what is to become of the call.
type reply struct {
	Fault dtctest.Fault `json:"fault"`
}

// steps is the server to which the services tell their steps.
type steps struct {
	server  *http.Server
	address string
	stage   atomic.Pointer[stage]
	served  chan struct{}
}

// stage decides what becomes of a call. It may take its time: the call waits.
type stage func(ctx context.Context, e event) dtctest.Fault

func newSteps() (*steps, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &steps{address: l.Addr().String(), served: make(chan struct{})}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(l) // until Close
	}()
	return s, nil
}

func (s *steps) set(st stage) { s.stage.Store(&st) }

func (s *steps) close() error {
	err := s.server.Close()
	<-s.served
	return err
}

// ServeHTTP implements [http.Handler].
func (s *steps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(reply{(*s.stage.Load())(r.Context(), e)})
}

// teller is a service's side of it.
type teller struct {
	url    string
	client http.Client
}

func (t *teller) tell(ctx context.Context, e event) (dtctest.Fault, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	answer, err := t.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var say reply
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<10)).Decode(&say); err != nil || answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the demo answers %s: %w", answer.Status, err)
	}
	return say.Fault, nil
}

package fleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/dtchttp"
)

// registry notes what is registered.
type registry struct {
	calls []string
	now   map[string]dtc.Participant

	listing bool // whether the last one was, when it was registered
}

func (r *registry) RegisterWith(p dtc.Participant, timing dtc.Timing) error {
	r.calls = append(r.calls, fmt.Sprintf("+%s %v", p.ID(), timing.PrepareTimeout))
	r.listing = p.(dtc.Lister).Listing()
	r.now[p.ID()] = p
	return nil
}

func (r *registry) Unregister(id string) error {
	r.calls = append(r.calls, "-"+id)
	delete(r.now, id)
	return nil
}

// took returns the calls since the last time.
func (r *registry) took() string {
	s := strings.Join(r.calls, ", ")
	r.calls = nil
	return s
}

type service struct {
	*httptest.Server
	enter chan bool // told of each prepare
	leave chan bool

	mu    sync.Mutex
	conns map[string]http.ConnState
}

func newService(t *testing.T, id string, listing bool) *service {
	s := &service{enter: make(chan bool, 1), leave: make(chan bool), conns: map[string]http.ConnState{}}
	p := dtc.ParticipantFuncs{ParticipantID: id, PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
		s.enter <- true
		<-s.leave
		return dtc.VoteCommit, nil
	}}
	if listing {
		p.InDoubtFunc = func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, nil }
	}
	s.Server = httptest.NewUnstartedServer(dtchttp.NewParticipantHandler(p, nil))
	state := s.Config.ConnState
	s.Config.ConnState = func(c net.Conn, now http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns[c.RemoteAddr().String()] = now
		if state != nil {
			state(c, now)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func parse(t *testing.T, file string) *config.Config {
	t.Helper()
	c, err := (&config.Sources{File: "f"}).Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func file(lines ...string) string {
	return "participants:\n  " + strings.Join(lines, "\n  ") + "\n"
}

// open returns the connections that are not closed.
func (s *service) open() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.conns {
		if state != http.StateClosed {
			n++
		}
	}
	return n
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func start(t *testing.T, text string) (*Fleet, *registry, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	f, err := Open(t.Context(), parse(t, text), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, &registry{now: map[string]dtc.Participant{}}, &log
}

// TestApply: what changed is registered, and nothing else is touched.
func TestApply(t *testing.T) {
	a, b := newService(t, "a", true), newService(t, "b", false)
	base := file("a: {url: '"+a.URL+"'}", "b: {url: '"+b.URL+"'}")
	f, r, log := start(t, base)
	all, timing := f.Participants()
	if len(all) != 2 || !all[0].(dtc.Lister).Listing() || all[1].(dtc.Lister).Listing() || timing["a"].PrepareTimeout != 5*time.Second {
		t.Fatal(all, timing)
	}
	apply := func(text string) string {
		t.Helper()
		if err := f.Apply(t.Context(), parse(t, text), r); err != nil {
			t.Fatal(err)
		}
		return r.took()
	}
	if got := apply(base); got != "" {
		t.Errorf("nothing changed: %s", got)
	}
	if got := apply("prepare_timeout: 7s\n" + base); got != "+a 7s, +b 7s" {
		t.Error(got)
	}
	if r.now["a"] != all[0] || r.now["b"] != all[1] {
		t.Error("for a timing the connections were given up")
	}
	if got := apply("prepare_timeout: 7s\n" + file("b: {url: '"+b.URL+"', prepare_timeout: 1s}", "c: {url: '"+a.URL+"/c'}")); got != "+b 1s, +c 7s, -a" {
		t.Error(got)
	}
	if kind, url := f.Describe("c"); kind != "http" || url != a.URL+"/c" {
		t.Error(kind, url)
	}
	if got := apply("prepare_timeout: 7s\n" + file("b: {url: '"+b.URL+"', prepare_timeout: 1s}", "d: {url: '"+a.URL+"'}")); got != "+d 7s, -c" || !r.listing {
		t.Errorf("%s; %v: it is asked whether it lists before it is used", got, r.listing)
	}
	if kind, url := f.Describe("a"); kind != "" || url != "" {
		t.Error(kind, url)
	}
	if got := apply(base); got != "+a 5s, +b 5s, -d" {
		t.Error(got)
	}
	if got := apply(file("a: {url: '" + b.URL + "'}")); got != "+a 5s, -b" || r.now["a"] == all[0] {
		t.Error(got)
	}
	if strings.Contains(log.String(), "ERROR") {
		t.Error(log)
	}
}

// TestApplyAllOrNothing: a file that cannot be read leaves everything as it is.
func TestApplyAllOrNothing(t *testing.T) {
	a := newService(t, "a", true)
	f, r, _ := start(t, file("a: {url: '"+a.URL+"'}"))
	before, _ := f.Participants()
	err := f.Apply(t.Context(), parse(t, file("a: {url: '"+a.URL+"/x'}", "b: {url: 'https://u:hunter2@h', ca_file: /nowhere}", "c: {url: 'https://h', cert_file: /no, key_file: /no}")), r)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "participant b") || !strings.Contains(err.Error(), "participant c") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	after, _ := f.Participants()
	if r.took() != "" || len(after) != 1 || after[0] != before[0] {
		t.Error("something changed")
	}
	if _, err := Open(t.Context(), parse(t, file("b: {url: 'https://h', ca_file: /nowhere}")), slog.New(slog.DiscardHandler)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestAuthorityChanges: its file is read once, so a participant is made anew when its
// content changed.
func TestAuthorityChanges(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	write := func(extra string) {
		t.Helper()
		text := "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(s.Certificate().Raw) + "\n-----END CERTIFICATE-----\n" + extra
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	text := file("a: {url: '" + s.URL + "', ca_file: " + path + "}")
	f, r, log := start(t, text)
	if err := f.Apply(t.Context(), parse(t, text), r); err != nil || r.took() != "" {
		t.Error(err)
	}
	write("# renewed\n")
	if err := f.Apply(t.Context(), parse(t, text), r); err != nil || r.took() != "+a 5s" {
		t.Error(err, r.calls)
	}
	if strings.Contains(log.String(), "does not answer") {
		t.Error(log)
	}
}

// TestRetired: a participant that was replaced finishes its calls, and leaves no
// connection.
func TestRetired(t *testing.T) {
	a := newService(t, "a", false)
	f, r, _ := start(t, file("a: {url: '"+a.URL+"'}"))
	old, _ := f.Participants()
	xid, err := dtc.ParseXID("dtc.l7h2yx7jyhcywaxz.1-285377ee.1")
	if err != nil {
		t.Fatal(err)
	}
	voted := make(chan error, 1)
	go func() {
		vote, err := old[0].Prepare(context.Background(), dtc.Branch{Participant: "a", TxID: "t", XID: xid, Attempt: 1})
		if vote != dtc.VoteCommit && err == nil {
			err = errors.New("no vote")
		}
		voted <- err
	}()
	<-a.enter
	if err := f.Apply(t.Context(), parse(t, "participants: {}"), r); err != nil || r.took() != "-a" {
		t.Error(err)
	}
	if a.open() == 0 {
		t.Error("the call was cut off")
	}
	a.leave <- true
	if err := <-voted; err != nil {
		t.Error(err)
	}
	until(t, "its connections are closed", func() bool { return a.open() == 0 })
}

// TestDownHoldsNothingUp: one that never answers is not waited for longer than
// ProbeTime, and they are asked side by side.
func TestDownHoldsNothingUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := newService(t, "z", true)
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("p%d: {url: 'http://us3r:hunter2@%s'}", i, l.Addr()))
	}
	began := time.Now()
	f, _, log := start(t, file(append(all, "z: {url: '"+a.URL+"'}")...))
	if took := time.Since(began); took > 10*ProbeTime { // side by side it is one
		t.Errorf("it took %v", took)
	}
	participants, _ := f.Participants()
	if !participants[20].(dtc.Lister).Listing() {
		t.Error("one that answers was not heard")
	}
	if n := strings.Count(log.String(), "does not answer yet"); n != 20 || strings.Contains(log.String(), "hunter2") {
		t.Error(n, log)
	}
}

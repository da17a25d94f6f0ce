package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

// ServiceChild is the process of one service: it serves the database in dir as a
// participant, and what the demo needs besides, on address. It asks the demo, at the
// address steps, what is to become of each call. It runs until ctx ends.
func ServiceChild(ctx context.Context, dir, name, address, steps string, out io.Writer) error {
	i := slices.Index(shop.Names, name)
	if i < 0 {
		return fmt.Errorf("there is no service %q", name)
	}
	s := shop.New(dir)[i]
	if err := s.Start(ctx); err != nil {
		return err
	}
	l, err := listenAgain(ctx, address)
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	d := &door{
		name: name, inside: dtchttp.NewParticipantHandler(s, nil),
		teller: teller{url: "http://" + steps, client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}},
	}
	mux := http.NewServeMux()
	mux.Handle("/dtc/", http.StripPrefix("/dtc", d))
	mux.HandleFunc("POST /stock", counted(func(r *http.Request, n int) (any, error) {
		return nil, s.Stock(r.Context(), r.FormValue("of"), n)
	}))
	mux.HandleFunc("POST /deposit", counted(func(r *http.Request, n int) (any, error) {
		return nil, s.Deposit(r.Context(), r.FormValue("of"), n)
	}))
	mux.HandleFunc("POST /numbers", counted(func(r *http.Request, n int) (any, error) {
		return s.Numbers(r.Context(), n)
	}))
	mux.HandleFunc("POST /late", counted(func(*http.Request, int) (any, error) {
		d.deliver(true)
		return nil, nil
	}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if _, err := fmt.Fprintf(out, "%s serves http://%s\n", name, l.Addr()); err != nil {
		return err
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		err = server.Close() // nobody is left who would be told
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}
	return errors.Join(err, s.Stop())
}

// listenAgain listens where somebody who was killed has listened before: for a
// moment the address may still be in use.
func listenAgain(ctx context.Context, address string) (net.Listener, error) {
	for until := time.Now().Add(patience / 2); ; {
		l, err := net.Listen("tcp", address)
		if err == nil || time.Now().After(until) {
			return l, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// counted is a handler of a call with a number n.
func counted(do func(r *http.Request, n int) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		var answer any
		if err == nil {
			answer, err = do(r, n)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer) // who does not read it asks again
	}
}

// door is where the calls of the coordinator come in: it tells the demo of each, and
// lets happen to it what the demo wants.
type door struct {
	teller
	name   string
	inside http.Handler

	mu   sync.Mutex
	late []*http.Request // on their way
	come int             // messages since the first of them left
}

const lateBy = 8 // messages that overtake one that is late

// ServeHTTP implements [http.Handler].
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method != http.MethodPost {
		d.inside.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var call struct {
		TxID    string `json:"tx_id"`
		Attempt int    `json:"attempt"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.deliver(false)
	e := event{Kind: calling, Tx: call.TxID, Participant: d.name, Verb: verb, Attempt: call.Attempt}
	fault, err := d.tell(r.Context(), e)
	if err != nil {
		panic(http.ErrAbortHandler) // the demo or the caller is gone
	}
	switch fault {
	case dtctest.Late:
		d.keep(r, body)
		panic(http.ErrAbortHandler) // what that does to the connection is what a lost message does
	case dtctest.Drop:
		panic(http.ErrAbortHandler)
	case dtctest.Duplicate:
		d.carryOut(r.Context(), r, body)
	case dtctest.Echo:
		d.keep(r, body)
	case dtctest.NoFault, dtctest.LoseAnswer, dtctest.AtOnce, dtctest.Delay, dtctest.Hang,
		dtctest.HangPast, dtctest.CrashBefore, dtctest.CrashAfter:
	}
	answer := d.carryOut(r.Context(), r, body)
	e.Kind = called
	e.Vote, e.Error, e.NoVote = answer.read(verb)
	if _, err := d.tell(r.Context(), e); err != nil || fault == dtctest.LoseAnswer {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.code)
	_, _ = w.Write(answer.body.Bytes())
}

func (d *door) carryOut(ctx context.Context, r *http.Request, body []byte) *kept {
	r = r.Clone(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))
	k := &kept{header: http.Header{}, code: http.StatusOK}
	d.inside.ServeHTTP(k, r)
	return k
}

// keep keeps a message for later.
func (d *door) keep(r *http.Request, body []byte) {
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.late) == 0 {
		d.come = 0
	}
	d.late = append(d.late, r)
}

// deliver delivers what is late enough, or everything.
func (d *door) deliver(all bool) {
	d.mu.Lock()
	d.come++
	var arrived []*http.Request
	if all || d.come > lateBy {
		arrived, d.late = d.late, nil
	}
	d.mu.Unlock()
	for _, r := range arrived {
		d.inside.ServeHTTP(&kept{header: http.Header{}}, r)
	}
}

// kept is an answer that is not sent yet.
type kept struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(code int)        { k.code = code }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

// read returns what the answer means: a vote, what is wrong, and whether it is no
// answer to a prepare.
func (k *kept) read(verb string) (vote, wrong string, noVote bool) {
	var answer struct {
		Vote   string `json:"vote"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(k.body.Bytes(), &answer); err != nil {
		return "", err.Error(), true
	}
	if k.code == http.StatusOK && verb == string(dtctest.MethodPrepare) {
		return answer.Vote, answer.Reason, false
	}
	if k.code == http.StatusOK {
		return "", "", false
	}
	return dtc.VoteAbort.String(), answer.Detail, k.code >= http.StatusInternalServerError
}

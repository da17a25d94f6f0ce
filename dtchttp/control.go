package dtchttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/failpoint"
)

// Role says what a caller of the control API may do. Operator is all of them, and the
// calls that change what the coordinator decided to do.
type Role string

// The roles.
const (
	RoleApp         Role = "app"         // run, begin, grow and end transactions, and look one up
	RoleParticipant Role = "participant" // ask what became of its branches
	RoleObserver    Role = "observer"    // read everything
	RoleOperator    Role = "operator"    // everything; retry and resolve
)

// Caller is who makes a request.
type Caller struct {
	Name  string // for the audit; no secret
	Roles []Role
	// Participant, if not empty, is the only participant about whose branches a caller
	// in the role of a participant may ask.
	Participant string
}

// has reports whether the caller has one of the roles.
func (c *Caller) has(roles []Role) bool {
	return slices.ContainsFunc(c.Roles, func(r Role) bool { return r == RoleOperator || slices.Contains(roles, r) })
}

// ControlOptions changes the defaults of [NewControlHandler]. The zero value, and nil,
// serve everybody who can connect.
type ControlOptions struct {
	// Authenticate says who makes a request; nil means that everybody may do
	// everything. If it fails the answer is 401 with the text of the error, which
	// must not hold a secret. It is called from several goroutines.
	Authenticate func(*http.Request) (Caller, error)
	// Describe says what kind of participant the coordinator has under an id, and
	// where it is served, without credentials. nil means that it is not known.
	Describe func(participant string) (kind, url string)
	// Logger gets a line for each action of an operator, at warn, and panics. nil
	// means slog.Default.
	Logger *slog.Logger
	// MaxInFlight is how many requests may run transactions, or wait for them, at a
	// time; zero means 10,000. Others are refused with 429. As many again may commit
	// or roll back what was begun by steps: new work takes none of their places.
	MaxInFlight int
	// MaxBytes bounds the memory that bodies of requests take at a time, in bytes;
	// zero means 256 MiB. What does not fit is refused with 429.
	MaxBytes int64
}

// ControlHandler serves the control API of a coordinator, below /v1/, and /livez and
// /readyz. It is made by [NewControlHandler], and may be used by many goroutines.
//
// A transaction runs on when its client goes away: the client asks by id, or posts
// again. Bodies are at most 1 MiB of JSON, payloads 256 KiB, and no member may be
// unknown or stand twice. Errors are application/problem+json (RFC 9457) with a code.
//
// Time limits for reading and writing are those of the [http.Server].
type ControlHandler struct {
	o           ControlOptions
	coordinator atomic.Pointer[dtc.Coordinator]
	draining    atomic.Bool
	bytes       atomic.Int64

	mu      sync.Mutex
	running int           // requests that run a whole transaction
	ending  int           // requests that commit or roll back one that was begun
	idle    chan struct{} // closed when there are none of both; nil if nobody waits
}

// places is the count in which a call stands while it is in flight.
func (h *ControlHandler) places(route *controlRoute) *int {
	if route.begins {
		return &h.running
	}
	return &h.ending
}

// NewControlHandler returns a handler that is not ready until [ControlHandler.Use].
func NewControlHandler(opts *ControlOptions) *ControlHandler {
	h := &ControlHandler{}
	if opts != nil {
		h.o = *opts
	}
	if h.o.Logger == nil {
		h.o.Logger = slog.Default()
	}
	if h.o.MaxInFlight == 0 {
		h.o.MaxInFlight = 10_000
	}
	if h.o.MaxBytes == 0 {
		h.o.MaxBytes = 256 << 20
	}
	return h
}

// Use makes the handler serve a coordinator from now on.
func (h *ControlHandler) Use(c *dtc.Coordinator) { h.coordinator.Store(c) }

// Drain makes the handler refuse, from now on, what would begin a transaction or let
// one grow. Those that were begun may be ended, and everybody may ask.
func (h *ControlHandler) Drain() { h.draining.Store(true) }

// Wait returns when no request runs a transaction, or with ctx's error.
func (h *ControlHandler) Wait(ctx context.Context) error {
	h.mu.Lock()
	if h.running+h.ending == 0 {
		h.mu.Unlock()
		return nil
	}
	if h.idle == nil {
		h.idle = make(chan struct{})
	}
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter counts a request that is about to run a transaction, if there is room for it.
func (h *ControlHandler) enter(c *controlCall) *partProblem {
	if c.route.runs {
		n := h.places(c.route)
		h.mu.Lock()
		if c.entered = *n < h.o.MaxInFlight; c.entered {
			*n++
		}
		h.mu.Unlock()
		switch {
		case c.entered:
		case c.route.begins:
			return partTrouble(http.StatusTooManyRequests, "full", fmt.Sprintf("%d requests are waiting for transactions; nothing was begun", h.o.MaxInFlight))
		default:
			return partTrouble(http.StatusTooManyRequests, "full", fmt.Sprintf("%d requests are waiting for transactions to end; nothing was done to this one: ask again", h.o.MaxInFlight))
		}
	}
	return h.drained(c.route) // looked at once it is counted, so that Wait waits for what this lets in
}

// leave gives back what a request took.
func (h *ControlHandler) leave(c *controlCall) {
	h.bytes.Add(-c.bytes)
	if !c.entered {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.places(c.route)--
	if h.running+h.ending == 0 && h.idle != nil {
		close(h.idle)
		h.idle = nil
	}
}

// drained refuses what would begin a transaction or let one grow while draining.
func (h *ControlHandler) drained(route *controlRoute) *partProblem {
	if !route.begins || !h.draining.Load() {
		return nil
	}
	return partTrouble(http.StatusServiceUnavailable, "draining", "the coordinator is shutting down and takes nothing new; nothing was begun")
}

// controlCall is one request.
type controlCall struct {
	*dtc.Coordinator
	w       http.ResponseWriter
	r       *http.Request
	route   *controlRoute
	caller  Caller
	args    map[string]string // what stands in the path
	entered bool              // it is counted among those in flight
	bytes   int64             // of its body, as far as it has come
}

// controlRoute is one call of the API. Anyone in one of the roles may make it, and an
// operator.
type controlRoute struct {
	method, path string
	roles        []Role
	serve        func(*ControlHandler, *controlCall) *partProblem
	begins       bool // it begins a transaction or lets one grow
	runs         bool // it may wait for participants
}

var controlRoutes = []controlRoute{
	{"POST", "/v1/transactions", []Role{RoleApp}, (*ControlHandler).run, true, true},
	{"GET", "/v1/transactions", []Role{RoleObserver}, (*ControlHandler).list, false, false},
	{"POST", "/v1/transactions/begin", []Role{RoleApp}, (*ControlHandler).begin, true, false},
	{"GET", "/v1/transactions/{id}", []Role{RoleApp, RoleObserver}, (*ControlHandler).show, false, false},
	{"POST", "/v1/transactions/{id}/branches", []Role{RoleApp}, (*ControlHandler).enlist, true, false},
	{"POST", "/v1/transactions/{id}/commit", []Role{RoleApp}, (*ControlHandler).commit, false, true},
	{"POST", "/v1/transactions/{id}/rollback", []Role{RoleApp}, (*ControlHandler).rollback, false, true},
	{"POST", "/v1/transactions/{id}/retry", []Role{RoleOperator}, (*ControlHandler).retry, false, false},
	{"POST", "/v1/transactions/{id}/branches/{participant}/resolve", []Role{RoleOperator}, (*ControlHandler).resolve, false, false},
	{"GET", "/v1/branches/{xid}/{participant}", []Role{RoleParticipant, RoleObserver}, (*ControlHandler).decision, false, false},
	{"GET", "/v1/participants", []Role{RoleObserver}, (*ControlHandler).participants, false, false},
}

// match returns what stands in a path in the places of a pattern's names.
func (p *controlRoute) match(segments []string) (args map[string]string, ok bool) {
	i := 0
	for want := range strings.SplitSeq(p.path, "/") {
		switch {
		case i == len(segments):
			return nil, false
		case strings.HasPrefix(want, "{"):
			if args == nil {
				args = map[string]string{}
			}
			args[want[1:len(want)-1]] = segments[i]
		case want != segments[i]:
			return nil, false
		}
		i++
	}
	return args, i == len(segments)
}

// ServeHTTP implements [http.Handler].
func (h *ControlHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch e := recover(); {
		case e == http.ErrAbortHandler: //nolint:errorlint // recovered values are compared
			panic(e)
		case e != nil:
			h.o.Logger.Error("a request to the control API panicked", "error", fmt.Sprint(e), "stack", string(debug.Stack()))
			partTrouble(http.StatusInternalServerError, "internal", "the coordinator failed; ask again by id").write(w)
		}
	}()
	var trouble *partProblem
	switch r.URL.Path {
	case "/livez", "/readyz":
		trouble = h.probe(w, r)
	default:
		trouble = h.serve(w, r)
	}
	if trouble != nil {
		trouble.write(w)
	}
}

func (h *ControlHandler) serve(w http.ResponseWriter, r *http.Request) *partProblem {
	route, args, trouble := controlFind(w, r)
	if trouble != nil {
		return trouble
	}
	caller, trouble := h.authorize(r, route.roles)
	if trouble != nil {
		h.auditRefused(r, caller, route, args, trouble)
		return trouble
	}
	coordinator := h.coordinator.Load()
	if coordinator == nil {
		trouble = partTrouble(http.StatusServiceUnavailable, "not_ready", "the log is being read")
		h.auditRefused(r, caller, route, args, trouble)
		return trouble
	}
	if trouble := h.drained(route); trouble != nil {
		return trouble
	}
	if s := r.Header.Get("Traceparent"); s != "" {
		r = r.WithContext(WithTraceparent(r.Context(), s))
	}
	c := &controlCall{Coordinator: coordinator, w: w, r: r, route: route, caller: caller, args: args}
	defer h.leave(c)
	failpoint.Hit(failpoint.ServeAccepted)
	return route.serve(h, c)
}

// controlFind finds the call that is meant.
func controlFind(w http.ResponseWriter, r *http.Request) (*controlRoute, map[string]string, *partProblem) {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for i, s := range segments {
		var err error
		if segments[i], err = url.PathUnescape(s); err != nil {
			return nil, nil, partTrouble(http.StatusBadRequest, "bad_request", "the path cannot be read")
		}
	}
	var allowed []string
	for i := range controlRoutes {
		route := &controlRoutes[i]
		args, ok := route.match(segments)
		switch {
		case !ok:
		case r.Method == route.method, r.Method == http.MethodHead && route.method == http.MethodGet:
			return route, args, nil
		default:
			allowed = append(allowed, route.method)
		}
	}
	if allowed == nil {
		return nil, nil, partTrouble(http.StatusNotFound, "not_found", "there is no such call; see the description of the API")
	}
	return nil, nil, controlNotAllowed(w, allowed...)
}

func controlNotAllowed(w http.ResponseWriter, allowed ...string) *partProblem {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return partTrouble(http.StatusMethodNotAllowed, "method_not_allowed", "this is called with "+strings.Join(allowed, " or "))
}

// authorize finds out who calls, and whether it may.
func (h *ControlHandler) authorize(r *http.Request, roles []Role) (Caller, *partProblem) {
	if h.o.Authenticate == nil {
		return Caller{Roles: []Role{RoleOperator}}, nil
	}
	caller, err := h.o.Authenticate(r)
	if err != nil {
		return Caller{}, partTrouble(http.StatusUnauthorized, "unauthorized", err.Error())
	}
	if !caller.has(roles) {
		var words []string
		for _, role := range roles {
			words = append(words, string(role))
		}
		return caller, partTrouble(http.StatusForbidden, "forbidden", fmt.Sprintf("this needs the role %s", strings.Join(words, " or ")))
	}
	return caller, nil
}

// Require returns a handler that serves only callers in one of the roles.
func (h *ControlHandler) Require(role Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, trouble := h.authorize(r, []Role{role}); trouble != nil {
			trouble.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// probe answers whoever starts, stops and balances servers, and has no token.
func (h *ControlHandler) probe(w http.ResponseWriter, r *http.Request) *partProblem {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return controlNotAllowed(w, http.MethodGet)
	}
	if r.URL.Path == "/readyz" {
		return h.ready(w, r)
	}
	controlText(w, http.StatusOK, "ok\n")
	return nil
}

// ready answers whether work may be sent here.
func (h *ControlHandler) ready(w http.ResponseWriter, r *http.Request) *partProblem {
	c := h.coordinator.Load()
	verbose := r.URL.Query().Has("verbose")
	if verbose {
		if _, trouble := h.authorize(r, []Role{RoleObserver}); trouble != nil {
			return trouble
		}
	}
	checks := []struct {
		name string
		err  error
	}{{"replay", nil}, {"log", nil}, {"drain", nil}}
	if c == nil {
		checks[0].err = errors.New("replaying: the log is being read")
	} else if err := c.Err(); err != nil {
		checks[1].err = fmt.Errorf("poisoned: %w", err)
	}
	if h.draining.Load() {
		checks[2].err = errors.New("draining: the coordinator is shutting down")
	}
	var text strings.Builder
	var reasons []string
	for _, check := range checks {
		if check.err != nil {
			reasons = append(reasons, check.err.Error())
			fmt.Fprintf(&text, "[-] %s: %v\n", check.name, check.err)
		} else {
			fmt.Fprintf(&text, "[+] %s: ok\n", check.name)
		}
	}
	if c != nil {
		if hold, held := c.Held(); held { // new transactions run all the same
			fmt.Fprintf(&text, "[!] hold: nothing of earlier runs is presumed: %s\n", partLine(hold.Reason))
		}
	}
	status, last := http.StatusOK, "ok"
	if reasons != nil {
		status, last = http.StatusServiceUnavailable, "not ready: "+strings.Join(reasons, "; ")
		w.Header().Set("Retry-After", "1")
	}
	if !verbose {
		text.Reset()
	}
	controlText(w, status, text.String()+last+"\n")
	return nil
}

func controlText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // whoever asked may have gone away
}

// auditRefused notes that somebody tried what only an operator may do.
func (h *ControlHandler) auditRefused(r *http.Request, caller Caller, route *controlRoute, args map[string]string, trouble *partProblem) {
	if slices.Contains(route.roles, RoleOperator) {
		h.audit(r, caller, route.path, args, trouble.Code, &controlRequest{})
	}
}

// audit notes what an operator did, or tried to do, always with the same keys. Outcome
// and reason are what was stated, as far as the request could be read.
func (h *ControlHandler) audit(r *http.Request, caller Caller, action string, args map[string]string, result string, q *controlRequest) {
	outcome := ""
	if q.Outcome != dtc.OutcomeUnknown {
		outcome = q.Outcome.String()
	}
	h.o.Logger.Warn("operator action",
		"action", action[strings.LastIndex(action, "/")+1:], "tx", partLine(args["id"]), "participant", partLine(args["participant"]),
		"caller", caller.Name, "remote", r.RemoteAddr, "result", result, "outcome", outcome, "reason", partLine(q.Reason))
}

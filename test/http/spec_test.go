// Package http_test checks the descriptions of the HTTP interfaces, docs/reference/openapi*.yaml,
// against the servers and clients that they describe.
package http_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// spec is one description, and what was seen of it.
type spec struct {
	t         *testing.T
	model     *v3.Document
	validator validator.Validator

	mu   sync.Mutex
	seen map[string]bool // operations with statuses and codes, "GET /livez 200"
}

// operation is one operation of a description.
type operation struct {
	method, path string
	item         *v3.PathItem
	*v3.Operation
}

func (o *operation) String() string { return o.method + " " + o.path }

// load reads a description, which must be one by the rules of OpenAPI.
func load(t *testing.T, name string) *spec {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func parse(t *testing.T, text []byte) *spec {
	t.Helper()
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	// Strict: what is not described is an error, also where more is allowed. A payload is
	// anything, and headers are those of HTTP.
	v, errs := validator.NewValidator(doc, config.WithStrictMode(), config.WithFormatAssertions(),
		config.WithStrictIgnorePaths("$.body.payload", "$.body.payload.**", "$.body.branches[*].payload", "$.body.branches[*].payload.**"),
		config.WithStrictIgnoredHeadersExtra("Retry-After", "Cache-Control", "X-Content-Type-Options", "Vary", "Allow", "Www-Authenticate", "Idempotency-Key", "Traceparent"))
	if errs != nil {
		t.Fatal(errs)
	}
	s := &spec{t: t, model: &model.Model, validator: v, seen: map[string]bool{}}
	if ok, errs := v.ValidateDocument(); !ok {
		t.Fatalf("it is no OpenAPI: %s", why(errs))
	}
	return s
}

// operations returns all operations.
func (s *spec) operations() (all []*operation) {
	for path, item := range s.model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			all = append(all, &operation{strings.ToUpper(method), path, item, op})
		}
	}
	return all
}

// find returns the operations at a path, those that name it most exactly first.
func (s *spec) find(path string) (at []*operation) {
	segments := strings.Split(path, "/")
	for _, op := range s.operations() {
		want := strings.Split(op.path, "/")
		if slices.EqualFunc(want, segments, func(w, s string) bool { return w == s || strings.HasPrefix(w, "{") }) {
			at = append(at, op)
		}
	}
	slices.SortStableFunc(at, func(a, b *operation) int { return strings.Count(a.path, "{") - strings.Count(b.path, "{") })
	return at
}

// watch returns a handler that checks what comes to the next one, and what it answers.
func (s *spec) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		parts := []io.Reader{bytes.NewReader(body)}
		if err != nil {
			parts = append(parts, failing{err})
		}
		r.Body = io.NopCloser(io.MultiReader(parts...))
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.check(r, body, rec.status, w.Header(), rec.body.Bytes())
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

// check checks one request, if it was understood, and its answer.
func (s *spec) check(r *http.Request, body []byte, status int, header http.Header, answer []byte) {
	s.t.Helper()
	call := fmt.Sprintf("%s %s %.200s: %d %.400s", r.Method, r.URL, body, status, answer)
	bad := func(format string, args ...any) {
		s.t.Helper()
		s.t.Errorf("%s: %s", call, fmt.Sprintf(format, args...))
	}
	at := s.find(r.URL.EscapedPath())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // of which it is a part; the recorder has the body
	}
	i := slices.IndexFunc(at, func(op *operation) bool { return op.method == method })
	if i < 0 {
		s.checkOther(at, status, header, answer, bad)
		return
	}
	op := at[i]
	resp := op.Responses.Codes.GetOrZero(strconv.Itoa(status))
	if resp == nil {
		bad("the file does not list this status for %s", op)
		return
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(answer, &problem) // it may be something else
	s.seen[strings.TrimSpace(fmt.Sprint(op, " ", status, " ", problem.Code))] = true
	media, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || resp.Content.GetOrZero(media) == nil {
		bad("the media type is %q (%v)", header.Get("Content-Type"), err)
		return
	}
	if c := params["charset"]; c != "" && c != "utf-8" {
		bad("the charset is %s", c)
	}
	for name := range header {
		if _, described := described(resp, name); !described && !slices.Contains([]string{"Content-Type", "Cache-Control", "X-Content-Type-Options", "Vary"}, name) {
			bad("the header %s is not described", name)
		}
	}
	again := s.request(r, body)
	_, errs := s.validator.ValidateHttpResponse(again, &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(answer)), Request: again,
	})
	if len(errs) > 0 {
		bad("the answer: %s", why(errs))
	}
	if status < 300 {
		if ok, errs := s.validator.ValidateHttpRequestSync(s.request(r, body)); !ok {
			bad("the request was taken: %s", why(errs))
		}
	}
}

func described(resp *v3.Response, name string) (*v3.Header, bool) {
	for n, h := range resp.Headers.FromOldest() {
		if http.CanonicalHeaderKey(n) == name {
			return h, true
		}
	}
	return nil, false
}

// checkOther checks the answer to what is no operation.
func (s *spec) checkOther(at []*operation, status int, header http.Header, answer []byte, bad func(string, ...any)) {
	want, code := http.StatusNotFound, `"code":"not_found"`
	if at != nil {
		want, code = http.StatusMethodNotAllowed, `"code":"method_not_allowed"`
		var methods []string
		for _, op := range at {
			methods = append(methods, op.method)
		}
		if allow := strings.Split(header.Get("Allow"), ", "); !sameSet(allow, methods) {
			bad("Allow is %q, and the file has %q", allow, methods)
		}
	}
	if status != want || !strings.Contains(string(answer), code) || header.Get("Content-Type") != "application/problem+json" {
		bad("want %d %s", want, code)
	}
	s.value(s.model.Components.Schemas.GetOrZero("Problem"), answer, bad)
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// value checks a JSON text against a schema.
func (s *spec) value(schema *base.SchemaProxy, text []byte, bad func(string, ...any)) {
	if ok, errs := schema_validation.NewSchemaValidator(config.WithFormatAssertions()).ValidateSchemaBytes(schema.Schema(), text); !ok {
		bad("%s", why(errs))
	}
}

// request returns a copy of a request for the validator.
func (s *spec) request(r *http.Request, body []byte) *http.Request {
	c := r.Clone(r.Context())
	if c.Method == http.MethodHead {
		c.Method = http.MethodGet
	}
	c.Body, c.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		c.Body = http.NoBody
	}
	return c
}

// refuses reports whether the file says that a request must not be sent.
func (s *spec) refuses(method, target, body string) bool {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	ok, _ := s.validator.ValidateHttpRequestSync(s.request(r, []byte(body)))
	return !ok
}

// codes returns the codes that an answer may have, or one that is empty.
func codes(resp *v3.Response) (codes []string) {
	problem := resp.Content.GetOrZero("application/problem+json")
	if problem == nil {
		return []string{""}
	}
	code := problem.Schema.Schema().AllOf[1].Schema().Properties.GetOrZero("code").Schema()
	if code.Const != nil {
		return []string{code.Const.Value}
	}
	for _, word := range code.Enum {
		codes = append(codes, word.Value)
	}
	return codes
}

// complete checks that every status and code of every operation was seen, but for those that have
// a reason.
func (s *spec) complete(unseen map[string]string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[string]bool{}
	for _, op := range s.operations() {
		for status, resp := range op.Responses.Codes.FromOldest() {
			for _, code := range codes(resp) {
				listed[strings.TrimSpace(op.String()+" "+status+" "+code)] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		if !s.seen[name] && unseen[name] == "" {
			s.t.Errorf("the file says %s, which was never seen", name)
		}
	}
	for name, reason := range unseen {
		if s.seen[name] || !listed[name] {
			s.t.Errorf("%s: it was seen, or is not in the file: %s", name, reason)
		}
	}
}

func why(errs []*errors.ValidationError) string {
	var b strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&b, "%s (%s)", e.Message, e.Reason)
		for _, c := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "; %s: %s", c.FieldPath, c.Reason)
		}
		b.WriteString("\n")
	}
	return b.String()
}

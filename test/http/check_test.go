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
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Headers of HTTP that may stand in any request and any answer.
var (
	usual = []string{"Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent"}
	given = []string{"Cache-Control", "Content-Type", "Vary", "X-Content-Type-Options"}
)

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
		s.check(r, body, rec.status, w.Header(), rec.body.Bytes(), func(format string, args ...any) {
			s.t.Errorf("%s %s %.200s: %d %.400s: %s", r.Method, r.URL, body, rec.status, rec.body.Bytes(), fmt.Sprintf(format, args...))
		})
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
func (s *spec) check(r *http.Request, body []byte, status int, header http.Header, answer []byte, bad func(string, ...any)) {
	op, at := s.operation(r)
	if op == nil {
		s.checkOther(at, status, header, answer, bad)
		return
	}
	resp := op.get("responses", strconv.Itoa(status))
	if !resp.exists() {
		bad("the file does not list this status for %s", op)
		return
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(answer, &problem) // it may be something else
	s.seen[strings.TrimSpace(fmt.Sprint(op, " ", status, " ", problem.Code))] = true
	rest := header.Clone()
	for name, h := range resp.get("headers").each() {
		s.parameter("header "+name, h, header.Values(name), bad)
		rest.Del(name)
	}
	for name := range rest {
		if !slices.Contains(given, name) {
			bad("the header %s is not described", name)
		}
	}
	s.body(resp, header, answer, bad) // the recorder has it also of HEAD
	if status < 300 {
		s.request(op, r, body, func(format string, args ...any) {
			bad("the request was taken: %s", fmt.Sprintf(format, args...))
		})
	}
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
	s.text(s.schema("Problem"), "application/problem+json", answer, bad)
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// body checks the body of a request or an answer, of which the file describes what n is.
func (s *spec) body(n node, header http.Header, text []byte, bad func(string, ...any)) {
	media, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	content := n.get("content", media)
	if err != nil || !content.exists() {
		bad("the media type is %q (%v)", header.Get("Content-Type"), err)
		return
	}
	if c := params["charset"]; c != "" && c != "utf-8" {
		bad("the charset is %s", c)
	}
	s.text(content.get("schema"), media, text, bad)
}

// text checks a text of a media type against a schema.
func (s *spec) text(schema node, media string, text []byte, bad func(string, ...any)) {
	var v any = string(text)
	if strings.HasSuffix(media, "json") {
		var err error
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
			bad("%v", err)
			return
		}
	}
	s.value(schema, v, bad)
}

// parameter checks what stands for a parameter or a header.
func (s *spec) parameter(what string, n node, texts []string, bad func(string, ...any)) {
	if len(texts) > 1 || len(texts) == 0 && n.get("required").v == true {
		bad("%s stands there %d times", what, len(texts))
	}
	schema := n.get("schema")
	for _, text := range texts {
		var v any = text
		if i, err := strconv.ParseInt(text, 10, 64); err == nil && schema.get("type").v == "integer" {
			v = i
		}
		s.value(schema, v, func(format string, args ...any) { bad("%s: %s", what, fmt.Sprintf(format, args...)) })
	}
}

// request checks a request to an operation.
func (s *spec) request(op *operation, r *http.Request, body []byte, bad func(string, ...any)) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		bad("%v", err)
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if _, v, _ := strings.Cut(pair, "="); strings.ContainsAny(v, ":/?#[]@!$'()*,;=") {
			bad("%q: a reserved character is not encoded", pair)
		}
	}
	path, segments := url.Values{}, strings.Split(r.URL.EscapedPath(), "/")
	for i, want := range strings.Split(op.path, "/") {
		if strings.HasPrefix(want, "{") {
			v, err := url.PathUnescape(segments[i])
			if err != nil {
				bad("%v", err)
			}
			path.Set(strings.Trim(want, "{}"), v)
		}
	}
	rest := map[string]url.Values{"path": path, "query": query, "header": maps.Clone(url.Values(r.Header))}
	for _, p := range op.params {
		name, in := p.get("name").text(), p.get("in").text()
		if in == "header" {
			name = http.CanonicalHeaderKey(name)
		}
		s.parameter(in+" "+name, p, rest[in][name], bad)
		delete(rest[in], name)
	}
	for in, values := range rest {
		for name := range values {
			if in != "header" || !slices.Contains(usual, name) {
				bad("%s %s is not described", in, name)
			}
		}
	}
	described := op.get("requestBody")
	switch {
	case len(body) > 0:
		s.body(described, r.Header, body, bad)
	case described.get("required").v == true:
		bad("the body is missing")
	}
}

// refuses reports whether the file says that a request must not be sent.
func (s *spec) refuses(method, target, body string) (refused bool) {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	op, _ := s.operation(r)
	if op == nil {
		s.t.Errorf("%s %s is no operation", method, target)
		return false
	}
	s.request(op, r, []byte(body), func(string, ...any) { refused = true })
	return refused
}

// Package http_test checks the descriptions of the HTTP interfaces, docs/reference/openapi*.yaml,
// against the servers and clients that they describe.
package http_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

//go:embed testdata/openapi-3.1-schema.json
var official []byte

// spec is one description, and what was seen of it.
type spec struct {
	t        *testing.T
	root     node
	all      []*operation
	schemas  []node
	compiled map[string]*jsonschema.Schema // by place
	wrong    []error

	mu   sync.Mutex
	seen map[string]bool // operations with statuses and codes, "GET /livez 200"
}

// operation is one operation of a description.
type operation struct {
	node
	method, path string
	params       []node
}

func (o *operation) String() string { return o.method + " " + o.path }

// load reads a description, which must be one by the rules of OpenAPI.
func load(t *testing.T, name string) *spec {
	t.Helper()
	s, err := parse(read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	return s
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse(text []byte) (*spec, error) {
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	text, err := json.Marshal(doc) // fails if a name is no text
	if err != nil {
		return nil, err
	}
	if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		return nil, err
	}
	if err := isOpenAPI(doc); err != nil {
		return nil, fmt.Errorf("it is no OpenAPI: %w", err)
	}
	root := doc.(map[string]any)
	s := &spec{root: node{root, "#", doc}, compiled: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	s.look(s.root)
	whole := map[string]any{} // a schema by its name may be a part, too
	for name := range s.root.get("components", "schemas").each() {
		whole[name] = map[string]any{"$ref": "#/components/schemas/" + name}
	}
	root["x-whole"] = whole
	for name, schema := range s.root.get("x-whole").each() {
		s.whole(name, schema)
	}
	if err := errors.Join(s.wrong...); err != nil {
		return nil, err
	}
	for path, item := range s.root.get("paths").each() {
		for method, op := range item.each() {
			if !slices.Contains([]string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}, method) {
				continue
			}
			var params []node
			for _, list := range []node{item.get("parameters"), op.get("parameters")} {
				for _, p := range list.each() {
					params = append(params, p)
				}
			}
			s.all = append(s.all, &operation{op, strings.ToUpper(method), path, params})
		}
	}
	return s, s.compile()
}

// isOpenAPI checks a document by the schema of such documents.
func isOpenAPI(doc any) error {
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(official))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("https://dtc.test/official", text); err != nil {
		return err
	}
	schema, err := c.Compile("https://dtc.test/official")
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}

// schema returns a schema that stands under components, as one of a whole value.
func (s *spec) schema(name string) node { return s.root.get("x-whole", name) }

// operations returns all operations.
func (s *spec) operations() []*operation { return s.all }

// find returns the operations at a path, those that name it most exactly first.
func (s *spec) find(path string) (at []*operation) {
	segments := strings.Split(path, "/")
	for _, op := range s.all {
		want := strings.Split(op.path, "/")
		if slices.EqualFunc(want, segments, func(w, s string) bool { return w == s || strings.HasPrefix(w, "{") }) {
			at = append(at, op)
		}
	}
	slices.SortStableFunc(at, func(a, b *operation) int { return strings.Count(a.path, "{") - strings.Count(b.path, "{") })
	return at
}

// operation returns the operation of a request, or nil, and all operations at its path.
func (s *spec) operation(r *http.Request) (op *operation, at []*operation) {
	at = s.find(r.URL.EscapedPath())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // of which it is a part
	}
	if i := slices.IndexFunc(at, func(op *operation) bool { return op.method == method }); i >= 0 {
		op = at[i]
	}
	return op, at
}

// codes returns the codes that an answer may have, or one that is empty.
func codes(resp node) []string {
	problem := resp.get("content", "application/problem+json")
	if !problem.exists() {
		return []string{""}
	}
	code := problem.get("schema", "allOf", "1", "properties", "code")
	if c := code.get("const"); c.exists() {
		return []string{c.text()}
	}
	if words := code.get("enum").texts(); words != nil {
		return words
	}
	return []string{"of any kind"} // which is never seen
}

// complete checks that every status and code of every operation was seen, but for those that have
// a reason.
func (s *spec) complete(unseen map[string]string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[string]bool{}
	for _, op := range s.all {
		for status, resp := range op.get("responses").each() {
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

package http_test

import "testing"

var files = []string{"openapi.yaml", "openapi-participant.yaml"}

// TestExamples: every request, answer, parameter and schema has an example, which is one
// by its schema.
func TestExamples(t *testing.T) {
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			if n := load(t, name).examples(t.Errorf); n < 50 {
				t.Errorf("there are only %d examples", n)
			}
		})
	}
}

// examples checks the examples, of which it returns the count.
func (s *spec) examples(bad func(string, ...any)) (n int) {
	one := func(where string, schema, example node) {
		if !example.exists() {
			bad("%s has no example", where)
			return
		}
		n++
		s.value(schema, example.v, func(format string, args ...any) {
			bad("the example of "+where+" %v: "+format, append([]any{example.v}, args...)...)
		})
	}
	content := func(where string, described node) {
		for media, m := range described.get("content").each() {
			if len(m.get("examples").names()) == 0 {
				bad("%s %s has no example", where, media)
			}
			for _, e := range m.get("examples").each() {
				one(where+" "+media, m.get("schema"), e.get("value"))
			}
		}
	}
	named := func(where string, described node) {
		if described.get("description").text() == "" {
			bad("%s lacks a description", where)
		}
		one(where, described.get("schema"), described.get("example"))
	}
	for _, op := range s.operations() {
		if op.get("summary").text() == "" || op.get("description").text() == "" || op.get("operationId").text() == "" || len(op.get("tags").texts()) != 1 {
			bad("%s lacks a summary, a description, an id or a tag", op)
		}
		for _, p := range op.params {
			named(op.String()+" "+p.get("name").text(), p)
		}
		content(op.String(), op.get("requestBody"))
		for code, resp := range op.get("responses").each() {
			if resp.get("description").text() == "" {
				bad("%s %s lacks a description", op, code)
			}
			content(op.String()+" "+code, resp)
			for name, h := range resp.get("headers").each() {
				named(op.String()+" "+code+" "+name, h)
			}
		}
	}
	for name := range s.root.get("components", "schemas").each() {
		schema := s.schema(name)
		if schema.get("description").text() == "" {
			bad("schema %s lacks a description", name)
		}
		for _, e := range schema.get("examples").each() {
			one("schema "+name, schema, e)
		}
	}
	return n
}

package http_test

import (
	"encoding/json"
	"testing"

	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"
)

var files = []string{"openapi.yaml", "openapi-participant.yaml"}

// TestExamples: every request, answer, parameter and schema has an example, which is one
// by its schema.
func TestExamples(t *testing.T) {
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			s := load(t, name)
			n := 0
			one := func(where string, schema *base.SchemaProxy, node interface{ Decode(any) error }) {
				var v any
				if err := node.Decode(&v); err != nil {
					t.Errorf("the example of %s: %v", where, err)
					return
				}
				text, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				n++
				s.value(schema, text, func(format string, args ...any) {
					t.Errorf("the example of "+where+" "+string(text)+": "+format, args...)
				})
			}
			content := func(where string, content *orderedmap.Map[string, *v3.MediaType]) {
				for media, m := range content.FromOldest() {
					if m.Examples.Len() == 0 {
						t.Errorf("%s %s has no example", where, media)
					}
					for _, e := range m.Examples.FromOldest() {
						one(where+" "+media, m.Schema, e.Value)
					}
				}
			}
			for _, op := range s.operations() {
				if op.Summary == "" || op.Description == "" || op.OperationId == "" || len(op.Tags) != 1 {
					t.Errorf("%s lacks a summary, a description, an id or a tag", op)
				}
				for _, p := range append(op.item.Parameters, op.Parameters...) {
					if p.Description == "" || p.Example == nil {
						t.Errorf("%s: parameter %s lacks a description or an example", op, p.Name)
						continue
					}
					one(op.String()+" "+p.Name, p.Schema, p.Example)
				}
				if op.RequestBody != nil {
					content(op.String(), op.RequestBody.Content)
				}
				for code, resp := range op.Responses.Codes.FromOldest() {
					if resp.Description == "" {
						t.Errorf("%s %s lacks a description", op, code)
					}
					content(op.String()+" "+code, resp.Content)
				}
			}
			for name, schema := range s.model.Components.Schemas.FromOldest() {
				if schema.Schema().Description == "" {
					t.Errorf("schema %s lacks a description", name)
				}
				for _, e := range schema.Schema().Examples {
					one("schema "+name, schema, e)
				}
			}
			if n < 50 {
				t.Errorf("there are only %d examples", n)
			}
		})
	}
}

package http_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// keywords are those that a schema may have besides those that part looks into.
var keywords = []string{
	"$ref", "type", "description", "examples", "default", "enum", "const", "pattern", "minLength", "maxLength",
	"minimum", "maximum", "minItems", "maxItems", "maxProperties", "required",
}

func (s *spec) bad(n node, what string) {
	s.wrong = append(s.wrong, fmt.Errorf("%s %s", n.at, what))
}

// look goes through what is no schema and no example, as far as there are schemas.
func (s *spec) look(n node) {
	if n.refers() && !n.target().exists() {
		s.bad(n, "refers to nothing")
	}
	for name, child := range n.each() {
		switch name {
		case "schema":
			s.whole(name, child)
		case "schemas":
			for _, schema := range child.each() {
				s.part(schema)
			}
		case "value", "example":
		default:
			s.look(child)
		}
	}
}

// whole makes the schema of a whole value strict: what it does not describe is an error, also
// where more is allowed. A payload is anything.
func (s *spec) whole(name string, n node) {
	s.part(n)
	if schema, ok := n.v.(map[string]any); ok && !strings.EqualFold(name, "payload") {
		schema["unevaluatedProperties"], schema["unevaluatedItems"] = false, false
	}
}

// part looks into a schema that may describe only a part of a value, as in allOf.
func (s *spec) part(n node) {
	s.schemas = append(s.schemas, n)
	for keyword, child := range n.each() {
		switch keyword {
		case "properties":
			for name, property := range child.each() {
				s.whole(name, property)
			}
		case "items":
			s.whole(keyword, child)
		case "allOf", "anyOf":
			for _, member := range child.each() {
				s.part(member)
			}
		case "format":
			if child.v != "date-time" {
				s.bad(child, "is a format that nothing checks")
			}
		case "additionalProperties":
			if child.v != false {
				s.bad(child, "allows what is not described")
			}
		default:
			if !slices.Contains(keywords, keyword) {
				s.bad(child, "is no keyword that is known here")
			}
		}
	}
}

// compile compiles all schemas, which must be ones of JSON Schema 2020-12.
func (s *spec) compile() error {
	const url = "https://dtc.test/description"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(url, s.root.v); err != nil {
		return err
	}
	for _, n := range s.schemas {
		schema, err := c.Compile(url + n.at)
		if err != nil {
			return err
		}
		s.compiled[n.at] = schema
	}
	return nil
}

// value checks a value against a schema. Where it is wrong inside, what is around that counts as
// not described, and is listed too, as "false schema".
func (s *spec) value(schema node, v any, bad func(string, ...any)) {
	compiled := s.compiled[schema.at]
	if compiled == nil {
		bad("%q is no schema", schema.at)
		return
	}
	if err := compiled.Validate(v); err != nil {
		bad("%v", err)
	}
}

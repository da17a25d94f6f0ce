package config

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
	"github.com/dtc-project/dtc/dtchttp"
)

// reading reads one file.
type reading struct {
	*loading
	name, dir string
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (?s:(.*))$`)

func (l *loading) file(name string, content []byte) {
	r := reading{l, name, filepath.Dir(name)}
	var doc yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	err := decoder.Decode(&doc)
	var next yaml.Node
	switch {
	case errors.Is(err, io.EOF): // there is nothing in it, or comments only
		return
	case err != nil:
		r.syntax(err)
		return
	case decoder.Decode(&next) == nil:
		r.wrong(&next, "there is a second document; write one")
		return
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return
	}
	r.mapping(doc.Content[0], "the file", func(key string, k, v *yaml.Node) {
		switch s := find(key); {
		case key == "participants":
			r.participants(v)
		case key == "certificates":
			r.certificates(v)
		case s == nil:
			r.wrong(k, "unknown key %q%s", key, guess(key, keys()))
		default:
			if value, ok := r.value(s, key, v); ok {
				r.put(s, value, Place{name, k.Line})
			}
		}
	})
}

func keys() []string {
	names := []string{"participants", "certificates"}
	for _, s := range Settings {
		names = append(names, s.Name)
	}
	return names
}

func (r *reading) syntax(err error) {
	place, text := Place{File: r.name}, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		place.Line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	r.mistake(place, "this is no YAML: %s", text)
}

func (r *reading) wrong(n *yaml.Node, format string, args ...any) {
	r.mistake(Place{r.name, n.Line}, format, args...)
}

// mapping calls f for each key of a mapping.
func (r *reading) mapping(n *yaml.Node, what string, f func(key string, k, v *yaml.Node)) {
	n = target(n)
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "%s must hold keys with values, as in 'key: value', and is %s", what, kindOf(n))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			r.wrong(k, "a key must be a word")
			continue
		}
		if line, twice := first[k.Value]; twice {
			r.wrong(k, "%q stands twice: first in line %d", k.Value, line)
			continue
		}
		first[k.Value] = k.Line
		f(k.Value, k, n.Content[i+1])
	}
}

// value returns the text of a setting, if the node can be one.
func (r *reading) value(s *Setting, key string, n *yaml.Node) (string, bool) {
	n = target(n)
	want := map[kind]string{
		text: "a text", path: "a path", address: "an address, as in 127.0.0.1:7420", word: "one of " + strings.Join(s.words, ", "),
		toggle: "true or false", number: "a whole number", duration: "a duration, as in 5s or 250ms",
	}[s.kind]
	tag := map[kind]string{toggle: "!!bool", number: "!!int"}[s.kind]
	if tag == "" {
		tag = "!!str"
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tag {
		what := kindOf(n)
		if n.Kind == yaml.ScalarNode && !isNull(n) && s.kind != text && s.kind != path { // those may be secrets in the wrong place
			what += " (" + strconv.Quote(n.Value) + ")"
		}
		r.wrong(n, "%s must be %s, and is %s", key, want, what)
		return "", false
	}
	value := n.Value
	if s.kind == toggle {
		value = strings.ToLower(value)
	}
	if s.kind == path {
		value = below(r.dir, value)
	}
	return value, true
}

func (r *reading) participants(n *yaml.Node) {
	if isNull(n) {
		return
	}
	r.mapping(n, "participants", func(id string, k, v *yaml.Node) {
		name := "participants." + id
		r.c.places[name] = Place{r.name, k.Line}
		var p Participant
		timing := map[string]string{}
		r.mapping(v, "participant "+id, func(key string, k, v *yaml.Node) {
			s := participantSetting(key)
			if s == nil {
				r.wrong(k, "participant %s: unknown key %q%s", id, key, guess(key, participantKeys()))
				return
			}
			r.c.places[name+"."+key] = Place{r.name, k.Line}
			value, ok := r.value(s, key, v)
			if !ok {
				return
			}
			if err := s.Check(value); err != nil {
				r.wrong(v, "participant %s: %s: %w", id, key, err)
				return
			}
			if field := p.field(key); field != nil {
				*field = value
			} else {
				timing[key] = value
			}
		})
		r.c.Participants[id] = p
		r.timings[id] = timing
	})
}

// participantSetting returns how a key of a participant is to be read, or nil.
func participantSetting(key string) *Setting {
	switch key {
	case "url", "server_name":
		return &Setting{Name: key, kind: text, field: func(c *Config) any { return new(string) }}
	case "bearer_token_file", "password_file", "ca_file", "cert_file", "key_file":
		return &Setting{Name: key, kind: path, field: func(c *Config) any { return new(string) }}
	}
	if s := find(key); s != nil && s.Live {
		return s
	}
	return nil
}

// participantKeys are the keys that a participant can have.
func participantKeys() []string {
	names := []string{"url", "bearer_token_file", "password_file", "ca_file", "cert_file", "key_file", "server_name"}
	for _, s := range Settings {
		if s.Live {
			names = append(names, s.Name)
		}
	}
	return names
}

func (p *Participant) field(key string) *string {
	return map[string]*string{
		"url": &p.URL, "server_name": &p.ServerName, "bearer_token_file": &p.BearerTokenFile, "password_file": &p.PasswordFile,
		"ca_file": &p.CAFile, "cert_file": &p.CertFile, "key_file": &p.KeyFile,
	}[key]
}

func (r *reading) certificates(n *yaml.Node) {
	if isNull(n) {
		return
	}
	r.mapping(n, "certificates", func(name string, k, v *yaml.Node) {
		r.c.places["certificates"] = Place{r.name, k.Line}
		words, err := roleWords(target(v))
		if err == nil {
			_, _, err = access.ParseRoles(words)
		}
		if err != nil {
			r.wrong(v, "certificate %s: %w", name, err)
			return
		}
		for _, w := range words {
			r.c.Certificates[name] = append(r.c.Certificates[name], dtchttp.Role(w))
		}
	})
}

func roleWords(n *yaml.Node) (words []string, err error) {
	wrong := errors.New("want a role, or a list of roles as in [app, observer]")
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		return []string{n.Value}, nil
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		return nil, wrong
	}
	for _, c := range n.Content {
		if c = target(c); c.Kind != yaml.ScalarNode || c.ShortTag() != "!!str" {
			return nil, wrong
		}
		words = append(words, c.Value)
	}
	return words, nil
}

// target is what an alias names.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindOf says what a node is.
func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "a mapping"
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "a text"
	}
	return fmt.Sprintf("of the type %s", n.ShortTag())
}

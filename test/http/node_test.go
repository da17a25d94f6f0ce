package http_test

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// node is a place in a description, or nowhere.
type node struct {
	root map[string]any
	at   string // its JSON pointer as a fragment; empty is nowhere
	v    any
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func (n node) exists() bool { return n.at != "" }

// get goes down by names. What does not stand at a place is looked for where it refers to.
func (n node) get(names ...string) node {
	for _, name := range names {
		n = n.down(name)
	}
	return n
}

func (n node) down(name string) node {
	switch v := n.v.(type) {
	case map[string]any:
		if child, ok := v[name]; ok {
			return node{n.root, n.at + "/" + pointer.Replace(name), child}
		}
		if _, ok := v["$ref"]; ok {
			return n.target().down(name)
		}
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i < len(v) {
			return node{n.root, n.at + "/" + name, v[i]}
		}
	}
	return node{}
}

// target returns the place that a place refers to.
func (n node) target() node {
	ref, _ := n.v.(map[string]any)["$ref"].(string)
	to := node{n.root, "#", n.root}
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return node{} // another file
	}
	for name := range strings.SplitSeq(path, "/") {
		to = to.down(strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
	}
	return to
}

// each returns the members of an object and the elements of a list, by name.
func (n node) each() iter.Seq2[string, node] {
	var names []string
	switch v := n.v.(type) {
	case map[string]any:
		names = slices.Sorted(maps.Keys(v))
	case []any:
		for i := range v {
			names = append(names, strconv.Itoa(i))
		}
	}
	return func(yield func(string, node) bool) {
		for _, name := range names {
			if !yield(name, n.down(name)) {
				return
			}
		}
	}
}

// names returns the names of the members.
func (n node) names() (names []string) {
	for name := range n.each() {
		names = append(names, name)
	}
	return names
}

// text returns a text, or "".
func (n node) text() string {
	s, _ := n.v.(string)
	return s
}

// texts returns the texts of a list.
func (n node) texts() (texts []string) {
	for _, e := range n.each() {
		if s, ok := e.v.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// refers reports whether there is a reference at a place.
func (n node) refers() bool {
	v, _ := n.v.(map[string]any)
	_, ok := v["$ref"]
	return ok
}

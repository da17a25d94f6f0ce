package failpoint_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// points returns the names of all points by the names of their constants, as they stand
// in the one file that has them.
func points(t testing.TB) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/failpoint/names.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil || len(v.Names) != 1 {
				t.Fatalf("%s: want one name and one text", v.Names[0].Name)
			}
			all[v.Names[0].Name] = name
		}
	}
	return all
}

// names returns the names of all points, sorted.
func names(t testing.TB) (all []string) {
	for _, name := range points(t) {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Every point stands in one place of shipping code, and no two have one name.
func TestEachPointHasOnePlace(t *testing.T) {
	places := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && isName(s.X, "failpoint") && s.Sel.Name != "Hit" {
				places[s.Sel.Name] = append(places[s.Sel.Name], fset.Position(s.Pos()).String())
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for constant, name := range points(t) {
		if n := len(places[constant]); n != 1 {
			t.Errorf("%s stands in %d places, want 1: %v", constant, n, places[constant])
		}
		if other := seen[name]; other != "" {
			t.Errorf("%s and %s are both called %s", constant, other, name)
		}
		seen[name] = constant
		delete(places, constant)
	}
	for other, where := range places {
		t.Errorf("failpoint.%s, at %v, is no point of names.go", other, where)
	}
}

func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// An ordinary binary has nothing of it: no name, no variable of the environment, no
// function but those that the compiler inlines. That the search would find them is seen
// in a binary with the tag.
func TestOrdinaryBinaryHasNoPoints(t *testing.T) {
	look := func(binary string) (found []string) {
		text, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		words := append(names(t), "DTC_FAILPOINT", "internal/failpoint.Hit", "internal/failpoint.arm")
		for _, word := range words {
			if bytes.Contains(text, []byte(word)) {
				found = append(found, word)
			}
		}
		return found
	}
	ordinary := build(t, "dtc", "")
	if found := look(ordinary); found != nil {
		t.Errorf("the ordinary binary has %q", found)
	}
	tagged := look(build(t, "dtc", "failpoint"))
	for _, word := range []string{"wal/before-sync", "tx/decision-synced", "serve/accepted", "DTC_FAILPOINT", "internal/failpoint.Hit", "internal/failpoint.arm"} {
		if !slices.Contains(tagged, word) {
			t.Errorf("the binary with the tag has no %q: the search finds nothing", word)
		}
	}
	t.Logf("the binary with the tag has %d of %d names", len(tagged)-3, len(names(t)))
}

package dtc_test

// These tests keep the promises that the house makes about itself: what depends
// on what, and what must never be named. Each reads the files as they stand, so
// that it also sees code which no build on this machine would compile.

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/dtc-project/dtc"

// pureImports is everything that the protocol may import of the standard
// library: nothing that can wait, look at a clock or touch the world.
// .golangci.yml holds the same list.
var pureImports = []string{
	"bytes", "cmp", "encoding/base32", "errors", "fmt", "iter", "math/bits",
	"slices", "sort", "strconv", "strings",
}

// ownImports says which of our packages a package may import outside its tests.
// A path that ends in "/" stands for everything below it. Packages that are not
// named here are free.
var ownImports = map[string][]string{
	".":                  {"internal/", "txlog", "wal"},
	"internal/canary":    {},
	"internal/failpoint": {},
	"internal/logcheck":  {},
	"internal/protocol":  {"internal/canary"},
	"txlog":              {"internal/protocol"},
	"internal/refs":      {"txlog"},
	"wal":                {"internal/canary", "internal/chance", "internal/failpoint", "internal/protocol", "internal/brief", "internal/refs", "internal/vfs", "txlog"},
}

// outsideWorkspace names the modules that go.work leaves out, and why.
var outsideWorkspace = map[string]string{
	"tools": "its requirements must not choose versions for the code",
}

func TestRootModuleRequiresNothing(t *testing.T) {
	for _, line := range directives(t, "go.mod") {
		switch word, _, _ := strings.Cut(line, " "); word {
		case "module", "go":
		default:
			t.Errorf("go.mod: %q: the root module is the standard library only; it has nothing but module and go", line)
		}
	}
}

func TestEveryModuleIsInTheWorkspace(t *testing.T) {
	used := map[string]bool{}
	for _, line := range directives(t, "go.work") {
		if word, dir, ok := strings.Cut(line, " "); ok && word == "use" {
			used[path.Clean(unquote(dir))] = true
		}
	}
	for _, dir := range modules(t) {
		if why := outsideWorkspace[dir]; !used[dir] && why == "" {
			t.Errorf("%s has a go.mod but is not in go.work, so its tests are not run", dir)
		} else if used[dir] && why != "" {
			t.Errorf("%s is in go.work: %s", dir, why)
		}
		delete(used, dir)
	}
	for dir := range used {
		t.Errorf("go.work uses %s, which is no module", dir)
	}
}

func TestProtocolIsPure(t *testing.T) {
	// What the protocol imports of ours is part of it, and as pure.
	todo := []string{"internal/protocol"}
	if len(sources(t)[todo[0]]) == 0 {
		t.Fatal("no files in internal/protocol")
	}
	for seen := map[string]bool{}; len(todo) > 0; {
		dir := todo[0]
		todo = todo[1:]
		if seen[dir] {
			continue
		}
		seen[dir] = true
		for _, f := range sources(t)[dir] {
			if f.test {
				continue
			}
			for _, imp := range f.imports {
				if own, ok := ownPackage(imp); ok {
					todo = append(todo, own)
				} else if !slices.Contains(pureImports, imp) {
					t.Errorf("%s imports %s, which is not in the list of pure packages", f.name, imp)
				}
			}
			f.noConcurrency(t)
		}
	}
}

func TestRootModuleImports(t *testing.T) {
	nested := modules(t)
	for dir, files := range sources(t) {
		if moduleOf(nested, dir) != "." {
			continue
		}
		for _, f := range files {
			for _, imp := range f.imports {
				own, ok := ownPackage(imp)
				switch {
				case !ok && !standard(imp):
					t.Errorf("%s imports %s: the root module is the standard library only", f.name, imp)
				case ok && moduleOf(nested, own) != ".":
					t.Errorf("%s imports %s, which is in another module", f.name, imp)
				}
			}
		}
	}
}

func TestDependenciesPointOneWay(t *testing.T) {
	all := sources(t)
	for _, dir := range slices.Sorted(maps.Keys(ownImports)) {
		for _, f := range all[dir] {
			if f.test {
				continue
			}
			for _, imp := range f.imports {
				own, ok := ownPackage(imp)
				if ok && !slices.ContainsFunc(ownImports[dir], func(allowed string) bool {
					return own == allowed || strings.HasSuffix(allowed, "/") && strings.HasPrefix(own, allowed)
				}) {
					t.Errorf("%s imports %s; of ours it may import %q", f.name, own, ownImports[dir])
				}
			}
		}
	}
}

// TestSecondDecoderSharesNothing: the second opinion on a log is worth something
// only as long as nothing of ours stands behind both, in its tests neither.
func TestSecondDecoderSharesNothing(t *testing.T) {
	files := sources(t)["internal/logcheck"]
	if len(files) == 0 {
		t.Fatal("no files in internal/logcheck")
	}
	for _, f := range files {
		for _, imp := range f.imports {
			if own, ok := ownPackage(imp); ok && own != "internal/logcheck" {
				t.Errorf("%s imports %s; the second decoder of a log has nothing in common with the first", f.name, own)
			}
		}
	}
	readers := []string{"cmd/dtc", "internal/logcheck/compare", "internal/sim"}
	for dir, files := range sources(t) {
		for _, f := range files {
			if !f.test && !slices.Contains(readers, dir) && slices.Contains(f.imports, modulePath+"/internal/logcheck") {
				t.Errorf("%s imports internal/logcheck; no log is read by it for any other purpose than to compare", f.name)
			}
		}
	}
}

// walk calls fn for every regular file of the repository, by its path from the
// root. What git and `make lint` keep for themselves is not of the repository.
func walk(t *testing.T, fn func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // somebody else's, and gone between the listing and the look
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == ".bin" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.Type().IsRegular():
			fn(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// modules returns the directories that have a go.mod, the root as ".".
func modules(t *testing.T) (dirs []string) {
	t.Helper()
	walk(t, func(name string) {
		if path.Base(name) == "go.mod" && !testdata(name) {
			dirs = append(dirs, path.Dir(name))
		}
	})
	if !slices.Contains(dirs, ".") {
		t.Fatal("the test does not run at the root of the repository")
	}
	return dirs
}

// moduleOf returns which of the modules a directory belongs to.
func moduleOf(modules []string, dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if slices.Contains(modules, dir) {
			return dir
		}
	}
	return dir
}

// source is a Go file as these tests see it.
type source struct {
	name    string
	test    bool
	imports []string
	fset    *token.FileSet
	syntax  *ast.File
}

// parsed is what sources has found; the tests of this file run one after the other.
var parsed map[string][]source

// sources returns every Go file of the repository by its directory, whatever
// its build constraints.
func sources(t *testing.T) map[string][]source {
	t.Helper()
	if parsed != nil {
		return parsed
	}
	all := map[string][]source{}
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || testdata(name) {
			return
		}
		fset := token.NewFileSet()
		syntax, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		f := source{name: name, test: strings.HasSuffix(name, "_test.go"), fset: fset, syntax: syntax}
		for _, imp := range syntax.Imports {
			f.imports = append(f.imports, unquote(imp.Path.Value))
		}
		all[path.Dir(name)] = append(all[path.Dir(name)], f)
	})
	parsed = all
	return all
}

// noConcurrency fails the test for everything in f that starts or waits for a
// goroutine, or prints: no import, or only that of fmt, is needed for that.
func (f source) noConcurrency(t *testing.T) {
	t.Helper()
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			pkg, ok := n.X.(*ast.Ident)
			if ok && pkg.Name == "fmt" && (strings.HasPrefix(n.Sel.Name, "Print") || strings.Contains(n.Sel.Name, "can")) {
				t.Errorf("%s: fmt.%s touches the world", f.fset.Position(n.Pos()), n.Sel.Name)
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && (name.Name == "print" || name.Name == "println") {
				t.Errorf("%s: %s touches the world", f.fset.Position(n.Pos()), name.Name)
			}
		case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType:
			t.Errorf("%s: goroutines and channels have no place in the protocol", f.fset.Position(n.Pos()))
		}
		return true
	})
}

func testdata(name string) bool { return slices.Contains(strings.Split(name, "/"), "testdata") }

// ownPackage returns the directory of an import path of ours.
func ownPackage(imp string) (dir string, ok bool) {
	if imp == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imp, modulePath+"/")
}

// standard reports whether an import path is the standard library's: only there
// the first element has no dot. cgo's "C" is not.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return imp != "C" && !strings.Contains(first, ".")
}

// directives returns the directives of a go.mod or go.work file, those in blocks
// with their keyword before them.
func directives(t *testing.T, name string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block := ""
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "//")
		line = strings.Join(strings.Fields(line), " ")
		switch keyword, open := strings.CutSuffix(line, " ("); {
		case line == "":
		case open:
			block = keyword + " "
		case line == ")":
			block = ""
		default:
			lines = append(lines, block+line)
		}
	}
	return lines
}

func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}

// Package mvagtorch holds no code, only the test of the rules that
// ARCHITECTURE.md sets for all packages of the module.
package mvagtorch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "mvag-torch"

// rank orders the components of the program; a package may import those of a
// lower rank, and its own component. So train and eval never meet. The longest
// entry that a package's folder starts with counts.
var rank = map[string]int{
	"cmd":                  10,
	"serve":                9,
	"train":                8,
	"eval":                 8,
	"export":               8,
	"inspect":              8,
	"internal/doctor":      8,
	"model":                7,
	"dataset":              6,
	"configs":              5,
	"internal/tensor":      4,
	"internal/team":        5,
	"internal/golden":      3,
	"internal/npy":         2,
	"internal/atomicfile":  0,
	"internal/components":  0,
	"internal/download":    1,
	"internal/onnx":        2,
	"internal/pytorch":     2,
	"internal/safetensors": 1,
	"internal/heatmap":     0,
	"internal/interrupt":   0,
	"internal/libjpeg":     0,
	"internal/libtorch":    1,
	"internal/lock":        1,
	"internal/machine":     0,
	"internal/pagetest":    0,
	"internal/ranks":       0,
	"internal/printable":   0,
	"internal/regularfile": 0,
	"internal/testenv":     0,
}

// pure components build and test without LibTorch, and so without cgo.
var pure = []string{
	"cmd/launch", "configs", "dataset", "eval/metric", "eval/picture", "eval/report", "eval/score", "model/calibration", "model/checkpoint", "model/imagescore", "model/memory", "model/weights", "serve/drift", "serve/journal", "serve/metrics", "serve/page", "serve/publish", "train/feature", "train/schedule",
	"internal/atomicfile", "internal/components", "internal/doctor", "internal/download", "internal/golden", "internal/heatmap", "internal/interrupt", "internal/libjpeg", "internal/libtorch", "internal/lock", "internal/machine", "internal/npy", "internal/onnx", "internal/pagetest", "internal/printable", "internal/pytorch", "internal/ranks", "internal/regularfile", "internal/safetensors", "internal/testenv",
}

const (
	tensorPackage = "internal/tensor"  // the only one that knows gotch, and may panic
	jpegPackage   = "internal/libjpeg" // has C, too, behind a build tag
	maxFunc       = 60
	maxFile       = 400
)

// file is one parsed Go file of the module.
type file struct {
	name    string // relative to the module, with slashes
	dir     string
	test    bool
	lines   int
	tree    *ast.File
	imports []string          // paths
	byName  map[string]string // path by the name used in the file
}

// local returns the folder of an import of this module.
func local(imported string) (dir string, ok bool) {
	return strings.CutPrefix(imported, module+"/")
}

// within says whether dir is the component or a folder below it.
func within(dir, component string) bool {
	return dir == component || strings.HasPrefix(dir, component+"/")
}

// component returns the entry of rank that dir belongs to, "" if there is none.
func component(dir string) string {
	best := ""
	for c := range rank {
		if within(dir, c) && len(c) > len(best) {
			best = c
		}
	}
	return best
}

// isPure says whether the package in dir is one of pure.
func isPure(dir string) bool {
	return slices.ContainsFunc(pure, func(p string) bool { return within(dir, p) })
}

// walk calls visit for each file of the module, outputs of the program excepted.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	outputs := []string{".git", "backbones", "bin", "data", "dist", "runs", "shared"}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(outputs, name):
			return fs.SkipDir
		case d.Type().IsRegular():
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// parse reads all Go files of the module, this one excepted.
func parse(t *testing.T) (*token.FileSet, []*file) {
	t.Helper()
	set := token.NewFileSet()
	var files []*file
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || path.Dir(name) == "." {
			return
		}
		if strings.Contains(name, "/testdata/") {
			t.Errorf("%s: want no Go file there: \"./...\" passes over testdata", name)
		}
		tree, err := parser.ParseFile(set, filepath.FromSlash(name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		f := &file{
			name:   name,
			dir:    path.Dir(name),
			test:   strings.HasSuffix(name, "_test.go"),
			lines:  set.File(tree.FileStart).LineCount(),
			tree:   tree,
			byName: map[string]string{},
		}
		for _, spec := range tree.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			as := path.Base(imported)
			if spec.Name != nil {
				as = spec.Name.Name
			}
			f.imports = append(f.imports, imported)
			f.byName[as] = imported
		}
		files = append(files, f)
	})
	if len(files) == 0 {
		t.Fatal("no Go file found")
	}
	return set, files
}

func TestImportsPointDownwards(t *testing.T) {
	_, files := parse(t)
	for _, f := range files {
		own := component(f.dir)
		if own == "" {
			t.Errorf("%s: folder %s has no rank", f.name, f.dir)
			continue
		}
		for _, imported := range f.imports {
			dir, ok := local(imported)
			if !ok || f.test && isPure(dir) { // tests may compare with any pure package
				continue
			}
			if other := component(dir); other != own && rank[other] >= rank[own] {
				t.Errorf("%s: imports %s, want only what ranks below %s", f.name, dir, own)
			}
		}
	}
}

func TestOnlyTensorKnowsLibTorch(t *testing.T) {
	_, files := parse(t)
	for _, f := range files {
		for _, imported := range f.imports {
			gotch := within(imported, "github.com/sugarme/gotch")
			if (gotch || imported == "C" && f.dir != jpegPackage) && !within(f.dir, tensorPackage) {
				t.Errorf("%s: imports %q, want it in %s only", f.name, imported, tensorPackage)
			}
			if within(imported, "github.com/sugarme/gotch/ts") {
				t.Errorf("%s: imports %q, want gotch/libtch: ts leaks", f.name, imported)
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	_, files := parse(t)
	imports := map[string]map[string]bool{} // of this module, by folder
	for _, f := range files {
		for _, imported := range f.imports {
			if dir, ok := local(imported); ok {
				if imports[f.dir] == nil {
					imports[f.dir] = map[string]bool{}
				}
				imports[f.dir][dir] = true
			}
		}
	}
	var reach func(dir string, seen map[string]bool)
	reach = func(dir string, seen map[string]bool) {
		for next := range imports[dir] {
			if !seen[next] {
				seen[next] = true
				reach(next, seen)
			}
		}
	}
	for dir := range imports {
		if !isPure(dir) {
			continue
		}
		seen := map[string]bool{}
		reach(dir, seen)
		if seen[tensorPackage] {
			t.Errorf("%s: reaches %s (imports, in all: %q), want a package without LibTorch",
				dir, tensorPackage, slices.Sorted(maps.Keys(seen)))
		}
	}
}

func TestPackageComments(t *testing.T) {
	_, files := parse(t)
	described := map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		doc, name := f.tree.Doc.Text(), f.tree.Name.Name
		described[f.dir] = described[f.dir] || doc != ""
		if doc != "" && name != "main" && !strings.HasPrefix(doc, "Package "+name+" ") {
			t.Errorf("%s: package comment starts %.20q, want %q", f.name, doc, "Package "+name)
		}
	}
	for dir, ok := range described {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

func TestBannedCalls(t *testing.T) {
	set, files := parse(t)
	for _, f := range files {
		if f.test {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch name := f.callee(call); {
			case strings.HasPrefix(name, "log.Fatal"), strings.HasPrefix(name, "log.Panic"),
				name == "os.Exit" && !(within(f.dir, "cmd") && path.Base(f.name) == "main.go"),
				name == "panic" && !within(f.dir, tensorPackage):
				t.Errorf("%s: calls %s, want an error returned", set.Position(call.Pos()), name)
			}
			return true
		})
	}
}

// callee names the function that call calls: "panic", "os.Exit" (whatever
// name os is imported by), or "" for a method.
func (f *file) callee(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok && f.byName[x.Name] != "" {
			return f.byName[x.Name] + "." + fun.Sel.Name
		}
	}
	return ""
}

func TestLengths(t *testing.T) {
	set, files := parse(t)
	for _, f := range files {
		if f.test {
			continue
		}
		if f.lines > maxFile {
			t.Errorf("%s: have %d lines, want at most %d", f.name, f.lines, maxFile)
		}
		for _, decl := range f.tree.Decls {
			fun, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := set.Position(fun.End()).Line - set.Position(fun.Pos()).Line + 1
			if lines > maxFunc {
				t.Errorf("%s: %s: have %d lines, want at most %d", f.name, fun.Name.Name, lines, maxFunc)
			}
		}
	}
}

func TestNothingLeftOpen(t *testing.T) {
	open := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	walk(t, func(name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 { // a picture, or weights
			return
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if word := open.Find(line); word != nil {
				t.Errorf("%s:%d: %s", name, i+1, word)
			}
		}
	})
}

package main

import (
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

// mayImport is the structure of the project: which of our packages each may
// know. A package that is not in it has no place yet.
var mayImport = map[string][]string{
	"kabel/server":                {"kabel/server/httpapi", "kabel/server/session", "kabel/server/proof", "kabel/server/engine", "kabel/labs", "kabel/sandbox/host", "kabel/web"},
	"kabel/server/packet":         {"kabel/sandbox/topo"},
	"kabel/server/packet/filter":  {},
	"kabel/server/packet/journey": {"kabel/server/packet", "kabel/sandbox/topo"},
	"kabel/server/httpapi":        {"kabel/server/session", "kabel/server/capture", "kabel/server/packet", "kabel/server/packet/filter", "kabel/labs", "kabel/sandbox/host", "kabel/sandbox/topo"},
	"kabel/server/capture":        {"kabel/server/packet", "kabel/server/packet/filter", "kabel/server/packet/journey", "kabel/sandbox/host", "kabel/sandbox/topo"},
	"kabel/server/session":        {"kabel/server/capture", "kabel/server/packet", "kabel/server/packet/filter", "kabel/server/packet/journey", "kabel/labs", "kabel/sandbox/host", "kabel/sandbox/topo"},
	"kabel/server/proof":          {"kabel/server/session", "kabel/labs", "kabel/sandbox/host", "kabel/sandbox/topo"},
	"kabel/server/engine":         {},
	"kabel/sandbox":               {"kabel/sandbox/host", "kabel/sandbox/kernel", "kabel/sandbox/jail"},
	"kabel/sandbox/kernel":        {"kabel/sandbox/host", "kabel/sandbox/topo", "kabel/sandbox/jail"},
	"kabel/sandbox/host":          {"kabel/sandbox/topo"},
	"kabel/sandbox/host/contract": {"kabel/sandbox/host", "kabel/sandbox/topo"},
	"kabel/sandbox/jail":          {},
	"kabel/sandbox/topo":          {},
	"kabel/labs":                  {"kabel/sandbox/topo"},
	"kabel/web":                   {},
}

// onlyImporter names the packages that alone may import a library, so that
// another can take its place by a small change.
var onlyImporter = map[string][]string{
	"nhooyr.io/websocket":             {"kabel/server/httpapi"},
	"github.com/go-chi/chi":           {"kabel/server/httpapi"},
	"github.com/klauspost/compress":   {"kabel/server/httpapi"},
	"github.com/danielgtaylor/huma":   {"kabel/server/httpapi"},
	"github.com/google/gopacket":      {"kabel/server/packet"},
	"github.com/nats-io/nats-server":  {"kabel/server/engine"},
	"github.com/nats-io/nats.go":      {"kabel/server/engine", "kabel/sandbox/host", "kabel/sandbox"},
	"github.com/vishvananda/netlink":  {"kabel/sandbox/kernel"},
	"github.com/vishvananda/netns":    {"kabel/sandbox/kernel"},
	"github.com/creack/pty":           {"kabel/sandbox/jail"},
	"go.yaml.in/yaml":                 {"kabel/labs"},
	"cel.dev/cel-go":                  {"kabel/labs"},
	"github.com/prometheus":           {"kabel/server/httpapi"},
	"github.com/microcosm-cc":         {"kabel/labs"},
	"github.com/yuin/goldmark":        {"kabel/labs"},
	"github.com/santhosh-tekuri":      {"kabel/labs"},
	"github.com/invopop/jsonschema":   {"kabel/labs"},
	"golang.org/x/net/dns/dnsmessage": {"kabel/sandbox/jail", "kabel/sandbox/kernel"},
}

// TestImportRules reads the imports of every file; tests may import more, since
// they are in no program.
func TestImportRules(t *testing.T) {
	for _, f := range goFiles(t) {
		allowed, known := mayImport[f.pkg]
		if !known {
			t.Errorf("%s: package %s is not in the design", f.path, f.pkg)
			continue
		}
		for _, imp := range f.imports {
			if strings.HasSuffix(f.path, "_test.go") {
				continue
			}
			if strings.HasPrefix(imp, "kabel/") && !slices.Contains(allowed, imp) {
				t.Errorf("%s: %s may not import %s", f.path, f.pkg, imp)
			}
			if f.pkg == "kabel/sandbox/topo" && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				t.Errorf("%s: topo uses the standard library only, not %s", f.path, imp)
			}
			for lib, who := range onlyImporter {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.Contains(who, f.pkg) {
					t.Errorf("%s: %s is imported by %v only", f.path, lib, who)
				}
			}
		}
	}
}

// TestPackageComments wants exactly one package comment in every package.
func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		comments[f.pkg] = append(comments[f.pkg], f.comment...)
	}
	for pkg, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s has %d package comments, not one: %v", pkg, len(files), files)
		}
	}
}

type goFile struct {
	path, pkg string
	imports   []string
	comment   []string // the path, if the file has the package comment
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var out []goFile
	root := os.DirFS("..")
	for _, top := range []string{"server", "sandbox", "labs", "web"} {
		err := fs.WalkDir(root, top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "dist") {
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") {
				return nil
			}
			src, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly|parser.ParseComments)
			if err != nil {
				return err
			}
			f := goFile{path: path, pkg: "kabel/" + filepath.ToSlash(filepath.Dir(path))}
			for _, imp := range file.Imports {
				name, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					return err
				}
				f.imports = append(f.imports, name)
			}
			if file.Doc != nil {
				f.comment = []string{path}
			}
			out = append(out, f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

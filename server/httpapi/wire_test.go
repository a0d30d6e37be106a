package httpapi

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	source "go/token"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// described is where the page's types are made from.
const described = "../../web/src/openapi.json"

func description() *huma.OpenAPI {
	api := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "1"}).api.OpenAPI()
	api.Info.Description = "" // prose, for people
	return api
}

// KABEL_WRITE_OPENAPI=1 writes the file anew.
func TestThePageHasTheServersTypes(t *testing.T) {
	b, err := json.MarshalIndent(description(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if os.Getenv("KABEL_WRITE_OPENAPI") != "" {
		if err := os.WriteFile(described, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(described)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, b) {
		t.Errorf("%s tells of another server. Run make wire; where web/src/wire.check.ts does not compile then, mend the page's types.", described)
	}
}

// What is told as an enumeration has all the constants of its Go type.
func TestEnumerationsAreWhole(t *testing.T) {
	schemas := description().Components.Schemas.Map()
	for _, tt := range []struct{ dir, name, schema, property string }{
		{"../../sandbox/topo", "NodeKind", "Node", "kind"},
		{"../../sandbox/topo", "NodeKind", "NodeChange", "kind"},
		{"../../sandbox/topo", "ProbeKind", "Probe", "kind"},
		{"../../sandbox/topo", "ProbeKind", "ProbeInputBody", "kind"},
		{"../session", "State", "View", "state"},
		{"../session", "StepState", "StepView", "state"},
	} {
		var told []string
		for _, v := range schemas[tt.schema].Properties[tt.property].Enum {
			told = append(told, v.(string))
		}
		if is := constants(t, tt.dir, tt.name); len(is) == 0 || !slices.Equal(slices.Sorted(slices.Values(told)), is) {
			t.Errorf("%s.%s is told to be one of %q; there are %q", tt.schema, tt.property, told, is)
		}
	}
}

// constants are the values of a package's constants of a type, in order.
func constants(t *testing.T, dir, name string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		file, err := parser.ParseFile(source.NewFileSet(), f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == name && len(spec.Values) == 1 {
				if v, ok := spec.Values[0].(*ast.BasicLit); ok {
					text, err := strconv.Unquote(v.Value)
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, text)
				}
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}

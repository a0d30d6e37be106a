package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/httpapi"
	"kabel/server/session"
)

// A lab with a mistake is named to everybody; what the mistake is, which may quote a
// check, is told only where labs are being edited.
func TestLabsLeftOut(t *testing.T) {
	dir := t.TempDir()
	write := func(old, with string) {
		t.Helper()
		files, err := labs.Example("draft")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "draft"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			text := strings.Replace(string(b), old, with, 1)
			if err := os.WriteFile(filepath.Join(dir, "draft", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	load := func() *labs.Catalog {
		t.Helper()
		f, err := labs.OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c, err := f.Load()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, draft := range []bool{false, true} {
		write("check: node('host1/box')", "check: node('host1/bxo')")
		model := host.NewModel()
		reg, err := session.Open(t.Context(), session.Options{Host: model, Labs: load(), Records: &session.Memory{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s := httpapi.New(httpapi.Options{Sessions: reg, Log: slog.New(slog.DiscardHandler), Draft: draft})
		read := func() (c httpapi.Catalogue) {
			t.Helper()
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/catalogue", nil))
			if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			return c
		}
		broken := read()
		if broken.Draft != draft || len(broken.LeftOut) != 1 || broken.LeftOut[0].ID != "draft" {
			t.Fatalf("draft %v: got %+v", draft, broken)
		}
		mistakes := broken.LeftOut[0].Mistakes
		if draft && (len(mistakes) != 1 || !strings.HasPrefix(mistakes[0], "draft/lab.yaml:21:17: ") || !strings.Contains(mistakes[0], `did you mean "host1/box"?`)) {
			t.Errorf("an author is told of %q", mistakes)
		}
		if !draft && len(mistakes) > 0 {
			t.Errorf("a learner is told of %q", mistakes)
		}
		write("", "")
		reg.Teach(load())
		if mended := read(); len(mended.LeftOut) > 0 || mended.Edition == broken.Edition {
			t.Errorf("mended: %+v", mended)
		}
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	}
}

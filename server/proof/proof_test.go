package proof_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/proof"
	"kabel/server/session"
)

// changed is the lab one-namespace with something replaced in a file.
func changed(t *testing.T, file, old, with string) *labs.Catalog {
	t.Helper()
	const folder = "one-namespace"
	fsys := fstest.MapFS{}
	content := os.DirFS("../../labs/content")
	files, err := fs.Glob(content, folder+"/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := fs.ReadFile(content, name)
		if err != nil {
			t.Fatal(err)
		}
		if name == folder+"/"+file {
			if !strings.Contains(string(b), old) {
				t.Fatalf("%s has no %q", name, old)
			}
			b = []byte(strings.Replace(string(b), old, with, 1))
		}
		fsys[name] = &fstest.MapFile{Data: b}
	}
	c, err := labs.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func prove(t *testing.T, catalog *labs.Catalog, o proof.Options) *proof.Report {
	t.Helper()
	m := host.NewModel()
	sessions, err := session.Open(t.Context(), session.Options{Host: m, Labs: catalog, Records: &session.Memory{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	o.Patience = time.Second
	o.Sessions, o.Ways, o.Variants = sessions, []proof.Way{proof.Button}, []string{session.DefaultVariant}
	report, err := proof.Run(context.Background(), o, catalog.Labs())
	if err := errors.Join(err, sessions.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	return report
}

// A lab that does not keep a promise is told so, and where.
func TestBrokenPromisesAreFound(t *testing.T) {
	for name, broken := range map[string]struct{ file, old, with, step, fault string }{
		"a wrong solution that passes": {"lab.yaml", "check: node('host1/kon').exists", "check: node('host1/kontainer').exists || node('host1/kon').exists",
			"namespace", "namespace wrong another-name: it passes"},
		"a wrong solution with another hint": {"lab.yaml", "hint: both-inside", "hint: not-a-cable",
			"cable", `cable wrong inside-kon: it gets the hint "both-inside", not "not-a-cable"`},
		"a hint that no mistake makes": {"lab.yaml", "hint: both-inside", "hint: not-a-cable",
			"cable", "cable hint both-inside: no wrong solution makes this hint"},
		"a solution that does not do its step": {"lab.yaml", "- ip link set veth2 netns kon", "- ip link set veth2 up",
			"move", `move solution button 1: it is not done by its solution; the hint is "still-here"`},
		"a step that passes too early": {"lab.yaml", "check: link('host1','veth1').peer in ['host1:veth2', 'host1/kon:veth2']", "check: node('host1/kon').exists",
			"cable", "cable solution button 1: it passed before anything was done for it"},
		"an answer of which the texts don't speak": {"lab.yaml", "expect: only-lo", "expect: nothing",
			"namespace", `namespace solution button 1: the texts speak of the answer "nothing", and the kernel's is "only-lo"`},
		"a language that lacks a passage": {"vi.md", "### after\n\nBây giờ `ip link` cho thấy", "Bây giờ `ip link` cho thấy",
			"cable", "language vi: step/cable/after is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := prove(t, changed(t, broken.file, broken.old, broken.with), proof.Options{Step: broken.step})
			var text strings.Builder
			if err := report.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if report.Faulty() == 0 || !strings.Contains(text.String(), broken.fault) {
				t.Errorf("%q is not in:\n%s", broken.fault, text.String())
			}
		})
	}
}

// A step alone is proved without the others.
func TestOneStep(t *testing.T) {
	catalog, err := labs.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	report := prove(t, catalog, proof.Options{Step: "up"})
	if len(report.Labs) != 1 || report.Faulty() != 0 || report.Labs[0].Steps != 1 {
		var text strings.Builder
		_ = report.WriteText(&text)
		t.Error(text.String())
	}
	if !slices.ContainsFunc(report.Labs[0].Cases, func(c proof.Case) bool { return c.Kind == proof.KindWrong && c.Name == "one-end" }) {
		t.Errorf("the wrong solution was not tried: %+v", report.Labs[0].Cases)
	}
}

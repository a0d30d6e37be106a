package labs

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"kabel/sandbox/topo"
)

// Whatever the seed: a personal variant is a lab that is right, in which nothing
// that was to be drawn is as it was, and nothing is called like something else.
func TestPersonalVariantsOfBuiltInLabs(t *testing.T) {
	seeds, plans := 200, 5 // a plan costs much more than its names
	if os.Getenv("KABEL_ALL_SEEDS") != "" {
		plans = seeds
	}
	c, err := BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range c.Labs() {
		if !lab.Personal() {
			t.Errorf("%s has no personal variant", lab.ID)
			continue
		}
		t.Run(lab.ID, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				variant := fmt.Sprintf("%s-%06x", Personal, seed*83_491%(1<<24))
				drawn := judgeDrawing(t, lab, variant)
				if seed < plans {
					judgePersonalPlan(t, lab, variant, drawn)
				}
			}
		})
	}
}

func judgeDrawing(t *testing.T, lab *Lab, variant string) map[string]string {
	t.Helper()
	d := lab.personal.drawing
	drawn := d.replaced(d.draw(variant, Drawn{}))
	taken := map[string]string{}
	for from, to := range drawn {
		if other, twice := taken[to]; twice {
			t.Errorf("%s: both %s and %s became %s", variant, from, other, to)
		}
		taken[to] = from
		if d.words[to] {
			t.Errorf("%s: %s became %s, which the lab has already", variant, from, to)
		}
	}
	for _, n := range d.names {
		if !topo.ValidLinkName(drawn[n]) || !topo.ValidNetnsName(drawn[n]) || drawn[n] == n || ending(drawn[n]) != ending(n) {
			t.Errorf("%s: %s became %q", variant, n, drawn[n])
		}
	}
	for a := range d.inside {
		b, err := netip.ParseAddr(drawn[a.String()])
		if err != nil || !b.IsPrivate() || a == b {
			t.Errorf("%s: %s became %q", variant, a, drawn[a.String()])
		}
		for f := range d.foreign {
			if f.Contains(b) {
				t.Errorf("%s: %s became %s, which is in %s", variant, a, b, f)
			}
		}
	}
	return drawn
}

func judgePersonalPlan(t *testing.T, lab *Lab, variant string, drawn map[string]string) {
	t.Helper()
	p, err := lab.Plan(variant)
	if err != nil {
		t.Fatalf("%s: %v", variant, err)
	}
	for _, text := range shown(p) {
		for start, end := range words(text) {
			if word := text[start:end]; drawn[word] != "" {
				t.Fatalf("%s: %q is left in %q", variant, word, text)
			}
		}
	}
}

// shown lists all that a learner comes to see of a plan.
func shown(p *Plan) (out []string) {
	for _, m := range p.Machines {
		out = append(out, m.Name)
	}
	for _, s := range p.Setup {
		out = append(out, string(s.Node), s.Command())
	}
	for _, s := range p.Steps {
		for _, c := range s.Do {
			out = append(out, string(c.Op.Node), c.Text, c.Op.Command())
		}
		for _, q := range s.Probes {
			out = append(out, string(q.From), q.To)
		}
		if s.Predict != nil {
			out = append(out, s.Predict.Options...)
		}
	}
	for _, lang := range Languages() {
		t := p.Text(lang)
		out = append(out, t.Title, t.Summary, t.Intro)
		for _, s := range t.Steps {
			out = append(out, s.Title, s.Body, s.Question, s.After)
			for _, h := range s.Hints {
				out = append(out, h)
			}
			for _, o := range s.Options {
				out = append(out, o)
			}
		}
	}
	return out
}

func TestPersonalDrawing(t *testing.T) {
	d := newDrawing(&document{file: "x/lab.yaml"}, &labFile{ID: spot{Text: "x"}, Personal: &personalFile{
		Names:    []spot{{Text: "netns0"}, {Text: "veth0"}, {Text: "kon"}},
		Networks: []spot{{Text: "172.16.0.0/24"}},
	}}, []located{{"x/lab.yaml", spot{Text: "netns0 veth0 kon 172.16.0.1/24, 172.16.0 10.0.0.0/8", Line: 1, Column: 1, plain: true}}})
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	draw := func(variant string) map[string]string { return d.replaced(d.draw(variant, Drawn{})) }
	a, b := draw("personal-000001"), draw("personal-000002")
	if strings.TrimPrefix(a["netns0"], "netns") != strings.TrimPrefix(a["veth0"], "veth") {
		t.Errorf("names with one number should keep having one: %v", a)
	}
	if a["netns0"] == b["netns0"] && a["172.16.0.1"] == b["172.16.0.1"] {
		t.Errorf("two seeds drew the same: %v", a)
	}
	if got := a["172.16.0.1"]; !strings.HasSuffix(got, ".1") || !strings.HasPrefix(got, a["172.16.0"]+".") {
		t.Errorf("the host part should stay and the common part move along: %v", a)
	}
	if again := draw("personal-000001"); fmt.Sprint(again) != fmt.Sprint(a) {
		t.Errorf("one seed drew %v, then %v", a, again)
	}
}

func TestPersonalPlansAreAskedForBySeed(t *testing.T) {
	c, err := BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	lab := c.Lab("one-namespace")
	for _, wrong := range []string{Personal, "personal-", "personal-7F3A9C", "personal-7f3a9", "personal-7f3a9c0", "personal-7f3a9c\n"} {
		if _, err := lab.Plan(wrong); err == nil {
			t.Errorf("there is a plan for %q", wrong)
		}
	}
	for range maxPersonal + 8 {
		if _, err := lab.Plan(DrawPersonal()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(lab.personal.plans); n > maxPersonal {
		t.Errorf("%d plans are kept", n)
	}
	p, err := lab.Plan("personal-7f3a9c")
	if err != nil {
		t.Fatal(err)
	}
	if p.Variant != "personal-7f3a9c" {
		t.Errorf("the variant: %q", p.Variant)
	}
	for lang, want := range personalTitles {
		if got := p.Text(lang).Variants[Personal]; got != want {
			t.Errorf("%s: %q", lang, got)
		}
	}
	if !slices.Contains(Languages(), "ko") || len(personalTitles) != len(Languages()) {
		t.Error("a language has no title")
	}
}

func BenchmarkPersonalPlan(b *testing.B) {
	c, err := BuiltInOnce()
	if err != nil {
		b.Fatal(err)
	}
	lab := c.Lab("publish-a-port")
	for b.Loop() {
		if _, err := lab.Plan(DrawPersonal()); err != nil {
			b.Fatal(err)
		}
	}
}

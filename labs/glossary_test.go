package labs_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"kabel/labs"
)

func builtInGlossary(t *testing.T) *labs.Glossary {
	t.Helper()
	g, err := labs.BuiltInGlossary()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMarkTerms(t *testing.T) {
	g := builtInGlossary(t)
	for what, c := range map[string]struct{ lang, in, want string }{
		"the first of each":        {"en", "<p>A bridge, two bridges, a route.</p>", "<p>A [bridge:bridge], two bridges, a [route:route].</p>"},
		"the longest form":         {"en", "<p>MAC addresses in a routing table</p>", "<p>[mac:MAC addresses] in a [route:routing table]</p>"},
		"a capital":                {"en", "<p>Bridges learn.</p>", "<p>[bridge:Bridges] learn.</p>"},
		"the owner of something":   {"en", "<p>the host's card</p>", "<p>the [host:host's] card</p>"},
		"no part of a word":        {"en", "<p>ghost hosting veth1 host_a cohost-x host-b</p>", "<p>ghost hosting veth1 host_a cohost-x host-b</p>"},
		"no code, link or heading": {"en", `<p><code>bridge</code> <a href="https://example.org/bridge">bridge</a></p><pre>bridge <em>bridge</em></pre><h4>bridge</h4>`, `<p><code>bridge</code> <a href="https://example.org/bridge">bridge</a></p><pre>bridge <em>bridge</em></pre><h4>bridge</h4>`},
		"after code again":         {"en", "<p><code>br0</code> is a bridge</p>", "<p><code>br0</code> is a [bridge:bridge]</p>"},
		"inside emphasis":          {"en", "<ul><li><em>bridge</em></li></ul>", "<ul><li><em>[bridge:bridge]</em></li></ul>"},
		"beside what is escaped":   {"en", "<p>&lt;bridge&gt; &amp; host&amp;c &bridge;</p>", "<p>&lt;[bridge:bridge]&gt; &amp; [host:host]&amp;c &bridge;</p>"},
		"no attribute":             {"en", `<p title="bridge">x</p>`, `<p title="bridge">x</p>`},
		"two words across a tag":   {"en", "<p>routing<br>table</p>", "<p>routing<br>table</p>"},
		"Indonesian, with a tail":  {"id", "<p>Rutenya lewat jembatan.</p>", "<p>[route:Rute]nya lewat [bridge:jembatan].</p>"},
		"no Indonesian derivation": {"id", "<p>merutekan rutekan</p>", "<p>merutekan rutekan</p>"},
		"Vietnamese in two words":  {"vi", "<p>Cầu nối và địa chỉ MAC</p>", "<p>[bridge:Cầu nối] và [mac:địa chỉ MAC]</p>"},
		"what only looks like one": {"vi", "<p>bộ định tuyến, định tuyến, một tuyến</p>", "<p>bộ định tuyến, định tuyến, một [route:tuyến]</p>"},
		"Korean with particles":    {"ko", "<p>브리지는 호스트에서 경로를 네임스페이스들의</p>", "<p>[bridge:브리지]는 [host:호스트]에서 [route:경로]를 [netns:네임스페이스]들의</p>"},
		"no part of a Korean word": {"ko", "<p>호스트명 가상브리지</p>", "<p>호스트명 가상브리지</p>"},
		"a language without terms": {"fr", "<p>bridge</p>", "<p>bridge</p>"},
	} {
		t.Run(what, func(t *testing.T) {
			got := g.Mark(c.lang, c.in, map[string]bool{})
			got = strings.NewReplacer(`<dfn data-term="`, "[", `">`, ">", "</dfn>", "]").Replace(got)
			want := strings.NewReplacer(`">`, ">").Replace(c.want)
			for _, term := range g.Terms("en") {
				got = strings.ReplaceAll(got, "["+term.ID+">", "["+term.ID+":")
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestMarkRemembers(t *testing.T) {
	g := builtInGlossary(t)
	seen := map[string]bool{}
	g.Mark("en", "<p>a bridge</p>", seen)
	if got := g.Mark("en", "<p>a bridge and a route</p>", seen); strings.Contains(got, `"bridge"`) || !strings.Contains(got, `"route"`) {
		t.Errorf("got %s", got)
	}
}

func TestGlossaryInEveryLanguage(t *testing.T) {
	g := builtInGlossary(t)
	english := g.Terms("en")
	if len(english) < 24 {
		t.Fatalf("only %d terms", len(english))
	}
	for _, lang := range labs.Languages() {
		terms := g.Terms(lang)
		for i, term := range terms {
			if term.ID != english[i].ID || term.English != english[i].Name {
				t.Errorf("%s: term %d is %+v, in English %+v", lang, i, term, english[i])
			}
			if lang != "en" && term.Text == english[i].Text {
				t.Errorf("%s: %s is not translated", lang, term.ID)
			}
			if n := len([]rune(term.Text)); n > 260 {
				t.Errorf("%s: %s takes %d letters: one or two sentences are enough", lang, term.ID, n)
			}
		}
	}
	if got := g.Terms("fr"); got[0] != english[0] {
		t.Errorf("a language without terms: got %+v", got[0])
	}
}

func TestGlossaryRefuses(t *testing.T) {
	good := "# G\n\n## a: apple\n\nA fruit.\n\n## b: pear, pears, -pear tree\n\nAnother.\n"
	for what, c := range map[string]struct{ file, text, want string }{
		"a term too many":    {"ko.md", good + "## bb: plum\n\nX.\n", `ko.md:1:1: the term "bb" is not in English`},
		"a term too few":     {"vi.md", "## a: apple\n\nA fruit.\n", "vi.md:1:1: the term b is missing"},
		"a term twice":       {"en.md", good + "## a: plum\n\nX.\n", "en.md:10:1: the term a is given twice"},
		"a form twice":       {"id.md", good + "## c: Pear\n\nX.\n", `id.md:10:1: the form "Pear" is empty or given twice`},
		"an empty form":      {"en.md", "## a: apple,,pear\n\nX.\n", `the form "" is empty or given twice`},
		"no explanation":     {"en.md", "## a: apple\n", "the term a is not explained"},
		"another heading":    {"en.md", "## Apple\n\nX.\n", "en.md:1:1: a term's heading is"},
		"text before a term": {"en.md", "X.\n" + good, "en.md:1:1: this stands before the first term"},
	} {
		t.Run(what, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for _, lang := range labs.Languages() {
				fsys[lang+".md"] = file(good)
			}
			if _, err := labs.LoadGlossary(fsys); err != nil {
				t.Fatal(err)
			}
			fsys[c.file] = file(c.text)
			if _, err := labs.LoadGlossary(fsys); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			delete(fsys, c.file)
			if _, err := labs.LoadGlossary(fsys); err == nil {
				t.Error("a language is missing and nobody says so")
			}
		})
	}
}

func TestLabTextsMarkTerms(t *testing.T) {
	text := smallPlan(t, files(small, strings.Replace(smallText, "Do it with", "Make a <dfn data-term=x>namespace</dfn>, a namespace, with", 1)), "").Text("en")
	want := `<p>Make a <dfn data-term="netns">namespace</dfn>, a namespace, with <code>ip netns add kon</code>.</p>`
	if got := text.Steps["one"].Body; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A term that is explained to the readers of one language is to those of all;
// two are written as code only, so far.
func TestBuiltInLabsUseTheGlossary(t *testing.T) {
	c, err := labs.BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range labs.Languages() {
		marked := map[string]int{}
		for _, lab := range c.Labs() {
			p, err := lab.Plan("")
			if err != nil {
				t.Fatal(err)
			}
			text := p.Text(lang)
			html := text.Intro
			for _, s := range text.Steps {
				html += s.Body + s.Question + s.After
			}
			for _, term := range c.Glossary().Terms(lang) {
				marked[term.ID] += strings.Count(html, `data-term="`+term.ID+`"`)
			}
		}
		for _, term := range c.Glossary().Terms(lang) {
			if coded := term.ID == "fdb" || term.ID == "sysctl"; marked[term.ID] == 0 && !coded {
				t.Errorf("%s: %s (%s) is marked nowhere", lang, term.ID, term.Name)
			}
		}
	}
}

package labs

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"golang.org/x/text/language"
)

// Text is what a lab says in one language. A field that the language lacks is
// in English. Fields are plain text unless they are said to be HTML, which is
// sanitised.
type Text struct {
	// Language is the one that was served, as far as it has the words.
	Language string
	Title    string
	Summary  string
	Intro    string // HTML
	// Variants has the titles of the variants by id.
	Variants map[string]string
	Steps    map[string]StepText
}

// StepText is what a step says.
type StepText struct {
	Title    string
	Body     string            // HTML
	Hints    map[string]string // by id
	Question string            // HTML; empty where nothing is asked
	Options  map[string]string // by id
	After    string            // HTML; shown when the step is done
}

// defaultTitles name the lab as it was written, where learners choose a variant.
var defaultTitles = map[string]string{
	"en": "The lab's own names",
	"id": "Nama asli lab",
	"vi": "Tên gốc của bài lab",
	"ko": "실습의 원래 이름",
}

// languages in which labs are written, the first being the one that all have.
var languages = []language.Tag{language.English, language.Indonesian, language.Vietnamese, language.Korean}

// Languages lists the languages that labs may be written in; the first is what
// everything falls back to.
func Languages() []string {
	var out []string
	for _, l := range languages {
		out = append(out, l.String())
	}
	return out
}

// Negotiate picks the best language for an Accept-Language header.
func Negotiate(accept string) string {
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return languages[0].String()
	}
	_, i, _ := language.NewMatcher(languages).Match(wanted...)
	return languages[i].String()
}

// Text is what the lab says in the language; where it has no words, English.
func (p *Plan) Text(lang string) Text {
	base, _, _ := strings.Cut(lang, "-")
	for _, l := range []string{lang, base, languages[0].String()} {
		if t, ok := p.texts[l]; ok {
			return t
		}
		if _, ok := p.source.texts[l]; ok {
			return p.source.text(l, p.sub)
		}
	}
	return Text{}
}

// passages are the parts of a text file by their keys: "title", "summary",
// "intro", "variant/korean", "step/cable", "step/cable/text",
// "step/cable/hint/no-peer", "step/cable/predict", "step/cable/option/yes",
// "step/cable/after".
type passages map[string]passage

type passage struct {
	text string // Markdown
	line int
}

var (
	heading2 = regexp.MustCompile(`^## +(step|variant) +([a-z0-9-]+): *(.+)$`)
	heading3 = regexp.MustCompile(`^### +(hint +[a-z0-9-]+|predict|after) *$`)
	option   = regexp.MustCompile(`^- +([a-z0-9-]+): +(.+)$`)
)

// What a passage may be: a parser of Markdown needs time that grows with the
// square of such things.
const (
	maxPassage = 16 << 10 // bytes
	maxLinks   = 200
)

var nested = regexp.MustCompile(`(?m)^([ \t]*[>*+-]){10,}`)

// lost is where text goes whose heading can't be read.
const lost = "?"

// readPassages takes a text file apart. Its form: "# Title", a quote as the
// summary, the introduction; "## variant ID: title"; "## step ID: title" and
// the step's text, in it "### hint ID", "### predict" with a list "- ID: answer"
// and "### after".
func readPassages(file string, b []byte) (passages, []error) {
	if len(b) > maxFile {
		return nil, []error{tooLarge(file, int64(len(b)))}
	}
	var (
		out      = passages{}
		problems []error
		key      = "intro"
		step     string
		fenced   bool
	)
	fail := func(line int, format string, a ...any) {
		problems = append(problems, &Problem{file, line, 1, fmt.Sprintf(format, a...), ""})
	}
	open := func(k string, line int, text string) {
		if _, twice := out[k]; twice {
			fail(line, "%s is given twice: take one out", heading(k))
		}
		out[k] = passage{text, line}
	}
	add := func(text string) {
		p := out[key]
		p.text += text + "\n"
		out[key] = p
	}
	for i, line := range strings.Split(string(b), "\n") {
		line, n := strings.TrimRight(line, " \r"), i+1
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		switch {
		case fenced || !strings.HasPrefix(line, "#"):
			m := option.FindStringSubmatch(line)
			switch {
			case m != nil && (strings.HasSuffix(key, "/predict") || strings.Contains(key, "/option/")):
				key = step + "/option/" + m[1]
				open(key, n, m[2]+"\n")
			case key == "intro" && strings.HasPrefix(line, "> "):
				s := out["summary"]
				out["summary"] = passage{s.text + strings.TrimPrefix(line, "> ") + "\n", n}
			case key == lost:
			case key == "" && line != "":
				fail(n, "this stands behind a variant's title, where no text belongs: take it out")
				key = "intro"
			case key != "":
				add(strings.TrimPrefix(line, "  "))
			}
		case strings.HasPrefix(line, "# "):
			open("title", n, strings.TrimPrefix(line, "# "))
		case strings.HasPrefix(line, "## "):
			m := heading2.FindStringSubmatch(line)
			if m == nil {
				fail(n, `a heading of the second level is "## step ID: title" or "## variant ID: title"`)
				step, key = "", lost
				continue
			}
			open(m[1]+"/"+m[2], n, m[3])
			step, key = "", ""
			if m[1] == "step" {
				step = "step/" + m[2]
				key = step + "/text"
				open(key, n, "")
			}
		default:
			m := heading3.FindStringSubmatch(line)
			if key == lost {
				continue
			}
			if m == nil || step == "" {
				fail(n, `below a step stand "### hint ID", "### predict" and "### after"`)
				continue
			}
			key = step + "/" + strings.Join(strings.Fields(m[1]), "/")
			open(key, n, "")
		}
	}
	delete(out, lost)
	for _, k := range slices.Sorted(maps.Keys(out)) {
		switch text := out[k].text; {
		case len(text) > maxPassage:
			fail(max(out[k].line, 1), "the text of %s has %d bytes, %d are allowed: split it", heading(k), len(text), maxPassage)
		case strings.Count(text, "[") > maxLinks:
			fail(max(out[k].line, 1), "the text of %s has more than %d times a [: take some away", heading(k), maxLinks)
		case nested.MatchString(text):
			fail(max(out[k].line, 1), "the text of %s has quotes or lists inside each other, more than 10 deep: make it flat", heading(k))
		}
	}
	return out, problems
}

// wanted lists the keys that a lab needs.
func wanted(lab *labFile) []string {
	keys := []string{"title", "summary", "intro"}
	for _, v := range lab.Variants {
		keys = append(keys, "variant/"+v.ID)
	}
	for _, s := range lab.Steps {
		step := "step/" + s.ID.Text
		keys = append(keys, step, step+"/text", step+"/after")
		for _, h := range s.Hints {
			keys = append(keys, step+"/hint/"+h.ID.Text)
		}
		if s.Predict != nil {
			keys = append(keys, step+"/predict")
			for _, o := range s.Predict.Options {
				keys = append(keys, step+"/option/"+o)
			}
		}
	}
	return keys
}

// judgeTexts compares a text file with its lab: nothing in it may be unknown,
// and the first language must be complete.
func judgeTexts(file string, p passages, keys []string, complete bool) []error {
	var problems []error
	missing := func(k string) bool { return strings.TrimSpace(p[k].text) == "" }
	// Of a step or a question that is not there at all nothing more is said.
	under := func(k string) string {
		parts := strings.Split(k, "/")
		switch {
		case len(parts) > 2 && parts[0] == "step" && parts[2] == "option":
			return strings.Join(parts[:2], "/") + "/predict"
		case len(parts) > 2 && parts[0] == "step":
			return strings.Join(parts[:2], "/")
		}
		return ""
	}
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if slices.Contains(keys, k) || under(k) != "" && !slices.Contains(keys, under(k)) && p[under(k)].line > 0 {
			continue
		}
		suggestion := ""
		if n := nearest(k, keys); n != "" {
			suggestion = strings.Trim(heading(n), `"`)
		}
		problems = append(problems, &Problem{file, p[k].line, 1, "lab.yaml has nothing for " + heading(k) + ": correct the id, or take this out", suggestion})
	}
	for _, k := range keys {
		if !complete || !missing(k) || under(k) != "" && p[under(k)].line == 0 {
			continue
		}
		at, there := p[k]
		what := "add " + heading(k)
		if there && at.line > 0 {
			what = "write something below " + heading(k)
		} else if above, ok := p[under(k)]; ok {
			at = above
			what += " below " + heading(under(k))
		}
		problems = append(problems, &Problem{file, max(at.line, 1), 1, "words are missing: " + what, ""})
	}
	return problems
}

// heading is what an author writes for a key.
func heading(key string) string {
	parts := strings.Split(key, "/")
	switch {
	case key == "title":
		return `"# Title"`
	case key == "summary":
		return `"> a summary" behind the title`
	case key == "intro":
		return "an introduction behind the summary"
	case len(parts) == 2:
		return fmt.Sprintf(`"## %s %s: title"`, parts[0], parts[1])
	case parts[2] == "text":
		return fmt.Sprintf(`"## step %s"`, parts[1])
	case parts[2] == "option":
		return fmt.Sprintf(`"- %s: answer"`, parts[3])
	}
	return fmt.Sprintf(`"### %s"`, strings.Join(parts[2:], " "))
}

// writer turns Markdown into what a browser may show.
type writer struct {
	markdown goldmark.Markdown
	safe     *bluemonday.Policy
	bare     *bluemonday.Policy
	glossary *Glossary
}

func newWriter(glossary *Glossary) *writer {
	safe := bluemonday.NewPolicy()
	safe.AllowElements("p", "br", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "h4", "h5", "table", "thead", "tbody", "tr", "th", "td")
	safe.AllowAttrs("href").OnElements("a")
	safe.AllowURLSchemes("https")
	safe.RequireNoFollowOnLinks(true)
	safe.AddTargetBlankToFullyQualifiedLinks(true)
	return &writer{goldmark.New(goldmark.WithExtensions(extension.Table)), safe, bluemonday.StrictPolicy(), glossary}
}

func (w *writer) html(markdown string) string {
	var b bytes.Buffer
	// A bytes.Buffer never fails, and Markdown has no syntax errors.
	_ = w.markdown.Convert([]byte(markdown), &b)
	return strings.TrimSpace(w.safe.Sanitize(b.String()))
}

func (w *writer) plain(markdown string) string {
	return strings.Join(strings.Fields(html.UnescapeString(w.bare.Sanitize(w.html(markdown)))), " ")
}

// text composes what a lab says from its own passages and, where they have
// nothing, those that it falls back to.
func (w *writer) text(lang string, lab *labFile, own, fallback passages, sub substitution) Text {
	find := func(key string) (text, in string) {
		if p := own[key]; strings.TrimSpace(p.text) != "" {
			return sub.apply(p.text), lang
		}
		return sub.apply(fallback[key].text), languages[0].String()
	}
	get := func(key string) string { text, _ := find(key); return text }
	// What is read together explains each term once.
	explained := func(seen map[string]bool, key string) string {
		text, in := find(key)
		return w.glossary.Mark(in, w.html(text), seen)
	}
	t := Text{Language: lang, Title: w.plain(get("title")), Summary: w.plain(get("summary")), Intro: explained(map[string]bool{}, "intro"),
		Variants: map[string]string{}, Steps: map[string]StepText{}}
	for _, v := range lab.Variants {
		t.Variants[v.ID] = w.plain(get("variant/" + v.ID))
	}
	t.Variants["default"] = cmp.Or(defaultTitles[lang], defaultTitles[languages[0].String()])
	if lab.Personal != nil {
		t.Variants[Personal] = cmp.Or(personalTitles[lang], personalTitles[languages[0].String()])
	}
	for _, s := range lab.Steps {
		step := "step/" + s.ID.Text
		seen := map[string]bool{}
		st := StepText{Title: w.plain(get(step)), Body: explained(seen, step+"/text"), After: explained(map[string]bool{}, step+"/after"),
			Hints: map[string]string{}, Options: map[string]string{}}
		for _, h := range s.Hints {
			st.Hints[h.ID.Text] = w.plain(get(step + "/hint/" + h.ID.Text))
		}
		if s.Predict != nil {
			st.Question = explained(seen, step+"/predict")
			for _, o := range s.Predict.Options {
				st.Options[sub.apply(o)] = w.plain(get(step + "/option/" + o))
			}
		}
		t.Steps[s.ID.Text] = st
	}
	return t
}

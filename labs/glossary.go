package labs

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

//go:embed glossary
var glossaryFiles embed.FS

// Term is a word of the trade in one language, and what it means.
type Term struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	English string `json:"english" doc:"its English name"`
	Text    string `json:"text" doc:"plain text"`
}

// Glossary explains terms and finds them in texts. It does not change.
type Glossary struct{ languages map[string]*vocabulary }

// vocabulary is the glossary in one language.
type vocabulary struct {
	terms []Term
	forms map[rune][]string // in lower case, by their first letter, the longest first
	ids   map[string]string // by form in lower case; empty for what only looks like one
	tail  *regexp.Regexp    // what the language may append to a form
}

// tails are what a language writes at the end of a word without a space.
var tails = map[string]*regexp.Regexp{
	"id": regexp.MustCompile(`^(nya)?$`),
	"ko": regexp.MustCompile(`^(들|쌍|끼리)?(은|는|이|가|을|를|의|에|에서|에게|에는|에도|에서는|으로|로|으로는|로는|와|과|도|만|까지|부터|보다|처럼|마다|나|이나|라는|이라는|라고|이라고|입니다|이며|이고|인|뿐|뿐입니다|밖에|조차)?$`),
}

// termHeading is "## bridge: bridge, bridges, -land bridge": the id, the name,
// other forms, and behind a dash what only looks like one.
var termHeading = regexp.MustCompile(`^## +([a-z0-9-]+): *(.+)$`)

// BuiltInGlossary reads the glossary that the program carries.
func BuiltInGlossary() (*Glossary, error) {
	sub, err := fs.Sub(glossaryFiles, "glossary")
	if err != nil {
		return nil, fmt.Errorf("built-in glossary: %w", err)
	}
	return LoadGlossary(sub)
}

// LoadGlossary reads a file for each language. All must explain the same terms
// as the English one. Mistakes are *Problems, joined.
func LoadGlossary(fsys fs.FS) (*Glossary, error) {
	g := &Glossary{map[string]*vocabulary{}}
	var problems []error
	for i, lang := range Languages() {
		file := lang + ".md"
		b, err := fs.ReadFile(fsys, file)
		if err != nil {
			problems = append(problems, fmt.Errorf("glossary: %w", err))
			continue
		}
		v, bad := readVocabulary(file, lang, string(b))
		problems = append(problems, bad...)
		g.languages[lang] = v
		if english := g.languages[Languages()[0]]; i > 0 && english != nil {
			problems = append(problems, v.complete(file, english)...)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return g, nil
}

func readVocabulary(file, lang, text string) (*vocabulary, []error) {
	v := &vocabulary{forms: map[rune][]string{}, ids: map[string]string{}, tail: cmp.Or(tails[lang], regexp.MustCompile(`^$`))}
	var problems []error
	fail := func(line int, format string, a ...any) {
		problems = append(problems, &Problem{file, line, 1, fmt.Sprintf(format, a...), ""})
	}
	if len(text) > maxFile {
		fail(1, "the file has %d bytes; %d are allowed", len(text), maxFile)
		return v, problems
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		m := termHeading.FindStringSubmatch(line)
		switch {
		case m != nil:
			if v.term(m[1]) != nil {
				fail(i+1, "the term %s is given twice", m[1])
			}
			t := Term{ID: m[1]}
			for form := range strings.SplitSeq(m[2], ",") {
				form, decoy := strings.CutPrefix(strings.TrimSpace(form), "-")
				key, id := strings.ToLower(form), t.ID
				if decoy {
					id = ""
				} else {
					t.Name = cmp.Or(t.Name, form)
				}
				if _, twice := v.ids[key]; twice || form == "" {
					fail(i+1, "the form %q is empty or given twice", form)
				}
				v.ids[key] = id
				initial, _ := utf8.DecodeRuneInString(key)
				v.forms[initial] = append(v.forms[initial], key)
			}
			v.terms = append(v.terms, t)
		case strings.HasPrefix(line, "# ") && len(v.terms) == 0, line == "":
		case strings.HasPrefix(line, "#"):
			fail(i+1, `a term's heading is "## ID: name, other form"`)
		case len(v.terms) == 0:
			fail(i+1, "this stands before the first term")
		default:
			t := &v.terms[len(v.terms)-1]
			t.Text = strings.TrimSpace(t.Text + " " + line)
		}
	}
	for _, t := range v.terms {
		if t.Text == "" || t.Name == "" {
			fail(1, "the term %s is not explained", t.ID)
		}
	}
	for _, forms := range v.forms {
		slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	}
	return v, problems
}

func (v *vocabulary) term(id string) *Term {
	for i := range v.terms {
		if v.terms[i].ID == id {
			return &v.terms[i]
		}
	}
	return nil
}

// complete compares v with the English terms, and takes over their order and names.
func (v *vocabulary) complete(file string, english *vocabulary) []error {
	var problems []error
	var ids []string
	var ordered []Term
	for _, e := range english.terms {
		ids = append(ids, e.ID)
		t := v.term(e.ID)
		if t == nil {
			problems = append(problems, &Problem{file, 1, 1, fmt.Sprintf("the term %s is missing", e.ID), ""})
			continue
		}
		ordered = append(ordered, Term{t.ID, t.Name, e.Name, t.Text})
	}
	for _, t := range v.terms {
		if english.term(t.ID) == nil {
			problems = append(problems, &Problem{file, 1, 1, fmt.Sprintf("the term %q is not in English", t.ID), nearest(t.ID, ids)})
		}
	}
	v.terms = ordered
	return problems
}

// Terms lists all terms in a language, in English if it is not spoken.
func (g *Glossary) Terms(lang string) []Term {
	v := g.languages[lang]
	if v == nil {
		v = g.languages[Languages()[0]]
	}
	out := slices.Clone(v.terms)
	for i := range out {
		out[i].English = cmp.Or(out[i].English, out[i].Name)
	}
	return out
}

// unmarked elements show something else than running text, or lead elsewhere.
var unmarked = []string{"a", "code", "pre", "h4", "h5"}

// Mark puts <dfn data-term="ID"> around the first occurrence of each term that
// is not in seen yet, and notes it there. The HTML must be sanitised: tags are
// passed on as they are. A nil Glossary knows no terms.
func (g *Glossary) Mark(lang, sanitised string, seen map[string]bool) string {
	if g == nil || g.languages[lang] == nil {
		return sanitised
	}
	v := g.languages[lang]
	var b strings.Builder
	skip := 0
	z := html.NewTokenizer(strings.NewReader(sanitised))
	for {
		kind := z.Next()
		raw := string(z.Raw())
		switch kind {
		case html.ErrorToken: // io.EOF: a string reader has no other
			return b.String() + raw
		case html.StartTagToken, html.EndTagToken:
			if name, _ := z.TagName(); slices.Contains(unmarked, string(name)) {
				if kind == html.StartTagToken {
					skip++
				} else {
					skip--
				}
			}
		case html.TextToken:
			if skip == 0 {
				raw = v.mark(raw, seen)
			}
		}
		b.WriteString(raw)
	}
}

// mark marks a piece of text in which < and & are escaped.
func (v *vocabulary) mark(text string, seen map[string]bool) string {
	var b strings.Builder
	written, before := 0, ' ' // how much of text, and the letter in front
	for at := 0; at < len(text); {
		letter, size := utf8.DecodeRuneInString(text[at:])
		form := ""
		if !inWord(before) {
			form = v.formAt(text[at:], unicode.ToLower(letter))
		}
		if form == "" || !v.ends(text[at+len(form):]) {
			at, before = at+size, letter
			continue
		}
		start, end := at, at+len(form)
		before, _ = utf8.DecodeLastRuneInString(form)
		at = end
		id := v.ids[form]
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		fmt.Fprintf(&b, `%s<dfn data-term="%s">%s</dfn>`, text[written:start], id, text[start:end])
		written = end
	}
	return b.String() + text[written:]
}

// formAt is the longest form with which text begins, whatever its case.
func (v *vocabulary) formAt(text string, initial rune) string {
	for _, form := range v.forms[initial] {
		if len(form) <= len(text) && strings.EqualFold(text[:len(form)], form) {
			return form
		}
	}
	return ""
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || strings.ContainsRune("_-/.&#", r)
}

// ends says whether a word that a form begins ends with it, or with what the
// language appends.
func (v *vocabulary) ends(rest string) bool {
	if i := strings.IndexFunc(rest, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	}); i >= 0 {
		rest = rest[:i]
	}
	return v.tail.MatchString(rest)
}

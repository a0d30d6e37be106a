package labs

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"
	xlanguage "golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed content
var content embed.FS

// apart are the labs that no catalogue lists.
//
//go:embed apart
var apart embed.FS

// BuiltIn loads the labs that the program carries.
func BuiltIn() (*Catalog, error) {
	listed, err := fs.Sub(content, "content")
	if err != nil {
		return nil, fmt.Errorf("built-in labs: %w", err)
	}
	unlisted, err := fs.Sub(apart, "apart")
	if err != nil {
		return nil, fmt.Errorf("built-in labs: %w", err)
	}
	c, err := Load(listed)
	if err != nil {
		return nil, err
	}
	l, err := newLoader()
	if err != nil {
		return nil, err
	}
	l.schema = nil
	if c.demo, err = l.lab(unlisted, Demo); err != nil {
		return nil, err
	}
	return c, nil
}

// Load reads every folder of fsys that has a lab.yaml. It reports all mistakes
// that it finds, joined, each a *Problem with file, line and column.
func Load(fsys fs.FS) (*Catalog, error) {
	l, err := newLoader()
	if err != nil {
		return nil, err
	}
	c, err := l.catalog(fsys, "")
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, b := range c.broken {
		problems = append(problems, b.Err)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return c, nil
}

// loader holds what all labs share.
type loader struct {
	env     *cel.Env
	keys    map[string]any     // the schema, to suggest keys
	schema  *jsonschema.Schema // nil: the lab is ours and not for learners, who need hints and more
	printer *message.Printer
	writer  *writer
	bytes   int64 // read so far
}

func newLoader() (*loader, error) {
	b, err := newSchema()
	if err != nil {
		return nil, fmt.Errorf("labs: schema: %w", err)
	}
	glossary, err := BuiltInGlossary()
	if err != nil {
		return nil, err
	}
	l := &loader{printer: message.NewPrinter(xlanguage.English), writer: newWriter(glossary)}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("labs: schema: %w", err)
	}
	if err := json.Unmarshal(b, &l.keys); err != nil {
		return nil, fmt.Errorf("labs: schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("lab.json", doc); err != nil {
		return nil, fmt.Errorf("labs: schema: %w", err)
	}
	if l.schema, err = compiler.Compile("lab.json"); err != nil {
		return nil, fmt.Errorf("labs: schema: %w", err)
	}
	if l.env, err = newEnvironment(); err != nil {
		return nil, fmt.Errorf("labs: checks: %w", err)
	}
	return l, nil
}

// catalog loads all folders, or one, and leaves out what is broken.
func (l *loader) catalog(fsys fs.FS, only string) (*Catalog, error) {
	ids, err := folders(fsys, only)
	if err != nil {
		return nil, err
	}
	c := &Catalog{glossary: l.writer.glossary}
	for _, id := range ids {
		lab, err := l.lab(fsys, id)
		if err != nil {
			c.broken = append(c.broken, Broken{id, err})
			continue
		}
		c.labs = append(c.labs, lab)
	}
	c.sort()
	return c, nil
}

// lab loads one folder.
func (l *loader) lab(fsys fs.FS, folder string) (*Lab, error) {
	file := path.Join(folder, "lab.yaml")
	raw, doc, problems := l.file(fsys, file)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if raw.ID.Text != folder {
		return nil, &Problem{file, raw.ID.Line, raw.ID.Column, fmt.Sprintf("the lab %q is in a folder called %q: give both the same name", raw.ID.Text, folder), ""}
	}
	if id := raw.ID.Text; l.schema != nil && (id == FreePlay || id == Demo) {
		return nil, &Problem{file, raw.ID.Line, raw.ID.Column, fmt.Sprintf("%q is Kabel's own: give the lab another id, and its folder the same name", id), ""}
	}
	lab := &Lab{ID: raw.ID.Text, Track: raw.Track, Order: raw.Order, Minutes: raw.Minutes, plans: map[string]*Plan{}}
	src := &source{loader: l, file: file, raw: raw}
	var spoken []located
	src.texts, spoken, problems = l.texts(fsys, folder, raw)
	lab.Lacks = map[string][]string{}
	for _, lang := range Languages() {
		lab.Lacks[lang] = slices.DeleteFunc(wanted(raw), func(key string) bool { return strings.TrimSpace(src.texts[lang][key].text) != "" })
	}
	variants := append([]variantFile{{}}, raw.Variants...)
	problems = append(problems, doc.variants(raw)...)
	for i, v := range variants {
		if v.ID != "" {
			lab.Variants = append(lab.Variants, v.ID)
		}
		plan, bad := src.plan(v.ID, newSubstitution(v.Replace))
		plan.texts = map[string]Text{}
		for lang := range src.texts {
			plan.texts[lang] = src.text(lang, plan.sub)
		}
		bad = append(bad, src.idle(doc, i-1, plan.sub)...)
		lab.plans[v.ID] = plan
		problems = append(problems, bad...)
		if len(bad) > 0 {
			break // a variant would only repeat them
		}
	}
	drawing := newDrawing(doc, raw, append(doc.spots(), spoken...))
	problems = append(problems, drawing.problems...)
	lab.personal = &personal{offered: raw.Personal != nil, source: src, drawing: drawing, plans: map[string]*Plan{}}
	if len(problems) > 0 {
		return nil, once(problems)
	}
	return lab, nil
}

// once joins problems and leaves out what is said already.
func once(problems []error) error {
	said := map[string]bool{}
	return errors.Join(slices.DeleteFunc(problems, func(err error) bool {
		again := said[err.Error()]
		said[err.Error()] = true
		return again
	})...)
}

// source is a lab as it was read, of which plans are made.
type source struct {
	*loader
	file  string
	raw   *labFile
	texts map[string]passages // by language
}

// plan makes the plan of one variant.
func (s *source) plan(variant string, sub substitution) (*Plan, []error) {
	b := &builder{loader: s.loader, file: s.file, raw: s.raw, variant: variant, sub: sub}
	plan := b.plan()
	plan.source, plan.sub = s, b.sub
	return plan, b.problems
}

// variants judges the ids of the variants.
func (d *document) variants(raw *labFile) (problems []error) {
	var seen []string
	for i, v := range raw.Variants {
		at := d.at([]string{"variants", strconv.Itoa(i), "id"})
		switch {
		case slices.Contains(seen, v.ID):
			problems = append(problems, d.problem(at, "", "%q is already the name of a variant: choose another", v.ID))
		case v.ID == "default" || v.ID == Personal || strings.HasPrefix(v.ID, Personal+"-"):
			problems = append(problems, d.problem(at, "", "%q has a meaning of its own: choose another name for the variant", v.ID))
		}
		seen = append(seen, v.ID)
	}
	return problems
}

// text is what the lab says in a language.
func (s *source) text(lang string, sub substitution) Text {
	return s.writer.text(lang, s.raw, s.texts[lang], s.texts[languages[0].String()], sub)
}

// idle finds what a variant replaces in vain.
func (s *source) idle(doc *document, i int, sub substitution) (problems []error) {
	for _, key := range slices.Sorted(maps.Keys(sub.used)) {
		if !sub.used[key] {
			at, _ := entry(doc.at([]string{"variants", strconv.Itoa(i), "replace"}), key)
			problems = append(problems, doc.problem(at, "", "%q is replaced, but stands nowhere in the lab: take it out, or correct it", key))
		}
	}
	return problems
}

// file reads and validates the form of a lab.yaml.
func (l *loader) file(fsys fs.FS, file string) (*labFile, *document, []error) {
	b, err := l.read(fsys, file)
	if err != nil {
		return nil, nil, []error{err}
	}
	doc, problems := readYAML(file, b)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	if problems := l.validate(file, doc); len(problems) > 0 {
		return nil, nil, problems
	}
	var raw labFile
	if err := doc.root.Decode(&raw); err != nil {
		return nil, nil, []error{yamlProblem(file, err)}
	}
	return &raw, doc, nil
}

// validate judges the form of a lab.yaml, if there is a schema.
func (l *loader) validate(file string, doc *document) []error {
	if l.schema == nil {
		return nil
	}
	err := l.schema.Validate(doc.value())
	var invalid *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return l.invalid(doc, invalid)
	}
	return []error{fmt.Errorf("%s: %w", file, err)}
}

// invalid turns the schema's verdict into problems with places.
func (l *loader) invalid(doc *document, e *jsonschema.ValidationError) []error {
	n := doc.at(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		if slices.ContainsFunc(keysOf(n), func(key string) bool { return strings.Contains(key, " ") }) {
			return nil // a text that was taken for a key
		}
		// A key that is misspelt is told of as such.
		missing := slices.DeleteFunc(slices.Clone(k.Missing), func(key string) bool {
			return slices.ContainsFunc(keysOf(n), func(is string) bool { return nearest(is, knownKeys(l.keys, e.InstanceLocation)) == key })
		})
		if len(missing) == 0 {
			return nil
		}
		return []error{doc.problem(n, "", "%s", keyList(missing))}
	case *kind.AdditionalProperties:
		var out []error
		for _, key := range k.Properties {
			at, _ := entry(n, key)
			if strings.Contains(key, " ") {
				out = append(out, doc.problem(at, "", "a text that has a colon with a space behind it must stand in quotes"))
				return out
			}
			out = append(out, doc.problem(at, nearest(key, knownKeys(l.keys, e.InstanceLocation)), "the key %q is not known here: there are %s", key, strings.Join(knownKeys(l.keys, e.InstanceLocation), ", ")))
		}
		return out
	case *kind.Type, *kind.Enum, *kind.Pattern, *kind.Minimum, *kind.Maximum, *kind.MinItems, *kind.MaxItems, *kind.MinLength, *kind.MaxLength, *kind.MinProperties, *kind.MaxProperties:
		message, suggestion := inWords(k)
		return []error{doc.problem(n, suggestion, "%s", message)}
	case *kind.OneOf:
		// A command or a block: speak of the form that was meant.
		for _, c := range e.Causes {
			if _, other := c.ErrorKind.(*kind.Type); !other {
				return l.invalid(doc, c)
			}
		}
		return []error{doc.problem(n, "", "a command or a block with on and do belongs here")}
	}
	if len(e.Causes) == 0 {
		return []error{doc.problem(n, "", "%s", e.ErrorKind.LocalizedString(l.printer))}
	}
	var out []error
	for _, c := range e.Causes {
		out = append(out, l.invalid(doc, c)...)
	}
	return out
}

// inWords says what the schema found, as one says it to an author.
func inWords(k jsonschema.ErrorKind) (message, suggestion string) {
	names := map[string]string{"string": "a text", "integer": "a whole number", "number": "a number", "array": "a list", "object": "keys with values", "boolean": "true or false", "null": "nothing"}
	switch k := k.(type) {
	case *kind.Type:
		var want []string
		for _, w := range k.Want {
			want = append(want, names[w])
		}
		message = fmt.Sprintf("%s belongs here, not %s", strings.Join(want, " or "), names[k.Got])
		switch {
		case slices.Contains(k.Want, "array"):
			message += ": write it in [ ], or each entry on a line of its own behind a dash"
		case slices.Contains(k.Want, "string"):
			message += ": put it in quotes if it is meant as a text"
		}
	case *kind.Enum:
		var want []string
		for _, w := range k.Want {
			want = append(want, fmt.Sprint(w))
		}
		got := fmt.Sprint(k.Got)
		return fmt.Sprintf("%q is none of %s", got, strings.Join(want, ", ")), nearest(got, want)
	case *kind.Pattern:
		what := map[string]string{"^[a-z0-9-]+$": "small letters, digits and dashes", "^[a-z]$": "a single small letter"}[k.Want]
		return fmt.Sprintf("%q does not fit: write %s", k.Got, cmp.Or(what, k.Want)), ""
	case *kind.Minimum:
		message = fmt.Sprintf("%s is too small: the least is %s", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		message = fmt.Sprintf("%s is too large: the most is %s", k.Got.RatString(), k.Want.RatString())
	case *kind.MinItems:
		message = fmt.Sprintf("at least %d belong here, and there are only %d: add more", k.Want, k.Got)
	case *kind.MaxItems:
		message = fmt.Sprintf("there are %d, and %d are allowed: take some away", k.Got, k.Want)
	case *kind.MinLength:
		message = "this is empty: write something, or leave the key out"
	case *kind.MaxLength:
		message = fmt.Sprintf("this has %d letters, and %d are allowed: make it shorter", k.Got, k.Want)
	case *kind.MinProperties:
		message = "this is empty: add something, or leave the key out"
	case *kind.MaxProperties:
		message = fmt.Sprintf("there are %d, and %d are allowed: take some away", k.Got, k.Want)
	}
	return message, ""
}

// keysOf lists the keys of a mapping.
func keysOf(n *yaml.Node) (keys []string) {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

// keyList says which keys are missing.
func keyList(keys []string) string {
	if len(keys) == 1 {
		return "the key " + keys[0] + " is missing here: add it"
	}
	return "the keys " + strings.Join(keys, ", ") + " are missing here: add them"
}

// texts reads the files of all languages.
func (l *loader) texts(fsys fs.FS, folder string, raw *labFile) (_ map[string]passages, spoken []located, _ []error) {
	out := map[string]passages{}
	var problems []error
	keys := wanted(raw)
	for i, lang := range Languages() {
		file := path.Join(folder, lang+".md")
		b, err := l.read(fsys, file)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = &Problem{file, 1, 1, "this file is missing: it has the lab's words, in English first", ""}
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		spoken = append(spoken, located{file, spot{string(b), 1, 1, true}})
		p, bad := readPassages(file, b)
		out[lang] = p
		problems = append(problems, bad...)
		problems = append(problems, judgeTexts(file, p, keys, i == 0 && l.schema != nil)...)
	}
	return out, spoken, problems
}

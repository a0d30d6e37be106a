package labs

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
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
	sub, err := fs.Sub(content, "content")
	if err != nil {
		return nil, fmt.Errorf("built-in labs: %w", err)
	}
	return Load(sub)
}

// Load reads every folder of fsys that has a lab.yaml. It reports all mistakes
// that it finds, joined, each a *Problem with file, line and column.
func Load(fsys fs.FS) (*Catalog, error) {
	l, err := newLoader()
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(fsys, "*/lab.yaml")
	if err != nil {
		return nil, fmt.Errorf("labs: %w", err)
	}
	c := &Catalog{}
	var problems []error
	for _, file := range files {
		lab, err := l.lab(fsys, path.Dir(file))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		c.labs = append(c.labs, lab)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	slices.SortFunc(c.labs, func(a, b *Lab) int {
		return strings.Compare(fmt.Sprintf("%s %4d %s", a.Track, a.Order, a.ID), fmt.Sprintf("%s %4d %s", b.Track, b.Order, b.ID))
	})
	return c, nil
}

// loader holds what all labs share.
type loader struct {
	env     *cel.Env
	keys    map[string]any // the schema, to suggest keys
	schema  *jsonschema.Schema
	printer *message.Printer
	writer  *writer
}

func newLoader() (*loader, error) {
	b, err := newSchema()
	if err != nil {
		return nil, fmt.Errorf("labs: schema: %w", err)
	}
	l := &loader{printer: message.NewPrinter(xlanguage.English), writer: newWriter()}
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

// lab loads one folder.
func (l *loader) lab(fsys fs.FS, folder string) (*Lab, error) {
	file := path.Join(folder, "lab.yaml")
	raw, problems := l.file(fsys, file)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if raw.ID != folder {
		return nil, &Problem{file, 1, 1, fmt.Sprintf("the lab %q must be in a folder of that name, not in %q", raw.ID, folder), ""}
	}
	lab := &Lab{ID: raw.ID, Track: raw.Track, Order: raw.Order, Minutes: raw.Minutes, plans: map[string]*Plan{}}
	variants := []variantFile{{}}
	for _, v := range raw.Variants {
		lab.Variants = append(lab.Variants, v.ID)
		variants = append(variants, v)
	}
	texts, problems := l.texts(fsys, folder, raw)
	lab.Lacks = map[string][]string{}
	for _, lang := range Languages() {
		lab.Lacks[lang] = slices.DeleteFunc(wanted(raw), func(key string) bool { return strings.TrimSpace(texts[lang][key].text) != "" })
	}
	for _, v := range variants {
		b := &builder{loader: l, file: file, raw: raw, variant: v.ID, sub: newSubstitution(v.Replace)}
		plan := b.plan()
		for key, used := range b.sub.used {
			if !used {
				b.fail(spot{Line: 1, Column: 1}, "", "%q is replaced, but stands nowhere in the lab", key)
			}
		}
		for lang, own := range texts {
			plan.texts[lang] = l.writer.text(lang, raw, own, texts[languages[0].String()], b.sub)
		}
		lab.plans[v.ID] = plan
		problems = append(problems, b.problems...)
		if len(b.problems) > 0 {
			break // a variant would only repeat them
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return lab, nil
}

// file reads and validates the form of a lab.yaml.
func (l *loader) file(fsys fs.FS, file string) (*labFile, []error) {
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, []error{fmt.Errorf("labs: %w", err)}
	}
	doc, problems := readYAML(file, b)
	if len(problems) > 0 {
		return nil, problems
	}
	if err := l.schema.Validate(doc.value()); err != nil {
		var invalid *jsonschema.ValidationError
		if !errors.As(err, &invalid) {
			return nil, []error{fmt.Errorf("%s: %w", file, err)}
		}
		return nil, l.invalid(doc, invalid)
	}
	var raw labFile
	if err := doc.root.Decode(&raw); err != nil {
		return nil, []error{yamlProblem(file, err)}
	}
	return &raw, nil
}

// invalid turns the schema's verdict into problems with places.
func (l *loader) invalid(doc *document, e *jsonschema.ValidationError) []error {
	n := doc.at(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		var out []error
		for _, key := range k.Properties {
			at, _ := entry(n, key)
			out = append(out, doc.problem(at, nearest(key, knownKeys(l.keys, e.InstanceLocation)), "the key %q is not known here", key))
		}
		return out
	case *kind.Required:
		return []error{doc.problem(n, "", "the key %s is missing here", strings.Join(k.Missing, ", "))}
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

// texts reads the files of all languages.
func (l *loader) texts(fsys fs.FS, folder string, raw *labFile) (map[string]passages, []error) {
	out := map[string]passages{}
	var problems []error
	keys := wanted(raw)
	for i, lang := range Languages() {
		file := path.Join(folder, lang+".md")
		b, err := fs.ReadFile(fsys, file)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("labs: %w", err))
			continue
		}
		p, bad := readPassages(file, b)
		out[lang] = p
		problems = append(problems, bad...)
		problems = append(problems, judgeTexts(file, p, keys, i == 0)...)
	}
	return out, problems
}

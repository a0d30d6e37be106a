package labs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v4"
)

// The types of this file are the format of lab.yaml; schema.json is made from
// them.

// labFile is a whole lab.yaml.
type labFile struct {
	ID       spot          `yaml:"id" jsonschema:"pattern=^[a-z0-9-]+$,maxLength=64" jsonschema_description:"The lab's name in addresses; also the name of its folder."`
	Track    string        `yaml:"track" jsonschema:"pattern=^[a-z]$" jsonschema_description:"The track that the lab belongs to."`
	Order    int           `yaml:"order" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"Its place in the track."`
	Minutes  int           `yaml:"minutes" jsonschema:"minimum=1,maximum=240" jsonschema_description:"How long a learner needs, about."`
	Machines []machineFile `yaml:"machines" jsonschema:"minItems=1,maxItems=16"`
	Setup    []doFile      `yaml:"setup,omitempty" jsonschema:"maxItems=100" jsonschema_description:"Commands that are run before the lab begins."`
	Variants []variantFile `yaml:"variants,omitempty" jsonschema:"maxItems=8" jsonschema_description:"The same lab with other names and addresses."`
	Personal *personalFile `yaml:"personal,omitempty" jsonschema_description:"What each learner may have an own name or address for."`
	Steps    []stepFile    `yaml:"steps" jsonschema:"minItems=1,maxItems=40"`
}

// machineFile is one machine and its interfaces.
type machineFile struct {
	Name   spot       `yaml:"name"`
	Kind   string     `yaml:"kind" jsonschema:"enum=host,enum=switch,enum=router,enum=internet,enum=laptop"`
	Links  []linkFile `yaml:"links,omitempty" jsonschema:"maxItems=16"`
	Routes []spot     `yaml:"routes,omitempty" jsonschema:"maxItems=32" jsonschema_description:"What stands behind ip route add."`
}

// linkFile is one interface of a machine.
type linkFile struct {
	Name      spot   `yaml:"name"`
	To        spot   `yaml:"to,omitempty" jsonschema_description:"Where the cable leads: a switch, or machine:interface. One of the two ends says it."`
	Addresses []spot `yaml:"addresses,omitempty" jsonschema:"maxItems=16"`
}

// variantFile replaces whole names and addresses wherever they stand in the
// lab and in its texts.
type variantFile struct {
	ID      string            `yaml:"id" jsonschema:"pattern=^[a-z0-9-]+$,maxLength=64"`
	Replace map[string]string `yaml:"replace" jsonschema:"minProperties=1,maxProperties=100"`
}

// personalFile lists what is drawn anew for each learner who wants that.
type personalFile struct {
	Names    []spot `yaml:"names,omitempty" jsonschema:"maxItems=40" jsonschema_description:"Names of namespaces and interfaces; each gets another number at its end."`
	Networks []spot `yaml:"networks,omitempty" jsonschema:"maxItems=8" jsonschema_description:"Private networks such as 172.16.0.0/24; every address in them moves along and keeps its last part."`
}

// stepFile is one step.
type stepFile struct {
	ID      spot         `yaml:"id" jsonschema:"pattern=^[a-z0-9-]+$,maxLength=64"`
	On      spot         `yaml:"on" jsonschema_description:"The machine where the commands are typed."`
	Do      []doFile     `yaml:"do,omitempty" jsonschema:"maxItems=100"`
	Probes  []probeFile  `yaml:"probes,omitempty" jsonschema:"maxItems=10"`
	Check   spot         `yaml:"check" jsonschema_description:"A CEL expression that holds when the step is done."`
	Hints   []hintFile   `yaml:"hints" jsonschema:"minItems=2,maxItems=20" jsonschema_description:"The first whose condition holds is shown."`
	Predict *predictFile `yaml:"predict,omitempty"`
	Wrong   []wrongFile  `yaml:"wrong" jsonschema:"minItems=1,maxItems=20" jsonschema_description:"Plausible mistakes, each with the hint that it must get."`
}

// probeFile is a probe; from is the step's machine unless given.
type probeFile struct {
	From         spot   `yaml:"from,omitempty"`
	Kind         string `yaml:"kind,omitempty" jsonschema:"enum=ping,enum=tcp,enum=udp,enum=http,enum=dns,enum=traceroute"`
	To           spot   `yaml:"to"`
	Count        int    `yaml:"count,omitempty" jsonschema:"minimum=1,maximum=10"`
	Size         int    `yaml:"size,omitempty" jsonschema:"minimum=1,maximum=65000" jsonschema_description:"Bytes of payload of a ping."`
	DontFragment bool   `yaml:"dont_fragment,omitempty"`
}

// hintFile is a hint and its condition; without one it is always shown.
type hintFile struct {
	ID   spot `yaml:"id" jsonschema:"pattern=^[a-z0-9-]+$,maxLength=64"`
	When spot `yaml:"when,omitempty"`
}

// predictFile is a question with its possible answers.
type predictFile struct {
	Options []string `yaml:"options" jsonschema:"minItems=2,maxItems=6"`
	Answer  spot     `yaml:"answer" jsonschema_description:"A CEL expression that yields the id of the right option once the step is done."`
	Expect  spot     `yaml:"expect,omitempty" jsonschema_description:"The option of which the texts speak; a test fails where the kernel says otherwise."`
}

// wrongFile is a plausible mistake.
type wrongFile struct {
	ID     spot        `yaml:"id" jsonschema:"pattern=^[a-z0-9-]+$,maxLength=64"`
	Do     []doFile    `yaml:"do,omitempty" jsonschema:"maxItems=100"`
	Probes []probeFile `yaml:"probes,omitempty" jsonschema:"maxItems=10"`
	Hint   spot        `yaml:"hint"`
}

// spot is a text and the place where it stands.
type spot struct {
	Text         string
	Line, Column int
	// plain says that column n of the text is column Column+n-1 of the file.
	plain bool
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *spot) UnmarshalYAML(n *yaml.Node) error {
	*s = spot{n.Value, n.Line, n.Column, n.Style&^yaml.TaggedStyle == 0}
	return nil
}

// JSONSchema says that a spot is written as a string.
func (spot) JSONSchema() *jsonschema.Schema {
	most := uint64(maxCommand)
	least := uint64(1)
	return &jsonschema.Schema{Type: "string", MinLength: &least, MaxLength: &most}
}

// doFile is a command, or a block of commands on another machine.
type doFile struct {
	Command spot
	On      spot
	Do      []spot
}

// blockFile is the long form of doFile.
type blockFile struct {
	On spot   `yaml:"on"`
	Do []spot `yaml:"do" jsonschema:"minItems=1,maxItems=100"`
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *doFile) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return d.Command.UnmarshalYAML(n)
	}
	var b blockFile
	if err := n.Decode(&b); err != nil {
		return err
	}
	d.On, d.Do = b.On, b.Do
	return nil
}

// JSONSchema says that either form is allowed.
func (doFile) JSONSchema() *jsonschema.Schema {
	block := reflector().Reflect(&blockFile{})
	block.Version = ""
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{spot{}.JSONSchema(), block}}
}

func reflector() *jsonschema.Reflector {
	return &jsonschema.Reflector{Anonymous: true, FieldNameTag: "yaml", DoNotReference: true}
}

// newSchema makes the JSON Schema of lab.yaml from the types above.
func newSchema() ([]byte, error) {
	s := reflector().Reflect(&labFile{})
	s.Title = "A lab of Kabel"
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// What a file of a lab may weigh: it may come from a stranger.
const (
	maxFile  = 256 << 10 // bytes
	maxNodes = 20_000
	maxDepth = 20
)

// Problem is a mistake in a file of a lab.
type Problem struct {
	File         string
	Line, Column int
	Message      string
	Suggestion   string
}

func (p *Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Suggestion != "" {
		s += fmt.Sprintf(" (did you mean %q?)", p.Suggestion)
	}
	return s
}

// document is a YAML file that is safe to walk: bounded, without aliases.
type document struct {
	file string
	root *yaml.Node
}

// readYAML parses one document and refuses what could make it larger than it
// looks, or mean something else than it says.
func readYAML(file string, b []byte) (*document, []error) {
	if len(b) > maxFile {
		return nil, []error{tooLarge(file, int64(len(b)))}
	}
	var top yaml.Node
	if err := yaml.Load(b, &top); err != nil {
		return nil, []error{yamlProblem(file, err)}
	}
	d := &document{file, &top}
	if top.Kind == yaml.DocumentNode && len(top.Content) == 1 {
		d.root = top.Content[0]
	}
	var problems []error
	fail := func(n *yaml.Node, format string, a ...any) {
		problems = append(problems, d.problem(n, "", format, a...))
	}
	nodes := 0
	var walk func(n *yaml.Node, depth int)
	walk = func(n *yaml.Node, depth int) {
		nodes++
		switch {
		case nodes > maxNodes:
			if nodes == maxNodes+1 {
				fail(n, "the file has too many values: %d are allowed", maxNodes)
			}
			return
		case depth > maxDepth:
			fail(n, "this is nested too deeply: %d levels are allowed", maxDepth)
			return
		case n.Kind == yaml.AliasNode:
			fail(n, "aliases are not allowed: write the value out")
			return
		case n.Anchor != "":
			fail(n, "anchors are not allowed: write the value out where it is needed")
		case n.Style&yaml.TaggedStyle != 0:
			fail(n, "tags are not allowed: put a text that begins with ! in quotes")
		}
		if n.Kind == yaml.MappingNode {
			seen := map[string]bool{}
			for i := 0; i < len(n.Content); i += 2 {
				key := n.Content[i]
				if key.Kind != yaml.ScalarNode {
					fail(key, "a key must be a plain word")
					continue
				}
				if seen[key.Value] {
					fail(key, "%q is given twice", key.Value)
				}
				seen[key.Value] = true
			}
		}
		for _, c := range n.Content {
			walk(c, depth+1)
		}
	}
	walk(d.root, 0)
	if len(problems) > 0 {
		return nil, problems
	}
	return d, nil
}

// yamlProblem turns the YAML library's error into one of ours.
func yamlProblem(file string, err error) *Problem {
	p := &Problem{File: file, Line: 1, Column: 1, Message: err.Error()}
	var load *yaml.LoadError
	if errors.As(err, &load) {
		p.Line, p.Column, p.Message = max(load.Mark.Line, 1), max(load.Mark.Column, 1), load.Message
	}
	for said, help := range map[string]string{
		"no documents":                 "the file is empty: server lab new writes a lab to begin from",
		"cannot start any token":       "this can't begin a value: indent with spaces, never with tabs, and put a text in quotes that begins with a sign such as @ ` or %",
		"expected '-' indicator":       "this is not indented like the lines of the list above: each entry begins with a dash, all in one column",
		"expected ',' or ']'":          "a [ above is not closed: write ] at the end of the list",
		"expected ',' or '}'":          "a { above is not closed: write } at its end",
		"expected key":                 "this is not indented like the keys above: those of one thing stand in one column",
		"mapping values are not allow": "a text that has a colon with a space behind it must stand in quotes",
		"unexpected end of stream":     "a quote above is not closed",
	} {
		if strings.Contains(p.Message, said) {
			p.Message = help
		}
	}
	return p
}

func (d *document) problem(n *yaml.Node, suggestion, format string, a ...any) *Problem {
	return &Problem{d.file, max(n.Line, 1), max(n.Column, 1), fmt.Sprintf(format, a...), suggestion}
}

// at walks to the value of a JSON pointer's parts, as far as there is one.
func (d *document) at(path []string) *yaml.Node {
	n := d.root
	for _, part := range path {
		next := n
		switch n.Kind {
		case yaml.MappingNode:
			if _, v := entry(n, part); v != nil {
				next = v
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(part); err == nil && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		n = next
	}
	return n
}

// entry finds a key of a mapping and its value.
func entry(n *yaml.Node, key string) (k, v *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// spots lists all the texts of the document but for its keys, and what is
// personal: that says what changes, and is not changed.
func (d *document) spots() (out []located) {
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if key := n.Content[i].Value; n != d.root || key != "personal" && key != "variants" {
					walk(n.Content[i+1])
				}
			}
		case yaml.SequenceNode:
			for _, c := range n.Content {
				walk(c)
			}
		case yaml.ScalarNode:
			s := located{file: d.file}
			_ = s.UnmarshalYAML(n) // a scalar is always a text
			out = append(out, s)
		}
	}
	walk(d.root)
	return out
}

// value is the document as JSON would hold it.
func (d *document) value() any { return plainValue(d.root) }

func plainValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		s := make([]any, len(n.Content))
		for i, c := range n.Content {
			s[i] = plainValue(c)
		}
		return s
	}
	switch n.ShortTag() {
	case "!!int":
		if i, err := strconv.Atoi(n.Value); err == nil {
			return i
		}
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!null":
		return nil
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return f
		}
	}
	return n.Value
}

// known lists the keys that the schema allows at a place of the document.
func knownKeys(schema map[string]any, path []string) []string {
	for _, part := range path {
		next := schema
		if properties, ok := schema["properties"].(map[string]any); ok {
			if p, ok := properties[part].(map[string]any); ok {
				next = p
			}
		} else if items, ok := schema["items"].(map[string]any); ok {
			next = items
		}
		schema = next
	}
	if either, ok := schema["oneOf"].([]any); ok {
		schema, _ = either[len(either)-1].(map[string]any)
	}
	properties, _ := schema["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

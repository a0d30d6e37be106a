package labs

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
)

//go:embed example
var example embed.FS

// SchemaFile is what Example's lab expects the schema to be called, in the
// folder above its own.
const SchemaFile = "lab.schema.json"

// Schema is the JSON Schema of lab.yaml, for editors.
func Schema() ([]byte, error) { return newSchema() }

var labID = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// Example is a small lab that works, to begin from: its files by their names.
func Example(id string) (map[string][]byte, error) {
	if !labID.MatchString(id) || id == FreePlay {
		return nil, fmt.Errorf("%q can't be the name of a lab: use up to 64 small letters, digits and dashes, such as my-lab", id)
	}
	out := map[string][]byte{}
	for _, name := range []string{"lab.yaml", "en.md"} {
		b, err := example.ReadFile("example/" + name)
		if err != nil {
			return nil, fmt.Errorf("labs: %w", err)
		}
		out[name] = bytes.Replace(b, []byte("\nid: my-lab\n"), []byte("\nid: "+id+"\n"), 1)
	}
	return out, nil
}

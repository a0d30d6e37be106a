package labs

import (
	"bytes"
	"os"
	"testing"
)

// schema.json is for authors' editors and must tell what Load accepts. To make
// it anew: KABEL_WRITE_SCHEMA=1 go test ./labs -run TestSchemaIsFresh
func TestSchemaIsFresh(t *testing.T) {
	want, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("KABEL_WRITE_SCHEMA") != "" {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schema.json is stale: KABEL_WRITE_SCHEMA=1 go test ./labs -run TestSchemaIsFresh")
	}
}

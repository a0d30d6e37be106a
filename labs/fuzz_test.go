package labs

import (
	"testing"
	"testing/fstest"
)

// A lab file may come from a stranger: whatever is in it, loading comes back
// with a lab or with errors.
func FuzzLoad(f *testing.F) {
	l, err := newLoader()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("id: a\nsteps: [&x {do: [*x]}]"), []byte("## step one: x\n### predict\n- a: b\n"))
	f.Add([]byte("id: one-namespace\ntrack: a\norder: 1\nminutes: 1\nmachines: [{name: h, kind: host}]\nsteps:\n- id: s\n  on: h\n  do: [ip netns add k]\n  check: node('h/k').exists\n  hints: [{id: a, when: 'true'}, {id: b}]\n  wrong: [{id: w, do: [ip link set lo up], hint: b}]\n"), []byte("# T\n> S\n\nI\n## step s: S\nx\n### hint a\nx\n### hint b\nx\n### after\nx\n"))
	f.Fuzz(func(_ *testing.T, yaml, text []byte) {
		files := fstest.MapFS{"one-namespace/lab.yaml": {Data: yaml}, "one-namespace/en.md": {Data: text}}
		lab, err := l.lab(files, "one-namespace")
		if (lab == nil) == (err == nil) {
			panic("neither a lab nor an error")
		}
		if err != nil {
			_ = err.Error()
		}
	})
}

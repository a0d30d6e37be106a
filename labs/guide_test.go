package labs

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"cel.dev/cel-go/cel"
)

func guide(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("GUIDE.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var guideFile = regexp.MustCompile("(?ms)^`([a-z-]+/[a-z.]+)`\n\n```[a-z]+\n(.*?)^```$")

// The worked example of the guide is a lab that is right. With KABEL_WRITE_GUIDE
// it is written to that directory, for server lab test to play it.
func TestGuideExample(t *testing.T) {
	files := fstest.MapFS{}
	for _, m := range guideFile.FindAllStringSubmatch(guide(t), -1) {
		files[m[1]] = &fstest.MapFile{Data: []byte(m[2]), Mode: 0o644}
	}
	c, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	lab := c.Lab("same-wire")
	if lab == nil || !lab.Personal() || len(lab.Variants) != 1 {
		t.Fatalf("the guide has no whole example: %v", files)
	}
	if dir := os.Getenv("KABEL_WRITE_GUIDE"); dir != "" {
		if err := os.CopyFS(dir, files); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExampleToBeginFrom(t *testing.T) {
	files, err := Example("some-lab-2")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(fstest.MapFS{"some-lab-2/lab.yaml": {Data: files["lab.yaml"]}, "some-lab-2/en.md": {Data: files["en.md"]}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lab("some-lab-2").Plan(DrawPersonal()); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", "A", "a b", "../x", FreePlay} {
		if _, err := Example(id); err == nil {
			t.Errorf("%q is taken for a name", id)
		}
	}
}

var (
	guideRow  = regexp.MustCompile("(?m)^\\| `([a-z_]+)\\(([a-z, ]*)\\)` \\| (.*) \\| `(.*)` \\|$")
	guideWord = regexp.MustCompile("`([a-z_]+)`")
)

// The guide's table of functions has all of them, with all that they yield, and
// examples that compile.
func TestGuideFunctions(t *testing.T) {
	env, err := newEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	known := names{nodes: []string{"host1", "host1/box"}, links: []string{"eth0", "veth1"}}
	rows := guideRow.FindAllStringSubmatch(guide(t), -1)
	for _, f := range functions {
		i := slices.IndexFunc(rows, func(r []string) bool { return r[1] == f.name && len(strings.Split(r[2], ",")) == len(f.args) })
		if i < 0 {
			t.Errorf("%s with %d arguments is not in the guide", f.name, len(f.args))
			continue
		}
		row := rows[i]
		rows = slices.Delete(rows, i, i+1)
		if f.name == "probe" && len(f.args) == 3 {
			continue // as with two
		}
		var has []string
		for _, w := range guideWord.FindAllStringSubmatch(row[3], -1) {
			has = append(has, w[1])
		}
		var want []string
		if v := f.view(); v != nil {
			for i := range v.NumField() {
				want = append(want, v.Field(i).Tag.Get("cel"))
			}
		}
		has = slices.DeleteFunc(has, func(w string) bool { return w == "probe" })
		slices.Sort(has)
		slices.Sort(want)
		if !reflect.DeepEqual(has, want) && len(has)+len(want) > 0 {
			t.Errorf("%s has %v, the guide says %v", f.name, want, has)
		}
		if !strings.Contains(row[4], f.name+"(") {
			t.Errorf("the example of %s does not use it", f.name)
		}
		if _, _, err := compile(env, known, row[4], cel.BoolType); err != nil {
			t.Errorf("the example of %s: %v", f.name, err)
		}
	}
	for _, r := range rows {
		t.Errorf("the guide has %s(%s), which there is not", r[1], r[2])
	}
	for _, r := range reasons {
		if !strings.Contains(guide(t), "`"+r+"`") {
			t.Errorf("the reason %s is not in the guide", r)
		}
	}
}

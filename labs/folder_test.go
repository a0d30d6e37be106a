package labs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kabel/labs"
)

// onDisk writes files below a new directory.
func onDisk(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openFolder(t *testing.T, dir string) *labs.Folder {
	t.Helper()
	f, err := labs.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestABrokenLabIsLeftOut(t *testing.T) {
	dir := onDisk(t, map[string]string{"small/lab.yaml": small, "small/en.md": smallText, "bad/lab.yaml": "id: bad", "notes/readme.txt": "no lab"})
	c, err := openFolder(t, dir).Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Labs()) != 1 || c.Lab("small") == nil {
		t.Errorf("labs: %v", c.Labs())
	}
	if b := c.Broken(); len(b) != 1 || b[0].ID != "bad" || !strings.HasPrefix(b[0].Err.Error(), "bad/lab.yaml:1:1: ") {
		t.Errorf("broken: %v", b)
	}
}

func TestOneLabIsADirectoryToo(t *testing.T) {
	dir := onDisk(t, map[string]string{"small/lab.yaml": small, "small/en.md": smallText, "bad/lab.yaml": "id: bad"})
	c, err := openFolder(t, filepath.Join(dir, "small")).Load()
	if err != nil || len(c.Labs()) != 1 || len(c.Broken()) != 0 {
		t.Errorf("labs %v, broken %v, %v", c.Labs(), c.Broken(), err)
	}
}

func TestABuiltInLabKeepsItsName(t *testing.T) {
	own, err := labs.BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	id := own.Labs()[0].ID
	more, err := openFolder(t, onDisk(t, map[string]string{
		id + "/lab.yaml": strings.Replace(small, "id: small", "id: "+id, 1), id + "/en.md": smallText,
		"small/lab.yaml": small, "small/en.md": smallText,
	})).Load()
	if err != nil {
		t.Fatal(err)
	}
	all := own.With(more)
	if all.Lab(id) != own.Lab(id) || all.Lab("small") == nil || len(all.Labs()) != len(own.Labs())+1 {
		t.Error("the labs of both should be there, and the built-in one of that name")
	}
	if b := all.Broken(); len(b) != 1 || !strings.Contains(b[0].Err.Error(), "there is a lab \""+id+"\" already: give this one another id") {
		t.Errorf("broken: %v", b)
	}
}

// Whatever stands in the directory: only plain files inside it are read, and no
// more than is bearable.
func TestADirectoryOfAStranger(t *testing.T) {
	outside := onDisk(t, map[string]string{"small/lab.yaml": small, "small/en.md": smallText, "secret": "# secret"})
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string) error
		want string
	}{
		"a folder that leads outside": {func(_ *testing.T, dir string) error { return os.Symlink(outside+"/small", dir+"/stolen") }, "stolen/lab.yaml:1:1: the file can't be read: path escapes"},
		"a text that leads outside": {func(_ *testing.T, dir string) error {
			return os.Symlink(outside+"/secret", dir+"/small/ko.md")
		}, "small/ko.md:1:1: the file can't be read: path escapes"},
		"a text that leads to a device": {func(_ *testing.T, dir string) error { return os.Symlink("/dev/zero", dir+"/small/ko.md") }, "path escapes"},
		"a pipe":                        {func(_ *testing.T, dir string) error { return syscall.Mkfifo(dir+"/small/ko.md", 0o644) }, "small/ko.md:1:1: this is no plain file"},
		"a folder as a text":            {func(_ *testing.T, dir string) error { return os.Mkdir(dir+"/small/ko.md", 0o755) }, "this is no plain file"},
		"a large file": {func(_ *testing.T, dir string) error {
			return os.WriteFile(dir+"/small/ko.md", make([]byte, 300<<10), 0o644)
		}, "small/ko.md:1:1: the file has 307200 bytes, 262144 are allowed"},
		"a huge file": {func(_ *testing.T, dir string) error {
			if err := os.WriteFile(dir+"/small/ko.md", nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(dir+"/small/ko.md", 1<<40)
		}, "262144 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := onDisk(t, map[string]string{"small/lab.yaml": small, "small/en.md": smallText})
			if err := c.make(t, dir); err != nil {
				t.Fatal(err)
			}
			catalog, err := openFolder(t, dir).Load()
			if err != nil {
				t.Fatal(err)
			}
			if b := catalog.Broken(); len(b) != 1 || !strings.Contains(b[0].Err.Error(), c.want) {
				t.Errorf("broken: %v, want %q", b, c.want)
			}
		})
	}
}

func TestTooManyFolders(t *testing.T) {
	dir := t.TempDir()
	for i := range 501 {
		if err := os.Mkdir(fmt.Sprintf("%s/%d", dir, i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openFolder(t, dir).Load(); err == nil || !strings.Contains(err.Error(), "more than 500") {
		t.Errorf("got %v", err)
	}
}

func TestAStampTellsOfEveryChange(t *testing.T) {
	dir := onDisk(t, map[string]string{"small/lab.yaml": small, "small/en.md": smallText})
	f := openFolder(t, dir)
	seen := map[string]string{}
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"nothing", func() error { return nil }},
		{"a text", func() error { return os.WriteFile(dir+"/small/en.md", []byte(smallText+"\n"), 0o644) }},
		{"a language", func() error { return os.WriteFile(dir+"/small/ko.md", []byte("# 작은 실습\n"), 0o644) }},
		{"a language gone", func() error { return os.Remove(dir + "/small/ko.md") }},
		{"a lab moved", func() error { return os.Rename(dir+"/small", dir+"/other") }},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		stamps, err := f.Stamps()
		if err != nil {
			t.Fatal(err)
		}
		stamp := fmt.Sprint(stamps)
		if before, same := seen[stamp]; same && c.what != "a language gone" {
			t.Errorf("%s: the stamp is that of %s", c.what, before)
		}
		seen[stamp] = c.what
	}
}

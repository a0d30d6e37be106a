package session_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"kabel/labs"
	"kabel/server/session"
)

// draft is a catalogue with the lab "draft", in whose file a passage is replaced.
func draft(t *testing.T, file, old, with string) *labs.Catalog {
	t.Helper()
	files, err := labs.Example("draft")
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, b := range files {
		text := string(b)
		if name == file {
			if !strings.Contains(text, old) {
				t.Fatalf("%s has no %q", file, old)
			}
			text = strings.Replace(text, old, with, 1)
		}
		fsys["draft/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, fsys); err != nil {
		t.Fatal(err)
	}
	f, err := labs.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An author edits a lab in which somebody is.
func TestSessionsFollowTheirLab(t *testing.T) {
	load := func(old, with string) *labs.Catalog { return draft(t, "lab.yaml", old, with) }
	d := fresh(t, func(o *session.Options) { o.Labs = load("order: 1", "order: 1") })
	s, _, err := d.Create(t.Context(), "draft", "", "en")
	if err != nil {
		t.Fatal(err)
	}
	op(t, s, "ip netns add box")
	world := d.worlds(t)[0]
	events, err := s.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := func() *session.Lesson {
		for e := range events {
			if e.Lesson != nil {
				return e.Lesson
			}
		}
		t.Fatal("the events ended")
		return nil
	}

	for _, c := range []struct {
		name, old, with string
		mistake         string
		stale           bool
		current         string
	}{
		{name: "the commands of the current step", old: "10.1.0.2/24 dev", with: "10.1.0.3/24 dev", current: "cable"},
		{name: "a mistake", old: "order: 1", with: "ordr: 1", mistake: `draft/lab.yaml:4:1: the key "ordr" is not known here`, current: "cable"},
		{name: "the mistake is corrected", old: "order: 1", with: "order: 2", current: "cable"},
		{name: "a step that is done", old: "- ip netns add box", with: "- ip netns add box\n      - ip netns add bag", stale: true, current: "cable"},
		{name: "it is as it was, but the world was built before", old: "order: 1", with: "order: 1", stale: true, current: "cable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.Teach(load(c.old, c.with))
			l := told()
			if c.mistake == "" != (len(l.Mistakes) == 0) || c.mistake != "" && !strings.HasPrefix(l.Mistakes[0], c.mistake) {
				t.Errorf("told of %q", l.Mistakes)
			}
			if v := s.View(); v.Stale != c.stale || v.Current != c.current {
				t.Errorf("stale %v at %q", v.Stale, v.Current)
			}
			if _, plan := s.Lab(); len(plan.Steps) != 2 {
				t.Errorf("the session has no lab with 2 steps: %+v", plan)
			}
			if now := d.worlds(t); len(now) != 1 || now[0] != world {
				t.Errorf("the world is not kept: %v", now)
			}
		})
	}
	if v, err := s.Reset(t.Context(), ""); err != nil || v.Stale {
		t.Errorf("stale after a reset: %+v, %v", v, err)
	}
}

package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/proof"
	"kabel/server/session"
)

// lines is a writer whose lines are waited for.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// Who watches a test and saves while labs are played does not wait for its end: they
// are played anew, as they are now, and so are those that were not through.
func TestWatchFollowsWhatIsSaved(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"first", "second"} {
		if err := newLab([]string{filepath.Join(dir, id)}, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	save := func(old, with string) {
		t.Helper()
		file := filepath.Join(dir, "first", "lab.yaml")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, with, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := openLabs(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	catalog, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	model := host.NewModel()
	defer model.Close()
	sessions, err := session.Open(t.Context(), session.Options{Host: model, Labs: catalog, Records: &session.Memory{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()

	ctx, end := context.WithCancel(t.Context())
	defer end()
	// One play at a time: told what is played, it waits for the test's word or its end.
	type play struct {
		minutes map[string]int
		through chan struct{}
	}
	plays := make(chan play)
	prove := func(ctx context.Context, chosen []*labs.Lab) (*proof.Report, error) {
		p := play{map[string]int{}, make(chan struct{})}
		for _, lab := range chosen {
			p.minutes[lab.ID] = lab.Minutes
		}
		select {
		case plays <- p:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		select {
		case <-p.through:
			return &proof.Report{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	chosen, err := l.choose(catalog, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := make(lines, 100)
	ended := make(chan error, 1)
	go func() { ended <- l.watch(ctx, sessions, chosen, prove, io.Discard, said) }()

	if p := <-plays; len(p.minutes) != 2 || p.minutes["first"] != 10 {
		t.Errorf("at first: %v", p.minutes)
	}
	save("minutes: 10", "minutes: 110") // while they are played
	p := <-plays
	if len(p.minutes) != 2 || p.minutes["first"] != 110 {
		t.Errorf("what was saved meanwhile: %v", p.minutes)
	}
	close(p.through)
	for line := ""; !strings.Contains(line, "waiting"); line = <-said {
	}
	save("minutes: 110", "minutes: 12") // while it waits
	if p := <-plays; len(p.minutes) != 1 || p.minutes["first"] != 12 {
		t.Errorf("what was saved afterwards: %v", p.minutes)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

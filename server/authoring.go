package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kabel/labs"
	"kabel/server/proof"
	"kabel/server/session"
)

// newLab writes a small lab that works, for an author to change.
func newLab(args []string, stdout, stderr io.Writer) error {
	f := labFlags("new", stderr)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("say where: server lab new labs/my-lab makes the lab my-lab below labs")
	}
	dir := filepath.Clean(f.Arg(0))
	files, err := labs.Example(filepath.Base(dir))
	if err != nil {
		return err
	}
	schema, err := labs.Schema()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: choose another name", dir)
	} else if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), labs.SchemaFile), schema, 0o644); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return err
		}
		fmt.Fprintln(stdout, filepath.Join(dir, name))
	}
	fmt.Fprintf(stdout, "\nSee it while you change it:  server lab preview %s\nPlay it on a real kernel:    server lab test -dir %s\n", dir, dir)
	return nil
}

func printSchema(stdout io.Writer) error {
	b, err := labs.Schema()
	if err != nil {
		return err
	}
	_, err = stdout.Write(b)
	return err
}

func labFlags(verb string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("server lab "+verb, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { fmt.Fprint(stderr, labUsage) }
	return f
}

// anywhere parses flags that may stand before and behind other arguments, which it
// gives back.
func anywhere(f *flag.FlagSet, args []string) (others []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return others, nil
		}
		others, args = append(others, f.Arg(0)), f.Args()[1:]
	}
}

// previewLab serves a directory of labs beside the built-in ones; what is saved
// there is shown at once.
func previewLab(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c := settings{follow: func(ctx context.Context, l *library, s *session.Registry) { follow(ctx, l, s, stderr) }}
	f := labFlags("preview", stderr)
	f.StringVar(&c.addr, "addr", env("KABEL_ADDR", "127.0.0.1:8080"), "`address` to listen on (KABEL_ADDR)")
	c.backendFlags(f)
	f.Usage = func() { fmt.Fprint(stderr, labUsage, "\nFlags of preview:\n"); f.PrintDefaults() }
	dirs, err := anywhere(f, args)
	if err != nil {
		return err
	}
	if len(dirs) != 1 {
		return errors.New("say which labs: server lab preview labs, or one of them, server lab preview labs/my-lab")
	}
	c.labs = dirs[0]
	// A server that runs keeps its data for itself: the preview has its own.
	if c.data, err = os.MkdirTemp("", "kabel-lab-preview-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.data)) }()
	return serve(ctx, c, stdout, logger(stderr, c.verbose))
}

// glance is how often the files are looked at. It needs no help of the kernel,
// so that it works on every file system and with every editor's way to save.
const glance = 250 * time.Millisecond

// follow loads the labs again whenever a file of theirs changes, until ctx ends.
func follow(ctx context.Context, l *library, sessions *session.Registry, stderr io.Writer) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	var before map[string]string
	for first := true; ; first = false {
		stamps, err := l.folder.Stamps()
		switch {
		case err != nil && before != nil:
			fmt.Fprintln(stderr, err)
			before = nil
		case err == nil && !maps.Equal(stamps, before):
			before = stamps
			catalog, err := l.Load()
			if err != nil {
				fmt.Fprintln(stderr, err)
				break
			}
			if !first {
				sessions.Teach(catalog)
			}
			l.tell(stderr, catalog)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell lists the mistakes of the labs, each with a path that an editor can open.
func (l *library) tell(w io.Writer, c *labs.Catalog) {
	for _, b := range c.Broken() {
		for line := range strings.SplitSeq(b.Err.Error(), "\n") {
			fmt.Fprintln(w, l.folder.Path(line))
		}
	}
	if len(c.Broken()) == 0 {
		fmt.Fprintf(w, "%s  the labs are right\n", time.Now().Format(time.TimeOnly))
	}
}

// choose finds the labs that are meant: those that are named, or all of the
// directory, or the built-in ones where there is none. With mistakes in them
// none is chosen.
func (l *library) choose(c *labs.Catalog, ids []string) (chosen []*labs.Lab, err error) {
	if len(c.Broken()) > 0 {
		var mistakes strings.Builder
		l.tell(&mistakes, c)
		return nil, errors.New("there are mistakes:\n" + strings.TrimSpace(mistakes.String()))
	}
	for _, id := range ids {
		lab := c.Lab(id)
		if lab == nil {
			return nil, fmt.Errorf("there is no lab called %q", id)
		}
		chosen = append(chosen, lab)
	}
	if len(ids) == 0 {
		chosen = slices.DeleteFunc(c.Labs(), func(lab *labs.Lab) bool { return l.folder != nil && l.builtIn.Lab(lab.ID) == lab })
	}
	if len(chosen) == 0 {
		return nil, errors.New("there is no lab: a lab is a folder with a lab.yaml; server lab new makes one")
	}
	return chosen, nil
}

// watch proves labs, and again those whose files change, until ctx ends. What is
// saved while labs are played ends that: they are played anew.
func (l *library) watch(ctx context.Context, sessions *session.Registry, chosen []*labs.Lab, prove func(context.Context, []*labs.Lab) (*proof.Report, error), stdout, stderr io.Writer) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	before, err := l.folder.Stamps()
	if err != nil {
		return err
	}
	// saved waits until a file has changed, until whichever of the two ends.
	saved := func(over <-chan struct{}) bool {
		for {
			select {
			case <-ctx.Done():
				return false
			case <-over:
				return false
			case <-tick.C:
			}
			if now, err := l.folder.Stamps(); err == nil && !maps.Equal(now, before) {
				return true
			}
		}
	}
	for {
		overtaken := false
		if len(chosen) > 0 {
			playing, stop := context.WithCancel(ctx)
			over := make(chan struct{})
			var report *proof.Report
			go func() {
				defer close(over)
				report, err = prove(playing, chosen)
			}()
			overtaken = saved(over)
			stop()
			<-over
			switch {
			case ctx.Err() != nil:
				return nil
			case overtaken:
				fmt.Fprintln(stderr, "saved meanwhile: played anew")
			default:
				if report != nil {
					err = errors.Join(err, report.WriteText(stdout))
				}
				if err != nil {
					fmt.Fprintln(stderr, err)
				}
				fmt.Fprintln(stderr, "waiting for what is saved; Ctrl-C ends this")
			}
		}
		if !overtaken && !saved(nil) {
			return nil
		}
		stamps, err := l.folder.Stamps()
		if err != nil {
			chosen = nil
			continue
		}
		catalog, err := l.Load()
		if err != nil {
			fmt.Fprintln(stderr, err)
			chosen, before = nil, stamps
			continue
		}
		l.tell(stderr, catalog)
		sessions.Teach(catalog)
		var next []*labs.Lab
		for _, lab := range catalog.Labs() {
			unfinished := overtaken && slices.ContainsFunc(chosen, func(c *labs.Lab) bool { return c.ID == lab.ID })
			if l.builtIn.Lab(lab.ID) == nil && (unfinished || stamps[lab.ID] != before[lab.ID]) {
				next = append(next, lab)
			}
		}
		chosen, before = next, stamps
	}
}

// complete lists the languages in which labs must have all their words. Those of
// a directory may be translated bit by bit.
func (l *library) complete() []string {
	if l.folder == nil {
		return labs.Languages()
	}
	return labs.Languages()[:1]
}

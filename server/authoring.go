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

// previewLab serves a directory of labs beside the built-in ones; what is saved
// there is shown at once.
func previewLab(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c := settings{follow: func(ctx context.Context, l *library, s *session.Registry) { follow(ctx, l, s, stderr) }}
	f := labFlags("preview", stderr)
	f.StringVar(&c.addr, "addr", env("KABEL_ADDR", "127.0.0.1:8080"), "`address` to listen on (KABEL_ADDR)")
	c.backendFlags(f)
	f.Usage = func() { fmt.Fprint(stderr, labUsage, "\nFlags of preview:\n"); f.PrintDefaults() }
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("say which labs: server lab preview labs, or one of them, server lab preview labs/my-lab")
	}
	c.labs = f.Arg(0)
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
	before := ""
	for first := true; ; first = false {
		stamp, err := l.folder.Stamp()
		if err != nil {
			stamp = err.Error()
		}
		if stamp != before {
			before = stamp
			if catalog, err := l.Load(); err != nil {
				fmt.Fprintln(stderr, err)
			} else {
				if !first {
					sessions.Teach(catalog)
				}
				l.tell(stderr, catalog)
			}
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

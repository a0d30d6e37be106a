package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kabel/labs"
	"kabel/server/proof"
	"kabel/server/session"
)

const labTestUsage = `Usage: server lab test [flags] [LAB ...]

Plays labs on a real kernel, side by side. The solution is played twice each way: by the button, typed at a terminal,
and over the API's exec. Every wrong solution is tried once, must not pass and must get its hint. Every step is reset to.
With names and addresses of a learner's own it is played once, by the button, unless -variant asks for more. Without
LAB, all labs. It fails if a lab is not as it promises.

Flags:
`

// labTest is what the flags of server lab test say.
type labTest struct {
	settings
	ways, variants, step, json, junit string
	worlds                            int
	watch                             bool
}

func (c *labTest) flags(f *flag.FlagSet) {
	f.StringVar(&c.ways, "way", "", "play the solution only by these `ways`: button, terminal, exec, with commas between them")
	f.StringVar(&c.variants, "variant", "", "prove only these `variants`, with commas between them; \"default\" is the lab as it was written, \"personal\" has names and addresses that are drawn")
	f.StringVar(&c.step, "step", "", "prove only the step of this `id`")
	f.StringVar(&c.json, "json", "", "write the whole report to this `file`, as JSON")
	f.StringVar(&c.junit, "junit", "", "write the report to this `file`, as JUnit XML")
	f.StringVar(&c.labs, "dir", "", "prove the labs of this `directory` instead of the built-in ones")
	f.BoolVar(&c.watch, "watch", false, "stay, and prove again what is saved in the directory")
	f.IntVar(&c.worlds, "worlds", 0, "how many `worlds` to play at a time; 0: twelve for each CPU")
	c.backendFlags(f)
}

func testLabs(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var c labTest
	f := flag.NewFlagSet("server lab test", flag.ContinueOnError)
	f.SetOutput(stderr)
	c.flags(f)
	f.Usage = func() { fmt.Fprint(stderr, labTestUsage); f.PrintDefaults() }
	named, err := anywhere(f, args)
	if err != nil {
		return err
	}
	if c.watch && c.labs == "" {
		return errors.New("say what to watch: server lab test --watch -dir mylabs")
	}
	library, err := openLabs(c.labs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, library.Close()) }()
	catalog, err := library.Load()
	if err != nil {
		return err
	}
	chosen, err := library.choose(catalog, named)
	if err != nil && !c.watch {
		return err
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	var ways []proof.Way
	for _, w := range listed(c.ways) {
		if !slices.Contains(proof.Ways(), proof.Way(w)) {
			return fmt.Errorf("there is no way %q: there are %v", w, proof.Ways())
		}
		ways = append(ways, proof.Way(w))
	}
	// Who gives up root may not be able to make them later.
	reports, err := c.openReports()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reports.close()) }()
	// A server that runs keeps its data for itself: the test has its own.
	if c.data, err = os.MkdirTemp("", "kabel-lab-test-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.data)) }()
	log := logger(stderr, c.verbose)
	b, err := openBackend(ctx, c.settings, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	before, err := b.remains(ctx)
	if err != nil {
		return err
	}
	sessions, err := session.Open(ctx, session.Options{Host: b.host, Labs: catalog, Records: &session.Memory{}, Log: log})
	if err != nil {
		return err
	}
	prove := func(ctx context.Context, chosen []*labs.Lab) (*proof.Report, error) {
		return proof.Run(ctx, proof.Options{Sessions: sessions, Ways: ways, Variants: listed(c.variants), Step: c.step, Worlds: c.worlds, Languages: library.complete(),
			Progress: progress(stderr)}, chosen)
	}
	if c.watch {
		return errors.Join(library.watch(ctx, sessions, chosen, prove, stdout, stderr), sessions.Close())
	}
	report, err := prove(ctx, chosen)
	err = errors.Join(err, sessions.Close())
	if report != nil {
		err = errors.Join(err, report.WriteText(stdout), reports.write(report))
	}
	if err != nil {
		return err
	}
	if n := report.Faulty(); n > 0 {
		return fmt.Errorf("%d of the proofs failed", n)
	}
	after, err := b.remains(ctx)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("something is left behind: there were %v, and are %v", before, after)
	}
	fmt.Fprintf(stdout, "nothing is left behind: %v, as before\n", after)
	return nil
}

func listed(s string) []string {
	return slices.DeleteFunc(strings.Split(s, ","), func(w string) bool { return w == "" })
}

// progress tells of faults at once, and of the rest every fifty cases.
func progress(w io.Writer) func(*proof.Lab, proof.Case) {
	n := 0
	return func(l *proof.Lab, c proof.Case) {
		if n++; n%50 == 0 {
			fmt.Fprintf(w, "%d cases are played\n", n)
		}
		for _, f := range c.Faults {
			first, _, _ := strings.Cut(f, "\n")
			fmt.Fprintf(w, "FAULT  %s, %s: %.200s\n", l.Name(), c, first)
		}
	}
}

// reports are the files to which a report is written; nil: not wanted.
type reports struct{ json, junit *os.File }

func (c *labTest) openReports() (r reports, err error) {
	if c.json != "" {
		if r.json, err = os.Create(c.json); err != nil {
			return r, err
		}
	}
	if c.junit != "" {
		if r.junit, err = os.Create(c.junit); err != nil {
			return r, errors.Join(err, r.close())
		}
	}
	return r, nil
}

func (r reports) write(report *proof.Report) error {
	var errs []error
	if r.json != nil {
		errs = append(errs, report.WriteJSON(r.json))
	}
	if r.junit != nil {
		errs = append(errs, report.WriteJUnit(r.junit))
	}
	return errors.Join(errs...)
}

func (r reports) close() error {
	var errs []error
	for _, f := range []*os.File{r.json, r.junit} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// remains is what worlds are made of, as far as this process may see it: without
// a process in it and without the sandbox, no namespace lives.
type remains struct{ worlds, processes int }

func (r remains) String() string {
	return fmt.Sprintf("%d worlds, %d processes", r.worlds, r.processes)
}

func (b *backend) remains(ctx context.Context) (r remains, err error) {
	worlds, err := b.host.Worlds(ctx)
	if err != nil {
		return r, err
	}
	r.worlds = len(worlds)
	if b.child != nil {
		r.processes, err = descendants(b.child.cmd.Process.Pid)
	}
	return r, err
}

// descendants counts the processes below one.
func descendants(of int) (int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	parents := map[int]int{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		line := string(b)
		pid, err := strconv.Atoi(line[:max(strings.IndexByte(line, ' '), 0)])
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		// The name in brackets may have anything in it. Behind it: state, parent.
		if f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:]); len(f) > 1 {
			if parents[pid], err = strconv.Atoi(f[1]); err != nil {
				return 0, fmt.Errorf("read %s: %w", path, err)
			}
		}
	}
	n := 0
	for pid := range parents {
		for p := parents[pid]; p > 1; p = parents[p] {
			if p == of {
				n++
				break
			}
		}
	}
	return n, nil
}

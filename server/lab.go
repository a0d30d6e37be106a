package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"

	"kabel/labs"
	"kabel/server/session"
)

const labUsage = `Usage:
  server lab validate [DIR ...]      check the labs below each DIR (one folder a lab); without one, the built-in labs
  server lab test [flags] [LAB ...]  play labs on a real kernel: the solution twice, every wrong solution once;
                                     each step must not pass before it is done. Without LAB, all of them.
`

func runLab(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
		args = args[1:]
	}
	switch verb {
	case "validate":
		return validateLabs(args, stdout, stderr)
	case "test":
		return testLabs(ctx, args, stdout, stderr)
	case "-h", "--help", "help":
		fmt.Fprint(stderr, labUsage)
		return flag.ErrHelp
	}
	fmt.Fprint(stderr, labUsage)
	return fmt.Errorf("unknown verb %q", verb)
}

func validateLabs(args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("server lab validate", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { fmt.Fprint(stderr, labUsage) }
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		c, err := labs.BuiltIn()
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%d labs are right\n", len(c.Labs()))
		return nil
	}
	var errs []error
	for _, dir := range f.Args() {
		c, err := labs.Load(os.DirFS(dir))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:\n%w", dir, err))
			continue
		}
		if len(c.Labs()) == 0 {
			errs = append(errs, fmt.Errorf("%s: there is no lab: a lab is a folder with a lab.yaml", dir))
			continue
		}
		fmt.Fprintf(stdout, "%s: %d labs are right\n", dir, len(c.Labs()))
	}
	return errors.Join(errs...)
}

func testLabs(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var c settings
	f := flag.NewFlagSet("server lab test", flag.ContinueOnError)
	f.SetOutput(stderr)
	c.backendFlags(f)
	f.Usage = func() { fmt.Fprint(stderr, labUsage, "\nFlags:\n"); f.PrintDefaults() }
	if err := f.Parse(args); err != nil {
		return err
	}
	catalog, err := labs.BuiltIn()
	if err != nil {
		return err
	}
	chosen := catalog.Labs()
	if f.NArg() > 0 {
		chosen = nil
		for _, id := range f.Args() {
			l := catalog.Lab(id)
			if l == nil {
				return fmt.Errorf("there is no lab called %q", id)
			}
			chosen = append(chosen, l)
		}
	}
	// A server that runs keeps its data for itself: the test has its own.
	if c.data, err = os.MkdirTemp("", "kabel-lab-test-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.data)) }()
	log := logger(stderr, c.verbose)
	b, err := openBackend(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	sessions, err := session.Open(ctx, session.Options{Host: b.host, Labs: catalog, Records: &session.Memory{}, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sessions.Close()) }()
	// Side by side: a proof mostly waits for answers that must not come.
	reports, errs := make([]session.Report, len(chosen)), make([]error, len(chosen))
	var proofs sync.WaitGroup
	for i, l := range chosen {
		proofs.Go(func() { reports[i], errs[i] = sessions.Prove(ctx, l) })
	}
	proofs.Wait()
	failed := 0
	for _, report := range reports {
		fmt.Fprint(stdout, report)
		failed += report.Failures()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of the proofs failed", failed)
	}
	return nil
}

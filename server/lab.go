package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"kabel/labs"
)

const labUsage = `Usage:
  server lab validate [DIR ...]      check the labs below each DIR (one folder a lab); without one, the built-in labs
  server lab test [flags] [LAB ...]  play labs on a real kernel, wrong solutions included (server lab test -h)
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

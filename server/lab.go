package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"kabel/labs"
)

const labUsage = `Usage:
  server lab new DIR/ID              write a small lab that works, to begin from
  server lab preview [flags] DIR     serve the labs of DIR beside the built-in ones; the page follows what is saved
  server lab validate [DIR ...]      check the labs of each DIR; without one, the built-in labs
  server lab test [flags] [LAB ...]  play labs on a real kernel, wrong solutions included (server lab test -h)
  server lab schema                  print the JSON Schema of lab.yaml, for editors

DIR has one folder for each lab, or is one of these folders.
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
	case "new":
		return newLab(args, stdout, stderr)
	case "preview":
		return previewLab(ctx, args, stdout, stderr)
	case "schema":
		return printSchema(stdout)
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
		n, err := validateFolder(dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(stdout, "%s: %s\n", dir, right(n))
	}
	return errors.Join(errs...)
}

func right(n int) string {
	if n == 1 {
		return "1 lab is right"
	}
	return fmt.Sprintf("%d labs are right", n)
}

// validateFolder loads the labs of a directory as a server would and counts them.
func validateFolder(dir string) (n int, err error) {
	more, err := openLabs(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, more.Close()) }()
	c, err := more.Load()
	if err != nil {
		return 0, err
	}
	var mistakes strings.Builder
	for _, b := range c.Broken() {
		for line := range strings.SplitSeq(b.Err.Error(), "\n") {
			fmt.Fprintf(&mistakes, "\n%s", more.folder.Path(line))
		}
	}
	n = len(c.Labs()) - len(more.builtIn.Labs())
	switch {
	case mistakes.Len() > 0:
		return 0, fmt.Errorf("%s has mistakes:%s", dir, mistakes.String())
	case n == 0:
		return 0, fmt.Errorf("%s: there is no lab: a lab is a folder with a lab.yaml; server lab new %s/my-lab makes one", dir, dir)
	}
	return n, nil
}

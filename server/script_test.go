package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts are stories of the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": func(ts *testscript.TestScript, neg bool, args []string) {
				err := Run(context.Background(), args, ts.Stdout(), ts.Stderr())
				if err != nil && !errors.Is(err, flag.ErrHelp) {
					fmt.Fprintln(ts.Stderr(), "server:", err)
					if !neg {
						ts.Fatalf("server %v: %v", args, err)
					}
					return
				}
				if neg {
					ts.Fatalf("server %v did not fail", args)
				}
			},
		},
		Setup: func(e *testscript.Env) error { e.Setenv("PATH", os.Getenv("PATH")); return nil },
	})
}

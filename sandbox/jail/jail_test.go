package jail

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	if os.Getenv("KABEL_TEST_ELEVATE") != "" { // see TestAnOrdinaryUser
		if err := Elevate(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// testLog sends a yard's log to the test.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// openYard opens a yard for one test and closes it.
func openYard(t *testing.T, o Options) *Yard {
	t.Helper()
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	o.Log = testLog(t)
	y, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := y.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return y
}

// deadline is a context that ends in time for a stuck test to say where it was.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestMachine(t *testing.T) {
	y := openYard(t, Options{})
	b, err := y.Start(deadline(t), "w1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.AddMachine(deadline(t), "host1")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Exec(deadline(t), Command{Argv: []string{"bash", "-c", "hostname; exit 3"}})
	if err != nil || r.ExitCode != 3 || string(r.Stdout) != "host1\n" {
		t.Errorf("got %+v, %v", r, err)
	}
}

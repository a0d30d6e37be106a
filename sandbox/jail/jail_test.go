package jail

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Main()
	if os.Getenv(elevateEnv) != "" {
		if err := Elevate(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(answerEnv) != "" {
		sayWho()
	}
	if dir := os.Getenv(victimEnv); dir != "" {
		if err := beVictim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// openYard opens a yard for one test, and closes it when the test ends: then
// nothing may be left of it.
func openYard(t testing.TB, o Options) *Yard {
	t.Helper()
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	goroutines, fds := goleak.IgnoreCurrent(), openFDs(t)
	y, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := y.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		nothingLeft(t, o.StateDir)
		if now := openFDs(t); len(now) > len(fds) {
			t.Errorf("descriptors leak: before %q, now %q", fds, now)
		}
		if err := goleak.Find(goroutines); err != nil {
			t.Error(err)
		}
	})
	return y
}

func nothingLeft(t testing.TB, stateDir string) {
	t.Helper()
	left, err := Leftovers(stateDir)
	if err != nil {
		t.Error(err)
	}
	for _, l := range left {
		t.Errorf("left over: %s", l)
	}
}

// openFDs tells what this process has open, but for the runtime's own.
func openFDs(t testing.TB) []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc/") {
			open = append(open, to)
		}
	}
	return open
}

// deadline is a context that ends in time for a test that is stuck to say where.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func startBox(t testing.TB, y *Yard, name string, machines ...string) (*Box, []*Machine) {
	t.Helper()
	b, err := y.Start(deadline(t), name)
	if err != nil {
		t.Fatal(err)
	}
	var ms []*Machine
	for _, n := range machines {
		m, err := b.AddMachine(deadline(t), n)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return b, ms
}

// startMachine1 is a machine in a box in a yard of its own.
func startMachine1(t testing.TB) *Machine {
	t.Helper()
	_, ms := startBox(t, openYard(t, Options{}), "w", "host1")
	return ms[0]
}

// sh runs a shell command on a machine.
func sh(t testing.TB, m *Machine, script string) Result {
	t.Helper()
	r, err := m.Exec(deadline(t), Command{Argv: []string{"bash", "-c", script}})
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return r
}

// shOut is the output of a command that must succeed.
func shOut(t testing.TB, m *Machine, script string) string {
	t.Helper()
	r := sh(t, m, script)
	if r.ExitCode != 0 {
		t.Fatalf("on %s: %s: exit code %d\n%s%s", m.Name(), script, r.ExitCode, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// eventually waits for a state, with a deadline.
func eventually(t testing.TB, what string, state func() bool) {
	t.Helper()
	ctx := deadline(t)
	for !state() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

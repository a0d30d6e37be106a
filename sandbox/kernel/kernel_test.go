package kernel

import (
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/host/contract"
	"kabel/sandbox/jail"
)

func TestMain(m *testing.M) {
	jail.Main()
	if err := flag.Set("rapid.checks", "25"); err != nil { // each makes a world; the command line overrides it
		panic(err)
	}
	os.Exit(m.Run())
}

// openHost opens a host for one test; at its end nothing may be left of it.
func openHost(t testing.TB) *Host {
	t.Helper()
	before := descriptors(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	yard, err := jail.Open(jail.Options{StateDir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(yard, Options{ID: "test", Log: log})
	if err != nil {
		yard.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close host: %v", err)
		}
		if err := yard.Close(); err != nil {
			t.Errorf("close yard: %v", err)
		}
		eventually(t, "descriptors are left", func() bool { return descriptors(t) <= before })
	})
	return h
}

// eventually waits for a state that the kernel brings about in its own time.
func eventually(t testing.TB, complaint string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Error(complaint)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// descriptors counts what this process holds open, without Go's own pollers.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if to, err := os.Readlink("/proc/self/fd/" + name.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			n++
		}
	}
	return n
}

func TestContract(t *testing.T) {
	contract.Test(t, func(t *testing.T) host.Host { return openHost(t) })
}

package kernel

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kabel/sandbox/host"
	"kabel/sandbox/host/contract"
	"kabel/sandbox/jail"
)

func TestMain(m *testing.M) {
	jail.Main()
	if err := jail.Elevate(); err != nil { // an ordinary user's tests run in a user namespace
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := flag.Set("rapid.checks", "25"); err != nil { // each makes a world; the command line overrides it
		panic(err)
	}
	os.Exit(m.Run())
}

// openHost opens a host for one test; at its end nothing may be left of it. A
// namespace lives by a process, a descriptor or a mount: none of these may stay.
func openHost(t testing.TB) *Host {
	t.Helper()
	return openHostWith(t, jail.Limits{}, Options{ID: "test"})
}

func openHostWith(t testing.TB, limits jail.Limits, o Options) *Host {
	t.Helper()
	before, goroutines := resources(t), goleak.IgnoreCurrent()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	yard, err := jail.Open(jail.Options{StateDir: t.TempDir(), Limits: limits, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	o.Log = log
	h, err := New(yard, o)
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
		goleak.VerifyNone(t, goroutines)
		eventually(t, "something is left", func() bool { return resources(t) == before })
		if now := resources(t); now != before {
			t.Errorf("%+v before, %+v now", before, now)
		}
	})
	return h
}

// held is what a process can leave behind.
type held struct{ descriptors, children, mounts int }

func resources(t testing.TB) held {
	t.Helper()
	r, w, err := os.Pipe() // so that Go's own poller is there and counted
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	var h held
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h.descriptors = len(fds)
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err == nil { // else the thread has ended
			h.children += len(strings.Fields(string(pids)))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	h.mounts = strings.Count(string(mounts), "\n")
	return h
}

// atRest is the least that is held within a while: a host that looks after its
// limits has a file open for a moment.
func atRest(t testing.TB) held {
	t.Helper()
	least := resources(t)
	for range 50 {
		time.Sleep(time.Millisecond)
		now := resources(t)
		least = held{min(least.descriptors, now.descriptors), min(least.children, now.children), min(least.mounts, now.mounts)}
	}
	return least
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

func TestContract(t *testing.T) {
	contract.Test(t, func(t *testing.T) host.Host { return openHost(t) })
}

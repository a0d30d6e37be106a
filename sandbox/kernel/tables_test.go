package kernel

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kabel/sandbox/jail"
)

// fakeMachine is a root directory with settings in it.
type fakeMachine struct {
	t    *testing.T
	root string
}

// usual are the settings of a machine with 24 GiB, 2 processors and this kernel.
var usual = map[string]int{
	"net.ipv4.neigh.default.gc_thresh1": 128, "net.ipv4.neigh.default.gc_thresh2": 512, "net.ipv4.neigh.default.gc_thresh3": 1024,
	"net.ipv6.neigh.default.gc_thresh1": 128, "net.ipv6.neigh.default.gc_thresh2": 512, "net.ipv6.neigh.default.gc_thresh3": 1024,
	"net.netfilter.nf_conntrack_max": 262144, "net.netfilter.nf_conntrack_count": 7,
	"kernel.pty.max": 4096, "kernel.pty.reserve": 1024, "kernel.pid_max": 32768, "kernel.threads-max": 192731,
	"fs.file-max": 2466193, "fs.inotify.max_user_instances": 128, "fs.inotify.max_user_watches": 192536,
	"user.max_user_namespaces": 96365, "user.max_net_namespaces": 96365, "user.max_mnt_namespaces": 96365, "user.max_pid_namespaces": 96365,
}

func newMachine(t *testing.T, mib int, change map[string]int) *fakeMachine {
	t.Helper()
	m := &fakeMachine{t, t.TempDir()}
	m.file("proc/meminfo", fmt.Sprintf("MemTotal:       %d kB\nMemFree: 1 kB\n", mib<<10))
	all := maps.Clone(usual)
	maps.Copy(all, change)
	for key, value := range all {
		m.put(key, value)
	}
	return m
}

func (m *fakeMachine) file(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *fakeMachine) put(key string, value int) {
	m.t.Helper()
	m.file("proc/sys/"+strings.ReplaceAll(key, ".", "/"), fmt.Sprintln(value))
}

// missing takes a setting away.
func (m *fakeMachine) missing(key string) {
	if err := os.Remove(filepath.Join(m.root, "proc/sys", strings.ReplaceAll(key, ".", "/"))); err != nil {
		m.t.Fatal(err)
	}
}

func (m *fakeMachine) want(when string, values map[string]int) {
	m.t.Helper()
	for key, want := range values {
		if got, err := (&tables{root: m.root}).read(key); err != nil || got != want {
			m.t.Errorf("%s: %s is %d, want %d (%v)", when, key, got, want, err)
		}
	}
}

// fakeYard is one of usual limits.
type fakeYard struct{ rootless, apart bool }

func (fakeYard) Limits() jail.Limits { return jail.Limits{MemoryMiB: 192, Pids: 200, Namespaces: 48} }

func (y fakeYard) Rootless() bool { return y.rootless }

func (y fakeYard) TerminalsReserved() bool { return !y.rootless && !y.apart }

// open is a sandbox on the machine that has begun; kill -9 of it is record.close.
func (m *fakeMachine) open() *tables {
	m.t.Helper()
	t, err := openTables(m.root, filepath.Join(m.root, "record"), fakeYard{})
	if err != nil {
		m.t.Fatal(err)
	}
	return t
}

func (m *fakeMachine) close(t *tables) {
	m.t.Helper()
	if err := t.close(); err != nil {
		m.t.Error(err)
	}
}

var raised = map[string]int{
	"net.ipv4.neigh.default.gc_thresh1": 32768, "net.ipv4.neigh.default.gc_thresh2": 65536, "net.ipv4.neigh.default.gc_thresh3": 131072,
	"net.ipv6.neigh.default.gc_thresh3": 131072, "net.netfilter.nf_conntrack_max": 32768, "kernel.pty.max": 65536, "kernel.pty.reserve": 57344,
	"kernel.pid_max": 4194304, "kernel.threads-max": 192731, "fs.inotify.max_user_instances": 65536, "user.max_mnt_namespaces": 131072,
}

func TestSharedTablesAreSetAndPutBack(t *testing.T) {
	m := newMachine(t, 24105, nil)
	tables := m.open()
	m.want("while a host lives", raised)
	if tables.capacity != 360 || len(tables.missing) > 0 {
		t.Errorf("room for %d worlds, want 360; missing: %q", tables.capacity, tables.missing)
	}
	m.close(tables)
	m.want("after it", usual)
}

func TestSharedTablesBelongToAllSandboxes(t *testing.T) {
	m := newMachine(t, 24105, nil)
	first, second := m.open(), m.open()
	m.close(first)
	m.want("while the second lives", raised)
	m.close(second)
	m.want("after both", usual)
}

func TestSharedTablesOfAKilledSandboxArePutBackByTheNext(t *testing.T) {
	m := newMachine(t, 24105, nil)
	m.open().record.close() // the kernel does the same for a process that is killed
	m.want("after the kill", raised)
	m.close(m.open())
	m.want("after the next", usual)

	m.open().record.close()
	m.file("record", strings.Replace(m.text("record"), bootID(), "another boot", 1))
	m.close(m.open())
	m.want("what was remembered before a boot is forgotten", raised)
}

func (m *fakeMachine) text(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func TestSharedTablesThatOthersSetAreTheirs(t *testing.T) {
	m := newMachine(t, 24105, map[string]int{"kernel.pid_max": 4194304, "kernel.pty.max": 100000, "net.netfilter.nf_conntrack_count": 20000, "user.max_user_namespaces": 0})
	tables := m.open()
	m.want("more than is wanted", map[string]int{"kernel.pid_max": 4194304, "kernel.pty.max": 100000})
	m.want("what learners mount is bounded all the same", map[string]int{"kernel.pty.reserve": 100000 - 8192})
	m.want("the machine's own connections have room", map[string]int{"net.netfilter.nf_conntrack_max": 80000})
	m.want("what is forbidden stays so", map[string]int{"user.max_user_namespaces": 0})
	m.put("net.ipv4.neigh.default.gc_thresh3", 500000)
	m.put("fs.inotify.max_user_instances", 1000)
	m.close(tables)
	m.want("afterwards", map[string]int{"kernel.pid_max": 4194304, "net.ipv4.neigh.default.gc_thresh3": 500000,
		"fs.inotify.max_user_instances": 1000, "net.netfilter.nf_conntrack_max": 262144})
}

func TestCapacityFollowsFromWhatIsShared(t *testing.T) {
	for _, c := range []struct {
		what     string
		mib      int
		change   map[string]int
		absent   string
		cgroup   string
		rootless bool
		apart    bool // in mounts of its own
		capacity int
		missing  []string // begins of lines, in order
	}{
		{what: "memory", mib: 4096, capacity: 48},
		{what: "a small machine, of which it is told", mib: 1024, capacity: 12, missing: []string{"memory: 1024 MiB have room for 12 worlds"}},
		{what: "a container's memory", mib: 24105, cgroup: "2147483648", capacity: 24, missing: []string{"memory: 2048 MiB"}},
		{what: "a container without a limit", mib: 24105, cgroup: "max", capacity: 360},
		{what: "threads, which only memory bounds", mib: 24105, change: map[string]int{"kernel.threads-max": 16400}, capacity: 50},
		{what: "neighbours that can't be read nor set", mib: 24105, absent: "net.ipv4.neigh.default.gc_thresh3", capacity: 42,
			missing: []string{"net.ipv4.neigh.default.gc_thresh3 is 1024, should be 131072 and can't be set (open"}},
		{what: "a kernel without connection tracking", mib: 24105, absent: "net.netfilter.nf_conntrack_max", capacity: 360},
		{what: "an ordinary user", mib: 24105, rootless: true, capacity: 42, missing: []string{
			"fs.file-max is 2466193, should be 1099511627776 and can't be set (that needs root): ", "fs.inotify.max_user_instances", "fs.inotify.max_user_watches",
			"kernel.pid_max is 32768, should be 4194304 and can't be set (that needs root): beyond, worlds can't be made; room for 99 worlds", "kernel.pty.max",
			"net.ipv4.neigh.default.gc_thresh3", "net.ipv6.neigh.default.gc_thresh3", "net.netfilter.nf_conntrack_max is 262144, should be 32768", "kernel.pty.reserve: not for worlds here"}},
		{what: "mounts of its own", mib: 24105, apart: true, capacity: 360, missing: []string{"kernel.pty.reserve: not for worlds here"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := newMachine(t, c.mib, c.change)
			if c.absent != "" {
				m.missing(c.absent)
			}
			if c.cgroup != "" {
				m.file("sys/fs/cgroup/memory.max", c.cgroup+"\n")
			}
			tables, err := openTables(m.root, filepath.Join(m.root, "record"), fakeYard{c.rootless, c.apart})
			if err != nil {
				t.Fatal(err)
			}
			defer m.close(tables)
			if tables.capacity != c.capacity {
				t.Errorf("room for %d worlds, want %d", tables.capacity, c.capacity)
			}
			ok := len(tables.missing) == len(c.missing)
			for i := 0; ok && i < len(c.missing); i++ {
				ok = strings.HasPrefix(tables.missing[i], c.missing[i])
			}
			if !ok {
				t.Errorf("missing:\n%s\nwant:\n%s", strings.Join(tables.missing, "\n"), strings.Join(c.missing, "\n"))
			}
		})
	}
}

// On the real machine: the others that may live on it neither come nor go
// while this test holds their record.
func TestTheMachinesTablesAreAsBefore(t *testing.T) {
	if os.Getuid() != 0 {
		return // all that it can do is in the table above
	}
	others, err := os.OpenFile(RecordPath, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return // an ordinary user who is root of a namespace
	}
	defer others.Close()
	if err := (&record{others}).lock(1, unix.F_WRLCK, unix.F_OFD_SETLKW); err != nil {
		t.Fatal(err)
	}
	yard, err := jail.Open(jail.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer yard.Close()
	before, left := map[string]int{}, map[string]bool{} // which of them are left as they are
	values := tables{root: "/"}
	for _, s := range sharedTables(yard.Limits(), machineState{reserved: true}) {
		if v, err := values.read(s.key); err == nil {
			before[s.key] = v
		}
		left[s.key] = s.want == 0
	}
	h, err := New(yard, Options{ID: "test", Tables: filepath.Join(t.TempDir(), "record")})
	if err != nil {
		t.Fatal(err)
	}
	status, err := h.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("capacity %d, missing %q", status.Capacity, status.Missing)
	told := strings.Join(status.Missing, "\n")
	for key, was := range before {
		want, set := raised[key]
		now, err := values.read(key)
		if left[key] || strings.HasPrefix(key, "user.") {
			continue // where it can't be set, there is usually room all the same
		}
		if set && now != want && was < want && !strings.Contains(told, key) {
			t.Errorf("%s is %d, want %d, and it is not told (%v)", key, now, want, err)
		}
	}
	if status.Capacity < 1 {
		t.Errorf("capacity %d", status.Capacity)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	for key, was := range before {
		if now, err := values.read(key); err != nil || now != was {
			t.Errorf("%s is %d afterwards, was %d (%v)", key, now, was, err)
		}
	}
}

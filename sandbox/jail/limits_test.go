package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAForkBombIsBounded(t *testing.T) {
	y := openYard(t, Options{Limits: Limits{Pids: 60}})
	b, ms := startBox(t, y, "w", "host1", "host2")
	most := 0
	bombing := make(chan error)
	go func() {
		_, err := ms[0].Exec(deadline(t), Command{Argv: []string{"bash", "-c", "f() { f | f & }; f; sleep 1000"}, Timeout: time.Second})
		bombing <- err
	}()
	var err error
	for done := false; !done; {
		select {
		case err = <-bombing:
			done = true
		default:
			pids, _ := b.Pids()
			most = max(most, len(pids))
		}
	}
	if err != nil {
		t.Error(err)
	}
	if most < 30 || most > 60+3 {
		t.Errorf("at most %d processes were there: the bomb did not work, or has no bound", most)
	}
	// The inits have what they need: the learner's processes can be ended from
	// outside, and then all works again.
	if err := ms[0].AddNetns(deadline(t), "kon"); err != nil {
		t.Errorf("while the bomb is there: %v", err)
	}
	if err := ms[0].KillAll(deadline(t)); err != nil {
		t.Error(err)
	}
	for _, m := range ms {
		eventually(t, m.Name()+" is usable again", func() bool {
			r, err := m.Exec(deadline(t), Command{Argv: []string{"bash", "-c", "hostname | cat"}})
			return err == nil && string(r.Stdout) == m.Name()+"\n"
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	y := openYard(t, Options{Limits: Limits{MemoryMiB: 64}})
	if slices.ContainsFunc(y.Missing(), func(s string) bool { return strings.Contains(s, "memory") }) {
		return // and the operator is told so
	}
	_, ms := startBox(t, y, "w", "host1", "host2")
	for what, hog := range map[string]string{
		"a big program":     "head -c 300M /dev/zero | tail",
		"files":             "head -c 300M /dev/zero > /tmp/big",
		"files of its own":  "mkdir -p /tmp/m && mount -t tmpfs m /tmp/m && head -c 300M /dev/zero > /tmp/m/big",
		"files in /dev/shm": "head -c 300M /dev/zero > /dev/shm/big",
	} {
		if r := sh(t, ms[0], "set -o pipefail; "+hog+" >/dev/null"); r.ExitCode == 0 && !strings.Contains(hog, ">") {
			t.Errorf("%s: nothing stopped it", what)
		}
		// The programs went, not the machines.
		for _, m := range ms {
			if got := shOut(t, m, "hostname"); got != m.Name() {
				t.Errorf("%s: after it, %s says %q", what, m.Name(), got)
			}
		}
	}
}

func TestFilesAreBounded(t *testing.T) {
	y := openYard(t, Options{Limits: Limits{FilesMiB: 2}})
	_, ms := startBox(t, y, "w", "host1")
	for _, dir := range []string{"/tmp", "/root", "/etc", "/var/log", "/run"} {
		r := sh(t, ms[0], fmt.Sprintf("head -c 3M /dev/zero > %s/big; e=$?; rm %s/big; exit $e", dir, dir))
		if r.ExitCode == 0 || !strings.Contains(string(r.Stderr), "No space left on device") {
			t.Errorf("in %s: %d, %s", dir, r.ExitCode, r.Stderr)
		}
	}
}

func TestTheLimitsOfABoxAreWritten(t *testing.T) {
	y := openYard(t, Options{Limits: Limits{MemoryMiB: 100, Pids: 77, CPUPercent: 30}})
	b, ms := startBox(t, y, "w", "host1")
	written := func(files ...string) string {
		for _, dir := range b.groups.dirs {
			for _, f := range files {
				if text, err := os.ReadFile(filepath.Join(dir, f)); err == nil && strings.TrimSpace(string(text)) != "max" {
					return strings.TrimSpace(string(text))
				}
			}
		}
		return ""
	}
	missing := strings.Join(y.Missing(), " ")
	for _, c := range []struct {
		controller string
		files      []string
		want       []string
	}{
		{"memory", []string{"memory.limit_in_bytes", "memory.max"}, []string{strconv.Itoa(100 << 20)}},
		{"pids", []string{"pids.max"}, []string{"77"}},
		{"cpu", []string{"cpu.cfs_quota_us", "cpu.max"}, []string{"30000", "30000 100000"}},
	} {
		if got := written(c.files...); !slices.Contains(c.want, got) && !strings.Contains(missing, "cgroup "+c.controller) {
			t.Errorf("%s: %q is written, and it is not told to be missing", c.controller, got)
		}
	}
	processes := "77"
	if written("pids.max") != "" {
		processes = strconv.Itoa(77 + initThreads) // the group stops them first
	}
	for command, want := range map[string]string{"ulimit -Hu": processes, "ulimit -Sn": "1024", "ulimit -Hn": "4096", "ulimit -Hc": "0"} {
		if got := shOut(t, ms[0], command); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
}

func TestCgroupsAreFoundWhereTheyAreMounted(t *testing.T) {
	const (
		hybrid = `30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw shared:3 master:1 - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
`
		unified = "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	)
	for _, c := range []struct {
		what, table, v2 string
		v1              map[string]string
	}{
		{"both", hybrid, "/sys/fs/cgroup/unified", map[string]string{
			"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory", "pids": "/sys/fs/cgroup/pids"}},
		{"version 2 alone", unified, "/sys/fs/cgroup", map[string]string{}},
		{"none", "22 1 254:0 / / rw - ext4 /dev/vda rw\n", "", map[string]string{}},
	} {
		v1, v2 := cgroupMounts(c.table)
		if v2 != c.v2 || fmt.Sprint(v1) != fmt.Sprint(c.v1) {
			t.Errorf("%s: got %v, %q", c.what, v1, v2)
		}
	}
}

// Where all controllers are in version 2, inits and programs are in two leaves.
// Whichever controller is left there on this machine stands for them.
func TestLeavesOfVersion2(t *testing.T) {
	y := openYard(t, Options{})
	if y.cgroups.v2 == "" {
		return // it is told to be missing
	}
	has, err := os.ReadFile(filepath.Join(filepath.Dir(y.cgroups.v2), "cgroup.controllers"))
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(has))
	if len(names) == 0 {
		t.Skip("kernel lacks: a cgroup controller that is free for version 2")
	}
	if !slices.Contains(y.cgroups.v2has, names[0]) {
		if err := enableController(filepath.Dir(y.cgroups.v2), y.cgroups.v2, names[0]); err != nil {
			t.Fatal(err)
		}
		y.cgroups.v2has = append(y.cgroups.v2has, names[0])
	}
	b, ms := startBox(t, y, "w", "host1")
	if err := ms[0].Spawn(deadline(t), Command{Argv: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	for leaf, want := range map[string]int{"inits": 2, "learner": 1} {
		procs, err := os.ReadFile(filepath.Join(y.cgroups.v2, "w", leaf, "cgroup.procs"))
		if err != nil || len(strings.Fields(string(procs))) != want {
			t.Errorf("processes in %s: %q, want %d (%v)", leaf, procs, want, err)
		}
	}
	if pids, err := b.Pids(); err != nil || len(pids) != 3 {
		t.Errorf("processes of the box: %v, %v", pids, err)
	}
}

package jail

import (
	"os"
	"path/filepath"
	"testing"
)

// Both versions of control groups count the same, in files of their own.
func TestUsageIsReadFromBothVersions(t *testing.T) {
	group := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	counts := map[string]string{"pids.events": "max 7\n", "cpu.stat": "nr_periods 30\nnr_throttled 20\nthrottled_time 1\n",
		"memory.stat": "active_file 10485760\ninactive_file 10485760\nshmem 1\n"}
	v1, v2 := group(counts), group(counts)
	for dir, files := range map[string]map[string]string{
		v1: {"memory.usage_in_bytes": "104857600\n", "memory.failcnt": "9\n", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
			"memory.kmem.tcp.usage_in_bytes": "67092480\n"},
		v2: {"memory.current": "104857600\n", "memory.events": "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\n"},
	} {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := Usage{OOMKills: 3, MemoryRefused: 9, MemoryMiB: 80, ForksRefused: 7, Periods: 30, Throttled: 20}
	for dir, is2 := range map[string]bool{v1: false, v2: true} {
		g := meter{dir, is2}
		got, err := meters{"memory": g, "pids": g, "cpu": g}.read()
		want.SocketsFull = !is2 // version 2 counts them as memory
		if err != nil || got != want {
			t.Errorf("version 2 %v: %+v, %v; want %+v", is2, got, err, want)
		}
	}
	if got, err := (meters{}).read(); err != nil || got != (Usage{}) {
		t.Errorf("without groups: %+v, %v", got, err)
	}
}

func TestWhatAMachineHasTakenIsSeen(t *testing.T) {
	y := openYard(t, Options{Limits: Limits{FilesMiB: 2, Namespaces: 8}})
	b, ms := startBox(t, y, "w", "host1", "host2")
	full := func(what string, host1, host2, room bool, of func(m *Machine) (bool, error)) {
		t.Helper()
		for i, want := range []bool{host1, host2} {
			if got, err := of(ms[i]); err != nil || got != want {
				t.Errorf("%s of %s are full: %v, %v", what, ms[i].Name(), got, err)
			}
		}
		if got, err := b.RoomForNetns(deadline(t)); err != nil || got != room {
			t.Errorf("room for a namespace: %v, %v", got, err)
		}
	}
	full("files", false, false, true, (*Machine).FilesFull)
	full("terminals", false, false, true, (*Machine).TerminalsFull)
	sh(t, ms[0], "head -c 3M /dev/zero >/root/big")
	shOut(t, ms[1], "mkdir -p /tmp/m; for i in $(seq 64); do exec {fd}<>/dev/ptmx; done; sleep 1000 >/dev/null 2>&1 &")
	shOut(t, ms[1], "i=0; while ip netns add n$i 2>/dev/null; do i=$((i+1)); done")
	full("files", true, false, false, (*Machine).FilesFull)
	full("terminals", false, true, false, (*Machine).TerminalsFull)
	if err := b.Kill(); err != nil {
		t.Error(err)
	}
	if _, err := b.Usage(); err != ErrGone {
		t.Errorf("the usage of a dead box: %v", err)
	}
	if _, err := ms[0].FilesFull(); err != ErrGone {
		t.Errorf("the files of a dead machine: %v", err)
	}
}

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kabel/sandbox/jail"
)

// These tests run the two programs as their user does: built, started, asked
// over HTTP, killed.

// programs builds both, once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kabel-test-")
	if err != nil {
		return "", err
	}
	// Ordinary users start them too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	for _, p := range []string{"server", "sandbox"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, p), "kabel/"+p)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", p, err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	jail.Main()
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// running is a server under test.
type running struct {
	t    testing.TB
	cmd  *exec.Cmd
	url  string
	log  *bytes.Buffer
	gone chan struct{}
}

// start runs the server on a data directory, as root or as uid, and waits for
// its address.
func start(t testing.TB, data string, uid int, env ...string) *running {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &running{t: t, log: &bytes.Buffer{}, gone: make(chan struct{})}
	s.cmd = exec.Command(filepath.Join(dir, "server"), "--addr", "127.0.0.1:0", "--data", data, "-v")
	s.cmd.Dir = "/"
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + data, "XDG_RUNTIME_DIR=" + data}
	s.cmd.Env = append(s.cmd.Env, env...)
	if uid != 0 {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = w
	errs, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = errs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			b, _ := os.ReadFile(errs.Name())
			t.Logf("the server said:\n%s", b)
		}
	})
	go func() {
		s.cmd.Wait()
		close(s.gone)
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	r.Close()
	found := regexp.MustCompile(`http://[^/]+`).FindString(line)
	if err != nil || found == "" {
		b, _ := os.ReadFile(errs.Name())
		t.Fatalf("the server did not come up: %v %q\n%s", err, line, b)
	}
	s.url = found
	return s
}

func (s *running) stop(sig syscall.Signal) {
	s.cmd.Process.Signal(sig) // it may be gone already
	<-s.gone
}

func (s *running) do(method, path, key string, in any) (int, map[string]any) {
	s.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			s.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil && err != io.EOF {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, out
}

// must is do for what has to work.
func (s *running) must(method, path, key string, in any) map[string]any {
	s.t.Helper()
	status, out := s.do(method, path, key, in)
	if status >= 300 {
		s.t.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

// state is what a machine has of ours that could leak: processes of the sandbox
// program, network namespaces, mounts and cgroups.
func state(t testing.TB) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	procs, netns := []string{}, map[string]bool{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && strings.HasPrefix(exe, filepath.Join(dir, "sandbox")) {
			procs = append(procs, e.Name())
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/net"); err == nil {
			netns[ns] = true
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	cgroups := 0
	filepath.WalkDir("/sys/fs/cgroup", func(string, os.DirEntry, error) error { cgroups++; return nil })
	return fmt.Sprintf("sandbox processes %v, %d network namespaces, %d mounts, %d cgroup files", procs, len(netns), bytes.Count(mounts, []byte("\n")), cgroups)
}

// eventually waits for a state that must come.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("it never came that %s; now: %s", what, state(t))
		case <-tick.C:
		}
	}
}

func uidOf(t testing.TB, pid int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// dataDir is a directory that any user may own.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kabel-data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestStory: from a start as root to a container that answers, through a kill -9
// of the server, to a stop that leaves nothing behind.
func TestStory(t *testing.T) {
	before := state(t)
	data := dataDir(t)
	s := start(t, data, 0)
	if ids := uidOf(t, s.cmd.Process.Pid); slices.Contains(ids, "0") {
		t.Errorf("the HTTP process runs with the user ids %v", ids)
	}
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key := "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	first := created["current"].(string)
	s.must("POST", path+"/steps/"+first+"/apply", key, nil)
	out := s.must("POST", path+"/exec", key, map[string]any{"node": "host1", "argv": []string{"sh", "-c", "hostname; id -u; ip -j link show eth0 | grep -c eth0"}})
	if out["exit_code"] != 0.0 || out["stdout"] != "host1\n0\n1\n" {
		t.Errorf("exec: %v", out)
	}

	s.stop(syscall.SIGKILL)
	eventually(t, "the worlds end with the server", func() bool { return state(t) == before })

	s = start(t, data, 0)
	view := s.must("GET", path, key, nil)
	if view["state"] != "ready" || view["current"] == first {
		t.Errorf("after kill -9 the session is %v", view)
	}
	if out := s.must("POST", path+"/exec", key, map[string]any{"node": "host1", "argv": []string{"true"}}); out["exit_code"] != 0.0 {
		t.Errorf("its world, made again: %v", out)
	}
	s.must("DELETE", path, key, nil)
	s.stop(syscall.SIGTERM)
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("a stopped server has exit code %d", code)
	}
	eventually(t, "nothing is left: "+before, func() bool { return state(t) == before })
}

// TestSandboxKilled: without its sandbox the server ends and says so. The kernel
// ends the worlds; what can't end by itself is swept at the next start.
func TestSandboxKilled(t *testing.T) {
	before := state(t)
	data := dataDir(t)
	s := start(t, data, 0)
	s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-host-bridge"})
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.cmd.Process.Pid, s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	children := strings.Fields(string(b))
	if len(children) == 0 { // started by another thread
		all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
		for _, f := range all {
			b, _ := os.ReadFile(f)
			children = append(children, strings.Fields(string(b))...)
		}
	}
	if len(children) != 1 {
		t.Fatalf("the server's children: %v", children)
	}
	pid, err := strconv.Atoi(children[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.gone
	if s.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit code %d", s.cmd.ProcessState.ExitCode())
	}
	processes := func() string { first, _, _ := strings.Cut(state(t), ","); return first }
	eventually(t, "the worlds' processes are gone", func() bool { return strings.HasPrefix(before, processes()) })
	start(t, data, 0).stop(syscall.SIGTERM)
	eventually(t, "nothing is left: "+before, func() bool { return state(t) == before })
}

// TestOrdinaryUser: the same without root, in user namespaces.
func TestOrdinaryUser(t *testing.T) {
	before := state(t)
	data := dataDir(t)
	const nobody = 65534
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	s := start(t, data, nobody)
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key := "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	for _, step := range created["steps"].([]any) {
		s.must("POST", path+"/steps/"+step.(map[string]any)["id"].(string)+"/apply", key, nil)
	}
	if view := s.must("GET", path, key, nil); view["current"] != nil {
		t.Errorf("not all steps are done: %v", view)
	}
	status := s.must("GET", "/readyz", "", nil)
	if status["rootless"] != true || len(status["missing"].([]any)) == 0 {
		t.Errorf("what is lost without root is not told: %v", status)
	}
	s.stop(syscall.SIGTERM)
	eventually(t, "nothing is left: "+before, func() bool { return state(t) == before })
}

// TestSandboxDialsIn: the two programs apart, as in docker-compose.yml. A server
// that is killed and started again takes over the worlds as they are.
func TestSandboxDialsIn(t *testing.T) {
	before := state(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"KABEL_SANDBOX=none", "KABEL_ENGINE_LISTEN=" + addr, "KABEL_ENGINE_TOKEN=a long secret"}
	sandbox := exec.Command(filepath.Join(dir, "sandbox"), "--engine", "nats://"+addr, "--state", filepath.Join(dataDir(t), "state"))
	sandbox.Env = []string{"PATH=" + os.Getenv("PATH"), "KABEL_ENGINE_TOKEN=a long secret"}
	if err := sandbox.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			sandbox.Process.Signal(syscall.SIGTERM)
			sandbox.Wait()
		}
	}
	t.Cleanup(stop)

	data := dataDir(t)
	s := start(t, data, 0, env...)
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key := "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	s.must("POST", path+"/exec", key, map[string]any{"node": "host1", "argv": []string{"ip", "netns", "add", "by-hand"}})
	s.stop(syscall.SIGKILL)

	s = start(t, data, 0, env...)
	view := s.must("GET", path, key, nil)
	if !slices.Contains(view["nodes"].([]any), any("host1/by-hand")) {
		t.Errorf("the world was not taken over: %v", view)
	}
	s.must("DELETE", path, key, nil)
	s.stop(syscall.SIGTERM)
	stop()
	eventually(t, "nothing is left: "+before, func() bool { return state(t) == before })
}

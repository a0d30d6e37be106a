//lint:file-ignore SA1019 the library of choice; see httpapi/stream.go

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"kabel/sandbox/jail"
)

// TestDensity lets many worlds of model 2 live at once. In each a shell is open
// and pings the other machine once a second, while the steps of all are done one
// after the other by two hands. It logs the memory of a world, how long a world, a
// prompt and a step take, and how many pings were lost, of which there may be
// none; in the end nothing may be left. KABEL_DENSITY is how many worlds, as
// "100,300", for a run by hand with nothing beside it: go test -timeout 60m.
func TestDensity(t *testing.T) {
	list := "3"
	if s := os.Getenv("KABEL_DENSITY"); s != "" {
		list = s
	}
	for n := range strings.SplitSeq(list, ",") {
		worlds, err := strconv.Atoi(n)
		if err != nil || worlds < 1 {
			t.Fatalf("KABEL_DENSITY: %q is no number of worlds", n)
		}
		t.Run(n, func(t *testing.T) { density(t, worlds) })
	}
}

// steady is how long all worlds ping at least, with nothing else going on.
const steady = 5 * time.Second

func density(t *testing.T, worlds int) {
	data := dataDir(t)
	s := start(t, data, 0) // and built before
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(worlds)*3*time.Second)
	defer cancel()
	sandbox := childOf(t, s.cmd.Process.Pid)
	left := func() (all []string) {
		all, err := jail.Leftovers(filepath.Join(data, "sandbox"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(l string) bool { return strings.HasPrefix(l, "descriptor") }) // of this process
	}
	fresh, open := left(), descriptors(t, sandbox)
	free, own := available(t), family(t, s.cmd.Process.Pid)

	d := &crowd{t: t, ctx: ctx, s: s}
	d.all(worlds, func(int) { d.join() })
	if t.Failed() {
		return
	}
	atRest := available(t)
	d.all(worlds, func(i int) { d.members[i].work() })
	select {
	case <-time.After(steady):
	case <-ctx.Done():
	}
	built, owned := available(t), family(t, s.cmd.Process.Pid)
	sent, lost := 0, 0
	for _, m := range d.members {
		a, b := m.tally()
		sent, lost = sent+a, lost+a-b
	}
	each := func(bytes int) float64 { return float64(bytes) / float64(worlds) / (1 << 20) }
	t.Logf("%d worlds with a shell each: a world takes %.1f MiB of the machine's memory, %.1f MiB with its network built; %.1f MiB are its programs' own",
		worlds, each(free-atRest), each(free-built), each(owned-own))
	d.report("a world until it stands", d.create)
	d.report("a prompt", d.prompt)
	d.report("a step", d.step)
	t.Logf("%d pings were sent, %d lost", sent, lost)
	if lost > 0 || sent < worlds*int(steady.Seconds()-1) {
		t.Errorf("of %d pings %d were lost", sent, lost)
	}

	d.all(worlds, func(i int) { d.members[i].leave() })
	eventually(t, "only the empty host is left", func() bool { return slices.Equal(left(), fresh) })
	eventually(t, "the sandbox has closed what it opened", func() bool { return descriptors(t, sandbox) <= open+4 }) // its runtime's own
	s.stop(syscall.SIGTERM)
	eventually(t, "nothing is left", func() bool { return len(left()) == 0 })
}

// crowd is the learners of a class, and how long they waited.
type crowd struct {
	t   *testing.T
	ctx context.Context
	s   *running

	mu                   sync.Mutex
	members              []*member
	create, prompt, step []time.Duration
}

// all does something for each of n, two at a time.
func (d *crowd) all(n int, do func(i int)) {
	var hands sync.WaitGroup
	next := make(chan int)
	for range 2 {
		hands.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	hands.Wait()
}

func (d *crowd) took(what *[]time.Duration, began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*what = append(*what, time.Since(began))
}

func (d *crowd) report(what string, took []time.Duration) {
	slices.Sort(took)
	share := func(p float64) time.Duration { return took[int(p*float64(len(took)-1))].Round(100 * time.Microsecond) }
	d.t.Logf("%s: p50 %v, p95 %v, p99 %v, the longest %v", what, share(0.5), share(0.95), share(0.99), share(1))
}

// call is running.must for many hands at once: it keeps connections and fails
// without ending the goroutine that it is in.
func (d *crowd) call(method, path, key string, in, out any) bool {
	body, err := json.Marshal(in)
	if err != nil {
		d.t.Error(err)
		return false
	}
	req, err := http.NewRequestWithContext(d.ctx, method, d.s.url+path, bytes.NewReader(body))
	if err != nil {
		d.t.Error(err)
		return false
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Error(err)
		return false
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%d %s", res.StatusCode, b)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
	}
	return err == nil
}

// member is one learner with a world and a shell in it.
type member struct {
	d         *crowd
	path, key string
	conn      *websocket.Conn
	hearing   sync.WaitGroup

	mu      sync.Mutex
	shown   []byte
	changed chan struct{} // closed and replaced when shown grows or the shell is gone
	gone    error
}

// join starts a world, opens a shell in it and lets it ping.
func (d *crowd) join() {
	m := &member{d: d, changed: make(chan struct{})}
	began := time.Now()
	var made struct{ ID, Token string }
	if !d.call("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-host-bridge"}, &made) {
		return
	}
	d.took(&d.create, began)
	m.path, m.key = "/api/v1/sessions/"+made.ID, made.Token
	began = time.Now()
	conn, _, err := websocket.Dial(d.ctx, d.s.url+m.path+"/terminals/host1", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + m.key}}})
	if err != nil {
		d.t.Error(err)
		return
	}
	conn.SetReadLimit(-1)
	m.conn = conn
	m.hearing.Go(m.hear)
	if m.sees(`# $`) == nil {
		return
	}
	d.took(&d.prompt, began)
	m.types("ping -q 10.0.0.20\r")
	m.sees(`PING .*data`)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members = append(d.members, m)
}

// work does the steps of model 2 that build its network.
func (m *member) work() {
	for _, step := range []string{"containers", "cables", "inside", "bridge", "switch-on"} {
		began := time.Now()
		if m.d.call("POST", m.path+"/steps/"+step+"/apply", m.key, nil, nil) {
			m.d.took(&m.d.step, began)
		}
	}
}

// tally ends the pings, and tells how many were sent and answered.
func (m *member) tally() (sent, answered int) {
	m.types("\x03")
	found := m.sees(`(\d+) packets transmitted, (\d+) (?:packets )?received`)
	if found == nil {
		return 0, 0
	}
	sent, _ = strconv.Atoi(found[1])
	answered, _ = strconv.Atoi(found[2])
	return sent, answered
}

func (m *member) leave() {
	m.d.call("DELETE", m.path, m.key, nil, nil)
	m.conn.CloseNow()
	m.hearing.Wait()
}

// hear takes what the shell shows until it is gone.
func (m *member) hear() {
	for {
		kind, b, err := m.conn.Read(m.d.ctx)
		m.mu.Lock()
		if kind == websocket.MessageBinary {
			m.shown = append(m.shown, b...)
		}
		m.gone = err
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (m *member) types(keys string) {
	if err := m.conn.Write(m.d.ctx, websocket.MessageBinary, []byte(keys)); err != nil {
		m.d.t.Error(err)
	}
}

// sees waits for something on the screen and takes it off; nil, and a failed
// test, if it never comes.
func (m *member) sees(expression string) (found []string) {
	want := regexp.MustCompile(expression)
	for {
		m.mu.Lock()
		changed, gone := m.changed, m.gone
		at := want.FindSubmatchIndex(m.shown)
		if at != nil {
			for i := 0; i < len(at); i += 2 {
				found = append(found, string(m.shown[at[i]:at[i+1]]))
			}
			m.shown = m.shown[at[1]:]
		}
		last := string(m.shown)
		m.mu.Unlock()
		switch {
		case found != nil:
			return found
		case gone != nil:
			m.d.t.Errorf("waiting for %q: %v after %q", expression, gone, last)
			return nil
		}
		<-changed // at the latest when ctx ends
	}
}

// available is the memory that the machine could still give, in bytes.
func available(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("no MemAvailable")
	return 0
}

// family is what a process and all below it have in memory, each shared page
// counted once (Pss), in bytes.
func family(t *testing.T, pid int) (sum int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent int
		if _, err := fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent); err == nil {
			children[parent] = append(children[parent], p)
		}
	}
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		todo = append(todo, children[todo[0]]...)
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", todo[0]))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var kib int
			if _, err := fmt.Sscanf(lines.Text(), "Pss: %d kB", &kib); err == nil {
				sum += kib << 10
			}
		}
		f.Close()
	}
	return sum
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if first, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return first
		}
	}
	t.Fatalf("%d has not one child", pid)
	return 0
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

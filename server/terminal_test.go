//lint:file-ignore SA1019 the library of choice; see httpapi/stream.go

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"nhooyr.io/websocket"

	"kabel/sandbox/topo"
	"kabel/server/httpapi"
)

// dial opens a websocket of a session.
func (s *running) dial(ctx context.Context, path, key string) *websocket.Conn {
	s.t.Helper()
	conn, _, err := websocket.Dial(ctx, s.url+path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	conn.SetReadLimit(-1)
	s.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// person sits at a terminal.
type person struct {
	t     testing.TB
	write func([]byte) error
	read  func() ([]byte, error)
	shown []byte
	leave func()
	id    string
}

// sit opens a terminal over its websocket, or attaches to it.
func (s *running) sit(ctx context.Context, path, key string) *person {
	s.t.Helper()
	conn := s.dial(ctx, path, key)
	p := &person{t: s.t, write: func(b []byte) error { return conn.Write(ctx, websocket.MessageBinary, b) },
		leave: func() { conn.CloseNow() }}
	p.read = func() ([]byte, error) {
		kind, b, err := conn.Read(ctx)
		if kind == websocket.MessageText && err == nil {
			var m httpapi.TerminalMessage
			if err := json.Unmarshal(b, &m); err != nil {
				return nil, err
			}
			if m.Type == "terminal" {
				p.id = m.ID
			}
			return nil, nil
		}
		return b, err
	}
	return p
}

func (p *person) types(keys string) {
	p.t.Helper()
	if err := p.write([]byte(keys)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) sees(expression string) {
	p.t.Helper()
	want := regexp.MustCompile(expression)
	for {
		if at := want.FindIndex(p.shown); at != nil {
			p.shown = p.shown[at[1]:]
			return
		}
		b, err := p.read()
		if err != nil {
			p.t.Fatalf("waiting for %q: %v after %q", expression, err, p.shown)
		}
		p.shown = append(p.shown, b...)
	}
}

// TestTypedIsSeen: what is typed in a shell appears in the picture and counts;
// the shell outlives its connection, but not its session.
func TestTypedIsSeen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := start(t, dataDir(t), 0)
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key, first := "/api/v1/sessions/"+created["id"].(string), created["token"].(string), created["current"].(string)

	p := s.sit(ctx, path+"/terminals/host1?rows=24&cols=80", key)
	p.sees(`root@host1:~# `)
	p.types("ip netns add typed; ip netns add kon; stty size\r")
	p.sees(`\n?24 80\r\n`)

	stream := s.dial(ctx, path+"/stream", key)
	next := func() (m httpapi.Message) {
		t.Helper()
		_, b, err := stream.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	// The stream was opened after the checks had to be judged.
	var seen topo.Snapshot
	current := first
	follow := func() {
		t.Helper()
		switch m := next(); m.Type {
		case "session":
			current = m.Session.Current
		case "snapshot":
			seen = *m.Snapshot
		case "diff":
			now, err := m.Diff.Apply(seen)
			if err != nil {
				t.Fatal(err)
			}
			seen = now
		}
	}
	for current == first || seen.Node("host1/typed") == nil {
		follow()
	}
	in := s.sit(ctx, path+"/terminals/host1%2Ftyped", key)
	in.sees(`root@host1\[typed\]:~# `)
	in.types("ip link set lo up; ip netns add of-typed\r")
	for n := seen.Node("host1/typed"); n == nil || !n.Link("lo").Up || seen.Node("host1/of-typed") == nil; n = seen.Node("host1/typed") {
		follow()
	}
	p.types("sleep 98765 & unshare -n sleep 98765 &\r")

	// A connection that breaks costs nothing.
	again := s.sit(ctx, path+"/terminals/host1?terminal="+p.id, key)
	again.sees(`24 80\r\n`)
	again.sees(`98765`)
	s.must("DELETE", path, key, nil)
	if _, err := io.ReadAll(readerOf(again)); err == nil {
		t.Error("a terminal of a session that is deleted goes on")
	}
	s.stop(syscall.SIGTERM)
	eventually(t, "no program of a terminal is left", func() bool { return strings.HasPrefix(state(t), "sandbox processes [],") })
}

// TestHistoryOutlivesItsWorld: what was typed is there again after a reset, for
// the shells of that machine.
func TestHistoryOutlivesItsWorld(t *testing.T) {
	s := start(t, dataDir(t), 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key := "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	for round := range 3 {
		p := s.sit(ctx, path+"/terminals/host1?rows=24&cols=80", key)
		p.sees(`# $`)
		for before := range round {
			p.types(fmt.Sprintf("grep -c '^: round %d$' ~/.bash_history\r", before))
			p.sees(`[\r\n]1\r\n(.|\n)*# $`)
		}
		p.types(fmt.Sprintf(": round %d\r", round))
		p.sees(`\n(.|\n)*# $`)
		s.must("POST", path+"/reset", key, map[string]any{})
	}
	other := s.sit(ctx, path+"/terminals/host2?rows=24&cols=80", key)
	other.sees(`# $`)
	other.types("test -e ~/.bash_history || echo no''ne\r")
	other.sees(`none`)
}

// readerOf reads until an error.
func readerOf(p *person) io.Reader { return reader(p.read) }

type reader func() ([]byte, error)

func (r reader) Read(b []byte) (int, error) {
	got, err := r()
	return copy(b, got), err
}

// TestTerminalFlood: shells that show without end, to viewers who don't read, who
// read all, and to nobody, cost the server little memory and do not hold up
// another session.
func TestTerminalFlood(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := start(t, dataDir(t), 0)
	lab := func() (path, key string) {
		created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
		return "/api/v1/sessions/" + created["id"].(string), created["token"].(string)
	}
	path, key := lab()
	calm, calmKey := lab()
	neighbour := s.sit(ctx, calm+"/terminals/host1", calmKey)
	neighbour.sees(`# $`)
	before := memory(t, s.cmd.Process.Pid)
	read := 0
	for i := range 6 {
		p := s.sit(ctx, path+"/terminals/host1?rows=24&cols=80", key)
		p.sees(`# $`)
		p.types([]string{"yes\r", "cat /dev/urandom | base64\r"}[i%2])
		switch i / 2 {
		case 0: // does not read
		case 1:
			for read < (i-1)*2<<20 {
				b, err := p.read()
				if err != nil {
					t.Fatal(err)
				}
				read += len(b)
			}
		case 2:
			p.leave()
		}
	}
	var took []time.Duration
	for range 50 {
		began := time.Now()
		neighbour.types("echo al''ive\r")
		neighbour.sees("alive")
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("a neighbour's command and its output take %v, the slowest of %d %v", took[len(took)/2], len(took), took[len(took)-1])
	if status, out := s.do("POST", calm+"/ops", calmKey, map[string]any{"node": "host1", "command": "ip netns add kon"}); status != 200 {
		t.Errorf("a neighbour's op: %d %v", status, out)
	}
	if grown := memory(t, s.cmd.Process.Pid) - before; grown > 48<<20 {
		t.Errorf("the server has grown by %d MiB", grown>>20)
	} else {
		t.Logf("the server has grown by %d MiB; %d MiB were read", grown>>20, read>>20)
	}
}

// memory is what a process has in RAM of its own, in bytes.
func memory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("no RssAnon")
	return 0
}

// BenchmarkKeystroke types at a shell of a world, through the websocket, the
// server, the engine and the sandbox, and at the same shell on a pty of this
// process, in turn: how long until the key is on the screen? It reports
// percentiles in milliseconds, and the same of a hundred prompts: from the request
// for a terminal to the first byte that its shell shows, and to the whole prompt.
func BenchmarkKeystroke(b *testing.B) {
	ctx := b.Context()
	s := start(b, dataDir(b), 0)
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key := "/api/v1/sessions/"+created["id"].(string), created["token"].(string)

	open := map[string]func() (*person, func()){
		"kabel": func() (*person, func()) {
			p := s.sit(ctx, path+"/terminals/host1?rows=24&cols=80", key)
			return p, func() { s.must("DELETE", path+"/terminals/host1?terminal="+p.id, key, nil) }
		},
		"local": func() (*person, func()) {
			cmd := exec.Command("bash", "--norc", "--noprofile")
			cmd.Env = []string{"PS1=# ", "TERM=xterm-256color", "HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
			f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 4096)
			p := &person{t: b, write: func(k []byte) error { _, err := f.Write(k); return err },
				read: func() ([]byte, error) { n, err := f.Read(buf); return bytes.Clone(buf[:n]), err }}
			return p, func() { f.Close(); cmd.Wait() }
		},
	}
	firsts, prompts, echoes, people := map[string][]time.Duration{}, map[string][]time.Duration{}, map[string][]time.Duration{}, map[string]*person{}
	for range 100 {
		for name, open := range open {
			began := time.Now()
			p, end := open()
			p.sees(`(.|\n)`)
			firsts[name] = append(firsts[name], time.Since(began))
			p.sees(` $`)
			prompts[name] = append(prompts[name], time.Since(began))
			end()
		}
	}
	for name, open := range open {
		p, end := open()
		p.sees(`# $`)
		defer end()
		people[name] = p
	}
	typed := 0
	for b.Loop() {
		for name, p := range people {
			key := string(rune('a' + typed%26))
			began := time.Now()
			p.types(key)
			p.sees(key)
			echoes[name] = append(echoes[name], time.Since(began))
		}
		if typed++; typed%60 == 0 { // a line that wraps is another thing to measure
			for _, p := range people {
				p.types("\x15")
				p.types("\r")
				p.sees("\n(.|\n)*# $")
			}
		}
	}
	for name := range open {
		report(b, name+"-first", firsts[name])
		report(b, name+"-prompt", prompts[name])
		report(b, name+"-key", echoes[name])
	}
}

func report(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	for name, share := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		b.ReportMetric(took[int(share*float64(len(took)-1))].Seconds()*1000, what+"-"+name+"-ms")
	}
}

// BenchmarkTypedIsSeen types what makes namespaces and moves cables, and measures
// how long it takes from the Enter key until a viewer of the stream has the
// picture of it, and beside it until the shell prompts again, which is what the
// program itself takes.
func BenchmarkTypedIsSeen(b *testing.B) {
	ctx := b.Context()
	s := start(b, dataDir(b), 0)
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	path, key := "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	stream := s.dial(ctx, path+"/stream", key)
	p := s.sit(ctx, path+"/terminals/host1?rows=24&cols=80", key)
	p.sees(`# $`)
	var now topo.Snapshot
	until := func(ok func() bool) {
		for !ok() {
			_, raw, err := stream.Read(ctx)
			if err != nil {
				b.Fatal(err)
			}
			var m httpapi.Message
			if err := json.Unmarshal(raw, &m); err != nil {
				b.Fatal(err)
			}
			switch {
			case m.Snapshot != nil:
				now = *m.Snapshot
			case m.Diff != nil:
				if now, err = m.Diff.Apply(now); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	seen, prompted := map[string][]time.Duration{}, map[string][]time.Duration{}
	do := func(what, line string, ok func() bool) {
		began := time.Now()
		p.types(line + "\r")
		var back time.Duration
		var waiting sync.WaitGroup
		waiting.Go(func() {
			p.sees(`\n(.|\n)*# $`)
			back = time.Since(began)
		})
		until(ok)
		seen[what] = append(seen[what], time.Since(began))
		waiting.Wait()
		prompted[what] = append(prompted[what], back)
	}
	unnamed := func() (n int) {
		for _, node := range now.Nodes {
			if strings.HasPrefix(string(node.ID), "host1/net-") {
				n++
			}
		}
		return n
	}
	for b.Loop() {
		do("netns-add", "ip netns add n", func() bool { return now.Node("host1/n") != nil })
		do("veth-moved", "ip link add v type veth peer name w netns n", func() bool { n := now.Node("host1/n"); return n != nil && n.Link("w") != nil })
		do("netns-del", "ip netns del n", func() bool { return now.Node("host1/n") == nil })
		do("unshare", "unshare -n sleep 1000 & disown", func() bool { return unnamed() == 1 })
		do("unshare-ends", "kill -9 $!", func() bool { return unnamed() == 0 })
	}
	for what := range seen {
		report(b, what, seen[what])
		report(b, what+"-prompt", prompted[what])
	}
}

package contract

import (
	"bytes"
	"io"
	"regexp"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// person sits at a terminal.
type person struct {
	t     *testing.T
	term  host.Terminal
	shown []byte
}

func sit(t *testing.T, w host.World, r host.TerminalRequest) *person {
	t.Helper()
	term, err := w.Terminal(t.Context(), r)
	if err != nil {
		t.Fatalf("terminal: %v", err)
	}
	stuck := time.AfterFunc(patience, func() { term.Close() })
	t.Cleanup(func() {
		stuck.Stop()
		term.Close()
	})
	return &person{t: t, term: term}
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.term, keys); err != nil {
		p.t.Fatalf("type %q: %v", keys, err)
	}
}

// sees reads until something is shown that fits.
func (p *person) sees(expression string) {
	p.t.Helper()
	want := regexp.MustCompile(expression)
	buf := make([]byte, 4096)
	for {
		if at := want.FindIndex(p.shown); at != nil {
			p.shown = p.shown[at[1]:]
			return
		}
		n, err := p.term.Read(buf)
		p.shown = append(p.shown, buf[:n]...)
		if err != nil {
			p.t.Fatalf("waiting for %q: %v after %q", expression, err, p.shown)
		}
	}
}

func terminalShell(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	apply(t, w, kon...)
	for node, prompt := range map[topo.NodeID]string{"host1": `root@host1:.*# `, "host1/kon": `root@host1\[kon\]:.*# `} {
		t.Run(string(node), func(t *testing.T) {
			p := sit(t, w, host.TerminalRequest{Node: node, Rows: 33, Cols: 101})
			p.sees(prompt)
			p.types("stty size\r")
			p.sees("33 101\r\n")
			p.sees(prompt)
			if err := p.term.Resize(50, 132); err != nil {
				t.Fatal(err)
			}
			p.types("stty size\r")
			p.sees("50 132\r\n")
			p.sees(prompt)
			p.types("echo 'nhiều 한글'\r")
			p.sees("echo 'nhiều 한글'\r\n")
			p.sees("nhiều 한글'?\r\n") // the Model takes no quotes off
			p.sees(prompt)
			p.types("sleep 1000\r")
			p.sees("sleep 1000\r\n")
			p.interrupts(prompt)
			p.types("exit 3\r")
			p.ends(3)
		})
	}
}

// interrupts ends what is in the foreground. A key that comes before it is there
// is without effect, so it is pressed until it has one.
func (p *person) interrupts(prompt string) {
	p.t.Helper()
	done := make(chan struct{})
	pressed := make(chan struct{})
	go func() {
		defer close(pressed)
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			p.term.Write([]byte{3})
			select {
			case <-again.C:
			case <-done:
				return
			}
		}
	}()
	p.sees(prompt)
	close(done)
	<-pressed
	p.types("echo back''again\r")
	p.sees("back(''|)again\r\n")
}

func (p *person) ends(code int) {
	p.t.Helper()
	if rest, err := io.ReadAll(p.term); err != nil || p.term.ExitCode() != code {
		p.t.Errorf("it ends with the code %d, %v after %q, want %d", p.term.ExitCode(), err, rest, code)
	}
}

// terminalWaits: a flood that nobody reads stops, stays bounded, and can still
// be ended; others go on meanwhile.
func terminalWaits(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	p, other := sit(t, w, host.TerminalRequest{Node: "host1"}), sit(t, w, host.TerminalRequest{Node: "host1"})
	p.sees("# ")
	p.types("yes\r")
	p.sees("y\r\ny\r\n")
	for range 20 {
		other.types("echo hello\r")
		other.sees("echo hello\r\n")
		other.sees("hello\r\n")
	}
	if _, err := w.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
	p.interrupts("# ")
	p.types("exit\r")
	rest, err := io.ReadAll(p.term)
	if err != nil {
		t.Error(err)
	}
	if n := bytes.Count(rest, []byte("y\r\n")); n > 100 {
		t.Errorf("%d lines were still under way after the interrupt was seen", n)
	}
}

func terminalEnds(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	p := sit(t, w, host.TerminalRequest{Node: "host1"})
	p.sees("# ")
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(p.term)
		read <- err
	}()
	if err := p.term.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil {
		t.Error("a terminal that is closed ends as if its shell had")
	}
	if _, err := p.term.Write([]byte("a")); err == nil {
		t.Error("a closed terminal takes keys")
	}
	p = sit(t, w, host.TerminalRequest{Node: "host1"})
	p.sees("# ")
	if err := w.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadAll(p.term)
	wantCode(t, "a terminal of a world that is destroyed", err, host.CodeNotFound)
	_, err = w.Terminal(t.Context(), host.TerminalRequest{Node: "host1"})
	wantCode(t, "a new one", err, host.CodeNotFound)
}

func terminalRefused(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	for what, r := range map[string]host.TerminalRequest{
		"no such machine":   {Node: "host9"},
		"no such namespace": {Node: "host1/nope"},
		"no node":           {},
		"a negative size":   {Node: "host1", Rows: -1, Cols: 80},
		"a size too large":  {Node: "host1", Rows: 24, Cols: host.MaxTerminalSize + 1},
	} {
		_, err := w.Terminal(t.Context(), r)
		wantCode(t, what, err, host.CodeInvalid)
	}
	p := sit(t, w, host.TerminalRequest{Node: "host1"})
	wantCode(t, "a size of nothing", p.term.Resize(0, 80), host.CodeInvalid)
}

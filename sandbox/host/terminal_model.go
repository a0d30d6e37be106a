package host

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// modelTerminal is a terminal of the Model: it echoes what is typed and runs
// line by line what Exec knows, besides `stty size`, `yes`, `sleep` and `exit`.
// The interrupt key ends the last three.
type modelTerminal struct {
	world *modelWorld
	node  func() (*space, error)

	mu         sync.Mutex
	changed    sync.Cond
	rows, cols int
	typed      []byte // but not yet looked at
	shown      []byte // but not yet read
	interrupts int
	code       int
	err        error // io.EOF when it has ended
}

// modelBuffer is what a terminal holds in each direction.
const modelBuffer = 4096

func (w *modelWorld) Terminal(_ context.Context, r TerminalRequest) (Terminal, error) {
	r, err := r.Normal()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	_, err = w.space(r.Node)
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t := &modelTerminal{world: w, node: func() (*space, error) { return w.space(r.Node) }, rows: r.Rows, cols: r.Cols}
	t.changed.L = &t.mu
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		where := r.Node.Machine()
		if netns := r.Node.Netns(); netns != "" {
			where += "[" + netns + "]"
		}
		t.end(t.run(where))
	}()
	go func() { // ends with the shell, the latest with the world
		select {
		case <-w.gone:
			t.end(0, w.alive())
		case <-ended:
		}
	}()
	return t, nil
}

func (t *modelTerminal) end(code int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.code, t.err = code, err
	}
	t.changed.Broadcast()
}

// run is the shell.
func (t *modelTerminal) run(where string) (code int, err error) {
	for {
		if err := t.print("root@" + where + ":~# "); err != nil {
			return 0, err
		}
		line, err := t.line()
		if err != nil {
			return 0, err
		}
		argv := strings.Fields(line)
		switch {
		case len(argv) == 0:
			continue
		case argv[0] == "exit":
			if len(argv) > 1 {
				code, _ = strconv.Atoi(argv[1])
			}
			return code, io.EOF
		case line == "stty size":
			t.mu.Lock()
			size := fmt.Sprintf("%d %d\r\n", t.rows, t.cols)
			t.mu.Unlock()
			err = t.print(size)
		case argv[0] == "yes", argv[0] == "sleep":
			code, err = t.untilInterrupt(argv[0])
		default:
			code, err = t.program(argv)
		}
		if err != nil {
			return 0, err
		}
	}
}

func (t *modelTerminal) program(argv []string) (int, error) {
	w := t.world
	w.mu.Lock()
	s, err := t.node()
	if err != nil {
		w.mu.Unlock()
		return 0, err
	}
	out, known := w.net.program(s, ExecRequest{Argv: argv})
	w.mu.Unlock()
	if !known {
		return 127, t.print(argv[0] + ": command not found\r\n")
	}
	w.feed.Publish(w.nodes())
	return out.ExitCode, t.print(strings.ReplaceAll(string(out.Stdout)+string(out.Stderr), "\n", "\r\n"))
}

func (t *modelTerminal) untilInterrupt(program string) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.interrupts
	for t.err == nil {
		switch {
		case t.interrupts > before:
			return 128 + 2, nil
		case program == "yes" && len(t.shown) < modelBuffer:
			t.shown = append(t.shown, "y\r\n"...)
			t.changed.Broadcast()
		default:
			t.changed.Wait()
		}
	}
	return 0, t.err
}

// print shows, and waits while nobody reads.
func (t *modelTerminal) print(s string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.err == nil && len(t.shown) > modelBuffer {
		t.changed.Wait()
	}
	t.shown = append(t.shown, s...)
	t.changed.Broadcast()
	return t.err
}

// line waits for a typed line; it is empty after an interrupt.
func (t *modelTerminal) line() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.interrupts
	for {
		switch {
		case t.err != nil:
			return "", t.err
		case t.interrupts > before:
			return "", nil
		}
		if i := strings.IndexByte(string(t.typed), '\r'); i >= 0 {
			line := string(t.typed[:i])
			t.typed = t.typed[i+1:]
			t.changed.Broadcast()
			return line, nil
		}
		t.changed.Wait()
	}
}

func (t *modelTerminal) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.shown) == 0 && t.err == nil {
		t.changed.Wait()
	}
	if len(t.shown) == 0 {
		return 0, t.err
	}
	n := copy(b, t.shown)
	t.shown = t.shown[n:]
	t.changed.Broadcast()
	return n, nil
}

func (t *modelTerminal) Write(b []byte) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; n < len(b); n++ {
		for t.err == nil && len(t.typed) >= modelBuffer && b[n] != 3 {
			t.changed.Wait()
		}
		switch {
		case t.err != nil:
			return n, t.err
		case b[n] == 3:
			t.interrupts++
			t.typed = nil
			t.echo("^C\r\n")
		default:
			t.typed = append(t.typed, b[n])
			t.echo(strings.ReplaceAll(string(b[n:n+1]), "\r", "\r\n"))
		}
		t.changed.Broadcast()
	}
	return n, nil
}

// echo shows what is typed, unless the screen is held up.
func (t *modelTerminal) echo(s string) {
	if len(t.shown) < modelBuffer {
		t.shown = append(t.shown, s...)
	}
}

func (t *modelTerminal) Resize(rows, cols int) error {
	if err := ValidSize(rows, cols); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows, t.cols = rows, cols
	return nil
}

func (t *modelTerminal) ExitCode() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.code
}

func (t *modelTerminal) Close() error {
	t.end(128+1, errClosed)
	return nil
}

package kernel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
)

// terminal is a jail's, as the door has it.
type terminal struct {
	*jail.Terminal
	world *World
}

// Terminal implements host.World.
func (w *World) Terminal(ctx context.Context, r host.TerminalRequest) (host.Terminal, error) {
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, err = r.Normal()
	if err != nil {
		return nil, err
	}
	m, err := w.machine(r.Node)
	if err != nil {
		return nil, err
	}
	ns, err := w.open(r.Node) // also one without a name
	if err != nil {
		return nil, host.Errorf(host.CodeInvalid, "%w", err)
	}
	defer ns.close()
	command := jail.TerminalCommand{Rows: uint16(r.Rows), Cols: uint16(r.Cols)}
	if r.Node.Netns() != "" {
		command.NetnsFD = ns.fd
	}
	t, err := m.Terminal(ctx, command)
	if err != nil {
		return nil, w.unlessGone(limited(err))
	}
	return &terminal{t, w}, nil
}

// Read tells a shell that has ended from one that was lost with its world.
func (t *terminal) Read(b []byte) (int, error) {
	n, err := t.Terminal.Read(b)
	if errors.Is(err, io.EOF) {
		if _, lost := t.Terminal.ExitCode(); lost != nil {
			err = t.world.unlessGone(lost)
		}
	}
	return n, err
}

// Write types. A line may begin or end a process, and with it a namespace that
// has no name, of which no event of the kernel tells.
func (t *terminal) Write(b []byte) (int, error) {
	n, err := t.Terminal.Write(b)
	if bytes.ContainsAny(b, "\r\n\x03\x04") {
		t.world.lookForNamespaces()
	}
	return n, err
}

// lookForNamespaces looks often for a short while, half a millisecond each time,
// and has the world read where its namespaces without a name have changed. It
// does not wait.
func (w *World) lookForNamespaces() {
	w.typed.Store(time.Now().UnixNano())
	if w.looking.Swap(true) {
		return
	}
	var look func()
	look = func() {
		_, leave, err := w.enter(context.Background()) // for as long as the world's descriptors are its own
		if err != nil {
			return // it has ended
		}
		defer leave()
		if found, err := w.unnamedOf(); err == nil {
			w.reading.Lock()
			same := slices.Equal(found, w.picture.unnamed)
			w.reading.Unlock()
			if !same {
				w.processEnded.Store(true)
				w.watching.Lock()
				if w.watchers > 0 {
					w.observer.soon()
				}
				w.watching.Unlock()
			}
		}
		again := 8 * time.Millisecond
		switch age := time.Since(time.Unix(0, w.typed.Load())); {
		case age > 500*time.Millisecond: // what comes later has the tick
			w.looking.Store(false)
			return
		case age > 80*time.Millisecond:
			again = age / 4
		}
		time.AfterFunc(again, look)
	}
	time.AfterFunc(5*time.Millisecond, look)
}

func (t *terminal) Resize(rows, cols int) error {
	if err := host.ValidSize(rows, cols); err != nil {
		return err
	}
	return t.Terminal.Resize(uint16(rows), uint16(cols))
}

// ExitCode implements host.Terminal.
func (t *terminal) ExitCode() int {
	code, _ := t.Terminal.ExitCode() // Read has told of the error
	return code
}

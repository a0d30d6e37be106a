package kernel

import (
	"context"
	"errors"
	"io"

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

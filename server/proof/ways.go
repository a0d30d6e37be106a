package proof

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

// hands do steps.
type hands interface {
	do(ctx context.Context, step *labs.Step) error
	// said is what the last step's commands said, to be put into a fault.
	said() string
	leave()
}

func (p *player) hands(w Way) hands {
	switch w {
	case Terminal:
		return &typist{p, map[topo.NodeID]*seat{}, nil}
	case Exec:
		return &caller{p, nil}
	}
	return presser{p}
}

// presser presses the button.
type presser struct{ *player }

func (h presser) do(ctx context.Context, step *labs.Step) error {
	_, err := h.s.Apply(ctx, step.ID)
	return err
}

func (presser) said() string { return "" }
func (presser) leave()       {}

// line is a command as it is typed on a machine.
type line struct {
	machine    topo.NodeID
	text       string
	background bool
}

// lines are a step's commands and its probes, as a learner types them.
func lines(step *labs.Step) (out []line) {
	for _, c := range step.Do {
		r, ok := c.Op.Op.(topo.Run)
		out = append(out, line{c.Node, c.Text, ok && r.Background})
	}
	for _, probe := range step.Probes {
		out = append(out, line{topo.NodeID(probe.From.Machine()), probe.Command(), false})
	}
	return out
}

// each does line by line. What a program that was left running brings up is waited
// for, as a person would before the next line.
func (p *player) each(ctx context.Context, step *labs.Step, do func(line) error) error {
	for _, l := range lines(step) {
		before, err := p.s.Topology(ctx)
		if err != nil {
			return err
		}
		if err := do(l); err != nil {
			return err
		}
		if l.background {
			if err := p.awaitChange(ctx, before.Normal()); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitChange waits until the world is another than before, if it ever is.
func (p *player) awaitChange(ctx context.Context, before topo.Snapshot) error {
	deadline := time.Now().Add(reaction)
	for time.Now().Before(deadline) {
		now, err := p.s.Topology(ctx)
		if err != nil {
			return err
		}
		if !now.Normal().Equal(before) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// caller runs a step's commands over the API.
type caller struct {
	*player
	output []byte
}

func (h *caller) do(ctx context.Context, step *labs.Step) error {
	h.output = nil
	return h.each(ctx, step, func(l line) error {
		r, err := h.s.Exec(ctx, host.ExecRequest{Node: l.machine, Argv: []string{"bash", "-c", l.text}})
		h.output = fmt.Appendf(h.output, "%s# %s\n%s%s(exit %d)\n", l.machine, l.text, r.Stdout, r.Stderr, r.ExitCode)
		return err
	})
}

func (h *caller) said() string { return quoted(h.output) }
func (*caller) leave()         {}

// typist types a step's commands at shells, one for each machine.
type typist struct {
	*player
	seats map[topo.NodeID]*seat
	shown []byte
}

// seat is a place before a terminal.
type seat struct {
	terminal *session.Terminal
	viewer   *session.Viewer
	unread   []byte
}

// prompt is what a machine's shell shows when it waits for a line.
var prompt = regexp.MustCompile(`root@[A-Za-z0-9.-]+:[^\r\n#]*# `)

// lineTime is how long one line may take until the prompt is back.
const lineTime = 30 * time.Second

func (h *typist) do(ctx context.Context, step *labs.Step) error {
	h.shown = nil
	return h.each(ctx, step, func(l line) error {
		at, err := h.at(ctx, l.machine)
		if err != nil {
			return err
		}
		if err := at.terminal.Type(ctx, []byte(l.text+"\r")); err != nil {
			return err
		}
		shown, err := at.awaitPrompt(ctx)
		h.shown = append(h.shown, shown...)
		return err
	})
}

// at sits down before a machine's terminal.
func (h *typist) at(ctx context.Context, machine topo.NodeID) (*seat, error) {
	if at := h.seats[machine]; at != nil {
		return at, nil
	}
	// So wide that no line is broken.
	t, err := h.s.OpenTerminal(ctx, machine, 50, 300)
	if err != nil {
		return nil, err
	}
	at := &seat{terminal: t, viewer: t.Attach(0)}
	h.seats[machine] = at
	_, err = at.awaitPrompt(ctx)
	return at, err
}

func (h *typist) said() string { return quoted(h.shown) }

func (h *typist) leave() {
	for _, at := range h.seats {
		at.viewer.Detach()
		at.terminal.Close()
	}
}

// awaitPrompt reads up to the next prompt.
func (at *seat) awaitPrompt(ctx context.Context) (shown []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, lineTime)
	defer cancel()
	for {
		if found := prompt.FindIndex(at.unread); found != nil {
			shown, at.unread = at.unread[:found[1]], at.unread[found[1]:]
			return shown, nil
		}
		e, err := at.viewer.Next(ctx)
		switch {
		case err != nil:
			return at.unread, fmt.Errorf("no prompt comes back, after %q: %w", at.unread, err)
		case e.Exit != nil || e.Ended != "":
			return at.unread, fmt.Errorf("the shell has ended, after %q", at.unread)
		case e.Screen != nil:
			at.unread = nil // it is shown again
		}
		at.unread = append(at.unread, e.Output...)
	}
}

// quoted is the end of what was said, for a fault.
func quoted(said []byte) string {
	const most = 1000
	said = bytes.TrimSpace(said)
	if len(said) == 0 {
		return ""
	}
	if len(said) > most {
		said = said[len(said)-most:]
	}
	return "; the terminal showed:\n" + string(said)
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxTerminals bounds the terminals of a world.
	maxTerminals = 64
	// terminalRate bounds the bytes per second that a terminal shows: more than
	// a screen can draw, less than what would keep the host busy.
	terminalRate  = 4 << 20
	terminalBurst = 256 << 10
)

// servedTerminal is the host's end of a terminal.
type servedTerminal struct {
	*line
	terminal Terminal
	world    WorldID
	lease    *time.Timer
	ctx      context.Context // ends with it, and hangs it up
	cancel   context.CancelFunc
}

var terminalName = regexp.MustCompile(`^[0-9A-Za-z]{1,64}$`)

// openTerminal starts a shell and the goroutines that carry its bytes. They end
// with it, or when nobody has renewed its lease for long.
func (s *server) openTerminal(ctx context.Context, w World, name string, r TerminalRequest) error {
	if !terminalName.MatchString(name) {
		return Errorf(CodeInvalid, "%q can't name a terminal", name)
	}
	t := &servedTerminal{world: w.ID()}
	t.ctx, t.cancel = context.WithCancel(context.Background()) // it outlives the request
	if err := s.reserveTerminal(name, t); err != nil {
		t.cancel()
		return err
	}
	forget := func() {
		t.cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.terminals, name)
	}
	var err error
	if t.terminal, err = w.Terminal(ctx, r); err != nil {
		forget()
		return err
	}
	t.line = newLine(func(frame []byte) error { return s.nc.Publish(terminalSubject(name, false), frame) })
	rows, cols := r.Rows, r.Cols
	t.resize = func(r, c int) {
		if r != rows || c != cols {
			rows, cols = r, c
			_ = t.terminal.Resize(r, c) // fails only where the terminal has ended
		}
	}
	context.AfterFunc(t.ctx, func() {
		_ = t.terminal.Close() // nobody hears of it any more
		t.stop(errClosed)
	})
	t.lease = time.AfterFunc(leaseTime, t.cancel)
	sub, err := s.nc.Subscribe(terminalSubject(name, true), func(m *nats.Msg) {
		t.lease.Reset(leaseTime)
		t.receive(m.Data)
	})
	if err != nil {
		t.lease.Stop()
		forget()
		return fmt.Errorf("terminal: %w", err)
	}
	s.working.Go(func() {
		defer forget()
		defer t.lease.Stop()
		defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
		t.tellEnd(t.show())
	})
	s.working.Go(t.typeIn)
	return nil
}

func (s *server) reserveTerminal(name string, t *servedTerminal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, other := range s.terminals {
		if other.world == t.world {
			n++
		}
	}
	switch {
	case s.closing:
		return Errorf(CodeUnavailable, "host %s is closing", s.id)
	case s.terminals[name] != nil:
		return Errorf(CodeInvalid, "there is a terminal %s", name)
	case n >= maxTerminals:
		return Errorf(CodeLimit, "world %s has %d terminals", t.world, n)
	}
	s.terminals[name] = t
	return nil
}

// show carries what the shell shows, and tells how it ended.
func (t *servedTerminal) show() ending {
	buf := make([]byte, terminalChunk)
	var pace pace
	for {
		n, err := t.terminal.Read(buf)
		if n > 0 {
			if _, err := t.write(buf[:n]); err != nil {
				return ending{} // the other end is gone
			}
			pace.wait(n, t.ctx.Done())
		}
		switch {
		case t.ctx.Err() != nil:
			return ending{Error: toWire(Errorf(CodeUnavailable, "the host has let the terminal go"))}
		case errors.Is(err, io.EOF):
			return ending{Code: t.terminal.ExitCode()}
		case err != nil:
			return ending{Error: toWire(err)}
		}
	}
}

// typeIn carries what is typed.
func (t *servedTerminal) typeIn() {
	defer t.cancel()
	buf := make([]byte, terminalChunk)
	for {
		n, err := t.read(buf)
		if err != nil {
			return
		}
		if _, err := t.terminal.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pace bounds a rate: a burst is free, then time must pass.
type pace struct {
	spent int
	since time.Time
}

func (p *pace) wait(n int, stop <-chan struct{}) {
	now := time.Now()
	p.spent = max(0, p.spent-int(now.Sub(p.since).Seconds()*terminalRate)) + n
	p.since = now
	if p.spent <= terminalBurst {
		return
	}
	timer := time.NewTimer(time.Duration(p.spent-terminalBurst) * time.Second / terminalRate)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// remoteTerminal is the client's end of a terminal.
type remoteTerminal struct {
	*line
	closed chan struct{}
	close  func()
	heard  atomic.Int64 // when the host last sent something, in ns

	sizing     sync.Mutex
	rows, cols int
}

// Terminal implements World.
func (w *remote) Terminal(ctx context.Context, r TerminalRequest) (Terminal, error) {
	r, err := r.Normal()
	if err != nil {
		return nil, err
	}
	name := nats.NewInbox()[len(nats.InboxPrefix):]
	t := &remoteTerminal{closed: make(chan struct{}), rows: r.Rows, cols: r.Cols}
	t.close = sync.OnceFunc(func() { close(t.closed) })
	t.line = newLine(func(frame []byte) error { return w.c.nc.Publish(terminalSubject(name, true), frame) })
	t.notice = func(n uint64, shown bool) string {
		what := "typed"
		if shown {
			what = "shown here"
		}
		return fmt.Sprintf("\r\n[%d bytes of what was %s were lost]\r\n", n, what)
	}
	t.heard.Store(time.Now().UnixNano())
	// Before it is opened, so that nothing is missed.
	sub, err := w.c.nc.Subscribe(terminalSubject(name, false), func(m *nats.Msg) {
		t.heard.Store(time.Now().UnixNano())
		t.receive(m.Data)
	})
	if err != nil {
		return nil, Errorf(CodeUnavailable, "terminal: %w", err)
	}
	if _, err = w.c.call(ctx, verbTerminal, request{World: w.id, Terminal: &r, Lease: name}); err == nil {
		if w.c.begin(func() { t.keep(w.c, sub) }) {
			return t, nil
		}
		err = Errorf(CodeUnavailable, "the client of host %s is closed", w.c.id)
	}
	t.tellEnd(ending{}) // it may have been opened all the same
	_ = sub.Unsubscribe()
	return nil, err
}

// keep renews the lease until the terminal has ended or is closed.
func (t *remoteTerminal) keep(c *Client, sub *nats.Subscription) {
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
	defer t.tellEnd(ending{})                // to no one, if it has ended
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		c.mu.Lock()
		alive := c.alive
		c.mu.Unlock()
		select {
		case <-renew.C:
			if time.Since(time.Unix(0, t.heard.Load())) > leaseTime {
				t.stop(Errorf(CodeUnavailable, "host %s does not know the terminal any more", c.id))
			}
			if t.ended() {
				return
			}
			t.tellSize(true)
		case <-alive.Done():
			t.stop(Errorf(CodeUnavailable, "terminal: %w", errSilent))
			return
		case <-c.ctx.Done():
			t.stop(Errorf(CodeUnavailable, "the client of host %s is closed", c.id))
			return
		case <-t.closed:
			t.stop(errClosed)
			return
		}
	}
}

var errClosed = errors.New("the terminal is closed")

func (t *remoteTerminal) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end != nil
}

func (t *remoteTerminal) tellSize(answer bool) {
	t.sizing.Lock()
	defer t.sizing.Unlock()
	t.tellState(t.rows, t.cols, answer)
}

func (t *remoteTerminal) Read(b []byte) (int, error) {
	n, err := t.read(b)
	if err == errEnded {
		err = io.EOF
	}
	return n, err
}

func (t *remoteTerminal) Write(b []byte) (int, error) { return t.write(b) }

func (t *remoteTerminal) Resize(rows, cols int) error {
	if err := ValidSize(rows, cols); err != nil {
		return err
	}
	t.sizing.Lock()
	t.rows, t.cols = rows, cols
	t.sizing.Unlock()
	t.tellSize(false)
	return nil
}

func (t *remoteTerminal) ExitCode() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.result.Code
}

func (t *remoteTerminal) Close() error {
	t.stop(errClosed)
	t.close()
	return nil
}

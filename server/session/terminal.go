package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

const (
	// MaxTerminals is how many terminals a session may have at a time. Each may
	// take some 400 KiB here.
	MaxTerminals = 8

	// maxAhead is how far a shell may be ahead of the viewer who has seen most.
	maxAhead = 64 << 10
	// maxTyped is how much may be typed that no program has read.
	maxTyped = 64 << 10
	// maxPiece bounds the output of one TerminalEvent.
	maxPiece = 32 << 10
)

// The codes of terminals.
const (
	CodeNoTerminal       Code = "no-such-terminal"
	CodeTooManyTerminals Code = "too-many-terminals"
)

// Why a terminal was taken away.
const (
	TerminalClosed  = "closed"   // by a viewer
	TerminalReset   = "reset"    // there is a new world
	TerminalDeleted = EndDeleted // with its session
	TerminalLost    = "lost"     // with its world
	TerminalIdle    = EndIdle    // with its world, because nobody was there
	TerminalTotal   = EndTotal   // with its session, which has had its time
)

// TerminalInfo describes a terminal in a list.
type TerminalInfo struct {
	ID      string      `json:"id"`
	Node    topo.NodeID `json:"node"`
	Rows    int         `json:"rows"`
	Cols    int         `json:"cols"`
	Viewers int         `json:"viewers" doc:"how many are attached now"`
	Opened  time.Time   `json:"opened"`
}

// TerminalEvent is one message to a viewer; exactly one field is set.
type TerminalEvent struct {
	Screen *Screen // first, and after the viewer has missed something
	Output []byte
	Size   *TerminalSize // another viewer has changed it
	Exit   *int          // the shell has ended with that code
	Ended  string        // the terminal was taken away, and why
}

// Screen tells a viewer to begin with an empty screen.
type Screen struct {
	TerminalSize
	Replay int // so many bytes were shown before
}

// TerminalSize is a screen's size in characters.
type TerminalSize struct{ Rows, Cols int }

// Terminal is a shell on a node, with the last of what it has shown. It lives
// until it ends, whoever looks.
type Terminal struct {
	session *Session
	world   host.World
	shell   host.Terminal
	id      string
	node    topo.NodeID
	opened  time.Time

	sizing sync.Mutex // so that the shell's size is the last

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something below changes
	shown   scrollback
	size    TerminalSize
	typed   []byte
	viewers map[*Viewer]struct{}
	end     *TerminalEvent
}

// OpenTerminal starts a shell on a node; without a size it has the usual one.
func (s *Session) OpenTerminal(ctx context.Context, node topo.NodeID, rows, cols int) (*Terminal, error) {
	w, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	err = s.checkNode(ctx, w, node)
	end()
	if err != nil {
		return nil, err
	}
	r, err := host.TerminalRequest{Node: node, Rows: rows, Cols: cols}.Normal()
	if err != nil {
		return nil, err
	}
	t := &Terminal{session: s, world: w, id: newID(), node: node, opened: time.Now(), changed: make(chan struct{}),
		size: TerminalSize{r.Rows, r.Cols}, viewers: map[*Viewer]struct{}{}}
	s.mu.Lock()
	if len(s.terminals)+s.opening >= MaxTerminals {
		s.mu.Unlock()
		return nil, &Problem{Code: CodeTooManyTerminals}
	}
	s.opening++
	s.mu.Unlock()
	s.plantHistory(ctx, w, node)
	t.shell, err = w.Terminal(ctx, r)
	s.mu.Lock()
	s.opening--
	gone := s.world != w || s.ended || s.reg.ctx.Err() != nil
	if err == nil && !gone {
		s.terminals[t.id] = t
		s.startWatch()
		s.reg.tasks.Go(t.read)
		s.reg.tasks.Go(t.write)
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return nil, s.checkLost(w, err)
	case gone:
		return nil, errors.Join(&Problem{Code: CodeBusy}, t.shell.Close())
	}
	return t, nil
}

// Terminals lists the session's terminals, the oldest first.
func (s *Session) Terminals() []TerminalInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []TerminalInfo{}
	for _, t := range s.terminals {
		t.mu.Lock()
		list = append(list, TerminalInfo{ID: t.id, Node: t.node, Rows: t.size.Rows, Cols: t.size.Cols, Viewers: len(t.viewers), Opened: t.opened})
		t.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b TerminalInfo) int {
		if c := a.Opened.Compare(b.Opened); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Terminal finds a terminal of a node by its id; CodeNoTerminal.
func (s *Session) Terminal(node topo.NodeID, id string) (*Terminal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.terminals[id]; t != nil && t.node == node {
		return t, nil
	}
	return nil, &Problem{Code: CodeNoTerminal, Subject: id}
}

// endTerminals takes the terminals of all worlds but one away. The caller holds
// s.mu.
func (s *Session) endTerminals(but host.World, reason string) {
	for id, t := range s.terminals {
		if t.world != but {
			delete(s.terminals, id)
			t.finish(TerminalEvent{Ended: reason})
		}
	}
}

// watched says whether changes of the world are wanted, by those who look or for
// the checks of somebody who types. The caller holds s.mu.
func (s *Session) watched() bool { return len(s.subs) > 0 || len(s.terminals) > 0 }

// ID names the terminal in its session.
func (t *Terminal) ID() string { return t.id }

// Node is where its shell is.
func (t *Terminal) Node() topo.NodeID { return t.node }

// Close ends the shell.
func (t *Terminal) Close() { t.leave(TerminalEvent{Ended: TerminalClosed}) }

// leave ends the terminal and lets the session forget it.
func (t *Terminal) leave(e TerminalEvent) {
	t.finish(e)
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.terminals, t.id)
	s.used()
	if !s.watched() {
		s.stopWatch()
	}
}

// finish ends the terminal; only its first call has an effect.
func (t *Terminal) finish(e TerminalEvent) {
	t.mu.Lock()
	if t.end == nil {
		t.end = &e
		t.change()
	}
	t.mu.Unlock()
	_ = t.shell.Close() // nobody looks at it any more
}

// change wakes all who wait. The caller holds t.mu.
func (t *Terminal) change() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// read takes what the shell shows, as fast as the fastest viewer does; if there
// is none it is only kept.
func (t *Terminal) read() {
	defer context.AfterFunc(t.session.reg.ctx, func() { t.finish(TerminalEvent{Ended: TerminalLost}) })()
	buf := make([]byte, maxPiece)
	for t.awaitViewers() {
		n, err := t.shell.Read(buf)
		t.mu.Lock()
		t.shown.add(buf[:n])
		t.change()
		t.mu.Unlock()
		switch {
		case errors.Is(err, io.EOF):
			code := t.shell.ExitCode()
			t.leave(TerminalEvent{Exit: &code})
			return
		case err != nil:
			t.leave(TerminalEvent{Ended: TerminalLost})
			return
		}
	}
}

// awaitViewers waits while everybody who looks is far behind. It is false when
// the terminal has ended.
func (t *Terminal) awaitViewers() bool {
	for {
		t.mu.Lock()
		changed, ended, near := t.changed, t.end != nil, len(t.viewers) == 0
		for v := range t.viewers {
			near = near || t.shown.end()-min(v.at, t.shown.end()) < maxAhead
		}
		t.mu.Unlock()
		switch {
		case ended:
			return false
		case near:
			return true
		}
		<-changed
	}
}

// write types what is in the queue, so that nobody who types waits for a shell
// that waits for them to look.
func (t *Terminal) write() {
	for {
		t.mu.Lock()
		changed, ended, typed := t.changed, t.end != nil, t.typed
		t.mu.Unlock()
		switch {
		case ended:
			return
		case len(typed) == 0:
			<-changed
			continue
		}
		if _, err := t.shell.Write(typed); err != nil {
			return // read learns why
		}
		t.mu.Lock()
		t.typed = slices.Clone(t.typed[len(typed):]) // what has come meanwhile
		t.change()
		t.mu.Unlock()
	}
}

// Type types. It waits, as long as ctx allows, while too much was typed that
// nobody has read.
func (t *Terminal) Type(ctx context.Context, keys []byte) error {
	t.session.use()
	if bytes.ContainsAny(keys, "\r\n") {
		t.session.mu.Lock()
		t.session.typed = true
		t.session.mu.Unlock()
	}
	for {
		t.mu.Lock()
		if t.end != nil {
			t.mu.Unlock()
			return &Problem{Code: CodeNoTerminal, Subject: t.id}
		}
		n := min(len(keys), maxTyped-len(t.typed))
		if n > 0 {
			t.typed = append(t.typed, keys[:n]...)
			keys = keys[n:]
			t.change()
		}
		changed := t.changed
		t.mu.Unlock()
		if len(keys) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Viewer is somebody who looks at a terminal. Next is for one goroutine.
type Viewer struct {
	t *Terminal // whose mu guards the rest

	window uint64
	sent   uint64 // bytes in all
	drawn  uint64 // of them as the viewer says
	fresh  bool   // has no screen yet
	prefix []byte // to be sent before what is at
	at     uint64 // the position of what comes next
	size   TerminalSize
}

// Attach adds a viewer, who sees what was shown before and what comes. With a
// window, no more than so many bytes are given that are not acknowledged. The
// caller detaches it.
func (t *Terminal) Attach(window int) *Viewer {
	v := &Viewer{t: t, window: uint64(max(window, 0)), fresh: true}
	t.mu.Lock()
	t.viewers[v] = struct{}{}
	t.change()
	t.mu.Unlock()
	t.session.use()
	return v
}

// Detach takes the viewer away; the terminal stays.
func (v *Viewer) Detach() {
	t := v.t
	t.mu.Lock()
	delete(t.viewers, v)
	t.change()
	t.mu.Unlock()
	t.session.use()
}

// Acknowledge tells that n more bytes have been drawn.
func (v *Viewer) Acknowledge(n int) {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	v.drawn = min(v.drawn+uint64(max(n, 0)), v.sent)
	v.t.change()
}

// Resize changes the size for all viewers; this one knows it.
func (v *Viewer) Resize(rows, cols int) error {
	if err := host.ValidSize(rows, cols); err != nil {
		return err
	}
	t, size := v.t, TerminalSize{rows, cols}
	t.sizing.Lock()
	defer t.sizing.Unlock()
	t.mu.Lock()
	same := t.size == size
	t.size, v.size = size, size
	t.change()
	t.mu.Unlock()
	if same {
		return nil
	}
	return t.shell.Resize(rows, cols)
}

// Next waits for what the viewer is to be told next. After an end nothing comes.
func (v *Viewer) Next(ctx context.Context) (TerminalEvent, error) {
	for {
		v.t.mu.Lock()
		e, ok := v.next()
		changed := v.t.changed
		v.t.mu.Unlock()
		if ok {
			return e, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return TerminalEvent{}, ctx.Err()
		}
	}
}

// next is Next without waiting. The caller holds t.mu.
func (v *Viewer) next() (TerminalEvent, bool) {
	t := v.t
	if v.fresh || v.at < t.shown.start {
		at, prefix := t.shown.replay()
		v.fresh, v.at, v.prefix, v.size = false, at, []byte(prefix), t.size
		return TerminalEvent{Screen: &Screen{t.size, len(prefix) + int(t.shown.end()-at)}}, true
	}
	if v.size != t.size {
		v.size = t.size
		return TerminalEvent{Size: &v.size}, true
	}
	waiting := v.prefix
	if len(waiting) == 0 {
		waiting = t.shown.from(v.at)
	}
	if len(waiting) == 0 && t.end != nil {
		return *t.end, true
	}
	room := uint64(maxPiece)
	if v.window > 0 {
		room = min(room, v.window-min(v.window, v.sent-v.drawn))
	}
	n := min(len(waiting), int(room))
	if n == 0 {
		return TerminalEvent{}, false
	}
	piece := slices.Clone(waiting[:n])
	v.sent += uint64(n)
	if len(v.prefix) > 0 {
		v.prefix = v.prefix[n:]
	} else {
		v.at += uint64(n)
		t.change() // the shell may go on
	}
	return TerminalEvent{Output: piece}, true
}

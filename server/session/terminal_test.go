package session_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

// screen is what a viewer has in front of them.
type screen struct {
	t      *testing.T
	viewer *session.Viewer
	shown  bytes.Buffer
	replay int
	last   session.TerminalEvent // that was not output
	draws  bool                  // and says so
}

func look(t *testing.T, term *session.Terminal, window int) *screen {
	t.Helper()
	s := &screen{t: t, viewer: term.Attach(window), draws: window > 0}
	t.Cleanup(s.viewer.Detach)
	if s.next(); s.last.Screen == nil {
		t.Fatalf("first came %+v", s.last)
	}
	s.replay = s.last.Screen.Replay
	return s
}

func (s *screen) next() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	e, err := s.viewer.Next(ctx)
	if err != nil {
		s.t.Fatalf("%v after %q", err, tail(s.shown.String()))
	}
	if e.Screen != nil {
		s.shown.Reset()
	}
	if e.Output == nil {
		s.last = e
		return
	}
	s.shown.Write(e.Output)
	if s.draws {
		s.viewer.Acknowledge(len(e.Output))
	}
}

func tail(s string) string { return s[max(0, len(s)-200):] }

// sees waits until text is on the screen, and takes it off with all before.
func (s *screen) sees(text string) {
	s.t.Helper()
	for {
		if i := bytes.Index(s.shown.Bytes(), []byte(text)); i >= 0 {
			s.shown.Next(i + len(text))
			return
		}
		if s.last.Exit != nil || s.last.Ended != "" {
			s.t.Fatalf("it ended before %q: %+v", text, s.last)
		}
		s.next()
	}
}

func (s *screen) ends() session.TerminalEvent {
	s.t.Helper()
	for s.last.Exit == nil && s.last.Ended == "" {
		s.next()
	}
	return s.last
}

func terminal(t *testing.T, s *session.Session) *session.Terminal {
	t.Helper()
	term, err := s.OpenTerminal(t.Context(), "host1", 24, 80)
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func types(t *testing.T, term *session.Terminal, keys string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := term.Type(ctx, []byte(keys)); err != nil {
		t.Fatalf("type %q: %v", tail(keys), err)
	}
}

// A viewer who leaves and comes back finds the shell and its screen; two see
// the same, whoever types.
func TestTerminalOutlivesItsViewers(t *testing.T) {
	s, _ := fresh(t, nil).create(t)
	term := terminal(t, s)
	first := look(t, term, 0)
	first.sees("# ")
	types(t, term, "echo one\r")
	first.sees("echo one\r\none\r\n")
	first.sees("# ")
	first.viewer.Detach()
	types(t, term, "echo two\r")

	again, err := s.Terminal("host1", term.ID())
	if err != nil {
		t.Fatal(err)
	}
	second, third := look(t, again, 0), look(t, again, 1000)
	for _, v := range []*screen{second, third} {
		v.sees("echo one\r\none\r\n")
		v.sees("\r\ntwo\r\n")
		if v.replay == 0 {
			t.Error("nothing was replayed")
		}
	}
	if err := second.viewer.Resize(30, 90); err != nil {
		t.Fatal(err)
	}
	for third.last.Size == nil {
		third.next()
	}
	if *third.last.Size != (session.TerminalSize{Rows: 30, Cols: 90}) {
		t.Errorf("the other is told the size %v", *third.last.Size)
	}
	types(t, term, "stty size\rexit 7\r")
	for _, v := range []*screen{second, third} {
		v.sees("30 90\r\n")
		if e := v.ends(); e.Exit == nil || *e.Exit != 7 {
			t.Errorf("it ends with %+v", e)
		}
	}
	if list := s.Terminals(); len(list) != 0 {
		t.Errorf("still listed: %+v", list)
	}
	if _, err := s.Terminal("host1", term.ID()); !has(err, session.CodeNoTerminal) {
		t.Errorf("found again: %v", err)
	}
}

func TestTerminalsAreListedAndBounded(t *testing.T) {
	s, _ := fresh(t, nil).create(t)
	var all []*session.Terminal
	for range session.MaxTerminals {
		all = append(all, terminal(t, s))
	}
	look(t, all[3], 0)
	if _, err := s.OpenTerminal(t.Context(), "host1", 0, 0); !has(err, session.CodeTooManyTerminals) {
		t.Errorf("one more: %v", err)
	}
	list := s.Terminals()
	for i, term := range all {
		want := session.TerminalInfo{ID: term.ID(), Node: "host1", Rows: 24, Cols: 80, Opened: list[i].Opened}
		if i == 3 {
			want.Viewers = 1
		}
		if list[i] != want {
			t.Errorf("listed as %+v, not %+v", list[i], want)
		}
	}
	all[0].Close()
	terminal(t, s)
	if _, err := s.OpenTerminal(t.Context(), "host1/nope", 0, 0); !has(err, session.CodeNoNode) {
		t.Errorf("on no node: %v", err)
	}
	if _, err := s.Terminal("host2", all[1].ID()); !has(err, session.CodeNoTerminal) {
		t.Errorf("on another node: %v", err)
	}
	if _, err := s.OpenTerminal(t.Context(), "host1", 1, 5000); host.CodeOf(err) != host.CodeInvalid {
		t.Errorf("much too wide: %v", err)
	}
}

func TestTerminalIsTakenAway(t *testing.T) {
	for want, do := range map[string]func(*testing.T, *desk, *session.Session, *session.Terminal){
		session.TerminalClosed: func(_ *testing.T, _ *desk, _ *session.Session, term *session.Terminal) { term.Close() },
		session.TerminalReset: func(t *testing.T, _ *desk, s *session.Session, _ *session.Terminal) {
			if _, err := s.Reset(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		},
		session.TerminalDeleted: func(t *testing.T, d *desk, s *session.Session, _ *session.Terminal) {
			if err := d.Delete(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		},
		session.TerminalLost: func(t *testing.T, d *desk, _ *session.Session, _ *session.Terminal) {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			d := fresh(t, nil)
			s, _ := d.create(t)
			term := terminal(t, s)
			v := look(t, term, 0)
			do(t, d, s, term)
			if e := v.ends(); e.Ended != want {
				t.Errorf("it ends with %+v", e)
			}
			if err := term.Type(t.Context(), []byte("a")); !has(err, session.CodeNoTerminal) {
				t.Errorf("typing: %v", err)
			}
		})
	}
}

// What is typed is judged, also if nobody has the stream open.
func TestTerminalIsEnoughForTheChecks(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	terminal(t, s)
	w, err := d.model.World(t.Context(), d.worlds(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Apply(t.Context(), []topo.Placed{{Node: "host1", Op: topo.NetnsAdd{Name: "kon"}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step is done", func() bool { return s.View().Current == "cable" })
}

// A flood waits for the viewer who is fastest; who is slower misses some and is
// told; nobody is sent more than they can take, and little is kept.
func TestTerminalFlood(t *testing.T) {
	s, _ := fresh(t, nil).create(t)
	term := terminal(t, s)
	const window = 10_000
	fast, slow, stuck := look(t, term, window), look(t, term, window), look(t, term, window)
	stuck.draws = false
	types(t, term, "yes\r")
	n := 0
	for n < 2_000_000 {
		fast.next()
		n += fast.shown.Len()
		fast.shown.Reset()
	}
	got := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		e, err := stuck.viewer.Next(ctx)
		cancel()
		if err != nil {
			break
		}
		if e.Screen == nil {
			got += len(e.Output)
		}
	}
	if got != window {
		t.Errorf("%d bytes were sent to one who acknowledges none, with a window of %d", got, window)
	}
	for slow.last.Screen != nil && slow.shown.Len() == 0 { // what it had not taken is gone
		slow.next()
	}
	if slow.last.Screen == nil || slow.last.Screen.Replay > 400_000 {
		t.Errorf("the slow one is told %+v", slow.last)
	}
	fast.viewer.Detach()
	slow.viewer.Detach()
	stuck.viewer.Detach() // with nobody there the shell runs on
	types(t, term, "\x03")
	types(t, term, "echo still here\r")
	look(t, term, window).sees("still here\r\n")
}

// Who types more than is read waits, and is heard again.
func TestTerminalTypedAhead(t *testing.T) {
	s, _ := fresh(t, nil).create(t)
	term := terminal(t, s)
	v := look(t, term, 0)
	types(t, term, "sleep 1000\r")
	v.sees("sleep 1000\r\n")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := term.Type(ctx, []byte(strings.Repeat("a", 1<<20))); err != context.DeadlineExceeded {
		t.Errorf("a million keys for a program that sleeps: %v", err)
	}
}

// Somebody who types keeps the world, somebody who has left a shell does not.
func TestTerminalAndIdleness(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.Idle = 10 * time.Millisecond })
	s, _ := d.create(t)
	term := terminal(t, s)
	v := look(t, term, 0)
	v.sees("# ")
	types(t, term, "echo here\r")
	v.sees("\r\nhere\r\n")
	v.viewer.Detach()
	eventually(t, "the idle world is gone", func() bool { return len(d.worlds(t)) == 0 })
	if e := v.ends(); e.Ended != session.TerminalIdle {
		t.Errorf("it ends with %+v", e)
	}
}

package host

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kabel/sandbox/topo"
)

// A reader gets what was written but for what was lost, both ends are told how
// much that is, no more than a window waits, and nothing stalls.
func TestLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var toNear, toFar [][]byte // frames under way
		send := func(queue *[][]byte) func([]byte) error {
			return func(frame []byte) error {
				*queue = append(*queue, bytes.Clone(frame))
				return nil
			}
		}
		near, far := newLine(send(&toFar)), newLine(send(&toNear))
		var lost, theirs uint64
		near.notice = func(n uint64, _ bool) string { lost += n; return "" }
		far.notice = func(n uint64, incoming bool) string {
			if incoming {
				t.Fatal("nothing was sent that way")
			}
			theirs += n
			return ""
		}
		deliver := func(queue *[][]byte, to *line, arrives bool) {
			if len(*queue) > 0 {
				frame := (*queue)[0]
				*queue = (*queue)[1:]
				if arrives {
					to.receive(frame)
				}
			}
		}
		var sent uint64
		var got []byte
		read := func() {
			if len(near.buf) > 0 { // or it would wait
				b := make([]byte, 10_000)
				n, err := near.read(b)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b[:n]...)
			}
		}
		write := func(n int) {
			b := make([]byte, min(n, terminalWindow-int(far.sent-far.taken))) // or it would wait
			for i := range b {
				b[i] = byte((sent + uint64(i)) / 100)
			}
			if _, err := far.write(b); err != nil {
				t.Fatal(err)
			}
			sent += uint64(len(b))
		}
		t.Repeat(map[string]func(*rapid.T){
			"write":   func(t *rapid.T) { write(rapid.IntRange(1, 2*terminalWindow).Draw(t, "bytes")) },
			"read":    func(*rapid.T) { read() },
			"tell":    func(*rapid.T) { near.tellState(24, 80, true) },
			"to near": func(t *rapid.T) { deliver(&toNear, near, rapid.IntRange(0, 9).Draw(t, "luck") > 0) },
			"to far":  func(t *rapid.T) { deliver(&toFar, far, rapid.IntRange(0, 9).Draw(t, "luck") > 0) },
			"": func(t *rapid.T) {
				if len(near.buf) > terminalWindow {
					t.Fatalf("%d bytes wait", len(near.buf))
				}
			},
		})
		near.tellState(24, 80, true)
		for len(toNear)+len(toFar)+len(near.buf) > 0 {
			deliver(&toFar, far, true)
			deliver(&toNear, near, true)
			read()
		}
		near.tellState(24, 80, false)
		deliver(&toFar, far, true)
		if uint64(len(got))+lost != sent || lost != theirs {
			t.Fatalf("%d of %d bytes were read, the ends were told of %d and %d that were lost", len(got), sent, lost, theirs)
		}
		if far.taken != far.sent {
			t.Fatalf("the writer would wait for %d bytes", far.sent-far.taken)
		}
	})
}

// newWire is a Model behind a server, and a client of it on a connection of its
// own; a third connection looks on.
func newWire(t *testing.T) (w World, s *server, clientConn, spy *nats.Conn) {
	t.Helper()
	ns, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	var conns [3]*nats.Conn
	for i := range conns {
		if conns[i], err = nats.Connect("", nats.InProcessServer(ns), nats.NoReconnect()); err != nil {
			t.Fatal(err)
		}
	}
	m := NewModel()
	s = newServer(conns[0], m, "h")
	sub, err := conns[0].Subscribe(subject("h", "*"), func(m *nats.Msg) { s.accept(t.Context(), m) })
	if err != nil {
		t.Fatal(err)
	}
	if err := conns[0].Flush(); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(conns[1], "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), m.Close()); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Error(err)
		}
		s.stop(sub)
		s.working.Wait()
		for _, nc := range conns {
			nc.Close()
		}
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	w, err = c.Create(t.Context(), Spec{ID: "w", Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}}})
	if err != nil {
		t.Fatal(err)
	}
	return w, s, conns[1], conns[2]
}

func openTerminal(t *testing.T, w World) Terminal {
	t.Helper()
	term, err := w.Terminal(t.Context(), TerminalRequest{Node: "host1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.Close() })
	return term
}

func readUntil(t *testing.T, term Terminal, text string) {
	t.Helper()
	var shown []byte
	for b := make([]byte, 1000); !bytes.Contains(shown, []byte(text)); {
		n, err := term.Read(b)
		shown = append(shown, b[:n]...)
		if err != nil {
			t.Fatalf("waiting for %q: %v after %q", text, err, shown)
		}
	}
}

// soon waits for a state that must come.
func soon(t *testing.T, what string, state func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !state() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// A flood that nobody reads stops at the window, both ways, and goes on when it
// is read.
func TestTerminalFloodStopsAtTheWindow(t *testing.T) {
	w, _, _, spy := newWire(t)
	var out, in atomic.Int64
	for subject, sum := range map[string]*atomic.Int64{"kabel.terminal.*.out": &out, "kabel.terminal.*.in": &in} {
		if _, err := spy.Subscribe(subject, func(m *nats.Msg) {
			if m.Data[0] == frameData {
				sum.Add(int64(len(m.Data) - dataHeader))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	term := openTerminal(t, w)
	readUntil(t, term, "# ")
	out.Store(0)
	in.Store(0)
	if _, err := io.WriteString(term, "yes\r"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the window is full", func() bool { return out.Load() == terminalWindow })

	// Keys for a program that reads none: the Model takes some, the window some.
	wrote := make(chan error, 1)
	go func() {
		_, err := term.Write(bytes.Repeat([]byte("a"), 1<<20))
		wrote <- err
	}()
	soon(t, "the other window is full", func() bool { return in.Load() > terminalWindow })

	n := 0
	for b := make([]byte, 10_000); n < 10*terminalWindow; {
		got, err := term.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		n += got
	}
	if under := out.Load() - int64(n); under > 2*terminalWindow {
		t.Errorf("%d bytes are under way", under)
	}
	if got := in.Load(); got > 3*terminalWindow {
		t.Errorf("%d bytes were typed for nobody", got)
	}
	if err := term.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err == nil {
		t.Error("a million keys were taken by a program that reads none")
	}
}

func terminalsOf(s *server) (all []*servedTerminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.terminals {
		all = append(all, t)
	}
	return all
}

// A shell ends with its client: at once if that says so, else with its lease.
func TestTerminalEndsWithItsClient(t *testing.T) {
	for what, end := range map[string]func(term Terminal, served *servedTerminal, client *nats.Conn){
		"closes":  func(term Terminal, _ *servedTerminal, _ *nats.Conn) { term.Close() },
		"crashes": func(_ Terminal, served *servedTerminal, client *nats.Conn) { client.Close(); served.lease.Reset(0) },
	} {
		t.Run(what, func(t *testing.T) {
			w, s, client, _ := newWire(t)
			term := openTerminal(t, w)
			readUntil(t, term, "# ")
			served := terminalsOf(s)
			if len(served) != 1 {
				t.Fatalf("%d are served", len(served))
			}
			end(term, served[0], client)
			soon(t, "the shell is hung up", func() bool {
				_, err := served[0].terminal.Write([]byte("a"))
				return errors.Is(err, errClosed)
			})
			soon(t, "it is forgotten", func() bool { return len(terminalsOf(s)) == 0 })
		})
	}
}

// A host that lets a terminal go says so; if that is lost, its silence does.
func TestTerminalThatItsHostForgot(t *testing.T) {
	for what, forget := range map[string]func(term Terminal, served *servedTerminal){
		"said":   func(_ Terminal, served *servedTerminal) { served.cancel() },
		"silent": func(term Terminal, _ *servedTerminal) { term.(*remoteTerminal).heard.Store(0) }, // it was long ago
	} {
		t.Run(what, func(t *testing.T) {
			w, s, _, _ := newWire(t)
			term := openTerminal(t, w)
			readUntil(t, term, "# ")
			forget(term, terminalsOf(s)[0])
			if _, err := io.ReadAll(term); CodeOf(err) != CodeUnavailable {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

func TestTerminalTellsWhatWasLost(t *testing.T) {
	w, _, client, spy := newWire(t)
	name := make(chan string, 10)
	if _, err := spy.Subscribe("kabel.terminal.*.out", func(m *nats.Msg) {
		select {
		case name <- m.Subject:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	term := openTerminal(t, w)
	readUntil(t, term, "# ")
	// A forged frame stands for a gap: it begins where nothing has come from yet.
	l := newLine(func(frame []byte) error { return client.Publish(<-name, frame) })
	l.sent = 1000
	if _, err := l.write([]byte("after the gap")); err != nil {
		t.Fatal(err)
	}
	readUntil(t, term, "bytes of what was shown here were lost]\r\nafter the gap")
}

func TestTooManyTerminalsAreRefused(t *testing.T) {
	w, _, _, _ := newWire(t)
	for range maxTerminals {
		openTerminal(t, w)
	}
	if _, err := w.Terminal(t.Context(), TerminalRequest{Node: "host1"}); CodeOf(err) != CodeLimit {
		t.Error(err)
	}
}

func TestPace(t *testing.T) {
	p := pace{since: time.Now()}
	stopped := make(chan struct{})
	close(stopped)
	p.wait(terminalBurst, nil) // free
	began := time.Now()
	p.wait(100*terminalRate, stopped) // would take long
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it waited %v", took)
	}
	p.since = p.since.Add(-time.Hour)
	p.wait(terminalBurst, nil)
	if p.spent != terminalBurst {
		t.Errorf("after a rest %d bytes count", p.spent)
	}
}

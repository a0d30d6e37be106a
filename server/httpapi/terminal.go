//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"nhooyr.io/websocket"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

// The websocket of a terminal,
//
//	GET /api/v1/sessions/{id}/terminals/{node}?rows=24&cols=80[&terminal=ID][&window=131072]
//
// with the node escaped (host1%2Fkon). Without terminal a new shell is started
// on the node; with it, one that runs is attached to, whatever it has shown so
// far included. rows and cols set its size, and may be left out then.
//
// Binary messages are bytes, both ways: what is typed, what is shown. A message
// may end anywhere, also within a character. Text messages are one JSON object
// each, a TerminalMessage with a type:
//
// From the server:
//
//   - "terminal" {id, node, rows, cols, replay}: comes first. Empty the screen:
//     the next replay bytes are what was shown before. Answers that the screen
//     gives to them (to "where is the cursor?") must not be sent. It comes again
//     when a viewer was so slow that it missed something.
//   - "size" {rows, cols}: another viewer has changed the size.
//   - "exit" {code}: the shell has ended, 128+n by signal n. Close the socket.
//   - "ended" {reason}: the terminal was taken away: "closed" (somebody closed
//     it), "reset" (there is a new world), "deleted" (the session has ended),
//     "idle" (nobody was there for long, and the world was put away), "total"
//     (the session has had its time), "lost" (the world or the sandbox is gone).
//     Close the socket.
//
// From the client:
//
//   - "size" {rows, cols}: from 1 to 1000 each.
//   - "ack" {bytes}: that many more bytes have been drawn, replayed ones included.
//     Needed only with the parameter window: the server then never has more than
//     so many bytes under way that are not acknowledged. A page needs it, since a
//     browser takes messages faster than a screen draws them.
//
// When the connection breaks the shell lives on: attach to it again. A viewer
// that closes (code 1000) only leaves, too; DELETE with the same path and
// parameter ends the shell. Input that no program reads for ten seconds, and a
// message that is none of those, end the connection with code 1008.

// TerminalMessage is a control message of a terminal's websocket; Type tells
// which fields are set.
type TerminalMessage struct {
	Type   string      `json:"type"` // terminal, size, exit, ended; from clients: size, ack
	ID     string      `json:"id,omitempty"`
	Node   topo.NodeID `json:"node,omitempty"`
	Rows   int         `json:"rows,omitempty"`
	Cols   int         `json:"cols,omitempty"`
	Replay int         `json:"replay,omitempty"`
	Code   *int        `json:"code,omitempty"`
	Reason string      `json:"reason,omitempty"`
	Bytes  int         `json:"bytes,omitempty"`
}

const (
	// typedTimeout is how long input may wait for a program that reads it.
	typedTimeout = 10 * time.Second
	// maxInput is the longest message of a client, in bytes.
	maxInput = 1 << 20
)

// terminalQuery is what a terminal's address asks for.
type terminalQuery struct {
	node               topo.NodeID
	id                 string
	rows, cols, window int
}

func parseTerminal(r *http.Request) (q terminalQuery, p *Problem) {
	node := chi.URLParam(r, "node")
	if r.URL.RawPath != "" { // then chi gives it as it came
		var err error
		if node, err = url.PathUnescape(node); err != nil {
			return q, problem(codeBadRequest, "The node is not escaped as a part of a path.")
		}
	}
	q.node, q.id = topo.NodeID(node), r.URL.Query().Get("terminal")
	for name, v := range map[string]*int{"rows": &q.rows, "cols": &q.cols, "window": &q.window} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		var err error
		if *v, err = strconv.Atoi(text); err != nil || *v < 1 {
			return q, problem(codeBadRequest, fmt.Sprintf("%s must be a number from 1.", name))
		}
	}
	if q.rows != 0 || q.cols != 0 {
		if err := host.ValidSize(q.rows, q.cols); err != nil {
			return q, problem(codeBadRequest, fmt.Sprintf("rows and cols come together, and are from 1 to %d.", host.MaxTerminalSize))
		}
	}
	return q, nil
}

// terminal is the websocket of one viewer of one terminal.
func (s *Server) terminal(w http.ResponseWriter, r *http.Request) {
	found, p := s.find(r, chi.URLParam(r, "id"))
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	q, p := parseTerminal(r)
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	open := func() (*session.Terminal, error) {
		if q.id != "" {
			return found.Terminal(q.node, q.id)
		}
		return found.OpenTerminal(r.Context(), q.node, q.rows, q.cols)
	}
	t, err := open()
	if err != nil {
		writeProblem(w, r, s.problemOf(r.Context(), err))
		return
	}
	viewer := t.Attach(q.window)
	defer viewer.Detach()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil { // and answered
		if q.id == "" {
			t.Close()
		}
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxInput)
	if q.rows != 0 {
		_ = viewer.Resize(q.rows, q.cols) // fails only where the shell has ended, which the viewer is told
	}
	ctx, cancel := context.WithCancel(r.Context())
	var both sync.WaitGroup
	defer both.Wait()
	defer cancel()
	both.Go(func() {
		defer cancel()
		hear(ctx, conn, t, viewer)
	})
	both.Go(func() {
		defer cancel()
		keepAwake(ctx, conn)
	})
	show(ctx, conn, t, viewer)
}

// show sends the viewer what there is to see, until the end.
func show(ctx context.Context, conn *websocket.Conn, t *session.Terminal, viewer *session.Viewer) {
	for {
		e, err := viewer.Next(ctx)
		if err != nil {
			return
		}
		kind, b := websocket.MessageText, []byte(nil)
		switch {
		case e.Output != nil:
			kind, b = websocket.MessageBinary, e.Output
		default:
			if b, err = json.Marshal(terminalMessage(t, e)); err != nil {
				return
			}
		}
		wctx, done := context.WithTimeout(ctx, writeTimeout)
		err = conn.Write(wctx, kind, b)
		done()
		if err != nil {
			return
		}
		if e.Exit != nil || e.Ended != "" {
			// The viewer hangs up when it reads that. Closing from here beside
			// hear would send two close frames.
			select {
			case <-ctx.Done():
			case <-time.After(writeTimeout):
			}
			return
		}
	}
}

func terminalMessage(t *session.Terminal, e session.TerminalEvent) TerminalMessage {
	switch {
	case e.Screen != nil:
		return TerminalMessage{Type: "terminal", ID: t.ID(), Node: t.Node(), Rows: e.Screen.Rows, Cols: e.Screen.Cols, Replay: e.Screen.Replay}
	case e.Size != nil:
		return TerminalMessage{Type: "size", Rows: e.Size.Rows, Cols: e.Size.Cols}
	case e.Exit != nil:
		return TerminalMessage{Type: "exit", Code: e.Exit}
	default:
		return TerminalMessage{Type: "ended", Reason: e.Ended}
	}
}

// hear takes what the viewer sends, until the connection ends.
func hear(ctx context.Context, conn *websocket.Conn, t *session.Terminal, viewer *session.Viewer) {
	for {
		kind, b, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			tctx, done := context.WithTimeout(ctx, typedTimeout)
			err := t.Type(tctx, b)
			done()
			if errors.Is(err, context.DeadlineExceeded) {
				conn.Close(websocket.StatusPolicyViolation, "no program reads what is typed")
				return
			}
			continue // a terminal that has ended tells it itself
		}
		var m TerminalMessage
		err = json.Unmarshal(b, &m)
		switch {
		case err != nil:
		case m.Type == "ack":
			viewer.Acknowledge(m.Bytes)
		case m.Type == "size":
			err = viewer.Resize(m.Rows, m.Cols)
		default:
			err = errors.New("there is no such message")
		}
		if host.CodeOf(err) == host.CodeInvalid || err != nil && m.Type != "size" {
			conn.Close(websocket.StatusPolicyViolation, "a message that makes no sense")
			return
		}
	}
}

// keepAwake pings, so that a viewer who is gone does not hold up a shell.
func keepAwake(ctx context.Context, conn *websocket.Conn) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		pctx, done := context.WithTimeout(ctx, writeTimeout+typedTimeout) // hear may wait meanwhile
		err := conn.Ping(pctx)
		done()
		if err != nil {
			return
		}
	}
}

func (s *Server) listTerminals(ctx context.Context, _ *mine) (*body[[]session.TerminalInfo], error) {
	return answer(s, ctx, current(ctx).Terminals(), nil)
}

type closeTerminalInput struct {
	mine
	Node     string `path:"node" maxLength:"400" example:"host1%2Fkon"`
	Terminal string `query:"terminal" required:"true" maxLength:"64"`
}

func (s *Server) closeTerminal(ctx context.Context, in *closeTerminalInput) (*struct{}, error) {
	node, err := url.PathUnescape(in.Node)
	if err != nil {
		return nil, problem(codeBadRequest, "The node is not escaped as a part of a path.")
	}
	t, err := current(ctx).Terminal(topo.NodeID(node), in.Terminal)
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	t.Close()
	return nil, nil
}

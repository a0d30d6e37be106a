//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi

import (
	"context"
	"net/http"

	"nhooyr.io/websocket"

	"kabel/server/session"
)

// The demo's websockets are those of a session, less what only its learner may:
// they need no key and change nothing. The demo begins when a socket is open, so
// that no page of another site can have it begin. Why it can't is told as a
// session's end is.

// demoStream is GET /api/v1/demo/stream.
func (s *Server) demoStream(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	viewer, events, err := s.sessions.WatchDemo(ctx)
	if err != nil {
		endDemo(ctx, conn, err)
		return
	}
	defer viewer.Close()
	s.tell(ctx, cancel, conn, events, viewer.Attend)
}

// demoPackets is GET /api/v1/demo/packets.
func (s *Server) demoPackets(w http.ResponseWriter, r *http.Request) {
	expression, after, p := wantedPackets(r)
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	viewer, packets, err := s.sessions.DemoPackets(r.Context(), expression, after)
	if err != nil {
		endDemo(r.Context(), conn, err)
		return
	}
	defer viewer.Close()
	defer packets.Close()
	showPackets(r.Context(), conn, packets)
}

// endDemo says why there is no demo, and waits for the viewer to hang up.
func endDemo(ctx context.Context, conn *websocket.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if send(ctx, conn, Message{Type: "ended", Reason: session.DemoReason(err)}) == nil {
		<-conn.CloseRead(ctx).Done()
	}
}

//lint:file-ignore SA1019 nhooyr.io/websocket is the library of choice here; this file is its only importer, so that its successor is a small change

package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"nhooyr.io/websocket"

	"kabel/sandbox/topo"
	"kabel/server/session"
)

// Message is one message of the stream; Type tells which field is set.
type Message struct {
	Type     string            `json:"type"` // session, snapshot, diff, probe, lab, ended
	Session  *session.View     `json:"session,omitempty"`
	Snapshot *topo.Snapshot    `json:"snapshot,omitempty"`
	Diff     *topo.Diff        `json:"diff,omitempty"`
	Result   *topo.ProbeResult `json:"result,omitempty"`
	Mistakes []string          `json:"mistakes,omitempty"`
	Reason   string            `json:"reason,omitempty"`
}

func message(e session.Event) Message {
	switch {
	case e.View != nil:
		return Message{Type: "session", Session: e.View}
	case e.Update != nil && e.Update.Snapshot != nil:
		return Message{Type: "snapshot", Snapshot: e.Update.Snapshot}
	case e.Update != nil:
		return Message{Type: "diff", Diff: e.Update.Diff}
	case e.Probe != nil:
		return Message{Type: "probe", Result: e.Probe}
	case e.Lesson != nil:
		return Message{Type: "lab", Mistakes: e.Lesson.Mistakes}
	default:
		return Message{Type: "ended", Reason: e.Ended}
	}
}

// writeTimeout is how long one message may take to leave; a viewer that takes
// longer is let go and comes back by itself.
const writeTimeout = 10 * time.Second

// pingEvery keeps the connection's middle boxes awake and finds dead viewers.
const pingEvery = 20 * time.Second

// stream is the websocket. Whoever has it open is there, until they say that
// they are away: see the API's description. The library checks that Origin is ours; the key
// decides about the session.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	found, p := s.find(r, chi.URLParam(r, "id"))
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	events, err := found.Subscribe(ctx)
	if err != nil {
		writeProblem(w, r, s.problemOf(ctx, err))
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	leave := found.Attend()
	s.tell(ctx, cancel, conn, events, func(there bool) {
		switch {
		case there && leave == nil:
			leave = found.Attend()
		case !there && leave != nil:
			leave()
			leave = nil
		}
	})
}

// tell brings events to one viewer until either ends, and says by attend when the
// viewer is there and when not, which they are not in the end.
func (s *Server) tell(ctx context.Context, cancel context.CancelFunc, conn *websocket.Conn, events <-chan session.Event, attend func(there bool)) {
	s.viewers.Inc()
	defer s.viewers.Dec()
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer conn.CloseNow()
	hearing.Go(func() {
		defer cancel()
		defer attend(false)
		hearPresence(ctx, conn, attend)
	})
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var hangUp <-chan time.Time // set when the session has ended
	for {
		select {
		case e, ok := <-events:
			if !ok {
				// The viewer hangs up when it reads "ended". Closing from here
				// beside hearPresence would send two close frames.
				events = nil
				hangUp = time.After(writeTimeout)
				continue
			}
			if err := send(ctx, conn, message(e)); err != nil {
				return
			}
		case <-ping.C:
			pctx, done := context.WithTimeout(ctx, writeTimeout)
			err := conn.Ping(pctx)
			done()
			if err != nil {
				return
			}
		case <-hangUp:
			return
		case <-ctx.Done():
			return
		}
	}
}

// presence is what a viewer of the stream may say.
type presence struct {
	Type string `json:"type" enum:"here,away"`
}

// hearPresence takes what the viewer says, until the connection ends.
func hearPresence(ctx context.Context, conn *websocket.Conn, attend func(there bool)) {
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var m presence
		switch err := json.Unmarshal(b, &m); {
		case err == nil && (m.Type == "here" || m.Type == "away"):
			attend(m.Type == "here")
		default:
			conn.Close(websocket.StatusPolicyViolation, "a message that makes no sense")
			return
		}
	}
}

func send(ctx context.Context, conn *websocket.Conn, m Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, b)
}

//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"nhooyr.io/websocket"

	"kabel/sandbox/topo"
	"kabel/server/capture"
	"kabel/server/packet"
	"kabel/server/session"
)

// The websocket of packets,
//
//	GET /api/v1/sessions/{id}/packets?filter=EXPRESSION[&after=SEQ]
//
// speaks JSON text messages, one object each, with a type. The filter is in
// tcpdump's words; a row passes when a packet of it does, at any place.
//
// From the server:
//
//   - "start" {started, filter, snap, resumed}: comes first, and again when there
//     is another filter or another world. Unless resumed, the list begins anew.
//     Times of rows count from started; snap is how many bytes of each packet are
//     kept.
//   - "batch" {seq, rows, lost, gap}: rows that are new or have changed; each takes
//     the place of the row with its id. lost counts packets since the start; gap is
//     how many changes of rows were left out before this batch.
//   - "filter-error" {position, message, suggestion}: the filter can't be understood
//     from that byte on; the one before stays.
//   - "paused"
//   - "ended" {reason}: "closed" (the session is over), "lost" (its world is). Close
//     the socket.
//
// From the client: "filter" {filter}, "pause", "resume".
//
// A viewer that comes back says the seq of the last batch that it got as after.

// packetRequest is a message of a client.
type packetRequest struct {
	Type   string `json:"type"`
	Filter string `json:"filter"`
}

const (
	// maxFilter bounds a filter's text, in bytes.
	maxFilter = 2000
	// slowAfter is how long a batch of packets may take to leave. A viewer who
	// takes longer is let go and comes back.
	slowAfter = 2 * time.Second
)

// packets is the websocket of one viewer of a session's packets.
func (s *Server) packets(w http.ResponseWriter, r *http.Request) {
	found, p := s.find(r, chi.URLParam(r, "id"))
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	expression, after, p := wantedPackets(r)
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	viewer, err := found.Packets(expression, after)
	if err != nil {
		writeProblem(w, r, s.problemOf(r.Context(), err))
		return
	}
	defer viewer.Close()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	showPackets(r.Context(), conn, viewer)
}

// wantedPackets reads what a viewer of packets asks for.
func wantedPackets(r *http.Request) (expression string, after uint64, p *Problem) {
	expression = r.URL.Query().Get("filter")
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return "", 0, problem(codeBadRequest, "after must be the number of a batch.")
		}
	}
	if len(expression) > maxFilter {
		return "", 0, problem(codeBadRequest, fmt.Sprintf("A filter has %d bytes at the most.", maxFilter))
	}
	return expression, after, nil
}

// showPackets brings packets to one viewer until either ends.
func showPackets(ctx context.Context, conn *websocket.Conn, viewer *session.PacketViewer) {
	conn.SetReadLimit(2 * maxFilter)
	ctx, cancel := context.WithCancel(ctx)
	var both sync.WaitGroup
	defer both.Wait()
	defer cancel()
	both.Go(func() {
		defer cancel()
		obey(ctx, conn, viewer)
	})
	both.Go(func() {
		defer cancel()
		keepAwake(ctx, conn)
	})
	for {
		m, err := viewer.Next(ctx)
		if err != nil {
			if ctx.Err() == nil { // the last message has been; the viewer hangs up
				select {
				case <-ctx.Done():
				case <-time.After(writeTimeout):
				}
			}
			return
		}
		if sendPackets(ctx, conn, m) != nil {
			return
		}
	}
}

// sendPackets writes a message whose second part is many viewers'.
func sendPackets(ctx context.Context, conn *websocket.Conn, m capture.Message) error {
	ctx, cancel := context.WithTimeout(ctx, slowAfter)
	defer cancel()
	if m.Tail == nil {
		return conn.Write(ctx, websocket.MessageText, m.Head)
	}
	w, err := conn.Writer(ctx, websocket.MessageText)
	if err != nil {
		return err
	}
	if _, err = w.Write(m.Head); err == nil {
		_, err = w.Write(m.Tail)
	}
	return errors.Join(err, w.Close())
}

// obey does what the viewer asks, until the connection ends.
func obey(ctx context.Context, conn *websocket.Conn, viewer *session.PacketViewer) {
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var m packetRequest
		err = json.Unmarshal(b, &m)
		switch {
		case err == nil && m.Type == "filter" && len(m.Filter) <= maxFilter:
			viewer.Filter(m.Filter)
		case err == nil && m.Type == "pause":
			viewer.Pause()
		case err == nil && m.Type == "resume":
			viewer.Resume()
		default:
			conn.Close(websocket.StatusPolicyViolation, "a message that makes no sense")
			return
		}
	}
}

// Packet is one packet at one place, with its layers.
type Packet struct {
	No       uint64         `json:"no"`
	Node     topo.NodeID    `json:"node"`
	Link     string         `json:"link"`
	Hardware uint16         `json:"hardware" doc:"the kernel's ARPHRD_ type: 1 and 772 begin with an Ethernet header, 65534 with IP"`
	Out      bool           `json:"out"`
	At       capture.Micros `json:"at" doc:"µs since the capture started"`
	Length   int            `json:"length" doc:"bytes, of which data has the first"`
	Data     []byte         `json:"data"`
	Layers   []PacketLayer  `json:"layers" nullable:"false"`
}

// PacketLayer is a header or a payload; offsets are those of bytes in data.
type PacketLayer struct {
	Name    string        `json:"name"`
	Summary string        `json:"summary"`
	Offset  int           `json:"offset"`
	Length  int           `json:"length"`
	Fields  []PacketField `json:"fields" nullable:"false"`
}

// PacketField is one field of a layer.
type PacketField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
	Bits   string `json:"bits,omitempty" doc:"of a field that is a part of its bytes"`
}

type packetInput struct {
	mine
	No uint64 `path:"no"`
}

func (s *Server) packet(ctx context.Context, in *packetInput) (*body[Packet], error) {
	f, started, err := current(ctx).Packet(in.No)
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	out := Packet{No: f.No, Node: f.Interface.Node, Link: f.Interface.Link, Hardware: f.Interface.Hardware, Out: f.Out,
		At: capture.Micros(float64(f.Time.Sub(started)) / 1e3), Length: f.Length, Data: f.Data, Layers: []PacketLayer{}}
	for _, l := range packet.Dissect(f) {
		shown := PacketLayer{Name: l.Name, Summary: l.Summary, Offset: l.Offset, Length: l.Length, Fields: []PacketField{}}
		for _, field := range l.Fields {
			shown.Fields = append(shown.Fields, PacketField(field))
		}
		out.Layers = append(out.Layers, shown)
	}
	return &body[Packet]{out}, nil
}

// maxRecording bounds one recording.
const maxRecording = time.Hour

// recording is GET /api/v1/sessions/{id}/capture.pcapng?node=&link=&filter=&snap=&seconds=:
// the packets from now on, as a pcapng file that grows, until seconds are over,
// the client leaves, or the world ends. With kept=true it is a whole file of the
// packets that are kept for the list.
func (s *Server) recording(w http.ResponseWriter, r *http.Request) {
	found, p := s.find(r, chi.URLParam(r, "id"))
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	q := r.URL.Query()
	numbers := map[string]int{}
	for name, most := range map[string]int{"snap": session.MaxSnap, "seconds": int(maxRecording / time.Second)} {
		if text := q.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > most {
				writeProblem(w, r, problem(codeBadRequest, fmt.Sprintf("%s must be a number from 1 to %d.", name, most)))
				return
			}
			numbers[name] = n
		}
	}
	if len(q.Get("filter")) > maxFilter {
		writeProblem(w, r, problem(codeBadRequest, fmt.Sprintf("A filter has %d bytes at the most.", maxFilter)))
		return
	}
	which := session.Recording{Node: topo.NodeID(q.Get("node")), Link: q.Get("link"), Filter: q.Get("filter"), Snap: numbers["snap"]}
	head := func() {
		w.Header().Set("Content-Type", "application/x-pcapng")
		w.Header().Set("Content-Disposition", `attachment; filename="kabel-`+found.ID()+`.pcapng"`)
	}
	if q.Get("kept") == "true" {
		var file bytes.Buffer
		if err := found.SaveKept(&file, which); err != nil {
			writeProblem(w, r, s.problemOf(r.Context(), err))
			return
		}
		head()
		w.Write(file.Bytes())
		return
	}
	recorder, end, err := found.Record(r.Context(), which)
	if err != nil {
		writeProblem(w, r, s.problemOf(r.Context(), err))
		return
	}
	defer end()
	lasting := maxRecording
	if n := numbers["seconds"]; n > 0 {
		lasting = time.Duration(n) * time.Second
	}
	ctx, cancel := context.WithTimeout(r.Context(), lasting)
	defer cancel()
	head()
	answer := http.NewResponseController(w)
	err = recorder.Write(ctx, w, func() error {
		if err := answer.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		return answer.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		s.log.Warn("a recording broke off", "session", found.ID(), "err", err)
	}
}

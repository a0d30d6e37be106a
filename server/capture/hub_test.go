package capture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/capture"
	"kabel/server/packet/journey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a world whose packets the test makes up.
type wire struct {
	mu     sync.Mutex
	open   []*tap
	opened int
	err    error
}

type tap struct {
	*host.CaptureQueue
	wire *wire
}

func (w *wire) Capture(context.Context, host.CaptureRequest) (host.Capture, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	t := &tap{host.NewCaptureQueue(), w}
	w.open = append(w.open, t)
	w.opened++
	t.Put(host.CaptureBatch{Interfaces: []host.CaptureInterface{{ID: 1, Node: "host1", Link: "eth0", Hardware: host.HardwareEther}, {ID: 2, Node: "host2", Link: "eth0", Hardware: host.HardwareEther}}})
	return t, nil
}

func (t *tap) Close() error {
	t.wire.mu.Lock()
	defer t.wire.mu.Unlock()
	for i, o := range t.wire.open {
		if o == t {
			t.wire.open = append(t.wire.open[:i], t.wire.open[i+1:]...)
		}
	}
	t.End()
	return nil
}

func (w *wire) taps() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

func (w *wire) put(b host.CaptureBatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.open {
		t.Put(b)
	}
}

var (
	one = netip.MustParseAddr("10.0.0.1")
	two = netip.MustParseAddr("10.0.0.2")
)

// echo is a ping request or reply in an Ethernet frame.
func echo(src, dst netip.Addr, reply bool, seq uint16) []byte {
	b := make([]byte, 14+20+8+16)
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 1
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], 1000+seq)
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
	icmp := ip[20:]
	if !reply {
		icmp[0] = 8
	}
	binary.BigEndian.PutUint16(icmp[4:], 77)
	binary.BigEndian.PutUint16(icmp[6:], seq)
	binary.BigEndian.PutUint16(icmp[8:], seq)
	return b
}

// ping is what a ping from host1 to host2 looks like at both ends.
func ping(seq uint16) (records []host.CaptureRecord) {
	at := time.Now()
	for i, r := range []struct {
		on  uint32
		out bool
		b   []byte
	}{{1, true, echo(one, two, false, seq)}, {2, false, echo(one, two, false, seq)}, {2, true, echo(two, one, true, seq)}, {1, false, echo(two, one, true, seq)}} {
		records = append(records, host.CaptureRecord{Interface: r.on, Time: at.Add(time.Duration(i) * time.Microsecond), Out: r.out, Length: len(r.b), Data: r.b})
	}
	return records
}

// here is the world of these tests: two hosts and a cable.
var here = topo.Snapshot{Nodes: []topo.Node{
	{ID: "host1", Links: []topo.Netdev{{Name: "eth0", Kind: "veth", Peer: "host2:eth0", Addresses: []netip.Prefix{netip.PrefixFrom(one, 24)}}}},
	{ID: "host2", Links: []topo.Netdev{{Name: "eth0", Kind: "veth", Peer: "host1:eth0", Addresses: []netip.Prefix{netip.PrefixFrom(two, 24)}}}},
}}

func newHub(t *testing.T, w capture.World) *capture.Hub {
	t.Helper()
	h := capture.NewHub(capture.Options{Log: slog.New(slog.DiscardHandler), Retire: func() time.Duration { return time.Millisecond }, Changed: func() {}})
	t.Cleanup(h.Close)
	h.Use(w)
	return h
}

// told is a message as a viewer reads it.
type told struct {
	Type     string        `json:"type"`
	Filter   string        `json:"filter"`
	Resumed  bool          `json:"resumed"`
	Seq      uint64        `json:"seq"`
	Gap      int           `json:"gap"`
	Rows     []capture.Row `json:"rows"`
	Lost     capture.Lost  `json:"lost"`
	Position int           `json:"position"`
	Message  string        `json:"message"`
	Reason   string        `json:"reason"`
}

func next(t *testing.T, v *capture.Viewer) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := v.Next(ctx)
	if err != nil {
		t.Fatalf("there is no message: %v", err)
	}
	var out told
	if err := json.Unmarshal(append(append([]byte{}, m.Head...), m.Tail...), &out); err != nil {
		t.Fatalf("%s%s: %v", m.Head, m.Tail, err)
	}
	if out.Type == "batch" { // it is composed by hand
		exact := json.NewDecoder(io.MultiReader(bytes.NewReader(m.Head), bytes.NewReader(m.Tail)))
		exact.DisallowUnknownFields()
		if err := exact.Decode(&capture.Batch{}); err != nil {
			t.Fatalf("%s%s is no Batch: %v", m.Head, m.Tail, err)
		}
	}
	return out
}

func view(t *testing.T, h *capture.Hub, filter string, after uint64) *capture.Viewer {
	t.Helper()
	v, err := h.View(filter, after, here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// list follows a viewer until want holds, and returns the rows by their ids.
func list(t *testing.T, v *capture.Viewer, want func(rows map[uint64]capture.Row, last told) bool) map[uint64]capture.Row {
	t.Helper()
	rows := map[uint64]capture.Row{}
	for {
		m := next(t, v)
		if m.Type == "start" && !m.Resumed {
			clear(rows)
		}
		for _, r := range m.Rows {
			rows[r.ID] = r
		}
		if want(rows, m) {
			return rows
		}
	}
}

// hold waits until packets are seen.
func hold(t *testing.T, h *capture.Hub) {
	t.Helper()
	release, err := h.Hold(t.Context(), here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
}

func count(n int) func(map[uint64]capture.Row, told) bool {
	return func(rows map[uint64]capture.Row, _ told) bool {
		complete := 0
		for _, r := range rows {
			if len(r.Sightings) == 2 {
				complete++
			}
		}
		return complete == n
	}
}

func TestAPingIsTwoRows(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	v := view(t, h, "", 0)
	if m := next(t, v); m.Type != "start" || m.Resumed {
		t.Fatalf("first comes %+v", m)
	}
	hold(t, h)
	w.put(host.CaptureBatch{Records: ping(1)})
	rows := list(t, v, count(2))
	request, reply := rows[1], rows[2]
	if request.Protocol != "ICMP" || request.State != "answered" || request.AnsweredBy != 2 || reply.Answers != 1 || reply.State != "delivered" {
		t.Errorf("request %+v\nreply %+v", request, reply)
	}
	if s := request.Sightings; s[0].Node != "host1" || !s[0].Out || s[1].Node != "host2" || s[1].Out || s[1].At-s[0].At != 1 {
		t.Errorf("the request was seen at %+v", s)
	}
	f, _, ok := h.Frame(request.Sightings[1].No)
	if !ok || f.Interface.Node != "host2" {
		t.Errorf("its second sighting is %+v, %v", f, ok)
	}
	if _, _, ok := h.Frame(99); ok {
		t.Error("there is a packet that never was")
	}
}

// The packets of several namespaces come in any order; a row tells how its packet
// began.
func TestARowIsToldAsItBegan(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	v := view(t, h, "", 0)
	hold(t, h)
	there := ping(1)[:2]
	there[1].Data[22] = 63 // TTL: it was routed on its way
	w.put(host.CaptureBatch{Records: there[1:]})
	list(t, v, func(rows map[uint64]capture.Row, _ told) bool { return len(rows) == 1 })
	w.put(host.CaptureBatch{Records: there[:1]})
	if rows := list(t, v, count(1)); !strings.Contains(rows[1].Info, "ttl=64") {
		t.Errorf("got %+v", rows)
	}
}

func TestNothingIsCapturedUnlessSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		h := capture.NewHub(capture.Options{Log: slog.New(slog.DiscardHandler), Retire: func() time.Duration { return time.Millisecond }, Changed: func() {}})
		defer h.Close()
		h.Use(w)
		synctest.Wait()
		if w.opened != 0 {
			t.Fatal("a capture was opened for nobody")
		}
		for range 2 {
			v, err := h.View("", 0, here)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if w.taps() != 1 {
				t.Fatalf("a viewer looks, and %d captures are open", w.taps())
			}
			v.Close()
			time.Sleep(5 * time.Second) // of the bubble's time
		}
		if w.opened != 1 {
			t.Errorf("a viewer who came back after five seconds found another capture: %d were opened", w.opened)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.taps() != 0 {
			t.Error("the capture goes on a minute after the last viewer left")
		}
	})
}

func TestFilters(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	all, requests := view(t, h, "", 0), view(t, h, "icmp[0] == 8", 0)
	hold(t, h)
	w.put(host.CaptureBatch{Records: ping(1)})
	list(t, all, count(2))
	for id, r := range list(t, requests, count(1)) {
		if id != 1 || r.AnsweredBy != 2 && r.State != "answered" && r.State != "delivered" {
			t.Errorf("a filter for requests shows %+v", r)
		}
	}
	// Another filter lists what is kept, by what it is.
	requests.Filter("src host 10.0.0.2")
	if rows := list(t, requests, count(1)); rows[2].ID != 2 {
		t.Errorf("the replies are %+v", rows)
	}
	requests.Filter("src hots 10.0.0.2")
	if m := next(t, requests); m.Type != "filter-error" || m.Position != 4 || m.Message == "" {
		t.Errorf("a wrong filter is answered by %+v", m)
	}
	w.put(host.CaptureBatch{Records: ping(2)})
	list(t, requests, func(_ map[uint64]capture.Row, m told) bool { return len(m.Rows) > 0 && m.Rows[0].ID == 4 })
}

func TestAWrongFilterToBeginWith(t *testing.T) {
	h := newHub(t, &wire{})
	v := view(t, h, "icpm", 0)
	if m := next(t, v); m.Type != "filter-error" || m.Position != 0 {
		t.Errorf("first comes %+v", m)
	}
	if m := next(t, v); m.Type != "start" || m.Filter != "" {
		t.Errorf("then comes %+v", m)
	}
}

func TestAPauseIsAGap(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	v, other := view(t, h, "", 0), view(t, h, "", 0)
	hold(t, h)
	next(t, v) // start
	v.Pause()
	if m := next(t, v); m.Type != "paused" {
		t.Fatalf("got %+v", m)
	}
	w.put(host.CaptureBatch{Records: ping(1)})
	list(t, other, count(2))
	v.Resume()
	w.put(host.CaptureBatch{Records: ping(2)})
	m := next(t, v)
	if m.Gap < 2 || len(m.Rows) == 0 || m.Rows[0].ID != 3 || m.Lost.Viewer != 0 {
		t.Errorf("after the pause comes %+v", m)
	}
}

// Who reads slowly loses the oldest of what waits, is told how much, and slows
// nobody else.
func TestASlowViewer(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	slow, fast := view(t, h, "", 0), view(t, h, "", 0)
	hold(t, h)
	next(t, slow) // start
	next(t, fast)
	const rounds = 12
	for i := range uint16(rounds) {
		w.put(host.CaptureBatch{Records: ping(i)})
		for done := false; !done; {
			for _, r := range next(t, fast).Rows {
				done = done || r.ID == 2*uint64(i)+2 && len(r.Sightings) == 2
			}
		}
	}
	seen, gap, missed := 0, 0, uint64(0)
	for gap+seen < 2*rounds {
		m := next(t, slow)
		seen += len(m.Rows)
		gap += m.Gap
		missed = m.Lost.Viewer
	}
	if gap == 0 || int(missed) != gap {
		t.Errorf("the slow viewer saw %d updates, was told of a gap of %d, and of %d lost", seen, gap, missed)
	}
}

// A viewer that comes back goes on where it was; one who missed too much, or has
// another filter, begins anew.
func TestComingBack(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	v := view(t, h, "icmp", 0)
	var seq uint64
	hold(t, h)
	w.put(host.CaptureBatch{Records: ping(1)})
	list(t, v, func(rows map[uint64]capture.Row, m told) bool { seq = m.Seq; return count(2)(rows, m) })
	v.Close()
	w.put(host.CaptureBatch{Records: ping(2)})
	again := view(t, h, "icmp", seq)
	if m := next(t, again); !m.Resumed {
		t.Fatalf("got %+v", m)
	}
	for id := range list(t, again, count(2)) {
		if id < 3 {
			t.Errorf("row %d comes a second time", id)
		}
	}
	for name, after := range map[string]uint64{"never was": seq + 1000, "is too long ago": 1} {
		if m := next(t, view(t, h, "icmp", after)); m.Type != "start" || m.Resumed {
			t.Errorf("a batch that %s: %+v", name, m)
		}
	}
	if m := next(t, view(t, h, "", seq)); m.Resumed {
		t.Errorf("another filter: %+v", m)
	}
}

// What is more than the list takes is left out by whole journeys, and counted.
func TestAFlood(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	v := view(t, h, "", 0)
	hold(t, h)
	const pings = 10_000
	var all []host.CaptureRecord
	for i := range uint16(pings) {
		all = append(all, ping(i)...)
	}
	w.put(host.CaptureBatch{Records: all})
	var lost capture.Lost
	rows := map[uint64]int{}
	for shown := 0; shown+int(lost.Hub) < len(all); {
		m := next(t, v)
		lost = m.Lost
		for _, r := range m.Rows {
			rows[r.ID] = len(r.Sightings)
		}
		shown = 0
		for _, n := range rows {
			shown += n
		}
	}
	if lost.Hub == 0 || lost.Hub == uint64(len(all)) || lost.Viewer != 0 {
		t.Errorf("of %d packets at once these are not shown: %+v", len(all), lost)
	}
	for id, n := range rows {
		if n != 2 {
			t.Errorf("row %d was let in, but has %d sightings", id, n)
		}
	}
}

func TestAnotherWorldBeginsTheListAnew(t *testing.T) {
	w, other := &wire{}, &wire{}
	h := newHub(t, w)
	v := view(t, h, "", 0)
	hold(t, h)
	w.put(host.CaptureBatch{Records: ping(1)})
	list(t, v, count(2))
	h.Use(nil)
	h.Use(other)
	list(t, v, func(_ map[uint64]capture.Row, m told) bool { return m.Type == "start" })
	hold(t, h)
	other.put(host.CaptureBatch{Records: ping(9)})
	if rows := list(t, v, count(2)); len(rows) != 2 {
		t.Errorf("the new list is %+v", rows)
	}
	if w.taps() != 0 {
		t.Error("the old world is still captured")
	}
}

func TestAWorldThatCantBeCaptured(t *testing.T) {
	h := newHub(t, &wire{err: errors.New("no")})
	v := view(t, h, "", 0)
	next(t, v) // start
	if m := next(t, v); m.Type != "ended" || m.Reason != "lost" {
		t.Errorf("got %+v", m)
	}
	if _, err := v.Next(t.Context()); err != io.EOF {
		t.Errorf("after the end comes %v", err)
	}
	if _, err := newHub(t, nil).View("", 0, here); !errors.Is(err, capture.ErrNoWorld) {
		t.Errorf("without a world: %v", err)
	}
}

// Who asks for rows needs no viewer to be told of them.
func TestRowsWithoutAViewer(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	hold(t, h)
	since := time.Now()
	w.put(host.CaptureBatch{Records: ping(1)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answered := func(seen []*journey.Journey) bool { return len(seen) == 2 && seen[0].AnsweredBy == seen[1].ID }
	rows := h.Rows(ctx, since, answered, func(seen []*journey.Journey) []*journey.Journey { return seen })
	if ctx.Err() != nil || len(rows) != 2 || rows[0].AnsweredBy != 2 {
		t.Errorf("%v: %+v", ctx.Err(), rows)
	}
}

// A packet that is not seen again is gone; not so surely, if the capture itself
// has lost packets since.
func TestWhatIsNotSeenAgain(t *testing.T) {
	for want, lost := range map[string]uint64{"gone": 0, "unsure": 3} {
		w := &wire{}
		h := newHub(t, w)
		v := view(t, h, "", 0)
		hold(t, h)
		w.put(host.CaptureBatch{Records: ping(1)[:1]})
		list(t, v, func(rows map[uint64]capture.Row, _ told) bool { return len(rows) == 1 })
		w.put(host.CaptureBatch{Kernel: lost})
		rows := list(t, v, func(rows map[uint64]capture.Row, _ told) bool {
			return rows[1].State != "" && rows[1].State != "in-flight"
		})
		if string(rows[1].State) != want {
			t.Errorf("with %d packets lost: %s, want %s", lost, rows[1].State, want)
		}
	}
}

// Checks ask what was seen since a step began.
func TestSightings(t *testing.T) {
	w := &wire{}
	h := newHub(t, w)
	v := view(t, h, "", 0)
	hold(t, h)
	w.put(host.CaptureBatch{Records: ping(1)})
	list(t, v, count(2))
	since := time.Now()
	w.put(host.CaptureBatch{Records: ping(2)})
	list(t, v, count(2))
	kinds := ""
	for _, s := range h.Sightings(since) {
		kinds += fmt.Sprintf("%s:%s:%v:%v ", s.Node, s.Kind, s.Out, s.Answered)
	}
	if want := "host1:echo-request:true:true host2:echo-request:false:true host2:echo-reply:true:false host1:echo-reply:false:false "; kinds != want {
		t.Errorf("got  %s\nwant %s", kinds, want)
	}
}

package host

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kabel/sandbox/topo"
)

// anyBatch draws a batch with interfaces from 1 to 3.
func anyBatch(t *rapid.T) (b CaptureBatch) {
	for range rapid.IntRange(0, 3).Draw(t, "interfaces") {
		b.Interfaces = append(b.Interfaces, CaptureInterface{ID: rapid.Uint32Range(1, 3).Draw(t, "id"), Node: "host1/kon", Link: "veth1", Hardware: HardwareEther})
	}
	for range rapid.IntRange(0, 600).Draw(t, "flows") {
		at := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), rapid.Uint16().Draw(t, "port"))
		b.Flows = append(b.Flows, Flow{Node: "r1", Protocol: 17, Original: Tuple{at, at}, Reply: Tuple{Src: at}, Gone: rapid.Bool().Draw(t, "gone")})
	}
	for range rapid.IntRange(0, 20).Draw(t, "records") {
		data := make([]byte, rapid.SampledFrom([]int{0, 1, 60, 256, MaxSnap}).Draw(t, "kept"))
		b.Records = append(b.Records, CaptureRecord{Interface: rapid.Uint32Range(1, 3).Draw(t, "interface"), Time: time.Unix(0, rapid.Int64().Draw(t, "time")),
			Out: rapid.Bool().Draw(t, "out"), Unfinished: rapid.Bool().Draw(t, "unfinished"), Length: len(data) + rapid.IntRange(0, 9).Draw(t, "more"), Data: data})
	}
	return b
}

// What is put into frames is what is read from them, in its order; no frame is
// larger than it may be.
func TestCaptureFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyBatch(t)
		want.Kernel, want.Host = rapid.Uint64().Draw(t, "kernel"), rapid.Uint64().Draw(t, "host")
		var got CaptureBatch
		w, left := newCaptureWriter(), want
		for first := true; first || len(left.Interfaces)+len(left.Flows)+len(left.Records) > 0; first = false {
			position, records := w.position, w.records
			frame := w.frame(&left)
			if len(frame) > captureFrame {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
			b, err := readBatch(frame)
			if err != nil {
				t.Fatal(err)
			}
			if b.position != position || b.records != records || w.position != position+uint64(len(frame)) || w.records != records+uint64(len(b.Records)) {
				t.Fatalf("a frame at %d after %d records says %d and %d", position, records, b.position, b.records)
			}
			if len(b.Records) > 0 && len(got.Interfaces)+len(b.Interfaces) < len(want.Interfaces) {
				t.Fatal("a packet comes before its interface")
			}
			got.Interfaces, got.Flows = append(got.Interfaces, b.Interfaces...), append(got.Flows, b.Flows...)
			got.Records = append(got.Records, b.Records...)
			got.Kernel, got.Host = b.Kernel, b.Host
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v is read as %+v", want, got)
		}
	})
}

func FuzzCaptureFrame(f *testing.F) {
	w := newCaptureWriter()
	f.Add(w.frame(&CaptureBatch{Interfaces: []CaptureInterface{{ID: 1, Node: "host1", Link: "eth0", Hardware: 1}},
		Records: []CaptureRecord{{Interface: 1, Length: 60, Data: make([]byte, 60)}, {Interface: 2, Out: true}}}))
	f.Add([]byte{frameEnd, '{', '}'})
	f.Fuzz(func(t *testing.T, frame []byte) {
		c := &remoteCapture{c: &Client{}, queue: NewCaptureQueue(), known: map[uint32]bool{}}
		c.receive(frame)
		c.lose(io.EOF)
		for {
			b, err := c.Next(t.Context())
			if err != nil {
				return
			}
			for _, r := range b.Records {
				if len(r.Data) > len(frame) {
					t.Errorf("%d bytes were read from %d", len(r.Data), len(frame))
				}
			}
		}
	})
}

// A queue is bounded; what it drops of packets is counted, and what explains the
// others stays.
func TestCaptureQueue(t *testing.T) {
	q := NewCaptureQueue()
	const batches, each = 100, 100
	for i := range uint32(batches) {
		b := CaptureBatch{Interfaces: []CaptureInterface{{ID: i}}, Flows: []Flow{{Protocol: uint8(i)}}, Kernel: 1}
		for range each {
			b.Records = append(b.Records, CaptureRecord{Interface: i, Data: make([]byte, 1000)})
		}
		q.Put(b)
	}
	if q.bytes > queueBytes {
		t.Errorf("%d bytes wait", q.bytes)
	}
	q.End()
	known, flows, got := map[uint32]bool{}, 0, uint64(0)
	for {
		b, err := q.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		for _, i := range b.Interfaces {
			known[i.ID] = true
		}
		for _, r := range b.Records {
			if !known[r.Interface] {
				t.Fatalf("interface %d was lost", r.Interface)
			}
		}
		flows += len(b.Flows)
		got += uint64(len(b.Records))
		if b.Kernel != batches || b.Host == 0 || b.Host%each != 0 {
			t.Fatalf("%d and %d packets were dropped", b.Kernel, b.Host)
		}
		if got+b.Host > batches*each {
			t.Fatalf("%d packets and %d dropped are more than there were", got, b.Host)
		}
	}
	if len(known) != batches || flows != batches || q.bytes != 0 {
		t.Errorf("%d interfaces and %d flows came, %d bytes are left", len(known), flows, q.bytes)
	}
	if got+q.host != batches*each {
		t.Errorf("%d packets came and %d were dropped of %d", got, q.host, batches*each)
	}
}

// newCapture is a capture over the wire, with the host's end of it.
func newCapture(t *testing.T, w World, s *server) (*remoteCapture, *servedCapture) {
	t.Helper()
	c, err := w.Capture(t.Context(), CaptureRequest{Snap: MaxSnap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	served := capturesOf(s)
	if len(served) != 1 {
		t.Fatalf("%d are served", len(served))
	}
	return c.(*remoteCapture), served[0]
}

func capturesOf(s *server) (all []*servedCapture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.captures {
		all = append(all, c)
	}
	return all
}

// pings makes n packets of some size on lo, each an echo and its reply.
func pings(t *testing.T, w World, n, size int) {
	t.Helper()
	p := topo.Probe{From: "host1", Kind: topo.ProbePing, To: "127.0.0.1", Count: 10, Size: size}
	for range n / 10 / 2 {
		if res, err := w.Probe(t.Context(), p); err != nil || !res.OK {
			t.Fatalf("%+v, %v", res, err)
		}
	}
}

// count reads until all packets have come or are counted as dropped.
func (t *remoteCapture) count(ctx context.Context, packets uint64) (got, dropped uint64, err error) {
	for got+dropped < packets {
		b, err := t.Next(ctx)
		if err != nil {
			return got, dropped, err
		}
		got += uint64(len(b.Records))
		dropped = b.Host
	}
	return got, dropped, nil
}

// A host sends a window ahead of a client that does not read, not more; what it
// drops then is counted to the last packet.
func TestCaptureStopsAtTheWindow(t *testing.T) {
	w, s, _, spy := newWire(t)
	var sent atomic.Int64
	if _, err := spy.Subscribe("kabel.capture.*.out", func(m *nats.Msg) { sent.Add(int64(len(m.Data))) }); err != nil {
		t.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	c, _ := newCapture(t, w, s)
	const packets = 400
	pings(t, w, packets, 50_000) // 20 MB
	soon(t, "the window is full", func() bool { return sent.Load() > captureWindow-captureFrame })
	if n := sent.Load(); n > captureWindow {
		t.Errorf("%d bytes are under way", n)
	}
	got, dropped, err := c.count(t.Context(), packets)
	if err != nil || got+dropped != packets || dropped == 0 || got == 0 {
		t.Errorf("%d packets came, %d were dropped of %d: %v", got, dropped, packets, err)
	}
	pings(t, w, packets, 100)
	if more, all, err := c.count(t.Context(), packets+dropped); err != nil || more != packets || all != dropped {
		t.Errorf("then %d came and %d were dropped: %v", more, all-dropped, err)
	}
}

// Frames that are lost on the way are counted, and what they had of interfaces
// comes again.
func TestCaptureFramesThatAreLost(t *testing.T) {
	w, s, _, _ := newWire(t)
	c, served := newCapture(t, w, s)
	var lose atomic.Bool
	lose.Store(true)
	publish := served.publish
	served.publish = func(frame []byte) error {
		if lose.Load() {
			return nil
		}
		return publish(frame)
	}
	const packets = 100
	pings(t, w, packets, 20_000)
	soon(t, "the window was lost", func() bool {
		served.mu.Lock()
		defer served.mu.Unlock()
		return served.sent > captureWindow/2
	})
	lose.Store(false)
	c.renew() // as it does from time to time
	got, dropped, err := c.count(t.Context(), packets)
	if err != nil || got+dropped != packets || dropped == 0 {
		t.Errorf("%d packets came, %d were dropped: %v", got, dropped, err)
	}
	pings(t, w, packets, 100)
	if more, all, err := c.count(t.Context(), packets+dropped); err != nil || more+all-dropped != packets || more == 0 {
		t.Errorf("then %d came and %d were dropped: %v", more, all-dropped, err)
	}
}

// A capture ends with its client: at once if that says so, else with its lease.
func TestCaptureEndsWithItsClient(t *testing.T) {
	for what, end := range map[string]func(c Capture, served *servedCapture, client *nats.Conn){
		"closes":  func(c Capture, _ *servedCapture, _ *nats.Conn) { c.Close() },
		"crashes": func(_ Capture, served *servedCapture, client *nats.Conn) { client.Close(); served.lease.Reset(0) },
	} {
		t.Run(what, func(t *testing.T) {
			w, s, client, _ := newWire(t)
			c, served := newCapture(t, w, s)
			end(c, served, client)
			soon(t, "it is forgotten", func() bool { return len(capturesOf(s)) == 0 })
			m := s.host.(*Model).worlds["w"]
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(m.captures) != 0 {
				t.Error("the world still has it")
			}
		})
	}
}

// A host that lets a capture go says so; if that is lost, its silence does.
func TestCaptureThatItsHostForgot(t *testing.T) {
	for what, forget := range map[string]func(c *remoteCapture, served *servedCapture){
		"said": func(_ *remoteCapture, served *servedCapture) { served.cancel() },
		"silent": func(c *remoteCapture, _ *servedCapture) {
			c.mu.Lock()
			c.heard = time.Time{}
			c.mu.Unlock()
			c.renew()
		},
	} {
		t.Run(what, func(t *testing.T) {
			w, s, _, _ := newWire(t)
			c, served := newCapture(t, w, s)
			forget(c, served)
			if _, _, err := c.count(t.Context(), 1); CodeOf(err) != CodeUnavailable {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

func TestTooManyCapturesAreRefused(t *testing.T) {
	w, _, _, _ := newWire(t)
	for range maxCaptures {
		c, err := w.Capture(t.Context(), CaptureRequest{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if _, err := w.Capture(t.Context(), CaptureRequest{}); CodeOf(err) != CodeLimit {
		t.Error(err)
	}
}

// What the Model's filters do is what the kernel's machine does.
func TestModelFilters(t *testing.T) {
	frame := ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", etherIPv4, []byte{0x45, 0, 0, 60, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80})
	keep, drop := Instruction{Op: bpfRET, K: 100}, Instruction{Op: bpfRET}
	when := func(load ...Instruction) filter { return append(load, keep, drop) }
	for what, tt := range map[string]struct {
		filter filter
		want   uint32
	}{
		"no filter":       {nil, MaxSnap},
		"ip":              {when(Instruction{Op: bpfLD | bpfH | bpfABS, K: 12}, Instruction{Op: bpfJMP | bpfJEQ, Jf: 1, K: 0x0800}), 100},
		"ip6":             {when(Instruction{Op: bpfLD | bpfH | bpfABS, K: 12}, Instruction{Op: bpfJMP | bpfJEQ, Jf: 1, K: 0x86dd}), 0},
		"a port":          {when(Instruction{Op: bpfLDX | bpfB | bpfMSH, K: 14}, Instruction{Op: bpfLD | bpfH | bpfIND, K: 16}, Instruction{Op: bpfJMP | bpfJEQ, Jf: 1, K: 80}), 100},
		"beyond its end":  {when(Instruction{Op: bpfLD | bpfW | bpfABS, K: 1000}), 0},
		"sent":            {when(Instruction{Op: bpfLD | bpfW | bpfABS, K: adBegin + adPacketType}, Instruction{Op: bpfJMP | bpfJEQ, Jf: 1, K: packetOutgoing}), 100},
		"on loopback":     {when(Instruction{Op: bpfLD | bpfW | bpfABS, K: adBegin + adHardware}, Instruction{Op: bpfJMP | bpfJEQ, Jf: 1, K: HardwareLoopback}), 0},
		"with arithmetic": {filter{{Op: bpfLD | bpfW | bpfLEN}, {Op: bpfST, K: 3}, {Op: bpfALU | bpfMul, K: 2}, {Op: bpfLDX | bpfMEM, K: 3}, {Op: bpfALU | bpfSub | bpfX}, {Op: bpfRET | bpfA}}, uint32(len(frame))},
	} {
		if !tt.filter.valid() {
			t.Errorf("%s is no program", what)
		}
		if got := tt.filter.run(seen{frame, HardwareEther, true}); got != tt.want {
			t.Errorf("%s keeps %d, want %d", what, got, tt.want)
		}
	}
}

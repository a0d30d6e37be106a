package contract

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// onlooker reads a capture.
type onlooker struct {
	t            *testing.T
	capture      host.Capture
	interfaces   map[uint32]host.CaptureInterface
	seen         []sight
	kernel, host uint64
}

// sight is one packet at one interface.
type sight struct {
	host.CaptureInterface
	host.CaptureRecord
}

func look(t *testing.T, w host.World, r host.CaptureRequest) *onlooker {
	t.Helper()
	c, err := w.Capture(t.Context(), r)
	if err != nil {
		t.Fatalf("capture: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the capture: %v", err)
		}
	})
	return &onlooker{t: t, capture: c, interfaces: map[uint32]host.CaptureInterface{}}
}

// next reads one batch.
func (o *onlooker) next(ctx context.Context) error {
	o.t.Helper()
	b, err := o.capture.Next(ctx)
	if err != nil {
		return err
	}
	for _, i := range b.Interfaces {
		if known, ok := o.interfaces[i.ID]; ok && (known.Node != i.Node || known.Link != i.Link) {
			o.t.Errorf("interface %d is %+v and was %+v", i.ID, i, known)
		}
		o.interfaces[i.ID] = i
	}
	for _, r := range b.Records {
		i, ok := o.interfaces[r.Interface]
		if !ok {
			o.t.Errorf("a packet of the unknown interface %d", r.Interface)
		}
		o.seen = append(o.seen, sight{i, r})
	}
	if b.Kernel < o.kernel || b.Host < o.host {
		o.t.Errorf("the counts of drops go back from %d and %d to %d and %d", o.kernel, o.host, b.Kernel, b.Host)
	}
	o.kernel, o.host = b.Kernel, b.Host
	return nil
}

// until reads until it has seen enough.
func (o *onlooker) until(what string, enough func() bool) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	for !enough() {
		if err := o.next(ctx); err != nil {
			o.t.Fatalf("waiting for %s: %v after %d packets", what, err, len(o.seen))
		}
	}
}

func (o *onlooker) sorted() []sight {
	sorted := slices.Clone(o.seen)
	slices.SortStableFunc(sorted, func(a, b sight) int { return a.Time.Compare(b.Time) })
	return sorted
}

// places tells where certain packets were seen, in the order of time.
func (o *onlooker) places(which func(sight) bool) (all []string) {
	for _, s := range o.sorted() {
		if which(s) {
			way := "in"
			if s.Out {
				way = "out"
			}
			all = append(all, fmt.Sprintf("%s:%s %s", s.Node, s.Link, way))
		}
	}
	return all
}

// is chooses the packets of a kind, as far as these tests must know.
func is(kind string) func(sight) bool { return func(s sight) bool { return s.kind() == kind } }

func (s sight) kind() string {
	b := s.Data
	if len(b) < 42 {
		return "short"
	}
	switch proto := binary.BigEndian.Uint16(b[12:]); {
	case proto == 0x0806:
		return map[byte]string{1: "arp request", 2: "arp reply"}[b[21]]
	case proto == 0x0800 && b[23] == 1:
		return map[byte]string{8: "echo", 0: "reply"}[b[34]]
	}
	return "other"
}

// nth chooses the packets of one attempt of a ping, as "echo 1" or "reply 2";
// they are told apart by the echo's id and number.
func (o *onlooker) nth(kind string) func(sight) bool {
	kind, n, _ := strings.Cut(kind, " ")
	var attempts []uint32
	for _, s := range o.sorted() {
		if s.kind() == "echo" && !slices.Contains(attempts, s.attempt()) {
			attempts = append(attempts, s.attempt())
		}
	}
	return func(s sight) bool {
		return s.kind() == kind && fmt.Sprint(slices.Index(attempts, s.attempt())+1) == n
	}
}

func (s sight) attempt() uint32 { return binary.BigEndian.Uint32(s.Data[38:]) }

func ping(t *testing.T, w host.World, from topo.NodeID, to string, count, size int) {
	t.Helper()
	res, err := w.Probe(t.Context(), topo.Probe{From: from, Kind: topo.ProbePing, To: to, Count: count, Size: size})
	if err != nil || !res.OK {
		t.Fatalf("ping %s: %+v, %v", to, res, err)
	}
}

func captureSees(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	began := time.Now()
	o := look(t, w, host.CaptureRequest{})
	ping(t, w, "host1", "10.0.0.20", 2, 0)
	there := []string{"host1:eth0 out", "sw:port1 in", "sw:port2 out", "host2:eth0 in"}
	back := []string{"host2:eth0 out", "sw:port2 in", "sw:port1 out", "host1:eth0 in"}
	for kind, want := range map[string][]string{"arp request": there, "arp reply": back, "echo 1": there, "reply 1": back, "echo 2": there, "reply 2": back} {
		onWay := func() []string {
			which := is(kind)
			if strings.HasPrefix(kind, "e") || strings.HasPrefix(kind, "r") {
				which = o.nth(kind)
			}
			return o.places(func(s sight) bool { return s.Link != "br0" && which(s) }) // a question comes to the bridge itself too
		}
		o.until("the "+kind, func() bool { return len(onWay()) >= len(want) })
		if got := onWay(); !slices.Equal(got, want) {
			t.Errorf("the %s was seen at %q, want %q", kind, got, want)
		}
	}
	for _, s := range o.seen {
		if s.Hardware != host.HardwareEther || s.Length < len(s.Data) || s.Time.Before(began.Add(-time.Minute)) || s.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s at %v with %d bytes of hardware %d", s.kind(), s.Time, s.Length, s.Hardware)
		}
		if s.kind() == "echo" && (s.Length != 98 || len(s.Data) != 98 || s.Data[22] != 64) {
			t.Errorf("an echo of %d bytes, %d kept, with the TTL %d", s.Length, len(s.Data), s.Data[22])
		}
	}
	if o.kernel != 0 || o.host != 0 {
		t.Errorf("%d and %d packets were dropped", o.kernel, o.host)
	}
}

func captureOneInterface(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	node, link := look(t, w, host.CaptureRequest{Node: "sw"}), look(t, w, host.CaptureRequest{Node: "sw", Link: "port2"})
	ping(t, w, "host1", "10.0.0.20", 1, 0)
	for o, want := range map[*onlooker][]string{node: {"sw:port1 in", "sw:port2 out"}, link: {"sw:port2 out"}} {
		o.until("the answer", func() bool { return len(o.places(is("reply"))) >= len(want) })
		if got := o.places(is("echo")); !slices.Equal(got, want) {
			t.Errorf("the echo was seen at %q, want %q", got, want)
		}
		for _, i := range o.interfaces {
			if i.Node != "sw" || o == link && i.Link != "port2" {
				t.Errorf("there is a packet of %+v", i)
			}
		}
	}
}

// ofType is a filter for one Ethernet type: ldh [12]; jeq; ret; ret.
func ofType(kind uint32) []host.Instruction {
	return []host.Instruction{{Op: 0x28, K: 12}, {Op: 0x15, Jf: 1, K: kind}, {Op: 6, K: 0x40000}, {Op: 6}}
}

func captureFilters(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	o := look(t, w, host.CaptureRequest{Filter: ofType(0x0800), Snap: 50})
	arp := look(t, w, host.CaptureRequest{Filter: ofType(0x0806), Retire: time.Millisecond})
	ping(t, w, "host1", "10.0.0.20", 1, 0)
	o.until("the answer", func() bool { return len(o.places(is("reply"))) == 4 })
	for _, s := range o.seen {
		if s.kind() == "echo" && (len(s.Data) != 50 || s.Length != 98) {
			t.Errorf("%d of %d bytes are kept", len(s.Data), s.Length)
		}
		if binary.BigEndian.Uint16(s.Data[12:]) != 0x0800 {
			t.Errorf("%x passed the filter", s.Data)
		}
	}
	arp.until("the answer", func() bool { return len(arp.places(is("arp reply"))) == 4 })
	for _, s := range arp.seen {
		if binary.BigEndian.Uint16(s.Data[12:]) != 0x0806 {
			t.Errorf("%x passed the filter", s.Data)
		}
	}
}

func captureRefused(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	long := slices.Repeat([]host.Instruction{{Op: 6, K: 1}}, host.MaxFilter+1)
	for what, r := range map[string]host.CaptureRequest{
		"no such machine":                  {Node: "host9"},
		"no such namespace":                {Node: "host1/nope"},
		"no name of a link":                {Link: "a b"},
		"less than nothing":                {Snap: -1},
		"more than there is":               {Snap: host.MaxSnap + 1},
		"too impatient":                    {Retire: time.Microsecond},
		"too patient":                      {Retire: time.Second},
		"a filter too long":                {Filter: long},
		"a filter with no verdict":         {Filter: []host.Instruction{{Op: 0x28, K: 12}}},
		"a filter that jumps over its end": {Filter: []host.Instruction{{Op: 0x15, Jt: 9}, {Op: 6}}},
	} {
		_, err := w.Capture(t.Context(), r)
		wantCode(t, what, err, host.CodeInvalid)
	}
	o := look(t, w, host.CaptureRequest{Filter: long[:host.MaxFilter]})
	ping(t, w, "host1", "10.0.0.20", 1, 0)
	o.until("a packet", func() bool { return len(o.seen) > 0 })
}

func captureFollows(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	o := look(t, w, host.CaptureRequest{})
	for range 2 {
		apply(t, w, kon...)
		ping(t, w, "host1", "172.16.0.1", 1, 0)
		o.until("the answer", func() bool { return len(o.places(is("reply"))) == 2 })
		if got, want := o.places(is("echo")), []string{"host1:veth1 out", "host1/kon:veth2 in"}; !slices.Equal(got, want) {
			t.Errorf("the echo was seen at %q, want %q", got, want)
		}
		apply(t, w, topo.Placed{Node: "host1", Op: topo.NetnsDel{Name: "kon"}})
		o.until("the end of veth2", func() bool {
			for _, i := range o.interfaces {
				if i.Link == "veth2" && i.Gone {
					delete(o.interfaces, i.ID)
					return true
				}
			}
			return false
		})
		// Its cable goes with it, and that nothing of it is kept shows here.
		deadline := time.Now().Add(patience)
		for now := snapshot(t, w); now.Node("host1").Link("veth1") != nil; now = snapshot(t, w) {
			if time.Now().After(deadline) {
				t.Fatal("veth1 stays")
			}
		}
		o.seen = nil
	}
}

func captureLoopback(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	o := look(t, w, host.CaptureRequest{})
	ping(t, w, "host1", "10.0.0.10", 2, 0)
	o.until("the answer", func() bool { return len(o.places(o.nth("reply 2"))) > 0 })
	for _, kind := range []string{"echo 1", "reply 1", "echo 2", "reply 2"} {
		if got, want := o.places(o.nth(kind)), []string{"host1:lo in"}; !slices.Equal(got, want) {
			t.Errorf("the %s was seen at %q, want %q", kind, got, want)
		}
	}
	for _, s := range o.seen {
		if s.Link == "lo" && s.Hardware != host.HardwareLoopback {
			t.Errorf("the hardware of lo is %d", s.Hardware)
		}
	}
}

func captureSlowReader(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	o := look(t, w, host.CaptureRequest{Snap: host.MaxSnap})
	for range 4 { // some 20 MB
		ping(t, w, "host1", "10.0.0.20", 10, 65507)
	}
	ping(t, w, "host1", "10.0.0.10", 1, 0)
	kept := 0
	o.until("the last packet", func() bool {
		for _, s := range o.seen {
			kept += len(s.Data)
		}
		last := slices.ContainsFunc(o.seen, func(s sight) bool { return s.Link == "lo" && s.kind() == "reply" })
		o.seen = nil
		return last
	})
	if o.host == 0 {
		t.Error("nothing was dropped, or nobody says so")
	}
	if kept > 15<<20 {
		t.Errorf("%d bytes were kept for a reader that did not read", kept)
	}
	ping(t, w, "host1", "10.0.0.20", 1, 0)
	o.until("a packet after that", func() bool { return len(o.places(is("reply"))) >= 4 })
}

func captureEnds(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	o := look(t, w, host.CaptureRequest{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for err := error(nil); !errors.Is(err, context.Canceled); err = o.next(ctx) {
		if errors.Is(err, io.EOF) {
			t.Fatal("it ends with the reader's patience")
		}
	}
	if err := o.capture.Close(); err != nil {
		t.Error(err)
	}
	o.ends("a capture that is closed")
	if err := o.capture.Close(); err != nil {
		t.Errorf("closing it again: %v", err)
	}

	o = look(t, w, host.CaptureRequest{})
	ping(t, w, "host1", "10.0.0.20", 1, 0)
	if err := w.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.ends("a capture of a world that is destroyed")
	if got := o.places(is("reply")); len(got) != 4 {
		t.Errorf("the last packet was seen at %q", got)
	}
	_, err := w.Capture(t.Context(), host.CaptureRequest{})
	wantCode(t, "a new one", err, host.CodeNotFound)
}

func (o *onlooker) ends(what string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	for {
		if err := o.next(ctx); err != nil {
			if !errors.Is(err, io.EOF) {
				o.t.Errorf("%s ends with %v", what, err)
			}
			return
		}
	}
}

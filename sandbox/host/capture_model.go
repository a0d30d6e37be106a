package host

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"kabel/sandbox/topo"
)

// modelCapture is a capture of the Model: it sees what probes send.
type modelCapture struct {
	*CaptureQueue
	world   *modelWorld
	request CaptureRequest
	known   map[*link]CaptureInterface
	last    uint32 // interface
}

func (w *modelWorld) Capture(_ context.Context, r CaptureRequest) (Capture, error) {
	r, err := r.Normal()
	if err != nil {
		return nil, err
	}
	if !filter(r.Filter).valid() {
		return nil, Errorf(CodeInvalid, "the filter is no program")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.alive(); err != nil {
		return nil, err
	}
	if r.Node != "" {
		if _, err := w.space(r.Node); err != nil {
			return nil, err
		}
	}
	c := &modelCapture{CaptureQueue: NewCaptureQueue(), world: w, request: r, known: map[*link]CaptureInterface{}}
	w.captures = append(w.captures, c)
	return c, nil
}

// Close implements Capture.
func (c *modelCapture) Close() error {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.world.captures = slices.DeleteFunc(c.world.captures, func(o *modelCapture) bool { return o == c })
	c.End()
	return nil
}

// tape is what a probe's packets look like at each interface that they cross.
// Without a tape nothing is noted.
type tape []glimpse

// glimpse is one packet of a probe at one interface; each gives its bytes.
type glimpse struct {
	*link
	out  bool
	once bool // not for each packet of the probe: the network has learned
	each func(seq uint16) []byte
}

func (t *tape) note(l *link, out bool, each func(uint16) []byte) {
	if t != nil {
		*t = append(*t, glimpse{l, out, false, each})
	}
}

func (t *tape) noteOnce(way []glimpse, each func(uint16) []byte) {
	for _, g := range way {
		if t != nil {
			*t = append(*t, glimpse{g.link, g.out, true, each})
		}
	}
}

// play shows a tape of count packets to the captures. The caller holds w.mu.
func (w *modelWorld) play(t tape, count int) {
	at := time.Now()
	for seq := range uint16(count) {
		for _, g := range t {
			if g.once && seq > 0 {
				continue
			}
			frame := g.each(seq + 1)
			for _, c := range w.captures {
				c.see(g, at, frame)
			}
			at = at.Add(time.Microsecond)
		}
	}
}

func (c *modelCapture) see(g glimpse, at time.Time, frame []byte) {
	if c.request.Node != "" && c.request.Node != g.in.id || c.request.Link != "" && c.request.Link != g.Name {
		return
	}
	kept := int(min(filter(c.request.Filter).run(seen{frame, g.hardware(), g.out}), uint32(c.request.Snap), uint32(len(frame))))
	if kept == 0 {
		return
	}
	var b CaptureBatch
	i, ok := c.known[g.link]
	if !ok || i.Node != g.in.id || i.Link != g.Name {
		c.last++
		i = CaptureInterface{ID: c.last, Node: g.in.id, Link: g.Name, Hardware: g.hardware()}
		c.known[g.link] = i
		b.Interfaces = []CaptureInterface{i}
	}
	b.Records = []CaptureRecord{{Interface: i.ID, Time: at, Out: g.out, Length: len(frame), Data: frame[:kept]}}
	c.Put(b)
}

// look tells of interfaces that are gone. The caller holds world.mu.
func (c *modelCapture) look() {
	for l, i := range c.known {
		if !slices.Contains(c.world.net.spaces, l.in) || !slices.Contains(l.in.links, l) {
			delete(c.known, l)
			i.Gone = true
			c.Put(CaptureBatch{Interfaces: []CaptureInterface{i}})
		}
	}
}

func (l *link) hardware() uint16 {
	switch l.Kind {
	case "loopback":
		return HardwareLoopback
	case "tun":
		return HardwareNone
	}
	return HardwareEther
}

// trail is the way that a question for an address takes.
type trail struct {
	way     []glimpse // to who answers
	flooded []glimpse // everywhere
	// filtered tells that iptables drops what is bridged on the way.
	filtered bool
}

func (t *trail) pass(l *link, out bool) {
	g := glimpse{link: l, out: out}
	t.way, t.flooded = append(t.way, g), append(t.flooded, g)
}

// back is the way of the answer.
func (t *trail) back() []glimpse {
	back := slices.Clone(t.way)
	slices.Reverse(back)
	for i := range back {
		back[i].out = !back[i].out
	}
	return back
}

// The Ethernet types of what the Model sends.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

func ethernet(dst, src string, kind uint16, payload []byte) []byte {
	f := make([]byte, 0, 14+len(payload))
	for _, mac := range []string{dst, src} {
		hw, err := net.ParseMAC(mac)
		if err != nil || len(hw) != 6 {
			hw = make([]byte, 6)
		}
		f = append(f, hw...)
	}
	return append(binary.BigEndian.AppendUint16(f, kind), payload...)
}

func etherType(ip netip.Addr) uint16 {
	if ip.Is6() {
		return etherIPv6
	}
	return etherIPv4
}

// ask notes the question for an address and its answer, if there is one.
func (t *trail) ask(tape *tape, out *link, asker netip.Addr, next netip.Addr, in *link) {
	if !asker.Is4() || !next.Is4() {
		return // neighbour discovery is not modelled
	}
	const broadcast, nobody = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
	arp := func(op byte, fromMAC string, from netip.Addr, toMAC string, to netip.Addr) []byte {
		b := []byte{0, 1, 8, 0, 6, 4, 0, op}
		b = append(append(b, ethernet(fromMAC, "", 0, nil)[:6]...), from.AsSlice()...)
		return append(append(b, ethernet(toMAC, "", 0, nil)[:6]...), to.AsSlice()...)
	}
	outMAC := out.MAC
	tape.noteOnce(t.flooded, func(uint16) []byte {
		return ethernet(broadcast, outMAC, etherARP, arp(1, outMAC, asker, nobody, next))
	})
	if in != nil {
		inMAC := in.MAC
		tape.noteOnce(t.back(), func(uint16) []byte {
			return ethernet(outMAC, inMAC, etherARP, arp(2, inMAC, next, outMAC, asker))
		})
	}
}

// carry notes the packet on its way from out to in.
func (t *trail) carry(tape *tape, out, in *link, pk packet) {
	kind, src, dst := etherType(pk.dst), out.MAC, in.MAC
	for _, g := range t.way {
		tape.note(g.link, g.out, func(seq uint16) []byte { return ethernet(dst, src, kind, pk.bytes(seq)) })
		if t.filtered && !g.out && g.master != nil {
			return
		}
	}
}

// exchange is what a probe asks and how it is answered.
type exchange struct {
	kind    topo.ProbeKind
	port    uint16
	refused bool // nobody listens there
}

// The protocol numbers and ICMP types of what the Model sends.
const (
	protoICMP, protoTCP, protoUDP, protoICMPv6 = 1, 6, 17, 58

	icmpReply, icmpUnreachable, icmpEcho, icmpExceeded = 0, 3, 8, 11
	icmp6Unreachable, icmp6Echo, icmp6Reply            = 1, 128, 129
)

// probeID is the id of the Model's echos, probePort where it asks from.
const (
	probeID   = 0x4b61
	probePort = 40961
)

// bytes is the packet from its IP header on.
func (pk packet) bytes(seq uint16) []byte {
	proto, payload := pk.payload(seq)
	src, dst := pk.src, pk.dst
	if dst.Is6() {
		if proto == protoICMP {
			proto = protoICMPv6
		}
		b := []byte{6 << 4, 0, 0, 0}
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
		b = append(append(append(b, proto, pk.ttl), src.AsSlice()...), dst.AsSlice()...)
		return append(b, finished(proto, src, dst, payload)...)
	}
	b := []byte{4<<4 | 5, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = binary.BigEndian.AppendUint16(b, seq<<2|uint16(proto)&3) // an id of its own
	flags := uint16(0)
	if pk.whole {
		flags = 1 << 14
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, pk.ttl, proto, 0, 0)
	b = append(append(b, source4(src)...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, finished(proto, src, dst, payload)...)
}

func source4(a netip.Addr) []byte {
	if !a.Is4() {
		return make([]byte, 4)
	}
	return a.AsSlice()
}

// payload is what the IP header is followed by; its checksum is still to come.
func (pk packet) payload(seq uint16) (proto uint8, b []byte) {
	head := func(b ...byte) []byte { return b }
	words := func(b []byte, words ...uint16) []byte {
		for _, w := range words {
			b = binary.BigEndian.AppendUint16(b, w)
		}
		return b
	}
	x := pk.about
	if x == nil {
		x = &exchange{kind: topo.ProbePing}
	}
	reply := pk.kind == "reply"
	switch {
	case pk.kind == "udp": // a tunnel
		inner := pk.inner(seq)
		b = words(nil, pk.srcPort, pk.dstPort, uint16(8+len(inner)), 0)
		return protoUDP, append(b, inner...)
	case pk.kind == "error" || reply && x.refused && x.isUDP():
		kind, code := byte(icmpUnreachable), pk.code
		switch {
		case pk.dst.Is6():
			kind = icmp6Unreachable
		case pk.expired:
			kind, code = icmpExceeded, 0
		case reply:
			code = 3
		}
		original := []byte{}
		if pk.inner != nil {
			original = pk.inner(seq)
		}
		return protoICMP, append(head(kind, code, 0, 0, 0, 0, 0, 0), original[:min(len(original), 28)]...)
	case x.kind == topo.ProbePing || x.kind == topo.ProbeTraceroute:
		kind := byte(icmpEcho)
		switch {
		case pk.dst.Is6() && reply:
			kind = icmp6Reply
		case pk.dst.Is6():
			kind = icmp6Echo
		case reply:
			kind = icmpReply
		}
		b = words(head(kind, 0, 0, 0), probeID, seq)
		for i := range max(0, pk.size-28) {
			b = append(b, byte(i))
		}
		return protoICMP, b
	case x.isUDP():
		if reply {
			return protoUDP, words(nil, x.port, probePort+seq, 8, 0)
		}
		return protoUDP, words(nil, probePort+seq, x.port, 8, 0)
	}
	const syn, ack, reset = 2, 16, 4
	if !reply {
		return protoTCP, words(nil, probePort+seq, x.port, 0, 1, 0, 0, 5<<12|syn, 64240, 0, 0)
	}
	flags := uint16(syn | ack)
	if x.refused {
		flags = reset | ack
	}
	return protoTCP, words(nil, x.port, probePort+seq, 0, 1, 0, 2, 5<<12|flags, 64240, 0, 0)
}

func (x *exchange) isUDP() bool { return x.kind == topo.ProbeUDP || x.kind == topo.ProbeDNS }

// finished puts the checksum into a payload.
func finished(proto uint8, src, dst netip.Addr, b []byte) []byte {
	at := map[uint8]int{protoICMP: 2, protoICMPv6: 2, protoTCP: 16, protoUDP: 6}[proto]
	covered := b
	if proto != protoICMP {
		head := append(src.AsSlice(), dst.AsSlice()...)
		head = binary.BigEndian.AppendUint32(head, uint32(len(b)))
		head = append(head, 0, 0, 0, proto)
		covered = append(head, b...)
	}
	binary.BigEndian.PutUint16(b[at:], checksum(covered))
	return b
}

// checksum is the Internet's, RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

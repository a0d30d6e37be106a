package journey

import (
	"encoding/binary"
	"net/netip"
	"time"

	"kabel/sandbox/topo"
	"kabel/server/packet"
)

// Frames are built by hand, header by header: eth(a, b, ip4(…, udp(…))).

type mac [6]byte

func macOf(n byte) mac { return mac{2, 0, 0, 0, 0, n} }

var everyone = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func be16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func bytesOf(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func eth(src, dst mac, kind int, payload []byte) []byte {
	return bytesOf(dst[:], src[:], be16(kind), payload)
}

func vlan(id, kind int, payload []byte) []byte { return bytesOf(be16(id), be16(kind), payload) }

// ip is the header of either version, as the addresses are.
type ip struct {
	src, dst netip.Addr
	protocol byte
	ttl      byte
	id       uint16
	df, more bool
	offset   int
}

func (h ip) kind() int {
	if h.src.Is4() {
		return etherIPv4
	}
	return etherIPv6
}

func (h ip) wrap(payload []byte) []byte {
	if h.src.Is6() {
		return bytesOf([]byte{0x60, 0, 0, 0}, be16(len(payload)), []byte{h.protocol, h.ttl}, h.src.AsSlice(), h.dst.AsSlice(), payload)
	}
	bits := h.offset / 8
	if h.df {
		bits |= 0x4000
	}
	if h.more {
		bits |= 0x2000
	}
	return bytesOf([]byte{0x45, 0}, be16(20+len(payload)), be16(int(h.id)), be16(bits), []byte{h.ttl, h.protocol, 0, 0}, h.src.AsSlice(), h.dst.AsSlice(), payload)
}

func icmp(kind, code byte, id, seq int, payload []byte) []byte {
	return bytesOf([]byte{kind, code, 0, 0}, be16(id), be16(seq), payload)
}

func udp(src, dst int, payload []byte) []byte {
	return bytesOf(be16(src), be16(dst), be16(8+len(payload)), []byte{0, 0}, payload)
}

func tcp(src, dst int, seq, ack uint32, flags byte, payload []byte) []byte {
	b := bytesOf(be16(src), be16(dst))
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	return bytesOf(b, []byte{0x50, flags}, be16(64240), []byte{0, 0, 0, 0}, payload)
}

func arp(op int, srcMAC mac, src netip.Addr, dstMAC mac, dst netip.Addr) []byte {
	return bytesOf([]byte{0, 1, 8, 0, 6, 4}, be16(op), srcMAC[:], src.AsSlice(), dstMAC[:], dst.AsSlice())
}

func vxlan(vni int, frame []byte) []byte {
	return bytesOf([]byte{8, 0, 0, 0, byte(vni >> 16), byte(vni >> 8), byte(vni), 0}, frame)
}

func geneve(vni int, options, frame []byte) []byte {
	return bytesOf([]byte{byte(len(options) / 4), 0}, be16(etherBridge), []byte{byte(vni >> 16), byte(vni >> 8), byte(vni), 0}, options, frame)
}

func gre(kind int, payload []byte) []byte { return bytesOf([]byte{0, 0}, be16(kind), payload) }

// ndp is a solicitation or advertisement for target.
func ndp(kind byte, target netip.Addr) []byte {
	return bytesOf([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice())
}

var epoch = time.Unix(1_700_000_000, 0)

// stage is a network for tests: its cables and addresses, and a Tracker that sees
// what one puts on them.
type stage struct {
	*Tracker
	cables map[string]string // "node/link" both ways
	owners map[netip.Addr][]topo.NodeID
	no     uint64
	now    time.Time
}

func newStage(cables map[string]string, owners map[string][]string) *stage {
	s := &stage{cables: map[string]string{}, owners: map[netip.Addr][]topo.NodeID{}, now: epoch}
	for a, b := range cables {
		s.cables[a], s.cables[b] = b, a
	}
	for node, addrs := range owners {
		for _, a := range addrs {
			s.owners[addr(a)] = append(s.owners[addr(a)], topo.NodeID(node))
		}
	}
	s.Tracker = New(Options{Local: s.local, Peer: s.peerOf})
	return s
}

func (s *stage) local(n topo.NodeID, a netip.Addr) bool {
	for _, o := range s.owners[a] {
		if o == n {
			return true
		}
	}
	return false
}

func (s *stage) peerOf(i packet.Interface) (packet.Interface, bool) {
	p, ok := s.cables[string(i.Node)+"/"+i.Link]
	if !ok {
		return packet.Interface{}, false
	}
	return placeAt(p), true
}

// placeAt reads "node/link"; a link that begins with tun has no Ethernet.
func placeAt(name string) packet.Interface {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			p := packet.Interface{Node: topo.NodeID(name[:i]), Link: name[i+1:], Hardware: packet.HardwareEther}
			switch {
			case p.Link == "lo":
				p.Hardware = packet.HardwareLoopback
			case len(p.Link) > 3 && p.Link[:3] == "tun":
				p.Hardware = packet.HardwareNone
			}
			return p
		}
	}
	panic("no link in " + name)
}

// frame is what "node/link" saw: ">" before it where it was sent.
func (s *stage) frame(at string, data []byte) *packet.Frame {
	out := at[0] == '>'
	if out {
		at = at[1:]
	}
	s.no++
	return &packet.Frame{No: s.no, Interface: placeAt(at), Out: out, Time: s.now, Length: len(data), Data: data}
}

// see adds a frame 10 µs after the one before.
func (s *stage) see(at string, data []byte) *Journey {
	s.now = s.now.Add(10 * time.Microsecond)
	j, _ := s.Add(s.frame(at, data))
	return j
}

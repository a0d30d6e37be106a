package journey

import (
	"encoding/binary"
	"math/bits"

	"kabel/server/packet"
)

// look is what the tracker reads in the frame at hand.
type look struct {
	frame *packet.Frame
	stack []Header
	inner int // of the innermost packet in stack, or -1
	// plain is set where no tunnel is around the innermost packet.
	plain bool
	place *place
	at    int64
	ttl   int16
	// fragment is the offset of the part of a datagram that this is.
	fragment uint16
	kind     kind
	tuple    tuple
	sum      uint64 // of tuple
	sig      uint64
	// weak is set for a packet that another may well be like.
	weak  bool
	ident uint64
	// answers is what ties a question to its answer beside the conversation: a
	// sequence number, the id of a DNS message, …
	answers uint64
	// parts is set where the fragments of a datagram belong to the same journey:
	// what they are known by.
	parts    bool
	partsOf  tuple
	partsSig uint64
}

// tuple is one direction of a conversation. Those of ICMP have the id of the
// echo in both ports, so that all are reversed alike.
type tuple struct {
	src, dst         [16]byte
	srcPort, dstPort uint16
	protocol         uint8
}

// In place of IP protocols (those numbers are for experiments, RFC 3692).
const (
	tupleARP  = 253
	tupleNone = 254
)

func (t tuple) reverse() tuple {
	return tuple{src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort, protocol: t.protocol}
}

// portless is the tuple of a fragment, of which all but the first have no ports.
func (t tuple) portless() tuple {
	t.srcPort, t.dstPort = 0, 0
	return t
}

// canonical is the same for both directions; turned says which of them t is.
func (t tuple) canonical() (c tuple, turned bool) {
	for i := 0; i < 16; i += 8 {
		s, d := binary.BigEndian.Uint64(t.src[i:]), binary.BigEndian.Uint64(t.dst[i:])
		if s != d {
			if s > d {
				return t.reverse(), true
			}
			return t, false
		}
	}
	if t.srcPort > t.dstPort {
		return t.reverse(), true
	}
	return t, false
}

func (t *tuple) sum(seed uint64) uint64 {
	h := mix(seed, binary.LittleEndian.Uint64(t.src[:]))
	h = mix(h, binary.LittleEndian.Uint64(t.src[8:]))
	h = mix(h, binary.LittleEndian.Uint64(t.dst[:]))
	h = mix(h, binary.LittleEndian.Uint64(t.dst[8:]))
	return mix(h, uint64(t.srcPort)<<32|uint64(t.dstPort)<<8|uint64(t.protocol))
}

// mix folds v into the hash h: a multiplication to 128 bits whose halves are
// joined, as wyhash does.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^0xa0761d6478bd642f, v^0xe7037ed1a0b428db)
	return hi ^ lo ^ h
}

func mixBytes(h uint64, b []byte) uint64 {
	for len(b) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	if len(b) > 0 {
		var rest [8]byte
		copy(rest[:], b)
		h = mix(h, binary.LittleEndian.Uint64(rest[:])+uint64(len(b))<<56)
	}
	return h
}

const (
	// hashedPayload is how many bytes of payload the signature has: the snap
	// length bites deeper inside a tunnel.
	hashedPayload = 64
	// tellingPayload is how many bytes of payload make a packet unlike another.
	tellingPayload = 8
	// leastMTU is the smallest datagram that a router has to pass on whole: no
	// shorter one is taken for one that may be cut. Source: RFC 791.
	leastMTU = 576
)

// read takes the frame in hand. It doesn't touch what the tracker remembers.
func (l *look) read(f *packet.Frame, seed uint64, quoted *[]Header) {
	stack := Peel(l.stack[:0], f)
	*l = look{frame: f, stack: stack, inner: innermost(stack), at: f.Time.UnixNano(), ttl: noTTL, plain: true}
	if l.inner < 0 {
		l.weak = true
		l.tuple.protocol = tupleNone
		l.sig = mixBytes(mix(seed, uint64(f.Length)), f.Data[:min(len(f.Data), hashedPayload)])
		return
	}
	h, last := &stack[l.inner], &stack[len(stack)-1]
	if out := outermostIP(stack); out >= 0 && out < l.inner {
		l.plain = false
		for i := out; i < l.inner; i++ {
			if stack[i].isFragment() {
				l.parts, l.partsOf, l.partsSig = true, tupleOf(stack[:i+1], i).portless(), partsSig(seed, &stack[i])
				break
			}
		}
	}
	switch h.Protocol {
	case ARP:
		l.weak = true
		l.tuple = tuple{src: h.src, dst: h.dst, protocol: tupleARP}
		l.sig = mixBytes(mixBytes(mix(seed, uint64(h.Type)), h.SrcMAC[:]), h.DstMAC[:])
		switch h.Type {
		case 1:
			l.kind = kindARPRequest
		case 2:
			l.kind = kindARPReply
		}
		return
	case Ethernet:
		l.weak = true
		l.tuple.protocol = tupleNone
		l.sig = mixBytes(mixBytes(mix(seed, uint64(last.Next)), h.SrcMAC[:]), h.DstMAC[:])
		l.sig = mixBytes(l.sig, payload(f.Data, last))
		return
	}
	l.ttl = int16(h.TTL)
	l.tuple = tupleOf(stack, l.inner)
	if h.isFragment() {
		l.fragment = h.Fragment
		l.tuple = l.tuple.portless()
		l.sig = partsSig(seed, h)
		l.ident = identOf(seed, stack, l.inner)
		return
	}
	if h.Protocol == IPv4 && h.Flags&FlagDF == 0 && h.ID != 0 && h.Length > leastMTU-20 && !l.parts {
		l.parts, l.partsOf, l.partsSig = true, l.tuple.portless(), partsSig(seed, h)
	}
	l.ident = identOf(seed, stack, l.inner)
	sig := mix(l.ident, uint64(last.Length))
	switch last.Protocol {
	case ICMP, ICMPv6:
		sig = mix(sig, uint64(last.Type)<<8|uint64(last.Code))
		l.readICMP(last)
		if last.quotes() {
			// NAT changes the quoted packet too: it counts by its conversation.
			*quoted = peel((*quoted)[:0], f.Data, int(last.Payload), int(last.Length), layerIP)
			if q := innermost(*quoted); q >= 0 && (*quoted)[q].isIP() {
				l.kind = kindError
				l.tuple = tupleOf(*quoted, q)
				if (*quoted)[q].isFragment() {
					l.tuple = l.tuple.portless()
				}
				l.answers = identOf(seed, *quoted, q)
				l.sig = mix(sig, l.answers)
				return
			}
		}
	case TCP:
		sig = mix(sig, uint64(last.Ack)<<32|uint64(last.Flags)<<16|uint64(last.Window))
		l.kind = kindTCP
	case UDP:
		l.readUDP(last)
	}
	p := payload(f.Data, last)
	l.sig = mixBytes(sig, p)
	l.weak = (h.Protocol == IPv6 || h.ID == 0) && last.Protocol != TCP && len(p) < tellingPayload || last.isDiscovery()
}

func (l *look) readICMP(last *Header) {
	switch {
	case last.Protocol == ICMP && last.Type == icmpEcho, last.Protocol == ICMPv6 && last.Type == icmp6Echo:
		l.kind, l.answers = kindEcho, uint64(last.Seq)
	case last.Protocol == ICMP && last.Type == icmpEchoReply, last.Protocol == ICMPv6 && last.Type == icmp6EchoReply:
		l.kind, l.answers = kindEchoReply, uint64(last.Seq)
	case last.isDiscovery():
		if target := payload(l.frame.Data, last); len(target) >= 16 {
			l.kind, l.answers = kindSolicitation, mixBytes(1, target[:16])
			if last.Type == icmp6Advertisement {
				l.kind = kindAdvertisement
			}
		}
	}
}

func (l *look) readUDP(last *Header) {
	switch {
	case last.Type == 1:
		l.kind, l.answers = kindDNSQuery, uint64(last.ID)
	case last.Type == 2:
		l.kind, l.answers = kindDNSAnswer, uint64(last.ID)
	case last.DstPort == portDHCPServer || last.DstPort == portDHCPClient:
		if b := payload(l.frame.Data, last); len(b) >= 8 { // op, …, xid. Source: RFC 2131
			l.kind, l.answers = kindDHCPRequest, uint64(binary.BigEndian.Uint32(b[4:]))
			if b[0] == 2 {
				l.kind = kindDHCPReply
			}
		}
	default:
		l.kind = kindUDP
	}
}

// payload is what the signature hashes of the bytes after h.
func payload(data []byte, h *Header) []byte {
	b := data[min(int(h.Payload), len(data)):]
	return b[:max(0, min(len(b), int(h.Length), hashedPayload))]
}

// tupleOf is the conversation of the packet that begins at stack[inner].
func tupleOf(stack []Header, inner int) tuple {
	h, last := &stack[inner], &stack[len(stack)-1]
	t := tuple{src: h.src, dst: h.dst, protocol: uint8(h.Next)}
	switch {
	case last.Protocol == TCP || last.Protocol == UDP:
		t.srcPort, t.dstPort = last.SrcPort, last.DstPort
	case last.hasEchoID():
		t.srcPort, t.dstPort = uint16(last.ID), uint16(last.ID)
	}
	return t
}

// identOf hashes what an ICMP error quotes of a packet and NAT leaves alone.
func identOf(seed uint64, stack []Header, inner int) uint64 {
	h, last := &stack[inner], &stack[len(stack)-1]
	v := uint64(h.Next) << 16
	if h.Protocol == IPv4 {
		v |= uint64(h.ID)
	}
	return mix(seed, v|uint64(last.Seq)<<32)
}

// partsSig is the signature of all fragments of one datagram.
func partsSig(seed uint64, h *Header) uint64 {
	return mix(seed+1, uint64(h.ID)<<16|uint64(h.Next))
}

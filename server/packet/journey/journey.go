// Package journey follows one packet across all the interfaces that saw it, as
// the frames stream in, and in bounded memory.
//
// # How a packet is known again
//
// Each frame is peeled to its innermost packet: through VLAN tags, VXLAN,
// GENEVE, GRE, IP in IP, and IP in UDP as socat's tunnels make it. That packet
// has a signature of what no hop changes: protocol, length, IP identification,
// ICMP type and sequence number or TCP sequence numbers, flags and window, and a
// hash of the first 64 bytes of payload. Addresses and ports aren't in it, since
// NAT changes them: they must be the same, or conntrack must have told (Flow)
// that they are two faces of one conversation. It may tell late: journeys that
// turn out to be one are joined then (Journey.Into).
//
// Among the journeys that a frame fits, one that the topology leads to (its
// interface's cable, its node) is preferred to one that it doesn't, then the
// oldest: links deliver first in, first out. A journey has at most one sighting
// of an interface, a direction and a TTL, since a second one is a second packet,
// as a retransmission is; the TTL never rises along a journey; and what was seen
// more than a window (4 s) ago has ended. Frames of one interface come in order,
// those of different namespaces needn't: a ring hands them over in batches.
//
// ARP, neighbour discovery, and other packets that are easily alike (no IP
// identification, hardly any payload) are held apart where the topology doesn't
// lead from one to the other, and joined when the hop between them is seen. A
// flood is one journey with several branches, and so are the fragments of one
// datagram, those that a router or a tunnel makes on the way included.
//
// # What a journey is
//
// It is delivered when a node that owns the innermost destination received it
// unwrapped, unless conntrack says that the node sends it on to another: what a
// firewall or an absent listener does to it after that is another matter. An ARP request or neighbour solicitation is delivered to the
// owner of the address asked for, anything else to many when anyone received it.
// It is answered when the answer was seen anywhere: the echo reply, the ARP reply
// or advertisement, the SYN/ACK or reset, the acknowledgement of data, the DNS or
// DHCP message of the same id, or the datagram back of an UDP conversation. An
// ICMP error is a journey of its own that Answers the one it quotes; that one's
// AnsweredBy then names the error, but its state is what it was: an error is why
// a packet is gone, no answer to it. When the window is over it is gone, unless
// it was delivered.
//
// # What can't be matched
//
// A packet that isn't one any more: bulk TCP that the kernel carries in big
// segments (GSO) and cuts before a TUN device, until the offloads are off and the
// MTU fits; what a proxy passes on; IPv6 translated to IPv4; a translation that
// conntrack hasn't told of. Packets that are alike in everything and overlap in
// time are told apart by order only, so a loss among them may be shown at the
// wrong one. Answers later than a window aren't seen as such. Fewer than about
// 192 captured bytes make the payload's hash differ inside a tunnel.
package journey

import (
	"time"

	"kabel/sandbox/topo"
	"kabel/server/packet"
)

// State is how far a packet has come.
type State string

// The states, each reached from those above it.
const (
	InFlight  State = "in-flight"
	Gone      State = "gone"
	Delivered State = "delivered"
	Answered  State = "answered"
)

// Journey is one packet with all its sightings. It belongs to the goroutine of
// its Tracker, which changes it until it has closed it.
type Journey struct {
	// ID counts up from 1 within one Tracker.
	ID      uint64
	Started time.Time
	State   State
	// Answers is the journey that this one answers, or whose packet it quotes;
	// AnsweredBy is the other direction.
	Answers, AnsweredBy uint64
	// Into is set when this journey has turned out to be part of an earlier one,
	// which has all its sightings now.
	Into uint64
	// Sightings in causal order, which is that of time.
	Sightings []Sighting

	closed       bool
	changed      bool     // is in Tracker.changed
	older, newer *Journey // in the order in which they were seen last
	active       int64    // the Tracker's clock at the last sighting
	kind         kind
	ident        uint64 // what an ICMP error quotes of it
	first        entry
	more         []*entry

	answers  uint64 // what its answer has in common with it
	end      uint32 // TCP: the sequence number that acknowledges it
	waiting  waiting
	promised uint64   // the key in Tracker.early
	question *Journey // that this one answers
	answer   *Journey // to this one
}

// Sighting is one packet as one interface saw it.
type Sighting struct {
	No        uint64 // that of the frame
	Interface packet.Interface
	Out       bool
	Time      time.Time
	Length    int
	// Stack has the headers, outermost first. It is shared, not to be changed.
	Stack []Header
	// After is the No of the sighting before on its path, 0 where the path
	// begins.
	After uint64
	// Changes are what differs from that sighting.
	Changes []Change

	place    *place
	at       int64 // Time in ns
	tuple    uint64
	fragment uint16
	ttl      int16 // of the innermost packet, noTTL where it has none
}

// noTTL stands for the TTL of what isn't IP.
const noTTL = -1

// hop says that two sightings are the same part of a packet at the same point
// of its way.
func (s *Sighting) hop(o *Sighting) bool {
	return s.place == o.place && s.Out == o.Out && s.ttl == o.ttl && s.fragment == o.fragment
}

// Change is one difference between two sightings in words that can be shown.
// Field is src-mac, dst-mac, ttl, src, dst, src-port, dst-port, icmp-id, vlan,
// fragment, encapsulated, decapsulated; those of a tunnel's own headers begin
// with outer-.
type Change struct {
	Field, From, To string
}

// kind is what a packet is, as far as answers go.
type kind uint8

const (
	kindOther kind = iota
	kindARPRequest
	kindARPReply
	kindEcho
	kindEchoReply
	kindSolicitation
	kindAdvertisement
	kindError
	kindTCP
	kindDNSQuery
	kindDNSAnswer
	kindDHCPRequest
	kindDHCPReply
	kindUDP
)

// innermost is where in stack the innermost packet begins: its ARP or IP header,
// or the Ethernet header of what is neither; -1 if there is nothing.
func innermost(stack []Header) int {
	for i := len(stack) - 1; i >= 0; i-- {
		switch stack[i].Protocol {
		case ARP, IPv4, IPv6, Ethernet:
			return i
		}
	}
	return -1
}

// outermostIP is the first IP header of stack, or -1.
func outermostIP(stack []Header) int {
	for i := range stack {
		if stack[i].isIP() {
			return i
		}
	}
	return -1
}

// Facts tells the sighting s of j in the words that a lab asks with.
func (j *Journey) Facts(s *Sighting) topo.Sighting {
	f := topo.Sighting{Journey: j.ID, Node: s.Interface.Node, Link: s.Interface.Link, Out: s.Out, Length: s.Length,
		Kind: "other", Answered: j.State == Answered, Protocols: make([]string, len(s.Stack))}
	for i := range s.Stack {
		f.Protocols[i] = s.Stack[i].Protocol.String()
	}
	at := innermost(s.Stack)
	if at < 0 {
		return f
	}
	h, last := &s.Stack[at], &s.Stack[len(s.Stack)-1]
	f.Src, f.Dst, f.TTL = h.Src(), h.Dst(), h.TTL
	f.SrcPort, f.DstPort = last.SrcPort, last.DstPort
	f.Kind = last.word()
	if out := outermostIP(s.Stack); out >= 0 && out < at {
		o := &s.Stack[out]
		f.OuterSrc, f.OuterDst, f.OuterTTL = o.Src(), o.Dst(), o.TTL
		if udp := &s.Stack[out+1]; udp.Protocol == UDP {
			f.OuterPort = udp.DstPort
		}
	}
	return f
}

// word is the Kind of a topo.Sighting whose innermost header is h.
func (h *Header) word() string {
	switch h.Protocol {
	case ARP:
		switch h.Type {
		case 1:
			return "arp-request"
		case 2:
			return "arp-reply"
		}
	case ICMP:
		switch h.Type {
		case icmpEcho:
			return "echo-request"
		case icmpEchoReply:
			return "echo-reply"
		case icmpUnreachable:
			if h.Code == icmpCodeTooBig {
				return "too-big"
			}
			return "unreachable"
		case icmpTimeExceeded:
			return "time-exceeded"
		}
	case ICMPv6:
		switch h.Type {
		case icmp6Echo:
			return "echo-request"
		case icmp6EchoReply:
			return "echo-reply"
		case icmp6Unreachable:
			return "unreachable"
		case icmp6TooBig:
			return "too-big"
		case icmp6TimeExceeded:
			return "time-exceeded"
		case icmp6Solicitation:
			return "neighbour-solicitation"
		case icmp6Advertisement:
			return "neighbour-advertisement"
		}
	case TCP:
		switch {
		case h.Flags&flagRST != 0:
			return "tcp-reset"
		case h.Flags&(flagSYN|flagACK) == flagSYN|flagACK:
			return "tcp-syn-ack"
		case h.Flags&flagSYN != 0:
			return "tcp-syn"
		case h.Flags&flagFIN != 0:
			return "tcp-fin"
		}
		return "tcp"
	case UDP:
		switch h.Type {
		case 1:
			return "dns-query"
		case 2:
			return "dns-answer"
		}
		return "udp"
	}
	return "other"
}

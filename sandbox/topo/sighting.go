package topo

import "net/netip"

// Sighting is one packet as one interface saw it, told with what a lab may ask
// about it. Addresses, ports and TTL are those of the innermost packet; those
// of the tunnel around it, if any, begin with Outer.
type Sighting struct {
	// Journey is the same for all sightings of one packet.
	Journey uint64 `json:"journey"`
	Node    NodeID `json:"node"`
	Link    string `json:"link"`
	// Out is set where the interface sent it.
	Out bool `json:"out"`
	// Kind says what it is in one word: arp-request, arp-reply, echo-request,
	// echo-reply, unreachable, time-exceeded, too-big, neighbour-solicitation,
	// neighbour-advertisement, tcp-syn, tcp-syn-ack, tcp-reset, tcp-fin, tcp,
	// dns-query, dns-answer, udp, other.
	Kind string `json:"kind"`
	// Protocols from the outside in: eth, vlan, arp, ipv4, ipv6, icmp, icmpv6,
	// tcp, udp, vxlan, geneve, gre.
	Protocols []string   `json:"protocols"`
	Src       netip.Addr `json:"src,omitzero"`
	Dst       netip.Addr `json:"dst,omitzero"`
	SrcPort   uint16     `json:"src_port,omitempty"`
	DstPort   uint16     `json:"dst_port,omitempty"`
	TTL       uint8      `json:"ttl,omitempty"`
	OuterSrc  netip.Addr `json:"outer_src,omitzero"`
	OuterDst  netip.Addr `json:"outer_dst,omitzero"`
	OuterPort uint16     `json:"outer_port,omitempty"` // destination, UDP tunnels
	OuterTTL  uint8      `json:"outer_ttl,omitempty"`
	Length    int        `json:"length"` // bytes, on the wire
	// Answered is set when an answer to the packet was seen anywhere.
	Answered bool `json:"answered"`
}

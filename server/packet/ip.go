package packet

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/gopacket/layers"
)

// IP protocol numbers. Source: IANA protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIGMP     = 2
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoESP      = 50
	protoAH       = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoOptions  = 60
	protoOSPF     = 89
	protoEtherIP  = 97
	protoVRRP     = 112
	protoSCTP     = 132
)

func protoName(p int) string {
	switch p {
	case protoHopByHop:
		return "hop-by-hop options"
	case protoICMP:
		return "ICMP"
	case protoTCP:
		return "TCP"
	case protoUDP:
		return "UDP"
	case protoRouting:
		return "routing"
	case protoFragment:
		return "fragment"
	case protoOptions:
		return "destination options"
	case protoNone:
		return "nothing"
	}
	if name := layers.IPProtocol(p).String(); name != "UnknownIPProtocol" {
		return name
	}
	return "unknown"
}

// carrier is the IP packet around a transport header.
type carrier struct {
	src, dst netip.Addr
	ttl      int
	part     bool // a fragment
	rerouted bool // a source route: the checksum was made for another address
}

func (d *walk) ip(s span) {
	if !d.deeper(s) {
		return
	}
	switch v := d.u8(s.off) >> 4; {
	case v == 6:
		d.ipv6(s)
	case v == 4 || !s.has(1):
		d.ipv4(s)
	default:
		d.line("IP", "Version ", strconv.Itoa(v), ", which is neither 4 nor 6")
		d.payload(s)
	}
}

// ipv4 reads RFC 791's header.
func (d *walk) ipv4(s span) {
	o := s.off
	header := max(20, d.u8(o)&15*4)
	total := d.u16(o + 2)
	id, frag := d.u16(o+4), d.u16(o+6)
	more, at := frag&0x2000 != 0, frag&0x1fff*8
	proto := d.u8(o + 9)
	d.src, d.dst = d.ip4(o+12), d.ip4(o+16)
	c := carrier{src: d.src, dst: d.dst, ttl: d.u8(o + 8), part: more || at > 0}
	whole := total
	if total < header { // 0: the network card divides it and fills this in
		whole = s.size()
	}
	if d.tree {
		n := d.open("IPv4", s, header)
		n.summary(c.src.String(), " → ", c.dst.String(), ", TTL ", strconv.Itoa(c.ttl), ", ", protoName(proto))
		n.bits("Version", o, 1, 0xf0, "4")
		n.bits("Header length", o, 1, 0x0f, strconv.Itoa(d.u8(o)&15*4)+" bytes")
		n.bits("Differentiated services", o+1, 1, 0xfc, hexed(d.u8(o+1)>>2, 2))
		n.bits("Congestion notification", o+1, 1, 0x03, [4]string{"not capable", "capable (1)", "capable (0)", "congestion experienced"}[d.u8(o+1)&3])
		length := strconv.Itoa(total)
		switch {
		case total < header:
			length += " (not filled in yet)"
		case o+total > s.want && !d.quoted:
			length += ", but the frame ends after " + strconv.Itoa(s.size())
		}
		n.add("Total length", o+2, 2, length)
		n.add("Identification", o+4, 2, both(id, 4))
		n.flag("Reserved", o+6, 2, 0x8000)
		n.flag("Don't fragment", o+6, 2, 0x4000)
		n.flag("More fragments", o+6, 2, 0x2000)
		n.bits("Fragment offset", o+6, 2, 0x1fff, strconv.Itoa(at))
		n.num("Time to live", o+8, 1)
		n.add("Protocol", o+9, 1, named(proto, protoName(proto)))
		n.add("Header checksum", o+10, 2, hexed(d.u16(o+10), 4)+", "+d.verify(span{o, min(s.end, o+header), min(s.want, o+header)}, o+10, nil))
		n.addr4("Source address", o+12)
		n.addr4("Destination address", o+16)
	}
	if d.stops("IPv4", s, 20) {
		return
	}
	if d.u8(o)&15 < 5 {
		d.line("IPv4", "Header length ", strconv.Itoa(d.u8(o)&15*4), ", which is too short")
		d.payload(s.from(20))
		return
	}
	if header > 20 {
		c.rerouted = d.ipv4Options(s.take(header).from(20))
	}
	if d.stops("IPv4", s, header) {
		return
	}
	body := s.declared(whole).from(header)
	switch {
	case at > 0:
		d.line("IPv4")
		d.sayFragment("Fragment of ", proto, id, 4, at, body.size(), more)
		d.payload(body)
	case more:
		around := len(d.info)
		d.sayFragment(" · first fragment of ", proto, id, 4, at, body.size(), more)
		d.around = append(d.around, d.info[around:]...)
		d.part = true
		fallthrough
	default:
		d.transport(proto, body, &c)
	}
	d.padding(s.from(whole))
}

func (d *walk) sayFragment(before string, proto, id, digits, at, size int, more bool) {
	d.say(before, protoName(proto))
	d.sayHex(" id=", id, digits)
	d.sayInt(" bytes ", at)
	d.sayInt("–", at+max(size, 1)-1)
	if !more {
		d.say(", the last")
	}
}

// ipv4Options tells the options into the header's layer, and whether one of
// them is a source route.
func (d *walk) ipv4Options(s span) (rerouted bool) {
	for s.has(1) {
		kind, size := d.u8(s.off), d.u8(s.off+1)
		if kind == 0 {
			break
		}
		if kind == 1 { // no operation
			s = s.from(1)
			continue
		}
		if size < 2 || !s.has(size) {
			break
		}
		name, value := "Option "+strconv.Itoa(kind), textOrHex(d.bytes(s.off+2, size-2))
		switch kind {
		case 7: // a pointer behind the last one that is filled in, then addresses
			name, value = "Option: record route", ""
			for at := 3; at+4 <= size && at+4 <= d.u8(s.off+2); at += 4 {
				value += d.ip4(s.off+at).String() + " "
			}
		case 68:
			name = "Option: time stamps"
		case 131, 137:
			name, rerouted = "Option: source route", true
		case 148:
			name = "Option: router alert"
		}
		if d.tree {
			node{d, len(d.layers) - 1}.add(name, s.off, size, strings.TrimSpace(value))
		}
		s = s.from(size)
	}
	return rerouted
}

// ipv6 reads RFC 8200's header and those that follow it.
func (d *walk) ipv6(s span) {
	o := s.off
	word := d.u32(o)
	size, next := d.u16(o+4), d.u8(o+6)
	d.src, d.dst = d.ip6(o+8), d.ip6(o+24)
	c := carrier{src: d.src, dst: d.dst, ttl: d.u8(o + 7)}
	whole := 40 + size
	if size == 0 && next != protoNone { // a jumbogram, or left to the network card
		whole = s.size()
	}
	if d.tree {
		n := d.open("IPv6", s, 40)
		n.summary(c.src.String(), " → ", c.dst.String(), ", hop limit ", strconv.Itoa(c.ttl), ", ", protoName(next))
		n.bits("Version", o, 4, 0xf0000000, "6")
		n.bits("Traffic class", o, 4, 0x0ff00000, hexed(word>>20&0xff, 2))
		n.bits("Flow label", o, 4, 0x000fffff, hexed(word&0xfffff, 5))
		length := strconv.Itoa(size)
		if o+40+size > s.want && !d.quoted {
			length += ", but the frame ends after " + strconv.Itoa(max(0, s.size()-40))
		}
		n.add("Payload length", o+4, 2, length)
		n.add("Next header", o+6, 1, named(next, protoName(next)))
		n.num("Hop limit", o+7, 1)
		n.addr6("Source address", o+8)
		n.addr6("Destination address", o+24)
	}
	if d.stops("IPv6", s, 40) {
		return
	}
	d.ipv6Next(next, s.declared(whole).from(40), &c)
	d.padding(s.from(whole))
}

func (d *walk) ipv6Next(next int, s span, c *carrier) {
	for {
		name, size := "", d.u8(s.off+1)*8+8
		switch next {
		case protoHopByHop:
			name = "IPv6 hop-by-hop options"
		case protoOptions:
			name = "IPv6 destination options"
		case protoRouting:
			name = "IPv6 routing"
			c.rerouted = c.rerouted || d.u8(s.off+3) > 0
		case protoFragment:
			name, size = "IPv6 fragment", 8
		default:
			d.transport(next, s, c)
			return
		}
		if !d.deeper(s) {
			return
		}
		o, after := s.off, d.u8(s.off)
		word, id := d.u16(o+2), d.u32(o+4)
		at, more := word&0xfff8, word&1 != 0
		if d.tree {
			n := d.open(name, s, size)
			n.summary(counted(size, "byte"))
			n.add("Next header", o, 1, named(after, protoName(after)))
			if next == protoFragment {
				n.bits("Fragment offset", o+2, 2, 0xfff8, strconv.Itoa(at))
				n.flag("More fragments", o+2, 2, 0x0001)
				n.add("Identification", o+4, 4, both(id, 8))
			} else {
				n.add("Length", o+1, 1, strconv.Itoa(size)+" bytes")
			}
			if next == protoRouting {
				n.num("Routing type", o+2, 1)
				n.num("Segments left", o+3, 1)
			}
		}
		if d.stops("IPv6", s, size) {
			return
		}
		s = s.from(size)
		if next == protoFragment {
			c.part = at > 0 || more
			if at > 0 {
				d.line("IPv6")
				d.sayFragment("Fragment of ", after, id, 8, at, s.size(), more)
				d.payload(s)
				return
			}
			if more {
				before := len(d.info)
				d.sayFragment(" · first fragment of ", after, id, 8, at, s.size(), more)
				d.around = append(d.around, d.info[before:]...)
				d.part = true
			}
		}
		next = after
	}
}

// transport goes on with what an IP packet carries.
func (d *walk) transport(proto int, s span, c *carrier) {
	switch proto {
	case protoICMP:
		d.icmp(s, c)
	case protoICMPv6:
		d.icmpv6(s, c)
	case protoTCP:
		d.tcp(s, c)
	case protoUDP:
		d.udp(s, c)
	case protoIGMP:
		d.igmp(s, c)
	case protoIPv4:
		d.inside("IPIP", -1)
		d.ip(s)
	case protoIPv6:
		d.inside("IPv6 tunnel", -1)
		d.ip(s)
	case protoGRE:
		d.gre(s)
	case protoESP:
		d.other("ESP", layers.LayerTypeIPSecESP, s)
	case protoAH:
		d.other("AH", layers.LayerTypeIPSecAH, s)
	case protoOSPF:
		d.other("OSPF", layers.LayerTypeOSPF, s)
	case protoEtherIP:
		d.other("EtherIP", layers.LayerTypeEtherIP, s)
	case protoVRRP:
		d.other("VRRP", layers.LayerTypeVRRP, s)
	case protoSCTP:
		d.other("SCTP", layers.LayerTypeSCTP, s)
	default:
		protocol := "IPv4"
		if c.src.Is6() {
			protocol = "IPv6"
		}
		d.line(protocol, "Protocol ", strconv.Itoa(proto), " (", protoName(proto), "), ", counted(s.size(), "byte"))
		d.payload(s)
	}
}

// pseudo is what a transport checksum covers besides the segment. Source: RFC
// 9293, 3.1; RFC 8200, 8.1.
func (c *carrier) pseudo(proto, size int) uint64 {
	src, dst := c.src.AsSlice(), c.dst.AsSlice()
	return sum(src, 0) + sum(dst, 0) + uint64(proto) + uint64(size)
}

// sum adds 16-bit words. Source: RFC 1071.
func sum(b []byte, v uint64) uint64 {
	for len(b) >= 2 {
		v += uint64(b[0])<<8 | uint64(b[1])
		b = b[2:]
	}
	if len(b) > 0 {
		v += uint64(b[0]) << 8
	}
	return v
}

func fold(v uint64) uint16 {
	for v>>16 != 0 {
		v = v&0xffff + v>>16
	}
	return uint16(v)
}

// cover is the transport protocol and its carrier that a checksum covers too.
type cover struct {
	proto int
	c     *carrier
}

// verify judges the checksum at offset at over the span; of is nil for those of
// headers and of ICMP, which have no pseudo-header.
//
// A sender that leaves it to its network card writes the sum of the
// pseudo-header there, which says so even where nobody noted that the kernel did.
func (d *walk) verify(s span, at int, of *cover) string {
	switch {
	case of != nil && of.c.part:
		return "not verifiable: it covers all the fragments"
	case of != nil && of.c.rerouted:
		return "not verifiable: it covers another address"
	case s.cut() || !s.has(at+2-s.off):
		return "not verifiable: " + d.missing()
	}
	got := uint16(d.u16(at))
	var pseudo uint64
	if of != nil && of.proto != protoICMP && of.proto != protoIGMP {
		pseudo = of.c.pseudo(of.proto, s.size())
	}
	total := sum(d.of(s), pseudo)
	want := ^fold(total + uint64(^got))
	if fold(total) == 0xffff {
		return "correct"
	}
	unfinished := pseudo > 0 && got == fold(pseudo)
	if unfinished {
		d.finish(at, uint64(^got)+uint64(want))
	}
	if of != nil && of.proto == protoUDP {
		d.outer = append(d.outer, outerSum{len(d.layers) - 1, s.off, total})
	}
	if unfinished || of != nil && d.frame.Unfinished && !d.quoted {
		return "not filled in yet (left to the network card)"
	}
	if want == 0 && of != nil && of.proto == protoUDP {
		want = 0xffff
	}
	return "wrong, should be " + hexed(int(want), 4)
}

// outerSum is a tunnel's checksum that does not fit the bytes: the layer, where
// what it covers begins, and what that sums up to.
type outerSum struct {
	layer, off int
	total      uint64
}

// finish corrects the verdict on the tunnels around a checksum that is left to
// the card. They count with what the card will write. Source: the kernel's
// checksum-offloads document, local checksum offload.
func (d *walk) finish(at int, change uint64) {
	for _, o := range d.outer {
		if (at-o.off)%2 != 0 || fold(o.total+change) != 0xffff {
			continue
		}
		for i, f := range d.layers[o.layer].Fields {
			if f.Name == "Checksum" {
				d.layers[o.layer].Fields[i].Value = f.Value[:len("0x0000")] + ", correct once the inner one is filled in"
			}
		}
	}
}

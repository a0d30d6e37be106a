package packet

import (
	"net/netip"
	"strconv"
	"strings"
)

// ICMP types. Source: RFC 792, IANA ICMP parameters.
const (
	icmpEchoReply   = 0
	icmpUnreachable = 3
	icmpRedirect    = 5
	icmpEcho        = 8
	icmpTimeOut     = 11
	icmpParameter   = 12
)

func icmpName(kind int) string {
	switch kind {
	case icmpEchoReply:
		return "Echo (ping) reply"
	case icmpUnreachable:
		return "Destination unreachable"
	case 4:
		return "Source quench"
	case icmpRedirect:
		return "Redirect"
	case icmpEcho:
		return "Echo (ping) request"
	case 9:
		return "Router advertisement"
	case 10:
		return "Router solicitation"
	case icmpTimeOut:
		return "Time exceeded"
	case icmpParameter:
		return "Parameter problem"
	case 13:
		return "Timestamp request"
	case 14:
		return "Timestamp reply"
	}
	return "Type " + strconv.Itoa(kind)
}

// icmpCode is the meaning of a code, empty for a code that means nothing of its own.
func icmpCode(kind, code int) string {
	var words []string
	switch kind {
	case icmpUnreachable:
		words = []string{"network unreachable", "host unreachable", "protocol unreachable", "port unreachable", "fragmentation needed", "source route failed", "network unknown", "host unknown", "source host isolated", "network administratively prohibited", "host administratively prohibited", "network unreachable for this service", "host unreachable for this service", "communication administratively filtered", "host precedence violation", "precedence cut-off"}
	case icmpRedirect:
		words = []string{"for the network", "for the host", "for the service and network", "for the service and host"}
	case icmpTimeOut:
		words = []string{"time to live exceeded in transit", "fragment reassembly time exceeded"}
	case icmpParameter:
		words = []string{"pointer tells the error", "a required option is missing", "bad length"}
	}
	switch {
	case code < len(words):
		return words[code]
	case len(words) > 0 || code != 0:
		return "code " + strconv.Itoa(code)
	}
	return ""
}

func (d *walk) icmp(s span, c *carrier) {
	o := s.off
	kind, code := d.u8(o), d.u8(o+1)
	echo := kind == icmpEcho || kind == icmpEchoReply
	failed := kind == icmpUnreachable || kind == icmpTimeOut || kind == icmpRedirect || kind == icmpParameter || kind == 4
	tooBig := kind == icmpUnreachable && code == 4
	word := icmpCode(kind, code)
	if d.tree {
		n := d.open("ICMP", s, 8)
		n.summary(icmpName(kind), bracket(word))
		n.add("Type", o, 1, named(kind, icmpName(kind)))
		if word != "" {
			n.add("Code", o+1, 1, named(code, word))
		} else {
			n.num("Code", o+1, 1)
		}
		n.add("Checksum", o+2, 2, hexed(d.u16(o+2), 4)+", "+d.verify(s, o+2, &cover{protoICMP, c}))
		switch {
		case echo || kind == 13 || kind == 14:
			n.add("Identifier", o+4, 2, both(d.u16(o+4), 4))
			n.num("Sequence number", o+6, 2)
		case tooBig:
			n.add("Next-hop MTU", o+6, 2, strconv.Itoa(d.u16(o+6)))
		case kind == icmpRedirect:
			n.addr4("Gateway address", o+4)
		case kind == icmpParameter:
			n.num("Pointer", o+4, 1)
		}
	}
	if d.stops("ICMP", s, 8) {
		return
	}
	body := s.from(8)
	quote := ""
	if failed {
		quote = d.quote(body)
	} else {
		d.payload(body)
	}
	d.line("ICMP", icmpName(kind))
	switch {
	case echo:
		d.sayHex(" id=", d.u16(o+4), 4)
		d.sayInt(" seq=", d.u16(o+6))
		d.sayInt(" ttl=", c.ttl)
	case tooBig:
		d.sayInt(" (fragmentation needed, next-hop MTU ", d.u16(o+6))
		d.say(")")
	case kind == icmpRedirect:
		d.say(" ", word)
		d.sayAddr(" to gateway ", d.ip4(o+4))
	default:
		d.say(bracket(word))
	}
	d.say(quote)
}

func bracket(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// quote tells the beginning of the packet that an error is about, for the end
// of the error's line.
func (d *walk) quote(s span) string {
	if s.size() <= 0 {
		return ""
	}
	outer := *d
	d.quoted, d.info, d.around = true, nil, nil
	d.ip(s)
	q := d.summary()
	layers, depth := d.layers, d.depth
	*d = outer
	d.layers, d.depth = layers, depth
	return " · about " + strings.TrimSpace(q.Source+" → "+q.Destination) + " " + q.Protocol + " " + q.Info
}

// ICMPv6 types. Source: RFC 4443, RFC 4861, RFC 2710, RFC 3810.
func icmpv6Name(kind int) string {
	switch kind {
	case 1:
		return "Destination unreachable"
	case 2:
		return "Packet too big"
	case 3:
		return "Time exceeded"
	case 4:
		return "Parameter problem"
	case 128:
		return "Echo (ping) request"
	case 129:
		return "Echo (ping) reply"
	case 130:
		return "Multicast listener query"
	case 131:
		return "Multicast listener report"
	case 132:
		return "Multicast listener done"
	case 133:
		return "Router solicitation"
	case 134:
		return "Router advertisement"
	case 135:
		return "Neighbour solicitation"
	case 136:
		return "Neighbour advertisement"
	case 137:
		return "Redirect"
	case 143:
		return "Multicast listener report v2"
	}
	return "Type " + strconv.Itoa(kind)
}

func icmpv6Code(kind, code int) string {
	var words []string
	switch kind {
	case 1:
		words = []string{"no route", "administratively prohibited", "beyond the scope of the source address", "address unreachable", "port unreachable", "source address failed policy", "route rejected"}
	case 3:
		words = []string{"hop limit exceeded in transit", "fragment reassembly time exceeded"}
	case 4:
		words = []string{"erroneous header", "unknown next header", "unknown option"}
	}
	switch {
	case code < len(words):
		return words[code]
	case len(words) > 0 || code != 0:
		return "code " + strconv.Itoa(code)
	}
	return ""
}

func (d *walk) icmpv6(s span, c *carrier) {
	o := s.off
	kind, code := d.u8(o), d.u8(o+1)
	word := icmpv6Code(kind, code)
	size := 8
	switch kind {
	case 130, 131, 132, 135, 136:
		size = 24
	case 134:
		size = 16
	case 137:
		size = 40
	}
	if d.tree {
		n := d.open("ICMPv6", s, size)
		n.summary(icmpv6Name(kind), bracket(word))
		n.add("Type", o, 1, named(kind, icmpv6Name(kind)))
		if word != "" {
			n.add("Code", o+1, 1, named(code, word))
		} else {
			n.num("Code", o+1, 1)
		}
		n.add("Checksum", o+2, 2, hexed(d.u16(o+2), 4)+", "+d.verify(s, o+2, &cover{protoICMPv6, c}))
		switch kind {
		case 2:
			n.num("MTU", o+4, 4)
		case 4:
			n.num("Pointer", o+4, 4)
		case 128, 129:
			n.add("Identifier", o+4, 2, both(d.u16(o+4), 4))
			n.num("Sequence number", o+6, 2)
		case 130, 131, 132:
			n.num("Maximum response delay", o+4, 2)
			n.addr6("Multicast address", o+8)
		case 134:
			n.num("Current hop limit", o+4, 1)
			n.flag("Managed addresses", o+5, 1, 0x80)
			n.flag("Other configuration", o+5, 1, 0x40)
			n.add("Router lifetime", o+6, 2, strconv.Itoa(d.u16(o+6))+" s")
			n.add("Reachable time", o+8, 4, strconv.Itoa(d.u32(o+8))+" ms")
			n.add("Retransmission timer", o+12, 4, strconv.Itoa(d.u32(o+12))+" ms")
		case 135:
			n.addr6("Target address", o+8)
		case 136:
			n.flag("Router", o+4, 4, 0x80000000)
			n.flag("Solicited", o+4, 4, 0x40000000)
			n.flag("Override", o+4, 4, 0x20000000)
			n.addr6("Target address", o+8)
		case 137:
			n.addr6("Target address", o+8)
			n.addr6("Destination address", o+24)
		case 143:
			n.num("Number of records", o+6, 2)
		}
	}
	if d.stops("ICMPv6", s, size) {
		return
	}
	body := s.from(size)
	quote, linkAddr, more := "", []byte(nil), ""
	switch kind {
	case 1, 2, 3, 4:
		quote = d.quote(body)
	case 133, 134, 135, 136, 137:
		linkAddr, more = d.ndpOptions(body)
	case 143:
		more = d.listenerRecords(body, d.u16(o+6))
	default:
		d.payload(body)
	}
	d.line("ICMPv6", icmpv6Name(kind))
	switch kind {
	case 2:
		d.sayInt(" (MTU ", d.u32(o+4))
		d.say(")")
	case 128, 129:
		d.sayHex(" id=", d.u16(o+4), 4)
		d.sayInt(" seq=", d.u16(o+6))
		d.sayInt(" ttl=", c.ttl)
	case 130, 131, 132:
		if a := d.ip6(o + 8); a != netip.IPv6Unspecified() {
			d.sayAddr(" for ", a)
		}
	case 133, 134:
		if linkAddr != nil {
			d.sayMAC(" from ", linkAddr)
		}
		d.say(more)
	case 135:
		d.sayAddr(": who has ", d.ip6(o+8))
		d.say("?")
		switch {
		case linkAddr != nil:
			d.sayMAC(" Tell ", linkAddr)
		case c.src == netip.IPv6Unspecified():
			d.say(" (probe)")
		}
	case 136:
		d.sayAddr(": ", d.ip6(o+8))
		if linkAddr != nil {
			d.sayMAC(" is at ", linkAddr)
		}
		flags := d.u8(o + 4)
		for i, word := range [3]string{"router", "solicited", "override"} {
			if flags>>(7-i)&1 == 1 {
				d.say(" ", word)
			}
		}
	case 137:
		d.sayAddr(" for ", d.ip6(o+24))
		d.sayAddr(" to ", d.ip6(o+8))
	case 143:
		d.say(more)
	default:
		d.say(bracket(word))
	}
	d.say(quote)
}

func ndpOption(kind int) string {
	switch kind {
	case 1:
		return "source link-layer address"
	case 2:
		return "target link-layer address"
	case 3:
		return "prefix"
	case 4:
		return "redirected packet"
	case 5:
		return "MTU"
	case 14:
		return "nonce"
	case 24:
		return "route"
	case 25:
		return "DNS servers"
	case 31:
		return "DNS search list"
	}
	return "type " + strconv.Itoa(kind)
}

// shownParts is how many options or records of one message are shown.
const shownParts = 64

// ndpOptions tells the options of neighbour discovery and gives the link-layer
// address and the prefixes among them. Source: RFC 4861, 4.6; RFC 8106; RFC 4191.
func (d *walk) ndpOptions(s span) (linkAddr []byte, prefixes string) {
	for range shownParts {
		o, kind, size := s.off, d.u8(s.off), d.u8(s.off+1)*8
		if size == 0 || !s.has(2) {
			break
		}
		opt := s.take(size)
		if (kind == 1 || kind == 2) && opt.has(8) {
			linkAddr = d.bytes(o+2, 6)
		}
		if kind == 3 && opt.has(32) && len(prefixes) < 100 {
			prefixes += ", prefix " + d.ip6(o+16).String() + "/" + strconv.Itoa(d.u8(o+2))
		}
		if d.tree {
			name := ndpOption(kind)
			n := d.open("ICMPv6 option", opt, size)
			n.summary(name)
			n.add("Type", o, 1, named(kind, name))
			n.add("Length", o+1, 1, strconv.Itoa(size)+" bytes")
			switch kind {
			case 1, 2:
				n.mac("Link-layer address", o+2)
				n.summary(name, " ", string(appendMAC(nil, d.bytes(o+2, 6))))
			case 3:
				n.num("Prefix length", o+2, 1)
				n.flag("On link", o+3, 1, 0x80)
				n.flag("Autonomous addresses", o+3, 1, 0x40)
				n.add("Valid lifetime", o+4, 4, strconv.Itoa(d.u32(o+4))+" s")
				n.add("Preferred lifetime", o+8, 4, strconv.Itoa(d.u32(o+8))+" s")
				n.addr6("Prefix", o+16)
				n.summary(name, " ", d.ip6(o+16).String(), "/", strconv.Itoa(d.u8(o+2)))
			case 5:
				n.num("MTU", o+4, 4)
			case 25:
				n.add("Lifetime", o+4, 4, strconv.Itoa(d.u32(o+4))+" s")
				for at := o + 8; at+16 <= min(o+size, opt.end); at += 16 {
					n.addr6("DNS server", at)
				}
			default:
				n.add("Value", o+2, size-2, textOrHex(d.bytes(o+2, size-2)))
			}
		}
		if !s.has(size) {
			break
		}
		s = s.from(size)
	}
	return linkAddr, prefixes
}

// listenerRecords are an MLDv2 report's groups, for the line too. Source: RFC
// 3810, 5.2.
func (d *walk) listenerRecords(s span, count int) string {
	var line strings.Builder
	for i := range min(count, shownParts) {
		o := s.off
		sources, aux := d.u16(o+2), d.u8(o+1)*4
		size := 20 + 16*sources + aux
		if !s.has(20) {
			break
		}
		what := groupChange(d.u8(o), sources)
		if i < 4 {
			line.WriteString(", " + what + " " + d.ip6(o+4).String())
		} else if i == 4 {
			line.WriteString(", …")
		}
		if d.tree {
			n := d.open("ICMPv6 record", s, size)
			n.summary(what, " ", d.ip6(o+4).String())
			n.add("Record type", o, 1, named(d.u8(o), what))
			n.num("Number of sources", o+2, 2)
			n.addr6("Multicast address", o+4)
			for at := o + 20; at+16 <= min(s.end, o+20+16*sources); at += 16 {
				n.addr6("Source address", at)
			}
		}
		if !s.has(size) {
			break
		}
		s = s.from(size)
	}
	return line.String()
}

// groupChange says what a record of IGMPv3 or MLDv2 does to a group. Source: RFC
// 3376, 4.2.12.
func groupChange(kind, sources int) string {
	switch {
	case kind == 1:
		return "include"
	case kind == 2:
		return "exclude"
	case kind == 3 && sources == 0:
		return "leave"
	case kind == 3:
		return "to include"
	case kind == 4 && sources == 0:
		return "join"
	case kind == 4:
		return "to exclude"
	case kind == 5:
		return "allow"
	case kind == 6:
		return "block"
	}
	return "record type " + strconv.Itoa(kind)
}

// igmp is how machines tell which multicast groups they want. Source: RFC 2236,
// RFC 3376.
func (d *walk) igmp(s span, c *carrier) {
	o := s.off
	kind := d.u8(o)
	name := "Type " + hexed(kind, 2)
	switch kind {
	case 0x11:
		name = "Membership query"
	case 0x12:
		name = "Membership report v1"
	case 0x16:
		name = "Membership report v2"
	case 0x17:
		name = "Leave group"
	case 0x22:
		name = "Membership report v3"
	}
	v3 := kind == 0x22
	if d.tree {
		n := d.open("IGMP", s, 8)
		n.summary(name)
		n.add("Type", o, 1, hexed(kind, 2)+" ("+name+")")
		if !v3 {
			n.num("Maximum response time", o+1, 1)
		}
		n.add("Checksum", o+2, 2, hexed(d.u16(o+2), 4)+", "+d.verify(s, o+2, &cover{protoIGMP, c}))
		if v3 {
			n.num("Number of records", o+6, 2)
		} else {
			n.addr4("Multicast address", o+4)
		}
	}
	if d.stops("IGMP", s, 8) {
		return
	}
	d.line("IGMP", name)
	body := s.from(8)
	if !v3 {
		if a := d.ip4(o + 4); a != netip.IPv4Unspecified() {
			d.sayAddr(" for ", a)
		}
		d.payload(body)
		return
	}
	for i := range min(d.u16(o+6), shownParts) {
		o := body.off
		sources, aux := d.u16(o+2), d.u8(o+1)*4
		size := 8 + 4*sources + aux
		if !body.has(8) {
			break
		}
		what := groupChange(d.u8(o), sources)
		if i < 4 {
			d.say(", ", what)
			d.sayAddr(" ", d.ip4(o+4))
		} else if i == 4 {
			d.say(", …")
		}
		if d.tree {
			n := d.open("IGMP record", body, size)
			n.summary(what, " ", d.ip4(o+4).String())
			n.add("Record type", o, 1, named(d.u8(o), what))
			n.num("Number of sources", o+2, 2)
			n.addr4("Multicast address", o+4)
			for at := o + 8; at+4 <= min(body.end, o+8+4*sources); at += 4 {
				n.addr4("Source address", at)
			}
		}
		if !body.has(size) {
			break
		}
		body = body.from(size)
	}
}

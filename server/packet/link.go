package packet

import (
	"net/netip"
	"strconv"

	"github.com/google/gopacket/layers"
)

// EtherTypes. Source: IEEE 802 numbers.
const (
	typeIPv4  = 0x0800
	typeARP   = 0x0806
	typeTEB   = 0x6558 // transparent Ethernet bridging: a whole frame
	typeRARP  = 0x8035
	typeVLAN  = 0x8100
	typeIPv6  = 0x86dd
	typeQinQ  = 0x88a8
	typeMPLS  = 0x8847
	typePPPoE = 0x8864
	typePADI  = 0x8863
	typeEAPOL = 0x888e
	typeLLDP  = 0x88cc
)

func typeName(t int) string {
	switch t {
	case typeIPv4:
		return "IPv4"
	case typeARP:
		return "ARP"
	case typeIPv6:
		return "IPv6"
	case typeVLAN:
		return "802.1Q VLAN"
	case typeQinQ:
		return "802.1ad VLAN"
	case typeTEB:
		return "Ethernet"
	case typeLLDP:
		return "LLDP"
	case typeRARP:
		return "RARP"
	}
	if name := layers.EthernetType(t).String(); name != "UnknownEthernetType" {
		return name
	}
	return "unknown"
}

func (d *walk) ethernet(s span) {
	if !d.deeper(s) {
		return
	}
	o := s.off
	d.src, d.dst = netip.Addr{}, netip.Addr{}
	d.dstMAC, d.srcMAC = d.bytes(o, 6), d.bytes(o+6, 6)
	t := d.u16(o + 12)
	ieee := s.has(14) && t < 0x600 // a length, not a type. Source: IEEE 802.3, 3.2.6.
	if d.tree {
		name := "Ethernet II"
		if ieee {
			name = "Ethernet 802.3"
		}
		n := d.open(name, s, 14)
		n.mac("Destination", o)
		n.mac("Source", o+6)
		if ieee {
			n.num("Length", o+12, 2)
		} else {
			n.add("Type", o+12, 2, hexed(t, 4)+" ("+typeName(t)+")")
		}
		n.summary(string(appendMAC(nil, d.srcMAC)), " → ", string(appendMAC(nil, d.dstMAC)))
	}
	if d.stops("Ethernet", s, 14) {
		return
	}
	if ieee {
		d.llc(s.from(14).take(t))
		d.padding(s.from(14 + t))
		return
	}
	d.ethertype(t, s.from(14))
}

func (d *walk) ethertype(t int, s span) {
	switch t {
	case typeIPv4, typeIPv6:
		d.ip(s)
	case typeARP, typeRARP:
		d.arp(s)
	case typeVLAN, typeQinQ:
		d.vlan(t, s)
	case typeTEB:
		d.ethernet(s)
	case typeLLDP:
		d.lldp(s)
	case typeMPLS:
		d.other("MPLS", layers.LayerTypeMPLS, s)
	case typePPPoE, typePADI:
		d.other("PPPoE", layers.LayerTypePPPoE, s)
	case typeEAPOL:
		d.other("EAPOL", layers.LayerTypeEAPOL, s)
	default:
		d.line("Ethernet", "Type ", hexed(t, 4), " (", typeName(t), "), ", counted(s.size(), "byte"))
		d.payload(s)
	}
}

func (d *walk) vlan(outer int, s span) {
	if !d.deeper(s) {
		return
	}
	o := s.off
	tci, t := d.u16(o), d.u16(o+2)
	if d.tree {
		n := d.open(typeName(outer), s, 4)
		n.summary("VLAN ", strconv.Itoa(tci&0xfff))
		n.bits("Priority", o, 2, 0xe000, strconv.Itoa(tci>>13))
		n.bits("Drop eligible", o, 2, 0x1000, yesNo(tci&0x1000 != 0))
		n.bits("VLAN ID", o, 2, 0x0fff, strconv.Itoa(tci&0xfff))
		n.add("Type", o+2, 2, hexed(t, 4)+" ("+typeName(t)+")")
	}
	if d.stops("VLAN", s, 4) {
		return
	}
	d.around = strconv.AppendInt(append(d.around, " · VLAN "...), int64(tci&0xfff), 10)
	if t < 0x600 {
		d.llc(s.from(4).take(t))
		return
	}
	d.ethertype(t, s.from(4))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// ARP operations. Source: RFC 826, RFC 903.
func arpOperation(op int) string {
	switch op {
	case 1:
		return "request"
	case 2:
		return "reply"
	case 3:
		return "reverse request"
	case 4:
		return "reverse reply"
	}
	return "unknown"
}

func (d *walk) arp(s span) {
	o := s.off
	op := d.u16(o + 6)
	hlen, plen := d.u8(o+4), d.u8(o+5)
	size := 8 + 2*hlen + 2*plen
	usual := hlen == 6 && plen == 4 // Ethernet and IPv4
	if d.tree {
		n := d.open("ARP", s, max(8, size))
		hw := strconv.Itoa(d.u16(o))
		if d.u16(o) == 1 {
			hw = "1 (Ethernet)"
		}
		n.add("Hardware type", o, 2, hw)
		n.add("Protocol type", o+2, 2, hexed(d.u16(o+2), 4)+" ("+typeName(d.u16(o+2))+")")
		n.num("Hardware size", o+4, 1)
		n.num("Protocol size", o+5, 1)
		n.add("Operation", o+6, 2, named(op, arpOperation(op)))
		if usual {
			n.mac("Sender MAC address", o+8)
			n.addr4("Sender IP address", o+14)
			n.mac("Target MAC address", o+18)
			n.addr4("Target IP address", o+24)
		}
	}
	if d.stops("ARP", s, 8) || d.stops("ARP", s, size) {
		return
	}
	protocol := "ARP"
	if op == 3 || op == 4 {
		protocol = "RARP"
	}
	d.line(protocol)
	sender, target := d.ip4(o+14), d.ip4(o+24)
	switch {
	case !usual:
		d.say("ARP ", arpOperation(op), " for other addresses than Ethernet and IPv4")
	case op == 1 && sender == target:
		d.sayAddr("Announcement: I have ", sender)
	case op == 1 && sender == netip.IPv4Unspecified():
		d.sayAddr("Who has ", target)
		d.say("? (probe)")
	case op == 1:
		d.sayAddr("Who has ", target)
		d.sayAddr("? Tell ", sender)
	case op == 2:
		d.sayAddr("", sender)
		d.sayMAC(" is at ", d.bytes(o+8, 6))
		if sender == target {
			d.say(" (gratuitous)")
		}
	case op == 3:
		d.sayMAC("Who is ", d.bytes(o+18, 6))
		d.sayMAC("? Tell ", d.bytes(o+8, 6))
	case op == 4:
		d.sayMAC("", d.bytes(o+18, 6))
		d.sayAddr(" is at ", target)
	default:
		d.sayInt("Operation ", op)
	}
	if d.tree {
		node{d, len(d.layers) - 1}.summary(string(d.info))
	}
	d.padding(s.from(size))
}

// raw is a frame without a link header: the first four bits tell.
func (d *walk) raw(s span) {
	if v := d.u8(s.off) >> 4; v == 4 || v == 6 {
		d.ip(s)
		return
	}
	d.line("Unknown", "Neither IPv4 nor IPv6, ", counted(s.size(), "byte"))
	d.payload(s)
}

// llc is what follows an 802.3 length. Source: IEEE 802.2.
func (d *walk) llc(s span) {
	o := s.off
	dsap, ssap, control := d.u8(o), d.u8(o+1), d.u8(o+2)
	size := 3
	if control&3 != 3 { // not an unnumbered frame
		size = 4
	}
	snap := dsap == 0xaa && ssap == 0xaa && size == 3
	if snap {
		size = 8
	}
	if d.tree {
		n := d.open("LLC", s, size)
		n.summary("DSAP ", hexed(dsap, 2), ", SSAP ", hexed(ssap, 2))
		n.add("Destination service access point", o, 1, hexed(dsap, 2)+sapName(dsap))
		n.add("Source service access point", o+1, 1, hexed(ssap, 2)+sapName(ssap&^1))
		n.add("Control", o+2, min(size, 4)-2, hexed(control, 2))
		if snap {
			n.add("Organisation", o+3, 3, hexed(d.u24(o+3), 6))
			n.add("Type", o+6, 2, hexed(d.u16(o+6), 4)+" ("+typeName(d.u16(o+6))+")")
		}
	}
	if d.stops("LLC", s, size) {
		return
	}
	rest := s.from(size)
	switch {
	case snap && d.u24(o+3) == 0 && d.u16(o+6) >= 0x600:
		d.ethertype(d.u16(o+6), rest)
	case snap && d.u24(o+3) == 0x00000c && d.u16(o+6) == 0x2000:
		d.other("CDP", layers.LayerTypeCiscoDiscovery, rest)
	case dsap == 0x42 && ssap == 0x42:
		d.stp(rest)
	default:
		d.line("LLC")
		d.sayHex("DSAP ", dsap, 2)
		d.sayHex(", SSAP ", ssap, 2)
		d.sayHex(", control ", control, 2)
		d.say(", ", counted(rest.size(), "byte"))
		d.payload(rest)
	}
}

func sapName(sap int) string {
	switch sap {
	case 0x42:
		return " (spanning tree)"
	case 0xaa:
		return " (SNAP)"
	}
	return ""
}

// stp is a bridge's message to its neighbours. Source: IEEE 802.1D-2004, 9.3.
func (d *walk) stp(s span) {
	o := s.off
	kind := d.u8(o + 3)
	word, size := "type "+hexed(kind, 2), 4
	switch kind {
	case 0x00:
		word, size = "Configuration", 35
	case 0x02:
		word, size = "Rapid", 36
	case 0x80:
		word = "Topology change notification"
	}
	bridge := func(o int) string {
		return strconv.Itoa(d.u16(o)&0xf000) + "/" + strconv.Itoa(d.u16(o)&0xfff) + "/" + string(appendMAC(nil, d.bytes(o+2, 6)))
	}
	seconds := func(o int) string { return strconv.FormatFloat(float64(d.u16(o))/256, 'g', 4, 64) + " s" }
	if d.tree {
		n := d.open("STP", s, size)
		n.summary(word)
		n.add("Protocol", o, 2, hexed(d.u16(o), 4))
		n.num("Version", o+2, 1)
		n.add("Type", o+3, 1, hexed(kind, 2)+" ("+word+")")
		if size > 4 {
			n.flag("Topology change", o+4, 1, 0x01)
			if kind == 2 {
				n.flag("Proposal", o+4, 1, 0x02)
				n.bits("Port role", o+4, 1, 0x0c, [4]string{"unknown", "alternate or backup", "root", "designated"}[d.u8(o+4)>>2&3])
				n.flag("Learning", o+4, 1, 0x10)
				n.flag("Forwarding", o+4, 1, 0x20)
				n.flag("Agreement", o+4, 1, 0x40)
			}
			n.flag("Topology change acknowledged", o+4, 1, 0x80)
			n.add("Root bridge", o+5, 8, bridge(o+5))
			n.num("Root path cost", o+13, 4)
			n.add("Bridge", o+17, 8, bridge(o+17))
			n.add("Port", o+25, 2, hexed(d.u16(o+25), 4))
			n.add("Message age", o+27, 2, seconds(o+27))
			n.add("Maximum age", o+29, 2, seconds(o+29))
			n.add("Hello time", o+31, 2, seconds(o+31))
			n.add("Forward delay", o+33, 2, seconds(o+33))
		}
	}
	if d.stops("STP", s, size) {
		return
	}
	d.line("STP", word)
	if size > 4 {
		d.say(", root ", bridge(o+5))
		d.sayInt(", cost ", d.u32(o+13))
		d.sayHex(", port ", d.u16(o+25), 4)
	}
	d.padding(s.from(size))
}

// lldp is a switch's or a machine's word to its neighbour about itself. Source:
// IEEE 802.1AB, 8.
func (d *walk) lldp(s span) {
	var n node
	if d.tree {
		n = d.open("LLDP", s, s.size())
		n.summary(counted(s.size(), "byte"))
	}
	d.line("LLDP", "Neighbour")
	for range 64 {
		o := s.off
		if !s.has(2) {
			break
		}
		kind, size := d.u8(o)>>1, d.u16(o)&0x1ff
		if kind == 0 {
			if d.tree {
				n.add("End", o, 2, "")
			}
			break
		}
		if !s.has(2 + size) {
			break
		}
		v := d.bytes(o+2, size)
		name, value := "Type "+strconv.Itoa(kind), textOrHex(v)
		sub := func(macKind byte) string {
			switch {
			case len(v) == 7 && v[0] == macKind:
				return string(appendMAC(nil, v[1:]))
			case len(v) == 6 && v[0] == macKind+1 && v[1] == 1: // IPv4
				return d.ip4(o + 4).String()
			case len(v) > 1:
				return printable(v[1:])
			}
			return ""
		}
		switch kind {
		case 1:
			name, value = "Chassis", sub(4)
			d.say(", chassis ", value)
		case 2:
			name, value = "Port", sub(3)
			d.say(", port ", value)
		case 3:
			name, value = "Time to live", strconv.Itoa(d.u16(o+2))+" s"
			d.say(", for ", value)
		case 4:
			name = "Port description"
		case 5:
			name, value = "System name", printable(v)
			d.say(", system ", value)
		case 6:
			name = "System description"
		case 7:
			name = "System capabilities"
		case 8:
			name = "Management address"
		case 127:
			name = "Organisation's own"
		}
		if d.tree {
			n.add(name, o, 2+size, value)
		}
		s = s.from(2 + size)
	}
}

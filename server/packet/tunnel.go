package packet

import "strconv"

// looksIP tells whether a span is an IP packet and nothing else: an IPv4 header
// with a right checksum, or an IPv6 one, and the length of the span.
func (d *walk) looksIP(s span) bool {
	o := s.off
	switch d.u8(o) >> 4 {
	case 4:
		header := d.u8(o) & 15 * 4
		return header >= 20 && s.has(header) && d.u16(o+2) == s.size() && fold(sum(d.bytes(o, header), 0)) == 0xffff
	case 6:
		return s.has(40) && d.u16(o+4)+40 == s.size()
	}
	return false
}

// looksEthernet tells whether a span is a frame of IP or ARP.
func (d *walk) looksEthernet(s span) bool {
	if !s.has(14) {
		return false
	}
	t, inner := d.u16(s.off+12), s.from(14)
	if (t == typeVLAN || t == typeQinQ) && inner.has(4) {
		t, inner = d.u16(inner.off+2), inner.from(4)
	}
	switch t {
	case typeIPv4, typeIPv6:
		return d.looksIP(inner)
	case typeARP:
		return inner.has(8) && d.u32(inner.off) == 1<<16|typeIPv4 && d.u16(inner.off+4) == 0x0604
	}
	return false
}

// bareInUDP is a packet that a program carries in a datagram as it read it from
// a TUN or TAP device, as socat does: as it is, or behind the device's four bytes
// of packet information (flags, type). Source: linux/if_tun.h.
func (d *walk) bareInUDP(s span, port int) bool {
	inner := s.from(4)
	t := d.u16(s.off + 2)
	info := s.has(4) && d.u16(s.off) == 0
	switch {
	case d.looksIP(s):
		d.inside("UDP "+strconv.Itoa(port), -1)
		d.ip(s)
	case info && (t == typeIPv4 || t == typeIPv6) && d.looksIP(inner):
		d.packetInformation(s)
		d.inside("UDP "+strconv.Itoa(port), -1)
		d.ip(inner)
	case d.looksEthernet(s):
		d.inside("UDP "+strconv.Itoa(port), -1)
		d.ethernet(s)
	case info && d.looksEthernet(inner):
		d.packetInformation(s)
		d.inside("UDP "+strconv.Itoa(port), -1)
		d.ethernet(inner)
	default:
		return false
	}
	return true
}

func (d *walk) packetInformation(s span) {
	if !d.tree {
		return
	}
	t := d.u16(s.off + 2)
	n := d.open("TUN", s, 4)
	n.summary("packet information, ", typeName(t))
	n.add("Flags", s.off, 2, hexed(d.u16(s.off), 4))
	n.add("Type", s.off+2, 2, hexed(t, 4)+" ("+typeName(t)+")")
}

// looksVXLAN recognises it on another port than its own.
func (d *walk) looksVXLAN(s span) bool {
	return s.has(8) && d.u32(s.off) == 0x08000000 && d.u8(s.off+7) == 0 && d.looksEthernet(s.from(8))
}

// vxlan is an Ethernet frame in UDP. Source: RFC 7348.
func (d *walk) vxlan(s span) {
	o := s.off
	vni := d.u24(o + 4)
	if d.tree {
		n := d.open("VXLAN", s, 8)
		n.summary("VNI ", strconv.Itoa(vni))
		n.add("Flags", o, 1, hexed(d.u8(o), 2))
		n.flag("VNI is valid", o, 1, 0x08)
		n.add("VXLAN network identifier (VNI)", o+4, 3, strconv.Itoa(vni))
	}
	if d.stops("VXLAN", s, 8) {
		return
	}
	d.inside("VXLAN", vni)
	d.ethernet(s.from(8))
}

func (d *walk) looksGENEVE(s span) bool {
	if !s.has(8) || d.u8(s.off)>>6 != 0 || d.u8(s.off+1)&0x3f != 0 || d.u8(s.off+7) != 0 {
		return false
	}
	inner := s.from(8 + d.u8(s.off)&0x3f*4)
	switch d.u16(s.off + 2) {
	case typeTEB:
		return d.looksEthernet(inner)
	case typeIPv4, typeIPv6:
		return d.looksIP(inner)
	}
	return false
}

// geneve is RFC 8926.
func (d *walk) geneve(s span) {
	o := s.off
	options, t, vni := d.u8(o)&0x3f*4, d.u16(o+2), d.u24(o+4)
	if d.tree {
		n := d.open("GENEVE", s, 8+options)
		n.summary("VNI ", strconv.Itoa(vni))
		n.bits("Version", o, 1, 0xc0, strconv.Itoa(d.u8(o)>>6))
		n.bits("Options length", o, 1, 0x3f, strconv.Itoa(options)+" bytes")
		n.flag("Control packet", o+1, 1, 0x80)
		n.flag("Critical options", o+1, 1, 0x40)
		n.add("Protocol type", o+2, 2, hexed(t, 4)+" ("+typeName(t)+")")
		n.add("Virtual network identifier (VNI)", o+4, 3, strconv.Itoa(vni))
		for at := o + 8; at < o+8+options; {
			size := 4 + d.u8(at+3)&0x1f*4
			if at+size > o+8+options {
				break
			}
			n.add("Option", at, size, "class "+hexed(d.u16(at), 4)+", type "+hexed(d.u8(at+2), 2)+", "+textOrHex(d.bytes(at+4, size-4)))
			at += size
		}
	}
	if d.stops("GENEVE", s, 8) || d.stops("GENEVE", s, 8+options) {
		return
	}
	d.inside("GENEVE", vni)
	d.ethertype(t, s.from(8+options))
}

// gre is RFC 2784 with the key and sequence number of RFC 2890.
func (d *walk) gre(s span) {
	o := s.off
	flags, t := d.u16(o), d.u16(o+2)
	size := 4
	field := func(flag int) (at int) {
		if flags&flag == 0 {
			return -1
		}
		at, size = o+size, size+4
		return at
	}
	checksum, key, sequence := field(0x8000), field(0x2000), field(0x1000)
	if d.tree {
		n := d.open("GRE", s, size)
		n.summary(typeName(t))
		n.flag("Checksum present", o, 2, 0x8000)
		n.flag("Key present", o, 2, 0x2000)
		n.flag("Sequence number present", o, 2, 0x1000)
		n.bits("Version", o, 2, 0x0007, strconv.Itoa(flags&7))
		n.add("Protocol type", o+2, 2, hexed(t, 4)+" ("+typeName(t)+")")
		if checksum >= 0 {
			n.add("Checksum", checksum, 2, hexed(d.u16(checksum), 4)+", "+d.verify(s, checksum, nil))
		}
		if key >= 0 {
			n.add("Key", key, 4, both(d.u32(key), 8))
		}
		if sequence >= 0 {
			n.num("Sequence number", sequence, 4)
		}
	}
	if d.stops("GRE", s, 4) || d.stops("GRE", s, size) {
		return
	}
	if flags&0x4fff != 0 { // routing, or a version that puts other fields there
		d.line("GRE", "Version ", strconv.Itoa(flags&7), ", flags ", hexed(flags, 4), ", ", typeName(t))
		d.payload(s.from(size))
		return
	}
	d.inside("GRE", -1)
	if key >= 0 {
		d.around = strconv.AppendInt(append(d.around, " key "...), int64(d.u32(key)), 10)
	}
	d.ethertype(t, s.from(size))
}

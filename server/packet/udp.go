package packet

import (
	"strconv"

	"github.com/google/gopacket/layers"
)

// The ports that a protocol is known by. Source: IANA; 8472 is Linux' own for
// VXLAN, from before there was one.
const (
	portDNS      = 53
	portNTP      = 123
	portVXLAN    = 4789
	portOldVXLAN = 8472
	portMDNS     = 5353
	portLLMNR    = 5355
	portGENEVE   = 6081
)

func (d *walk) udp(s span, c *carrier) {
	o := s.off
	from, to, size := d.u16(o), d.u16(o+2), d.u16(o+4)
	whole := s
	if size >= 8 && (c.part || o+size <= s.want) {
		whole = s.declared(size)
	}
	if d.tree {
		n := d.open("UDP", s, 8)
		n.summary(strconv.Itoa(from), " → ", strconv.Itoa(to))
		n.num("Source port", o, 2)
		n.num("Destination port", o+2, 2)
		length := strconv.Itoa(size)
		switch {
		case size < 8:
			length += ", which is too short"
		case o+size > s.want && !c.part:
			length += ", but the packet ends after " + strconv.Itoa(s.size())
		}
		n.add("Length", o+4, 2, length)
		sum := hexed(d.u16(o+6), 4) + ", "
		switch {
		case d.u16(o+6) == 0:
			sum += "none: the sender made none"
		case size < 8 || o+size > s.want && !c.part:
			sum += "not verifiable: the length is wrong"
		default:
			sum += d.verify(whole, o+6, &cover{protoUDP, c})
		}
		n.add("Checksum", o+6, 2, sum)
	}
	if d.stops("UDP", s, 8) {
		return
	}
	body := whole.from(8)
	if d.overUDP(body, from, to) {
		return
	}
	d.line("UDP")
	d.sayPorts(o)
	d.sayInt(" Len=", max(0, size-8))
	d.payload(body)
}

// overUDP tries the protocols that have a port of their own, then those that are
// known by how their messages look: a lab may put any of them on any port.
func (d *walk) overUDP(s span, from, to int) bool {
	if s.off >= s.end {
		return false
	}
	is := func(port int) bool { return from == port || to == port }
	switch {
	case is(portMDNS) && d.looksDNS(s, true):
		d.dns("mDNS", s)
	case is(portLLMNR) && d.looksDNS(s, true):
		d.dns("LLMNR", s)
	case d.looksDNS(s, is(portDNS)):
		d.dns("DNS", s)
	case d.looksDHCP(s):
		d.dhcp(s)
	case to == portVXLAN || to == portOldVXLAN || d.looksVXLAN(s):
		d.vxlan(s)
	case to == portGENEVE || d.looksGENEVE(s):
		d.geneve(s)
	case is(portNTP):
		return d.tryOther("NTP", layers.LayerTypeNTP, s)
	default:
		return d.bareInUDP(s, to)
	}
	return true
}

package packet

import (
	"strconv"
	"strings"
)

// tcpFlags are the flags from the highest bit on. Source: RFC 9293, 3.1.
var tcpFlags = [8]string{"CWR", "ECE", "URG", "ACK", "PSH", "RST", "SYN", "FIN"}

// tcpFlagOrder is how a line names them, a SYN first.
var tcpFlagOrder = [8]int{7, 6, 5, 4, 3, 2, 1, 0}

func appendTCPFlags(to []byte, flags int) []byte {
	first := true
	for _, i := range tcpFlagOrder {
		if flags>>(7-i)&1 == 0 {
			continue
		}
		if !first {
			to = append(to, ", "...)
		}
		first = false
		to = append(to, tcpFlags[i]...)
	}
	if first {
		to = append(to, "no flags"...)
	}
	return to
}

func (d *walk) sayPorts(o int) {
	d.sayInt("", d.u16(o))
	d.sayInt(" → ", d.u16(o+2))
}

func (d *walk) tcp(s span, c *carrier) {
	o := s.off
	header, flags := max(20, d.u8(o+12)>>4*4), d.u8(o+13)
	if !s.has(13) {
		header = 20
	}
	size := max(0, s.size()-header)
	if d.tree {
		n := d.open("TCP", s, header)
		n.summary(strconv.Itoa(d.u16(o)), " → ", strconv.Itoa(d.u16(o+2)), ", ", string(appendTCPFlags(nil, flags)))
		n.num("Source port", o, 2)
		n.num("Destination port", o+2, 2)
		n.num("Sequence number", o+4, 4)
		n.num("Acknowledgment number", o+8, 4)
		n.bits("Header length", o+12, 1, 0xf0, strconv.Itoa(d.u8(o+12)>>4*4)+" bytes")
		n.add("Flags", o+13, 1, hexed(flags, 2)+" ("+string(appendTCPFlags(nil, flags))+")")
		for i, name := range tcpFlags {
			n.flag(name, o+13, 1, 0x80>>i)
		}
		n.num("Window", o+14, 2)
		n.add("Checksum", o+16, 2, hexed(d.u16(o+16), 4)+", "+d.verify(s, o+16, &cover{protoTCP, c}))
		n.num("Urgent pointer", o+18, 2)
	}
	if d.quoted && s.has(8) && !s.has(20) { // all that an ICMP error must quote
		d.line("TCP")
		d.sayPorts(o)
		d.sayInt(" Seq=", d.u32(o+4))
		return
	}
	if d.stops("TCP", s, 20) {
		return
	}
	if d.u8(o+12)>>4 < 5 {
		d.line("TCP")
		d.sayPorts(o)
		d.say(" Header length ", strconv.Itoa(d.u8(o+12)>>4*4), ", which is too short")
		d.payload(s.from(20))
		return
	}
	if d.tree {
		d.tcpOptions(s.take(header).from(20))
	}
	body := s.from(header)
	if s.has(header) && flags&0x06 == 0 && d.overTCP(body, d.u16(o), d.u16(o+2)) {
		return
	}
	d.line("TCP")
	d.sayPorts(o)
	d.info = append(appendTCPFlags(append(d.info, " ["...), flags), ']')
	d.sayInt(" Seq=", d.u32(o+4))
	if flags&0x10 != 0 {
		d.sayInt(" Ack=", d.u32(o+8))
	}
	d.sayInt(" Win=", d.u16(o+14))
	d.sayInt(" Len=", size)
	d.sayTCPOptions(s.take(header).from(20))
	if s.has(header) {
		d.payload(body)
	}
}

// overTCP tries the protocols that are known by how their messages begin.
func (d *walk) overTCP(s span, from, to int) bool {
	if s.off >= s.end {
		return false
	}
	if d.http(s) {
		return true
	}
	if size := d.u16(s.off); size == s.size()-2 && d.looksDNS(s.from(2), from == 53 || to == 53) {
		d.dns("DNS", s.from(2))
		return true
	}
	return false
}

// nextOption is the size of the TCP option at the span's beginning; ok is unset
// after the last.
func (d *walk) nextOption(s span) (kind, size int, ok bool) {
	if !s.has(1) {
		return 0, 0, false
	}
	kind, size = d.u8(s.off), 1
	if kind > 1 {
		size = d.u8(s.off + 1)
		ok = size >= 2 && s.has(size)
		return kind, size, ok
	}
	return kind, size, true
}

func (d *walk) sayTCPOptions(s span) {
	for {
		kind, size, ok := d.nextOption(s)
		if !ok || kind == 0 {
			return
		}
		o := s.off
		switch {
		case kind == 2 && size == 4:
			d.sayInt(" MSS=", d.u16(o+2))
		case kind == 3 && size == 3:
			d.sayInt(" WS=", 1<<min(d.u8(o+2), 14))
		case kind == 4:
			d.say(" SACK_PERM")
		case kind == 5:
			for at := o + 2; at+8 <= o+size; at += 8 {
				d.sayInt(" SLE=", d.u32(at))
				d.sayInt(" SRE=", d.u32(at+4))
			}
		case kind == 8 && size == 10:
			d.sayInt(" TSval=", d.u32(o+2))
			d.sayInt(" TSecr=", d.u32(o+6))
		}
		s = s.from(size)
	}
}

// tcpOptions tells the options into the header's layer. Source: IANA TCP option
// kinds, RFC 7323.
func (d *walk) tcpOptions(s span) {
	n := node{d, len(d.layers) - 1}
	for {
		kind, size, ok := d.nextOption(s)
		if !ok {
			if s.has(1) {
				n.add("Option", s.off, s.end-s.off, "incomplete")
			}
			return
		}
		o := s.off
		switch {
		case kind == 0:
			n.add("Option: end", o, 1, "")
			return
		case kind == 1:
			n.add("Option: no operation", o, 1, "")
		case kind == 2 && size == 4:
			n.add("Option: maximum segment size", o, size, strconv.Itoa(d.u16(o+2))+" bytes")
		case kind == 3 && size == 3:
			n.add("Option: window scale", o, size, strconv.Itoa(d.u8(o+2))+" (times "+strconv.Itoa(1<<min(d.u8(o+2), 14))+")")
		case kind == 4:
			n.add("Option: selective acknowledgment permitted", o, size, "")
		case kind == 5:
			var blocks []string
			for at := o + 2; at+8 <= o+size; at += 8 {
				blocks = append(blocks, strconv.Itoa(d.u32(at))+"–"+strconv.Itoa(d.u32(at+4)))
			}
			n.add("Option: selective acknowledgment", o, size, strings.Join(blocks, ", "))
		case kind == 8 && size == 10:
			n.add("Option: time stamps", o, size, "value "+strconv.Itoa(d.u32(o+2))+", echo reply "+strconv.Itoa(d.u32(o+6)))
		default:
			n.add("Option "+strconv.Itoa(kind), o, size, textOrHex(d.bytes(o+2, size-2)))
		}
		s = s.from(size)
	}
}

package packet

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/google/gopacket/layers"
)

// shownOptions is how many options of one message are read.
const shownOptions = 256

// dhcpCookie begins the options. Source: RFC 2131, 3.
const dhcpCookie = 0x63825363

func (d *walk) looksDHCP(s span) bool {
	op := d.u8(s.off)
	return s.has(240) && (op == 1 || op == 2) && d.u32(s.off+236) == dhcpCookie ||
		!s.has(240) && s.size() >= 240 && (op == 1 || op == 2) && s.has(12) && d.u16(s.off+1) == 0x0106 // cut: Ethernet addresses of 6 bytes
}

func dhcpKind(t int) string {
	switch t {
	case 1:
		return "Discover"
	case 2:
		return "Offer"
	case 3:
		return "Request"
	case 4:
		return "Decline"
	case 5:
		return "ACK"
	case 6:
		return "NAK"
	case 7:
		return "Release"
	case 8:
		return "Inform"
	}
	return "type " + strconv.Itoa(t)
}

// dhcp is how a machine gets its address. Source: RFC 2131, RFC 2132.
func (d *walk) dhcp(s span) {
	o := s.off
	id := d.u32(o + 4)
	var n node
	if d.tree {
		n = d.open("DHCP", s, s.size())
		n.add("Operation", o, 1, named(d.u8(o), map[int]string{1: "request", 2: "reply"}[d.u8(o)]))
		n.num("Hardware type", o+1, 1)
		n.num("Hardware address length", o+2, 1)
		n.num("Hops", o+3, 1)
		n.add("Transaction ID", o+4, 4, hexed(id, 8))
		n.add("Seconds elapsed", o+8, 2, strconv.Itoa(d.u16(o+8))+" s")
		n.flag("Broadcast", o+10, 2, 0x8000)
		n.addr4("Client IP address", o+12)
		n.addr4("Your IP address", o+16)
		n.addr4("Next server IP address", o+20)
		n.addr4("Relay agent IP address", o+24)
		n.mac("Client MAC address", o+28)
		for _, f := range []struct {
			name     string
			at, size int
		}{{"Server host name", 44, 64}, {"Boot file name", 108, 128}} {
			if b, _, _ := bytes.Cut(d.bytes(o+f.at, f.size), []byte{0}); len(b) > 0 {
				n.add(f.name, o+f.at, f.size, printable(b))
			}
		}
		n.add("Magic cookie", o+236, 4, hexed(d.u32(o+236), 8))
	}
	if d.stops("DHCP", s, 240) {
		return
	}
	kind, asked, name := "", "", ""
	opt := s.from(240)
	for range shownOptions {
		if !opt.has(1) {
			break
		}
		code, size := d.u8(opt.off), d.u8(opt.off+1)
		if code == 0 {
			opt = opt.from(1)
			continue
		}
		if code == 255 {
			if d.tree {
				n.add("End", opt.off, 1, "")
			}
			d.padding(opt.from(1))
			break
		}
		if !opt.has(2 + size) {
			if d.tree {
				n.add("Incomplete", opt.off, opt.end-opt.off, d.missing())
			}
			break
		}
		value := d.dhcpValue(code, opt.off+2, size)
		switch code {
		case 12:
			name = value
		case 50:
			asked = value
		case 53:
			kind = dhcpKind(d.u8(opt.off + 2))
		}
		if d.tree {
			n.add("Option: "+dhcpOption(code), opt.off, 2+size, value)
		}
		opt = opt.from(2 + size)
	}
	if kind == "" {
		d.line("BOOTP", map[int]string{1: "Boot request", 2: "Boot reply"}[d.u8(o)])
	} else {
		d.line("DHCP", "DHCP ", kind)
	}
	d.sayHex(" - Transaction ID ", id, 8)
	switch {
	case kind == "Offer" || kind == "ACK":
		d.sayAddr(", for ", d.ip4(o+16))
	case asked != "":
		d.say(", wants ", asked)
	}
	if name != "" {
		d.say(", host ", name)
	}
	if d.tree {
		n.summary(string(d.info))
	}
}

func dhcpOption(code int) string {
	switch code {
	case 1:
		return "subnet mask"
	case 3:
		return "router"
	case 6:
		return "DNS server"
	case 12:
		return "host name"
	case 15:
		return "domain name"
	case 28:
		return "broadcast address"
	case 50:
		return "requested IP address"
	case 51:
		return "lease time"
	case 53:
		return "message type"
	case 54:
		return "server"
	case 55:
		return "parameters wanted"
	case 58:
		return "renewal time"
	case 59:
		return "rebinding time"
	case 61:
		return "client identifier"
	}
	if name := layers.DHCPOpt(code).String(); !strings.HasPrefix(name, "Unknown") {
		return name + " (" + strconv.Itoa(code) + ")"
	}
	return strconv.Itoa(code)
}

func (d *walk) dhcpValue(code, o, size int) string {
	switch {
	case (code == 1 || code == 3 || code == 6 || code == 28 || code == 50 || code == 54) && size > 0 && size%4 == 0:
		var all []string
		for at := o; at < o+size; at += 4 {
			all = append(all, d.ip4(at).String())
		}
		return strings.Join(all, ", ")
	case (code == 51 || code == 58 || code == 59) && size == 4:
		return strconv.Itoa(d.u32(o)) + " s"
	case code == 53 && size == 1:
		return named(d.u8(o), dhcpKind(d.u8(o)))
	case code == 55:
		var all []string
		for _, c := range d.bytes(o, size) {
			all = append(all, dhcpOption(int(c)))
		}
		return strings.Join(all, ", ")
	case code == 61 && size == 7 && d.u8(o) == 1:
		return string(appendMAC(nil, d.bytes(o+1, 6)))
	case code == 12 || code == 15 || code == 60:
		return printable(d.bytes(o, size))
	}
	return textOrHex(d.bytes(o, size))
}

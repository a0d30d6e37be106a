package packet

import (
	"strconv"
	"strings"

	"github.com/google/gopacket/layers"
)

// shownRecords is how many records of one message are shown.
const shownRecords = 64

// DNS record types. Source: IANA DNS parameters.
const (
	dnsA     = 1
	dnsNS    = 2
	dnsCNAME = 5
	dnsSOA   = 6
	dnsPTR   = 12
	dnsMX    = 15
	dnsTXT   = 16
	dnsAAAA  = 28
	dnsSRV   = 33
	dnsDNAME = 39
	dnsOPT   = 41
)

func dnsTypeName(t int) string {
	switch t {
	case dnsDNAME:
		return "DNAME"
	case 43:
		return "DS"
	case 46:
		return "RRSIG"
	case 47:
		return "NSEC"
	case 48:
		return "DNSKEY"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 252:
		return "AXFR"
	case 255:
		return "ANY"
	}
	if name := layers.DNSType(t).String(); name != "Unknown" {
		return name
	}
	return "TYPE" + strconv.Itoa(t)
}

func dnsClassName(c int) string {
	switch c {
	case 1:
		return "IN"
	case 3:
		return "CH"
	case 255:
		return "ANY"
	}
	return strconv.Itoa(c)
}

func dnsReplyCode(c int) string {
	switch c {
	case 0:
		return "No error"
	case 1:
		return "Format error"
	case 2:
		return "Server failure"
	case 3:
		return "No such name"
	case 4:
		return "Not implemented"
	case 5:
		return "Refused"
	}
	if name := layers.DNSResponseCode(c).String(); name != "Unknown" {
		return name
	}
	return "code " + strconv.Itoa(c)
}

func dnsOperation(op int) string {
	switch op {
	case 0:
		return "Standard query"
	case 1:
		return "Inverse query"
	case 2:
		return "Server status request"
	case 4:
		return "Zone change notification"
	case 5:
		return "Dynamic update"
	}
	return "Operation " + strconv.Itoa(op)
}

// maxPointers is how many pointers a name may follow. One is usual; a hostile
// message has thousands in a row, in each of its names.
const maxPointers = 16

// dnsName reads a name at offset o of a message: where it ends, and whether it is
// right. The pointers of its compression must go back, so that it ends. Source:
// RFC 1035, 4.1.4.
func (d *walk) dnsName(s span, o int) (name string, after int, ok bool) {
	var b strings.Builder
	limit, pointers := o, 0 // where the next pointer must go before
	for after = 0; ; {
		if o >= s.end {
			return "", 0, false
		}
		n := d.u8(o)
		switch {
		case n == 0:
			if after == 0 {
				after = o + 1
			}
			if b.Len() == 0 {
				return "<Root>", after, true
			}
			return b.String(), after, true
		case n >= 0xc0:
			if o+2 > s.end {
				return "", 0, false
			}
			if after == 0 {
				after = o + 2
			}
			to := s.off + d.u16(o)&0x3fff
			if pointers++; to >= limit || pointers > maxPointers {
				return "", 0, false
			}
			o, limit = to, to
		case n > 63 || o+1+n > s.end || b.Len() > 255:
			return "", 0, false
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(printable(d.bytes(o+1, n)))
			o += 1 + n
		}
	}
}

// looksDNS tells whether a message is DNS: on a port of its own by its header, on
// another only if it is right to the last byte.
func (d *walk) looksDNS(s span, port bool) bool {
	o := s.off
	if !s.has(12) {
		return port && s.size() >= 12
	}
	flags, questions, records := d.u16(o+2), d.u16(o+4), d.u16(o+6)+d.u16(o+8)+d.u16(o+10)
	if port {
		return questions <= 64 && flags>>11&15 <= 6
	}
	if questions != 1 || records > 50 || flags&0x0040 != 0 || flags>>11&15 > 5 || s.cut() || flags&0x8000 == 0 && flags&0x0400 != 0 {
		return false
	}
	_, at, ok := d.dnsName(s, o+12)
	if !ok || at+4 > s.end || d.u16(at) == 0 || d.u16(at+2)&0x7fff != 1 {
		return false
	}
	at += 4
	for range records {
		if _, at, ok = d.dnsName(s, at); !ok || at+10 > s.end {
			return false
		}
		at += 10 + d.u16(at+8)
	}
	return at == s.end
}

// dns is a message of the name system. Source: RFC 1035, RFC 6891.
func (d *walk) dns(protocol string, s span) {
	o := s.off
	id, flags := d.u16(o), d.u16(o+2)
	answer, op, code := flags&0x8000 != 0, flags>>11&15, flags&15
	var n node
	if d.tree {
		n = d.open(protocol, s, s.size())
		n.add("Transaction ID", o, 2, hexed(id, 4))
		n.bits("Response", o+2, 2, 0x8000, yesNo(answer))
		n.bits("Operation", o+2, 2, 0x7800, named(op, dnsOperation(op)))
		if answer {
			n.flag("Authoritative", o+2, 2, 0x0400)
		}
		n.flag("Truncated", o+2, 2, 0x0200)
		n.flag("Recursion desired", o+2, 2, 0x0100)
		if answer {
			n.flag("Recursion available", o+2, 2, 0x0080)
			n.flag("Authentic data", o+2, 2, 0x0020)
		}
		n.flag("Checking disabled", o+2, 2, 0x0010)
		if answer {
			n.bits("Reply code", o+2, 2, 0x000f, named(code, dnsReplyCode(code)))
		}
		for i, name := range [4]string{"Questions", "Answers", "Authority records", "Additional records"} {
			n.num(name, o+4+2*i, 2)
		}
	}
	if d.stops(protocol, s, 12) {
		return
	}
	d.line(protocol, dnsOperation(op))
	if answer {
		d.say(" response")
	}
	d.sayHex(" ", id, 4)
	if answer && code != 0 {
		d.say(" ", dnsReplyCode(code))
	}
	at, whole := o+12, true
	for i := 0; i < min(d.u16(o+4), shownRecords) && whole; i++ {
		at, whole = d.question(n, s, at, i)
	}
	shown := 0
	for section, name := range [3]string{"Answer", "Authority", "Additional"} {
		for i := 0; i < d.u16(o+6+2*section) && whole && shown < shownRecords; i++ {
			shown++
			at, whole = d.record(n, s, at, name, section == 0 && i < 8)
		}
	}
	if !whole {
		why := "malformed"
		if s.cut() {
			why = d.missing()
		}
		d.say(" [", why, "]")
		if d.tree {
			n.add("Incomplete", at, s.end-at, why)
		}
	}
	if d.tree {
		n.summary(clip(string(d.info), 160))
	}
}

// question tells the question at an offset; more is unset where it isn't whole.
func (d *walk) question(n node, s span, at, i int) (after int, more bool) {
	name, end, ok := d.dnsName(s, at)
	if !ok || end+4 > s.end {
		return at, false
	}
	t, class := d.u16(end), d.u16(end+2)
	if i < 8 {
		d.say(" ", dnsTypeName(t), " ", name)
	}
	if d.tree {
		n.add("Question: name", at, end-at, name)
		n.add("Question: type", end, 2, named(t, dnsTypeName(t)))
		n.add("Question: class", end+2, 2, dnsClassName(class&0x7fff))
	}
	return end + 4, true
}

// record tells the record at an offset, and in the line if it shall.
func (d *walk) record(n node, s span, at int, section string, line bool) (after int, more bool) {
	name, end, ok := d.dnsName(s, at)
	if !ok || end+10 > s.end {
		return at, false
	}
	t, class, ttl, size := d.u16(end), d.u16(end+2), d.u32(end+4), d.u16(end+8)
	data := end + 10
	value, ok := d.recordData(s, t, data, size)
	if !ok {
		return at, false
	}
	if line {
		d.say(" ", dnsTypeName(t), " ", clip(value, 80))
	}
	if d.tree {
		if t == dnsOPT { // not a record: its class and TTL are other things
			n.add("EDNS: UDP payload size", end+2, 2, strconv.Itoa(class))
			n.bits("EDNS: DNSSEC answers wanted", end+4, 4, 0x8000, yesNo(ttl&0x8000 != 0))
		} else {
			n.add(section+": name", at, end-at, name)
			n.add(section+": type", end, 2, named(t, dnsTypeName(t)))
			n.add(section+": class", end+2, 2, dnsClassName(class&0x7fff))
			n.add(section+": time to live", end+4, 4, strconv.Itoa(ttl)+" s")
			n.add(section+": value", data, size, value)
		}
	}
	return data + size, true
}

// recordData is a record's value in words.
func (d *walk) recordData(s span, t, o, size int) (string, bool) {
	if o+size > s.end {
		return "", false
	}
	switch {
	case t == dnsA && size == 4:
		return d.ip4(o).String(), true
	case t == dnsAAAA && size == 16:
		return d.ip6(o).String(), true
	case t == dnsNS || t == dnsCNAME || t == dnsPTR || t == dnsDNAME:
		name, _, ok := d.dnsName(s, o)
		return name, ok
	case t == dnsMX && size > 2:
		name, _, ok := d.dnsName(s, o+2)
		return strconv.Itoa(d.u16(o)) + " " + name, ok
	case t == dnsSRV && size > 6:
		name, _, ok := d.dnsName(s, o+6)
		return name + ":" + strconv.Itoa(d.u16(o+4)), ok
	case t == dnsSOA:
		master, next, ok := d.dnsName(s, o)
		if !ok {
			return "", false
		}
		mail, next, ok := d.dnsName(s, next)
		return master + " " + mail + " serial " + strconv.Itoa(d.u32(next)), ok
	case t == dnsTXT:
		var parts []string
		for at := o; at < o+size && len(parts) < shownRecords; at += 1 + d.u8(at) {
			parts = append(parts, printable(d.bytes(at+1, min(d.u8(at), o+size-at-1))))
		}
		return strings.Join(parts, " "), true
	}
	return textOrHex(d.bytes(o, size)), true
}

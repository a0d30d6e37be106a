package packet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNesting is how many headers may lie in one another before a packet is taken
// for a hostile one. A lab's deepest has eight or so.
const maxNesting = 24

// walk goes through a frame once, from the outside in. What it reads becomes
// either a line or a tree of layers: each protocol first tells its fields to the
// tree, if there is one, and then goes on inside. The innermost that has
// something to say writes the line.
type walk struct {
	frame  *Frame
	data   []byte
	tree   bool
	layers []Layer

	depth  int
	quoted bool // inside the packet that an ICMP error quotes
	part   bool // inside the first of several fragments

	outer []outerSum

	protocol       string
	src, dst       netip.Addr
	srcMAC, dstMAC []byte // where there is no IP address
	info           []byte
	around         []byte // tunnels and VLANs
}

func (d *walk) start() {
	s := span{0, len(d.data), max(len(d.data), d.frame.Length)}
	if hasEthernet(d.frame.Interface.Hardware) {
		d.ethernet(s)
	} else {
		d.raw(s)
	}
}

// hasEthernet tells frames with an Ethernet header from those that begin with
// IP, as all tunnel devices' do.
func hasEthernet(hardware uint16) bool {
	return hardware == HardwareEther || hardware == HardwareLoopback
}

// infoBytes is as long as a line may get, without its tunnels.
const infoBytes = 400

func (d *walk) summary() Summary {
	info := d.info
	if len(info) > infoBytes {
		info = []byte(clip(string(info), infoBytes))
	}
	return Summary{Protocol: d.protocol, Source: end(d.src, d.srcMAC), Destination: end(d.dst, d.dstMAC), Info: string(append(info, d.around...))}
}

func end(a netip.Addr, mac []byte) string {
	switch {
	case a.IsValid():
		return a.String()
	case mac == nil:
		return ""
	case isBroadcast(mac):
		return "Broadcast"
	}
	return string(appendMAC(nil, mac))
}

// line begins the packet's line anew: what is inside knows more than what is
// around it.
func (d *walk) line(protocol string, s ...string) {
	d.protocol = protocol
	d.info = d.info[:0]
	d.say(s...)
}

func (d *walk) say(s ...string) {
	for _, p := range s {
		d.info = append(d.info, p...)
	}
}

func (d *walk) sayInt(before string, n int) {
	d.info = strconv.AppendInt(append(d.info, before...), int64(n), 10)
}

func (d *walk) sayHex(before string, v, digits int) {
	d.info = appendHex(append(d.info, before...), uint64(v), digits)
}

func (d *walk) sayAddr(before string, a netip.Addr) {
	d.info = a.AppendTo(append(d.info, before...))
}

func (d *walk) sayMAC(before string, mac []byte) {
	d.info = appendMAC(append(d.info, before...), mac)
}

// inside notes a tunnel at the line's end, with the addresses of its ends.
func (d *walk) inside(words string, number int) {
	d.around = append(append(d.around, " · in "...), words...)
	if number >= 0 {
		d.around = strconv.AppendInt(append(d.around, ' '), int64(number), 10)
	}
	if d.src.IsValid() {
		d.around = append(d.src.AppendTo(append(d.around, ", "...)), " → "...)
		d.around = d.dst.AppendTo(d.around)
	}
}

// deeper counts the headers and ends the walk in a packet that nests too many.
func (d *walk) deeper(s span) bool {
	if d.depth++; d.depth <= maxNesting {
		return true
	}
	d.line("Malformed", "More headers in one another than any packet has")
	d.payload(s)
	return false
}

// span is a part of a frame: the bytes from off to end are there, those from end
// to want should be and are not.
type span struct{ off, end, want int }

// size is how many bytes it should have.
func (s span) size() int { return s.want - s.off }

func (s span) has(n int) bool { return s.off+n <= s.end }

func (s span) cut() bool { return s.end < s.want }

// from is the rest after n bytes, take at most the first n.
func (s span) from(n int) span {
	return span{min(s.off+n, s.end), s.end, max(s.want, s.end)}
}

func (s span) take(n int) span {
	want := min(s.want, s.off+n)
	return span{s.off, min(s.end, want), want}
}

// declared are the n bytes that a header says there are, even if the frame or
// the quotation ends before.
func (s span) declared(n int) span {
	return span{s.off, min(s.end, s.off+n), s.off + n}
}

// The readers give zeros beyond the end, so that no input can make them panic;
// who needs to know asks has.

func (d *walk) u8(o int) int {
	if o < 0 || o >= len(d.data) {
		return 0
	}
	return int(d.data[o])
}

func (d *walk) u16(o int) int {
	if o < 0 || o+2 > len(d.data) {
		return 0
	}
	return int(binary.BigEndian.Uint16(d.data[o:]))
}

func (d *walk) u24(o int) int { return d.u8(o)<<16 | d.u16(o+1) }

func (d *walk) u32(o int) int {
	if o < 0 || o+4 > len(d.data) {
		return 0
	}
	return int(binary.BigEndian.Uint32(d.data[o:]))
}

// bytes are those that are there of n.
func (d *walk) bytes(o, n int) []byte {
	o = max(0, min(o, len(d.data)))
	return d.data[o:max(o, min(o+n, len(d.data)))]
}

func (d *walk) of(s span) []byte { return d.bytes(s.off, s.end-s.off) }

func (d *walk) ip4(o int) netip.Addr {
	var a [4]byte
	copy(a[:], d.bytes(o, 4))
	return netip.AddrFrom4(a)
}

func (d *walk) ip6(o int) netip.Addr {
	var a [16]byte
	copy(a[:], d.bytes(o, 16))
	return netip.AddrFrom16(a)
}

// node is a layer of the tree that is being told.
type node struct {
	d     *walk
	index int
}

// open begins a layer of size bytes, or of what is there of them.
func (d *walk) open(name string, s span, size int) node {
	if d.quoted {
		name += " (quoted)"
	}
	d.layers = append(d.layers, Layer{Name: name, Offset: s.off, Length: max(0, min(size, s.end-s.off)), Fields: []Field{}})
	return node{d, len(d.layers) - 1}
}

func (n node) layer() *Layer { return &n.d.layers[n.index] }

func (n node) summary(s ...string) { n.layer().Summary = strings.Join(s, "") }

// add tells a field; one that is not wholly there is left out.
func (n node) add(name string, off, size int, value string) {
	l := n.layer()
	if size < 0 || off < l.Offset || off+size > l.Offset+l.Length {
		return
	}
	l.Fields = append(l.Fields, Field{Name: name, Value: value, Offset: off, Length: size})
}

// bits tells a field that is some bits of at most four bytes.
func (n node) bits(name string, off, size int, mask uint32, value string) {
	before := len(n.layer().Fields)
	n.add(name, off, size, value)
	if fields := n.layer().Fields; len(fields) > before {
		fields[before].Bits = pattern(n.d.bytes(off, size), mask)
	}
}

// flag tells a field of one bit.
func (n node) flag(name string, off, size int, mask uint32) {
	var v uint32
	for _, b := range n.d.bytes(off, size) {
		v = v<<8 | uint32(b)
	}
	value := "not set"
	if v&mask != 0 {
		value = "set"
	}
	n.bits(name, off, size, mask, value)
}

func (n node) num(name string, off, size int) {
	v := 0
	for _, b := range n.d.bytes(off, size) {
		v = v<<8 | int(b)
	}
	n.add(name, off, size, strconv.Itoa(v))
}

func (n node) mac(name string, off int) {
	b := n.d.bytes(off, 6)
	v := string(appendMAC(nil, b))
	switch {
	case len(b) < 6:
	case isBroadcast(b):
		v += " (broadcast)"
	case b[0]&1 != 0:
		v += " (multicast)"
	}
	n.add(name, off, 6, v)
}

func (n node) addr4(name string, off int) { n.add(name, off, 4, n.d.ip4(off).String()) }
func (n node) addr6(name string, off int) { n.add(name, off, 16, n.d.ip6(off).String()) }

// stops tells whether a header of size bytes is not wholly there. The line and
// the tree's last layer then say so, and why.
func (d *walk) stops(protocol string, s span, size int) bool {
	if s.has(size) {
		return false
	}
	why := "the packet ends inside this header"
	if s.off+size <= s.want {
		why = d.missing()
	}
	if d.tree && len(d.layers) > 0 {
		l := &d.layers[len(d.layers)-1]
		if l.Summary = why; l.Length > 0 {
			l.Fields = append(l.Fields, Field{Name: "Incomplete", Value: why, Offset: l.Offset, Length: l.Length})
		}
	}
	d.line(protocol, "Header of ", strconv.Itoa(size), " bytes, of which ", strconv.Itoa(max(0, s.end-s.off)), " are there: ", why)
	return true
}

// missing says why bytes that should be there are not.
func (d *walk) missing() string {
	switch {
	case d.quoted:
		return "the quotation ends here"
	case d.part:
		return "it goes on in the next fragment"
	case d.frame.Length > len(d.data):
		return "cut: only " + strconv.Itoa(len(d.data)) + " bytes of the packet were kept"
	}
	return "the frame ends before"
}

// payload tells the bytes that no protocol is known for.
func (d *walk) payload(s span) {
	if !d.tree || s.size() <= 0 {
		return
	}
	n := d.open("Data", s, s.size())
	text := counted(s.size(), "byte")
	if s.cut() {
		text += ", " + strconv.Itoa(s.end-s.off) + " of them here, " + d.missing()
	}
	n.summary(text)
	if b := d.of(s); len(b) > 0 {
		n.add("Data", s.off, len(b), textOrHex(b))
	}
}

// padding tells what follows a packet inside its frame.
func (d *walk) padding(s span) {
	if !d.tree || d.quoted || s.off >= s.end {
		return
	}
	name := "Padding"
	for _, b := range d.of(s) {
		if b != 0 {
			name = "Trailer"
		}
	}
	n := d.open(name, s, s.size())
	n.summary(counted(s.size(), "byte"))
	n.add(name, s.off, s.end-s.off, textOrHex(d.of(s)))
}

// shownBytes is how many bytes of data a value shows.
const shownBytes = 48

func textOrHex(b []byte) string {
	cut := ""
	if len(b) > shownBytes {
		b, cut = b[:shownBytes], "…"
	}
	text := len(b) >= 3
	for _, c := range b {
		text = text && (c >= ' ' && c < 0x7f || c == '\n' || c == '\r' || c == '\t')
	}
	if text {
		return printable(b) + cut
	}
	return hex.EncodeToString(b) + cut
}

// printable is text from the wire, safe to show: what is not a visible character
// is escaped, so that it steers no terminal and turns no line around.
func printable(b []byte) string {
	plain := true
	for _, c := range b {
		plain = plain && c >= ' ' && c < 0x7f
	}
	if plain {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n <= 1:
			s.WriteString(`\x` + hex.EncodeToString(b[:1]))
		case r == '\n':
			s.WriteString(`\n`)
		case r == '\r':
			s.WriteString(`\r`)
		case r == '\t':
			s.WriteString(`\t`)
		case !unicode.IsPrint(r):
			s.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			s.Write(b[:n])
		}
		b = b[max(n, 1):]
	}
	return s.String()
}

// pattern shows the bits under the mask, the others as dots, in fours.
func pattern(b []byte, mask uint32) string {
	var s strings.Builder
	for i := range len(b) * 8 {
		if i > 0 && i%4 == 0 {
			s.WriteByte(' ')
		}
		switch {
		case mask>>(len(b)*8-1-i)&1 == 0:
			s.WriteByte('.')
		case b[i/8]>>(7-i%8)&1 == 1:
			s.WriteByte('1')
		default:
			s.WriteByte('0')
		}
	}
	return s.String()
}

func isBroadcast(mac []byte) bool { return string(mac) == "\xff\xff\xff\xff\xff\xff" }

func appendMAC(to, mac []byte) []byte {
	for i, b := range mac {
		if i > 0 {
			to = append(to, ':')
		}
		to = hex.AppendEncode(to, []byte{b})
	}
	return to
}

func appendHex(to []byte, v uint64, digits int) []byte {
	to = append(to, "0x"...)
	for i := digits - 1; i >= 0; i-- {
		to = append(to, "0123456789abcdef"[v>>(4*i)&15])
	}
	return to
}

// hexed is 0x0800; both adds the decimal, named a word.
func hexed(v, digits int) string { return string(appendHex(nil, uint64(v), digits)) }

func both(v, digits int) string { return hexed(v, digits) + " (" + strconv.Itoa(v) + ")" }

func named(v int, word string) string { return strconv.Itoa(v) + " (" + word + ")" }

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

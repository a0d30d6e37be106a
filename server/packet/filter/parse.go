package filter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// The syntax tree. A node is one of the types below, up to direction.
type (
	node any

	both   struct{ left, right node }
	either struct{ left, right node }
	negate struct{ of node }

	// protocol is "ip", "tcp", "ip6 proto 17", "ether proto 0x88cc".
	protocol struct {
		family family
		number uint32
	}
	// hosts is "host", and "net" with a shorter mask.
	hosts struct {
		proto     string // "", ip, ip6, arp, rarp
		side      side
		six       bool
		net, mask [4]uint32 // of IPv4 only the first word
	}
	stations struct { // ether host
		side side
		mac  [6]byte
	}
	ports struct {
		transports []uint32 // the IP protocols that have them
		side       side
		low, high  uint32
	}
	// cast is broadcast or multicast.
	cast struct {
		family    family // link, ip4, ip6
		broadcast bool
	}
	// tagged is "vlan": what follows it in the text is looked for behind the tag.
	tagged struct{ ids []uint32 }
	// tunnel is "vxlan" and "geneve": what follows it in the text is looked for
	// inside.
	tunnel struct {
		geneve   bool
		networks []uint32
		position int
	}
	direction struct{ out bool }
	relation  struct {
		compare     string
		left, right value
		position    int
	}
)

type (
	// value is a term of arithmetic: number, length, access or sum.
	value any

	number uint32
	length struct{}
	access struct {
		of       string
		index    value
		size     int
		position int
	}
	sum struct {
		operator    string
		left, right value
	}
)

// side says which of the two ends of a packet an address or port belongs to.
type side uint8

const (
	anySide side = iota
	source
	destination
	bothSides
)

// kind says what the value behind the qualifiers is.
type kind uint8

const (
	kindNone kind = iota
	kindHost
	kindNet
	kindPort
	kindPortRange
	kindProto
)

var kinds = map[string]kind{"host": kindHost, "net": kindNet, "port": kindPort, "portrange": kindPortRange, "proto": kindProto}

// qualifiers are what stands before a value, and what a value without any takes
// from the value before it: "tcp port 80 or 443".
type qualifiers struct {
	proto string
	side  side
	kind  kind
}

type parser struct {
	tokens []token
	next   int
	// last are the qualifiers of the last primitive, if it had a value; else its
	// kind is kindNone.
	last qualifiers
}

func (p *parser) peek() token { return p.tokens[p.next] }

// after is the nth token behind the next one.
func (p *parser) after(n int) token { return p.tokens[min(p.next+n, len(p.tokens)-1)] }

func (p *parser) take() token {
	t := p.peek()
	if t.kind != end {
		p.next++
	}
	return t
}

func (p *parser) accept(texts ...string) bool {
	if p.peek().is(texts...) {
		p.next++
		return true
	}
	return false
}

func fault(t token, suggestion, format string, args ...any) error {
	return &Error{Position: t.position, Message: fmt.Sprintf(format, args...), Suggestion: suggestion}
}

// unknown is the error for a token that can't stand where it does.
func unknown(t token, wanted string) error {
	switch t.kind {
	case end:
		return fault(t, "", "the expression ends where %s should follow", wanted)
	case word, quoted:
		if why, ok := unsupported[t.text]; ok {
			return fault(t, instead[t.text], "%q is not supported: %s", t.text, why)
		}
		if !isKeyword(t.text) {
			if s := bare(t.text); s != "" {
				return fault(t, s, "an address stands here without a word that says what it is")
			}
			return fault(t, meant(t.text), "%q is not a word of the filter language", t.text)
		}
	case numeral:
		return fault(t, "port "+t.text, "a number stands here without a word that says what it is")
	case address:
		return fault(t, bare(t.text), "an address stands here without a word that says what it is")
	}
	s := map[string]string{"&": "and", "|": "or", "=": "=="}[t.text]
	return fault(t, s, "%q stands where %s should", t.text, wanted)
}

// bare is what a lone address is most likely to mean.
func bare(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return "host " + s
	}
	if _, ok := parseMAC(s); ok && len(s) >= 11 {
		return "ether host " + s
	}
	return ""
}

func parse(expression string) (node, error) {
	tokens, err := lex(expression)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	if p.peek().kind == end {
		return nil, nil
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, p.leftOver(t)
	}
	return n, nil
}

// leftOver is the error for what follows a whole expression.
func (p *parser) leftOver(t token) error {
	if t.is("&") {
		return fault(t, "and", `"&" combines numbers; conditions are combined with "and"`)
	}
	if t.is("|", ",") {
		return fault(t, "or", `%q combines numbers; conditions are combined with "or"`, t.text)
	}
	if t.kind == symbol && t.text != "!" && t.text != "(" {
		return unknown(t, `"and" or "or"`)
	}
	if t.kind == word && !isKeyword(t.text) {
		for _, s := range []string{"and", "or"} {
			if distance(strings.ToLower(t.text), s) == 1 {
				return fault(t, s, "%q is not a word of the filter language", t.text)
			}
		}
	}
	return fault(t, "and "+t.text, `"and" or "or" is missing between two conditions`)
}

// expression joins terms; "and" and "or" bind equally and to the left, as in
// tcpdump.
func (p *parser) expression() (node, error) {
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	for {
		and := p.accept("and", "&&")
		if !and && !p.accept("or", "||") {
			return left, nil
		}
		right, err := p.term()
		if err != nil {
			return nil, err
		}
		if and {
			left = both{left, right}
		} else {
			left = either{left, right}
		}
	}
}

func (p *parser) term() (node, error) {
	if p.accept("not", "!") {
		n, err := p.term()
		return negate{n}, err
	}
	if p.startsArithmetic() {
		return p.relation()
	}
	if p.accept("(") {
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		if !p.accept(")") {
			return nil, p.leftOver(p.peek())
		}
		return n, nil
	}
	return p.primitive()
}

var operators = []string{"+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "=", "==", "!="}

// startsArithmetic tells "len > 5", "tcp[0] = 1" and "(ip[0] & 15) != 5" from
// conditions.
func (p *parser) startsArithmetic() bool {
	t := p.peek()
	switch {
	case t.is("-", "len"):
		return true
	case t.is("("):
		return p.tokens[t.closing+1].is(operators...)
	case t.kind == word && p.after(1).is("["):
		return true
	case t.kind == numeral:
		// "10/8" in a list of networks is no division.
		return p.after(1).is(operators...) && !(p.last.kind == kindNet && p.after(1).is("/") && !p.after(3).is(operators...))
	case t.kind == word:
		_, ok := constants[t.text]
		return ok
	}
	return false
}

// primitive is [proto] [side] [kind] value, or one of the special forms.
func (p *parser) primitive() (node, error) {
	t := p.peek()
	inherited := p.last
	p.last = qualifiers{}
	switch {
	case p.accept("less"), p.accept("greater"):
		n, err := p.number("a length")
		if err != nil {
			return nil, err
		}
		return relation{compare: map[string]string{"less": "<=", "greater": ">="}[t.text], left: length{}, right: number(n)}, nil
	case p.accept("inbound", "outbound"):
		return direction{out: t.text == "outbound"}, nil
	case p.accept("broadcast", "multicast"):
		return cast{family: link, broadcast: t.text == "broadcast"}, nil
	case p.accept("vlan"):
		ids, err := p.numbers("a VLAN identifier", 4095)
		return tagged{ids}, err
	case p.accept("vxlan", "geneve"):
		ids, err := p.numbers("a network identifier", 1<<24-1)
		return tunnel{geneve: t.text == "geneve", networks: ids, position: t.position}, err
	}

	q := qualifiers{}
	if _, ok := abbreviations[t.text]; t.kind == word && (ok || t.is("ether", "link")) {
		q.proto = p.take().text
		if q.proto == "link" {
			q.proto = "ether"
		}
		if p.accept("broadcast", "multicast") {
			return p.cast(t)
		}
	}
	beforeSide := p.next
	var err error
	if q.side, err = p.side(); err != nil {
		return nil, err
	}
	if p.next > beforeSide {
		q.kind = kindHost // unless another is written
	}
	if k, ok := kinds[p.peek().text]; ok && p.peek().kind == word {
		q.kind = k
		p.take()
	}
	switch {
	case q == qualifiers{}:
		if inherited.kind == kindNone || t.kind == symbol || t.kind == end || t.kind == word && isKeyword(t.text) {
			return nil, unknown(t, "a condition")
		}
		q = inherited
	case q.kind == kindNone:
		if q.proto == "ether" {
			return nil, fault(p.peek(), "", `"ether" wants host, src, dst, proto, broadcast, multicast or […] behind it`)
		}
		// As in tcpdump "tcp or port 53" gives nothing to inherit.
		return abbreviations[q.proto], nil
	}
	return p.values(q, t)
}

// values reads the value of a primitive, or several in parentheses.
func (p *parser) values(q qualifiers, start token) (node, error) {
	p.last = q
	if p.accept("not", "!") {
		n, err := p.values(q, start)
		return negate{n}, err
	}
	if !p.accept("(") {
		return p.value(q, start)
	}
	left, err := p.values(q, start)
	for err == nil && !p.accept(")") {
		var right node
		and := p.accept("and", "&&")
		if !and && !p.accept("or", "||") {
			return nil, p.leftOver(p.peek())
		}
		if right, err = p.values(q, start); and {
			left = both{left, right}
		} else {
			left = either{left, right}
		}
	}
	return left, err
}

func (p *parser) side() (side, error) {
	t := p.peek()
	if !p.accept("src", "dst") {
		return anySide, nil
	}
	if j, other := p.peek(), p.after(1); j.is("and", "or", "&&", "||") && other.is("src", "dst") {
		// "src or dst host a", but not "src a or dst b".
		p.take()
		p.take()
		if other.text == t.text {
			return 0, fault(other, map[string]string{"src": "dst", "dst": "src"}[t.text], "%s is named twice", t.text)
		}
		if j.is("and", "&&") {
			return bothSides, nil
		}
		return anySide, nil
	}
	if t.text == "src" {
		return source, nil
	}
	return destination, nil
}

// cast reads what stands before broadcast or multicast.
func (p *parser) cast(proto token) (node, error) {
	what := p.tokens[p.next-1]
	f, ok := map[string]family{"ether": link, "link": link, "ip": ip4, "ip6": ip6}[proto.text]
	if !ok || f == ip6 && what.text == "broadcast" {
		s := "ip " + what.text
		if f == ip6 {
			s = "ip6 multicast"
		}
		return nil, fault(what, s, "%s has no %s", proto.text, what.text)
	}
	return cast{family: f, broadcast: what.text == "broadcast"}, nil
}

// value reads the address, port or protocol that the qualifiers speak of.
func (p *parser) value(q qualifiers, start token) (node, error) {
	t := p.peek()
	if t.kind == end || t.kind == symbol || t.kind == word && isKeyword(t.text) && (q.kind != kindProto && services[t.text] == service{}) {
		return nil, unknown(t, map[kind]string{kindHost: "an address", kindNet: "a network", kindPort: "a port",
			kindPortRange: "a range of ports", kindProto: "a protocol"}[q.kind])
	}
	p.take()
	switch q.kind {
	case kindPort, kindPortRange:
		return p.ports(q, t, start)
	case kindProto:
		return p.proto(q, t, start)
	}
	if q.proto == "ether" {
		return p.station(q, t)
	}
	return p.hosts(q, t, start)
}

func (p *parser) station(q qualifiers, t token) (node, error) {
	if q.kind == kindNet {
		return nil, fault(t, "ether host "+t.text, "Ethernet addresses have no networks")
	}
	mac, ok := parseMAC(t.text)
	if !ok {
		if _, err := netip.ParseAddr(t.text); err == nil {
			return nil, fault(t, "host "+t.text, "%s is an IP address, not an Ethernet address", t.text)
		}
		return nil, fault(t, "", "%q is not an Ethernet address, such as 02:00:00:00:00:01", t.text)
	}
	return stations{q.side, mac}, nil
}

func (p *parser) hosts(q qualifiers, t, start token) (node, error) {
	n := hosts{proto: q.proto, side: q.side}
	if _, ok := parseMAC(t.text); ok && strings.ContainsAny(t.text, ":-") {
		return nil, fault(t, "ether host "+t.text, "%s is an Ethernet address", t.text)
	}
	addr, err := netip.ParseAddr(t.text)
	short := 0 // the bytes that "net 10.1" leaves out
	if err != nil && t.kind != address {
		short = 3 - strings.Count(t.text, ".")
		if short > 0 {
			addr, err = netip.ParseAddr(t.text + strings.Repeat(".0", short))
		}
	}
	if err != nil {
		return nil, badAddress(t)
	}
	bits := addr.BitLen()
	n.six = addr.Is6()
	if short > 0 {
		bits = 8 * (4 - short)
	}
	mask := prefixMask(bits)
	slash := p.peek()
	switch {
	case p.accept("/"):
		l := p.take()
		if l.kind != numeral || int64(l.value) > int64(addr.BitLen()) {
			return nil, fault(l, "", "a prefix length from 0 to %d should follow", addr.BitLen())
		}
		bits, mask = int(l.value), prefixMask(int(l.value))
		if q.kind == kindHost {
			return nil, fault(slash, "net "+t.text+"/"+l.text, "a host has no prefix length")
		}
	case q.kind == kindNet && p.accept("mask"):
		m := p.take()
		a, err := netip.ParseAddr(m.text)
		if err != nil || !a.Is4() || n.six {
			return nil, fault(m, "", `a mask such as 255.255.255.0 should follow; IPv6 networks are written as "2001:db8::/32"`)
		}
		mask = [4]uint32{words(a)[0]}
	case short > 0 && q.kind == kindHost:
		return nil, fault(t, "net "+t.text, "%s is a network, not a host", t.text)
	}
	n.net, n.mask = words(addr), mask
	network := n.net
	for i := range network {
		network[i] &= mask[i]
	}
	if network != n.net {
		s := ""
		if slash.is("/") {
			s = fmt.Sprintf("net %s", netip.PrefixFrom(addr, bits).Masked())
		}
		return nil, fault(t, s, "%s has bits outside its mask", t.text)
	}
	what := "host"
	if q.kind == kindNet {
		what = "net"
	}
	switch q.proto {
	case "", "ip", "ip6", "arp", "rarp":
		if n.six && q.proto != "" && q.proto != "ip6" || !n.six && q.proto == "ip6" {
			return nil, fault(start, what+" "+t.text, "%s does not go with %s", q.proto, t.text)
		}
		return n, nil
	}
	return nil, fault(start, q.proto+" and "+what+" "+t.text, "%s has no addresses of its own", q.proto)
}

func badAddress(t token) error {
	if strings.Trim(t.text, "0123456789.") != "" && t.kind != address {
		return fault(t, "", "%q is not an address, and names are not looked up", t.text)
	}
	return fault(t, "", "%q is not an address", t.text)
}

// words are the 32-bit words of an address.
func words(a netip.Addr) (w [4]uint32) {
	for b, i := a.AsSlice(), 0; i < len(b); i += 4 {
		w[i/4] = binary.BigEndian.Uint32(b[i:])
	}
	return w
}

func prefixMask(bits int) (m [4]uint32) {
	for i := range m {
		n := max(0, min(32, bits-32*i))
		m[i] = uint32(uint64(0xffffffff) << (32 - n))
	}
	return m
}

func (p *parser) ports(q qualifiers, t, start token) (node, error) {
	n := ports{side: q.side, transports: []uint32{6, 17, 132}}
	switch q.proto {
	case "tcp", "udp", "sctp":
		n.transports = []uint32{ipProtocols[q.proto]}
	case "":
	case "ip", "ip6":
		return nil, fault(start, q.proto+" and port "+t.text, "%s has no ports of its own", q.proto)
	default:
		return nil, fault(start, "", "%s has no ports", q.proto)
	}
	low, high, isRange := t.text, t.text, false
	if t.kind != numeral && (q.kind == kindPortRange || strings.Trim(t.text, "0123456789-") == "") {
		if i := rangeDash(t.text); i > 0 {
			low, high, isRange = t.text[:i], t.text[i+1:], true
		}
	}
	if isRange && q.kind == kindPort {
		return nil, fault(t, "portrange "+t.text, "%s is a range", t.text)
	}
	from, err := port(q, t, low, 0)
	if err != nil {
		return nil, err
	}
	to, err := port(q, t, high, len(t.text)-len(high))
	if err != nil {
		return nil, err
	}
	n.low, n.high = min(from.port, to.port), max(from.port, to.port)
	if q.proto == "" && from.transport == to.transport && from.transport != "" {
		n.transports = []uint32{ipProtocols[from.transport]}
	}
	return n, nil
}

// rangeDash is the place of the "-" of a range whose ends may have one too.
func rangeDash(s string) int {
	for i := range s {
		if s[i] == '-' && isPort(s[:i]) && isPort(s[i+1:]) {
			return i
		}
	}
	return strings.IndexByte(s, '-')
}

func isPort(s string) bool {
	t := token{kind: word, text: s}
	_, named := services[s]
	return named || s != "" && t.number() == nil && t.kind == numeral
}

// port reads one port, which begins skip bytes into the token.
func port(q qualifiers, t token, text string, skip int) (service, error) {
	part := token{kind: word, text: text, position: t.position + skip}
	if err := part.number(); err != nil {
		return service{}, err
	}
	if part.kind == numeral {
		if part.value > 65535 {
			return service{}, fault(part, "", "ports end at 65535")
		}
		return service{port: part.value}, nil
	}
	s, ok := services[text]
	if !ok {
		var names []string
		for name := range services {
			names = append(names, name)
		}
		if text == "dns" {
			return service{}, fault(part, "domain", "%q is not a port that is known by name", text)
		}
		return service{}, fault(part, nearest(text, names), "%q is not a port that is known by name", text)
	}
	if q.proto != "" && s.transport != "" && q.proto != s.transport {
		return service{}, fault(part, fmt.Sprintf("%s port %d", q.proto, s.port), "%s is a port of %s", text, s.transport)
	}
	return s, nil
}

func (p *parser) proto(q qualifiers, t, start token) (node, error) {
	if q.side != anySide {
		return nil, fault(start, "", "a protocol has no source or destination")
	}
	f, ok := map[string]family{"": anyIP, "ip": ip4, "ip6": ip6, "ether": link}[q.proto]
	if !ok {
		return nil, fault(start, "proto "+t.text, `%s does not stand before "proto"`, q.proto)
	}
	names, largest := ipProtocols, uint32(255)
	if f == link {
		names, largest = etherTypes, 65535
	}
	if t.kind == numeral {
		if t.value > largest {
			return nil, fault(t, "", "protocols end at %d", largest)
		}
		return protocol{f, t.value}, nil
	}
	if n, ok := names[t.text]; ok {
		return protocol{f, n}, nil
	}
	var known []string
	for name := range names {
		known = append(known, name)
	}
	return nil, fault(t, nearest(t.text, known), "%q is not a protocol that is known by name", t.text)
}

func (p *parser) number(what string) (uint32, error) {
	t := p.take()
	if t.kind != numeral {
		return 0, unknown(t, what)
	}
	return t.value, nil
}

// numbers reads no number, one, or a list of them: "vlan 10 or 20". The list is
// not tcpdump's, where the second identifier can't be asked for on the same level.
func (p *parser) numbers(what string, largest uint32) ([]uint32, error) {
	var list []uint32
	open := p.peek().is("(") && p.after(1).kind == numeral && !p.startsArithmetic() && p.accept("(")
	for p.peek().kind == numeral {
		t := p.take()
		if t.value > largest {
			return nil, fault(t, "", "%s ends at %d", what, largest)
		}
		list = append(list, t.value)
		if !p.peek().is("or", "||") || p.after(1).kind != numeral || p.after(2).is(operators...) {
			break
		}
		p.take()
	}
	if open && !p.accept(")") {
		return nil, p.leftOver(p.peek())
	}
	return list, nil
}

package host

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kabel/sandbox/topo"
)

const bridgeCallIptables = "net.bridge.bridge-nf-call-iptables"

var filterChains = []string{"INPUT", "FORWARD", "OUTPUT"}

// tunnel is a socat that carries the packets of a tun device in UDP.
type tunnel struct {
	local, remote netip.AddrPort
	bare          bool // without the four bytes of packet information
}

// run is a Run op: a program of the table, or a tunnel that stays.
func (n *network) run(s *space, o topo.Run) error {
	switch {
	case o.Background && o.Argv[0] == "socat":
		return n.socat(s, o.Argv[1:])
	case slices.Equal(o.Argv, []string{"pkill", "socat"}):
		for _, l := range slices.Clone(s.links) {
			if l.tunnel != nil {
				if err := n.linkDel(l); err != nil {
					return err
				}
			}
		}
		return nil
	}
	out, known := n.program(s, ExecRequest{Argv: o.Argv})
	switch {
	case o.Background:
		return nil // nobody waits for its end
	case !known:
		return fmt.Errorf("%s: not found", o.Argv[0])
	case out.ExitCode != 0:
		return fmt.Errorf("exit code %d: %s", out.ExitCode, strings.TrimSpace(string(out.Stderr)))
	}
	return nil
}

// socat understands TUN:ADDRESS/BITS[,iff-up][,iff-no-pi][,tun-name=NAME] UDP:REMOTE:PORT[,bind=LOCAL:PORT].
func (n *network) socat(s *space, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("the model's socat takes a TUN and a UDP address")
	}
	tunAddress, tunOptions, isTun := socatAddress(args[0], "TUN")
	udpAddress, udpOptions, isUDP := socatAddress(args[1], "UDP")
	prefix, err := netip.ParsePrefix(tunAddress)
	remote, errRemote := netip.ParseAddrPort(udpAddress)
	if !isTun || !isUDP || err != nil || errRemote != nil {
		return fmt.Errorf("the model's socat does not know %q", args)
	}
	t := &tunnel{remote: remote}
	_, t.bare = tunOptions["iff-no-pi"]
	if bind, ok := udpOptions["bind"]; ok {
		if t.local, err = netip.ParseAddrPort(bind); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		if s.owner(t.local.Addr()) == nil {
			return errno("EADDRNOTAVAIL")
		}
	}
	name := tunOptions["tun-name"]
	for i := 0; name == ""; i++ {
		if free := "tun" + strconv.Itoa(i); s.link(free) == nil {
			name = free
		}
	}
	if !topo.ValidLinkName(name) || s.link(name) != nil {
		return errno("EBUSY")
	}
	l := n.newLink(s, name, "tun")
	l.MAC, l.tunnel = "", t
	l.addAddress(prefix)
	if _, up := tunOptions["iff-up"]; up {
		s.setState(l, true)
	}
	return nil
}

func socatAddress(word, kind string) (address string, options map[string]string, ok bool) {
	parts := strings.Split(word, ",")
	address, ok = strings.CutPrefix(parts[0], kind+":")
	options = map[string]string{}
	for _, o := range parts[1:] {
		k, v, _ := strings.Cut(o, "=")
		options[k] = v
	}
	return address, options, ok
}

// probe asks the model. The packet and its answer are walked hop by hop.
func (n *network) probe(s *space, p topo.Probe) (topo.ProbeResult, error) {
	if p.Count < 0 || p.Count > 10 && p.Kind != topo.ProbeTraceroute || p.Size < 0 || p.Size > 65507 {
		return topo.ProbeResult{}, Errorf(CodeInvalid, "a probe has 1 to 10 packets of at most 65507 bytes")
	}
	res := topo.ProbeResult{Probe: p, Sent: max(p.Count, 1), At: time.Now()}
	to, port, err := destination(s, p)
	if err != nil {
		return topo.ProbeResult{}, err
	}
	x := &exchange{kind: p.Kind, port: port}
	pk := packet{kind: "echo", about: x, count: uint64(res.Sent), dst: to, size: 28 + 56, whole: p.DontFragment}
	if p.Size > 0 {
		pk.size = 28 + p.Size
	}
	there, hops, reason := n.roundTrip(s, pk)
	switch p.Kind {
	case topo.ProbePing:
	case topo.ProbeTraceroute:
		for _, hop := range hops {
			res.Detail = append(res.Detail, string(hop.id))
		}
	default:
		if reason == "" && !there.serves(p.Kind, port) {
			x.refused = true
			reason = topo.ReasonRefused
			if p.Kind == topo.ProbeUDP || p.Kind == topo.ProbeDNS {
				reason = topo.ReasonPortUnreachable
			}
		}
	}
	res.Reason, res.OK = reason, reason == ""
	if res.OK {
		res.Received, res.RTTms = res.Sent, 0.05
		switch p.Kind {
		case topo.ProbeHTTP:
			res.Detail = []string{"200 OK"}
		case topo.ProbeDNS:
			if name, _, _ := strings.Cut(p.To, "@"); strings.TrimSuffix(name, ".") != "example.test" {
				res.OK, res.Reason = false, topo.ReasonNoName
			}
		}
	}
	return res, nil
}

// destination reads a probe's To as its kind wants it.
func destination(s *space, p topo.Probe) (ip netip.Addr, port uint16, err error) {
	bad := func(what string) error { return Errorf(CodeInvalid, "%s is no %s for a %s probe", p.To, what, p.Kind) }
	switch p.Kind {
	case topo.ProbePing, topo.ProbeTraceroute:
		if ip, err = netip.ParseAddr(p.To); err != nil {
			return ip, 0, bad("address")
		}
		return ip, 0, nil
	case topo.ProbeTCP, topo.ProbeUDP:
		ap, err := netip.ParseAddrPort(p.To)
		if err != nil || ap.Port() == 0 {
			return ip, 0, bad("address:port")
		}
		return ap.Addr(), ap.Port(), nil
	case topo.ProbeHTTP:
		u, err := url.Parse(p.To)
		if err != nil || u.Scheme != "http" {
			return ip, 0, bad("URL")
		}
		if ip, err = netip.ParseAddr(u.Hostname()); err != nil {
			return ip, 0, bad("URL with an address")
		}
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			return ip, uint16(n), nil
		}
		return ip, 80, nil
	case topo.ProbeDNS:
		name, server, _ := strings.Cut(p.To, "@")
		if server == "" {
			server = "8.8.8.8"
		}
		if ip, err = netip.ParseAddr(server); err != nil || name == "" {
			return ip, 0, bad("name@server")
		}
		return ip, 53, nil
	}
	return ip, 0, Errorf(CodeInvalid, "%q is no kind of probe", p.Kind)
}

func (s *space) serves(kind topo.ProbeKind, port uint16) bool {
	if s.kind != topo.KindInternet {
		return false
	}
	if kind == topo.ProbeUDP || kind == topo.ProbeDNS {
		return port == 53
	}
	return port == 80
}

// packet is what a walk carries: count of them, all alike.
type packet struct {
	kind       string // "echo", "reply", "error" (ICMP unreachable), "udp"
	count      uint64
	src, dst   netip.Addr
	size       int
	whole      bool // must not be fragmented
	fragmented bool
	depth      int // of tunnels around it

	// What only a capture sees.
	ttl              uint8
	about            *exchange
	inner            func(seq uint16) []byte // in a tunnel, or what an error is about
	code             uint8                   // of an error
	expired          bool                    // the error is that its TTL ran out
	srcPort, dstPort uint16                  // of a tunnel
}

// maxHops is a packet's TTL; maxDepth bounds tunnels in tunnels.
const (
	maxHops  = 64
	maxDepth = 4
)

// roundTrip walks a packet from s and its answer back. An answer that is lost
// looks to the sender as if nothing came.
func (n *network) roundTrip(s *space, pk packet) (*space, []*space, topo.Reason) {
	pk.src = s.source(pk.dst)
	there, hops, reason := n.walk(s, pk)
	if reason != "" {
		return nil, hops, reason
	}
	if !pk.src.IsValid() {
		return nil, hops, topo.ReasonTimeout
	}
	back, _, lost := n.walk(there, packet{kind: "reply", count: pk.count, src: pk.dst, dst: pk.src, size: pk.size, about: pk.about, inner: pk.bytes})
	if lost != "" || back != s {
		return nil, hops, topo.ReasonTimeout
	}
	return there, hops, ""
}

// sent and taken count a packet in the namespace that sends or takes it.
var (
	sent  = map[string]string{"echo": "Icmp.OutEchos", "reply": "Icmp.OutEchoReps", "error": "Icmp.OutDestUnreachs"}
	taken = map[string]string{"echo": "Icmp.InEchos", "reply": "Icmp.InEchoReps", "error": "Icmp.InDestUnreachs", "udp": "Udp.InDatagrams"}
)

func (s *space) counts(name string, pk packet) {
	if name != "" {
		s.counters[name] += pk.count
	}
}

// complain sends the ICMP error of at to the packet's sender s, who learns of
// why only if it arrives.
func (n *network) complain(at, s *space, pk packet, why topo.Reason) topo.Reason {
	if pk.kind == "error" || !pk.src.IsValid() {
		return topo.ReasonTimeout
	}
	code := map[topo.Reason]uint8{topo.ReasonHostUnreachable: 1, topo.ReasonTooBig: 4}[why]
	to, _, lost := n.walk(at, packet{kind: "error", count: pk.count, src: at.source(pk.src), dst: pk.src, size: pk.size, depth: pk.depth, inner: pk.bytes, code: code})
	if lost != "" || to != s {
		return topo.ReasonTimeout
	}
	return why
}

// source is the address that s would send from to reach dst.
func (s *space) source(dst netip.Addr) netip.Addr {
	if s.owner(dst) != nil {
		return dst
	}
	r, ok := s.lookup(dst, "")
	if !ok {
		return netip.Addr{}
	}
	if r.Src.IsValid() {
		return r.Src
	}
	links := slices.Clone(s.links)
	if l := s.link(r.Dev); l != nil {
		links = append([]*link{l}, links...)
	}
	for _, l := range links {
		for _, a := range l.Addresses {
			if l.Kind != "loopback" && a.Addr().Is4() == dst.Is4() {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// walk follows a packet from s until a namespace takes it or it dies. hops are
// the namespaces behind s that it came to.
func (n *network) walk(s *space, pk packet) (at *space, hops []*space, why topo.Reason) {
	if s.policies["OUTPUT"] == "DROP" {
		return nil, nil, topo.ReasonProhibited
	}
	at = s
	pk.ttl = maxHops
	var in *link // that it came to at by
	for range maxHops {
		if l := at.owner(pk.dst); l != nil {
			if at == s {
				at.counts(sent[pk.kind], pk)
			}
			if at == s && !at.link("lo").Up || at.policies["INPUT"] == "DROP" {
				return nil, hops, topo.ReasonTimeout
			}
			if at == s {
				n.tape.note(at.link("lo"), false, func(seq uint16) []byte { return ethernet("", "", etherType(pk.dst), pk.bytes(seq)) })
			}
			at.counts(taken[pk.kind], pk)
			return at, hops, ""
		}
		if at != s && at.shownSysctls()[confKey(in.Name, "forwarding")] == "0" {
			at.counts("Ip.InAddrErrors", pk)
			return nil, hops, topo.ReasonTimeout
		}
		r, ok := at.lookup(pk.dst, "")
		switch {
		case !ok && at == s:
			at.counts("Ip.OutNoRoutes", pk)
			return nil, hops, topo.ReasonNetUnreachable
		case !ok:
			at.counts("IpExt.InNoRoutes", pk)
			return nil, hops, n.complain(at, s, pk, topo.ReasonNetUnreachable)
		case r.Type == "unreachable":
			return nil, hops, topo.ReasonHostUnreachable
		case r.Type == "prohibit":
			return nil, hops, topo.ReasonProhibited
		case r.Type != "":
			return nil, hops, topo.ReasonTimeout
		}
		out := at.link(r.Dev)
		if pk.size > out.MTU {
			switch {
			case pk.whole && at == s:
				return nil, hops, topo.ReasonTooBig
			case pk.whole:
				at.counts("Ip.FragFails", pk)
				return nil, hops, n.complain(at, s, pk, topo.ReasonTooBig)
			}
			pk.fragmented = true
		}
		if at == s {
			at.counts(sent[pk.kind], pk)
		} else {
			if at.policies["FORWARD"] == "DROP" || at.dropsFrags && pk.fragmented {
				return nil, hops, topo.ReasonTimeout
			}
			at.counts("Ip.ForwDatagrams", pk)
			pk.ttl--
		}
		next := pk.dst
		// A gateway that is one's own address is none: the kernel asks for the
		// destination itself on the wire.
		if r.Via.IsValid() && at.owner(r.Via) == nil {
			next = r.Via
		}
		var reason topo.Reason
		in, reason = n.cross(out, next, pk)
		if reason == topo.ReasonHostUnreachable {
			reason = n.complain(at, s, pk, reason)
		}
		if reason != "" {
			return nil, hops, reason
		}
		at = in.in
		hops = append(hops, at)
		if !at.accepts(in, pk.src) {
			at.counts("TcpExt.IPReversePathFilter", pk)
			return nil, hops, topo.ReasonTimeout
		}
	}
	return nil, hops, topo.ReasonTTL
}

// accepts is the reverse path filter: strict asks that the way back to the
// source leaves by the same interface, loose that there is one.
func (s *space) accepts(in *link, src netip.Addr) bool {
	settings := s.shownSysctls()
	mode := max(settings[confKey("all", "rp_filter")], settings[confKey(in.Name, "rp_filter")])
	if mode == "0" || !src.Is4() {
		return true
	}
	r, ok := s.lookup(src, "")
	return ok && (mode == "2" || r.Dev == in.Name)
}

// cross takes a packet over the wire, or through the tunnel, behind out to the
// interface that answers for next.
func (n *network) cross(out *link, next netip.Addr, pk packet) (*link, topo.Reason) {
	if out.Kind == "tun" {
		return n.tunnelled(out, pk)
	}
	t := &trail{}
	if out.Kind == "bridge" {
		t.pass(out, true)
	}
	in := arp(out, out.MAC, next, map[*link]bool{}, t)
	asker := pk.src
	if out.in.owner(asker) == nil { // forwarded: it asks from an address of its own
		asker = out.in.source(next)
	}
	if in == nil || !out.in.knows(next, out.Name, in.MAC) {
		t.ask(n.tape, out, asker, next, in)
	}
	if in == nil {
		out.in.learn(topo.Neighbour{IP: next, Dev: out.Name, State: "failed"})
		return nil, topo.ReasonHostUnreachable
	}
	out.in.learn(topo.Neighbour{IP: next, MAC: in.MAC, Dev: out.Name, State: "reachable"})
	if asker.IsValid() {
		in.in.learn(topo.Neighbour{IP: asker, MAC: out.MAC, Dev: in.Name, State: "reachable"})
	}
	t.carry(n.tape, out, in, pk)
	if t.filtered {
		return nil, topo.ReasonTimeout
	}
	return in, ""
}

func (s *space) knows(ip netip.Addr, dev, mac string) bool {
	return slices.ContainsFunc(s.neighbours, func(e topo.Neighbour) bool {
		return e.IP == ip && e.Dev == dev && e.MAC == mac && e.State != "failed"
	})
}

// learn takes a neighbour in place of what was known, unless that is permanent.
func (s *space) learn(e topo.Neighbour) {
	i := slices.IndexFunc(s.neighbours, func(k topo.Neighbour) bool { return k.IP == e.IP && k.Dev == e.Dev })
	switch {
	case i < 0:
		s.neighbours = append(s.neighbours, e)
	case s.neighbours[i].State != "permanent":
		s.neighbours[i] = e
	}
}

// learnMAC is a bridge learning behind which port a station is.
func (s *space) learnMAC(mac string, port *link) {
	for i := range s.fdb {
		e := &s.fdb[i]
		if e.MAC == mac && e.Master == port.master.Name {
			if e.State == "" {
				e.Dev = port.Name // it has moved
			}
			return
		}
	}
	s.fdb = append(s.fdb, topo.FDBEntry{MAC: mac, Dev: port.Name, Master: port.master.Name})
}

// tunnelled wraps the packet in UDP and takes it out at the far socat.
func (n *network) tunnelled(out *link, pk packet) (*link, topo.Reason) {
	t := out.tunnel
	if t == nil || pk.depth == maxDepth {
		return nil, topo.ReasonTimeout
	}
	information := []byte{0, 0, 8, 0} // that the tun device puts before each packet
	if t.bare {
		information = nil
	}
	outer := packet{kind: "udp", count: pk.count, src: t.local.Addr(), dst: t.remote.Addr(), size: 20 + 8 + len(information) + pk.size, depth: pk.depth + 1}
	if !outer.src.IsValid() {
		outer.src = out.in.source(outer.dst)
	}
	n.tape.note(out, true, pk.bytes)
	outer.inner = func(seq uint16) []byte { return slices.Concat(information, pk.bytes(seq)) }
	outer.srcPort, outer.dstPort = t.local.Port(), t.remote.Port()
	far, _, lost := n.walk(out.in, outer)
	if lost != "" {
		return nil, topo.ReasonTimeout
	}
	for _, l := range far.links {
		if l.tunnel != nil && l.Up && l.tunnel.local.Port() == t.remote.Port() && l.tunnel.bare == t.bare {
			n.tape.note(l, false, pk.bytes)
			return l, ""
		}
	}
	return nil, topo.ReasonTimeout
}

// arp finds who answers for ip behind out: an interface with carrier that is no
// bridge port, in a namespace that owns ip (any of its addresses will do, as
// with arp_ignore 0). The bridges on the way learn where the asker, from, and
// the answerer are.
func arp(out *link, from string, ip netip.Addr, seen map[*link]bool, t *trail) *link {
	if seen[out] || !out.carrier() {
		return nil
	}
	seen[out] = true
	s := out.in
	if out.Kind == "bridge" {
		for _, port := range s.links {
			if port.master != out {
				continue
			}
			if in := arp(port, from, ip, seen, t); in != nil {
				s.learnMAC(in.MAC, port)
				return in
			}
		}
		return nil
	}
	mark := len(t.way)
	t.pass(out, true)
	if out.lower != nil {
		if out.Mode == "bridge" {
			if found := out.lower.shared(out, ip, t); found != nil {
				return found
			}
		}
		if found := arp(out.lower, from, ip, seen, t); found != nil {
			return found
		}
		t.way = t.way[:mark]
		return nil
	}
	in := out.peer
	if in == nil {
		t.way = t.way[:mark]
		return nil
	}
	t.pass(in, false)
	if found := in.shared(nil, ip, t); found != nil {
		return found
	}
	switch {
	case in.master != nil && in.master.Up:
		if found := in.bridged(from, ip, seen, t); found != nil {
			return found
		}
	case in.master == nil && in.in.owner(ip) != nil:
		return in
	}
	t.way = t.way[:mark]
	return nil
}

// shared is the macvlan of l that answers for ip. Only those in bridge mode hear
// each other; what comes from outside, where from is nil, all of them hear.
func (l *link) shared(from *link, ip netip.Addr, t *trail) *link {
	for _, m := range l.shares {
		if m != from && m.carrier() && (from == nil || m.Mode == "bridge") && m.in.owner(ip) != nil {
			t.pass(m, false)
			return m
		}
	}
	return nil
}

// bridged goes on with arp from the bridge port in.
func (in *link) bridged(from string, ip netip.Addr, seen map[*link]bool, t *trail) *link {
	br, s := in.master, in.in
	seen[in] = true
	s.learnMAC(from, in)
	if s.owner(ip) != nil {
		t.pass(br, false)
		return br
	}
	t.flooded = append(t.flooded, glimpse{link: br})
	if found := br.shared(nil, ip, t); found != nil {
		return found
	}
	found := arp(br, from, ip, seen, t)
	if found != nil && s.policies["FORWARD"] == "DROP" && s.shownSysctls()[bridgeCallIptables] == "1" {
		t.filtered = true
	}
	return found
}

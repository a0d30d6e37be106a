package journey

import (
	"net/netip"
	"strconv"
)

// trace finds the sighting before j.Sightings[i] on its path, and what has
// changed since. It returns that sighting's index, or -1.
func (t *Tracker) trace(j *Journey, i int) int {
	s := &j.Sightings[i]
	p := t.before(j, i)
	if p < 0 {
		s.After, s.Changes = 0, nil
		return p
	}
	b := &j.Sightings[p]
	if s.After == b.No && s.After != 0 {
		return p
	}
	s.After, s.Changes = b.No, nil
	if !same(b.Stack, s.Stack) {
		d := differ{t: t}
		d.compare(b.Stack, s.Stack)
		s.Changes = d.list
	}
	return p
}

// before is the index of the sighting before j.Sightings[i] on its path, or -1.
func (t *Tracker) before(j *Journey, i int) int {
	if i == 0 {
		return -1
	}
	find := t.beforeIn
	if j.Sightings[i].Out {
		find = t.beforeOut
	}
	p := find(j.Sightings, i, true)
	if p < 0 {
		p = find(j.Sightings, i, false)
	}
	if p < 0 {
		p = i - 1
	}
	return p
}

// beforeIn looks for where something received came from: the other end of the
// cable, or the interface below that unwrapped it. It looks at other fragments
// only if strict isn't set.
func (t *Tracker) beforeIn(all []Sighting, i int, strict bool) int {
	s := &all[i]
	peer := t.peer(s.place)
	for k := i - 1; k >= 0; k-- {
		x := &all[k]
		if (x.place == peer || x.place == s.place) && x.Out && x.ttl == s.ttl && (x.fragment == s.fragment || !strict) {
			return k
		}
	}
	for k := i - 1; k >= 0; k-- {
		x := &all[k]
		if (x.place.node == s.place.node) != x.Out && (x.fragment == s.fragment || !strict) {
			return k
		}
	}
	return -1
}

// beforeOut looks for where something sent came from: how it came to the node, or
// the interface above that it went through first. Of copies that a bridge floods
// none comes from another.
func (t *Tracker) beforeOut(all []Sighting, i int, strict bool) int {
	s := &all[i]
	best, least := -1, 0
	for k := i - 1; k >= 0; k-- {
		x := &all[k]
		if x.place.node != s.place.node || x.place == s.place && x.Out || strict && x.fragment != s.fragment {
			continue
		}
		d := differ{}
		if !same(x.Stack, s.Stack) {
			d.compare(x.Stack, s.Stack)
		}
		if best < 0 || d.count < least || d.count == 0 {
			best, least = k, d.count
		}
		if !x.Out {
			break
		}
	}
	return best
}

// keepChanges copies c to where it lasts.
func (t *Tracker) keepChanges(c []Change) []Change {
	if len(c) == 0 {
		return nil
	}
	if len(c) > len(t.changes) {
		t.changes = make([]Change, max(changeSlab, len(c)))
	}
	kept := t.changes[:len(c):len(c)]
	t.changes = t.changes[len(c):]
	copy(kept, c)
	return kept
}

// maxLevels bounds the tunnels that are compared.
const maxLevels = 6

// level is one packet of those that are wrapped in each other.
type level struct {
	ether, vlan, net, transport *Header
	tunnel                      *Header // that it carries, if it has a header
}

// levels splits a stack, outermost first.
func levels(stack []Header, to *[maxLevels]level) []level {
	n := 0
	wrapped := false // what follows belongs to the next level
	for i := range stack {
		h := &stack[i]
		l := &to[n]
		switch h.Protocol {
		case Ethernet:
			wrapped = wrapped || l.ether != nil || l.net != nil
		case ARP, IPv4, IPv6:
			wrapped = wrapped || l.net != nil
		}
		if wrapped {
			if n++; n == maxLevels {
				return to[:n]
			}
			l = &to[n]
			wrapped = false
		}
		switch h.Protocol {
		case Ethernet:
			l.ether = h
		case VLAN:
			l.vlan = h
		case ARP, IPv4, IPv6:
			l.net = h
		case VXLAN, GENEVE, GRE:
			l.tunnel = h
			wrapped = true
		default:
			l.transport = h
		}
	}
	return to[:n+1]
}

// differ collects what differs between two stacks. Without a Tracker it only
// counts.
type differ struct {
	t     *Tracker
	count int
	list  []Change
}

// compare goes from the innermost packet outwards, as that one is the same.
func (d *differ) compare(a, b []Header) {
	var roomA, roomB [maxLevels]level
	x, y := levels(a, &roomA), levels(b, &roomB)
	if d.t != nil {
		d.list = d.t.made[:0]
	}
	common := min(len(x), len(y))
	for k := 1; k <= common; k++ {
		d.level(&x[len(x)-k], &y[len(y)-k], k > 1)
	}
	for k := len(y) - common - 1; k >= 0; k-- {
		d.wrapped("encapsulated", &y[k], true)
	}
	for k := len(x) - common - 1; k >= 0; k-- {
		d.wrapped("decapsulated", &x[k], false)
	}
	if d.t != nil {
		d.t.made = d.list
		d.list = d.t.keepChanges(d.list)
	}
}

func (d *differ) add(outer bool, field string, words func(w *words) (from, to string)) {
	d.count++
	if d.t == nil {
		return
	}
	if outer {
		field = "outer-" + field
	}
	from, to := words(&d.t.words)
	d.list = append(d.list, Change{field, from, to})
}

func (d *differ) level(a, b *level, outer bool) {
	if a.ether != nil && b.ether != nil {
		if a.ether.SrcMAC != b.ether.SrcMAC {
			d.add(outer, "src-mac", func(w *words) (string, string) { return w.mac(a.ether.SrcMAC), w.mac(b.ether.SrcMAC) })
		}
		if a.ether.DstMAC != b.ether.DstMAC {
			d.add(outer, "dst-mac", func(w *words) (string, string) { return w.mac(a.ether.DstMAC), w.mac(b.ether.DstMAC) })
		}
		if x, y := a.vlan.id(), b.vlan.id(); x != y {
			d.add(outer, "vlan", func(*words) (string, string) { return vlanWord(a.vlan), vlanWord(b.vlan) })
		}
	}
	if a.net != nil && b.net != nil && a.net.Protocol == b.net.Protocol {
		if a.net.TTL != b.net.TTL {
			d.add(outer, "ttl", func(*words) (string, string) { return number(uint32(a.net.TTL)), number(uint32(b.net.TTL)) })
		}
		if a.net.src != b.net.src {
			d.add(outer, "src", func(w *words) (string, string) { return w.addr(a.net.Src()), w.addr(b.net.Src()) })
		}
		if a.net.dst != b.net.dst {
			d.add(outer, "dst", func(w *words) (string, string) { return w.addr(a.net.Dst()), w.addr(b.net.Dst()) })
		}
		if a.net.Fragment != b.net.Fragment || a.net.isFragment() != b.net.isFragment() {
			d.add(outer, "fragment", func(*words) (string, string) { return fragmentWord(a.net), fragmentWord(b.net) })
		}
	}
	if a.transport == nil || b.transport == nil || a.transport.Protocol != b.transport.Protocol {
		return
	}
	if a.transport.SrcPort != b.transport.SrcPort {
		d.add(outer, "src-port", func(*words) (string, string) {
			return number(uint32(a.transport.SrcPort)), number(uint32(b.transport.SrcPort))
		})
	}
	if a.transport.DstPort != b.transport.DstPort {
		d.add(outer, "dst-port", func(*words) (string, string) {
			return number(uint32(a.transport.DstPort)), number(uint32(b.transport.DstPort))
		})
	}
	if a.transport.hasEchoID() && a.transport.ID != b.transport.ID {
		d.add(outer, "icmp-id", func(*words) (string, string) { return number(a.transport.ID), number(b.transport.ID) })
	}
}

// wrapped says what tunnel was put around the packet or taken off it.
func (d *differ) wrapped(field string, l *level, on bool) {
	if l.net == nil {
		return
	}
	d.add(false, field, func(w *words) (string, string) {
		name := l.net.Protocol.String()
		switch {
		case l.tunnel != nil && l.tunnel.Protocol == GRE && l.tunnel.ID == 0:
			name = "gre"
		case l.tunnel != nil:
			name = l.tunnel.Protocol.String() + " " + number(l.tunnel.ID)
		case l.transport != nil:
			name = l.transport.Protocol.String() + " " + number(uint32(l.transport.DstPort))
		}
		name += ", " + w.addr(l.net.Src()) + " → " + w.addr(l.net.Dst())
		if on {
			return "", name
		}
		return name, ""
	})
}

func (h *Header) id() uint32 {
	if h == nil {
		return 0
	}
	return h.ID
}

func vlanWord(h *Header) string {
	if h == nil {
		return ""
	}
	return number(h.ID)
}

// fragmentWord is the bytes of the datagram that h carries, or nothing if that is
// all of them.
func fragmentWord(h *Header) string {
	if !h.isFragment() {
		return ""
	}
	return number(uint32(h.Fragment)) + "–" + number(uint32(h.Fragment)+uint32(max(h.Length, 1))-1)
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// maxWords bounds the addresses whose text is remembered.
const maxWords = 4096

// words remembers the text of addresses: a world has few of them, a capture many
// changes.
type words struct {
	macs  map[[6]byte]string
	addrs map[netip.Addr]string
}

func (w *words) mac(a [6]byte) string {
	s, ok := w.macs[a]
	if ok {
		return s
	}
	if len(w.macs) >= maxWords || w.macs == nil {
		w.macs = map[[6]byte]string{}
	}
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 17)
	for i, x := range a {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[x>>4], digits[x&15])
	}
	s = string(b)
	w.macs[a] = s
	return s
}

func (w *words) addr(a netip.Addr) string {
	s, ok := w.addrs[a]
	if ok {
		return s
	}
	if len(w.addrs) >= maxWords || w.addrs == nil {
		w.addrs = map[netip.Addr]string{}
	}
	s = a.String()
	w.addrs[a] = s
	return s
}

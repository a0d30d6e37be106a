package filter

import (
	"slices"

	"golang.org/x/net/bpf"
)

// The tree becomes conditions on loaded values. A condition is one of:
type (
	condition any // also the constants true and false, as bool

	allOf []condition // in this order, until one fails
	anyOf []condition // in this order, until one holds
	not   struct{ of condition }

	// test loads something into A (and X) and compares A with value, or with X.
	test struct {
		load  []bpf.Instruction
		cond  bpf.JumpTest
		value uint32
		withX bool
	}
	// effect always holds; it notes in the scratch memory where the inside of a
	// tunnel begins, so that the slot set is not 0 after it.
	effect struct {
		do  []bpf.Instruction
		set int
	}
)

// place is a place in the frame: so many bytes behind its first, or behind the
// place that a slot of the scratch memory holds.
type place struct {
	slot   int // -1: none
	offset uint32
}

func (p place) plus(n uint32) place { return place{p.slot, p.offset + n} }

// layer says where the tests look: at the frame itself, behind a VLAN tag, inside
// a tunnel.
type layer struct {
	ethernet bool
	// stripped: the kernel has taken the VLAN tag out of the frame, which is as
	// deep in this struct as if it still were there.
	stripped bool
	link     place // the MAC addresses
	types    place // the EtherType of the payload
	payload  place
	// optional: there may be no link header (Geneve), and then link is payload.
	optional bool
	// inside is the slot that is 0 unless the frame has the tunnel, or -1.
	inside int
}

// The three sorts of frame that a program meets.
var (
	rawLayer      = layer{link: place{-1, 0}, payload: place{-1, 0}, inside: -1}
	etherLayer    = layer{ethernet: true, link: place{-1, 0}, types: place{-1, 12}, payload: place{-1, 14}, inside: -1}
	strippedLayer = layer{ethernet: true, stripped: true, link: place{-1, 0}, types: place{-1, 12}, payload: place{-1, 14}, inside: -1}
)

// scratchSize is the number of 32-bit words that a program can note.
// Source: BPF_MEMWORDS in linux/filter.h.
const scratchSize = 16

type lowering struct {
	layer layer
	slots int // taken from the front; sums take theirs from the back
	err   error
}

func (l *lowering) fail(position int, message string) condition {
	if l.err == nil {
		l.err = &Error{Position: position, Message: message}
	}
	return false
}

// lower goes through the tree in the order of the text, since "vlan" and the
// tunnels move what follows them in the text.
func (l *lowering) lower(n node) condition {
	switch n := n.(type) {
	case nil:
		return true
	case both:
		left := l.lower(n.left)
		return allOf{left, l.lower(n.right)}
	case either:
		left := l.lower(n.left)
		return anyOf{left, l.lower(n.right)}
	case negate:
		return not{l.lower(n.of)}
	case direction:
		c := equal([]bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtType}}, outgoing)
		if n.out {
			return c
		}
		return not{c}
	case relation:
		return l.relation(n)
	}
	guard := l.guard()
	var c condition
	switch n := n.(type) {
	case protocol:
		c = l.protocol(n)
	case hosts:
		c = l.hosts(n)
	case stations:
		c = l.stations(n)
	case ports:
		c = l.ports(n.transports, func(at func(uint32, int) []bpf.Instruction) condition {
			between := func(offset uint32) condition {
				if n.low == n.high {
					return equal(at(offset, 2), n.low)
				}
				return allOf{test{load: at(offset, 2), cond: bpf.JumpGreaterOrEqual, value: n.low},
					test{load: at(offset, 2), cond: bpf.JumpLessOrEqual, value: n.high}}
			}
			return n.side.of(between(0), between(2))
		})
	case cast:
		c = l.cast(n)
	case tagged:
		c = l.vlan(n)
	case tunnel:
		c = l.tunnel(n)
	}
	return allOf{guard, c}
}

// guard holds where the frame has the tunnel that the layer is inside of.
func (l *lowering) guard() condition {
	if l.layer.inside < 0 {
		return true
	}
	return insideTest(l.layer.inside)
}

func insideTest(slot int) test {
	return test{load: []bpf.Instruction{bpf.LoadScratch{Dst: bpf.RegA, N: slot}}, cond: bpf.JumpNotEqual}
}

func (s side) of(src, dst condition) condition {
	switch s {
	case source:
		return src
	case destination:
		return dst
	case bothSides:
		return allOf{src, dst}
	}
	return anyOf{src, dst}
}

func equal(load []bpf.Instruction, v uint32) condition {
	return test{load: load, cond: bpf.JumpEqual, value: v}
}

func masked(load []bpf.Instruction, mask, v uint32) condition {
	switch mask {
	case 0:
		return true
	case 0xffffffff:
		return equal(load, v)
	}
	return equal(append(slices.Clip(load), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask}), v)
}

// What a VLAN tag taken out of the frame leaves behind: its bytes 12 to 15.
const tagStart, tagEnd = 12, 16

// load loads size bytes at a place into A.
func (l *lowering) load(p place, size int) []bpf.Instruction {
	if p.slot >= 0 {
		return []bpf.Instruction{bpf.LoadScratch{Dst: bpf.RegX, N: p.slot}, bpf.LoadIndirect{Off: p.offset, Size: size}}
	}
	if !l.layer.stripped || p.offset+uint32(size) <= tagStart || p.offset >= tagEnd {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: l.real(p.offset), Size: size}}
	}
	if size == 2 && p.offset == tagStart {
		return []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtVLANProto}}
	}
	if size == 2 && p.offset == tagStart+2 {
		return []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtVLANTag}}
	}
	// Byte by byte, some of the tag and some of the frame.
	var out []bpf.Instruction
	for i := range uint32(size) {
		if i > 0 {
			out = append(out, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 8}, bpf.TAX{})
		}
		switch at := p.offset + i; at {
		case tagStart, tagStart + 2:
			out = append(out, l.load(place{-1, at}, 2)...)
			out = append(out, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 8})
		case tagStart + 1, tagStart + 3:
			out = append(out, l.load(place{-1, at - 1}, 2)...)
			out = append(out, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xff})
		default:
			out = append(out, l.load(place{-1, at}, 1)...)
		}
		if i > 0 {
			out = append(out, bpf.ALUOpX{Op: bpf.ALUOpOr})
		}
	}
	return out
}

// real is where in the kernel's frame a place behind the tag is.
func (l *lowering) real(offset uint32) uint32 {
	if l.layer.stripped && offset >= tagEnd {
		return offset - (tagEnd - tagStart)
	}
	return offset
}

// transport leaves in X a place, and returns the bytes from that place to what
// the IPv4 header carries.
func (l *lowering) transport() ([]bpf.Instruction, uint32) {
	p := l.layer.payload
	if p.slot < 0 {
		at := l.real(p.offset)
		return []bpf.Instruction{bpf.LoadMemShift{Off: at}}, at
	}
	return []bpf.Instruction{
		bpf.LoadScratch{Dst: bpf.RegX, N: p.slot},
		bpf.LoadIndirect{Off: p.offset, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0f},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.TAX{},
	}, p.offset
}

// The EtherTypes and the numbers around them. Up to maxLength the field is the
// length of an 802.3 frame, and an LLC header follows.
const (
	etherIP4, etherIP6   = 0x0800, 0x86dd
	etherARP, etherRARP  = 0x0806, 0x8035
	etherVLAN, etherQinQ = 0x8100, 0x88a8
	etherOldQinQ         = 0x9100
	maxLength            = 1500
)

// outgoing is the packet type of what an interface sends. Source:
// PACKET_OUTGOING in linux/if_packet.h.
const outgoing = 4

// carries holds where the payload is of an EtherType. Without a link header,
// the first half-byte of the packet tells.
func (l *lowering) carries(etherType uint32) condition {
	if !l.layer.ethernet {
		version, ok := map[uint32]uint32{etherIP4: 0x40, etherIP6: 0x60}[etherType]
		if !ok {
			return false
		}
		return masked(l.load(l.layer.payload, 1), 0xf0, version)
	}
	if etherType <= maxLength {
		sap := equal(l.load(l.layer.payload, 1), etherType)
		switch etherType {
		case 0x06, 0xf0, 0xfe: // both ends of IP, NetBEUI and ISO have the same one
			sap = equal(l.load(l.layer.payload, 2), etherType<<8|etherType)
		}
		return allOf{test{load: l.load(l.layer.types, 2), cond: bpf.JumpLessOrEqual, value: maxLength}, sap}
	}
	if l.layer.stripped && l.layer.types == strippedLayer.types && etherType != etherVLAN && etherType != etherQinQ {
		return false // the tag was of one of these
	}
	return equal(l.load(l.layer.types, 2), etherType)
}

func (l *lowering) protocol(n protocol) condition {
	switch n.family {
	case link:
		return l.carries(n.number)
	case ip4:
		return allOf{l.carries(etherIP4), equal(l.load(l.layer.payload.plus(9), 1), n.number)}
	case ip6:
		next := l.load(l.layer.payload.plus(6), 1)
		const fragmentHeader = 44
		return allOf{l.carries(etherIP6), anyOf{
			equal(next, n.number),
			allOf{equal(next, fragmentHeader), equal(l.load(l.layer.payload.plus(40), 1), n.number)},
		}}
	}
	return anyOf{l.protocol(protocol{ip4, n.number}), l.protocol(protocol{ip6, n.number})}
}

func (l *lowering) hosts(n hosts) condition {
	ends := func(etherType, src, dst uint32) condition {
		address := func(at uint32) condition {
			all := allOf{l.carries(etherType)}
			size := uint32(1)
			if n.six {
				size = 4
			}
			for i := range size {
				all = append(all, masked(l.load(l.layer.payload.plus(at+4*i), 4), n.mask[i], n.net[i]))
			}
			return all
		}
		return n.side.of(address(src), address(dst))
	}
	if n.six {
		return ends(etherIP6, 8, 24)
	}
	forms := map[string]func() condition{
		"ip":   func() condition { return ends(etherIP4, 12, 16) },
		"arp":  func() condition { return ends(etherARP, 14, 24) },
		"rarp": func() condition { return ends(etherRARP, 14, 24) },
	}
	if n.proto != "" {
		return forms[n.proto]()
	}
	return anyOf{forms["ip"](), forms["arp"](), forms["rarp"]()}
}

// hasLink holds where there are MAC addresses.
func (l *lowering) hasLink() condition {
	if !l.layer.optional {
		return l.layer.ethernet
	}
	return test{load: []bpf.Instruction{
		bpf.LoadScratch{Dst: bpf.RegX, N: l.layer.payload.slot},
		bpf.LoadScratch{Dst: bpf.RegA, N: l.layer.link.slot},
	}, cond: bpf.JumpNotEqual, withX: true}
}

func (l *lowering) stations(n stations) condition {
	address := func(at uint32) condition {
		m := n.mac
		return allOf{
			equal(l.load(l.layer.link.plus(at+2), 4), uint32(m[2])<<24|uint32(m[3])<<16|uint32(m[4])<<8|uint32(m[5])),
			equal(l.load(l.layer.link.plus(at), 2), uint32(m[0])<<8|uint32(m[1])),
		}
	}
	return allOf{l.hasLink(), n.side.of(address(6), address(0))}
}

func (l *lowering) cast(n cast) condition {
	switch {
	case n.family == link && n.broadcast:
		return l.stations(stations{destination, [6]byte{255, 255, 255, 255, 255, 255}})
	case n.family == link:
		return allOf{l.hasLink(), test{load: l.load(l.layer.link, 1), cond: bpf.JumpBitsSet, value: 1}}
	case n.family == ip6:
		return allOf{l.carries(etherIP6), equal(l.load(l.layer.payload.plus(24), 1), 0xff)}
	case n.broadcast:
		// The mask of the network is not known here: only the addresses that are
		// broadcasts in every network.
		dst := l.load(l.layer.payload.plus(16), 4)
		return allOf{l.carries(etherIP4), anyOf{equal(dst, 0), equal(dst, 0xffffffff)}}
	}
	return allOf{l.carries(etherIP4), test{load: l.load(l.layer.payload.plus(16), 1), cond: bpf.JumpGreaterOrEqual, value: 224}}
}

// firstFragment holds where an IPv4 packet has its transport header.
func (l *lowering) firstFragment() condition {
	return test{load: l.load(l.layer.payload.plus(6), 2), cond: bpf.JumpBitsNotSet, value: 0x1fff}
}

// ports asks want, once with the transport header of IPv6 and once with that of
// IPv4, of packets of these protocols.
func (l *lowering) ports(protocols []uint32, want func(at func(offset uint32, size int) []bpf.Instruction) condition) condition {
	var six, four anyOf
	for _, number := range protocols {
		six = append(six, equal(l.load(l.layer.payload.plus(6), 1), number))
		four = append(four, equal(l.load(l.layer.payload.plus(9), 1), number))
	}
	return anyOf{
		allOf{l.carries(etherIP6), six, want(func(offset uint32, size int) []bpf.Instruction {
			return l.load(l.layer.payload.plus(40+offset), size)
		})},
		allOf{l.carries(etherIP4), four, l.firstFragment(), want(func(offset uint32, size int) []bpf.Instruction {
			base, rest := l.transport()
			return append(base, bpf.LoadIndirect{Off: rest + offset, Size: size})
		})},
	}
}

func (l *lowering) vlan(n tagged) condition {
	if !l.layer.ethernet {
		return false
	}
	c := allOf{anyOf{l.carries(etherVLAN), l.carries(etherQinQ), l.carries(etherOldQinQ)}}
	if l.layer.stripped && l.layer.types == strippedLayer.types {
		c = nil // the tag is what makes the layer so
	}
	if n.ids != nil {
		var ids anyOf
		for _, id := range n.ids {
			ids = append(ids, masked(l.load(l.layer.payload, 2), 0x0fff, id))
		}
		c = append(c, ids)
	}
	l.layer.types = l.layer.types.plus(4)
	l.layer.payload = l.layer.payload.plus(4)
	return c
}

// The UDP ports of the tunnels. Linux's own default for VXLAN is older than the
// standard. Source: RFC 7348, RFC 8926, drivers/net/vxlan.
const (
	portVXLAN, portLinuxVXLAN = 4789, 8472
	portGeneve                = 6081
)

// etherBridged is the EtherType of "an Ethernet frame" in Geneve.
const etherBridged = 0x6558

func (l *lowering) tunnel(n tunnel) condition {
	slots := 1
	if n.geneve {
		slots = 3
	}
	slot := l.slots
	if l.slots += slots; l.slots > scratchSize {
		return l.fail(n.position, "too many tunnels inside each other")
	}
	outer := *l // the conditions on the tunnel itself are of the layer as it was
	isTunnel := func(at func(uint32, int) []bpf.Instruction) condition {
		var c allOf
		if n.geneve {
			c = allOf{equal(at(2, 2), portGeneve), masked(at(8, 1), 0xc0, 0)} // version 0
		} else {
			c = allOf{anyOf{equal(at(2, 2), portVXLAN), equal(at(2, 2), portLinuxVXLAN)},
				masked(at(8, 1), 0x08, 0x08)} // the identifier counts
		}
		if n.networks != nil {
			var ids anyOf
			for _, id := range n.networks {
				ids = append(ids, masked(at(12, 4), 0xffffff00, id<<8))
			}
			c = append(c, ids)
		}
		return c
	}
	udp := []uint32{ipProtocols["udp"]}
	found := outer.ports(udp, func(at func(uint32, int) []bpf.Instruction) condition {
		return allOf{isTunnel(at), effect{do: noteHeader(at(8, 1), slot), set: slot}}
	})

	l.layer.ethernet = true
	l.layer.inside = slot
	l.layer.link = place{slot, 0}
	l.layer.optional = n.geneve
	if !n.geneve {
		l.layer.link.offset = 8
		l.layer.types = l.layer.link.plus(12)
		l.layer.payload = l.layer.link.plus(14)
		return found
	}
	// Geneve: 8 bytes and options, then an Ethernet frame or what the protocol
	// field says. slot becomes the place of the frame, the next two those of the
	// EtherType and the payload.
	header := place{slot, 0}
	aEther := equal(l.load(header.plus(2), 2), etherBridged)
	places := func(do ...bpf.Instruction) effect { return effect{do: do, set: slot} }
	types, payload := slot+1, slot+2
	l.layer.types, l.layer.payload = place{types, 0}, place{payload, 0}
	return allOf{found, anyOf{
		allOf{aEther, places(append(afterOptions(slot),
			bpf.StoreScratch{Src: bpf.RegA, N: slot},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 12}, bpf.StoreScratch{Src: bpf.RegA, N: types},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 2}, bpf.StoreScratch{Src: bpf.RegA, N: payload})...)},
		places(append([]bpf.Instruction{
			bpf.LoadScratch{Dst: bpf.RegA, N: slot},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 2}, bpf.StoreScratch{Src: bpf.RegA, N: types}},
			append(afterOptions(slot),
				bpf.StoreScratch{Src: bpf.RegA, N: slot}, bpf.StoreScratch{Src: bpf.RegA, N: payload})...)...),
	}}
}

// afterOptions leaves in A the place behind the Geneve header that the slot
// holds.
func afterOptions(slot int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadScratch{Dst: bpf.RegX, N: slot},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x3f},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 8},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
	}
}

// noteHeader turns a load of one byte into a note of its place.
func noteHeader(load []bpf.Instruction, slot int) []bpf.Instruction {
	rest := slices.Clone(load[:len(load)-1])
	switch last := load[len(load)-1].(type) {
	case bpf.LoadAbsolute:
		rest = append(rest, bpf.LoadConstant{Dst: bpf.RegA, Val: last.Off})
	case bpf.LoadIndirect:
		rest = append(rest, bpf.TXA{}, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: last.Off})
	}
	return append(rest, bpf.StoreScratch{Src: bpf.RegA, N: slot})
}

var compares = map[string]bpf.JumpTest{
	"==": bpf.JumpEqual, "!=": bpf.JumpNotEqual, "<": bpf.JumpLessThan,
	">": bpf.JumpGreaterThan, "<=": bpf.JumpLessOrEqual, ">=": bpf.JumpGreaterOrEqual,
}

// swapped are the comparisons with their sides exchanged.
var swapped = map[string]string{"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}

func (l *lowering) relation(n relation) condition {
	c := append(l.checks(n.left), l.checks(n.right)...)
	if left, ok := n.left.(number); ok {
		if right, ok := n.right.(number); ok {
			return holds(compares[n.compare], uint32(left), uint32(right))
		}
		n.left, n.right, n.compare = n.right, n.left, swapped[n.compare]
	}
	if right, ok := n.right.(number); ok {
		return append(c, test{load: l.compute(n.left, scratchSize, n.position), cond: compares[n.compare], value: uint32(right)})
	}
	return append(c, test{load: l.pair(n.left, n.right, scratchSize, n.position), cond: compares[n.compare], withX: true})
}

func holds(c bpf.JumpTest, a, b uint32) bool {
	switch c {
	case bpf.JumpEqual:
		return a == b
	case bpf.JumpNotEqual:
		return a != b
	case bpf.JumpLessThan:
		return a < b
	case bpf.JumpGreaterThan:
		return a > b
	case bpf.JumpLessOrEqual:
		return a <= b
	case bpf.JumpGreaterOrEqual:
		return a >= b
	case bpf.JumpBitsSet:
		return a&b != 0
	default: // bpf.JumpBitsNotSet
		return a&b == 0
	}
}

// checks are what must hold for the bytes of a value to be what they are called.
func (l *lowering) checks(v value) allOf {
	switch v := v.(type) {
	case sum:
		return append(l.checks(v.left), l.checks(v.right)...)
	case access:
		c := append(allOf{l.guard()}, l.checks(v.index)...)
		if p, ok := abbreviations[v.of]; ok {
			if accessible[v.of] == fromIPv6Body {
				return append(c, l.carries(etherIP6), equal(l.load(l.layer.payload.plus(6), 1), p.number))
			}
			if accessible[v.of] == fromTransport {
				p.family = ip4
				return append(c, l.protocol(p), l.firstFragment())
			}
			return append(c, l.protocol(p))
		}
		return c
	}
	return nil
}

// compute leaves a value in A. It may use the slots below free.
func (l *lowering) compute(v value, free, position int) []bpf.Instruction {
	if l.err != nil {
		return nil // too deep already
	}
	switch v := v.(type) {
	case number:
		return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(v)}}
	case length:
		load := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}
		if l.layer.stripped {
			load = append(load, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: tagEnd - tagStart})
		}
		return load
	case sum:
		op := map[string]bpf.ALUOp{"+": bpf.ALUOpAdd, "-": bpf.ALUOpSub, "*": bpf.ALUOpMul, "/": bpf.ALUOpDiv, "%": bpf.ALUOpMod,
			"&": bpf.ALUOpAnd, "|": bpf.ALUOpOr, "^": bpf.ALUOpXor, "<<": bpf.ALUOpShiftLeft, ">>": bpf.ALUOpShiftRight}[v.operator]
		if k, ok := v.right.(number); ok {
			return append(l.compute(v.left, free, position), bpf.ALUOpConstant{Op: op, Val: uint32(k)})
		}
		return append(l.pair(v.left, v.right, free, position), bpf.ALUOpX{Op: op})
	case access:
		return l.access(v, free, position)
	}
	return nil
}

// pair leaves left in A and right in X.
func (l *lowering) pair(left, right value, free, position int) []bpf.Instruction {
	slot := l.spare(free, position)
	out := append(l.compute(left, free, position), bpf.StoreScratch{Src: bpf.RegA, N: slot})
	out = append(out, l.compute(right, free-1, position)...)
	return append(out, bpf.TAX{}, bpf.LoadScratch{Dst: bpf.RegA, N: slot})
}

func (l *lowering) spare(free, position int) int {
	if free <= l.slots {
		l.fail(position, "the sum is too deep")
		return 0
	}
	return free - 1
}

func (l *lowering) access(v access, free, position int) []bpf.Instruction {
	base := l.layer.payload
	switch accessible[v.of] {
	case fromLink:
		base = l.layer.link
	case fromIPv6Body:
		base = base.plus(40)
	}
	k, known := v.index.(number)
	if accessible[v.of] != fromTransport && known {
		return l.load(base.plus(uint32(k)), v.size)
	}
	header, rest := l.transport()
	if known {
		return append(header, bpf.LoadIndirect{Off: rest + uint32(k), Size: v.size})
	}
	index := l.compute(v.index, free, position)
	switch {
	case accessible[v.of] != fromTransport && base.slot < 0:
		return append(index, bpf.TAX{}, bpf.LoadIndirect{Off: l.real(base.offset), Size: v.size})
	case accessible[v.of] != fromTransport:
		return append(index, bpf.LoadScratch{Dst: bpf.RegX, N: base.slot}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{},
			bpf.LoadIndirect{Off: base.offset, Size: v.size})
	}
	slot := l.spare(free, position)
	out := append(index, bpf.StoreScratch{Src: bpf.RegA, N: slot})
	out = append(out, header...)
	return append(out, bpf.LoadScratch{Dst: bpf.RegA, N: slot}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{},
		bpf.LoadIndirect{Off: rest, Size: v.size})
}

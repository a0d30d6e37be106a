package journey

import (
	"net/netip"
	"slices"
)

// maxFaces bounds the tuples of one conversation, whatever conntrack tells.
const maxFaces = 64

// Flow is an address translation as conntrack tells it, on whatever node.
type Flow struct {
	Protocol uint8
	// Original is as the first packet came to the node, Reply as the answers come.
	Original, Reply Tuple
	// Gone is set where the translation has ended.
	Gone bool
}

// Tuple is one direction of a Flow. The port of ICMP is the id of the echo.
type Tuple struct {
	Src, Dst netip.AddrPort
}

func (t Tuple) tuple(protocol uint8) tuple {
	r := tuple{src: t.Src.Addr().As16(), dst: t.Dst.Addr().As16(), srcPort: t.Src.Port(), dstPort: t.Dst.Port(), protocol: protocol}
	if protocol == protocolICMP || protocol == protocolICMPv6 {
		id := max(r.srcPort, r.dstPort)
		r.srcPort, r.dstPort = id, id
	}
	return r
}

// conversation is both directions of what two ends say to each other, under all
// the addresses that they have on the way.
type conversation struct {
	id    uint64
	faces []tuple // canonical
	flows int     // that hold faces together
	first *entry  // of the open journeys, oldest first
	final *entry
	open  int
	// unacked are the TCP segments of each direction that wait to be
	// acknowledged.
	unacked [2]segments
}

// side is one direction of a conversation.
type side struct {
	conv   *conversation
	turned bool
}

func (c *conversation) idle() bool { return c.open == 0 && c.flows == 0 }

// entry is a journey's place in a bucket and in its conversation.
type entry struct {
	journey    *Journey
	conv       *conversation
	turned     bool
	sig        uint64
	sum        uint64 // of the tuple that it was entered with
	bucket     *bucket
	index      int // in the bucket
	prev, next *entry
}

// known is the conversation of x if there is one.
func (t *Tracker) known(x tuple) (c *conversation, turned bool) {
	face, turned := x.canonical()
	s := t.convs[face]
	return s.conv, turned != s.turned
}

// conversation is that of x.
func (t *Tracker) conversation(x tuple) (c *conversation, turned bool) {
	face, turned := x.canonical()
	if s := t.convs[face]; s.conv != nil {
		return s.conv, turned != s.turned
	}
	t.lastID++
	c = &conversation{id: t.lastID, faces: []tuple{face}}
	t.convs[face] = side{conv: c}
	return c, turned
}

// forget removes a conversation that nothing is open of.
func (t *Tracker) forget(c *conversation) {
	for _, face := range c.faces {
		delete(t.convs, face)
	}
}

// enter makes j findable by its conversation and signature.
func (t *Tracker) enter(e *entry, j *Journey, c *conversation, turned bool, sig, sum uint64) {
	*e = entry{journey: j, conv: c, turned: turned, sig: sig, sum: sum, prev: c.final}
	if c.final != nil {
		c.final.next = e
	} else {
		c.first = e
	}
	c.final = e
	c.open++
	t.bucket(bucketKey(c, turned, sig)).add(e)
}

// enterParts makes j findable by the fragments of its datagram.
func (t *Tracker) enterParts(j *Journey, l *look) {
	for _, e := range j.more {
		if e.sig == l.partsSig {
			return
		}
	}
	c, turned := t.conversation(l.partsOf)
	e := &entry{}
	sum := l.partsOf.sum(t.seed)
	t.enter(e, j, c, turned, l.partsSig, sum)
	j.more = append(j.more, e)
}

// leave is the opposite of enter.
func (t *Tracker) leave(e *entry) {
	c := e.conv
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		c.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		c.final = e.prev
	}
	e.prev, e.next = nil, nil
	c.open--
	t.drop(e)
	e.conv = nil
	if c.idle() {
		t.forget(c)
	}
}

type flowKey struct {
	original, reply tuple
}

// flow counts how often a translation was told of: that of a fragment stands for
// many.
type flow struct {
	told int
	gone int64 // the clock when it went, 0 while it lasts
}

// leaving is a translation that is forgotten when its window is over.
type leaving struct {
	key flowKey
	at  int64
}

// Flow takes a translation that conntrack has told of. It may come a little after
// the packets that it explains.
func (t *Tracker) Flow(f Flow) {
	if !f.Original.Src.IsValid() || !f.Original.Dst.IsValid() || !f.Reply.Src.IsValid() || !f.Reply.Dst.IsValid() {
		return
	}
	o, r := f.Original.tuple(f.Protocol), f.Reply.tuple(f.Protocol)
	if o == r.reverse() {
		return // nothing is translated
	}
	t.translate(flowKey{o, r}, f.Gone)
	if p, q := o.portless(), r.portless(); p != q.reverse() {
		t.translate(flowKey{p, q}, f.Gone)
	}
}

func (t *Tracker) translate(key flowKey, gone bool) {
	x := t.flows[key]
	switch {
	case gone && (x == nil || x.gone != 0):
	case gone:
		if x.told--; x.told > 0 {
			return
		}
		x.gone = max(t.clock, 1)
		t.leaving = append(t.leaving, leaving{key, x.gone})
		if len(t.leaving) > t.maxFlows() {
			t.dropFlows(t.leaving[len(t.leaving)/2].at + 1)
		}
	case x != nil:
		x.told++
		x.gone = 0
	default:
		if len(t.flows) >= t.maxFlows() {
			for some := range t.flows {
				t.dropFlow(some)
				break
			}
		}
		if c := t.link(key.original, key.reply.reverse()); c != nil {
			c.flows++
			t.flows[key] = &flow{told: 1}
			if key.original.dst != key.reply.src {
				t.onward[key.original] = netip.AddrFrom16(key.reply.src).Unmap()
			}
			if key.reply.dst != key.original.src {
				t.onward[key.reply] = netip.AddrFrom16(key.original.src).Unmap()
			}
			t.review(c)
		}
	}
}

// maxFlows bounds the translations that are remembered: of more, any one is
// forgotten.
func (t *Tracker) maxFlows() int { return 8 * t.options.MaxOpen }

// dropFlows forgets the translations that went before limit.
func (t *Tracker) dropFlows(limit int64) {
	n := 0
	for n < len(t.leaving) && t.leaving[n].at < limit {
		if x := t.flows[t.leaving[n].key]; x != nil && x.gone == t.leaving[n].at {
			t.dropFlow(t.leaving[n].key)
		}
		n++
	}
	t.leaving = slices.Delete(t.leaving, 0, n)
}

func (t *Tracker) dropFlow(key flowKey) {
	delete(t.flows, key)
	delete(t.onward, key.original)
	delete(t.onward, key.reply)
	if c, _ := t.known(key.original); c != nil {
		if c.flows--; c.idle() {
			t.forget(c)
		}
	}
}

// link makes a and b faces of one conversation and returns it, or nil if it would
// have too many.
func (t *Tracker) link(a, b tuple) *conversation {
	c, turnedA := t.conversation(a)
	d, turnedB := t.conversation(b)
	if c == d {
		return c
	}
	if len(c.faces)+len(d.faces) > maxFaces {
		for _, x := range []*conversation{c, d} {
			if x.idle() {
				t.forget(x)
			}
		}
		return nil
	}
	if c.open < d.open {
		c, d = d, c
	}
	turn := turnedA != turnedB
	for _, face := range d.faces {
		s := t.convs[face]
		t.convs[face] = side{conv: c, turned: s.turned != turn}
	}
	c.faces = append(c.faces, d.faces...)
	c.flows += d.flows
	for way := range d.unacked {
		to := way
		if turn {
			to = 1 - way
		}
		c.unacked[to].take(&d.unacked[way])
	}
	t.relink(c, d, turn)
	return c
}

// relink moves the journeys of d to c and joins those that fit together now.
func (t *Tracker) relink(c, d *conversation, turn bool) {
	for e := d.first; e != nil; e = d.first {
		d.first = e.next
		t.drop(e)
		j := e.journey
		t.enter(e, j, c, e.turned != turn, e.sig, e.sum)
		if e != &j.first {
			continue
		}
		asks, replies := j.waiting.in != nil, j.promised != 0
		t.stopWaiting(j)
		if asks {
			t.ask(j, c, e.turned)
		}
		if replies {
			t.reply(j, c, e.turned)
		}
		if other := t.counterpart(e); other != nil {
			t.join(other, j)
		}
	}
	d.final, d.open = nil, 0
}

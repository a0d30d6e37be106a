package journey

import (
	"net/netip"
	"time"

	"kabel/sandbox/topo"
	"kabel/server/packet"
)

// What Options leave open.
const (
	DefaultWindow  = 4 * time.Second
	DefaultMaxOpen = 16384
)

const (
	// maxSightings bounds one journey; more belong to another.
	maxSightings = 512
	// maxRetraced bounds how many sightings are looked at again when one that was
	// before them comes late.
	maxRetraced = 64
	// maxPlaces bounds the interfaces that are remembered by name.
	maxPlaces = 8192
	// headerSlab and changeSlab are how many of each are allocated at once.
	headerSlab = 128
	changeSlab = 64
	// firstSightings is how many sightings a journey has room for at first.
	firstSightings = 6
)

// Options of a Tracker; those left out are the defaults.
type Options struct {
	// Window is how long after its last sighting a packet may still be seen.
	Window time.Duration
	// MaxOpen bounds the journeys that are followed at once: of more, the one
	// that was seen longest ago is closed as if its window were over. One of six
	// hops takes about 2.6 kB.
	MaxOpen int
	// Local says whether a node owns an address. Without it only loopback
	// addresses are owned, and by every node.
	Local func(topo.NodeID, netip.Addr) bool
	// Peer is the other end of an interface's cable, if there is one. Without it
	// the order in time is all there is.
	Peer func(packet.Interface) (packet.Interface, bool)
}

// Tracker joins frames to journeys. It is not safe for use by several goroutines.
type Tracker struct {
	options Options
	seed    uint64
	clock   int64 // the latest time of any frame
	last    uint64

	look   look
	quoted []Header

	places  map[placeName]*place
	nodes   map[topo.NodeID]*node
	convs   map[tuple]side
	lastID  uint64 // of a conversation
	buckets map[uint64]*bucket
	spare   []*bucket
	flows   map[flowKey]*flow
	onward  map[tuple]netip.Addr // where a translation sends what comes as this
	leaving []leaving

	asked   map[uint64]*questions
	early   map[uint64]*Journey
	open    int
	oldest  *Journey
	newest  *Journey
	changed []*Journey

	headers []Header
	changes []Change
	made    []Change // those of the sighting at hand
	words   words
}

// New is a Tracker that has seen nothing.
func New(o Options) *Tracker {
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = DefaultMaxOpen
	}
	return &Tracker{
		options: o, seed: newSeed(),
		places: map[placeName]*place{}, nodes: map[topo.NodeID]*node{},
		convs: map[tuple]side{}, buckets: map[uint64]*bucket{}, flows: map[flowKey]*flow{}, onward: map[tuple]netip.Addr{},
		asked: map[uint64]*questions{}, early: map[uint64]*Journey{},
	}
}

type placeName struct {
	node topo.NodeID
	link string
}

// place is an interface that was seen, node the machine that it is in: pointers,
// so that they are compared fast.
type place struct {
	name   packet.Interface
	node   *node
	peer   *place
	looked int64 // the clock when peer was asked for
	usual  int64 // ns that packets take to here from the hop before, at their fastest lately
}

// took learns that a packet took ns to here.
func (p *place) took(ns int64) {
	if slower := p.usual + p.usual/16 + 1000; p.usual == 0 || ns < slower {
		p.usual = ns + 1
	} else {
		p.usual = slower
	}
}

// patience is how long after its last sighting a packet is expected here. A
// younger one that is alike in everything is preferred to one that is later.
func (p *place) patience() int64 {
	if p.usual == 0 {
		return stale
	}
	return max(leastPatience, patienceFor*p.usual)
}

type node struct {
	id topo.NodeID
}

// peerLasts is how long the answer of Options.Peer holds.
const peerLasts = int64(250 * time.Millisecond)

func (t *Tracker) place(i packet.Interface) *place {
	name := placeName{i.Node, i.Link}
	p := t.places[name]
	if p != nil {
		return p
	}
	if len(t.places) >= maxPlaces {
		clear(t.places)
		clear(t.nodes)
	}
	n := t.nodes[i.Node]
	if n == nil {
		n = &node{id: i.Node}
		t.nodes[i.Node] = n
	}
	p = &place{name: i, node: n}
	t.places[name] = p
	return p
}

// peer is the place at the other end of p's cable, or nil.
func (t *Tracker) peer(p *place) *place {
	if t.options.Peer == nil {
		return nil
	}
	if p.looked == 0 || t.clock-p.looked > peerLasts {
		p.looked, p.peer = t.clock, nil
		if other, ok := t.options.Peer(p.name); ok {
			p.peer = t.place(other)
		}
	}
	return p.peer
}

// Add finds the journey of a frame, or begins one: then fresh is set. It keeps
// nothing of f.Data. Other journeys may change with it: Expire tells which.
func (t *Tracker) Add(f *packet.Frame) (j *Journey, fresh bool) {
	l := &t.look
	l.read(f, t.seed, &t.quoted)
	l.sum = l.tuple.sum(t.seed)
	t.clock = max(t.clock, l.at)
	l.place = t.place(f.Interface)

	c, turned := t.conversation(l.tuple)
	key := bucketKey(c, turned, l.sig)
	b := t.buckets[key]
	if b != nil {
		j = t.choose(b, l)
	}
	if j == nil && l.parts && l.plain {
		if other, way := t.known(l.partsOf); other != nil {
			if parts := t.buckets[bucketKey(other, way, l.partsSig)]; parts != nil {
				j = t.choose(parts, l)
			}
		}
	}
	if fresh = j == nil; fresh {
		j = t.begin(l)
		c, turned = t.conversation(l.tuple) // its last journey may just have been closed
		t.enter(&j.first, j, c, turned, l.sig, l.sum)
	} else if c.idle() {
		t.forget(c)
	}
	if l.parts && (fresh || !l.plain) {
		t.enterParts(j, l)
	}
	at := t.insert(j, l)
	t.touch(j)
	t.arrive(j, &j.Sightings[at], l)
	if fresh {
		t.relate(j, l, c, turned)
	} else if l.weak && b != nil && b.live > 1 {
		j = t.joinAround(j, b, l)
	}
	return j, fresh
}

// begin opens a journey, and closes the one seen longest ago if there are too
// many.
func (t *Tracker) begin(l *look) *Journey {
	if t.open >= t.options.MaxOpen {
		t.close(t.oldest)
	}
	t.last++
	t.open++
	return &Journey{ID: t.last, State: InFlight, kind: l.kind, ident: l.ident, Sightings: make([]Sighting, 0, firstSightings)}
}

// touch makes j the one that was seen last.
func (t *Tracker) touch(j *Journey) {
	j.active = t.clock
	if t.newest == j {
		return
	}
	t.unlink(j)
	j.older = t.newest
	if t.newest != nil {
		t.newest.newer = j
	} else {
		t.oldest = j
	}
	t.newest = j
}

// unlink takes j out of the order of the open journeys, if it is in it.
func (t *Tracker) unlink(j *Journey) {
	if j.older != nil {
		j.older.newer = j.newer
	} else if t.oldest == j {
		t.oldest = j.newer
	}
	if j.newer != nil {
		j.newer.older = j.older
	} else if t.newest == j {
		t.newest = j.older
	}
	j.older, j.newer = nil, nil
}

// insert puts the sighting where it belongs in time and returns its index.
func (t *Tracker) insert(j *Journey, l *look) int {
	f := l.frame
	at := len(j.Sightings)
	for at > 0 && j.Sightings[at-1].at > l.at {
		at--
	}
	j.Sightings = append(j.Sightings, Sighting{})
	copy(j.Sightings[at+1:], j.Sightings[at:])
	j.Sightings[at] = Sighting{
		No: f.No, Interface: l.place.name, Out: f.Out, Time: f.Time, Length: f.Length,
		place: l.place, at: l.at, tuple: l.sum, fragment: l.fragment, ttl: l.ttl,
	}
	s := &j.Sightings[at]
	s.Interface.Hardware = f.Interface.Hardware
	if at == 0 {
		j.Started = f.Time
	}
	// What bridges pass on has the same headers everywhere.
	for i := at - 1; i >= max(0, at-4) && s.Stack == nil; i-- {
		if same(j.Sightings[i].Stack, l.stack) {
			s.Stack = j.Sightings[i].Stack
		}
	}
	if s.Stack == nil {
		s.Stack = t.keep(l.stack)
	}
	if p := t.trace(j, at); p >= 0 {
		l.place.took(l.at - j.Sightings[p].at)
	}
	for i := at + 1; i < min(len(j.Sightings), at+maxRetraced); i++ {
		if t.trace(j, i) == at {
			x := &j.Sightings[i]
			x.place.took(x.at - l.at)
		}
	}
	return at
}

func same(a, b []Header) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// keep copies a stack to where it lasts.
func (t *Tracker) keep(stack []Header) []Header {
	if len(stack) > len(t.headers) {
		t.headers = make([]Header, max(headerSlab, len(stack)))
	}
	s := t.headers[:len(stack):len(stack)]
	t.headers = t.headers[len(stack):]
	copy(s, stack)
	return s
}

// arrive looks whether the sighting s ends j's way.
func (t *Tracker) arrive(j *Journey, s *Sighting, l *look) {
	if j.State != InFlight || s.Out || !l.plain {
		return
	}
	if l.kind == kindSolicitation && l.stack[l.inner].Src().IsUnspecified() {
		j.State = Delivered // it asks whether anyone has the address that it wants for itself
		return
	}
	if l.kind == kindSolicitation {
		target := payload(l.frame.Data, &l.stack[len(l.stack)-1])
		if t.local(s.place.node.id, netip.AddrFrom16([16]byte(target))) {
			j.State = Delivered
		}
		return
	}
	way := l.tuple
	if l.kind == kindError {
		way = way.reverse() // an error goes back to where the packet came from
	}
	if t.reached(s.place.node.id, l.stack, l.inner, way) {
		j.State = Delivered
	}
}

// reached says whether what is received at node has got where it was to go.
func (t *Tracker) reached(at topo.NodeID, stack []Header, inner int, way tuple) bool {
	if inner < 0 {
		return true
	}
	h := &stack[inner]
	switch {
	case h.Protocol == ARP:
		return h.src == h.dst || t.local(at, h.Dst())
	case !h.isIP():
		return true
	}
	dst := h.Dst()
	if dst.IsMulticast() || h.Protocol == IPv4 && dst == broadcast {
		return true
	}
	if e := &stack[0]; e.Protocol == Ethernet && e.DstMAC[0]&1 != 0 { // a subnet's broadcast address
		return true
	}
	if !t.local(at, dst) {
		return false
	}
	// The owner may be only the one that translates it.
	onward, translated := t.onward[way]
	return !translated || t.local(at, onward)
}

// review takes back what was delivered to an owner that a translation, which came
// late, makes one on the way only.
func (t *Tracker) review(c *conversation) {
	for e := c.first; e != nil; e = e.next {
		j := e.journey
		if j.State != Delivered || j.kind == kindError {
			continue
		}
		j.State = InFlight
		for i := range j.Sightings {
			s := &j.Sightings[i]
			inner := innermost(s.Stack)
			if s.Out || inner < 0 || outermostIP(s.Stack) != inner {
				continue
			}
			way := tupleOf(s.Stack, inner)
			if s.Stack[inner].isFragment() {
				way = way.portless()
			}
			if t.reached(s.place.node.id, s.Stack, inner, way) {
				j.State = Delivered
				break
			}
		}
		if j.State == InFlight {
			t.mark(j)
		}
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func (t *Tracker) local(at topo.NodeID, a netip.Addr) bool {
	return a.IsLoopback() || t.options.Local != nil && t.options.Local(at, a)
}

// Expire closes the journeys that were last seen more than a window before now,
// and returns all that have changed since the last call otherwise than by the Add
// that returned them: those closed, joined to another, or answered. It has to be
// called now and then, or the oldest changes are forgotten.
func (t *Tracker) Expire(now time.Time) (changed []*Journey) {
	limit := now.Add(-t.options.Window).UnixNano()
	for t.oldest != nil && t.oldest.active < limit {
		t.close(t.oldest)
	}
	t.dropFlows(limit)
	changed, t.changed = t.changed, nil
	for _, j := range changed {
		j.changed = false
	}
	return changed
}

// mark notes that j has changed.
func (t *Tracker) mark(j *Journey) {
	if j.changed {
		return
	}
	if len(t.changed) >= 2*t.options.MaxOpen {
		for _, x := range t.changed[:t.options.MaxOpen] {
			x.changed = false
		}
		t.changed = append([]*Journey(nil), t.changed[t.options.MaxOpen:]...)
	}
	j.changed = true
	t.changed = append(t.changed, j)
}

// close ends an open journey: nothing is added to it any more.
func (t *Tracker) close(j *Journey) {
	if j.State == InFlight && j.Into == 0 {
		j.State = Gone
	}
	j.closed = true
	t.open--
	t.unlink(j)
	t.leave(&j.first)
	for _, e := range j.more {
		t.leave(e)
	}
	j.more = nil
	t.stopWaiting(j)
	j.question, j.answer = nil, nil
	t.mark(j)
}

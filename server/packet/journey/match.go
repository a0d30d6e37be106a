package journey

import (
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

func newSeed() uint64 { return rand.Uint64() }

func bucketKey(c *conversation, turned bool, sig uint64) uint64 {
	k := mix(sig, c.id)
	if turned {
		k = ^k
	}
	return k
}

const (
	// fewEntries is how many entries of a bucket are looked at one by one; in a
	// larger one each hop remembers where it has got to.
	fewEntries = 8
	// maxTried bounds how many journeys a frame is compared with.
	maxTried = 32
	// maxCursors bounds the hops that remember it.
	maxCursors = 64
	// maxSpare bounds the buckets that are kept for the next packet.
	maxSpare = 1024
	// stale is how much time lies between two packets that are alike if nothing
	// else is known, and the longest that a cable is thought to take.
	stale = int64(100 * time.Millisecond)
	// leastPatience and patienceFor say how late a packet may be compared with
	// others on the same hop.
	leastPatience = int64(10 * time.Millisecond)
	patienceFor   = 4
)

// bucket has the journeys of one signature, oldest first. Nearly always that is
// one; of 10,000 packets that are alike it is all.
type bucket struct {
	key     uint64
	entries []*entry // nil where one has left
	live    int
	cursors []cursor
}

// cursor is where one hop has got to: no entry before next is for it any more,
// since its frames come in the order of time.
type cursor struct {
	place    *place
	out      bool
	ttl      int16
	fragment uint16
	next     int
}

// bucket is that of key, new if need be.
func (t *Tracker) bucket(key uint64) *bucket {
	b := t.buckets[key]
	if b != nil {
		return b
	}
	if n := len(t.spare); n > 0 {
		b, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		b = &bucket{}
	}
	b.key = key
	t.buckets[key] = b
	return b
}

func (b *bucket) add(e *entry) {
	e.bucket, e.index = b, len(b.entries)
	b.entries = append(b.entries, e)
	b.live++
}

// drop takes an entry out of its bucket.
func (t *Tracker) drop(e *entry) {
	b := e.bucket
	b.entries[e.index] = nil
	b.live--
	e.bucket = nil
	if b.live == 0 {
		delete(t.buckets, b.key)
		if len(t.spare) < maxSpare && cap(b.entries) <= fewEntries {
			clear(b.cursors)
			*b = bucket{entries: b.entries[:0], cursors: b.cursors[:0]}
			t.spare = append(t.spare, b)
		}
		return
	}
	if len(b.entries) > 4*b.live+fewEntries {
		b.compact()
	}
}

// compact closes the gaps; cursors stay behind what they have passed.
func (b *bucket) compact() {
	passed := make([]int, len(b.cursors)) // live entries before each cursor
	kept := b.entries[:0]
	for i, e := range b.entries {
		if e == nil {
			continue
		}
		for c := range b.cursors {
			if i < b.cursors[c].next {
				passed[c]++
			}
		}
		e.index = len(kept)
		kept = append(kept, e)
	}
	clear(b.entries[len(kept):])
	b.entries = slices.Clip(kept)
	for c := range b.cursors {
		b.cursors[c].next = passed[c]
	}
}

// cursor is that of l's hop, or nil if there are too many hops.
func (b *bucket) cursor(l *look) *cursor {
	for i := range b.cursors {
		if c := &b.cursors[i]; c.place == l.place && c.out == l.frame.Out && c.ttl == l.ttl && c.fragment == l.fragment {
			return c
		}
	}
	if len(b.cursors) == maxCursors {
		return nil
	}
	b.cursors = append(b.cursors, cursor{place: l.place, out: l.frame.Out, ttl: l.ttl, fragment: l.fragment})
	return &b.cursors[len(b.cursors)-1]
}

// choose is the journey in b that l belongs to, or nil.
func (t *Tracker) choose(b *bucket, l *look) *Journey {
	if len(b.entries) <= fewEntries {
		j, _ := t.search(b, l, 0, fewEntries, nil)
		return j
	}
	c := b.cursor(l)
	from := 0
	if c != nil {
		from = c.next
	}
	j, old := t.search(b, l, from, maxTried, c)
	if !old {
		return j
	}
	// All that was tried has long passed; what is right is far behind them.
	young := l.at - l.place.patience()
	first := from + sort.Search(len(b.entries)-from, func(i int) bool {
		for i += from; i < len(b.entries); i++ {
			if e := b.entries[i]; e != nil {
				return e.journey.Started.UnixNano() > young
			}
		}
		return true
	})
	if k, old := t.search(b, l, first, maxTried, nil); k != nil && !old {
		return k
	}
	return j
}

// search tries up to limit entries of b from index from on. It moves c past those
// that will never be for its hop. It says whether the best is an old one only.
func (t *Tracker) search(b *bucket, l *look, from, limit int, c *cursor) (best *Journey, old bool) {
	most := 0
	ahead := c != nil
	for i := from; i < len(b.entries) && limit > 0; i++ {
		e := b.entries[i]
		f := never
		if e != nil {
			f = t.fit(e.journey, l, b.live > 1)
		}
		if f == later {
			break
		}
		if f == never {
			if ahead {
				c.next = i + 1
			} else {
				limit--
			}
			continue
		}
		ahead = false
		limit--
		if f == wrong {
			continue
		}
		if f > most {
			best, most = e.journey, f
		}
		if f >= sure {
			break
		}
	}
	return best, best != nil && most < recent
}

// How well a frame fits a journey; more is better.
const (
	wrong = -2 // now
	later = -1 // nor does it fit any younger journey
	never = 0  // nor does any later frame of the same hop fit this one

	loose  = 1  // nothing speaks against it
	near   = 3  // its node is on the journey
	cabled = 5  // so is the other end of its cable
	alike  = 1  // added where the addresses are those of the sighting before or after
	recent = 10 // added where that was not long ago
	sure   = recent + near + alike
)

// fit compares the frame in hand with a journey. Where there are others alike, one
// that should have come long ago is not it.
func (t *Tracker) fit(j *Journey, l *look, others bool) int {
	if len(j.Sightings) >= maxSightings {
		return never
	}
	peer := t.peer(l.place)
	before, after := -1, -1 // the sightings around l in time
	link := loose
	here := false // its node is on the journey
	for i := range j.Sightings {
		s := &j.Sightings[i]
		if s.at <= l.at {
			before = i
		} else if after < 0 {
			after = i
		}
		if s.place == l.place && s.Out == l.frame.Out && s.ttl == l.ttl && s.fragment == l.fragment {
			return never
		}
		if s.place.node == l.place.node {
			here = true
			if s.at <= l.at && (l.frame.Out || peer == nil) && link < near {
				link = near
			}
		}
		if s.place == peer && s.Out != l.frame.Out && s.ttl == l.ttl && s.fragment == l.fragment {
			// On a cable a packet is received after it is sent, and at once: what
			// delays it comes before the sending.
			switch gap := l.at - s.at; {
			case s.Out && gap < 0, !s.Out && gap < -stale:
				return later
			case !s.Out && gap > 0, s.Out && gap > stale:
				return never
			}
			link = cabled
		}
	}
	window := int64(t.options.Window)
	same, soon := false, false
	if before >= 0 {
		s := &j.Sightings[before]
		gap := l.at - s.at
		soon = gap <= l.place.patience()
		switch {
		case after >= 0:
		case gap > window, others && !soon && l.place.usual > 0:
			return never
		}
		if l.ttl > s.ttl && s.ttl != noTTL {
			return wrong
		}
		same = s.tuple == l.sum
	}
	if after >= 0 {
		s := &j.Sightings[after]
		gap := s.at - l.at
		soon = soon || gap <= s.place.patience()
		if before < 0 && (gap > window || others && !soon && s.place.usual > 0) {
			return later
		}
		if s.ttl > l.ttl && l.ttl != noTTL {
			return wrong
		}
		same = same || s.tuple == l.sum
	}
	if link == loose && l.weak && t.options.Peer != nil && !here && peer != nil {
		return wrong
	}
	if same {
		link += alike
	}
	if soon {
		link += recent
	}
	return link
}

// counterpart is the oldest journey of e's bucket that is the same packet as e's.
func (t *Tracker) counterpart(e *entry) *Journey {
	b := e.bucket
	from := 0
	if len(b.entries) > maxTried {
		from = t.firstAround(b, e.journey)
	}
	for i := from; i < min(len(b.entries), from+maxTried); i++ {
		if x := b.entries[i]; x != nil && x.journey != e.journey && t.fitTogether(x.journey, e.journey) {
			return x.journey
		}
	}
	return nil
}

// firstAround is the first entry of b that isn't long before j.
func (t *Tracker) firstAround(b *bucket, j *Journey) int {
	limit := j.Sightings[0].at - stale
	return sort.Search(len(b.entries), func(i int) bool {
		for ; i < len(b.entries); i++ {
			if e := b.entries[i]; e != nil {
				return e.journey.Sightings[0].at >= limit
			}
		}
		return true
	})
}

// fitTogether says that the sightings of two journeys can be one packet's.
func (t *Tracker) fitTogether(a, b *Journey) bool {
	if len(a.Sightings)+len(b.Sightings) > maxSightings || len(a.Sightings)*len(b.Sightings) > maxSightings {
		return false
	}
	for i := range a.Sightings {
		x := &a.Sightings[i]
		for k := range b.Sightings {
			y := &b.Sightings[k]
			if x.hop(y) {
				return false
			}
			if x.ttl != y.ttl && (x.at < y.at) == (x.ttl < y.ttl) {
				return false
			}
			if x.Out != y.Out && x.ttl == y.ttl && (t.peer(x.place) == y.place) && x.Out != (x.at <= y.at) {
				return false
			}
		}
	}
	first, second := a, b
	if b.Sightings[0].at < a.Sightings[0].at {
		first, second = b, a
	}
	return second.Sightings[0].at-first.Sightings[len(first.Sightings)-1].at <= int64(t.options.Window)
}

// joinAround joins to j what the frame in hand has shown to be the same packet:
// a journey that had begun apart, at the other end of the frame's cable or at its
// node. It returns the journey that has both.
func (t *Tracker) joinAround(j *Journey, b *bucket, l *look) *Journey {
	peer := t.peer(l.place)
	tried := 0
	for i := len(b.entries) - 1; i >= 0 && tried < fewEntries; i-- {
		e := b.entries[i]
		if e == nil {
			continue
		}
		tried++
		k := e.journey
		if k == j || !k.leads(l, peer) || !t.fitTogether(j, k) {
			continue
		}
		return t.join(j, k)
	}
	return j
}

// leads says that the hop of l is next to one of j.
func (j *Journey) leads(l *look, peer *place) bool {
	for i := range j.Sightings {
		s := &j.Sightings[i]
		if gap := l.at - s.at; gap > stale || gap < -stale {
			continue
		}
		if s.place.node == l.place.node || s.place == peer && s.Out != l.frame.Out {
			return true
		}
	}
	return false
}

// join makes one journey of two; the one that began to be followed first stays.
func (t *Tracker) join(a, b *Journey) *Journey {
	if b.ID < a.ID {
		a, b = b, a
	}
	merged := make([]Sighting, 0, len(a.Sightings)+len(b.Sightings))
	x, y := a.Sightings, b.Sightings
	for len(x) > 0 && len(y) > 0 {
		if y[0].at < x[0].at {
			merged, y = append(merged, y[0]), y[1:]
		} else {
			merged, x = append(merged, x[0]), x[1:]
		}
	}
	a.Sightings = append(append(merged, x...), y...)
	a.Started = a.Sightings[0].Time
	b.Sightings = nil
	b.Into = a.ID
	for i := range a.Sightings {
		t.trace(a, i)
	}
	if a.State == InFlight || b.State == Answered {
		a.State = b.State
	}
	t.inherit(a, b)
	for _, e := range b.more {
		e.journey = a
	}
	a.more = append(a.more, b.more...)
	b.more = nil
	a.active = max(a.active, b.active)
	t.touch(a)
	t.mark(a)
	t.close(b)
	return a
}

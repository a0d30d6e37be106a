package journey

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"kabel/sandbox/topo"
	"kabel/server/packet"
)

// FuzzPeel: no bytes make it panic, and what it says lies within them.
func FuzzPeel(f *testing.F) {
	for _, fr := range mixedFrames(f) {
		f.Add(fr.Data, fr.Interface.Hardware, fr.Length)
	}
	f.Fuzz(func(t *testing.T, data []byte, hardware uint16, length int) {
		stack := Peel(nil, &packet.Frame{Interface: packet.Interface{Hardware: hardware}, Data: data, Length: length})
		if len(stack) > maxHeaders {
			t.Fatalf("%d headers", len(stack))
		}
		for i := range stack {
			h := &stack[i]
			if h.Payload < 0 || int(h.Payload) > len(data) || i > 0 && h.Payload < stack[i-1].Payload {
				t.Fatalf("the payload of %s begins at %d of %d", h.Protocol, h.Payload, len(data))
			}
			payload(data, h)
			h.Src()
			h.Dst()
			h.word()
		}
	})
}

// mixedFrames are frames of every scenario, real and made.
func mixedFrames(t testing.TB) []*packet.Frame {
	var all []*packet.Frame
	add := func(s *sim, every int) {
		for i, r := range s.records {
			if i%every == 0 {
				all = append(all, r.frame)
			}
		}
	}
	for _, name := range []string{"bridge", "routed", "translated", "vxlan", "socat"} {
		add(captured(t, name), 9)
	}
	s := newSim(twoHosts, twoHostsOwn)
	masqueradedPings(s, 3)
	forwardedTCP(s, 2)
	overlayPings(s, 3)
	tunnelPings(s, 3)
	identical(s, 5)
	add(s, 1)
	return all
}

// play turns bytes into what a capture might bring: frames, mutated, at any place
// and time, translations, ends of windows.
type play struct {
	t      testing.TB
	tr     *Tracker
	frames []*packet.Frame
	now    time.Time
	no     uint64
	where  map[uint64]*Journey // by the number of the sighting
	all    map[uint64]*Journey
	max    int
}

func newPlay(t testing.TB, frames []*packet.Frame, max int) *play {
	p := &play{t: t, frames: frames, now: epoch, where: map[uint64]*Journey{}, all: map[uint64]*Journey{}, max: max}
	p.tr = New(Options{MaxOpen: max,
		Local: func(n topo.NodeID, a netip.Addr) bool {
			return len(n) > 0 && a.IsValid() && a.As16()[15]%4 == n[len(n)-1]%4
		},
		Peer: func(i packet.Interface) (packet.Interface, bool) {
			p, ok := twoHosts[string(i.Node)+"/"+i.Link]
			if !ok {
				return packet.Interface{}, false
			}
			return placeAt(p), true
		}})
	return p
}

var fuzzPlaces = []string{"c1/eth0", "h1/v1", "h1/v2", "c2/eth0", "h1/eth0", "h2/eth0", "h1/vxlan0", "h2/vxlan0", "h1/tun0", "h2/tun0", "h2/v3", "c3/eth0", "c1/lo", "h1/br0"}

// step takes eight bytes.
func (p *play) step(b [8]byte) {
	switch b[0] % 16 {
	case 0:
		p.tr.Expire(p.now.Add(time.Duration(b[1]) * 100 * time.Millisecond))
	case 1, 2:
		addrs := []netip.Addr{c1, c2, h1, h2, c3, addr("fd01::1"), {}}
		end := func(x byte) netip.AddrPort { return netip.AddrPortFrom(addrs[int(x)%len(addrs)], uint16(x>>5)) }
		p.tr.Flow(Flow{Protocol: []uint8{1, 6, 17, 58}[b[1]%4], Gone: b[1]&128 != 0,
			Original: Tuple{end(b[2]), end(b[3])}, Reply: Tuple{end(b[4]), end(b[5])}})
	default:
		p.no++
		f := *p.frames[(int(b[1])|int(b[2])<<8)%len(p.frames)]
		f.No = p.no
		if b[3] < 200 {
			f.Interface = placeAt(fuzzPlaces[int(b[3])%len(fuzzPlaces)])
			f.Interface.Hardware = p.frames[(int(b[1])|int(b[2])<<8)%len(p.frames)].Interface.Hardware
		}
		f.Out = b[4]&1 != 0
		if b[4]&2 != 0 && len(f.Data) > 0 {
			f.Data = append([]byte(nil), f.Data...)
			f.Data[int(b[5])%len(f.Data)] ^= b[6]
		}
		if b[4]&12 == 12 {
			f.Data = f.Data[:int(b[5])%(len(f.Data)+1)]
		}
		p.now = p.now.Add(time.Duration(b[7]) * time.Duration(b[7]) * time.Microsecond)
		f.Time = p.now.Add(-time.Duration(b[6]) * 300 * time.Microsecond)
		j, fresh := p.tr.Add(&f)
		if fresh != (len(j.Sightings) == 1) {
			p.t.Fatalf("fresh is %v with %d sightings", fresh, len(j.Sightings))
		}
		p.where[f.No] = j
		p.all[j.ID] = j
	}
}

// check looks at everything that is open.
func (p *play) check() {
	t, tr := p.t, p.tr
	open, entries, seen := 0, 0, map[uint64]bool{}
	for j := tr.oldest; j != nil; j = j.newer {
		open++
		entries += 1 + len(j.more)
		if j.closed || j.Into != 0 || j.State == Gone || len(j.Sightings) == 0 || len(j.Sightings) > maxSightings {
			t.Fatalf("journey %d is open: closed %v, into %d, %d sightings, %s", j.ID, j.closed, j.Into, len(j.Sightings), j.State)
		}
		if !j.Started.Equal(j.Sightings[0].Time) {
			t.Fatalf("journey %d started at %v, its first sighting is of %v", j.ID, j.Started, j.Sightings[0].Time)
		}
		for i := range j.Sightings {
			s := &j.Sightings[i]
			if seen[s.No] {
				t.Fatalf("sighting %d is in two places", s.No)
			}
			seen[s.No] = true
			if p.follow(p.where[s.No]) != j.ID {
				t.Fatalf("sighting %d was said to be in another journey than %d", s.No, j.ID)
			}
			earlier := s.After == 0
			for k := range i {
				x := &j.Sightings[k]
				earlier = earlier || x.No == s.After
				if x.hop(s) {
					t.Fatalf("journey %d has the hop of sighting %d twice", j.ID, s.No)
				}
			}
			if !earlier {
				t.Fatalf("sighting %d comes after %d, which isn't before it", s.No, s.After)
			}
			if i > 0 && (s.at < j.Sightings[i-1].at || s.ttl > j.Sightings[i-1].ttl && j.Sightings[i-1].ttl != noTTL) {
				t.Fatalf("journey %d goes back in time or rises in TTL: %s", j.ID, path(j))
			}
		}
	}
	inBuckets := 0
	for key, b := range tr.buckets {
		live := 0
		for i, e := range b.entries {
			if e == nil {
				continue
			}
			live++
			if e.bucket != b || e.index != i || e.journey.closed || bucketKey(e.conv, e.turned, e.sig) != key {
				t.Fatalf("an entry of journey %d is in the wrong place", e.journey.ID)
			}
		}
		if live != b.live || live == 0 || len(b.entries) > 4*live+fewEntries+1 {
			t.Fatalf("a bucket of %d has %d of %d entries", b.live, live, len(b.entries))
		}
		inBuckets += live
	}
	inConvs, faces := 0, 0
	convs := map[*conversation]bool{}
	for face, s := range tr.convs {
		faces++
		if convs[s.conv] {
			continue
		}
		convs[s.conv] = true
		found := false
		for _, x := range s.conv.faces {
			found = found || x == face
			if tr.convs[x].conv != s.conv {
				t.Fatal("a face of a conversation leads elsewhere")
			}
		}
		n := 0
		for e := s.conv.first; e != nil; e = e.next {
			n++
			if e.conv != s.conv {
				t.Fatal("an entry is in the wrong conversation")
			}
		}
		if !found || n != s.conv.open || s.conv.idle() || len(s.conv.faces) > maxFaces {
			t.Fatalf("a conversation of %d faces has %d of %d entries", len(s.conv.faces), n, s.conv.open)
		}
		inConvs += n
	}
	waiting := 0
	for _, q := range tr.asked {
		for j := q.first; j != nil; j = j.waiting.next {
			waiting++
			if j.closed || j.State == Answered {
				t.Fatalf("journey %d waits: closed %v, %s", j.ID, j.closed, j.State)
			}
		}
	}
	for _, j := range tr.early {
		if j.closed {
			t.Fatalf("journey %d is closed and waits for its question", j.ID)
		}
	}
	if open != tr.open || open > p.max || entries != inBuckets || entries != inConvs || waiting > open || len(tr.early) > open {
		t.Fatalf("%d of %d journeys open, %d entries, %d in buckets, %d in conversations, %d waiting", open, tr.open, entries, inBuckets, inConvs, waiting)
	}
	if len(tr.flows) > tr.maxFlows() || len(tr.onward) > 2*len(tr.flows) || len(tr.leaving) > tr.maxFlows()+1 || len(tr.changed) > 2*p.max || len(tr.places) > maxPlaces+1 {
		t.Fatalf("%d flows, %d leaving, %d changed, %d places", len(tr.flows), len(tr.leaving), len(tr.changed), len(tr.places))
	}
}

// follow is the journey that j is part of now.
func (p *play) follow(j *Journey) uint64 {
	for j.Into != 0 {
		j = p.all[j.Into]
	}
	return j.ID
}

// FuzzAdd: whatever comes, a sighting is in exactly one journey, in causal order,
// and the tracker holds no more than it may.
func FuzzAdd(f *testing.F) {
	frames := mixedFrames(f)
	for seed := range uint64(20) {
		f.Add(randomProgram(seed, 200))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		p := newPlay(t, frames, 24)
		for len(program) >= 8 && p.no < 2000 {
			p.step([8]byte(program))
			program = program[8:]
			if p.no%16 == 0 {
				p.check()
			}
		}
		p.check()
		p.tr.Expire(p.now.Add(time.Hour))
		p.check()
		if p.tr.open != 0 {
			t.Fatalf("%d journeys never end", p.tr.open)
		}
	})
}

func randomProgram(seed uint64, steps int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var program []byte
	few := 1 + r.IntN(40) // frames to choose from: few, so that many are alike
	for range steps {
		v := r.Uint64()
		b := binary.LittleEndian.AppendUint64(nil, v)
		which := r.IntN(few) * 7
		b[1], b[2] = byte(which), byte(which>>8)
		if r.IntN(3) > 0 {
			b[4] &^= 14
		}
		b[7] %= 40
		program = append(program, b...)
	}
	return program
}

// TestAnythingGoes plays long random programs: what fuzzing does for seconds at
// a time, in every run of the tests.
func TestAnythingGoes(t *testing.T) {
	frames := mixedFrames(t)
	for seed := range uint64(30) {
		p := newPlay(t, frames, []int{3, 24, 200}[seed%3])
		program := randomProgram(seed+100, 1000)
		for i := 0; len(program) > 0; i++ {
			p.step([8]byte(program))
			program = program[8:]
			if i%50 == 0 {
				p.check()
			}
		}
		p.check()
	}
}

package journey

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// TestLoss: packets that are dropped on the way have short journeys, and those
// around them aren't touched by it; all but the arrived are gone.
func TestLoss(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(*sim)
	}{
		{"routed ping", func(s *sim) { routedPings(s, 1000) }},
		{"MASQUERADE with colliding ICMP ids", func(s *sim) { masqueradedPings(s, 500) }},
		{"DNAT, TCP", func(s *sim) { forwardedTCP(s, 100) }},
		{"VXLAN both ways", func(s *sim) { overlayPings(s, 500) }},
		{"identical UDP under MASQUERADE", func(s *sim) { masqueradedUDP(s, 1000) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(twoHosts, twoHostsOwn)
			s.dropped = 0.05
			c.play(s)
			seen := map[int]int{}
			for _, p := range s.truth {
				seen[p]++
			}
			exact, journeys := s.run(t)
			if exact != len(seen) {
				t.Errorf("%d of %d exact", exact, len(seen))
			}
			gone := 0
			for _, j := range journeys {
				if j.State == Gone {
					gone++
				}
				if j.State == InFlight && j.Into == 0 {
					t.Fatalf("still in flight: %s", path(j))
				}
			}
			if gone == 0 {
				t.Error("none is gone")
			}
		})
	}
}

// TestSightingsThatTheRingLost: where the capture itself drops records, what is
// left of a packet is still one journey.
func TestSightingsThatTheRingLost(t *testing.T) {
	s := newSim(twoHosts, twoHostsOwn)
	routedPings(s, 1000)
	kept := s.records[:0]
	for _, r := range s.records {
		if s.rand.IntN(20) > 0 {
			kept = append(kept, r)
		} else {
			delete(s.truth, r.frame.No)
		}
	}
	s.records = kept
	seen := map[int]bool{}
	for _, p := range s.truth {
		seen[p] = true
	}
	if exact, _ := s.run(t); exact != len(seen) {
		t.Errorf("%d of %d exact", exact, len(seen))
	}
}

// TestIdenticalPackets: 10,000 IPv6 datagrams alike in every bit, so that only
// their order tells them apart, routed over two hosts.
func TestIdenticalPackets(t *testing.T) {
	const n = 10_000
	s := newSim(twoHosts, twoHostsOwn)
	identical(s, n)
	exact, journeys := s.run(t)
	if exact != n || len(journeys) != n {
		t.Errorf("%d of %d exact, %d journeys", exact, n, len(journeys))
	}
}

// TestIdenticalPacketsAtOnce: the same while each namespace hands over everything
// at the end, in the hardest orders. The work for a frame doesn't grow with their
// number, since each hop goes on looking from where it has got to.
func TestIdenticalPacketsAtOnce(t *testing.T) {
	const n = 10_000
	hops := []string{">c1/eth0", "h1/v1", ">h1/v2", "c2/eth0"}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {3, 0, 1, 2}, {1, 2, 3, 0}} {
		s := onTwoHosts()
		data := eth(macOf(1), macOf(2), etherIPv6, ip{src: addr("fd01::1"), dst: addr("fd01::2"), protocol: protocolUDP, ttl: 64}.wrap(udp(1, 2, samePayload)))
		journeys := map[uint64]*Journey{}
		for _, k := range order {
			for i := range n {
				s.now = epoch.Add(time.Duration(i)*20*time.Microsecond + time.Duration(k)*3*time.Microsecond)
				j, _ := s.Add(s.frame(hops[k], data))
				journeys[j.ID] = j
			}
		}
		for _, id := range slices.Sorted(maps.Keys(journeys)) {
			j := journeys[id]
			if len(j.Sightings) != 4 || j.Sightings[3].Time.Sub(j.Started) != 9*time.Microsecond {
				t.Fatalf("order %v: %s", order, path(j))
			}
		}
		for _, b := range s.Tracker.buckets {
			for _, c := range b.cursors {
				if c.next < n-maxTried {
					t.Errorf("order %v: %s/%s looks at all from %d on", order, c.place.name.Node, c.place.name.Link, c.next)
				}
			}
			if len(b.cursors) != len(hops) {
				t.Errorf("order %v: %d cursors", order, len(b.cursors))
			}
		}
		if len(journeys) != n {
			t.Errorf("order %v: %d journeys, want %d", order, len(journeys), n)
		}
	}
}

// TestIdenticalPacketsWithLoss: nothing tells which of them was lost, but no
// journey may be longer than a packet's way or go back in it.
func TestIdenticalPacketsWithLoss(t *testing.T) {
	const n = 10_000
	s := newSim(twoHosts, twoHostsOwn)
	s.dropped = 0.02
	h := ip{src: addr("fd01::1"), dst: addr("fd01::2"), protocol: protocolUDP, ttl: 64}
	arrived := 0
	for i := range n {
		before := len(s.records)
		s.send(epoch.Add(time.Duration(i)*50*time.Microsecond), bridged(1, 2, h, udp(1, 2, samePayload), ">c1/eth0", "h1/v1", ">h1/v2", "c2/eth0")...)
		if len(s.records) == before+4 {
			arrived++
		}
	}
	exact, journeys := s.run(t)
	delivered := 0
	for _, j := range journeys {
		if j.State == Delivered {
			delivered++
		}
		for i := range j.Sightings {
			if want := []string{"c1eth0", "h1v1", "h1v2", "c2eth0"}[i]; string(j.Sightings[i].Interface.Node)+j.Sightings[i].Interface.Link != want {
				t.Fatalf("sighting %d at %v: %s", i, j.Sightings[i].Interface, path(j))
			}
		}
	}
	t.Logf("%d of %d exact, %d delivered of %d", exact, len(journeys), delivered, arrived)
	if delivered != arrived {
		t.Errorf("%d delivered, want %d", delivered, arrived)
	}
}

// TestIdenticalPacketsWithLossAtLeisure: further apart than packets take, they are
// told apart whatever is lost.
func TestIdenticalPacketsWithLossAtLeisure(t *testing.T) {
	s := newSim(twoHosts, twoHostsOwn)
	s.dropped = 0.1
	h := ip{src: addr("fd01::1"), dst: addr("fd01::2"), protocol: protocolUDP, ttl: 64}
	for i := range 300 {
		s.send(epoch.Add(time.Duration(i)*50*time.Millisecond), bridged(1, 2, h, udp(1, 2, samePayload), ">c1/eth0", "h1/v1", ">h1/v2", "c2/eth0")...)
	}
	seen := map[int]bool{}
	for _, p := range s.truth {
		seen[p] = true
	}
	if exact, _ := s.run(t); exact != len(seen) {
		t.Errorf("%d of %d exact", exact, len(seen))
	}
}

// TestABridgeStorm: a loop of bridges sends one broadcast round and round; each
// round is a journey and the tracker's work and memory stay bounded.
func TestABridgeStorm(t *testing.T) {
	s := newStage(map[string]string{"b1/p1": "b2/p1", "b1/p2": "b2/p2"}, nil)
	data := eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4))
	round := []string{">b1/p1", "b2/p1", ">b2/p2", "b1/p2"}
	longest := 0
	for i := range 50_000 {
		j := s.see(round[i%4], data)
		longest = max(longest, len(j.Sightings))
	}
	if longest > 4 || s.Tracker.open > 50_000/4+1 || s.Tracker.open > DefaultMaxOpen {
		t.Errorf("%d sightings in one, %d open", longest, s.Tracker.open)
	}
}

// TestMaxOpenClosesTheOldest and says so.
func TestMaxOpenClosesTheOldest(t *testing.T) {
	tr := New(Options{MaxOpen: 3})
	s := onTwoHosts()
	var all []*Journey
	add := func(id uint16) *Journey {
		h := ip{src: c1, dst: c2, protocol: protocolUDP, ttl: 64, id: id}
		s.now = s.now.Add(time.Millisecond)
		j, _ := tr.Add(s.frame(">c1/eth0", eth(macOf(1), macOf(2), etherIPv4, h.wrap(udp(1, 2, samePayload)))))
		return j
	}
	for id := range uint16(5) {
		all = append(all, add(id+1))
	}
	changed := tr.Expire(s.now)
	if !slices.Equal(changed, all[:2]) || all[1].State != Gone || all[2].State != InFlight || tr.open != 3 {
		t.Errorf("%d changed, %d open; the third is %s", len(changed), tr.open, all[2].State)
	}
}

// TestAJourneyIsBounded: an endless one goes on as another.
func TestAJourneyIsBounded(t *testing.T) {
	s := newStage(nil, nil)
	data := eth(macOf(1), everyone, etherIPv4, ip{src: a4, dst: addr("10.0.0.255"), protocol: protocolUDP, ttl: 64, id: 3}.wrap(udp(1, 2, samePayload)))
	total := map[*Journey]bool{}
	for i := range 3 * maxSightings {
		total[s.see(">bridge/p"+number(uint32(i)), data)] = true
	}
	if len(total) != 3 {
		t.Errorf("%d journeys, want 3", len(total))
	}
}

package journey

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"testing"
	"time"

	"kabel/sandbox/topo"
	"kabel/server/packet"
)

// The simulator sends packets through networks as the labs build them and knows
// the true chain of each: which interfaces saw it, in which order, as what. What
// it hands to the Tracker is as dirty as what captures hand over: each namespace's
// frames come in batches of its own rhythm, so a later hop may come before an
// earlier one, and conntrack tells of a translation when it likes.

type sim struct {
	*stage
	rand    *rand.Rand
	records []record
	flows   []told
	busy    map[string]time.Time // an interface sends one frame after the other
	truth   map[uint64]int       // by the No of a frame
	packets int
	ids     map[netip.Addr]uint16
	// lost is the chance of each hop not to be recorded, dropped that of a packet
	// to get no further.
	dropped float64
}

type record struct {
	frame   *packet.Frame
	arrives time.Time
}

type told struct {
	flow    Flow
	arrives time.Time
}

func newSim(cables map[string]string, owners map[string][]string) *sim {
	return &sim{stage: newStage(cables, owners), rand: rand.New(rand.NewPCG(4, 4)), busy: map[string]time.Time{},
		truth: map[uint64]int{}, ids: map[netip.Addr]uint16{}}
}

// hop is a sighting to be: where, and the frame.
type hop struct {
	at   string
	data []byte
}

// send lets one packet make its way, beginning at the time at, and returns when
// it has arrived.
func (s *sim) send(at time.Time, hops ...hop) time.Time {
	s.packets++
	for _, h := range hops {
		if s.rand.Float64() < s.dropped {
			break
		}
		at = at.Add(2*time.Microsecond + time.Duration(s.rand.IntN(30_000)))
		if b := s.busy[h.at]; !at.After(b) {
			at = b.Add(100)
		}
		s.busy[h.at] = at
		s.now = at
		f := s.frame(h.at, h.data)
		s.truth[f.No] = s.packets
		s.records = append(s.records, record{frame: f})
	}
	return at
}

// nextID counts as the kernel counts the identification of a sender's packets.
func (s *sim) nextID(a netip.Addr) uint16 {
	if _, ok := s.ids[a]; !ok {
		s.ids[a] = uint16(s.rand.Uint32())
	}
	s.ids[a]++
	return s.ids[a]
}

// tell is conntrack telling of a translation at the time at, or up to 60 ms later.
func (s *sim) tell(at time.Time, protocol uint8, original, reply [2]netip.AddrPort) {
	s.flows = append(s.flows, told{Flow{Protocol: protocol, Original: Tuple{original[0], original[1]}, Reply: Tuple{reply[0], reply[1]}},
		at.Add(time.Duration(s.rand.Int64N(int64(60 * time.Millisecond))))})
}

// handOver gives everything to the Tracker as captures would.
func (s *sim) handOver(t *testing.T) (journeys map[uint64]*Journey) {
	t.Helper()
	// Each namespace's ring hands over every 10 to 50 ms, in a phase of its own.
	type ring struct{ phase, every time.Duration }
	rings := map[topo.NodeID]ring{}
	sort.SliceStable(s.records, func(i, k int) bool { return s.records[i].frame.Time.Before(s.records[k].frame.Time) })
	for i := range s.records {
		r := &s.records[i]
		n := r.frame.Interface.Node
		g, ok := rings[n]
		if !ok {
			g.every = 10*time.Millisecond + time.Duration(s.rand.Int64N(int64(40*time.Millisecond)))
			g.phase = time.Duration(s.rand.Int64N(int64(g.every)))
			rings[n] = g
		}
		since := r.frame.Time.Sub(epoch) + g.phase + time.Hour
		r.arrives = r.frame.Time.Add(g.every - since%g.every)
	}
	sort.SliceStable(s.records, func(i, k int) bool {
		a, b := s.records[i], s.records[k]
		if !a.arrives.Equal(b.arrives) {
			return a.arrives.Before(b.arrives)
		}
		return a.frame.Interface.Node < b.frame.Interface.Node
	})
	sort.SliceStable(s.flows, func(i, k int) bool { return s.flows[i].arrives.Before(s.flows[k].arrives) })

	journeys = map[uint64]*Journey{}
	flows := s.flows
	var last time.Time
	for _, r := range s.records {
		for len(flows) > 0 && flows[0].arrives.Before(r.arrives) {
			s.Flow(flows[0].flow)
			flows = flows[1:]
		}
		if !r.arrives.Equal(last) {
			last = r.arrives
			s.Expire(last)
		}
		j, _ := s.Add(r.frame)
		journeys[j.ID] = j
	}
	for _, f := range flows {
		s.Flow(f.flow)
	}
	s.Expire(last.Add(time.Minute))
	if len(s.Tracker.convs) != 0 && len(s.flows) == 0 || len(s.Tracker.buckets) != 0 || s.Tracker.open != 0 || len(s.Tracker.asked) != 0 || len(s.Tracker.early) != 0 {
		t.Errorf("after the last window the tracker still holds %d conversations, %d buckets, %d journeys, %d questions, %d answers",
			len(s.Tracker.convs), len(s.Tracker.buckets), s.Tracker.open, len(s.Tracker.asked), len(s.Tracker.early))
	}
	return journeys
}

// run hands everything over and counts the packets whose journey has exactly the
// sightings that it should.
func (s *sim) run(t *testing.T) (exact int, journeys map[uint64]*Journey) {
	t.Helper()
	journeys = s.handOver(t)
	want := map[int][]uint64{}
	for no, p := range s.truth {
		want[p] = append(want[p], no)
	}
	for p := range want {
		slices.Sort(want[p])
	}
	seen := map[uint64]bool{}
	for _, id := range slices.Sorted(maps.Keys(journeys)) {
		j := journeys[id]
		if j.Into != 0 {
			if len(j.Sightings) != 0 {
				t.Errorf("journey %d is part of %d and still has sightings", j.ID, j.Into)
			}
			continue
		}
		var nos []uint64
		for _, x := range j.Sightings {
			if seen[x.No] {
				t.Errorf("sighting %d is in two journeys", x.No)
			}
			seen[x.No] = true
			nos = append(nos, x.No)
		}
		if !slices.IsSortedFunc(j.Sightings, func(a, b Sighting) int { return a.Time.Compare(b.Time) }) {
			t.Errorf("journey %d is not in the order of time", j.ID)
		}
		slices.Sort(nos)
		if slices.Equal(nos, want[s.truth[nos[0]]]) {
			exact++
		} else if testing.Verbose() && id < 200 {
			t.Logf("journey %d: %s, truth %v", j.ID, path(j), want[s.truth[nos[0]]])
		}
	}
	if len(seen) != len(s.truth) {
		t.Errorf("%d of %d sightings are in journeys", len(seen), len(s.truth))
	}
	return exact, journeys
}

// path is a journey in one line.
func path(j *Journey) string {
	out := fmt.Sprintf("%s:", j.State)
	for _, s := range j.Sightings {
		way := ""
		if s.Out {
			way = ">"
		}
		out += fmt.Sprintf(" %s%s/%s#%d", way, s.Interface.Node, s.Interface.Link, s.No)
	}
	return out
}

// The topologies. Two hosts, each with a bridge and two containers, one cable
// between the hosts.
var twoHosts = map[string]string{
	"c1/eth0": "h1/v1", "c2/eth0": "h1/v2", "c3/eth0": "h2/v3", "c4/eth0": "h2/v4", "h1/eth0": "h2/eth0",
}

var twoHostsOwn = map[string][]string{
	"c1": {"10.1.0.1", "fd01::1"}, "c2": {"10.1.0.2", "fd01::2"}, "c3": {"10.2.0.3", "10.1.0.3"}, "c4": {"10.2.0.4"},
	"h1": {"10.1.0.254", "192.168.0.1", "10.2.0.254"}, "h2": {"10.2.0.254", "192.168.0.2"},
}

var (
	c1, c2, c3 = addr("10.1.0.1"), addr("10.1.0.2"), addr("10.2.0.3")
	h1, h2     = addr("192.168.0.1"), addr("192.168.0.2")
)

// samePayload is what every packet of a scenario carries: nothing in it tells one
// from another.
var samePayload = []byte("abcdefghijklmnopqrstuvwabcdefghijklmnopqrstuvwabcdefgh")

// echo is both packets of a ping that anything may be done to on the way.
func echo(s *sim, src, dst netip.Addr, id int, reply bool) (ip, []byte) {
	kind := byte(icmpEcho)
	if reply {
		kind, src, dst = icmpEchoReply, dst, src
	}
	return ip{src: src, dst: dst, protocol: protocolICMP, ttl: 64, id: s.nextID(src)}, icmp(kind, 0, id, 1, samePayload)
}

func bridged(from, to byte, h ip, payload []byte, at ...string) []hop {
	var hops []hop
	for _, a := range at {
		hops = append(hops, hop{a, eth(macOf(from), macOf(to), h.kind(), h.wrap(payload))})
	}
	return hops
}

// bridgePings: two containers of one bridge ping each other at once, with the
// same id, sequence number and payload again and again.
func bridgePings(s *sim, n int) {
	for i := range n {
		at := epoch.Add(time.Duration(i) * 70 * time.Microsecond)
		h, p := echo(s, c1, c2, 7, false)
		at = s.send(at, bridged(1, 2, h, p, ">c1/eth0", "h1/v1", ">h1/v2", "c2/eth0")...)
		h, p = echo(s, c1, c2, 7, true)
		s.send(at, bridged(2, 1, h, p, ">c2/eth0", "h1/v2", ">h1/v1", "c1/eth0")...)
	}
}

// routedWay is from c1 on h1 to c3 on h2, or back.
func routedWay(h ip, p []byte, back bool) []hop {
	at := []string{">c1/eth0", "h1/v1", ">h1/eth0", "h2/eth0", ">h2/v3", "c3/eth0"}
	macs := []byte{1, 11, 21, 22, 12, 3}
	if back {
		at = []string{">c3/eth0", "h2/v3", ">h2/eth0", "h1/eth0", ">h1/v1", "c1/eth0"}
		macs = []byte{3, 12, 22, 21, 11, 1}
	}
	var hops []hop
	for i := range 3 {
		hops = append(hops, bridged(macs[2*i], macs[2*i+1], h, p, at[2*i], at[2*i+1])...)
		h.ttl--
	}
	return hops
}

func routedPings(s *sim, n int) {
	for i := range n {
		at := epoch.Add(time.Duration(i) * 70 * time.Microsecond)
		h, p := echo(s, c1, c3, 7, false)
		at = s.send(at, routedWay(h, p, false)...)
		h, p = echo(s, c1, c3, 7, true)
		s.send(at, routedWay(h, p, true)...)
	}
}

func endpoints(a netip.Addr, pa int, b netip.Addr, pb int) [2]netip.AddrPort {
	return [2]netip.AddrPort{netip.AddrPortFrom(a, uint16(pa)), netip.AddrPortFrom(b, uint16(pb))}
}

// masqueradedPings: both containers of h1 ping h2 through NAT with the same id, of
// which one has to change.
func masqueradedPings(s *sim, n int) {
	outside := map[netip.Addr]int{c1: 7, c2: 1024}
	for i := range n {
		for k, c := range []netip.Addr{c1, c2} {
			at := epoch.Add(time.Duration(i) * 90 * time.Microsecond)
			me, mac := fmt.Sprint("c", k+1, "/eth0"), byte(k+1)
			port := fmt.Sprint("h1/v", k+1)
			if i%200 == 0 {
				s.tell(at, protocolICMP, endpoints(c, 7, h2, 7), endpoints(h2, outside[c], h1, outside[c]))
			}
			h, p := echo(s, c, h2, 7, false)
			hops := bridged(mac, 11, h, p, ">"+me, port)
			h.src, h.ttl = h1, 63
			p = icmp(icmpEcho, 0, outside[c], 1, samePayload)
			at = s.send(at, append(hops, bridged(21, 22, h, p, ">h1/eth0", "h2/eth0")...)...)

			h, p = echo(s, h1, h2, outside[c], true)
			hops = bridged(22, 21, h, p, ">h2/eth0", "h1/eth0")
			h.dst, h.ttl = c, 63
			p = icmp(icmpEchoReply, 0, 7, 1, samePayload)
			s.send(at, append(hops, bridged(11, mac, h, p, ">"+port, me)...)...)
		}
	}
}

// forwardedTCP: h2 talks to port 8080 of h1, which is port 80 of c1, on eight
// connections; every segment carries the same.
func forwardedTCP(s *sim, segments int) {
	for conn := range 8 {
		port := 40000 + conn
		at := epoch.Add(time.Duration(conn) * 13 * time.Microsecond)
		s.tell(at, protocolTCP, endpoints(h2, port, h1, 8080), endpoints(c1, 80, h2, port))
		seq, ack := s.rand.Uint32(), s.rand.Uint32()
		for i := range segments {
			flags, payload := byte(flagACK|flagPSH), samePayload
			if i == 0 {
				flags, payload = flagSYN, nil
			}
			h := ip{src: h2, dst: h1, protocol: protocolTCP, ttl: 64, df: true, id: s.nextID(h2)}
			hops := bridged(22, 21, h, tcp(port, 8080, seq, ack, flags, payload), ">h2/eth0", "h1/eth0")
			h.dst, h.ttl = c1, 63
			at = s.send(at, append(hops, bridged(11, 1, h, tcp(port, 80, seq, ack, flags, payload), ">h1/v1", "c1/eth0")...)...)
			seq += uint32(max(1, len(payload)))

			flags = flagACK
			if i == 0 {
				flags |= flagSYN
			}
			h = ip{src: c1, dst: h2, protocol: protocolTCP, ttl: 64, df: true, id: s.nextID(c1)}
			if i == 0 {
				h.id = 0 // as Linux sends a SYN/ACK
			}
			hops = bridged(1, 11, h, tcp(80, port, ack, seq, flags, nil), ">c1/eth0", "h1/v1")
			h.src, h.ttl = h1, 63
			at = s.send(at, append(hops, bridged(21, 22, h, tcp(8080, port, ack, seq, flags, nil), ">h1/eth0", "h2/eth0")...)...)
			if i == 0 {
				ack++
			}
			at = at.Add(time.Millisecond)
		}
	}
}

// overlayPings: c1 and c3 are on one network over VXLAN and ping at the same time
// in both directions.
func overlayPings(s *sim, n int) {
	far := addr("10.1.0.3")
	way := func(h ip, p []byte, back bool) []hop {
		a, b, from, to := byte(1), byte(3), h1, h2
		at := []string{">c1/eth0", "h1/v1", ">h1/vxlan0", ">h1/eth0", "h2/eth0", "h2/vxlan0", ">h2/v3", "c3/eth0"}
		if back {
			a, b, from, to = 3, 1, h2, h1
			at = []string{">c3/eth0", "h2/v3", ">h2/vxlan0", ">h2/eth0", "h1/eth0", "h1/vxlan0", ">h1/v1", "c1/eth0"}
		}
		inner := eth(macOf(a), macOf(b), etherIPv4, h.wrap(p))
		outer := ip{src: from, dst: to, protocol: protocolUDP, ttl: 64, id: s.nextID(from)}
		wrapped := eth(macOf(21), macOf(22), etherIPv4, outer.wrap(udp(50000, portVXLAN, vxlan(42, inner))))
		var hops []hop
		for i, x := range at {
			data := inner
			if i == 3 || i == 4 {
				data = wrapped
			}
			hops = append(hops, hop{x, data})
		}
		return hops
	}
	for i := range n {
		for _, other := range []bool{false, true} {
			at := epoch.Add(time.Duration(i) * 110 * time.Microsecond)
			from, to := c1, far
			if other {
				from, to = far, c1
			}
			h, p := echo(s, from, to, 7, false)
			at = s.send(at, way(h, p, other)...)
			h, p = echo(s, from, to, 7, true)
			s.send(at, way(h, p, !other)...)
		}
	}
}

// tunnelPings: c1 and c3 over socat's TUN in UDP, one end with its header of four
// bytes, as the labs have it.
func tunnelPings(s *sim, n int) {
	way := func(h ip, p []byte, back bool) []hop {
		a, b, from, to := byte(1), byte(3), h1, h2
		at := []string{">c1/eth0", "h1/v1", ">h1/tun0", ">h1/eth0", "h2/eth0", "h2/tun0", ">h2/v3", "c3/eth0"}
		if back {
			a, b, from, to = 3, 1, h2, h1
			at = []string{">c3/eth0", "h2/v3", ">h2/tun0", ">h2/eth0", "h1/eth0", "h1/tun0", ">h1/v1", "c1/eth0"}
		}
		hops := bridged(a, 11, h, p, at[0], at[1])
		h.ttl--
		outer := ip{src: from, dst: to, protocol: protocolUDP, ttl: 64, id: s.nextID(from), df: true}
		wrapped := eth(macOf(21), macOf(22), etherIPv4, outer.wrap(udp(9000, 9000, bytesOf([]byte{0, 0, 8, 0}, h.wrap(p)))))
		hops = append(hops, hop{at[2], h.wrap(p)}, hop{at[3], wrapped}, hop{at[4], wrapped}, hop{at[5], h.wrap(p)})
		h.ttl--
		return append(hops, bridged(12, b, h, p, at[6], at[7])...)
	}
	for i := range n {
		at := epoch.Add(time.Duration(i) * 110 * time.Microsecond)
		h, p := echo(s, c1, c3, 7, false)
		at = s.send(at, way(h, p, false)...)
		h, p = echo(s, c1, c3, 7, true)
		s.send(at, way(h, p, true)...)
	}
}

// masqueradedUDP: the containers send the same datagram from the same port to h2,
// through NAT, again and again.
func masqueradedUDP(s *sim, n int) {
	outside := map[netip.Addr]int{c1: 5000, c2: 61234}
	for i := range n {
		for k, c := range []netip.Addr{c1, c2} {
			at := epoch.Add(time.Duration(i) * 40 * time.Microsecond)
			if i == 0 {
				s.tell(at, protocolUDP, endpoints(c, 5000, h2, 53000), endpoints(h2, 53000, h1, outside[c]))
			}
			h := ip{src: c, dst: h2, protocol: protocolUDP, ttl: 64, id: s.nextID(c), df: true}
			hops := bridged(byte(k+1), 11, h, udp(5000, 53000, samePayload), fmt.Sprint(">c", k+1, "/eth0"), fmt.Sprint("h1/v", k+1))
			h.src, h.ttl = h1, 63
			s.send(at, append(hops, bridged(21, 22, h, udp(outside[c], 53000, samePayload), ">h1/eth0", "h2/eth0")...)...)
		}
	}
}

// TestExactChains: the share of packets whose journey has exactly the sightings
// that it should, in the scenarios that the design was measured by.
func TestExactChains(t *testing.T) {
	for _, c := range []struct {
		name    string
		packets int
		play    func(*sim)
	}{
		{"bridge ping", 2000, func(s *sim) { bridgePings(s, 1000) }},
		{"routed ping over two hosts", 2000, func(s *sim) { routedPings(s, 1000) }},
		{"MASQUERADE with colliding ICMP ids", 2000, func(s *sim) { masqueradedPings(s, 500) }},
		{"DNAT, TCP on eight connections", 1600, func(s *sim) { forwardedTCP(s, 100) }},
		{"VXLAN both ways", 2000, func(s *sim) { overlayPings(s, 500) }},
		{"socat TUN in UDP", 2000, func(s *sim) { tunnelPings(s, 1000) }},
		{"identical UDP under MASQUERADE", 8000, func(s *sim) { masqueradedUDP(s, 4000) }},
		{"all mixed", 5040, func(s *sim) {
			bridgePings(s, 400)
			routedPings(s, 400)
			masqueradedPings(s, 200)
			forwardedTCP(s, 40)
			overlayPings(s, 200)
			tunnelPings(s, 400)
			masqueradedUDP(s, 200)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(twoHosts, twoHostsOwn)
			c.play(s)
			exact, journeys := s.run(t)
			if s.packets != c.packets || exact != c.packets {
				t.Errorf("%d of %d exact, want %d", exact, s.packets, c.packets)
			}
			for _, j := range journeys {
				if j.Into == 0 && j.State != Delivered && j.State != Answered {
					t.Fatalf("journey %d of packets that all arrived is %s: %s", j.ID, j.State, path(j))
				}
			}
		})
	}
}

package journey

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/topo"
)

// changes is what changed at a sighting, in one line.
func (s *Sighting) words() string {
	var all []string
	for _, c := range s.Changes {
		all = append(all, c.Field+" "+c.From+" > "+c.To)
	}
	return strings.Join(all, "; ")
}

func apart(t *testing.T, what string, a, b *Journey) {
	t.Helper()
	if a == b {
		t.Errorf("%s: journey %d is both, want two", what, a.ID)
	}
}

func onTwoHosts() *stage { return newStage(twoHosts, twoHostsOwn) }

// walk shows a packet to all the hops and fails unless they make one journey.
func walk(t *testing.T, s *stage, hops ...hop) *Journey {
	t.Helper()
	var j *Journey
	for _, h := range hops {
		x := s.see(h.at, h.data)
		if j != nil && x != j {
			t.Fatalf("at %s journey %d, want %d (%s)", h.at, x.ID, j.ID, path(j))
		}
		j = x
	}
	return j
}

func TestChangesOnARoutedWay(t *testing.T) {
	s := onTwoHosts()
	h := ip{src: c1, dst: c3, protocol: protocolICMP, ttl: 64, id: 9}
	j := walk(t, s, routedWay(h, icmp(icmpEcho, 0, 7, 1, samePayload), false)...)
	want := []string{
		"", "",
		"src-mac 02:00:00:00:00:01 > 02:00:00:00:00:15; dst-mac 02:00:00:00:00:0b > 02:00:00:00:00:16; ttl 64 > 63",
		"",
		"src-mac 02:00:00:00:00:15 > 02:00:00:00:00:0c; dst-mac 02:00:00:00:00:16 > 02:00:00:00:00:03; ttl 63 > 62",
		"",
	}
	for i := range j.Sightings {
		x := &j.Sightings[i]
		if got := x.words(); got != want[i] {
			t.Errorf("sighting %d: %q, want %q", i, got, want[i])
		}
		if x.After != uint64(i) || x.No != uint64(i+1) {
			t.Errorf("sighting %d has number %d and comes after %d", i, x.No, x.After)
		}
	}
	if j.State != Delivered || !j.Started.Equal(epoch.Add(10*time.Microsecond)) {
		t.Errorf("%s, started %v", j.State, j.Started)
	}
}

func TestChangesByTranslation(t *testing.T) {
	s := onTwoHosts()
	s.Flow(Flow{Protocol: protocolUDP, Original: Tuple{endpoints(c1, 5000, h2, 53)[0], endpoints(c1, 5000, h2, 53)[1]},
		Reply: Tuple{endpoints(h2, 53, h1, 61234)[0], endpoints(h2, 53, h1, 61234)[1]}})
	h := ip{src: c1, dst: h2, protocol: protocolUDP, ttl: 64, id: 9}
	x := h
	x.src, x.ttl = h1, 63
	j := walk(t, s, append(bridged(1, 11, h, udp(5000, 53, samePayload), ">c1/eth0", "h1/v1"), bridged(11, 22, x, udp(61234, 53, samePayload), ">h1/eth0", "h2/eth0")...)...)
	want := "src-mac 02:00:00:00:00:01 > 02:00:00:00:00:0b; dst-mac 02:00:00:00:00:0b > 02:00:00:00:00:16; ttl 64 > 63; src 10.1.0.1 > 192.168.0.1; src-port 5000 > 61234"
	if got := j.Sightings[2].words(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestChangesByTunnels(t *testing.T) {
	inner := ip{src: c1, dst: addr("10.1.0.3"), protocol: protocolICMP, ttl: 64, id: 9}
	frame := eth(macOf(1), macOf(3), etherIPv4, inner.wrap(icmp(icmpEcho, 0, 7, 1, samePayload)))
	outer := ip{src: h1, dst: h2, ttl: 64, id: 1}
	wrap := func(ttl, protocol byte, payload []byte) []byte {
		o := outer
		o.ttl, o.protocol = ttl, protocol
		return eth(macOf(21), macOf(22), etherIPv4, o.wrap(payload))
	}
	packet := frame[14:]
	for _, c := range []struct {
		name, device string
		protocol     byte
		payload      []byte
		plain        []byte // on the device
		on           string
	}{
		{"VXLAN", "vxlan0", protocolUDP, udp(50000, 4789, vxlan(42, frame)), frame, "vxlan 42, 192.168.0.1 → 192.168.0.2"},
		{"GENEVE", "gnv0", protocolUDP, udp(50000, 6081, geneve(7, nil, frame)), frame, "geneve 7, 192.168.0.1 → 192.168.0.2"},
		{"GRE", "tun-gre", protocolGRE, gre(etherIPv4, packet), packet, "gre, 192.168.0.1 → 192.168.0.2"},
		{"IPIP", "tunl0", protocolIPIP, packet, packet, "ipv4, 192.168.0.1 → 192.168.0.2"},
		{"socat", "tun0", protocolUDP, udp(9000, 9000, bytesOf([]byte{0, 0, 8, 0}, packet)), packet, "udp 9000, 192.168.0.1 → 192.168.0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := onTwoHosts()
			j := walk(t, s, hop{">c1/eth0", frame}, hop{"h1/v1", frame}, hop{">h1/" + c.device, c.plain},
				hop{">h1/eth0", wrap(64, c.protocol, c.payload)}, hop{"h2/eth0", wrap(63, c.protocol, c.payload)},
				hop{"h2/" + c.device, c.plain}, hop{">h2/v3", frame}, hop{"c3/eth0", frame})
			for i, want := range map[int]string{3: "encapsulated  > " + c.on, 4: "outer-ttl 64 > 63", 5: "decapsulated " + c.on + " > "} {
				if got := j.Sightings[i].words(); got != want {
					t.Errorf("sighting %d: %q, want %q", i, got, want)
				}
			}
			if j.State != Delivered {
				t.Errorf("state %s", j.State)
			}
			f := j.Facts(&j.Sightings[3])
			if f.Kind != "echo-request" || f.Src != c1 || f.TTL != 64 || f.OuterSrc != h1 || f.OuterDst != h2 || f.OuterTTL != 64 {
				t.Errorf("facts %+v", f)
			}
			if c.protocol == protocolUDP && f.OuterPort == 0 {
				t.Error("the facts lack the outer port")
			}
		})
	}
}

func TestChangesOfTags(t *testing.T) {
	s := newStage(nil, nil)
	h := ip{src: a4, dst: b4, protocol: protocolUDP, ttl: 64, id: 3}
	p := h.wrap(udp(1, 2, samePayload))
	j := walk(t, s, hop{">n/eth0.10", eth(macOf(1), macOf(2), etherIPv4, p)}, hop{">n/eth0", eth(macOf(1), macOf(2), etherVLAN, vlan(10, etherIPv4, p))},
		hop{"m/eth0", eth(macOf(1), macOf(2), etherVLAN, vlan(10, etherIPv4, p))}, hop{"m/eth0.10", eth(macOf(1), macOf(2), etherIPv4, p)})
	for i, want := range []string{"", "vlan  > 10", "", "vlan 10 > "} {
		if got := j.Sightings[i].words(); got != want {
			t.Errorf("sighting %d: %q, want %q", i, got, want)
		}
	}
}

// TestAFloodIsOneJourney: one ARP request seen at several ports, with a branch to
// each, and the answer.
func TestAFloodIsOneJourney(t *testing.T) {
	cables := map[string]string{"c1/eth0": "h/v1", "c2/eth0": "h/v2", "c3/eth0": "h/v3"}
	s := newStage(cables, map[string][]string{"c1": {"10.0.0.1"}, "c2": {"10.0.0.2"}, "c3": {"10.0.0.3"}})
	q := eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4))
	j := walk(t, s, hop{">c1/eth0", q}, hop{"h/v1", q}, hop{">h/v2", q}, hop{">h/v3", q}, hop{"h/br0", q}, hop{"c3/eth0", q})
	if j.State != InFlight {
		t.Errorf("%s although its target has not received it", j.State)
	}
	walk(t, s, hop{"c2/eth0", q})
	if j.State != Delivered {
		t.Errorf("%s although its target has received it", j.State)
	}
	for i, after := range []uint64{0, 1, 2, 2, 2, 4, 3} {
		if x := j.Sightings[i]; x.After != after || len(x.Changes) > 0 {
			t.Errorf("sighting %d comes after %d, want %d; changes %s", x.No, x.After, after, x.words())
		}
	}
	a := eth(macOf(2), macOf(1), etherARP, arp(2, macOf(2), b4, macOf(1), a4))
	r := walk(t, s, hop{">c2/eth0", a}, hop{"h/v2", a}, hop{">h/v1", a}, hop{"c1/eth0", a})
	if r.Answers != j.ID || j.AnsweredBy != r.ID || j.State != Answered || r.State != Delivered {
		t.Errorf("request %s by %d, reply %s to %d", j.State, j.AnsweredBy, r.State, r.Answers)
	}
	if f := j.Facts(&j.Sightings[0]); f.Kind != "arp-request" || !f.Answered || strings.Join(f.Protocols, " ") != "eth arp" || f.Src != a4 || f.Dst != b4 {
		t.Errorf("facts %+v", f)
	}
}

// TestArrivalInAnyOrder: whatever order the namespaces' frames come in, the
// journey is the same, what it was joined of is said, and nothing is left over.
func TestArrivalInAnyOrder(t *testing.T) {
	cables := map[string]string{"c1/eth0": "h/v1", "c2/eth0": "h/v2"}
	owners := map[string][]string{"c1": {"10.0.0.1", "fd00::1"}, "c2": {"10.0.0.2", "fd00::2"}}
	for name, data := range map[string][]byte{
		"ARP":  eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4)),
		"NDP":  eth(macOf(1), macOf(2), etherIPv6, ip{src: a6, dst: b6, protocol: protocolICMPv6, ttl: 255}.wrap(ndp(icmp6Solicitation, b6))),
		"ICMP": eth(macOf(1), macOf(2), etherIPv4, ip{src: a4, dst: b4, protocol: protocolICMP, ttl: 64, id: 9}.wrap(icmp(icmpEcho, 0, 1, 1, nil))),
		"UDP6": eth(macOf(1), macOf(2), etherIPv6, ip{src: a6, dst: b6, protocol: protocolUDP, ttl: 64}.wrap(udp(1, 2, samePayload))),
		"STP":  eth(macOf(1), mac{1, 0x80, 0xc2}, 38, make([]byte, 38)),
	} {
		hops := []string{">c1/eth0", "h/v1", ">h/v2", "c2/eth0"}
		for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 3, 1, 2}, {3, 0, 1, 2}, {3, 1, 2, 0}, {1, 2, 0, 3}, {1, 2, 3, 0}} {
			t.Run(fmt.Sprint(name, order), func(t *testing.T) {
				s := newStage(cables, owners)
				journeys := map[*Journey]bool{}
				for _, i := range order {
					s.now = epoch.Add(time.Duration(i) * 10 * time.Microsecond)
					j, _ := s.Add(s.frame(hops[i], data))
					journeys[j] = true
				}
				var whole *Journey
				for j := range journeys {
					if j.Into == 0 {
						if whole != nil {
							t.Fatalf("two journeys are left: %s and %s", path(whole), path(j))
						}
						whole = j
					}
				}
				if len(whole.Sightings) != 4 || whole.State != Delivered {
					t.Fatal(path(whole))
				}
				for i := range whole.Sightings {
					x := &whole.Sightings[i]
					if at := placeAt(strings.TrimPrefix(hops[i], ">")); x.Interface != at || i > 0 && x.After != whole.Sightings[i-1].No {
						t.Errorf("sighting %d is %v after %d: %s", i, x.Interface, x.After, path(whole))
					}
				}
				for _, j := range s.Expire(s.now) {
					if j.Into != 0 && j.Into != whole.ID {
						t.Errorf("journey %d went into %d", j.ID, j.Into)
					}
				}
			})
		}
	}
}

func TestASecondPacketIsAnotherJourney(t *testing.T) {
	s := onTwoHosts()
	data := eth(macOf(1), macOf(2), etherIPv6, ip{src: a6, dst: b6, protocol: protocolTCP, ttl: 64}.wrap(tcp(1, 2, 3, 4, flagSYN, nil)))
	first := walk(t, s, hop{">c1/eth0", data}, hop{"h1/v1", data})
	s.now = s.now.Add(time.Second)
	again := walk(t, s, hop{">c1/eth0", data}, hop{"h1/v1", data}, hop{">h1/v2", data}, hop{"c2/eth0", data})
	apart(t, "a retransmission", first, again)
	if len(first.Sightings) != 2 || len(again.Sightings) != 4 {
		t.Errorf("%s, and again %s", path(first), path(again))
	}
}

// TestARepetitionHandedOverBackwards: the second of two packets that are alike, of
// which the receiver's frames come first, is not taken for the first.
func TestARepetitionHandedOverBackwards(t *testing.T) {
	s := onTwoHosts()
	data := eth(macOf(1), mac{0x33, 0x33}, etherIPv6, ip{src: a6, dst: addr("ff02::2"), protocol: protocolICMPv6, ttl: 255}.wrap(icmp(133, 0, 0, 0, nil)))
	first := s.see(">c1/eth0", data)
	s.now = s.now.Add(3 * time.Second)
	again := s.see("h1/v1", data)
	s.now = s.now.Add(-20 * time.Microsecond)
	if sent := s.see(">c1/eth0", data); sent != again || again == first {
		t.Errorf("sent as journey %d, received as %d; the first was %d", sent.ID, again.ID, first.ID)
	}
}

func TestARoutingLoopIsOneJourney(t *testing.T) {
	s := newStage(map[string]string{"r1/eth0": "r2/eth0"}, nil)
	h := ip{src: a4, dst: b4, protocol: protocolUDP, ttl: 9, id: 3}
	var hops []hop
	for h.ttl > 0 {
		way := []string{">r1/eth0", "r2/eth0"}
		if h.ttl%2 == 0 {
			way = []string{">r2/eth0", "r1/eth0"}
		}
		hops = append(hops, bridged(1, 2, h, udp(1, 2, nil), way...)...)
		h.ttl--
	}
	j := walk(t, s, hops...)
	for i := range j.Sightings {
		if x := &j.Sightings[i]; i > 0 && x.After != j.Sightings[i-1].No {
			t.Errorf("sighting %d comes after %d", x.No, x.After)
		}
	}
	h.ttl = 20
	apart(t, "a packet whose TTL would have risen", j, walk(t, s, bridged(1, 2, h, udp(1, 2, nil), "r3/eth0")...))
}

func TestTheWindowEndsAJourney(t *testing.T) {
	s := onTwoHosts()
	data := eth(macOf(1), macOf(2), etherIPv4, ip{src: c1, dst: c2, protocol: protocolUDP, ttl: 64, id: 5}.wrap(udp(1, 2, samePayload)))
	j := walk(t, s, hop{">c1/eth0", data}, hop{"h1/v1", data})
	if got := s.Expire(s.now.Add(DefaultWindow - time.Second)); len(got) > 0 || j.State != InFlight {
		t.Errorf("before the window is over %d changed, state %s", len(got), j.State)
	}
	if got := s.Expire(s.now.Add(DefaultWindow + time.Second)); len(got) != 1 || got[0] != j || j.State != Gone {
		t.Errorf("after the window %d changed, state %s", len(got), j.State)
	}
	s.now = s.now.Add(DefaultWindow + time.Second)
	apart(t, "after the window", j, s.see(">h1/v2", data))
}

func TestUnconnectedNodesMaySpeakAlike(t *testing.T) {
	cables := map[string]string{"a/eth0": "b/eth0", "c/eth0": "d/eth0"}
	s := newStage(cables, nil)
	data := eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4))
	one := walk(t, s, hop{">a/eth0", data}, hop{"b/eth0", data})
	two := walk(t, s, hop{">c/eth0", data}, hop{"d/eth0", data})
	apart(t, "the same ARP request in two networks", one, two)
}

func TestALateTranslationJoins(t *testing.T) {
	s := onTwoHosts()
	flow := Flow{Protocol: protocolICMP, Original: Tuple{endpoints(c1, 7, h2, 7)[0], endpoints(c1, 7, h2, 7)[1]},
		Reply: Tuple{endpoints(h2, 900, h1, 900)[0], endpoints(h2, 900, h1, 900)[1]}}
	there := ip{src: c1, dst: h2, protocol: protocolICMP, ttl: 64, id: 9}
	q1 := walk(t, s, bridged(1, 11, there, icmp(icmpEcho, 0, 7, 1, samePayload), ">c1/eth0", "h1/v1")...)
	there.src, there.ttl = h1, 63
	q2 := walk(t, s, bridged(21, 22, there, icmp(icmpEcho, 0, 900, 1, samePayload), ">h1/eth0", "h2/eth0")...)
	back := ip{src: h2, dst: h1, protocol: protocolICMP, ttl: 64, id: 10}
	r1 := walk(t, s, bridged(22, 21, back, icmp(icmpEchoReply, 0, 900, 1, samePayload), ">h2/eth0", "h1/eth0")...)
	back.dst, back.ttl = c1, 63
	r2 := walk(t, s, bridged(11, 1, back, icmp(icmpEchoReply, 0, 7, 1, samePayload), ">h1/v1", "c1/eth0")...)
	apart(t, "before the translation is known", q1, q2)
	apart(t, "before the translation is known", r1, r2)
	s.Expire(s.now)

	s.Flow(flow)
	changed := s.Expire(s.now)
	if q2.Into != q1.ID || r2.Into != r1.ID || len(q2.Sightings)+len(r2.Sightings) > 0 || len(changed) != 4 {
		t.Errorf("into %d and %d, %d changed", q2.Into, r2.Into, len(changed))
	}
	if len(q1.Sightings) != 4 || q1.State != Answered || q1.AnsweredBy != r1.ID {
		t.Errorf("request answered by %d: %s", q1.AnsweredBy, path(q1))
	}
	if len(r1.Sightings) != 4 || r1.State != Delivered || r1.Answers != q1.ID {
		t.Errorf("reply answers %d: %s", r1.Answers, path(r1))
	}
	if got := q1.Sightings[2].words(); !strings.Contains(got, "icmp-id 7 > 900") || !strings.Contains(got, "src 10.1.0.1 > 192.168.0.1") {
		t.Error(got)
	}

	// The next ones go straight to where they belong, until the translation has
	// been gone for a window.
	again := func(id uint16) bool {
		x := ip{src: c1, dst: h2, protocol: protocolICMP, ttl: 64, id: id}
		a := s.see("h1/v1", eth(macOf(1), macOf(11), etherIPv4, x.wrap(icmp(icmpEcho, 0, 7, 2, samePayload))))
		x.src, x.ttl = h1, 63
		b := s.see(">h1/eth0", eth(macOf(21), macOf(22), etherIPv4, x.wrap(icmp(icmpEcho, 0, 900, 2, samePayload))))
		return a == b
	}
	if !again(20) {
		t.Error("a known translation is not followed")
	}
	flow.Gone = true
	s.Flow(flow)
	if !again(21) {
		t.Error("a translation is forgotten while packets of it may still come")
	}
	s.now = s.now.Add(2 * DefaultWindow)
	s.Expire(s.now)
	if again(22) {
		t.Error("a translation that went long ago is still followed")
	}
	s.Expire(s.now.Add(time.Minute))
	if len(s.Tracker.convs)+len(s.Tracker.flows)+len(s.Tracker.leaving) != 0 {
		t.Errorf("%d conversations, %d translations are left", len(s.Tracker.convs), len(s.Tracker.flows))
	}
}

// TestTheTranslatorIsNotTheEnd: it owns the address that the packet came to, but
// only sends it on, whether conntrack tells in time or late.
func TestTheTranslatorIsNotTheEnd(t *testing.T) {
	published := Flow{Protocol: protocolTCP, Original: Tuple{endpoints(h2, 4000, h1, 8080)[0], endpoints(h2, 4000, h1, 8080)[1]},
		Reply: Tuple{endpoints(c1, 80, h2, 4000)[0], endpoints(c1, 80, h2, 4000)[1]}}
	redirected := published
	redirected.Reply.Src = endpoints(h1, 80, h2, 4000)[0]
	masqueraded := Flow{Protocol: protocolTCP, Original: Tuple{endpoints(c1, 4000, h2, 80)[0], endpoints(c1, 4000, h2, 80)[1]},
		Reply: Tuple{endpoints(h2, 80, h1, 4000)[0], endpoints(h2, 80, h1, 4000)[1]}}
	h := ip{src: h2, dst: h1, protocol: protocolTCP, ttl: 64, id: 5}
	inside := h
	inside.dst, inside.ttl = c1, 63
	for _, c := range []struct {
		name    string
		flow    Flow
		in, out []byte // as it comes, as it goes on
		want    State  // where it came in only
	}{
		{"a published port", published, tcp(4000, 8080, 1, 0, flagSYN, nil), tcp(4000, 80, 1, 0, flagSYN, nil), InFlight},
		{"an answer to many behind one", masqueraded, tcp(80, 4000, 1, 2, flagACK, nil), tcp(80, 4000, 1, 2, flagACK, nil), InFlight},
		{"a port of its own", redirected, tcp(4000, 8080, 1, 0, flagSYN, nil), nil, Delivered},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, ", late ", late), func(t *testing.T) {
				s := onTwoHosts()
				if !late {
					s.Flow(c.flow)
				}
				j := walk(t, s, bridged(22, 21, h, c.in, ">h2/eth0", "h1/eth0")...)
				if late {
					s.Flow(c.flow)
				}
				if j.State != c.want {
					t.Errorf("%s, want %s", j.State, c.want)
				}
				if c.out == nil {
					return
				}
				last := walk(t, s, bridged(11, 1, inside, c.out, ">h1/v1", "c1/eth0")...)
				if last != j || j.State != Delivered {
					t.Errorf("at its end %s: %s", j.State, path(j))
				}
			})
		}
	}
}

func TestOnesOwnAddressIsReachedOverLoopback(t *testing.T) {
	s := onTwoHosts()
	h := ip{src: h1, dst: h1, protocol: protocolICMP, ttl: 64, id: 5}
	q := walk(t, s, bridged(0, 0, h, icmp(icmpEcho, 0, 1, 1, nil), ">h1/lo", "h1/lo")...)
	h.id++
	r := walk(t, s, bridged(0, 0, h, icmp(icmpEchoReply, 0, 1, 1, nil), ">h1/lo", "h1/lo")...)
	if q.State != Answered || q.AnsweredBy != r.ID || r.State != Delivered || len(q.Sightings) != 2 || q.Sightings[1].After != q.Sightings[0].No {
		t.Errorf("%s, %s", path(q), path(r))
	}
}

// TestAnswers: what is the answer to what.
func TestAnswers(t *testing.T) {
	over := func(src, dst string, protocol byte, payload []byte) []byte {
		s, d := addr(src), addr(dst)
		h := ip{src: s, dst: d, protocol: protocol, ttl: 64}
		return eth(macOf(1), macOf(2), h.kind(), h.wrap(payload))
	}
	const a, b, a6, b6 = "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"
	dns := func(id int, answer byte) []byte { return bytesOf(be16(id), []byte{answer << 7, 0}, make([]byte, 20)) }
	dhcp := func(op byte, xid int) []byte { return bytesOf([]byte{op, 1, 6, 0, 0, 0}, be16(xid), make([]byte, 240)) }
	for _, c := range []struct {
		name     string
		question []byte
		reply    []byte
		answers  bool
	}{
		{"echo", over(a, b, 1, icmp(8, 0, 7, 1, nil)), over(b, a, 1, icmp(0, 0, 7, 1, nil)), true},
		{"an echo of another number", over(a, b, 1, icmp(8, 0, 7, 1, nil)), over(b, a, 1, icmp(0, 0, 7, 2, nil)), false},
		{"an echo of another id", over(a, b, 1, icmp(8, 0, 7, 1, nil)), over(b, a, 1, icmp(0, 0, 8, 1, nil)), false},
		{"echo in IPv6", over(a6, b6, 58, icmp(128, 0, 7, 1, nil)), over(b6, a6, 58, icmp(129, 0, 7, 1, nil)), true},
		{"echo to oneself", over(a, a, 1, icmp(8, 0, 7, 1, nil)), over(a, a, 1, icmp(0, 0, 7, 1, nil)), true},
		{"neighbour solicitation", over(a6, "ff02::1:ff00:2", 58, ndp(135, addr(b6))), over(b6, a6, 58, ndp(136, addr(b6))), true},
		{"another's advertisement", over(a6, "ff02::1:ff00:2", 58, ndp(135, addr(b6))), over("fd00::3", a6, 58, ndp(136, addr("fd00::3"))), false},
		{"SYN, SYN/ACK", over(a, b, 6, tcp(9, 80, 100, 0, flagSYN, nil)), over(b, a, 6, tcp(80, 9, 500, 101, flagSYN|flagACK, nil)), true},
		{"SYN, reset", over(a, b, 6, tcp(9, 80, 100, 0, flagSYN, nil)), over(b, a, 6, tcp(80, 9, 0, 101, flagRST|flagACK, nil)), true},
		{"data, ACK", over(a, b, 6, tcp(9, 80, 100, 7, flagACK, []byte("hello"))), over(b, a, 6, tcp(80, 9, 7, 105, flagACK, nil)), true},
		{"data, ACK of what was before", over(a, b, 6, tcp(9, 80, 100, 7, flagACK, []byte("hello"))), over(b, a, 6, tcp(80, 9, 7, 100, flagACK, nil)), false},
		{"data at the end of the numbers", over(a, b, 6, tcp(9, 80, 0xfffffffe, 7, flagACK, []byte("hello"))), over(b, a, 6, tcp(80, 9, 7, 3, flagACK, nil)), true},
		{"FIN, ACK", over(a, b, 6, tcp(9, 80, 100, 7, flagFIN|flagACK, nil)), over(b, a, 6, tcp(80, 9, 7, 101, flagACK, nil)), true},
		{"an empty ACK needs none", over(a, b, 6, tcp(9, 80, 100, 7, flagACK, nil)), over(b, a, 6, tcp(80, 9, 7, 101, flagACK, nil)), false},
		{"DNS", over(a, b, 17, udp(9, 53, dns(4711, 0))), over(b, a, 17, udp(53, 9, dns(4711, 1))), true},
		{"DNS of another id", over(a, b, 17, udp(9, 53, dns(4711, 0))), over(b, a, 17, udp(53, 9, dns(4712, 1))), false},
		{"DHCP", over("0.0.0.0", "255.255.255.255", 17, udp(68, 67, dhcp(1, 99))), over(b, a, 17, udp(67, 68, dhcp(2, 99))), true},
		{"DHCP for another", over("0.0.0.0", "255.255.255.255", 17, udp(68, 67, dhcp(1, 99))), over(b, a, 17, udp(67, 68, dhcp(2, 98))), false},
		{"UDP", over(a, b, 17, udp(9, 1000, []byte("what?"))), over(b, a, 17, udp(1000, 9, []byte("that"))), true},
		{"UDP the same way", over(a, b, 17, udp(9, 1000, []byte("what?"))), over(a, b, 17, udp(9, 1000, []byte("that"))), false},
		{"UDP from another port", over(a, b, 17, udp(9, 1000, []byte("what?"))), over(b, a, 17, udp(1001, 9, []byte("that"))), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(nil, nil)
			q := s.see("b/eth0", c.question)
			r := s.see(">b/eth0", c.reply)
			if !c.answers {
				if q.AnsweredBy != 0 || r.Answers != 0 || q.State == Answered {
					t.Errorf("%s by %d", q.State, q.AnsweredBy)
				}
				return
			}
			if q.State != Answered || q.AnsweredBy != r.ID || r.Answers != q.ID || r.AnsweredBy != 0 {
				t.Errorf("%s by %d, reply to %d", q.State, q.AnsweredBy, r.Answers)
			}
			changed := s.Expire(s.now)
			if len(changed) != 2 {
				t.Errorf("%d journeys changed, want both", len(changed))
			}
		})
	}
}

// TestAnAnswerMayComeFirst: its namespace's frames were handed over before those
// of the question's.
func TestAnAnswerMayComeFirst(t *testing.T) {
	s := newStage(nil, nil)
	h := ip{src: a4, dst: b4, protocol: 1, ttl: 64, id: 1}
	back := ip{src: b4, dst: a4, protocol: 1, ttl: 64, id: 2}
	question, reply := eth(macOf(1), macOf(2), etherIPv4, h.wrap(icmp(8, 0, 7, 1, nil))), eth(macOf(2), macOf(1), etherIPv4, back.wrap(icmp(0, 0, 7, 1, nil)))
	s.now = epoch.Add(time.Millisecond)
	r, _ := s.Add(s.frame("m/eth0", reply))
	s.now = epoch
	q, _ := s.Add(s.frame(">n/eth0", question))
	if q.State != Answered || q.AnsweredBy != r.ID || r.Answers != q.ID {
		t.Errorf("%s by %d, reply to %d", q.State, q.AnsweredBy, r.Answers)
	}
	s.now = epoch.Add(2 * time.Millisecond)
	again, _ := s.Add(s.frame(">n/eth0", question))
	if again.AnsweredBy != 0 {
		t.Error("the same reply answers the next question too")
	}
}

func TestOneAcknowledgementAnswersAllBefore(t *testing.T) {
	s := newStage(nil, map[string][]string{"b": {"10.0.0.2"}})
	var data []*Journey
	for i := range 3 {
		h := ip{src: a4, dst: b4, protocol: protocolTCP, ttl: 64, id: uint16(i + 1)}
		data = append(data, walk(t, s, bridged(1, 2, h, tcp(9, 80, uint32(100+10*i), 7, flagACK, make([]byte, 10)), ">a/eth0", "b/eth0")...))
	}
	ack := s.see(">b/eth0", eth(macOf(2), macOf(1), etherIPv4, ip{src: b4, dst: a4, protocol: protocolTCP, ttl: 64, id: 9}.wrap(tcp(80, 9, 7, 120, flagACK, nil))))
	if data[0].AnsweredBy != ack.ID || data[1].AnsweredBy != ack.ID || data[2].AnsweredBy != 0 || ack.Answers != data[1].ID {
		t.Errorf("answered by %d, %d, %d; it answers %d", data[0].AnsweredBy, data[1].AnsweredBy, data[2].AnsweredBy, ack.Answers)
	}
}

// TestALostSegmentIsNotAnswered: its retransmission is.
func TestALostSegmentIsNotAnswered(t *testing.T) {
	s := newStage(nil, map[string][]string{"b": {"10.0.0.2"}})
	h := ip{src: a4, dst: b4, protocol: protocolTCP, ttl: 64, id: 1}
	lost := s.see(">a/eth0", eth(macOf(1), macOf(2), etherIPv4, h.wrap(tcp(9, 80, 100, 7, flagACK, samePayload))))
	s.now = s.now.Add(200 * time.Millisecond)
	h.id = 2
	again := walk(t, s, bridged(1, 2, h, tcp(9, 80, 100, 7, flagACK, samePayload), ">a/eth0", "b/eth0")...)
	apart(t, "a retransmission", lost, again)
	ack := s.see(">b/eth0", eth(macOf(2), macOf(1), etherIPv4, ip{src: b4, dst: a4, protocol: protocolTCP, ttl: 64, id: 9}.wrap(tcp(80, 9, 7, 100+uint32(len(samePayload)), flagACK, nil))))
	if lost.AnsweredBy != 0 || again.AnsweredBy != ack.ID || ack.Answers != again.ID {
		t.Errorf("the lost one is answered by %d, its retransmission by %d", lost.AnsweredBy, again.AnsweredBy)
	}
}

// TestAnErrorNamesWhatItQuotes: through NAT and from inside a tunnel; the packet's
// state stays.
func TestAnErrorNamesWhatItQuotes(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		quoted  func(ip) []byte
	}{
		{"UDP", udp(5000, 33434, samePayload), func(h ip) []byte { return h.wrap(udp(5000, 33434, samePayload)) }},
		{"TCP", tcp(5000, 80, 1, 0, flagSYN, nil), func(h ip) []byte { return h.wrap(tcp(5000, 80, 1, 0, flagSYN, nil)) }},
		{"echo in a tunnel", udp(9000, 9000, ip{src: c1, dst: c3, protocol: 1, ttl: 63, id: 4}.wrap(icmp(8, 0, 1, 1, nil))),
			func(h ip) []byte {
				return h.wrap(udp(9000, 9000, ip{src: c1, dst: c3, protocol: 1, ttl: 63, id: 4}.wrap(icmp(8, 0, 1, 1, nil))))
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := onTwoHosts()
			h := ip{src: h1, dst: addr("192.168.0.77"), protocol: protocolUDP, ttl: 1, id: 3}
			if c.name == "TCP" {
				h.protocol = protocolTCP
			}
			q := walk(t, s, bridged(21, 22, h, c.payload, ">h1/eth0", "h2/eth0")...)
			e := ip{src: h2, dst: h1, protocol: protocolICMP, ttl: 64, id: 8}
			j := walk(t, s, bridged(22, 21, e, icmp(icmpTimeExceeded, 0, 0, 0, c.quoted(h)), ">h2/eth0", "h1/eth0")...)
			if j.Answers != q.ID || q.AnsweredBy != j.ID || q.State != InFlight || j.State != Delivered {
				t.Errorf("it answers %d; the packet is %s, answered by %d", j.Answers, q.State, q.AnsweredBy)
			}
			if f := j.Facts(&j.Sightings[0]); f.Kind != "time-exceeded" || f.Src != h2 {
				t.Errorf("facts %+v", f)
			}
			if f := q.Facts(&q.Sightings[0]); f.Answered {
				t.Error("an error counts as an answer")
			}
			s.Expire(s.now.Add(time.Minute))
			if q.State != Gone || q.AnsweredBy != j.ID {
				t.Errorf("in the end it is %s, answered by %d", q.State, q.AnsweredBy)
			}
		})
	}
}

func TestAnErrorIsTranslatedWithItsFlow(t *testing.T) {
	s := onTwoHosts()
	far := addr("192.168.0.77")
	s.Flow(Flow{Protocol: protocolUDP, Original: Tuple{endpoints(c1, 5000, far, 33434)[0], endpoints(c1, 5000, far, 33434)[1]},
		Reply: Tuple{endpoints(far, 33434, h1, 61234)[0], endpoints(far, 33434, h1, 61234)[1]}})
	inside, outside := ip{src: c1, dst: far, protocol: protocolUDP, ttl: 2, id: 3}, ip{src: h1, dst: far, protocol: protocolUDP, ttl: 1, id: 3}
	q := walk(t, s, append(bridged(1, 11, inside, udp(5000, 33434, samePayload), ">c1/eth0", "h1/v1"),
		bridged(21, 22, outside, udp(61234, 33434, samePayload), ">h1/eth0", "h2/eth0")...)...)
	e := ip{src: h2, dst: h1, protocol: protocolICMP, ttl: 64, id: 8}
	hops := bridged(22, 21, e, icmp(icmpTimeExceeded, 0, 0, 0, outside.wrap(udp(61234, 33434, samePayload))), ">h2/eth0", "h1/eth0")
	e.dst, e.ttl = c1, 63
	inside.ttl = 1
	j := walk(t, s, append(hops, bridged(11, 1, e, icmp(icmpTimeExceeded, 0, 0, 0, inside.wrap(udp(5000, 33434, samePayload))), ">h1/v1", "c1/eth0")...)...)
	if j.Answers != q.ID || len(j.Sightings) != 4 || j.State != Delivered {
		t.Errorf("it answers %d: %s", j.Answers, path(j))
	}
}

// TestStates: what counts as delivered.
func TestStates(t *testing.T) {
	owners := map[string][]string{"b": {"10.0.0.2", "fd00::2"}}
	plain := func(src, dst string, to mac) []byte {
		s, d := addr(src), addr(dst)
		h := ip{src: s, dst: d, protocol: protocolUDP, ttl: 64, id: 1}
		return eth(macOf(1), to, h.kind(), h.wrap(udp(1, 2, samePayload)))
	}
	solicit := func(src string) []byte {
		return eth(macOf(1), mac{0x33, 0x33}, etherIPv6, ip{src: addr(src), dst: addr("ff02::1:ff00:2"), protocol: 58, ttl: 255}.wrap(ndp(135, addr("fd00::2"))))
	}
	for _, c := range []struct {
		name string
		at   string
		data []byte
		want State
	}{
		{"received by the owner", "b/eth0", plain("10.0.0.1", "10.0.0.2", macOf(2)), Delivered},
		{"sent by the owner", ">b/eth0", plain("10.0.0.1", "10.0.0.2", macOf(2)), InFlight},
		{"received by another", "c/eth0", plain("10.0.0.1", "10.0.0.2", macOf(2)), InFlight},
		{"on loopback", "c/lo", plain("127.0.0.1", "127.0.0.1", mac{}), Delivered},
		{"one's own address, on loopback", "b/lo", plain("10.0.0.2", "10.0.0.2", mac{}), Delivered},
		{"wrapped", "b/eth0", eth(macOf(1), macOf(2), etherIPv4, ip{src: a4, dst: b4, protocol: protocolIPIP}.wrap(plain("10.0.0.1", "10.0.0.2", macOf(2))[14:])), InFlight},
		{"multicast", "c/eth0", plain("10.0.0.1", "224.0.0.9", mac{1}), Delivered},
		{"broadcast", "c/eth0", plain("10.0.0.1", "255.255.255.255", everyone), Delivered},
		{"broadcast to the subnet", "c/eth0", plain("10.0.0.1", "10.0.0.255", everyone), Delivered},
		{"ARP request, received by another", "c/eth0", eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4)), InFlight},
		{"ARP request, received by the owner", "b/eth0", eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4)), Delivered},
		{"gratuitous ARP", "c/eth0", eth(macOf(1), everyone, etherARP, arp(1, macOf(1), b4, mac{}, b4)), Delivered},
		{"solicitation, received by another", "c/eth0", solicit("fd00::1"), InFlight},
		{"solicitation, received by the owner", "b/eth0", solicit("fd00::1"), Delivered},
		{"solicitation that looks for duplicates", "c/eth0", solicit("::"), Delivered},
		{"spanning tree", "c/eth0", eth(macOf(1), mac{1, 0x80, 0xc2}, 38, make([]byte, 38)), Delivered},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(nil, owners)
			if j := s.see(c.at, c.data); j.State != c.want {
				t.Errorf("%s, want %s", j.State, c.want)
			}
		})
	}
}

// TestFragments: all pieces of one datagram are one journey, where it was cut on
// the way too, and where the tunnel around it was.
func TestFragments(t *testing.T) {
	big := make([]byte, 1472)
	copy(big, samePayload)
	whole := udp(1, 2, big)
	cut := func(h ip, data []byte) (first, second []byte) {
		h.more = true
		first = eth(macOf(1), macOf(2), etherIPv4, h.wrap(data[:1200]))
		h.more, h.offset = false, 1200
		return first, eth(macOf(1), macOf(2), etherIPv4, h.wrap(data[1200:]))
	}
	h := ip{src: c1, dst: c3, protocol: protocolUDP, ttl: 64, id: 5}

	t.Run("sent in pieces", func(t *testing.T) {
		s := onTwoHosts()
		a, b := cut(h, whole)
		j := walk(t, s, hop{">c1/eth0", a}, hop{">c1/eth0", b}, hop{"h1/v1", a}, hop{"h1/v1", b})
		for i, after := range []uint64{0, 0, 1, 2} {
			if x := &j.Sightings[i]; x.After != after && i > 1 || len(x.Changes) > 0 && i > 1 {
				t.Errorf("sighting %d comes after %d: %s", x.No, x.After, x.words())
			}
		}
	})
	t.Run("cut on the way", func(t *testing.T) {
		s := onTwoHosts()
		x := h
		x.ttl--
		a, b := cut(x, whole)
		data := eth(macOf(1), macOf(2), etherIPv4, h.wrap(whole))
		j := walk(t, s, hop{">c1/eth0", data}, hop{"h1/v1", data}, hop{">h1/eth0", a}, hop{">h1/eth0", b}, hop{"h2/eth0", a}, hop{"h2/eth0", b})
		if got := j.Sightings[2].words(); got != "ttl 64 > 63; fragment  > 0–1199" {
			t.Error(got)
		}
		if got := j.Sightings[3].words(); got != "ttl 64 > 63; fragment  > 1200–1479" {
			t.Error(got)
		}
		if j.Sightings[5].After != j.Sightings[3].No {
			t.Errorf("the second piece comes after %d", j.Sightings[5].After)
		}
	})
	t.Run("cut in the tunnel", func(t *testing.T) {
		s := onTwoHosts()
		frame := eth(macOf(1), macOf(3), etherIPv4, h.wrap(whole))
		a, b := cut(ip{src: h1, dst: h2, protocol: protocolUDP, ttl: 64, id: 99}, udp(5, portVXLAN, vxlan(42, frame)))
		j := walk(t, s, hop{">h1/vxlan0", frame}, hop{">h1/eth0", a}, hop{">h1/eth0", b}, hop{"h2/eth0", a}, hop{"h2/eth0", b}, hop{"h2/vxlan0", frame})
		if len(j.Sightings) != 6 {
			t.Error(path(j))
		}
	})
	t.Run("translated", func(t *testing.T) {
		s := onTwoHosts()
		s.Flow(Flow{Protocol: protocolUDP, Original: Tuple{endpoints(c1, 1, c3, 2)[0], endpoints(c1, 1, c3, 2)[1]},
			Reply: Tuple{endpoints(c3, 2, h1, 1)[0], endpoints(c3, 2, h1, 1)[1]}})
		a, b := cut(h, whole)
		x := h
		x.src, x.ttl = h1, 63
		ax, bx := cut(x, whole)
		walk(t, s, hop{">c1/eth0", a}, hop{">c1/eth0", b}, hop{"h1/v1", a}, hop{"h1/v1", b}, hop{">h1/eth0", ax}, hop{">h1/eth0", bx})
	})
}

func TestFactsSayWhatItIs(t *testing.T) {
	over := func(protocol byte, payload []byte) []byte {
		return eth(macOf(1), macOf(2), etherIPv4, ip{src: a4, dst: b4, protocol: protocol, ttl: 64, id: 1}.wrap(payload))
	}
	over6 := func(payload []byte) []byte {
		return eth(macOf(1), macOf(2), etherIPv6, ip{src: a6, dst: b6, protocol: 58, ttl: 64}.wrap(payload))
	}
	dns := func(answer byte) []byte { return bytesOf(be16(1), []byte{answer << 7, 0}, make([]byte, 20)) }
	for kind, data := range map[string][]byte{
		"arp-request":             eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4)),
		"arp-reply":               eth(macOf(1), macOf(2), etherARP, arp(2, macOf(1), a4, macOf(2), b4)),
		"echo-request":            over(1, icmp(8, 0, 1, 1, nil)),
		"echo-reply":              over6(icmp(129, 0, 1, 1, nil)),
		"unreachable":             over(1, icmp(3, 1, 0, 0, nil)),
		"too-big":                 over(1, icmp(3, 4, 0, 0, nil)),
		"time-exceeded":           over6(icmp(3, 0, 0, 0, nil)),
		"neighbour-solicitation":  over6(ndp(135, b6)),
		"neighbour-advertisement": over6(ndp(136, b6)),
		"tcp-syn":                 over(6, tcp(1, 2, 3, 4, flagSYN, nil)),
		"tcp-syn-ack":             over(6, tcp(1, 2, 3, 4, flagSYN|flagACK, nil)),
		"tcp-reset":               over(6, tcp(1, 2, 3, 4, flagRST|flagACK, nil)),
		"tcp-fin":                 over(6, tcp(1, 2, 3, 4, flagFIN|flagACK, nil)),
		"tcp":                     over(6, tcp(1, 2, 3, 4, flagACK, nil)),
		"dns-query":               over(17, udp(9, 53, dns(0))),
		"dns-answer":              over(17, udp(53, 9, dns(1))),
		"udp":                     over(17, udp(9, 9, nil)),
		"other":                   over(89, nil),
	} {
		s := newStage(nil, nil)
		j := s.see("n/eth0", data)
		f := j.Facts(&j.Sightings[0])
		if f.Kind != kind {
			t.Errorf("%q, want %q", f.Kind, kind)
		}
		if f.Journey != j.ID || f.Node != topo.NodeID("n") || f.Link != "eth0" || f.Out || f.Length != len(data) || f.Answered {
			t.Errorf("%+v", f)
		}
	}
	s := newStage(nil, nil)
	j := s.see(">n/eth0", over(17, udp(9, 10, nil)))
	if f := j.Facts(&j.Sightings[0]); f.Src != a4 || f.Dst != b4 || f.SrcPort != 9 || f.DstPort != 10 || f.TTL != 64 || !f.Out || f.OuterSrc.IsValid() || f.OuterPort != 0 {
		t.Errorf("%+v", f)
	}
}

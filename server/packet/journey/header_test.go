package journey

import (
	"slices"
	"strings"
	"testing"

	"kabel/server/packet"
)

// protocols is a stack in one line.
func protocols(stack []Header) string {
	var names []string
	for _, h := range stack {
		names = append(names, h.Protocol.String())
	}
	return strings.Join(names, " ")
}

var (
	a4, b4 = addr("10.0.0.1"), addr("10.0.0.2")
	a6, b6 = addr("fd00::1"), addr("fd00::2")
)

func TestPeelReadsEveryHeader(t *testing.T) {
	inner := ip{src: c1, dst: c2, protocol: protocolICMP, ttl: 63, id: 5}
	ping := icmp(icmpEcho, 0, 7, 3, samePayload)
	innerFrame := eth(macOf(1), macOf(2), etherIPv4, inner.wrap(ping))
	over := func(protocol byte, payload []byte) []byte {
		return eth(macOf(8), macOf(9), etherIPv4, ip{src: a4, dst: b4, protocol: protocol, ttl: 64, id: 77}.wrap(payload))
	}
	over6 := func(protocol byte, payload []byte) []byte {
		return eth(macOf(8), macOf(9), etherIPv6, ip{src: a6, dst: b6, protocol: protocol, ttl: 64}.wrap(payload))
	}
	for _, c := range []struct {
		name     string
		hardware uint16
		data     []byte
		want     string
	}{
		{"ARP", 1, eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4)), "eth arp"},
		{"ARP of another kind", 1, eth(macOf(1), everyone, etherARP, make([]byte, 28)), "eth"},
		{"a tagged frame", 1, eth(macOf(1), macOf(2), etherVLAN, vlan(10, etherIPv4, inner.wrap(ping))), "eth vlan ipv4 icmp"},
		{"two tags", 1, eth(macOf(1), macOf(2), etherQinQ, vlan(10, etherVLAN, vlan(20, etherIPv4, inner.wrap(ping)))), "eth vlan vlan ipv4 icmp"},
		{"TCP", 1, over(protocolTCP, tcp(1, 2, 3, 4, flagSYN, nil)), "eth ipv4 tcp"},
		{"UDP in IPv6", 1, over6(protocolUDP, udp(1, 2, samePayload)), "eth ipv6 udp"},
		{"ICMPv6 after hop-by-hop options", 1, over6(0, bytesOf([]byte{protocolICMPv6, 0, 5, 2, 0, 0, 1, 0}, ndp(icmp6Solicitation, b6))), "eth ipv6 icmpv6"},
		{"the first fragment in IPv6", 1, over6(44, bytesOf([]byte{protocolUDP, 0, 0, 1, 0, 0, 0, 9}, udp(1, 2, samePayload))), "eth ipv6 udp"},
		{"a later fragment in IPv6", 1, over6(44, bytesOf([]byte{protocolUDP, 0, 5, 200, 0, 0, 0, 9}, samePayload)), "eth ipv6"},
		{"a later fragment", 1, eth(macOf(1), macOf(2), etherIPv4, ip{src: a4, dst: b4, protocol: protocolUDP, offset: 1480}.wrap(samePayload)), "eth ipv4"},
		{"VXLAN", 1, over(protocolUDP, udp(5555, portVXLAN, vxlan(42, innerFrame))), "eth ipv4 udp vxlan eth ipv4 icmp"},
		{"VXLAN on the port of old", 1, over(protocolUDP, udp(5555, portVXLANLinux, vxlan(42, innerFrame))), "eth ipv4 udp vxlan eth ipv4 icmp"},
		{"VXLAN over IPv6 with ARP in it", 1, over6(protocolUDP, udp(5555, portVXLAN, vxlan(42, eth(macOf(1), everyone, etherARP, arp(1, macOf(1), a4, mac{}, b4))))), "eth ipv6 udp vxlan eth arp"},
		{"UDP to VXLAN's port that isn't VXLAN", 1, over(protocolUDP, udp(5555, portVXLAN, make([]byte, 60))), "eth ipv4 udp"},
		{"GENEVE with options", 1, over(protocolUDP, udp(5555, portGENEVE, geneve(42, make([]byte, 8), innerFrame))), "eth ipv4 udp geneve eth ipv4 icmp"},
		{"GRE with IP", 1, over(protocolGRE, gre(etherIPv4, inner.wrap(ping))), "eth ipv4 gre ipv4 icmp"},
		{"GRE with Ethernet", 1, over(protocolGRE, gre(etherBridge, innerFrame)), "eth ipv4 gre eth ipv4 icmp"},
		{"GRE with a key", 1, over(protocolGRE, bytesOf([]byte{0x20, 0, 8, 0, 0, 0, 0, 5}, inner.wrap(ping))), "eth ipv4 gre ipv4 icmp"},
		{"IP in IP", 1, over(protocolIPIP, inner.wrap(ping)), "eth ipv4 ipv4 icmp"},
		{"IPv6 in IPv4", 1, over(protocolIPv6, ip{src: a6, dst: b6, protocol: protocolICMPv6}.wrap(ping)), "eth ipv4 ipv6 icmpv6"},
		{"IP in UDP", 1, over(protocolUDP, udp(9000, 9000, inner.wrap(ping))), "eth ipv4 udp ipv4 icmp"},
		{"IP in UDP behind socat's header", 1, over(protocolUDP, udp(9000, 4711, bytesOf([]byte{0, 0, 8, 0}, inner.wrap(ping)))), "eth ipv4 udp ipv4 icmp"},
		{"IPv6 in UDP", 1, over(protocolUDP, udp(4711, 9000, ip{src: a6, dst: b6, protocol: protocolICMPv6}.wrap(ping))), "eth ipv4 udp ipv6 icmpv6"},
		{"words on port 9000", 1, over(protocolUDP, udp(9000, 9000, []byte("Every cable has two ends, this one has three."))), "eth ipv4 udp"},
		{"the words of IP on another port", 1, over(protocolUDP, udp(9001, 9001, inner.wrap(ping))), "eth ipv4 udp"},
		{"TUN", packet.HardwareNone, inner.wrap(ping), "ipv4 icmp"},
		{"TUN with IPv6", packet.HardwareNone, ip{src: a6, dst: b6, protocol: protocolICMPv6}.wrap(ping), "ipv6 icmpv6"},
		{"TUN with neither", packet.HardwareNone, []byte{0, 1, 2, 3}, ""},
		{"loopback", packet.HardwareLoopback, eth(mac{}, mac{}, etherIPv4, inner.wrap(ping)), "eth ipv4 icmp"},
		{"spanning tree", 1, eth(macOf(1), mac{1, 0x80, 0xc2}, 38, make([]byte, 38)), "eth"},
		{"a header that isn't whole", 1, over(protocolTCP, make([]byte, 12)), "eth ipv4"},
		{"less than a frame", 1, []byte{1, 2, 3}, ""},
		{"nothing", 1, nil, ""},
		{"what an ICMP error quotes", 1, over(protocolICMP, icmp(icmpUnreachable, 1, 0, 0, inner.wrap(ping))), "eth ipv4 icmp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &packet.Frame{Interface: packet.Interface{Hardware: c.hardware}, Data: c.data, Length: len(c.data)}
			if got := protocols(Peel(nil, f)); got != c.want {
				t.Errorf("headers %q, want %q", got, c.want)
			}
		})
	}
}

func TestPeelReadsTheFields(t *testing.T) {
	data := eth(macOf(1), macOf(2), etherVLAN, vlan(10, etherIPv4, ip{src: a4, dst: b4, protocol: protocolTCP, ttl: 61, id: 515, df: true}.wrap(
		tcp(1234, 80, 0xdeadbeef, 0xfeedface, flagACK|flagPSH, samePayload))))
	stack := Peel(nil, &packet.Frame{Interface: packet.Interface{Hardware: 1}, Data: data, Length: len(data)})
	if protocols(stack) != "eth vlan ipv4 tcp" {
		t.Fatal(protocols(stack))
	}
	if stack[0].SrcMAC != macOf(1) || stack[0].DstMAC != macOf(2) || stack[1].ID != 10 {
		t.Errorf("link layer %+v %+v", stack[0], stack[1])
	}
	if h := stack[2]; h.Src() != a4 || h.Dst() != b4 || h.TTL != 61 || h.ID != 515 || h.Flags != FlagDF || h.Next != protocolTCP {
		t.Errorf("IPv4 %+v", h)
	}
	if h := stack[3]; h.SrcPort != 1234 || h.DstPort != 80 || h.Seq != 0xdeadbeef || h.Ack != 0xfeedface || h.Window != 64240 ||
		int(h.Length) != len(samePayload) || string(data[h.Payload:]) != string(samePayload) {
		t.Errorf("TCP %+v", h)
	}
}

// TestPeelIsBounded: tunnels in tunnels end somewhere, and so do IPv6's extension
// headers.
func TestPeelIsBounded(t *testing.T) {
	data := ip{src: a4, dst: b4, protocol: protocolUDP}.wrap(udp(1, 2, nil))
	for range 100 {
		data = ip{src: a4, dst: b4, protocol: protocolIPIP}.wrap(data)
	}
	f := &packet.Frame{Interface: packet.Interface{Hardware: packet.HardwareNone}, Data: data, Length: len(data)}
	if n := len(Peel(nil, f)); n != maxHeaders {
		t.Errorf("%d headers, want %d", n, maxHeaders)
	}
	options := slices.Repeat([]byte{60, 0, 0, 0, 0, 0, 0, 0}, 50)
	f.Data = ip{src: a6, dst: b6, protocol: 60}.wrap(options)
	f.Length = len(f.Data)
	if got := protocols(Peel(nil, f)); got != "ipv6" {
		t.Errorf("headers %q after 50 extension headers, want ipv6 only", got)
	}
}

// TestPeelNeedsNoMore: a captured beginning is read as far as it goes.
func TestPeelNeedsNoMore(t *testing.T) {
	inner := eth(macOf(1), macOf(2), etherIPv4, ip{src: c1, dst: c2, protocol: protocolTCP, ttl: 63}.wrap(tcp(1, 2, 3, 4, flagACK, make([]byte, 1000))))
	data := eth(macOf(8), macOf(9), etherIPv4, ip{src: a4, dst: b4, protocol: protocolUDP}.wrap(udp(5, portVXLAN, vxlan(42, inner))))
	all := Peel(nil, &packet.Frame{Interface: packet.Interface{Hardware: 1}, Data: data, Length: len(data)})
	last := 0
	for n := range data {
		stack := Peel(nil, &packet.Frame{Interface: packet.Interface{Hardware: 1}, Data: data[:n], Length: len(data)})
		if !same(stack, all[:len(stack)]) || len(stack) < last {
			t.Fatalf("of %d bytes %s, after %d headers of %d", n, protocols(stack), last, len(all))
		}
		last = len(stack)
	}
	if last != len(all) {
		t.Errorf("%d of %d headers", last, len(all))
	}
}

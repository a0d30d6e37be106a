package filter

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// sample is a frame of the corpus.
type sample struct {
	name   string
	data   []byte
	length int // of the whole frame; data may be less
	whole  bool
}

// The builders below put one header before what it carries.

func bytesOf(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			b = append(b, p)
		case int:
			b = append(b, byte(p))
		case uint16:
			b = binary.BigEndian.AppendUint16(b, p)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case []byte:
			b = append(b, p...)
		case string: // hexadecimal, or an address
			if a, err := netip.ParseAddr(p); err == nil {
				b = append(b, a.AsSlice()...)
				continue
			}
			h, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(p))
			if err != nil {
				panic(err)
			}
			b = append(b, h...)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return b
}

const (
	macA, macB   = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	macAll       = "ff:ff:ff:ff:ff:ff"
	macGroup     = "01:00:5e:00:00:fb"
	macSix       = "33:33:00:00:00:01"
	macBridge    = "01:80:c2:00:00:00"
	hostA, hostB = "10.0.0.1", "10.0.0.2"
	hostC, hostD = "192.168.1.7", "172.16.5.4"
	sixA, sixB   = "2001:db8::1", "2001:db8::2"
	sixLink      = "fe80::1"
)

func ether(dst, src string, etherType int, payload []byte) []byte {
	return bytesOf(dst, src, uint16(etherType), payload)
}

func vlan(id, etherType int, payload []byte) []byte {
	return bytesOf(uint16(id|5<<13), uint16(etherType), payload)
}

// ip4 takes the words behind the fixed header as options, and the fragment field.
func ip4Packet(src, dst string, proto, fragment int, options, payload []byte) []byte {
	return bytesOf(0x40|(5+len(options)/4), 0, uint16(20+len(options)+len(payload)), uint16(0x1234), uint16(fragment),
		byte(64), proto, uint16(0), src, dst, options, payload)
}

func ip6Packet(src, dst string, next int, payload []byte) []byte {
	return bytesOf(uint32(0x60000000), uint16(len(payload)), next, 64, src, dst, payload)
}

func udp(src, dst int, payload []byte) []byte {
	return bytesOf(uint16(src), uint16(dst), uint16(8+len(payload)), uint16(0), payload)
}

func tcp(src, dst, flags int, payload []byte) []byte {
	return bytesOf(uint16(src), uint16(dst), uint32(1000), uint32(2000), byte(5<<4), flags, uint16(1024), uint32(0), payload)
}

func sctp(src, dst int) []byte {
	return bytesOf(uint16(src), uint16(dst), uint32(7), uint32(0), "01000014 00000000 00000000 00000000 00000000")
}

func icmp(kind, code int) []byte {
	return bytesOf(kind, code, uint16(0), uint16(77), uint16(1), "6162636465666768")
}

func arp(op int, src, dst string) []byte {
	return bytesOf(uint16(1), uint16(0x0800), 6, 4, uint16(op), macA, src, "000000000000", dst)
}

func vxlan(vni int, frame []byte) []byte {
	return bytesOf(uint32(0x08000000), uint32(vni<<8), frame)
}

func geneve(vni, proto int, options, payload []byte) []byte {
	return bytesOf(len(options)/4, 0, uint16(proto), uint32(vni<<8), options, payload)
}

// packets are the IP packets of the corpus: they ride in Ethernet frames, behind
// tags, in tunnels, and bare.
func packets() []sample {
	text := []byte("GET / HTTP/1.1\r\nHost: kabel\r\n\r\n")
	four := func(name, src, dst string, proto int, payload []byte) sample {
		return sample{name: name, data: ip4Packet(src, dst, proto, 0, nil, payload)}
	}
	six := func(name, src, dst string, next int, payload []byte) sample {
		return sample{name: name, data: ip6Packet(src, dst, next, payload)}
	}
	options := bytesOf("01010100 01010100")
	return []sample{
		four("echo", hostA, hostB, 1, icmp(8, 0)),
		four("reply", hostB, hostA, 1, icmp(0, 0)),
		four("unreachable", hostC, hostA, 1, icmp(3, 1)),
		four("exceeded", hostC, hostA, 1, icmp(11, 0)),
		four("syn", hostA, hostC, 6, tcp(40000, 80, 2, nil)),
		four("syn-ack", hostC, hostA, 6, tcp(80, 40000, 0x12, nil)),
		four("request", hostA, hostC, 6, tcp(40000, 80, 0x18, text)),
		four("fin", hostA, hostC, 6, tcp(40000, 80, 0x11, nil)),
		four("rst", hostC, hostD, 6, tcp(443, 50000, 4, nil)),
		four("ssh", hostD, hostB, 6, tcp(22, 22, 0x10, text)),
		four("dns", hostA, "8.8.8.8", 17, udp(5353, 53, text)),
		four("dns answer", "8.8.8.8", hostA, 17, udp(53, 5353, text)),
		four("dhcp", "0.0.0.0", "255.255.255.255", 17, udp(68, 67, make([]byte, 240))),
		four("any", "10.0.0.9", "0.0.0.0", 17, udp(9, 9, nil)),
		four("tunnelled", hostA, hostD, 17, udp(9000, 9000, ip4Packet("10.1.0.1", "10.1.0.2", 1, 0, nil, icmp(8, 0)))),
		four("multicast", hostB, "224.0.0.251", 17, udp(5353, 5353, text)),
		four("igmp", hostB, "224.0.0.22", 2, bytesOf("22000000 00000001 04000000 e00000fb")),
		four("sctp", hostA, hostB, 132, sctp(80, 3868)),
		four("esp", hostA, hostB, 50, make([]byte, 24)),
		four("ah", hostA, hostB, 51, make([]byte, 24)),
		four("gre", hostA, hostB, 47, bytesOf("00000800", ip4Packet(hostC, hostD, 1, 0, nil, icmp(8, 0)))),
		four("ipip", hostA, hostB, 4, ip4Packet(hostC, hostD, 6, 0, nil, tcp(80, 80, 2, nil))),
		four("pim", hostA, "224.0.0.13", 103, make([]byte, 16)),
		four("ospf", hostA, "224.0.0.5", 89, make([]byte, 16)),
		four("vrrp", hostA, "224.0.0.18", 112, bytesOf("21016401 00010000 0a000001")),
		{name: "options", data: ip4Packet(hostA, hostB, 6, 0, options, tcp(1024, 443, 0x18, text))},
		{name: "options udp", data: ip4Packet(hostD, hostB, 17, 0, options, udp(80, 8080, text))},
		{name: "first fragment", data: ip4Packet(hostA, hostB, 17, 0x2000, nil, udp(80, 80, text))},
		{name: "later fragment", data: ip4Packet(hostA, hostB, 17, 0x2004, nil, udp(80, 80, text))},
		{name: "last fragment", data: ip4Packet(hostA, hostB, 6, 0x0008, nil, tcp(80, 80, 2, text))},
		{name: "icmp fragment", data: ip4Packet(hostA, hostB, 1, 0x0008, nil, icmp(8, 0))},
		{name: "no fragment", data: ip4Packet(hostA, hostB, 6, 0x4000, nil, tcp(8080, 53, 2, text))},
		six("echo6", sixA, sixB, 58, icmp(128, 0)),
		six("reply6", sixB, sixA, 58, icmp(129, 0)),
		six("solicitation", sixLink, "ff02::1:ff00:1", 58, bytesOf("87000000 00000000", sixB)),
		six("advertisement", sixLink, "ff02::1", 58, bytesOf("86000000 40000708 00000000 00000000")),
		six("tcp6", sixA, sixB, 6, tcp(40000, 80, 2, nil)),
		six("tcp6 text", sixB, sixA, 6, tcp(443, 40000, 0x18, text)),
		six("dns6", sixLink, sixB, 17, udp(5353, 53, text)),
		six("sctp6", sixA, sixB, 132, sctp(3868, 3868)),
		six("fragment6", sixA, sixB, 44, bytesOf("11000001 00000001", udp(53, 53, text))),
		six("fragment6 tcp", sixA, sixB, 44, bytesOf("06000001 00000001", tcp(80, 53, 2, nil))),
		six("hop-by-hop", sixA, sixB, 0, bytesOf("3a000502 00000000", icmp(143, 0))),
		six("esp6", sixA, sixB, 50, make([]byte, 24)),
		six("mapped", "::ffff:10.0.0.1", sixB, 59, nil),
	}
}

// frames is the corpus as Ethernet.
func frames() []sample {
	var out []sample
	add := func(name string, data []byte) { out = append(out, sample{name: name, data: data}) }
	inner := packets()
	etherType := func(p []byte) int {
		if p[0]>>4 == 6 {
			return 0x86dd
		}
		return 0x0800
	}
	for i, p := range inner {
		dst := []string{macB, macA, macAll, macGroup, macSix}[i%5]
		t := etherType(p.data)
		add(p.name, ether(dst, macA, t, p.data))
		add(p.name+" in vlan", ether(macB, macA, 0x8100, vlan(10*(1+i%3), t, p.data)))
		if i%4 == 0 {
			add(p.name+" in q-in-q", ether(macB, macA, 0x88a8, vlan(100, 0x8100, vlan(20, t, p.data))))
			add(p.name+" in old q-in-q", ether(macB, macA, 0x9100, vlan(10, 0x8100, vlan(10, t, p.data))))
		}
		frame := ether(macA, macB, t, p.data)
		tagged := ether(macA, macB, 0x8100, vlan(10, t, p.data))
		if i%2 == 0 {
			vni := 42 + i%3
			add(p.name+" in vxlan", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, []int{4789, 8472}[i/2%2], vxlan(vni, frame)))))
			add(p.name+" in geneve", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 6081, geneve(vni, 0x6558, nil, frame)))))
		}
		if i%5 == 0 {
			add(p.name+" tagged in vxlan", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, bytesOf("01010100"), udp(50000, 4789, vxlan(43, tagged)))))
			add(p.name+" in vxlan6", ether(macB, macA, 0x86dd, ip6Packet(sixA, sixB, 17, udp(50000, 4789, vxlan(42, frame)))))
			add(p.name+" in vxlan in vlan", ether(macB, macA, 0x8100, vlan(10, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 4789, vxlan(42, frame))))))
			add(p.name+" in geneve6", ether(macB, macA, 0x86dd, ip6Packet(sixA, sixB, 17, udp(50000, 6081, geneve(42, 0x6558, bytesOf("00000001 00000000"), frame)))))
			add(p.name+" bare in geneve", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 6081, geneve(42, t, bytesOf("00000001 00000000"), p.data)))))
			add(p.name+" tagged in geneve", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 6081, geneve(43, 0x6558, nil, tagged)))))
			add(p.name+" in geneve in geneve", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 6081, geneve(42, 0x6558, nil,
				ether(macB, macA, 0x0800, ip4Packet(hostB, hostC, 17, 0, nil, udp(1, 6081, geneve(44, 0x6558, nil, frame)))))))))
		}
	}
	add("arp request", ether(macAll, macA, 0x0806, arp(1, hostA, hostB)))
	add("arp reply", ether(macA, macB, 0x0806, arp(2, hostB, hostA)))
	add("arp elsewhere", ether(macAll, macB, 0x0806, arp(1, hostC, hostD)))
	add("rarp", ether(macAll, macB, 0x8035, arp(3, "0.0.0.0", hostB)))
	add("arp in vlan", ether(macAll, macA, 0x8100, vlan(20, 0x0806, arp(1, hostA, hostC))))
	add("stp", ether(macBridge, macA, 38, bytesOf("424203 0000 00 00 00 8000020000000001 00000000 8000020000000001 8001 0000 1400 0200 0f00")))
	add("isis", ether("01:80:c2:00:00:15", macA, 40, bytesOf("fefe03 83", make([]byte, 36))))
	add("snap", ether(macB, macA, 50, bytesOf("aaaa03 000000 0800", ip4Packet(hostA, hostB, 1, 0, nil, icmp(8, 0)))))
	add("llc in vlan", ether(macBridge, macA, 0x8100, vlan(10, 38, bytesOf("424203", make([]byte, 35)))))
	add("lldp", ether("01:80:c2:00:00:0e", macB, 0x88cc, make([]byte, 46)))
	add("loopback", ether(macA, macA, 0x9000, make([]byte, 46)))
	add("mpls", ether(macB, macA, 0x8847, bytesOf("00010140", ip4Packet(hostA, hostB, 1, 0, nil, icmp(8, 0)))))
	add("pppoe", ether(macB, macA, 0x8864, bytesOf("1100 0001 0016 0021", ip4Packet(hostA, hostB, 1, 0, nil, icmp(8, 0)))))
	add("priority tag", ether(macB, macA, 0x8100, vlan(0, 0x0800, inner[0].data)))
	add("claims ip", ether(macB, macA, 0x0800, ip6Packet(sixA, sixB, 6, tcp(80, 80, 2, nil))))
	add("vxlan without flag", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(1, 4789, bytesOf(uint32(0), uint32(42<<8), ether(macA, macB, 0x0800, inner[0].data))))))
	add("geneve of another version", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(1, 6081, bytesOf(uint32(0x40006558), uint32(42<<8), ether(macA, macB, 0x0800, inner[0].data))))))
	add("to itself", ether(macA, macA, 0x0800, ip4Packet(hostA, hostA, 1, 0, nil, icmp(8, 0))))
	add("to itself too", ether(macA, macA, 0x0800, ip4Packet(hostC, hostC, 6, 0, nil, tcp(80, 80, 0x14, nil))))
	dying := ip4Packet(hostA, hostB, 17, 0, nil, udp(33434, 33434, nil))
	dying[8], dying[1] = 1, 0xb8
	add("dying", ether(macB, macA, 0x0800, dying))
	add("tagged thrice", ether(macB, macA, 0x88a8, vlan(10, 0x8100, vlan(20, 0x8100, vlan(30, 0x0800, dying)))))
	add("sap 6", ether(macB, macA, 46, bytesOf("060603", make([]byte, 43))))
	add("length 1501", ether(macB, macA, 1501, make([]byte, 46)))
	inGeneve := func(f []byte) []byte {
		return ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 6081, geneve(42, 0x6558, nil, f)))
	}
	request := ether(macAll, macA, 0x0806, arp(1, hostA, hostB))
	add("arp in geneve", ether(macB, macA, 0x0800, inGeneve(request)))
	add("geneve in vlan", ether(macB, macA, 0x8100, vlan(10, 0x0800, inGeneve(ether(macB, macA, 0x0800, inner[0].data)))))
	add("other way", ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(6081, 50000, geneve(42, 0x6558, nil, ether(macA, macB, 0x0800, inner[0].data))))))
	return complete(out)
}

// bareFrames is the corpus without Ethernet, as a TUN device has it.
func bareFrames() []sample {
	out := packets()
	inner := ether(macA, macB, 0x0800, out[0].data)
	out = append(out,
		sample{name: "vxlan", data: ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 4789, vxlan(42, inner)))},
		sample{name: "geneve", data: ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 6081, geneve(42, 0x6558, nil, inner)))},
		sample{name: "geneve6", data: ip6Packet(sixA, sixB, 17, udp(50000, 6081, geneve(42, 0x6558, nil, inner)))},
		sample{name: "version 5", data: bytesOf("50000000", make([]byte, 40))},
		sample{name: "zeros", data: make([]byte, 64)})
	return complete(out)
}

// complete sets the lengths, and adds frames that were cut while captured, at
// every byte up to 62, and some that were sent so short.
func complete(in []sample) []sample {
	var out []sample
	for i, s := range in {
		s.length, s.whole = len(s.data), true
		out = append(out, s)
		if i%7 == 0 || strings.Contains(s.name, "fragment") {
			for n := i % 3; n < min(len(s.data), 62); n += 3 {
				out = append(out, sample{name: fmt.Sprintf("%s cut at %d", s.name, n), data: slices.Clone(s.data[:n]), length: s.length})
			}
			short := s.data[:min(len(s.data), 20+i%40)]
			out = append(out, sample{name: s.name + " short", data: slices.Clone(short), length: len(short)})
		}
	}
	return out
}

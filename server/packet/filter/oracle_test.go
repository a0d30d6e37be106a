package filter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// agreed are expressions that mean exactly what libpcap says, on every frame of
// the corpus.
var agreed = strings.Split(strings.TrimSpace(`
ip
ip6
arp
rarp
icmp
icmp6
tcp
udp
sctp
igmp
esp
ah
pim
vrrp
stp
iso
not ip
! ip6
not not ip
not (ip or arp)
ip or ip6
ip and tcp
ip && tcp || udp
ip || tcp && udp
tcp or udp and port 53
tcp or (udp and port 53)
not tcp and not udp
not (tcp or udp)
((((icmp))))
host 10.0.0.1
src host 10.0.0.1
dst host 10.0.0.1
src 10.0.0.1
dst 10.0.0.2
src or dst host 10.0.0.1
src and dst host 10.0.0.1
dst or src 10.0.0.1
dst and src host 192.168.1.7
host 10.0.0.1 and 10.0.0.2
host 10.0.0.1 or 10.0.0.2
host 10.0.0.1 and not 10.0.0.2
host (10.0.0.1 or 192.168.1.7)
host 10.0.0.1 and (192.168.1.7 or 172.16.5.4)
host 10.0.0.1 and ! (192.168.1.7 or 172.16.5.4)
not host 10.0.0.1
src 10.0.0.1 and dst 10.0.0.2
src 10.0.0.1 or dst 10.0.0.1 and tcp
ip host 10.0.0.1
arp host 10.0.0.1
arp src host 10.0.0.1
arp dst 10.0.0.2
rarp host 10.0.0.2
ip src 10.0.0.1
ip src or dst 10.0.0.1
host 2001:db8::1
src host 2001:db8::1
dst host 2001:db8::2
ip6 host fe80::1
ip6 src fe80::1
host fe80::1 or 10.0.0.1
host ::ffff:10.0.0.1
net 10.0.0.0/8
src net 10.0.0.0/24
dst net 192.168.0.0/16
net 10.0.0.0/31
net 10.0.0.1/32
net 128.0.0.0/1
net 0.0.0.0/0
net 10
net 10.0
net 192.168.1
net 10.0.0.1
dst net 10
net 10.0.0.0 mask 255.0.0.0
src net 10.0.0.0 mask 255.255.255.0
net 10.0.0.1 mask 255.0.255.255
net 10.0.0.0 mask 255.0.0.254
arp net 10.0.0.0/8
arp src net 10.0.0.0/24
ip net 10.0.0.0/8 or 192.168.0.0/16
net 10.0.0.0/8 and not 10.0.0.2
src net 10 or 172.16
net 2001:db8::/32
net fe80::/10
src net 2001:db8::/64
dst net ff00::/8
ip6 net ff02::/16
net 2001:db8::1
net 2001:db8::1/128
net ::/0
net 2001:db8::/33
ether host 02:00:00:00:00:0a
ether src 02:00:00:00:00:0a
ether dst host 02:0:0:0:0:a
ether src or dst 2:0:0:0:0:b
ether src and dst 02:00:00:00:00:0a
ether host 02-00-00-00-00-0b
ether host 0200.0000.000b
ether host 02.00.00.00.00.0b
ether host 02000000000b
ether host 02:00:00:00:00:0a or 02:00:00:00:00:0b
ether dst 01:80:c2:00:00:00
ether broadcast
broadcast
ether multicast
multicast
not broadcast and not multicast
ip broadcast
ip multicast
ip6 multicast
ether proto 0x0800
ether proto 0x806
ether proto 34525
ether proto \ip
ether proto \arp
ether proto \ip6
ether proto \rarp
ether proto \stp
ether proto loopback
ether proto 0x8100
ether proto 0x88cc
ether proto 0x9000
ether proto 0x42
ether proto 0xfe
ether proto 6
ether proto 0xaa
ether proto 1501
ether proto 0x8100 or 0x88a8
ip proto 1
ip proto 47
ip proto \tcp
ip proto \icmp or \udp
ip proto 4
ip6 proto 58
ip6 proto \tcp
ip6 proto 44
ip6 proto 17
ip6 proto 0
proto 17
proto \sctp
proto 47 or 50
proto 89
port 80
src port 80
dst port 80
src or dst port 80
src and dst port 80
tcp port 80
udp port 53
sctp port 3868
tcp src port 443
udp dst port 53
tcp dst port 80 or 443
port 80 or 53
port (80 or 443)
tcp port (80 or 443) and host 10.0.0.1
not port 53
not tcp port 80
port 53 and not tcp
udp port 67 or 68
port 0x50
port 0120
portrange 50-100
portrange 100-50
portrange 80-80
portrange 80
tcp portrange 1-1024
src portrange 4000-50000
dst portrange 0-65535
udp src portrange 5000-6000
src and dst portrange 1-100
portrange 20-25 or 443-500
port 80 and portrange 30000-50000
host 10.0.0.1 and port 80
host 10.0.0.1 and tcp port 80 or 443
src host 10.0.0.1 and dst port 80
len > 100
len >= 60
len < 60
len <= 54
len = 54
len == 42
len != 42
less 60
greater 100
less 60 or greater 200
100 < len
60 >= len
len - 14 > 100
(len - 14) * 2 > 200
len & 1 = 0
len > ip[2:2]
len - 14 = ip[2:2]
ip[2:2] + 14 < len
1 = 1
1 = 2
1 + 2 * 3 = 7
7 / 2 = 3 and tcp
0xffffffff > 1
-1 > 5
tcp[tcpflags] & tcp-syn != 0
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[tcpflags] & (tcp-syn | tcp-ack) == tcp-syn
tcp[tcpflags] == tcp-syn
tcp[13] = 18
tcp[13] & 7 != 0
tcp[tcpflags] & (tcp-rst|tcp-ack) == (tcp-rst|tcp-ack)
tcp[0:2] = 80
tcp[2:2] > 1024
tcp[4:4] = 1000
tcp[12] >> 4 = 5
tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420
udp[8:4] = 0x47455420
udp[4:2] > 8
udp[0:2] = udp[2:2]
udp[8:4] & 0xff000000 = 0x47000000
icmp[icmptype] == icmp-echo
icmp[icmptype] = icmp-echo or icmp[icmptype] = icmp-echoreply
icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply
icmp[icmpcode] = 1
icmp[0] = 3 && icmp[1] = 1
icmp[4:2] = 77
icmp6[icmp6type] == icmp6-echo
icmp6[icmp6type] = icmp6-neighborsolicit
icmp6[0] = 134
icmp6[icmp6code] = 0
icmp6[4:4] = 0
igmp[0] = 0x22
sctp[0:2] = 80
pim[0] = 0
vrrp[0] = 0x21
ip[8] < 65
ip[8] < 5
ip[0] & 0xf != 5
ip[0] & 0xf > 5
ip[6:2] & 0x1fff = 0
ip[6] & 0x20 != 0
ip[9] = 6 or ip[9] = 17
ip[12:4] = 0x0a000001
ip[16] >= 224
ip[2:2] > 60
ip[100] = 0
not ip[100] = 0
ip[100] = 0 or ip
ip or ip[100] = 0
ip[ip[9]] = 0
ip[ip[0] & 0xf] = 0x34
ip[(ip[0] & 15) * 4] = 8
ip[20 + 2 * 1:2] = 80
ip[0] * 2 = 138
ip[0] / ip[6] = 1
ip[8] % 7 = 1
ip[0] - ip[8] = 5
ip[0] ^ 0x45 = 0
ip[0] | ip[1] = 69
ip[0] << 8 = 0x4500
(ip[0] & 0xf) << 2 = 28
- ip[8] = 0 - 64
ip[0] & ip[9] = 1
ip[2:2] - ip[8] * 2 > ip[9] + ip[0]
ip6[6] = 58
ip6[7] = 64
ip6[4:2] > 40
ip6 and ip6[40] = 128
ip6[0] >> 4 = 6
ip6[8:4] = 0x20010db8
ip6[24] = 0xff
arp[6:2] = 1
arp[6:2] = 2 and arp
arp[14:4] = 0x0a000001
rarp[7] = 3
ether[0] & 1 = 0
ether[0] & 1 != 0
ether[12:2] = 0x0806
ether[12:2] = 0x8100
ether[14:2] & 0xfff = 10
ether[10:4] = 0x000a8100
ether[11:2] = 0x0a81
ether[13:2] = 0x00a0
ether[15:4] = 0x0a080045
ether[14] = 0x45
ether[6:4] = 0x02000000
ether[0:4] = 0xffffffff and ether[4:2] = 0xffff
link[0] & 1 = 1
ether[16:2] = 0x0800
ether[20] = 0x40
vlan
vlan 10
vlan 20
not vlan
not vlan 10
vlan and ip
vlan and icmp
vlan and not icmp
vlan 10 and icmp
vlan 10 and tcp port 80
vlan and host 10.0.0.1
vlan and arp
vlan and stp
vlan and port 53
vlan and icmp6
vlan and vlan
vlan 100 and vlan 20
vlan 100 and vlan 20 and icmp
vlan and vlan and vlan
vlan or icmp
icmp or vlan
icmp and vlan
vlan and tcp[tcpflags] & tcp-syn != 0
vlan and ip[8] = 64
vlan and ip[ip[9]] = 0
vlan and tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420
vlan and ip6[6] = 58
vlan and ether host 02:00:00:00:00:0a
vlan and ether[12:2] = 0x8100
vlan and ether[16:2] = 0x0800
vlan and len > 100
vlan and broadcast
vlan and ip multicast
vlan and ip6 multicast
vlan and ether proto 0x800
vlan and (tcp or udp)
(vlan and icmp) or tcp
vlan 10 or vlan 20
ether proto 0x8100 and not vlan 20
geneve
geneve 42
geneve 43
geneve and icmp
geneve 42 and icmp
geneve 42 and tcp port 80
geneve and host 10.0.0.1
geneve and ip6
geneve and arp
geneve and not icmp
geneve and vlan
geneve and vlan 10 and icmp
geneve and ether host 02:00:00:00:00:0a
geneve and ether src 02:00:00:00:00:0b
geneve and ether proto 0x0800
geneve and multicast
geneve and broadcast
geneve and port 53
geneve and tcp[tcpflags] & tcp-syn != 0
geneve and ip[8] = 64
geneve and ip[ip[9]] = 0
geneve and tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420
geneve and icmp6[0] = 128
geneve and ip6[6] = 58
geneve and geneve
geneve 42 and geneve 44
geneve 42 and geneve 44 and icmp
geneve and (icmp or tcp)
icmp and geneve
udp and geneve and udp
not geneve
vlan and geneve
vlan and geneve and icmp
`), "\n")

// differs are expressions that libpcap takes another way, or not at all, and what
// they mean here instead, in words that both take. An empty meaning: an error here.
var differs = []struct{ expression, meaning, why string }{
	{"vlan 10 or 20", "ether[12:2] = 0x8100 and (ether[14:2] & 0xfff = 10 or ether[14:2] & 0xfff = 20) or (ether[12:2] = 0x9100 or ether[12:2] = 0x88a8) and (ether[14:2] & 0xfff = 10 or ether[14:2] & 0xfff = 20)", "libpcap has no list of tags, and looks for the second behind the first"},
	{"geneve or icmp", "geneve", "libpcap reads the inside of a tunnel that is not there from memory it never wrote"},
	{"not geneve and icmp", "1 = 2", "the same"},
	{"net 10/8", "net 10", "libpcap wants the dots"},
	{"net 10/8 or 192.168/16", "net 10 or 192.168", "the same"},
	{"proto tcp", "proto \\tcp", "libpcap wants a backslash"},
	{"ether proto arp", "ether proto \\arp", "the same"},
	{"host 10.0.0.1 and (10.0.0.2 or port 80)", "host 10.0.0.1 and (host 10.0.0.2 or port 80)", "libpcap takes bare values only in such parentheses"},
	{"host 10.0.1", "", "libpcap takes it for a network"},
	{"host 10", "", "libpcap takes it for 0.0.0.10"},
	{"ip[0] & 1 << ip[1] = 1", "", "the kernel and libpcap shift differently by more than 31"},
	{"ether[ip[0]] = 1", "", "the place can't be found where the kernel has taken the tag out"},
	{"ip[0x10000] = 1", "", "libpcap counts in circles"},
	{"ip[0] % 3 + 1 = 1", "(ip[0] % 3) + 1 = 1", "libpcap forgot to say how % binds"},
	{"ip[0] ^ 1 & 1 = 69", "ip[0] ^ (1 & 1) = 69", "the same of ^"},
	{"ether proto 0xe0", "ether[12:2] <= 1500 and ether[14] = 0xe0", "libpcap looks for IPX in its other wrappings too"},
}

// tcpdump returns which samples real tcpdump accepts; nil if the link has nothing
// of what the expression asks for, which is an error to it.
func tcpdump(expression string, linkType uint32, in []sample, flags ...string) ([]bool, error) {
	var file bytes.Buffer
	header := []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 65535, linkType}
	_ = binary.Write(&file, binary.LittleEndian, header)
	for i, s := range in {
		_ = binary.Write(&file, binary.LittleEndian, []uint32{uint32(i), 0, uint32(len(s.data)), uint32(s.length)})
		file.Write(s.data)
	}
	cmd := exec.Command("tcpdump", append(flags, "-r", "-", "-w", "-", "--", expression)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &file, &out, &errs
	matched := make([]bool, len(in))
	if err := cmd.Run(); err != nil {
		for _, nothing := range []string{"no VLAN support for Raw IP", "addresses supported only on ethernet",
			"not a broadcast link", "multicast filters supported only on"} {
			if strings.Contains(errs.String(), nothing) {
				return nil, nil
			}
		}
		if strings.Contains(errs.String(), "rejects all packets") {
			return matched, nil
		}
		return nil, fmt.Errorf("tcpdump: %w: %s", err, errs.String())
	}
	for rest := out.Bytes()[24:]; len(rest) >= 16; {
		matched[binary.LittleEndian.Uint32(rest)] = true
		rest = rest[16+binary.LittleEndian.Uint32(rest[8:]):]
	}
	return matched, nil
}

// links are the two halves of the corpus. The link types are LINKTYPE_ETHERNET
// and LINKTYPE_RAW.
func links() []corpusLink {
	return []corpusLink{
		{"Ethernet", 1, 1, frames()},
		{"raw IP", 101, 65534, bareFrames()},
	}
}

type corpusLink struct {
	name     string
	linkType uint32
	hardware uint16
	samples  []sample
}

// compare holds an expression against libpcap's word on another; loose, where the
// expression asks for bytes that whole frames don't have either. It returns how
// many frames matched.
func (l corpusLink) compare(t *testing.T, expression, reference string, loose bool) (matches int) {
	t.Helper()
	f, err := Compile(expression)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
		return 0
	}
	want, err := tcpdump(reference, l.linkType, l.samples, "-O")
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return 0
	}
	optimised, err := tcpdump(reference, l.linkType, l.samples)
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return 0
	}
	if want == nil {
		return 0
	}
	wrong := 0
	for i, s := range l.samples {
		got := f.Match(s.data, l.hardware, false, s.length)
		if got {
			matches++
		}
		// A frame without a byte that is asked for is not accepted; but whoever
		// sees that the byte makes no difference doesn't ask. libpcap's optimiser
		// sees some such bytes, this package others.
		agree := got == want[i] && got == optimised[i]
		if !s.whole || loose {
			agree = got == want[i] || got == optimised[i] || loose && !s.whole
		}
		if !agree {
			if wrong++; wrong <= 3 {
				t.Errorf("%s: %q on %s: %v, libpcap says %v, optimised %v (% x)", l.name, expression, s.name, got, want[i], optimised[i], s.data)
			}
		}
	}
	if wrong > 3 {
		t.Errorf("%s: %q: %d differences in all", l.name, expression, wrong)
	}
	return matches
}

// impossible are the expressions that no frame can satisfy.
var impossible = []string{"1 = 2", "icmp and vlan", "icmp and geneve"}

func TestEveryExpressionMeansWhatLibpcapSays(t *testing.T) {
	all := links()
	jobs := make(chan string)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for e := range jobs {
				matches := 0
				for _, l := range all {
					matches += l.compare(t, e, e, e == "ip[100] = 0 or ip")
				}
				if (matches == 0) != slices.Contains(impossible, e) {
					t.Errorf("%q: %d matches: the corpus doesn't test it", e, matches)
				}
			}
		})
	}
	for _, e := range agreed {
		jobs <- e
	}
	close(jobs)
	workers.Wait()
	t.Logf("%d expressions, %d frames of Ethernet and %d of raw IP", len(agreed), len(all[0].samples), len(all[1].samples))
}

// combine joins expressions that agree by chance, to ask of what the parser and
// the code generator make of many conditions.
func combine(r *rand.Rand, depth int) string {
	if depth == 0 {
		for {
			// Where geneve is negated or alternative libpcap reads what it never
			// wrote; what is compared with a constant truth isn't asked here at all.
			if e := agreed[r.IntN(len(agreed))]; !strings.Contains(e, "geneve") && !strings.ContainsAny(e[:1], "-0123456789") {
				return "(" + e + ")"
			}
		}
	}
	e := combine(r, r.IntN(depth))
	for range 1 + r.IntN(2) {
		e += []string{" and ", " or ", " && not ", " || ! "}[r.IntN(4)] + combine(r, r.IntN(depth))
	}
	return "(" + e + ")"
}

func TestCombinationsMeanWhatLibpcapSays(t *testing.T) {
	all := links()
	r := rand.New(rand.NewPCG(4, 2))
	jobs := make(chan string)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for e := range jobs {
				for _, l := range all {
					l.compare(t, e, e, true)
				}
			}
		})
	}
	for range 50 {
		jobs <- combine(r, 4)
	}
	close(jobs)
	workers.Wait()
}

// libpcap 1.10 has no "vxlan". What it must mean: the rest, of the frame inside.
func TestVXLANAsksOfTheFrameInside(t *testing.T) {
	type trio struct {
		expression             string
		inside, outside, other *Filter
	}
	var filters []trio
	compile := func(e string) *Filter {
		f, err := Compile(e)
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		return f
	}
	for _, e := range agreed {
		if !strings.Contains(e, "len") && !strings.Contains(e, "less") && !strings.Contains(e, "greater") {
			filters = append(filters, trio{e, compile(e), compile("vxlan 42 and (" + e + ")"), compile("vxlan 41 or 43 and (" + e + ")")})
		}
	}
	wraps := []func(inner []byte) []byte{
		func(b []byte) []byte {
			return ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, nil, udp(50000, 4789, vxlan(42, b))))
		},
		func(b []byte) []byte {
			return ether(macB, macA, 0x0800, ip4Packet(hostA, hostD, 17, 0, bytesOf("01010101 01010101"), udp(50000, 8472, vxlan(42, b))))
		},
		func(b []byte) []byte {
			return ether(macB, macA, 0x86dd, ip6Packet(sixA, sixB, 17, udp(50000, 4789, vxlan(42, b))))
		},
	}
	for i, s := range frames() {
		outer := wraps[i%len(wraps)](s.data)
		for _, f := range filters {
			if got, want := f.outside.Match(outer, 1, false, len(outer)), f.inside.Match(s.data, 1, false, s.length); got != want {
				t.Errorf("%q of %s in VXLAN: %v, bare %v", f.expression, s.name, got, want)
			}
			if f.other.Match(outer, 1, false, len(outer)) {
				t.Errorf("%s: another network matched", s.name)
			}
		}
	}
}

func TestWhereWeDifferFromLibpcapItIsOnPurpose(t *testing.T) {
	for _, d := range differs {
		if d.meaning == "" {
			if _, err := Compile(d.expression); err == nil {
				t.Errorf("%q compiles, though %s", d.expression, d.why)
			}
			continue
		}
		for _, l := range links() {
			l.compare(t, d.expression, d.meaning, false)
		}
	}
}

package packet

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"kabel/sandbox/topo"
)

// sample is a frame of the corpus with the name of what it comes from.
type sample struct {
	name  string
	frame Frame
}

// captured are the labs' own kinds of traffic, as every interface of four
// machines saw it on a real kernel: ARP, ping and its errors, fragments, TCP,
// HTTP, DNS, DHCP, IGMP and NDP in network.pcapng and apps.pcapng, VXLAN and
// socat's TUN and TAP in UDP in tunnels.pcapng.
func captured(t testing.TB) (all []sample) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.pcapng")
	if err != nil || len(files) != 3 {
		t.Fatalf("captures %v: %v", files, err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, frame := range readPcapng(t, f) {
			all = append(all, sample{filepath.Base(name), frame})
		}
	}
	return all
}

func readPcapng(t testing.TB, from io.Reader) (frames []Frame) {
	t.Helper()
	r, err := pcapgo.NewNgReader(from, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		on, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		node, link, _ := strings.Cut(on.Name, ":")
		f := Frame{No: uint64(len(frames) + 1), Interface: Interface{Node: topo.NodeID(node), Link: link, Hardware: HardwareEther}, Time: info.Timestamp, Length: info.Length, Data: data}
		if on.LinkType == layers.LinkTypeRaw {
			f.Interface.Hardware = HardwareNone
		}
		frames = append(frames, f)
	}
}

// built are frames of protocols that the machines of the corpus did not speak.
func built(t testing.TB) (all []sample) {
	t.Helper()
	add := func(name string, hardware uint16, data []byte) {
		all = append(all, sample{name, Frame{Interface: Interface{"host1", "eth0", hardware}, Length: len(data), Data: data}})
	}
	stack := func(name string, parts ...gopacket.SerializableLayer) {
		t.Helper()
		add(name, HardwareEther, serialize(t, parts...))
	}
	text := func(s string) gopacket.SerializableLayer { return gopacket.Payload(s) }
	ping := func(src, dst string) []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{ip4(src, dst, layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7, Seq: 3}, text("0123456789abcdefghijklmnopqrstuvwxyz")}
	}
	with := func(outer []gopacket.SerializableLayer, inner ...gopacket.SerializableLayer) []gopacket.SerializableLayer {
		return append(append([]gopacket.SerializableLayer{}, outer...), inner...)
	}
	list := func(l ...gopacket.SerializableLayer) []gopacket.SerializableLayer { return l }

	stack("vlan", with(list(ether(layers.EthernetTypeDot1Q), &layers.Dot1Q{Priority: 5, VLANIdentifier: 10, Type: layers.EthernetTypeIPv4}), ping("10.0.0.1", "10.0.0.2")...)...)
	stack("vlan arp", ether(layers.EthernetTypeDot1Q), &layers.Dot1Q{DropEligible: true, VLANIdentifier: 20, Type: layers.EthernetTypeARP},
		&layers.ARP{AddrType: 1, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 2, SourceHwAddress: mac("020000000001"), SourceProtAddress: net.IP{10, 0, 0, 1}, DstHwAddress: mac("020000000002"), DstProtAddress: net.IP{10, 0, 0, 2}})
	stack("qinq", with(list(ether(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 100, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 200, Type: layers.EthernetTypeIPv4}), ping("10.0.0.1", "10.0.0.2")...)...)
	outer := func(proto layers.IPProtocol) []gopacket.SerializableLayer {
		return list(ether(layers.EthernetTypeIPv4), ip4("192.168.0.1", "192.168.0.2", proto))
	}
	stack("ipip", with(outer(layers.IPProtocolIPv4), ping("10.0.0.1", "10.0.0.2")...)...)
	stack("gre", with(with(outer(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4}), ping("10.0.0.1", "10.0.0.2")...)...)
	stack("gre key", with(with(outer(layers.IPProtocolGRE), &layers.GRE{ChecksumPresent: true, KeyPresent: true, SeqPresent: true, Key: 42, Seq: 9, Protocol: layers.EthernetTypeIPv4}), ping("10.0.0.1", "10.0.0.2")...)...)
	stack("gretap", with(with(outer(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeTransparentEthernetBridging}, ether(layers.EthernetTypeIPv4)), ping("10.0.0.1", "10.0.0.2")...)...)

	six := &layers.IPv6{Version: 6, HopLimit: 61, TrafficClass: 0xb8, FlowLabel: 0x12345, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
	udp6 := &layers.UDP{SrcPort: 4000, DstPort: 5000}
	check(t, udp6.SetNetworkLayerForChecksum(six))
	stack("sit", with(outer(layers.IPProtocolIPv6), six, udp6, text("hello"))...)

	udp := func(port layers.UDPPort) []gopacket.SerializableLayer {
		ip := ip4("192.168.0.1", "192.168.0.2", layers.IPProtocolUDP)
		u := &layers.UDP{SrcPort: 40000, DstPort: port}
		check(t, u.SetNetworkLayerForChecksum(ip))
		return list(ether(layers.EthernetTypeIPv4), ip, u)
	}
	// gopacket writes no GENEVE: version and options, flags, type, VNI, options.
	geneve := func(header string, inner ...gopacket.SerializableLayer) []gopacket.SerializableLayer {
		return with(udp(6081), text(unhex(t, header)+string(serialize(t, inner...))))
	}
	stack("geneve", geneve("0000655800002a00", with(list(ether(layers.EthernetTypeIPv4)), ping("10.0.0.1", "10.0.0.2")...)...)...)
	stack("geneve options", geneve("0240655800002b00"+"0102800101020304", with(list(ether(layers.EthernetTypeIPv4)), ping("10.0.0.1", "10.0.0.2")...)...)...)
	stack("geneve ip", geneve("0000080000002c00", ping("10.0.0.1", "10.0.0.2")...)...)
	stack("old vxlan port", with(udp(8472), with(list(&layers.VXLAN{ValidIDFlag: true, VNI: 1}, ether(layers.EthernetTypeIPv4)), ping("10.0.0.1", "10.0.0.2")...)...)...)
	stack("ntp", with(udp(123), text(unhex(t, "23000006ec000000000000000000000000000000"+strings.Repeat("00", 20)+"d8b2c5e180000000")))...)

	full := &layers.IPv4{Version: 4, IHL: 5, TTL: 9, TOS: 0xb9, Id: 77, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
	tcp := &layers.TCP{SrcPort: 1, DstPort: 65535, Seq: 1<<32 - 1, Ack: 1 << 31, FIN: true, URG: true, ECE: true, CWR: true, ACK: true, Window: 65535, Urgent: 5,
		Options: []layers.TCPOption{{OptionType: 1, OptionLength: 1}, {OptionType: 1, OptionLength: 1}, {OptionType: 5, OptionLength: 10, OptionData: []byte{0, 0, 0, 1, 0, 0, 0, 9}}}}
	check(t, tcp.SetNetworkLayerForChecksum(full))
	stack("tcp flags", ether(layers.EthernetTypeIPv4), full, tcp, text("x"))
	wrong := serialize(t, ether(layers.EthernetTypeIPv4), full, tcp, text("x"))
	wrong[14+10] ^= 1
	wrong[14+20+16] ^= 1
	add("wrong checksums", HardwareEther, wrong)
	none := serialize(t, with(udp(9), text("y"))...)
	none[14+20+6], none[14+20+7] = 0, 0
	add("udp without checksum", HardwareEther, none)
	add("raw ipv6", HardwareNone, serialize(t, six, udp6, text("hello")))
	for _, kind := range []struct {
		name             string
		icmp, code, rest int
	}{{"protocol unreachable", 3, 2, 0}, {"prohibited", 3, 13, 0}, {"redirect", 5, 1, 0x0a0000fe}, {"reassembly", 11, 1, 0}, {"parameter", 12, 0, 0x14000000}, {"timestamp", 13, 0, 0x00070001}} {
		body := serialize(t, ping("10.0.0.1", "10.0.0.2")...)[:28] // as little as RFC 792 wants
		stack(kind.name, ether(layers.EthernetTypeIPv4), ip4("10.0.0.254", "10.0.0.1", layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(uint8(kind.icmp), uint8(kind.code)), Id: uint16(kind.rest >> 16), Seq: uint16(kind.rest)}, gopacket.Payload(body))
	}
	for _, m := range inOrder(map[string]string{
		"router advertisement": "8600" + "0000" + "40c00708" + "00000000" + "00000000" + "0101020000000001" + "05010000000005dc" +
			"030440c0000151800000384000000000fd000000000000000000000000000000" + "1903000000000258fd000000000000000000000000000053",
		"redirect v6":    "8900" + "0000" + "00000000" + "fe800000000000000000000000000001" + "fd000000000000000000000000000009" + "0201020000000002",
		"mld query":      "8200" + "0000" + "27100000" + "00000000000000000000000000000000",
		"mld report v1":  "8300" + "0000" + "00000000" + "ff020000000000000000000000010003",
		"mld done":       "8400" + "0000" + "00000000" + "ff020000000000000000000000010003",
		"bad parameter":  "0401" + "0000" + "00000006",
		"unknown icmpv6": "c800" + "0000" + "01020304",
	}) {
		ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP("ff02::1")}
		message := []byte(unhex(t, m.bytes))
		c := carrier{src: addr("fe80::1"), dst: addr("ff02::1")}
		binary.BigEndian.PutUint16(message[2:], ^fold(sum(message, c.pseudo(protoICMPv6, len(message)))))
		stack(m.name, ether(layers.EthernetTypeIPv6), ip, gopacket.Payload(message))
	}

	// Frames as bytes: what no serialiser writes.
	toBridges, toLLDP := "0180c2000000"+"020000000001", "0180c200000e"+"020000000001"
	for _, f := range inOrder(map[string]string{
		"rstp":          toBridges + "0027" + "424203" + "0000" + "02" + "02" + "7c" + "8000020000000001" + "00000014" + "8001020000000002" + "8002" + "0100" + "1400" + "0200" + "0f00" + "00",
		"stp change":    toBridges + "0007" + "424203" + "00000080",
		"lldp":          toLLDP + "88cc" + "0207" + "04020000000001" + "0406" + "056574683131" + "0602" + "0078" + "0a03" + "737731" + "0c05" + "4c696e7578" + "0e04" + "00040004" + "0000",
		"snap":          "020000000002" + "020000000001" + "0032" + "aaaa03" + "000000" + "0800" + "4500002a000040004001" + "26d1" + "0a0000010a000002" + "0800" + "f7f7" + "00070001" + strings.Repeat("00", 14),
		"llc":           "020000000002" + "020000000001" + "0004" + "e0e003" + "ff",
		"ethertype":     "020000000002" + "020000000001" + "9000" + "000001000000",
		"loopback":      "000000000000" + "000000000000" + "0800" + "4500001c000040004001" + "3cdf" + "7f0000017f000001" + "0800f7f8" + "00070000",
		"rarp":          "ffffffffffff" + "020000000001" + "8035" + "0001080006040003" + "020000000001" + "00000000" + "020000000001" + "00000000",
		"mpls":          "020000000002" + "020000000001" + "8847" + "00064140" + "4500001c000040004001" + "26df" + "0a0000010a000002" + "0800f7f8" + "00070000",
		"pppoe":         "020000000002" + "020000000001" + "8864" + "1100" + "0001" + "001e" + "0021" + "4500001c000040004001" + "26df" + "0a0000010a000002" + "0800f7f8" + "00070000",
		"eapol":         "0180c2000003" + "020000000001" + "888e" + "01010000",
		"sctp":          "020000000002" + "020000000001" + "0800" + "4500002c000040004084" + "264c" + "0a0000010a000002" + "04001388" + "00000001" + "00000000" + "0b00000c" + "0102030405060708",
		"vrrp":          "01005e000012" + "020000000001" + "0800" + "4500002800000000ff70" + "b7c5" + "0a000001e0000012" + "2101640100017bc0" + "0a000064" + "0000000000000000",
		"igmp v2 query": "01005e000001" + "020000000001" + "0800" + "4600002000000000010244" + "d7" + "00000000e0000001" + "94040000" + "1164ee9b" + "00000000",
		"igmp leave":    "01005e000002" + "020000000001" + "0800" + "4600002000000000010244" + "d6" + "00000000e0000002" + "94040000" + "1700f8f9" + "ef010203",
	}) {
		hardware := uint16(HardwareEther)
		if f.name == "loopback" {
			hardware = HardwareLoopback
		}
		add(f.name, hardware, []byte(unhex(t, f.bytes)))
	}
	return all
}

type rawFrame struct{ name, bytes string }

func inOrder(m map[string]string) (out []rawFrame) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, rawFrame{name, m[name]})
	}
	return out
}

func corpus(t testing.TB) []sample { return append(captured(t), built(t)...) }

func serialize(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	return append([]byte(nil), b.Bytes()...)
}

func ether(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac("020000000001"), DstMAC: mac("020000000002"), EthernetType: t}
}

func ip4(src, dst string, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 1234, Protocol: proto, SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4()}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(s string) net.HardwareAddr {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	check(t, err)
	return string(b)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

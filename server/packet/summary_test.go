package packet

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// find is a captured frame whose line has those words.
func find(t testing.TB, words string) *Frame {
	t.Helper()
	for _, s := range corpus(t) {
		if strings.Contains(line(&s.frame), words) {
			return &s.frame
		}
	}
	t.Fatalf("no frame says %q", words)
	return nil
}

func line(f *Frame) string {
	s := Summarise(f)
	return s.Protocol + " " + s.Source + " > " + s.Destination + ": " + s.Info
}

// Every line that the labs' traffic makes, but for numbers that the kernel chose.
func TestALineSaysWhatAPacketIs(t *testing.T) {
	all := map[string]bool{}
	for _, s := range corpus(t) {
		all[line(&s.frame)] = true
	}
	for _, want := range []string{
		"ARP 02:00:00:00:01:01 > Broadcast: Who has 10.0.0.2? Tell 10.0.0.1",
		"ARP 02:00:00:00:02:01 > 02:00:00:00:01:01: 10.0.0.2 is at 02:00:00:00:02:01",
		"ARP 02:00:00:00:01:01 > Broadcast: Who has 10.0.0.99? (probe)",
		"ARP 02:00:00:00:01:01 > Broadcast: Announcement: I have 10.0.0.1",
		"ARP 02:00:00:00:01:01 > Broadcast: 10.0.0.1 is at 02:00:00:00:01:01 (gratuitous)",
		"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request id=0x0007 seq=3 ttl=64 · VLAN 10",
		"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request id=0x0007 seq=3 ttl=64 · VLAN 100 · VLAN 200",
		"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request id=0x0007 seq=3 ttl=64 · in IPIP, 192.168.0.1 → 192.168.0.2",
		"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request id=0x0007 seq=3 ttl=64 · in GRE, 192.168.0.1 → 192.168.0.2 key 42",
		"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request id=0x0007 seq=3 ttl=64 · in GENEVE 42, 192.168.0.1 → 192.168.0.2",
		"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request id=0x0007 seq=3 ttl=64 · in VXLAN 1, 192.168.0.1 → 192.168.0.2",
		"UDP fd00::1 > fd00::2: 4000 → 5000 Len=5 · in IPv6 tunnel, 192.168.0.1 → 192.168.0.2",
		"ARP 02:00:00:00:00:01 > 02:00:00:00:00:02: 10.0.0.1 is at 02:00:00:00:00:01 · VLAN 20",
		"ICMP 10.0.0.254 > 10.0.0.1: Redirect for the host to gateway 10.0.0.254 · about 10.0.0.1 → 10.0.0.2 ICMP Echo (ping) request id=0x0007 seq=3 ttl=64",
		"ICMP 10.0.0.254 > 10.0.0.1: Destination unreachable (protocol unreachable) · about 10.0.0.1 → 10.0.0.2 ICMP Echo (ping) request id=0x0007 seq=3 ttl=64",
		"ICMPv6 fd00::1 > ff02::1:ff00:fe: Neighbour solicitation: who has fd00::fe? Tell 02:00:00:00:01:01",
		"ICMPv6 fd00::fe > fd00::1: Neighbour advertisement: fd00::fe is at 02:00:00:00:00:01 router solicited override",
		"ICMPv6 fe80::1 > ff02::1: Router advertisement from 02:00:00:00:00:01, prefix fd00::/64",
		"ICMPv6 :: > ff02::1:ff00:2: Neighbour solicitation: who has fd00::2? (probe)",
		"ICMPv6 fe80::1 > ff02::1: Multicast listener report for ff02::1:3",
		"IGMP 10.0.0.1 > 224.0.0.22: Membership report v3, join 239.1.2.3",
		"DHCP 10.0.0.1 > 255.255.255.255: DHCP Discover - Transaction ID 0x3903f326, host host",
		"DHCP 10.0.0.2 > 255.255.255.255: DHCP Offer - Transaction ID 0x3903f326, for 10.0.0.77",
		"DHCP 10.0.0.1 > 255.255.255.255: DHCP Request - Transaction ID 0x3903f326, wants 10.0.0.77",
		"DHCP 10.0.0.2 > 255.255.255.255: DHCP ACK - Transaction ID 0x3903f326, for 10.0.0.77",
		"HTTP 10.0.0.1 > 10.0.1.3: GET / HTTP/1.1",
		"HTTP 10.0.1.3 > 10.0.0.1: HTTP/1.0 200 OK (text/html)",
		"HTTP 10.0.1.3 > 10.0.0.1: HTTP/1.0 404 File not found (text/html;charset=utf-8)",
		"STP 02:00:00:00:00:01 > 01:80:c2:00:00:00: Rapid, root 32768/0/02:00:00:00:00:01, cost 20, port 0x8002",
		"STP 02:00:00:00:00:01 > 01:80:c2:00:00:00: Topology change notification",
		"LLDP 02:00:00:00:00:01 > 01:80:c2:00:00:0e: Neighbour, chassis 02:00:00:00:00:01, port eth11, for 120 s, system sw1",
		"UDP 192.168.0.1 > 192.168.0.2: 40000 → 9 Len=1",
	} {
		if !all[want] {
			t.Errorf("no frame of the corpus says\n  %s", want)
		}
	}
	// Those with numbers of the kernel's choice.
	for _, parts := range [][]string{
		{"ICMP 10.0.0.254 > 10.0.0.1: Time exceeded (time to live exceeded in transit) · about 10.0.0.1 → 10.0.1.3 ICMP Echo (ping) request id=0x", "seq=1 ttl=1"},
		{"ICMP 10.0.0.254 > 10.0.0.1: Destination unreachable (fragmentation needed, next-hop MTU 1400) · about 10.0.0.1 → 10.0.1.3 ICMP Echo (ping) request"},
		{"ICMP 10.0.1.3 > 10.0.0.1: Destination unreachable (port unreachable) · about 10.0.0.1 → 10.0.1.3 UDP ", " → 7777 Len=6"},
		{"ICMPv6 fd00::fe > fd00::1: Packet too big (MTU 1400) · about fd00::1 → fd00:1::3 ICMPv6 Echo (ping) request"},
		{"ICMPv6 fd00::fe > fd00::1: Time exceeded (hop limit exceeded in transit)"},
		{"IPv4 10.0.0.1 > 10.0.0.2: Fragment of ICMP id=0x", " bytes 1480–2959"},
		{"IPv4 10.0.0.1 > 10.0.0.2: Fragment of ICMP id=0x", " bytes 2960–3007, the last"},
		{"ICMP 10.0.0.1 > 10.0.0.2: Echo (ping) request", " · first fragment of ICMP id=0x", " bytes 0–1479"},
		{"IPv6 fd00::1 > fd00::2: Fragment of ICMPv6 id=0x"},
		{"TCP 10.0.0.1 > 10.0.1.3: ", " → 7777 [SYN] Seq=", " Win=", " Len=0 MSS=", " SACK_PERM TSval=", " TSecr=0 WS="},
		{"TCP 10.0.1.3 > 10.0.0.1: 7777 → ", " [RST, ACK] Seq=0 Ack="},
		{"DNS 10.0.0.1 > 10.0.0.2: Standard query 0x", " A www.lab.test"},
		{"DNS 10.0.0.2 > 10.0.0.1: Standard query response 0x", " A www.lab.test CNAME web.lab.test A 10.0.1.3"},
		{"DNS 10.0.0.2 > 10.0.0.1: Standard query response 0x", " No such name A nowhere.lab.test"},
		{"ICMP 172.20.0.1 > 172.20.0.3: Echo (ping) request id=0x", " seq=1 ttl=64 · in VXLAN 42, 10.0.0.1 → 10.0.1.3"},
		{"ICMP 172.21.0.1 > 172.21.0.3: Echo (ping) request id=0x", " seq=1 ttl=64 · in VXLAN 43, 10.0.0.1 → 10.0.1.3"}, // on a port of nobody
		{"ICMP 172.22.0.1 > 172.22.0.3: Echo (ping) request id=0x", " seq=1 ttl=64 · in UDP 9000, 10.0.0.1 → 10.0.1.3"}, // behind packet information
		{"ICMP 172.23.0.1 > 172.23.0.3: Echo (ping) request id=0x", " seq=1 ttl=64 · in UDP 9000, 10.0.0.1 → 10.0.1.3"}, // as it is
		{"ICMP 172.24.0.3 > 172.24.0.1: Echo (ping) reply id=0x", " seq=1 ttl=64 · in UDP 9000, 10.0.1.3 → 10.0.0.1"},   // in Ethernet
	} {
		found := false
		for l := range all {
			rest, ok := l, strings.HasPrefix(l, parts[0])
			for _, p := range parts {
				var has bool
				_, rest, has = strings.Cut(rest, p)
				ok = ok && has
			}
			found = found || ok
		}
		if !found {
			t.Errorf("no frame of the corpus says\n  %s", strings.Join(parts, "…"))
		}
	}
}

// names are a tree's layers.
func names(f *Frame) (out []string) {
	for _, l := range Dissect(f) {
		out = append(out, l.Name)
	}
	return out
}

func field(t testing.TB, f *Frame, layer, name string) Field {
	t.Helper()
	for _, l := range Dissect(f) {
		for _, field := range l.Fields {
			if l.Name == layer && field.Name == name {
				return field
			}
		}
	}
	t.Fatalf("no field %s in %s of %v", name, layer, names(f))
	return Field{}
}

func TestTheTreeGoesFromTheOutsideIn(t *testing.T) {
	for words, want := range map[string][]string{
		"172.20.0.1 > 172.20.0.3: Echo (ping) request":      {"Ethernet II", "IPv4", "ICMP", "Data"}, // on the vxlan interface itself
		"request id=0x0007 seq=3 ttl=64 · in GENEVE 43":     {"Ethernet II", "IPv4", "UDP", "GENEVE", "Ethernet II", "IPv4", "ICMP", "Data"},
		"Time exceeded (time to live exceeded in transit)":  {"Ethernet II", "IPv4", "ICMP", "IPv4 (quoted)", "ICMP (quoted)", "Data (quoted)"},
		"fd00::1 > ff02::1:ff00:fe: Neighbour solicitation": {"Ethernet II", "IPv6", "ICMPv6", "ICMPv6 option"},
		"10.0.0.1 > 10.0.1.3: POST /form HTTP/1.1":          {"Ethernet II", "IPv4", "TCP", "HTTP", "Data"},
		"DHCP Discover":                                 {"Ethernet II", "IPv4", "UDP", "DHCP"},
		"Configuration, root":                           {"Ethernet 802.3", "LLC", "STP"},
		"request id=0x0007 seq=3 ttl=64 · VLAN 100":     {"Ethernet II", "802.1ad VLAN", "802.1Q VLAN", "IPv4", "ICMP", "Data"},
		"· in MPLS":                                     {"Ethernet II", "MPLS", "IPv4", "ICMP"},
		"join ff02::1:ff00:1, join ff02::1:ff00:101":    {"Ethernet II", "IPv6", "IPv6 hop-by-hop options", "ICMPv6", "ICMPv6 record", "ICMPv6 record"},
		"ICMPv6 fd00::1 > fd00::2: Echo (ping) request": {"Ethernet II", "IPv6", "IPv6 fragment", "ICMPv6", "Data"},
		"gratuitous":                                    {"Ethernet II", "ARP"},
		"HTTP fd00::1 > fd00:1::3: GET":                 {"Ethernet II", "IPv6", "TCP", "HTTP"},
		"UDP fd00::1 > fd00::2: 4000 → 5000 Len=5 · in IPv6 tunnel": {"Ethernet II", "IPv4", "IPv6", "UDP", "Data"},
		"0 → 9 Len=1": {"Ethernet II", "IPv4", "UDP", "Data", "Padding"},
		"seq=3 ttl=64 · in GRE, 192.168.0.1 → 192.168.0.2 key 42":     {"Ethernet II", "IPv4", "GRE", "IPv4", "ICMP", "Data"},
		"172.22.0.3: 43635 → 5555 Len=3 · in UDP 9000, 10.0.0.1":      {"Ethernet II", "IPv4", "UDP", "TUN", "IPv4", "UDP", "Data"},
		"172.24.0.3 is at 66:70:1f:24:15:dd · in UDP 9000, 10.0.1.3 ": {"Ethernet II", "IPv4", "UDP", "TUN", "Ethernet II", "ARP"},
	} {
		if got := names(find(t, words)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", words, got, want)
		}
	}
}

func TestAFieldNamesItsBytesAndBits(t *testing.T) {
	syn := find(t, "[SYN]")
	for _, c := range []struct {
		layer, name, value, bits string
		offset, length           int
	}{
		{"Ethernet II", "Type", "0x0800 (IPv4)", "", 12, 2},
		{"IPv4", "Version", "4", "0100 ....", 14, 1},
		{"IPv4", "Header length", "20 bytes", ".... 0101", 14, 1},
		{"IPv4", "Don't fragment", "set", ".1.. .... .... ....", 20, 2},
		{"IPv4", "More fragments", "not set", "..0. .... .... ....", 20, 2},
		{"IPv4", "Fragment offset", "0", "...0 0000 0000 0000", 20, 2},
		{"IPv4", "Time to live", "64", "", 22, 1},
		{"IPv4", "Protocol", "6 (TCP)", "", 23, 1},
		{"TCP", "Flags", "0x02 (SYN)", "", 47, 1},
		{"TCP", "SYN", "set", ".... ..1.", 47, 1},
		{"TCP", "ACK", "not set", "...0 ....", 47, 1},
		{"TCP", "Header length", "40 bytes", "1010 ....", 46, 1},
	} {
		if got := field(t, syn, c.layer, c.name); got != (Field{c.name, c.value, c.offset, c.length, c.bits}) {
			t.Errorf("%s: %+v", c.layer, got)
		}
	}
}

func TestAChecksumIsWrongOnlyIfNobodyWillFillItIn(t *testing.T) {
	for _, s := range captured(t) {
		for _, l := range Dissect(&s.frame) {
			for _, f := range l.Fields {
				if strings.Contains(f.Value, "wrong") {
					t.Errorf("%s %d: %s: %+v, of a packet that the kernel took", s.name, s.frame.No, l.Name, f)
				}
			}
		}
	}
	var wrong Frame
	for _, s := range built(t) {
		if s.name == "wrong checksums" {
			wrong = s.frame
		}
	}
	checksum := func(f *Frame) string { return field(t, f, "TCP", "Checksum").Value }
	if got := checksum(&wrong); !strings.Contains(got, ", wrong, should be 0x") {
		t.Error(got)
	}
	repaired := wrong
	repaired.Data = slices.Clone(wrong.Data)
	repaired.Data[14+20+16] ^= 1
	if want := checksum(&repaired); want != checksum(&wrong)[len(checksum(&wrong))-6:]+", correct" {
		t.Errorf("%q became %q", checksum(&wrong), want)
	}
	if got := field(t, &wrong, "IPv4", "Header checksum").Value; !strings.Contains(got, "wrong, should be") {
		t.Error(got)
	}
	wrong.Unfinished = true
	if got := checksum(&wrong); !strings.HasSuffix(got, ", not filled in yet (left to the network card)") {
		t.Error(got)
	}
	if got := field(t, &wrong, "IPv4", "Header checksum").Value; !strings.Contains(got, "wrong") {
		t.Errorf("no card fills in the header's checksum: %s", got)
	}
	wrong.Data = wrong.Data[:len(wrong.Data)-1]
	if got := checksum(&wrong); !strings.HasSuffix(got, ", not verifiable: cut: only 66 bytes of the packet were kept") {
		t.Error(got)
	}
}

func TestACutPacketShowsWhatIsThere(t *testing.T) {
	f := *find(t, "[SYN]")
	f.Data = f.Data[:14+20+10]
	if got := Summarise(&f).Info; got != "Header of 20 bytes, of which 10 are there: cut: only 44 bytes of the packet were kept" {
		t.Error(got)
	}
	if got := field(t, &f, "TCP", "Sequence number"); got.Offset != 38 {
		t.Error(got)
	}
	for _, l := range Dissect(&f) {
		for _, field := range l.Fields {
			if field.Name == "Acknowledgment number" {
				t.Errorf("it isn't there: %+v", field)
			}
		}
	}
	f.Length = len(f.Data)
	if got := Summarise(&f).Info; !strings.HasSuffix(got, "the frame ends before") {
		t.Error(got)
	}
}

func TestHostileTextIsEscaped(t *testing.T) {
	f := *find(t, "HTTP 10.0.0.1 > 10.0.1.3: GET / HTTP/1.1")
	f.Data = []byte(strings.Replace(string(f.Data), "GET / ", "GET \x1b ", 1))
	if got := Summarise(&f).Info; got != `GET \x1b HTTP/1.1` {
		t.Error(got)
	}
}

func TestANameThatPointsToItselfIsMalformed(t *testing.T) {
	query := func(name string) string {
		message := unhex(t, "beef0100000100000000"+"0000"+name+"00010001")
		return Summarise(&Frame{Interface: Interface{"host1", "eth0", HardwareEther}, Length: 14 + 20 + 8 + len(message), Data: dnsFrame(t, message)}).Info
	}
	if got := query("0161016200"); got != "Standard query 0xbeef A a.b" {
		t.Error(got)
	}
	for _, name := range []string{"c00c", "0161c00c", "c00e", "3f", "41" + "61"} {
		if got := query(name); got != "Standard query 0xbeef [malformed]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func dnsFrame(t *testing.T, message string) []byte {
	t.Helper()
	ip := ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: 40000, DstPort: portDNS}
	check(t, udp.SetNetworkLayerForChecksum(ip))
	return serialize(t, ether(layers.EthernetTypeIPv4), ip, udp, gopacket.Payload(message))
}

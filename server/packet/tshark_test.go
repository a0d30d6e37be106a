package packet

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// comparison is a field of ours and the one of Wireshark that must have the same
// values in the same order, in every layer of a packet, tunnels and quotations
// included.
type comparison struct {
	theirs string
	// layer and name are ours; "@135" after a name takes it from layers of that
	// type only, "*value A" is the value of a record of that type.
	layer, name string
	value       func(string) string // ours as they write it; nil: a number, of any writing
}

// The values of ours are written for people, those of Wireshark in several ways.
func number(s string) string { // "0x0800 (IPv4)", "20 bytes", "not set"
	switch {
	case s == "set" || s == "yes" || s == "True":
		return "1"
	case s == "not set" || s == "no" || s == "False":
		return "0"
	}
	word, _, _ := strings.Cut(s, " ")
	if n, err := strconv.ParseUint(strings.TrimSuffix(word, ","), 0, 64); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return word
}

// judgement is Wireshark's: 0 bad, 1 good, 2 unverified, 3 not present.
func judgement(s string) string {
	switch _, s, _ := strings.Cut(s, ", "); {
	case s == "correct":
		return "1"
	case strings.HasPrefix(s, "wrong"):
		return "0"
	case strings.HasPrefix(s, "not filled in yet"), s == "correct once the inner one is filled in":
		return "left to the card"
	case strings.HasPrefix(s, "not verifiable"):
		return "2"
	case strings.HasPrefix(s, "none"):
		return "3"
	}
	return s
}

// eighths turns our bytes into the header's units, which are Wireshark's.
func eighths(s string) string {
	n, err := strconv.Atoi(s)
	if err != nil || n%8 != 0 {
		return s
	}
	return strconv.Itoa(n / 8)
}

func asIs(s string) string { return s }

func firstWord(s string) string { w, _, _ := strings.Cut(s, " "); return w }

var comparisons = []comparison{
	{"eth.dst", "Ethernet", "Destination", firstWord}, {"eth.src", "Ethernet", "Source", firstWord}, {"eth.type", "Ethernet", "Type", nil}, {"eth.len", "Ethernet", "Length", nil},
	{"vlan.id", "802.1Q VLAN", "VLAN ID", nil}, {"vlan.priority", "802.1Q VLAN", "Priority", nil}, {"vlan.dei", "802.1Q VLAN", "Drop eligible", nil}, {"vlan.etype", "802.1Q VLAN", "Type", nil},
	{"ieee8021ad.id", "802.1ad VLAN", "VLAN ID", nil},
	{"llc.dsap", "LLC", "Destination service access point", nil}, {"llc.ssap", "LLC", "Source service access point", nil}, {"llc.control", "LLC", "Control", nil},
	{"arp.hw.type", "ARP", "Hardware type", nil}, {"arp.proto.type", "ARP", "Protocol type", nil}, {"arp.hw.size", "ARP", "Hardware size", nil}, {"arp.proto.size", "ARP", "Protocol size", nil},
	{"arp.opcode", "ARP", "Operation", nil}, {"arp.src.hw_mac", "ARP", "Sender MAC address", firstWord}, {"arp.src.proto_ipv4", "ARP", "Sender IP address", asIs},
	{"arp.dst.hw_mac", "ARP", "Target MAC address", firstWord}, {"arp.dst.proto_ipv4", "ARP", "Target IP address", asIs},
	{"stp.type", "STP", "Type", nil}, {"stp.version", "STP", "Version", nil}, {"stp.root.cost", "STP", "Root path cost", nil}, {"stp.port", "STP", "Port", nil}, {"stp.flags.tc", "STP", "Topology change", nil},
	{"lldp.time_to_live", "LLDP", "Time to live", nil}, {"lldp.tlv.system.name", "LLDP", "System name", asIs},

	{"ip.hdr_len", "IPv4", "Header length", nil}, {"ip.dsfield.dscp", "IPv4", "Differentiated services", nil}, {"ip.len", "IPv4", "Total length", nil},
	{"ip.id", "IPv4", "Identification", nil}, {"ip.flags.rb", "IPv4", "Reserved", nil}, {"ip.flags.df", "IPv4", "Don't fragment", nil}, {"ip.flags.mf", "IPv4", "More fragments", nil},
	{"ip.frag_offset", "IPv4", "Fragment offset", eighths}, {"ip.ttl", "IPv4", "Time to live", nil}, {"ip.proto", "IPv4", "Protocol", nil},
	{"ip.checksum", "IPv4", "Header checksum", nil}, {"ip.checksum.status", "IPv4", "Header checksum", judgement}, {"ip.src", "IPv4", "Source address", asIs}, {"ip.dst", "IPv4", "Destination address", asIs},
	{"ipv6.tclass", "IPv6", "Traffic class", nil}, {"ipv6.flow", "IPv6", "Flow label", nil}, {"ipv6.plen", "IPv6", "Payload length", nil}, {"ipv6.nxt", "IPv6", "Next header", nil},
	{"ipv6.hlim", "IPv6", "Hop limit", nil}, {"ipv6.src", "IPv6", "Source address", asIs}, {"ipv6.dst", "IPv6", "Destination address", asIs},
	{"ipv6.hopopts.nxt", "IPv6 hop-by-hop options", "Next header", nil},
	{"ipv6.fraghdr.nxt", "IPv6 fragment", "Next header", nil}, {"ipv6.fraghdr.offset", "IPv6 fragment", "Fragment offset", eighths}, {"ipv6.fraghdr.more", "IPv6 fragment", "More fragments", nil}, {"ipv6.fraghdr.ident", "IPv6 fragment", "Identification", nil},

	{"icmp.type", "ICMP", "Type", nil}, {"icmp.code", "ICMP", "Code", nil}, {"icmp.checksum", "ICMP", "Checksum", nil}, {"icmp.checksum.status", "ICMP", "Checksum", judgement},
	{"icmp.ident", "ICMP", "Identifier", nil}, {"icmp.seq", "ICMP", "Sequence number", nil}, {"icmp.mtu", "ICMP", "Next-hop MTU", nil}, {"icmp.redir_gw", "ICMP", "Gateway address", asIs}, {"icmp.pointer", "ICMP", "Pointer", nil},
	{"igmp.type", "IGMP", "Type", nil}, {"igmp.checksum", "IGMP", "Checksum", nil}, {"igmp.checksum.status", "IGMP", "Checksum", judgement}, {"igmp.num_grp_recs", "IGMP", "Number of records", nil},
	{"igmp.record_type", "IGMP record", "Record type", nil}, {"igmp.maddr", "IGMP", "Multicast address", asIs},
	{"icmpv6.type", "ICMPv6", "Type", nil}, {"icmpv6.code", "ICMPv6", "Code", nil}, {"icmpv6.checksum", "ICMPv6", "Checksum", nil}, {"icmpv6.checksum.status", "ICMPv6", "Checksum", judgement},
	{"icmpv6.echo.identifier", "ICMPv6", "Identifier", nil}, {"icmpv6.echo.sequence_number", "ICMPv6", "Sequence number", nil}, {"icmpv6.mtu", "ICMPv6", "MTU", nil}, {"icmpv6.pointer", "ICMPv6", "Pointer", nil},
	{"icmpv6.nd.ns.target_address", "ICMPv6", "Target address@135", asIs}, {"icmpv6.nd.na.target_address", "ICMPv6", "Target address@136", asIs}, {"icmpv6.nd.rd.target_address", "ICMPv6", "Target address@137", asIs}, {"icmpv6.rd.na.destination_address", "ICMPv6", "Destination address", asIs},
	{"icmpv6.nd.na.flag.r", "ICMPv6", "Router", nil}, {"icmpv6.nd.na.flag.s", "ICMPv6", "Solicited", nil}, {"icmpv6.nd.na.flag.o", "ICMPv6", "Override", nil},
	{"icmpv6.nd.ra.cur_hop_limit", "ICMPv6", "Current hop limit", nil}, {"icmpv6.nd.ra.router_lifetime", "ICMPv6", "Router lifetime", nil}, {"icmpv6.nd.ra.flag.m", "ICMPv6", "Managed addresses", nil}, {"icmpv6.nd.ra.flag.o", "ICMPv6", "Other configuration", nil},
	{"icmpv6.opt.type", "ICMPv6 option", "Type", nil}, {"icmpv6.opt.linkaddr", "ICMPv6 option", "Link-layer address", firstWord}, {"icmpv6.opt.mtu", "ICMPv6 option", "MTU", nil},
	{"icmpv6.opt.prefix", "ICMPv6 option", "Prefix", asIs}, {"icmpv6.opt.prefix.length", "ICMPv6 option", "Prefix length", nil}, {"icmpv6.opt.prefix.valid_lifetime", "ICMPv6 option", "Valid lifetime", nil}, {"icmpv6.opt.rdnss", "ICMPv6 option", "DNS server", asIs},
	{"icmpv6.mld.multicast_address", "ICMPv6", "Multicast address", asIs}, {"icmpv6.mldr.nb_mcast_records", "ICMPv6", "Number of records", nil},
	{"icmpv6.mldr.mar.record_type", "ICMPv6 record", "Record type", nil}, {"icmpv6.mldr.mar.multicast_address", "ICMPv6 record", "Multicast address", asIs},

	{"tcp.srcport", "TCP", "Source port", nil}, {"tcp.dstport", "TCP", "Destination port", nil}, {"tcp.seq_raw", "TCP", "Sequence number", nil}, {"tcp.ack_raw", "TCP", "Acknowledgment number", nil},
	{"tcp.hdr_len", "TCP", "Header length", nil}, {"tcp.flags.cwr", "TCP", "CWR", nil}, {"tcp.flags.ece", "TCP", "ECE", nil}, {"tcp.flags.urg", "TCP", "URG", nil}, {"tcp.flags.ack", "TCP", "ACK", nil},
	{"tcp.flags.push", "TCP", "PSH", nil}, {"tcp.flags.reset", "TCP", "RST", nil}, {"tcp.flags.syn", "TCP", "SYN", nil}, {"tcp.flags.fin", "TCP", "FIN", nil},
	{"tcp.window_size_value", "TCP", "Window", nil}, {"tcp.checksum", "TCP", "Checksum", nil}, {"tcp.checksum.status", "TCP", "Checksum", judgement}, {"tcp.urgent_pointer", "TCP", "Urgent pointer", nil},
	{"tcp.options.mss_val", "TCP", "Option: maximum segment size", nil}, {"tcp.options.wscale.shift", "TCP", "Option: window scale", nil},
	{"tcp.options.timestamp.tsval", "TCP", "Option: time stamps", func(s string) string {
		return strings.TrimPrefix(strings.Split(s, ",")[0], "value ")
	}},
	{"udp.srcport", "UDP", "Source port", nil}, {"udp.dstport", "UDP", "Destination port", nil}, {"udp.length", "UDP", "Length", nil}, {"udp.checksum", "UDP", "Checksum", nil}, {"udp.checksum.status", "UDP", "Checksum", judgement},

	{"vxlan.vni", "VXLAN", "VXLAN network identifier (VNI)", nil}, {"geneve.vni", "GENEVE", "Virtual network identifier (VNI)", nil}, {"geneve.proto_type", "GENEVE", "Protocol type", nil}, {"geneve.version", "GENEVE", "Version", nil},
	{"gre.proto", "GRE", "Protocol type", nil}, {"gre.flags.checksum", "GRE", "Checksum present", nil}, {"gre.flags.key", "GRE", "Key present", nil}, {"gre.flags.sequence_number", "GRE", "Sequence number present", nil},
	{"gre.key", "GRE", "Key", nil}, {"gre.sequence_number", "GRE", "Sequence number", nil}, {"gre.checksum", "GRE", "Checksum", nil}, {"gre.checksum.status", "GRE", "Checksum", judgement},

	{"dns.id", "DNS", "Transaction ID", nil}, {"dns.flags.response", "DNS", "Response", nil}, {"dns.flags.opcode", "DNS", "Operation", nil}, {"dns.flags.authoritative", "DNS", "Authoritative", nil}, {"dns.flags.truncated", "DNS", "Truncated", nil},
	{"dns.flags.recdesired", "DNS", "Recursion desired", nil}, {"dns.flags.recavail", "DNS", "Recursion available", nil}, {"dns.flags.rcode", "DNS", "Reply code", nil},
	{"dns.count.queries", "DNS", "Questions", nil}, {"dns.count.answers", "DNS", "Answers", nil}, {"dns.count.auth_rr", "DNS", "Authority records", nil}, {"dns.count.add_rr", "DNS", "Additional records", nil},
	{"dns.qry.name", "DNS", "Question: name", asIs}, {"dns.qry.type", "DNS", "Question: type", nil}, {"dns.a", "DNS", "*value A", asIs}, {"dns.aaaa", "DNS", "*value AAAA", asIs}, {"dns.cname", "DNS", "*value CNAME", asIs},
	{"dns.ptr.domain_name", "DNS", "*value PTR", asIs}, {"dns.ns", "DNS", "*value NS", asIs}, {"dns.mx.mail_exchange", "DNS", "*value MX", func(s string) string { return s[strings.IndexByte(s, ' ')+1:] }},
	{"dns.srv.target", "DNS", "*value SRV", func(s string) string { return s[:strings.LastIndexByte(s, ':')] }}, {"dns.srv.port", "DNS", "*value SRV", func(s string) string { return s[strings.LastIndexByte(s, ':')+1:] }},
	{"dns.txt", "DNS", "*value TXT", func(s string) string { return strings.ReplaceAll(s, " ", "|") }},
	{"dns.soa.mname", "DNS", "*value SOA", firstWord}, {"dns.soa.serial_number", "DNS", "*value SOA", func(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }},

	{"dhcp.type", "DHCP", "Operation", nil}, {"dhcp.id", "DHCP", "Transaction ID", nil}, {"dhcp.secs", "DHCP", "Seconds elapsed", nil}, {"dhcp.flags.bc", "DHCP", "Broadcast", nil},
	{"dhcp.ip.client", "DHCP", "Client IP address", asIs}, {"dhcp.ip.your", "DHCP", "Your IP address", asIs}, {"dhcp.ip.server", "DHCP", "Next server IP address", asIs}, {"dhcp.ip.relay", "DHCP", "Relay agent IP address", asIs}, {"dhcp.hw.mac_addr", "DHCP", "Client MAC address", firstWord},
	{"dhcp.option.dhcp", "DHCP", "Option: message type", nil}, {"dhcp.option.subnet_mask", "DHCP", "Option: subnet mask", asIs}, {"dhcp.option.router", "DHCP", "Option: router", asIs}, {"dhcp.option.hostname", "DHCP", "Option: host name", asIs},
	{"dhcp.option.ip_address_lease_time", "DHCP", "Option: lease time", nil}, {"dhcp.option.requested_ip_address", "DHCP", "Option: requested IP address", asIs}, {"dhcp.option.dhcp_server_id", "DHCP", "Option: server", asIs},
	{"dhcp.option.domain_name_server", "DHCP", "Option: DNS server", func(s string) string { return strings.ReplaceAll(s, ", ", "|") }},

	{"http.request.method", "HTTP", "Request line", firstWord}, {"http.request.uri", "HTTP", "Request line", func(s string) string { return strings.Split(s, " ")[1] }},
	{"http.response.code", "HTTP", "Status line", func(s string) string { return strings.Split(s, " ")[1] }}, {"http.host", "HTTP", "Host", asIs}, {"http.user_agent", "HTTP", "User-Agent", asIs}, {"http.content_type", "HTTP", "Content-Type", asIs},
}

// accepted are the differences from Wireshark that are meant, each with its
// reason. theirs and ours are the values of one field in one packet.
var accepted = []struct {
	why  string
	same func(field string, theirs, ours []string, cut bool) bool
}{
	{"a checksum that is left to the card is not bad", func(field string, theirs, ours []string, _ bool) bool {
		return allBut(theirs, ours, func(t, o string) bool { return o == "left to the card" && t == "0" })
	}},
	{"Wireshark verifies no checksum of a quoted message, we do where it is whole", func(field string, theirs, ours []string, _ bool) bool {
		return strings.HasPrefix(field, "icmp") && allBut(theirs, ours, func(t, o string) bool { return t == "2" && o == "1" })
	}},
	{"the client identifier of DHCP has the name of the hardware address too", func(field string, theirs, ours []string, _ bool) bool {
		return field == "dhcp.hw.mac_addr" && len(theirs) == 2 && len(ours) == 1 && theirs[0] == ours[0] && theirs[1] == ours[0]
	}},
	{"what is on another port than its own is recognised only whole, Wireshark is told the port", func(field string, theirs, ours []string, cut bool) bool {
		return cut && len(ours) < len(theirs) && slices.Equal(theirs[:len(ours)], ours)
	}},
	{"of a header that is cut Wireshark shows some fields less", func(field string, theirs, ours []string, cut bool) bool {
		return cut && len(ours) > len(theirs) && slices.Equal(ours[:len(theirs)], theirs)
	}},
	{"of a segment whose end is in the next fragment we verify nothing, Wireshark verifies what there is", func(field string, theirs, ours []string, _ bool) bool {
		return field == "tcp.checksum.status" && allBut(theirs, ours, func(t, o string) bool { return t == "0" && o == "2" })
	}},
}

// allBut tells whether two lists are equal but for pairs that are the same.
func allBut(theirs, ours []string, same func(t, o string) bool) bool {
	if len(theirs) != len(ours) {
		return false
	}
	for i := range ours {
		if theirs[i] != ours[i] && !same(theirs[i], ours[i]) {
			return false
		}
	}
	return true
}

func TestFieldsAreThoseThatWiresharkReads(t *testing.T) {
	samples := corpus(t)
	for i := range samples {
		if inner, at := bare(&samples[i].frame); at >= 0 {
			samples = append(samples, sample{samples[i].name + " inside UDP", inner})
		}
	}
	used := make([]int, len(accepted))
	for _, snap := range []int{0, 256, 90} {
		t.Run(fmt.Sprint("snap ", snap), func(t *testing.T) { compare(t, samples, snap, used) })
	}
	for a, n := range used {
		t.Logf("%4d times: %s", n, accepted[a].why)
		if n == 0 {
			t.Errorf("accepted for nothing: %s", accepted[a].why)
		}
	}
}

// bare is the packet that a frame has in UDP as it is, and where it begins, -1 in
// other frames. Wireshark doesn't look for it there, so it reads it by itself.
func bare(f *Frame) (Frame, int) {
	tree := Dissect(f)
	for i, l := range tree[:len(tree)-1] {
		next := tree[i+1]
		if next.Name == "TUN" && i+2 < len(tree) {
			next = tree[i+2]
		}
		if l.Name != "UDP" || next.Name != "IPv4" && next.Name != "IPv6" && next.Name != "Ethernet II" {
			continue
		}
		inner := Frame{Interface: Interface{Node: "host1", Link: "inside", Hardware: HardwareNone}, Data: f.Data[next.Offset:], Length: f.Length - next.Offset}
		if next.Name == "Ethernet II" {
			inner.Interface = Interface{Node: "host1", Link: "inside-tap", Hardware: HardwareEther}
		}
		return inner, next.Offset
	}
	return Frame{}, -1
}

func compare(t *testing.T, samples []sample, snap int, used []int) {
	var file bytes.Buffer
	w := NewPcapng(&file, snap)
	at := time.Unix(1_700_000_000, 0)
	for i := range samples {
		f := &samples[i].frame
		f.Time = at.Add(time.Duration(i) * time.Second)
		check(t, w.WriteFrame(f))
	}
	var fields []string
	for _, c := range comparisons {
		fields = append(fields, c.theirs)
	}
	lines := tshark(t, &file, fields)
	if len(lines) != len(samples) {
		t.Fatalf("tshark read %d of %d frames", len(lines), len(samples))
	}
	compared := 0
	for i := range samples {
		s := &samples[i]
		f := s.frame
		if snap > 0 {
			f.Data = f.Data[:min(len(f.Data), snap)]
		}
		tree := Dissect(&f)
		if _, at := bare(&s.frame); at >= 0 {
			tree = slices.DeleteFunc(tree, func(l Layer) bool { return l.Offset >= at })
		}
		columns := lines[i]
	fields:
		for j, c := range comparisons {
			var theirs []string
			if columns[j] != "" {
				theirs = strings.Split(columns[j], "|")
			}
			ours := valuesOf(tree, c)
			for k := range theirs {
				if c.value == nil {
					theirs[k] = number(theirs[k])
				}
			}
			compared += len(ours)
			if slices.Equal(strings.Split(strings.Join(ours, "|"), "|"), strings.Split(strings.Join(theirs, "|"), "|")) {
				continue
			}
			for a := range accepted {
				if accepted[a].same(c.theirs, theirs, ours, len(f.Data) < f.Length) {
					used[a]++
					continue fields
				}
			}
			t.Errorf("%s %d %s: %s: tshark %v, ours %v", s.name, i+1, Summarise(&f).Protocol, c.theirs, theirs, ours)
		}
	}
	t.Logf("%d values of %d frames compared", compared, len(samples))
}

// valuesOf are a field's values in all layers of that name, as Wireshark would
// write them.
func valuesOf(tree []Layer, c comparison) (out []string) {
	for _, l := range tree {
		name := strings.TrimSuffix(l.Name, " (quoted)")
		if name != c.layer && !(c.layer == "Ethernet" && strings.HasPrefix(name, "Ethernet ")) && !(c.theirs == "igmp.maddr" && name == "IGMP record") {
			continue
		}
		kind := ""
		field, only, some := strings.Cut(c.name, "@")
		if some && !slices.ContainsFunc(l.Fields, func(f Field) bool { return f.Name == "Type" && number(f.Value) == only }) {
			continue
		}
		for _, f := range l.Fields {
			if strings.HasSuffix(f.Name, ": type") {
				_, kind, _ = strings.Cut(strings.TrimSuffix(f.Value, ")"), "(")
			}
			wanted := f.Name == field
			if t, ok := strings.CutPrefix(c.name, "*value "); ok {
				wanted = strings.HasSuffix(f.Name, ": value") && kind == t
			} else if c.layer == "HTTP" {
				wanted = strings.EqualFold(f.Name, field)
			}
			if wanted {
				if c.value == nil {
					out = append(out, number(f.Value))
				} else {
					out = append(out, c.value(f.Value))
				}
			}
		}
	}
	return out
}

// tshark reads a capture and gives the values of those fields in each frame,
// several of one field with "|" between them.
func tshark(t *testing.T, file *bytes.Buffer, fields []string) (frames [][]string) {
	t.Helper()
	args := []string{"-n", "-r", "-", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|"}
	for _, o := range []string{"ip.defragment:FALSE", "ipv6.defragment:FALSE", "ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE", "tcp.desegment_tcp_streams:FALSE", "http.desegment_headers:FALSE", "http.desegment_body:FALSE"} {
		args = append(args, "-o", o)
	}
	for _, d := range []string{"udp.port==9472,vxlan", "udp.port==8472,vxlan", "udp.port==35353,dns"} {
		args = append(args, "-d", d)
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	cmd.Stdin = file
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, problems.String())
	}
	for line := range strings.Lines(string(out)) {
		frames = append(frames, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return frames
}

// acceptedProtocols are Wireshark's names and ours where they differ on purpose.
var acceptedProtocols = map[[2]string]string{
	{"HTTP", "TCP"}:      "a segment in the midst of a message: one packet alone doesn't tell",
	{"IGMPv2", "IGMP"}:   "one name for all versions, the line has the version",
	{"IGMPv3", "IGMP"}:   "one name for all versions, the line has the version",
	{"Gryphon", "TCP"}:   "Wireshark guesses by port 7000",
	{"LOOP", "Ethernet"}: "Cisco's loop protocol is in no lab",
	{"IPX", "LLC"}:       "IPX is in no lab",
}

// The columns of a packet list are Wireshark's, but for what is meant.
func TestSummariesNameWhatWiresharkNames(t *testing.T) {
	samples := corpus(t)
	var file bytes.Buffer
	w := NewPcapng(&file, 0)
	for i := range samples {
		samples[i].frame.Time = time.Unix(1_700_000_000+int64(i), 0)
		check(t, w.WriteFrame(&samples[i].frame))
	}
	for i, theirs := range tshark(t, &file, []string{"_ws.col.Protocol", "_ws.col.Source", "_ws.col.Destination"}) {
		s := Summarise(&samples[i].frame)
		if _, at := bare(&samples[i].frame); at >= 0 {
			continue // Wireshark stops at UDP
		}
		ours := [3]string{s.Protocol, s.Source, strings.Replace(s.Destination, "Broadcast", "ff:ff:ff:ff:ff:ff", 1)}
		if why := acceptedProtocols[[2]string{theirs[0], ours[0]}]; why != "" {
			ours[0] = theirs[0]
		}
		if ours != [3]string(theirs) {
			t.Errorf("%s %d: tshark %q, ours %q: %s", samples[i].name, i+1, theirs, ours, s.Info)
		}
	}
}

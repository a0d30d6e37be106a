package filter

import "strings"

// family is what a "proto" number is looked up in.
type family uint8

const (
	anyIP family = iota
	ip4
	ip6
	link
)

// abbreviations are the names that alone are a primitive.
var abbreviations = map[string]protocol{
	"ip": {link, 0x0800}, "ip6": {link, 0x86dd}, "arp": {link, 0x0806}, "rarp": {link, 0x8035},
	"stp": {link, 0x42}, "iso": {link, 0xfe},
	"icmp": {ip4, 1}, "igmp": {ip4, 2}, "vrrp": {ip4, 112}, "carp": {ip4, 112},
	"icmp6": {ip6, 58},
	"tcp":   {anyIP, 6}, "udp": {anyIP, 17}, "sctp": {anyIP, 132},
	"esp": {anyIP, 50}, "ah": {anyIP, 51}, "pim": {anyIP, 103},
}

// etherTypes are the names behind "ether proto".
var etherTypes = map[string]uint32{
	"ip": 0x0800, "ip6": 0x86dd, "arp": 0x0806, "rarp": 0x8035,
	"stp": 0x42, "iso": 0xfe, "loopback": 0x9000,
}

// ipProtocols are the names behind "proto". Source: IANA protocol-numbers.
var ipProtocols = map[string]uint32{
	"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
	"icmp6": 58, "ipv6-icmp": 58, "ospf": 89, "pim": 103, "vrrp": 112, "carp": 112, "sctp": 132,
}

// service is a named port; transport is empty where more than one has it.
type service struct {
	port      uint32
	transport string
}

// services are the named ports. Source: IANA service-names-port-numbers.
var services = map[string]service{
	"ftp-data": {20, "tcp"}, "ftp": {21, "tcp"}, "ssh": {22, "tcp"}, "telnet": {23, "tcp"}, "smtp": {25, "tcp"},
	"domain": {53, ""}, "bootps": {67, "udp"}, "bootpc": {68, "udp"}, "tftp": {69, "udp"}, "http": {80, "tcp"},
	"kerberos": {88, ""}, "pop3": {110, "tcp"}, "ntp": {123, "udp"}, "imap": {143, "tcp"}, "snmp": {161, ""},
	"bgp": {179, "tcp"}, "ldap": {389, ""}, "https": {443, ""}, "isakmp": {500, "udp"}, "syslog": {514, "udp"},
	"dhcpv6-client": {546, "udp"}, "dhcpv6-server": {547, "udp"}, "rsync": {873, "tcp"}, "nfs": {2049, ""},
	"mysql": {3306, "tcp"}, "vxlan": {4789, "udp"}, "sip": {5060, ""}, "mdns": {5353, "udp"},
	"postgresql": {5432, "tcp"}, "geneve": {6081, "udp"}, "redis": {6379, "tcp"}, "http-alt": {8080, "tcp"},
}

// constants are the names that stand for a number in arithmetic.
var constants = map[string]uint32{
	"icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1, "tcpflags": 13,
	"tcp-fin": 0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08,
	"tcp-ack": 0x10, "tcp-urg": 0x20, "tcp-ece": 0x40, "tcp-cwr": 0x80,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12,
	"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16,
	"icmp-maskreq": 17, "icmp-maskreply": 18,
	"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
	"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132,
	"icmp6-routersolicit": 133, "icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135,
	"icmp6-neighboradvert": 136, "icmp6-redirect": 137, "icmp6-multicastlistenerreportv2": 143,
}

// reach says where the bytes of "tcp[…]" are counted from.
type reach uint8

const (
	fromLink      reach = iota // the link header
	fromNetwork                // what the link header carries
	fromTransport              // what an unfragmented IPv4 header carries, or the first fragment of it
	fromIPv6Body               // what follows the fixed IPv6 header
)

// accessible are the names that "[" may follow.
var accessible = map[string]reach{
	"ether": fromLink, "link": fromLink,
	"ip": fromNetwork, "ip6": fromNetwork, "arp": fromNetwork, "rarp": fromNetwork,
	"tcp": fromTransport, "udp": fromTransport, "sctp": fromTransport, "icmp": fromTransport,
	"igmp": fromTransport, "pim": fromTransport, "vrrp": fromTransport, "carp": fromTransport,
	"icmp6": fromIPv6Body,
}

// instead are words that people try, and what they mean by them.
var instead = map[string]string{
	"ping": "icmp or icmp6", "ipv4": "ip", "ipv6": "ip6", "icmpv6": "icmp6", "icmp4": "icmp", "eth": "ether",
	"mac": "ether host", "dns": "port domain", "dhcp": "port bootps or bootpc", "dhcp6": "port 546 or 547",
	"ports": "portrange", "source": "src", "destination": "dst", "from": "src", "to": "dst",
	"gre": "proto gre", "ospf": "proto ospf", "ipip": "ip proto 4", "sit": "ip proto 41",
	"in": "inbound", "out": "outbound", "protochain": "proto", "802.1q": "vlan", "ndp": "icmp6",
	"syn": "tcp[tcpflags] & tcp-syn != 0", "fin": "tcp[tcpflags] & tcp-fin != 0", "rst": "tcp[tcpflags] & tcp-rst != 0",
	"length": "len", "bcast": "broadcast", "mcast": "multicast", "AND": "and", "OR": "or", "NOT": "not",
	"lldp": "ether proto 0x88cc", "mpls": "ether proto 0x8847", "pppoes": "ether proto 0x8864",
}

// unsupported are tcpdump's words that this package knows but does not take.
var unsupported = map[string]string{
	"gateway":    "it needs names that are looked up",
	"ifindex":    "the interface is chosen where the capture is opened",
	"mpls":       "its labels are not read",
	"pppoed":     "PPPoE is not read",
	"pppoes":     "PPPoE is not read",
	"wlan":       "there is no wireless link here",
	"ppp":        "there is no PPP link here",
	"fddi":       "there is no FDDI link here",
	"tr":         "there is no token ring here",
	"decnet":     "DECnet is not read",
	"atalk":      "AppleTalk is not read",
	"aarp":       "AppleTalk is not read",
	"ipx":        "IPX is not read",
	"lat":        "ask for its number with ether proto",
	"llc":        "ask for its bytes with ether[…]",
	"byte":       "ask with proto[…]",
	"rnr":        "it is for pf logs only",
	"protochain": "the chain of IPv6 extension headers is not walked",
}

// keywords are the words that can begin or join primitives, for suggestions.
var keywords = [...]string{
	"and", "or", "not", "host", "net", "port", "portrange", "proto", "src", "dst", "mask",
	"ether", "link", "broadcast", "multicast", "less", "greater", "len", "inbound", "outbound",
	"vlan", "vxlan", "geneve",
}

func isKeyword(s string) bool {
	for _, k := range keywords {
		if s == k {
			return true
		}
	}
	_, ok := abbreviations[s]
	return ok
}

// meant finds what the writer of an unknown word may have had in mind, or "".
func meant(unknown string) string {
	if s, ok := instead[unknown]; ok {
		return s
	}
	lower := strings.ToLower(unknown)
	if s, ok := instead[lower]; ok {
		return s
	}
	if isKeyword(lower) {
		return lower
	}
	if _, ok := services[lower]; ok {
		return "port " + lower
	}
	names := keywords[:]
	for a := range abbreviations {
		names = append(names, a)
	}
	return nearest(lower, names)
}

// nearest is the name that differs from s in one letter, or in two if s is
// long; of several, the nearest and then the first of the alphabet.
func nearest(s string, names []string) string {
	best, found := 2, ""
	if len(s) < 3 {
		best = 1
	}
	if len(s) > 5 {
		best = 3
	}
	for _, n := range names {
		if d := distance(s, n); d < best || d == best && found != "" && n < found {
			best, found = d, n
		}
	}
	return found
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

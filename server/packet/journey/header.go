package journey

import (
	"encoding/binary"
	"net/netip"

	"kabel/server/packet"
)

// Protocol names a header; its words are those of topo.Sighting.
type Protocol uint8

// The headers that Peel reads.
const (
	Ethernet Protocol = iota + 1
	VLAN
	ARP
	IPv4
	IPv6
	ICMP
	ICMPv6
	TCP
	UDP
	VXLAN
	GENEVE
	GRE
)

var protocolNames = [...]string{"", "eth", "vlan", "arp", "ipv4", "ipv6", "icmp", "icmpv6", "tcp", "udp", "vxlan", "geneve", "gre"}

func (p Protocol) String() string {
	if int(p) < len(protocolNames) {
		return protocolNames[p]
	}
	return ""
}

// Header is one protocol header with the fields by which a packet is known
// again. Which of them are set depends on the Protocol. It holds no pointers, so
// that a million of them are nothing to the garbage collector.
type Header struct {
	Protocol Protocol
	TTL      uint8 // hop limit in IPv6
	// Flags are TCP's, from FIN (1) upwards; of IP: FlagDF, FlagMF.
	Flags uint8
	// Type and Code are those of ICMP and ICMPv6; Type is the operation of ARP.
	// In a UDP header of port 53 Type says whether it is a question (1) or an
	// answer (2).
	Type, Code     uint8
	SrcMAC, DstMAC [6]byte // of Ethernet; of ARP sender and target
	// Next is the EtherType or IP protocol of what follows.
	Next             uint16
	SrcPort, DstPort uint16
	Window           uint16
	// Fragment is where the payload belongs in the whole datagram, in bytes.
	Fragment uint16
	// ID is the IP identification (in IPv6 that of the fragment header), the id of
	// an ICMP echo, a VLAN, a VNI, a GRE key, or the id of a DNS message.
	ID       uint32
	Seq, Ack uint32 // TCP; Seq also of an ICMP echo
	// Payload is where in the frame the bytes after this header begin, and Length
	// how many the header says there are: the frame may hold fewer.
	Payload, Length int32
	src, dst        [16]byte
}

// Flags of IPv4 and of the fragment header of IPv6.
const (
	FlagMF = 1 << iota // more fragments follow
	FlagDF             // don't fragment
)

// TCP flags. Source: RFC 9293, section 3.1.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// Src is the source of IPv4 and IPv6 and the sender of ARP.
func (h *Header) Src() netip.Addr { return h.addr(h.src) }

// Dst is the destination of IPv4 and IPv6 and the target of ARP.
func (h *Header) Dst() netip.Addr { return h.addr(h.dst) }

func (h *Header) addr(a [16]byte) netip.Addr {
	switch h.Protocol {
	case IPv4, ARP:
		return netip.AddrFrom4([4]byte(a[12:]))
	case IPv6:
		return netip.AddrFrom16(a)
	}
	return netip.Addr{}
}

func (h *Header) isIP() bool { return h.Protocol == IPv4 || h.Protocol == IPv6 }

// isFragment says that the header carries a part of a datagram.
func (h *Header) isFragment() bool {
	return h.isIP() && (h.Fragment > 0 || h.Flags&FlagMF != 0)
}

// maxHeaders bounds the work for one frame: tunnels in tunnels in tunnels.
const maxHeaders = 24

// maxExtensions bounds the extension headers of one IPv6 packet.
const maxExtensions = 8

// EtherTypes, IP protocols and ports. Source: IANA's registries; port 8472 is
// what Linux took for VXLAN before there was a registered one.
const (
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherVLAN   = 0x8100
	etherIPv6   = 0x86dd
	etherQinQ   = 0x88a8
	etherBridge = 0x6558 // transparent Ethernet bridging, in GRE and GENEVE

	protocolICMP   = 1
	protocolIPIP   = 4
	protocolTCP    = 6
	protocolUDP    = 17
	protocolIPv6   = 41
	protocolGRE    = 47
	protocolICMPv6 = 58

	portDNS        = 53
	portDHCPServer = 67
	portDHCPClient = 68
	portVXLAN      = 4789
	portVXLANLinux = 8472
	portGENEVE     = 6081
	portIPinUDP    = 9000 // what the labs' socat tunnels use
)

// Devices whose frames begin with IP, beside packet.HardwareNone. Source:
// linux/if_arp.h.
const (
	hardwareTunnel  = 768
	hardwareTunnel6 = 769
	hardwareSIT     = 776
	hardwareGRE     = 778
	hardwareGRE6    = 823
)

// Peel appends the headers of f to stack, outermost first, until it meets
// something that it doesn't know or that isn't whole. What an ICMP error quotes
// is no header of the packet. It looks at the captured bytes only and never
// beyond what the headers themselves allow.
func Peel(stack []Header, f *packet.Frame) []Header {
	next := layerEthernet
	switch f.Interface.Hardware {
	case packet.HardwareNone, hardwareTunnel, hardwareTunnel6, hardwareSIT, hardwareGRE, hardwareGRE6:
		next = layerIP
	}
	return peel(stack, f.Data, 0, max(f.Length, len(f.Data)), next)
}

// layer is what the bytes at hand are to be read as.
type layer uint8

const (
	layerNone layer = iota
	layerEthernet
	layerEtherType // as the EtherType before says
	layerIP        // as the first four bits say
	layerIPv4
	layerIPv6
	layerProtocol // as the IP protocol before says
)

// peel reads data from at on, where the headers before allow left bytes.
func peel(stack []Header, data []byte, at, left int, next layer) []Header {
	begin := len(stack)
	var number uint16 // EtherType or IP protocol
	for len(stack)-begin < maxHeaders {
		b := data[at:]
		if len(b) > left {
			b = b[:left]
		}
		switch next {
		case layerEtherType:
			switch number {
			case etherIPv4:
				next = layerIPv4
				continue
			case etherIPv6:
				next = layerIPv6
				continue
			}
		case layerIP:
			if len(b) == 0 {
				return stack
			}
			switch b[0] >> 4 {
			case 4:
				next = layerIPv4
			case 6:
				next = layerIPv6
			default:
				return stack
			}
			continue
		}

		stack = append(stack, Header{})
		h := &stack[len(stack)-1]
		size, ok := 0, false
		switch next {
		case layerEthernet:
			if ok = len(b) >= 14; ok {
				h.Protocol, size = Ethernet, 14
				h.DstMAC, h.SrcMAC = [6]byte(b), [6]byte(b[6:])
				h.Next = binary.BigEndian.Uint16(b[12:])
				next, number = layerEtherType, h.Next
			}
		case layerEtherType:
			switch number {
			case etherVLAN, etherQinQ:
				if ok = len(b) >= 4; ok {
					h.Protocol, size = VLAN, 4
					h.ID = uint32(binary.BigEndian.Uint16(b) & 0xfff)
					h.Next = binary.BigEndian.Uint16(b[2:])
					number = h.Next
				}
			case etherARP:
				if ok = readARP(h, b); ok {
					size, next = 28, layerNone
				}
			}
		case layerIPv4:
			size, ok = readIPv4(h, b, left)
			next, number = layerProtocol, h.Next
		case layerIPv6:
			size, ok = readIPv6(h, b, left)
			next, number = layerProtocol, h.Next
		case layerProtocol:
			switch number {
			case protocolIPIP, protocolIPv6:
				stack = stack[:len(stack)-1]
				next = layerIPv4
				if number == protocolIPv6 {
					next = layerIPv6
				}
				continue
			case protocolICMP, protocolICMPv6:
				size, ok = readICMP(h, b, number == protocolICMPv6)
				next = layerNone
			case protocolTCP:
				size, ok = readTCP(h, b)
				next = layerNone
			case protocolUDP:
				if ok = len(b) >= 8; ok {
					size = 8
					left = readUDP(h, b, left)
					next = tunnelInUDP(h, b[8:], left-8)
				}
			case protocolGRE:
				size, ok = readGRE(h, b)
				next, number = layerEtherType, h.Next
				if h.Next == etherBridge {
					next = layerEthernet
				}
			}
		}
		if !ok {
			return stack[:len(stack)-1]
		}
		if h.isIP() {
			left = size + int(h.Length)
		}
		at, left = at+size, left-size
		h.Payload, h.Length = int32(at), int32(left)

		if h.Protocol == UDP && next != layerNone {
			if stack, at, left, next, number = enterTunnel(stack, data, at, left, next); next == layerNone {
				return stack
			}
		}
		if next == layerNone || h.isIP() && h.Fragment > 0 || at > len(data) {
			return stack
		}
	}
	return stack
}

// readARP reads ARP for IPv4 over Ethernet; any other is left alone. Source:
// RFC 826.
func readARP(h *Header, b []byte) bool {
	if len(b) < 28 || binary.BigEndian.Uint64(b)>>16 != 0x000108000604 {
		return false
	}
	h.Protocol = ARP
	h.Type = b[7]
	h.SrcMAC, h.DstMAC = [6]byte(b[8:]), [6]byte(b[18:])
	h.src, h.dst = mapped(b[14:]), mapped(b[24:])
	return true
}

// mapped is the IPv4 address at b in the form that IPv6 writes it.
func mapped(b []byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
}

// readIPv4 leaves in h.Length how many bytes follow the header. Source: RFC 791.
func readIPv4(h *Header, b []byte, left int) (size int, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return 0, false
	}
	size = int(b[0]&15) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 { // segments that the kernel left together, more than 64 KiB (BIG TCP)
		total = left
	}
	if size < 20 || size > total || size > len(b) {
		return 0, false
	}
	h.Protocol = IPv4
	h.ID = uint32(binary.BigEndian.Uint16(b[4:]))
	bits := binary.BigEndian.Uint16(b[6:])
	h.Fragment = bits << 3
	if bits&0x2000 != 0 {
		h.Flags |= FlagMF
	}
	if bits&0x4000 != 0 {
		h.Flags |= FlagDF
	}
	h.TTL, h.Next = b[8], uint16(b[9])
	h.src, h.dst = mapped(b[12:]), mapped(b[16:])
	h.Length = int32(total - size)
	return size, true
}

// readIPv6 reads the header and its extension headers as one. Source: RFC 8200.
func readIPv6(h *Header, b []byte, left int) (size int, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return 0, false
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total == 40 { // a jumbogram
		total = left
	}
	b = b[:min(len(b), total)]
	h.Protocol = IPv6
	h.TTL = b[7]
	h.src, h.dst = [16]byte(b[8:]), [16]byte(b[24:])
	size = 40
	next := b[6]
	for range maxExtensions {
		var n int
		switch next {
		case 0, 43, 60, 135: // hop-by-hop, routing, destination options, mobility
			if len(b) < size+2 {
				return 0, false
			}
			n = 8 + int(b[size+1])*8
		case 44: // fragment
			if len(b) < size+8 {
				return 0, false
			}
			n = 8
			bits := binary.BigEndian.Uint16(b[size+2:])
			h.Fragment = bits &^ 7
			if bits&1 != 0 {
				h.Flags |= FlagMF
			}
			h.ID = binary.BigEndian.Uint32(b[size+4:])
		case 51: // authentication
			if len(b) < size+2 {
				return 0, false
			}
			n = 8 + int(b[size+1])*4
		}
		if n == 0 {
			break
		}
		if len(b) < size+n {
			return 0, false
		}
		next = b[size]
		size += n
		if h.Fragment > 0 {
			break
		}
	}
	h.Next = uint16(next)
	h.Length = int32(total - size)
	return size, true
}

// readICMP needs the eight bytes that every message has. Source: RFC 792, 4443.
func readICMP(h *Header, b []byte, six bool) (size int, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	h.Protocol = ICMP
	if six {
		h.Protocol = ICMPv6
	}
	h.Type, h.Code = b[0], b[1]
	if h.hasEchoID() {
		h.ID = uint32(binary.BigEndian.Uint16(b[4:]))
		h.Seq = uint32(binary.BigEndian.Uint16(b[6:]))
	}
	return 8, true
}

func readTCP(h *Header, b []byte) (size int, ok bool) {
	if len(b) < 20 {
		return 0, false
	}
	size = int(b[12]>>4) * 4
	if size < 20 || size > len(b) {
		return 0, false
	}
	h.Protocol = TCP
	h.SrcPort, h.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	h.Seq, h.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	h.Flags = b[13]
	h.Window = binary.BigEndian.Uint16(b[14:])
	return size, true
}

// readUDP returns how many bytes the datagram has, its header included: in the
// first of several fragments more than are here.
func readUDP(h *Header, b []byte, left int) int {
	h.Protocol = UDP
	h.SrcPort, h.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 {
		left = n
	}
	if (h.SrcPort == portDNS || h.DstPort == portDNS) && len(b) >= 8+12 {
		h.ID = uint32(binary.BigEndian.Uint16(b[8:]))
		h.Type = 1 + b[10]>>7
	}
	return left
}

// readGRE reads version 0. Source: RFC 2784 and 2890.
func readGRE(h *Header, b []byte) (size int, ok bool) {
	if len(b) < 4 || b[1]&7 != 0 {
		return 0, false
	}
	size = 4
	if b[0]&0x80 != 0 { // checksum
		size += 4
	}
	key := size
	if b[0]&0x20 != 0 {
		size += 4
	}
	if b[0]&0x10 != 0 { // sequence number
		size += 4
	}
	if len(b) < size {
		return 0, false
	}
	h.Protocol = GRE
	h.Next = binary.BigEndian.Uint16(b[2:])
	if b[0]&0x20 != 0 {
		h.ID = binary.BigEndian.Uint32(b[key:])
	}
	return size, true
}

// tunnelInUDP says what a datagram carries, as far as we know tunnels.
func tunnelInUDP(h *Header, b []byte, length int) layer {
	switch {
	case h.DstPort == portVXLAN || h.DstPort == portVXLANLinux:
		if len(b) >= 8+14 && b[0]&0x08 != 0 { // the VNI is valid. RFC 7348
			return layerEthernet
		}
	case h.DstPort == portGENEVE:
		if len(b) >= 8 && b[0]>>6 == 0 { // version 0. RFC 8926
			return layerEtherType
		}
	case h.DstPort == portIPinUDP || h.SrcPort == portIPinUDP:
		if isIP(b, length) || len(b) > 4 && isTUN(b) && isIP(b[4:], length-4) {
			return layerIP
		}
	}
	return layerNone
}

// isIP says that b begins a packet of exactly length bytes: what tells a packet
// in UDP, which no header announces, from any other datagram.
func isIP(b []byte, length int) bool {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return b[0]&15 >= 5 && int(binary.BigEndian.Uint16(b[2:])) == length
	case len(b) >= 40 && b[0]>>4 == 6:
		return 40+int(binary.BigEndian.Uint16(b[4:])) == length
	}
	return false
}

// isTUN says that b begins with the header that a TUN device puts before each
// packet unless told not to: two bytes of flags, then the EtherType.
func isTUN(b []byte) bool {
	n := binary.BigEndian.Uint16(b[2:])
	return n == etherIPv4 || n == etherIPv6
}

// enterTunnel reads the tunnel header that the datagram at the end of stack
// carries.
func enterTunnel(stack []Header, data []byte, at, left int, next layer) ([]Header, int, int, layer, uint16) {
	b := data[at:]
	var number uint16
	size := 0
	switch next {
	case layerEthernet:
		size = 8
		stack = append(stack, Header{Protocol: VXLAN, ID: binary.BigEndian.Uint32(b[4:]) >> 8})
	case layerEtherType:
		size = 8 + int(b[0]&63)*4
		number = binary.BigEndian.Uint16(b[2:])
		if size > left || size > len(b) {
			return stack, at, left, layerNone, 0
		}
		stack = append(stack, Header{Protocol: GENEVE, ID: binary.BigEndian.Uint32(b[4:]) >> 8, Next: number})
		if number == etherBridge {
			next = layerEthernet
		}
	case layerIP:
		if isTUN(b) && !isIP(b, left) {
			return stack, at + 4, left - 4, next, 0
		}
		return stack, at, left, next, 0
	}
	at, left = at+size, left-size
	h := &stack[len(stack)-1]
	h.Payload, h.Length = int32(at), int32(left)
	return stack, at, left, next, number
}

// Types of ICMP and ICMPv6. Source: IANA's registries.
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpQuench       = 4
	icmpRedirect     = 5
	icmpEcho         = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12
	icmpTimestamp    = 13
	icmpMaskReply    = 18

	icmp6Unreachable   = 1
	icmp6TooBig        = 2
	icmp6TimeExceeded  = 3
	icmp6Parameter     = 4
	icmp6Echo          = 128
	icmp6EchoReply     = 129
	icmp6Solicitation  = 135
	icmp6Advertisement = 136
	icmp6Redirect      = 137

	icmpCodeTooBig = 4 // of icmpUnreachable
)

// hasEchoID says that the message has an id and a sequence number.
func (h *Header) hasEchoID() bool {
	if h.Protocol == ICMPv6 {
		return h.Type == icmp6Echo || h.Type == icmp6EchoReply
	}
	return h.Protocol == ICMP && (h.Type == icmpEcho || h.Type == icmpEchoReply || h.Type >= icmpTimestamp && h.Type <= icmpMaskReply)
}

// quotes says that the message carries the packet that it complains about.
func (h *Header) quotes() bool {
	switch h.Protocol {
	case ICMP:
		switch h.Type {
		case icmpUnreachable, icmpQuench, icmpRedirect, icmpTimeExceeded, icmpParameter:
			return true
		}
	case ICMPv6:
		return h.Type >= icmp6Unreachable && h.Type <= icmp6Parameter
	}
	return false
}

// isDiscovery says that it is neighbour discovery, ARP's place in IPv6.
func (h *Header) isDiscovery() bool {
	return h.Protocol == ICMPv6 && (h.Type == icmp6Solicitation || h.Type == icmp6Advertisement)
}

// Package filter compiles tcpdump's filter expressions to classic BPF, without
// libpcap. It is pure: one program does for the kernel and for frames in memory.
//
// # The language
//
// A primitive is a value behind words that say what it is:
//
//	[src|dst|src or dst|src and dst] [host|net|port|portrange] value
//
//	host 10.0.0.1                  src host 2001:db8::1        arp host 10.0.0.1
//	net 10.0.0.0/8                 net 10                      dst net 10.0.0.0 mask 255.0.0.0
//	port 80                        tcp dst port http           udp portrange 1000-2000
//	ether host 02:00:00:00:00:01   ether src 02:00:00:00:00:01
//
// Others stand alone, or have a number:
//
//	ip  ip6  arp  rarp  icmp  icmp6  igmp  tcp  udp  sctp  esp  ah  pim  vrrp  stp
//	proto gre                      ip proto 89                 ip6 proto tcp
//	ether proto 0x88cc             broadcast                   multicast
//	ip broadcast                   ip multicast                ip6 multicast
//	inbound                        outbound
//	less 128                       greater 1000
//	vlan                           vlan 10 or 20
//	vxlan                          vxlan 42                    geneve 42 or 43
//
// Bytes can be compared, after arithmetic with + - * / % & | ^ << >> as in C, on
// 32 bits without sign. The place is counted from the header that is named, one
// byte is read or as many as stand behind the colon; len is the length of the
// frame:
//
//	tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn
//	icmp[icmptype] == icmp-echo    ip[8] < 5                   udp[8:4] = 0x47455420
//	ether[0] & 1 = 0               len - 14 > ip[2:2]
//
// Primitives are joined with and, or, not (&&, ||, !) and parentheses. And and or
// bind equally, from left to right: "tcp or udp and port 53" is "(tcp or udp) and
// port 53". A value without words takes those of the value before it: "tcp port
// 80 or 443", "host 10.0.0.1 and not (10.0.0.2 or 10.0.0.3)".
//
// As in tcpdump, vlan, vxlan and geneve change what everything behind them in the
// text speaks of: "vxlan and icmp" is ICMP inside, "icmp and vxlan" is nothing.
// So "icmp and not vlan" and not the other way round; "icmp" alone is only what
// has no tag. Of a later fragment ports are not known, so that "port 80" doesn't
// find it. TCP and UDP bytes are those over IPv4. Names of hosts are not looked
// up. Here vxlan is UDP port 4789 or Linux's own 8472, geneve 6081.
package filter

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// WholePacket is what a program returns for a packet that it accepts: more bytes
// than a packet has.
const WholePacket = 1 << 18

// maxExpression bounds the length of an expression in bytes.
const maxExpression = 4096

// Error says what is wrong with an expression, and where.
type Error struct {
	Position   int    // in bytes from the start
	Message    string // plain words
	Suggestion string // what may have been meant, for the reader; or ""
}

func (e *Error) Error() string {
	s := fmt.Sprintf("filter, at %d: %s", e.Position, e.Message)
	if e.Suggestion != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Suggestion)
	}
	return s
}

// Filter is a compiled expression. It may be used by several goroutines.
type Filter struct {
	program []bpf.RawInstruction
	steps   []step // the same
}

// Compile compiles an expression; every error is an *Error. The empty expression
// accepts all.
func Compile(expression string) (*Filter, error) {
	if len(expression) > maxExpression {
		return nil, &Error{Position: maxExpression, Message: fmt.Sprintf("the expression is longer than %d bytes", maxExpression)}
	}
	tree, err := parse(expression)
	if err != nil {
		return nil, err
	}
	instructions, err := generate(tree)
	if err != nil {
		return nil, err
	}
	program, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("no program can be made of this: %v", err)}
	}
	return &Filter{program, steps(program)}, nil
}

// Match says whether a frame is accepted: its first bytes, with a VLAN tag in
// place, the ARPHRD_ type of the interface, whether that sent it, and the length
// that the whole frame had. As in the kernel, a test of bytes beyond data makes
// it not accepted, even behind "not".
func (f *Filter) Match(data []byte, hardware uint16, out bool, length int) bool {
	packetType := uint32(0)
	if out {
		packetType = outgoing
	}
	return run(f.steps, data, uint32(hardware), packetType, uint32(length))
}

// Program is the filter for a packet socket (SOCK_RAW) that is bound to all
// interfaces of a network namespace. It returns WholePacket or 0. It tells sorts
// of frames apart by the hardware type, knows that the kernel takes the first
// VLAN tag out of a frame, and so accepts the same frames as Match.
func (f *Filter) Program() []bpf.RawInstruction { return f.ProgramSnap(WholePacket) }

// ProgramSnap is Program with another number of bytes to keep of a packet.
func (f *Filter) ProgramSnap(snap uint32) []bpf.RawInstruction {
	program := slices.Clone(f.program)
	for i := range program {
		if program[i].Op == opReturn && program[i].K != 0 {
			program[i].K = snap
		}
	}
	return program
}

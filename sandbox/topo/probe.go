package topo

import (
	"cmp"
	"net"
	"strconv"
	"strings"
	"time"
)

// ProbeKind says what traffic a probe sends.
type ProbeKind string

// The kinds of probes.
const (
	ProbePing       ProbeKind = "ping"       // ICMP or ICMPv6 echo
	ProbeTCP        ProbeKind = "tcp"        // connect to address:port
	ProbeUDP        ProbeKind = "udp"        // a datagram to address:port that is answered
	ProbeHTTP       ProbeKind = "http"       // GET of a URL
	ProbeDNS        ProbeKind = "dns"        // A look-up; To is name or name@server
	ProbeTraceroute ProbeKind = "traceroute" // UDP with rising TTL
)

// Probe asks whether one node reaches an address. It sends real packets from
// inside the node's namespace.
type Probe struct {
	From NodeID    `json:"from"`
	Kind ProbeKind `json:"kind" enum:"ping,tcp,udp,http,dns,traceroute"`
	To   string    `json:"to"`
	// Count of attempts, 1 to 10; 0 means 1. For traceroute it is the most hops.
	Count int `json:"count,omitempty"`
	// Size of the payload in bytes, ping only; 0 means 56.
	Size int `json:"size,omitempty"`
	// DontFragment forbids fragmentation, ping only.
	DontFragment bool `json:"dont_fragment,omitempty"`
}

// Command is what a person types for the same traffic on the node's machine. It
// gives up as soon as a probe does.
func (p Probe) Command() string {
	var w words
	switch p.Kind {
	case ProbePing:
		w = words{"ping", "-c", strconv.Itoa(cmp.Or(p.Count, 1)), "-W", "1"}
		if p.Size > 0 {
			w = append(w, "-s", strconv.Itoa(p.Size))
		}
		if p.DontFragment {
			w = append(w, "-M", "do")
		}
		w = append(w, p.To)
	case ProbeTCP, ProbeUDP:
		to, port, err := net.SplitHostPort(p.To)
		if err != nil {
			to = p.To
		}
		w = words{"nc", "-z", "-w", "1", to, port}
		if p.Kind == ProbeUDP {
			w[1] = "-uz"
		}
	case ProbeHTTP:
		w = words{"curl", "-sS", "-m", "1", p.To}
	case ProbeDNS:
		name, server, given := strings.Cut(p.To, "@")
		w = words{"dig", "+short", "+time=1", "+tries=1", name}
		if given {
			w = append(w, "@"+server)
		}
	case ProbeTraceroute:
		w = words{"traceroute", "-n", "-q", "1", "-w", "1", "-m", strconv.Itoa(cmp.Or(p.Count, 10)), p.To}
	}
	if netns := p.From.Netns(); netns != "" {
		w = append(words{"ip", "netns", "exec", netns}, w...)
	}
	return w.String()
}

// ProbeResult tells what came back.
type ProbeResult struct {
	Probe    Probe `json:"probe"`
	OK       bool  `json:"ok"`
	Sent     int   `json:"sent"`
	Received int   `json:"received"`
	// RTTms is the median round trip of what was received, in milliseconds.
	RTTms float64 `json:"rtt_ms,omitempty"`
	// Reason says why it failed; empty when OK.
	Reason Reason `json:"reason,omitempty"`
	// Detail is what the peer said: an HTTP status, addresses, hops.
	Detail []string  `json:"detail,omitempty"`
	At     time.Time `json:"at"`
}

// Reason is why a probe failed, as the sending namespace could see it.
type Reason string

// The reasons.
const (
	ReasonNetUnreachable  Reason = "network-unreachable"  // no route on the sender, or ICMP net unreachable
	ReasonHostUnreachable Reason = "host-unreachable"     // nobody answered ARP, or ICMP host unreachable
	ReasonPortUnreachable Reason = "port-unreachable"     // ICMP port unreachable
	ReasonRefused         Reason = "connection-refused"   // TCP reset
	ReasonTimeout         Reason = "no-answer"            // sent, and nothing came back in time
	ReasonTooBig          Reason = "message-too-long"     // larger than an MTU that may not be fragmented
	ReasonProhibited      Reason = "prohibited"           // ICMP administratively prohibited, or EPERM from a local firewall
	ReasonTTL             Reason = "time-to-live-expired" // the hops ran out
	ReasonNoName          Reason = "no-such-name"         // DNS said so
	ReasonBadAnswer       Reason = "bad-answer"           // something answered, but not as asked
)

// Package packet reads captured frames: a summary line, the tree of layers with
// the bytes that each field stands for, and pcapng files. Its sub-packages
// compile filters and follow one packet across interfaces. It is pure: it must
// not capture, wait, know sessions or touch the kernel, and no input may make it
// panic.
package packet

import (
	"time"

	"kabel/sandbox/topo"
)

// Interface is a place where packets are seen.
type Interface struct {
	Node topo.NodeID
	Link string
	// Hardware is the kernel's ARPHRD_ type: 1 Ethernet, 772 loopback (with an
	// Ethernet header of zeros), 65534 none (a TUN device: frames begin with IP).
	// Source: linux/if_arp.h.
	Hardware uint16
}

// The hardware types that frames of a lab come with.
const (
	HardwareEther    = 1
	HardwareLoopback = 772
	HardwareNone     = 65534
)

// Frame is one packet as one interface saw it.
type Frame struct {
	// No counts up from 1 within one capture, in the order of arrival.
	No        uint64
	Interface Interface
	Time      time.Time
	// Out is set where the interface sent it; otherwise it received it.
	Out bool
	// Length is how many bytes it had, of which Data holds the first; a VLAN tag
	// stands in its place.
	Length int
	Data   []byte
	// Unfinished is set where the kernel has left the checksum for the hardware
	// to fill in, as it always does on veth: a wrong one says nothing then.
	Unfinished bool
}

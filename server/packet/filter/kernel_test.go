package filter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ownNetwork gives the calling test a network namespace of its own, without
// IPv6 (nobody speaks unasked), with loopback up.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlock: the thread ends with the test, and its namespace too
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace: %v", err)
	}
	for _, c := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+c+"/disable_ipv6", []byte("1"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	up(t, "lo")
}

func up(t *testing.T, name string) int {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatalf("%s up: %v", name, err)
	}
	return l.Attrs().Index
}

const allProtocols = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order

// listen opens a packet socket on every interface with the program attached.
func listen(t *testing.T, program []bpf.RawInstruction) int {
	t.Helper()
	fd := packetSocket(t)
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		t.Fatalf("the kernel refuses a program of %d instructions: %v", len(program), err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func packetSocket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// seen is where a packet was seen.
type seen struct {
	link int
	out  bool
}

// next reads where the next packet of a socket was seen.
func next(t *testing.T, fd int) (seen, bool) {
	t.Helper()
	var b [1]byte
	_, from, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) {
		return seen{}, false
	}
	if err != nil {
		t.Fatal(err)
	}
	l := from.(*unix.SockaddrLinklayer)
	return seen{l.Ifindex, l.Pkttype == unix.PACKET_OUTGOING}, true
}

// await waits for a packet at each of the places.
func await(t *testing.T, fd int, places map[seen]expected) {
	t.Helper()
	missing := len(places)
	for missing > 0 {
		if s, ok := next(t, fd); ok {
			if _, wanted := places[s]; !wanted {
				t.Fatalf("a packet at %+v, where none was sent", s)
			}
			missing--
			continue
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(10*time.Second/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		if n == 0 && err == nil {
			t.Fatalf("%d packets of %d did not come", missing, len(places))
		}
	}
}

// expected is what Match is asked about a packet at one place.
type expected struct {
	data     []byte
	hardware uint16
}

func TestTheKernelAcceptsWhatMatchAccepts(t *testing.T) {
	ownNetwork(t)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "left", TxQLen: 1000}, PeerName: "right"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	left, right, lo := up(t, "left"), up(t, "right"), up(t, "lo")
	onward, far := redirected(t, right)
	tunFile, tun := openTUN(t)

	// The first socket to open is the last to be given a packet.
	control := listen(t, []bpf.RawInstruction{{Op: opReturn, K: 1}})
	expressions := append([]string{"inbound", "outbound", "inbound and icmp", "not outbound and vlan 10", "vxlan", "vxlan 42 and icmp",
		"vxlan and tcp port 80", "vxlan and vlan and ip", "vlan and vxlan and ip", "vxlan 42 or 43 and ip6", "vlan 10 or 20 and icmp", ""}, agreed...)
	filters, sockets := make([]*Filter, len(expressions)), make([]int, len(expressions))
	for i, e := range expressions {
		var err error
		if filters[i], err = Compile(e); err != nil {
			t.Fatal(err)
		}
		sockets[i] = listen(t, filters[i].Program())
	}
	compared, differences := 0, 0
	check := func(name string, places map[seen]expected) {
		await(t, control, places)
		for i, fd := range sockets {
			got := map[seen]bool{}
			for s, ok := next(t, fd); ok; s, ok = next(t, fd) {
				got[s] = true
			}
			for s, p := range places {
				compared++
				if want := filters[i].Match(p.data, p.hardware, s.out, len(p.data)); got[s] != want {
					if differences++; differences < 20 {
						t.Errorf("%q of %s at %+v: the kernel says %v, Match %v", expressions[i], name, s, got[s], want)
					}
				}
			}
		}
	}
	sender := packetSocket(t)
	send := func(link int, data []byte) {
		t.Helper()
		protocol := uint16(0)
		if link == tun {
			protocol = 0x0008 // IPv4, in network order; the frame has nothing that says so
		}
		if err := unix.Sendto(sender, data, 0, &unix.SockaddrLinklayer{Ifindex: link, Protocol: protocol}); err != nil {
			t.Fatalf("sending %d bytes on %d: %v", len(data), link, err)
		}
	}
	for _, s := range frames() {
		if len(s.data) < 24 || !s.whole && !strings.HasSuffix(s.name, "short") {
			continue
		}
		send(left, s.data)
		places := map[seen]expected{{left, true}: {s.data, 1}, {right, false}: {s.data, 1}}
		if onward != 0 {
			places[seen{onward, true}], places[seen{far, false}] = expected{s.data, 1}, expected{s.data, 1}
		}
		check(s.name, places)
		send(lo, s.data)
		check(s.name+" on loopback", map[seen]expected{{lo, true}: {s.data, 772}, {lo, false}: {s.data, 772}})
	}
	for _, s := range bareFrames() {
		if tun == 0 || !s.whole || s.data[0]>>4 != 4 && s.data[0]>>4 != 6 {
			continue // the device refuses what is no IP
		}
		send(tun, s.data)
		check(s.name+" out of tun", map[seen]expected{{tun, true}: {s.data, 65534}})
		if _, err := tunFile.Write(s.data); err != nil {
			t.Fatal(err)
		}
		check(s.name+" into tun", map[seen]expected{{tun, false}: {s.data, 65534}})
	}
	t.Logf("%d expressions, %d verdicts compared, %d differences", len(expressions), compared, differences)
}

// redirected makes a second cable, and sends out of it what comes in on a link.
// What has a VLAN tag leaves with the tag beside the frame, as from a VLAN
// interface; what was sent with one has it in place. It returns the two ends.
func redirected(t *testing.T, from int) (near, far int) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "onward"}, PeerName: "far"}); err != nil {
		t.Fatal(err)
	}
	near, far = up(t, "onward"), up(t, "far")
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	redirect := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{netlink.NewMirredAction(near)},
	}
	err := netlink.QdiscAdd(ingress)
	if err == nil {
		err = netlink.FilterAdd(redirect)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Log("this kernel can't redirect (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED): frames sent with a tag beside them are left out")
		return 0, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// openTUN makes a TUN device, if the kernel has them.
func openTUN(t *testing.T) (*os.File, int) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Log("this kernel has no TUN devices (CONFIG_TUN): raw IP is left out")
		return nil, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "tun")
	request.flags = unix.IFF_TUN | unix.IFF_NO_PI
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(fmt.Errorf("TUNSETIFF: %w", errno))
	}
	return f, up(t, "tun")
}

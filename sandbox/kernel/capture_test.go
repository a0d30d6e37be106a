package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// packetSeen is one packet that a test has seen, with its place.
type packetSeen struct {
	host.CaptureInterface
	host.CaptureRecord
}

func (r packetSeen) place() string {
	if r.Out {
		return fmt.Sprintf("%s:%s out", r.Node, r.Link)
	}
	return fmt.Sprintf("%s:%s in", r.Node, r.Link)
}

// viewer reads a capture.
type viewer struct {
	t            testing.TB
	capture      host.Capture
	interfaces   map[uint32]host.CaptureInterface
	records      []packetSeen
	flows        []host.Flow
	explained    map[uint32]int // how many flows were told before the first packet of an interface
	kernel, host uint64
}

func openCapture(t testing.TB, w host.World, r host.CaptureRequest) *viewer {
	t.Helper()
	c, err := w.Capture(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return &viewer{t: t, capture: c, interfaces: map[uint32]host.CaptureInterface{}, explained: map[uint32]int{}}
}

func (v *viewer) next(ctx context.Context) error {
	b, err := v.capture.Next(ctx)
	if err != nil {
		return err
	}
	for _, i := range b.Interfaces {
		v.interfaces[i.ID] = i
	}
	v.flows = append(v.flows, b.Flows...)
	for _, r := range b.Records {
		if _, ok := v.explained[r.Interface]; !ok {
			v.explained[r.Interface] = len(v.flows)
		}
		v.records = append(v.records, packetSeen{v.interfaces[r.Interface], r})
	}
	v.kernel, v.host = b.Kernel, b.Host
	return nil
}

func (v *viewer) until(what string, ok func() bool) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		if err := v.next(ctx); err != nil {
			v.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// sees waits for a packet at each of some places.
func (v *viewer) sees(which func(packetSeen) bool, places ...string) (found []packetSeen) {
	v.t.Helper()
	for _, place := range places {
		at := -1
		v.until(place, func() bool {
			at = slices.IndexFunc(v.records, func(r packetSeen) bool { return r.place() == place && which(r) })
			return at >= 0
		})
		found = append(found, v.records[at])
	}
	return found
}

func probe(t testing.TB, w host.World, p topo.Probe) {
	t.Helper()
	if res, err := w.Probe(t.Context(), p); err != nil || !res.OK {
		t.Fatalf("%+v, %v", res, err)
	}
}

func ping(to string) topo.Probe { return topo.Probe{From: "host1", Kind: topo.ProbePing, To: to} }

// is4 says whether an IPv4 packet of a protocol follows the header.
func is4(header int, proto byte) func(packetSeen) bool {
	return func(r packetSeen) bool {
		return len(r.Data) > header+20 && r.Data[header]>>4 == 4 && r.Data[header+9] == proto
	}
}

const etherHeader = 14

// A tag that the kernel keeps beside the packet stands in its place again.
func TestCapturePutsVLANTagsBack(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", nil)
	line := "ip link add link eth0 name eth0.10 type vlan id 10 && ip addr add 10.10.0.%s/24 dev eth0.10 && ip link set eth0.10 up"
	r, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"sh", "-c", fmt.Sprintf(line, "10")}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(r.Stderr), "Unknown device type") {
		t.Skip("kernel lacks: VLANs (CONFIG_VLAN_8021Q)")
	}
	apply(t, w, on("host2", topo.Run{Argv: []string{"sh", "-c", fmt.Sprintf(line, "20")}}))
	v := openCapture(t, w, host.CaptureRequest{Snap: 60})
	probe(t, w, ping("10.10.0.20"))
	inside := v.sees(is4(etherHeader, 1), "host1:eth0.10 out", "host2:eth0.10 in")
	tagged := v.sees(is4(etherHeader+4, 1), "host1:eth0 out", "host2:eth0 in")
	for i, r := range tagged {
		if tag := binary.BigEndian.Uint32(r.Data[12:]); tag != 0x8100_000a || r.Length != inside[i].Length+4 || len(r.Data) != 60 {
			t.Errorf("at %s the tag is %x, the length %d of which %d are kept; without it %d", r.place(), tag, r.Length, len(r.Data), inside[i].Length)
		}
	}
}

// far gives the other machine an address.
var far = []topo.Placed{on("host2", addr(topo.VerbAdd, "10.0.0.20/24", "eth0"))}

// A TUN device has no Ethernet; around it is UDP whose checksum is left to hardware
// that isn't there.
func TestCaptureOfATunnel(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", far)
	line := "socat UDP:10.0.0.%d:9000,bind=10.0.0.%d:9000 TUN:172.16.%d.1/16,tun-name=tun0,iff-no-pi,iff-up,tun-type=tun"
	v := openCapture(t, w, host.CaptureRequest{})
	quiet := topo.Sysctl{Key: "net.ipv6.conf.default.disable_ipv6", Value: "1"} // or tun0 speaks before the other end listens, and socat gives up
	apply(t, w, on("host1", quiet), on("host2", quiet),
		on("host1", topo.Run{Argv: strings.Fields(fmt.Sprintf(line, 20, 10, 1)), Background: true}), on("host1", up("tun0")),
		on("host2", topo.Run{Argv: strings.Fields(fmt.Sprintf(line, 10, 20, 2)), Background: true}), on("host2", up("tun0")))
	eventually(t, "the tunnel does not carry", func() bool {
		res, err := w.Probe(t.Context(), ping("172.16.2.1"))
		return err == nil && res.OK
	})
	for _, r := range v.sees(is4(0, 1), "host1:tun0 out", "host2:tun0 in") {
		if r.Hardware != host.HardwareNone || r.Length != 84 {
			t.Errorf("at %s are %d bytes of hardware %d", r.place(), r.Length, r.Hardware)
		}
	}
	for _, r := range v.sees(is4(etherHeader, 17), "host1:eth0 out", "host2:eth0 in") {
		if !r.Unfinished {
			t.Errorf("the checksum at %s counts as finished", r.place())
		}
	}
}

// What conntrack knows of translations comes not later than the packets.
func TestCaptureTellsTranslations(t *testing.T) {
	for what, p := range map[string]topo.Probe{
		"ICMP": {From: "host1", Kind: topo.ProbePing, To: "8.8.8.8"},
		"TCP":  {From: "host1", Kind: topo.ProbeHTTP, To: "http://8.8.8.8/"},
	} {
		t.Run(what, func(t *testing.T) {
			w := internet(t, openHost(t))
			apply(t, w, on("r1", topo.Run{Argv: []string{"iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE"}}))
			v := openCapture(t, w, host.CaptureRequest{})
			probe(t, w, p)
			translated := func(r packetSeen) bool {
				return is4(etherHeader, r.Data[min(len(r.Data)-1, etherHeader+9)])(r) && netip.AddrFrom4([4]byte(r.Data[26:30])) == ip("203.0.113.1")
			}
			v.sees(translated, "r1:eth1 out", "internet:eth0 in")
			for _, i := range v.interfaces {
				if (i.Node == "internet" && i.Link == "eth0" || i.Link == "eth1") && v.explained[i.ID] == 0 {
					t.Errorf("a packet at %s:%s came before its translation", i.Node, i.Link)
				}
			}
			at := slices.IndexFunc(v.flows, func(f host.Flow) bool { return !f.Gone && f.Original.Dst.Addr() == ip("8.8.8.8") })
			if at < 0 {
				t.Fatalf("the flows are %+v", v.flows)
			}
			f := v.flows[at]
			if f.Node != "r1" || f.Original.Src.Addr() != ip("10.0.0.10") || f.Reply.Dst.Addr() != ip("203.0.113.1") || f.Reply.Src.Addr() != ip("8.8.8.8") ||
				f.Original.Src.Port() == 0 || what == "TCP" && (f.Protocol != 6 || f.Original.Dst.Port() != 80) || what == "ICMP" && f.Protocol != 1 {
				t.Errorf("the flow is %+v", f)
			}
			late := openCapture(t, w, host.CaptureRequest{})
			late.until("the translation that there is", func() bool { return slices.Contains(late.flows, f) })
			apply(t, w, on("r1", topo.Run{Argv: []string{"ip", "link", "set", "eth1", "down"}})) // masquerading forgets
			probe(t, w, ping("10.0.0.1"))
			f.Gone = true
			v.until("its end", func() bool { return slices.Contains(v.flows, f) })
		})
	}
}

// An interface that is renamed is another one.
func TestCaptureOfARenamedInterface(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", far)
	v := openCapture(t, w, host.CaptureRequest{})
	probe(t, w, ping("10.0.0.20"))
	old := v.sees(is4(etherHeader, 1), "host1:eth0 out")[0]
	apply(t, w, on("host1", topo.LinkSet{Name: "eth0", State: "down"}), on("host1", topo.LinkSet{Name: "eth0", Rename: "uplink"}), on("host1", up("uplink")))
	probe(t, w, ping("10.0.0.20"))
	renamed := v.sees(is4(etherHeader, 1), "host1:uplink out")[0]
	if old.ID == renamed.ID || !v.interfaces[old.ID].Gone || v.interfaces[renamed.ID].Gone {
		t.Errorf("%+v became %+v", v.interfaces[old.ID], v.interfaces[renamed.ID])
	}
}

// A namespace that goes is let go at once, not at the next tick: its cable
// vanishes. That is so for one that has no name but a process, too.
func TestCapturePinsNothing(t *testing.T) {
	for what, line := range map[string]struct{ make, end string }{
		"a name":    {"ip netns add kon && ip link add veth1 type veth peer name veth2 netns kon", "ip netns del kon"},
		"a process": {"unshare -n sleep 1000 & echo $! >/tmp/pid; while [ $(readlink /proc/$!/ns/net) = $(readlink /proc/self/ns/net) ]; do :; done; ip link add veth1 type veth peer name veth2 netns $!; exec >&- 2>&-", "kill -9 $(cat /tmp/pid)"},
	} {
		t.Run(what, func(t *testing.T) {
			h := openHost(t)
			h.tick = time.Hour
			w := smallWorld(t, h, "w", nil).(*World)
			v := openCapture(t, w, host.CaptureRequest{})
			apply(t, w, on("host1", topo.Run{Argv: []string{"sh", "-c", line.make}}))
			sources := func() (n int) {
				c := v.capture.(*capture)
				c.mu.Lock()
				defer c.mu.Unlock()
				return len(c.sources)
			}
			eventually(t, "it is not captured from", func() bool { return sources() == 3 })
			if err := w.captures.covered(t.Context()); err != nil {
				t.Fatal(err)
			}
			shell(t, w, line.end)
			eventually(t, "it is kept", func() bool { return shell(t, w, "ip -o link show type veth | grep veth1; true") == "" })
			if n := sources(); n != 2 {
				t.Errorf("%d namespaces are captured from", n)
			}
		})
	}
}

// packetSockets counts those of a world's machines.
func packetSockets(t testing.TB, w host.World) (n int) {
	t.Helper()
	for _, m := range w.(*World).machines {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/packet", m.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(table), "\n") - 1 // the first line is the heading
	}
	return n
}

// Who does not capture has no packet socket, and so no timer; who does has one
// for each namespace.
func TestCaptureCostsNothingWhereNobodyCaptures(t *testing.T) {
	h := openHost(t)
	var worlds []host.World
	for i := range 3 {
		worlds = append(worlds, smallWorld(t, h, fmt.Sprint("w", i), nil))
		watch(t, worlds[i])
	}
	v := openCapture(t, worlds[0], host.CaptureRequest{})
	for i, want := range []int{2, 0, 0} {
		if n := packetSockets(t, worlds[i]); n != want {
			t.Errorf("world %d has %d packet sockets, want %d", i, n, want)
		}
	}
	if err := v.capture.Close(); err != nil {
		t.Fatal(err)
	}
	if n := packetSockets(t, worlds[0]); n != 0 {
		t.Errorf("%d packet sockets are left", n)
	}
	if h.poker.targets == nil {
		t.Error("the world is watched no more")
	}
}

// flood sends n datagrams into a namespace's device, from outside its stack.
func flood(t testing.TB, ns int, link string, n int) {
	t.Helper()
	home, err := openHome()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(int(home))
	err = home.inside(ns, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		ifr, err := unix.NewIfreq(link)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
			return err
		}
		frame := append(slices.Repeat([]byte{2}, 12), 0x88, 0xb5) // an Ethernet type for experiments: nobody takes it
		frame = append(frame, make([]byte, 50)...)
		for i := range n {
			binary.BigEndian.PutUint32(frame[14:], uint32(i))
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: int(ifr.Uint32())}); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// experimental is a filter for the frames of flood.
var experimental = []host.Instruction{{Op: 0x28, K: 12}, {Op: 0x15, Jf: 1, K: 0x88b5}, {Op: 6, K: 0x40000}, {Op: 6}}

// Every packet is told of, or counted as dropped: none is lost in silence.
func TestCaptureCountsWhatItDrops(t *testing.T) {
	const packets = 40_000
	w := smallWorld(t, openHost(t), "w", nil)
	v := openCapture(t, w, host.CaptureRequest{Filter: experimental})
	flood(t, w.(*World).machines[0].NetNS(), "eth0", packets) // nobody reads meanwhile
	v.until("the last packet", func() bool { return uint64(len(v.records))+v.kernel+v.host == 2*packets })
	if v.host == 0 {
		t.Error("all fits into the queue")
	}
	last := v.records[len(v.records)-1]
	if i := binary.BigEndian.Uint32(last.Data[14:]); i != packets-1 {
		t.Errorf("the last packet is number %d", i)
	}
}

// A ring that nobody empties fills up, and the kernel says how much it dropped.
func TestRingCountsWhatTheKernelDrops(t *testing.T) {
	const packets = 40_000
	w := smallWorld(t, openHost(t), "w", nil).(*World)
	ns := w.machines[0].NetNS()
	r, err := host.CaptureRequest{Node: "host1", Filter: experimental}.Normal()
	if err != nil {
		t.Fatal(err)
	}
	var o *ring
	if err := w.host.home.inside(ns, func() (err error) {
		o, err = openRing(r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	flood(t, ns, "eth0", packets)
	got, next := uint64(0), uint32(0)
	each := func(p *caught) {
		got++
		i := binary.BigEndian.Uint32(p.data[14:])
		if i < next {
			t.Fatalf("packet %d comes after %d", i, next-1)
		}
		next = i + 1
	}
	for b, ok := o.ready(); ok; b, ok = o.ready() {
		b.each(each)
		o.give(b)
	}
	o.stop().each(each)
	if dropped := o.dropped(); dropped == 0 || got+dropped != packets {
		t.Errorf("%d of %d packets were caught, %d dropped", got, packets, dropped)
	}
	o.interrupt()
	if err := o.wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("waiting after an interrupt: %v", err)
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
}

// The packets that the kernel still holds when a world ends are told of.
func TestCaptureGetsTheRestOfAWorld(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", nil)
	v := openCapture(t, w, host.CaptureRequest{Filter: experimental, Retire: host.MaxRetire})
	flood(t, w.(*World).machines[0].NetNS(), "eth0", 10)
	if err := w.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		if err := v.next(t.Context()); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
	}
	if len(v.records) != 20 {
		t.Errorf("%d packets of 20", len(v.records))
	}
}

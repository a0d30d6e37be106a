package kernel

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

func apply(t testing.TB, w host.World, ops ...topo.Placed) {
	t.Helper()
	if _, err := w.Apply(t.Context(), ops); err != nil {
		t.Fatal(err)
	}
}

// shell types a line on host1.
func shell(t testing.TB, w host.World, line string) string {
	t.Helper()
	r, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"sh", "-c", line}})
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode != 0 {
		t.Errorf("%s: exit code %d: %s", line, r.ExitCode, r.Stderr)
	}
	return string(r.Stdout)
}

func snapshot(t testing.TB, w host.World) topo.Snapshot {
	t.Helper()
	s, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// view follows a watch.
type view struct {
	t       testing.TB
	updates <-chan topo.Update
	now     topo.Snapshot
}

func watch(t testing.TB, w host.World) *view {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	updates, err := w.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &view{t: t, updates: updates}
}

// until reads updates until the picture is right.
func (v *view) until(what string, ok func(topo.Snapshot) bool) {
	v.t.Helper()
	late := time.After(10 * time.Second)
	for v.now.Revision == 0 || !ok(v.now) {
		select {
		case u, open := <-v.updates:
			switch {
			case !open:
				v.t.Fatalf("the watch ended while waiting for %s", what)
			case u.Snapshot != nil:
				v.now = *u.Snapshot
			default:
				next, err := u.Diff.Apply(v.now)
				if err != nil {
					v.t.Fatal(err)
				}
				v.now = next
			}
		case <-late:
			v.t.Fatalf("never seen: %s; nodes are %v", what, ids(v.now))
		}
	}
}

func ids(s topo.Snapshot) []topo.NodeID {
	var out []topo.NodeID
	for _, n := range s.Nodes {
		out = append(out, n.ID)
	}
	return out
}

func TestNamespacesOfTheShellAppearAndGo(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", nil)
	v := watch(t, w)
	shell(t, w, "ip netns add zoo && ip netns add ant && ip netns add mid")
	v.until("named namespaces in the order of their creation", func(s topo.Snapshot) bool {
		return slices.Equal(ids(s), []topo.NodeID{"host1", "host1/zoo", "host1/ant", "host1/mid", "host2"})
	})
	shell(t, w, "ip netns del ant")
	v.until("a namespace less", func(s topo.Snapshot) bool {
		return slices.Equal(ids(s), []topo.NodeID{"host1", "host1/zoo", "host1/mid", "host2"})
	})
	apply(t, w, on("host1", topo.Run{Argv: []string{"unshare", "-n", "sleep", "1000"}, Background: true}))
	var hidden topo.NodeID
	v.until("a namespace without a name", func(s topo.Snapshot) bool {
		for _, n := range s.Nodes {
			if strings.HasPrefix(string(n.ID), "host1/net-") {
				hidden = n.ID
			}
		}
		return hidden != ""
	})
	apply(t, w, on(hidden, up("lo")))
	v.until("a change in it", func(s topo.Snapshot) bool { n := s.Node(hidden); return n != nil && n.Link("lo").Up })
	shell(t, w, "pkill -x sleep")
	v.until("its end", func(s topo.Snapshot) bool { return s.Node(hidden) == nil })
}

func TestChangesOfTheShellAreSeen(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", port)
	v := watch(t, w)
	for _, c := range []struct {
		line string
		seen func(*topo.Node, *topo.Node) bool // host1, kon
	}{
		{"ip addr add 172.16.0.1/24 dev br0", func(h, _ *topo.Node) bool { return slices.Contains(h.Link("br0").Addresses, prefix("172.16.0.1/24")) }},
		{"ip link add dangling type veth peer name loose", func(h, _ *topo.Node) bool { return h.Link("loose") != nil && h.Link("loose").Peer == "host1:dangling" }},
		{"ip link set loose up", func(h, _ *topo.Node) bool { return h.Link("loose").Up }},
		{"ip route add 192.0.2.0/24 via 10.0.0.20", func(h, _ *topo.Node) bool {
			return slices.ContainsFunc(h.Routes, func(r topo.Route) bool { return r.Via == ip("10.0.0.20") })
		}},
		{"ip neigh add 10.0.0.99 lladdr " + macA + " dev eth0", func(h, _ *topo.Node) bool {
			return slices.ContainsFunc(h.Neighbours, func(n topo.Neighbour) bool { return n.MAC == macA && n.State == "permanent" })
		}},
		{"bridge fdb add " + macB + " dev veth1 master static", func(h, _ *topo.Node) bool {
			return slices.ContainsFunc(h.FDB, func(e topo.FDBEntry) bool { return e.MAC == macB && e.Master == "br0" && e.State == "static" })
		}},
		{"sysctl -qw net.ipv4.ip_forward=1", func(h, _ *topo.Node) bool { return h.Sysctls["net.ipv4.ip_forward"] == "1" }},
		{"sysctl -qw net.bridge.bridge-nf-call-iptables=0", func(h, _ *topo.Node) bool { return h.Sysctls["net.bridge.bridge-nf-call-iptables"] == "0" }},
		{"ip rule add from 10.9.0.0/16 lookup 9 priority 9", func(h, _ *topo.Node) bool {
			return slices.Equal(h.Rules, []topo.Rule{{Priority: 9, Text: "from 10.9.0.0/16 lookup 9"}})
		}},
		{"iptables -A FORWARD -i br0 -j DROP", func(h, _ *topo.Node) bool {
			return slices.ContainsFunc(h.Firewall, func(c topo.Chain) bool { return len(c.Rules) > 0 && c.Rules[0].Text == "-A FORWARD -i br0 -j DROP" })
		}},
		{"socat UDP-LISTEN:9000 - </dev/null >/dev/null 2>&1 & socat TCP-LISTEN:5000,fork - >/dev/null 2>&1 &", func(h, _ *topo.Node) bool {
			return slices.ContainsFunc(h.Sockets, func(s topo.Socket) bool { return s.Protocol == "tcp" && s.Local.Port() == 5000 })
		}},
		{"nsenter --net=/run/netns/kon ip addr add 172.16.0.2/24 dev veth2", func(_, k *topo.Node) bool { return slices.Contains(k.Link("veth2").Addresses, prefix("172.16.0.2/24")) }},
		{"ping -qc2 -i0.01 172.16.0.2 >/dev/null", func(h, k *topo.Node) bool {
			return h.Counters["Icmp.InEchoReps"] == 2 && k.Counters["Icmp.InEchos"] == 2
		}},
		{"ip link add m0 link eth0 type macvlan mode bridge", func(h, _ *topo.Node) bool {
			return h.Link("m0") != nil && h.Link("m0").Parent == "eth0" && h.Link("m0").Mode == "bridge"
		}},
		{"ip link set m0 netns kon", func(_, k *topo.Node) bool { return k.Link("m0") != nil && k.Link("m0").Parent == "host1:eth0" }},
		{"ip link del dangling", func(h, _ *topo.Node) bool { return h.Link("loose") == nil }},
	} {
		shell(t, w, c.line)
		v.until(c.line, func(s topo.Snapshot) bool {
			h, k := s.Node("host1"), s.Node("host1/kon")
			return h != nil && k != nil && c.seen(h, k)
		})
	}
}

func TestPeersAreFoundWhereIndexesAreEqual(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", append(slices.Clone(twoKons), on("host1", topo.NetnsAdd{Name: "kon3"})))
	for _, pair := range []struct{ a, b string }{{"kon", "kon2"}, {"kon2", "kon3"}, {"kon3", "kon"}, {"kon", "kon2"}} {
		apply(t, w, on(topo.NodeID("host1/"+pair.a), topo.LinkAdd{Name: "to-" + pair.b, Kind: "veth", Peer: "from-" + pair.a, PeerNetns: pair.b}))
		s := snapshot(t, w)
		for _, n := range s.Nodes {
			for _, l := range n.Links {
				if direction, other, ok := strings.Cut(l.Name, "-"); ok {
					back := map[string]string{"to": "from-", "from": "to-"}[direction] + n.ID.Netns()
					if want := topo.Link(n.ID.In(other), back); l.Peer != want {
						t.Errorf("the peer of %s:%s is %q, want %q", n.ID, l.Name, l.Peer, want)
					}
				}
			}
		}
		if pair.a == "kon3" {
			apply(t, w, on("host1/kon", topo.LinkDel{Name: "to-kon2"})) // its indexes are used again by the last pair
		}
	}
}

func TestAnInterfaceOfABackgroundProgramIsWaitedFor(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", nil)
	apply(t, w,
		on("host1", topo.Run{Argv: []string{"sh", "-c", "sleep 0.3; exec socat UDP:10.0.0.20:9000,bind=10.0.0.10:9000 TUN:172.16.0.1/16,tun-name=tun0,iff-no-pi,iff-up,tun-type=tun"}, Background: true}),
		on("host1", topo.LinkSet{Name: "tun0", State: "up", MTU: 1492}))
	s := snapshot(t, w)
	if l := s.Node("host1").Link("tun0"); l.Kind != "tun" || l.MTU != 1492 || !l.Up {
		t.Errorf("tun0 is %+v", l)
	}
	_, err := w.Apply(t.Context(), []topo.Placed{on("host1", topo.Run{Argv: []string{"true"}, Background: true}), on("host1", up("tun1"))})
	if host.CodeOf(err) != host.CodeOpFailed || !strings.Contains(err.Error(), "Cannot find device") {
		t.Errorf("an interface that never comes: %v", err)
	}
}

// TestWatchedIsWhatIsThere types and presses at random and compares what the
// events led to with a reading that knows nothing from before.
func TestWatchedIsWhatIsThere(t *testing.T) {
	h := openHost(t)
	h.tick = time.Hour // events alone must do
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		w := smallWorld(t, h, fmt.Sprint("w", n), nil)
		v := watch(t, w)
		space := rapid.SampledFrom([]string{"a", "b"})
		link := rapid.SampledFrom([]string{"v0", "v1", "br", "lo"})
		for range rapid.IntRange(1, 12).Draw(rt, "changes") {
			line := rapid.OneOf(
				rapid.Map(space, func(s string) string { return "ip netns add " + s }),
				rapid.Map(space, func(s string) string { return "ip netns del " + s }),
				rapid.Map(space, func(s string) string { return "ip link add v0 type veth peer name v1 netns " + s }),
				rapid.Map(space, func(s string) string { return "ip link set v1 netns " + s }),
				rapid.Map(link, func(s string) string { return "ip link set " + s + " up" }),
				rapid.Map(link, func(s string) string { return "ip link set " + s + " master br" }),
				rapid.Map(link, func(s string) string { return "ip link del " + s }),
				rapid.Map(link, func(s string) string { return "ip addr add 172.16.0.1/24 dev " + s }),
				rapid.Map(space, func(s string) string { return "nsenter --net=/run/netns/" + s + " ip link set v1 up" }),
				rapid.SampledFrom([]string{"ip link add br type bridge", "ip addr flush dev v0", "ip route add 192.0.2.0/24 via 172.16.0.2",
					"sysctl -qw net.ipv4.ip_forward=1", "iptables -P FORWARD DROP", "iptables -F"}),
			).Draw(rt, "line")
			if _, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"sh", "-c", line}}); err != nil {
				rt.Fatal(err)
			}
		}
		var fresh topo.Snapshot
		late := time.Now().Add(10 * time.Second)
		v.until("what a fresh reading shows", func(s topo.Snapshot) bool {
			fresh = scratch(t, w.(*World))
			if time.Now().After(late) {
				rt.Fatalf("the watcher has %+v, a fresh reading is %+v", s.Normal(), fresh)
			}
			return s.Normal().Equal(fresh)
		})
		if err := w.Destroy(t.Context()); err != nil {
			rt.Fatal(err)
		}
	})
}

// scratch reads a world without anything kept from before.
func scratch(t testing.TB, w *World) topo.Snapshot {
	t.Helper()
	w.reading.Lock()
	defer w.reading.Unlock()
	kept := w.picture
	w.picture = newPicture()
	defer func() { w.picture = kept }()
	nodes, err := w.read(readAll)
	if err != nil {
		t.Fatal(err)
	}
	return topo.Snapshot{Nodes: nodes}.Normal()
}

func TestNothingRunsForAnUnwatchedWorld(t *testing.T) {
	h := openHost(t)
	w := smallWorld(t, h, "w", cable).(*World)
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		if _, err := w.Watch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	eventually(t, "the observer stays", func() bool {
		w.watching.Lock()
		defer w.watching.Unlock()
		return w.watchers == 0 && len(h.poker.targets) == 0
	})
	// and starts again
	v := watch(t, w)
	shell(t, w, "ip link set veth1 mtu 1234")
	v.until("a change after a pause", func(s topo.Snapshot) bool { return s.Node("host1").Link("veth1").MTU == 1234 })
}

func TestAWatchedNamespaceIsNotPinned(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", cable)
	v := watch(t, w)
	v.until("the cable", func(s topo.Snapshot) bool { return s.Node("host1/kon") != nil })
	apply(t, w, on("host1", topo.NetnsDel{Name: "kon"}))
	v.until("the end of the cable", func(s topo.Snapshot) bool { return s.Node("host1").Link("veth1") == nil })
}

// internet is a host behind a router and the internet behind that.
func internet(t testing.TB, h *Host) host.World {
	t.Helper()
	w, err := h.Create(t.Context(), host.Spec{
		ID: "net",
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "sw", Kind: topo.KindSwitch}, {Name: "r1", Kind: topo.KindRouter},
			{Name: "internet", Kind: topo.KindInternet}, {Name: "laptop", Kind: topo.KindLaptop}},
		Wires: []topo.Wire{{A: "host1:eth0", B: "sw:port1"}, {A: "sw:port2", B: "r1:eth0"}, {A: "sw:port3", B: "laptop:eth0"}, {A: "r1:eth1", B: "internet:eth0"}},
		Setup: []topo.Placed{
			on("host1", addr(topo.VerbAdd, "10.0.0.10/24", "eth0")), on("host1", add("default", topo.Route{Via: ip("10.0.0.1")})),
			on("laptop", addr(topo.VerbAdd, "10.0.0.30/24", "eth0")),
			on("r1", addr(topo.VerbAdd, "10.0.0.1/24", "eth0")), on("r1", addr(topo.VerbAdd, "203.0.113.1/24", "eth1")),
			on("r1", add("8.8.8.8/32", topo.Route{Via: ip("203.0.113.8")})),
			on("internet", addr(topo.VerbAdd, "203.0.113.8/24", "eth0")), on("internet", addr(topo.VerbAdd, "8.8.8.8/32", "lo")),
			on("internet", add("10.0.0.0/24", topo.Route{Via: ip("203.0.113.1")})),
			on("host1", addr(topo.VerbAdd, "fd00::10/64", "eth0")), on("laptop", addr(topo.VerbAdd, "fd00::30/64", "eth0")),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestProbes(t *testing.T) {
	w := internet(t, openHost(t))
	type result struct {
		reason topo.Reason
		detail []string
	}
	for _, c := range []struct {
		name   string
		before []topo.Placed
		probe  topo.Probe
		want   result
	}{
		{"the internet", nil, topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8", Count: 3}, result{}},
		{"the smallest ping", nil, topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8", Size: 1}, result{}},
		{"the largest ping that fits", nil, topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8", Size: 1472, DontFragment: true}, result{}},
		{"one byte more", nil, topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8", Size: 1473, DontFragment: true}, result{topo.ReasonTooBig, nil}},
		{"one byte more, in fragments", nil, topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8", Size: 1473}, result{}},
		{"IPv6, behind duplicate address detection", nil, topo.Probe{Kind: topo.ProbePing, To: "fd00::30", Count: 4}, result{}},
		{"IPv6 without a route", nil, topo.Probe{Kind: topo.ProbePing, To: "fd99::1"}, result{topo.ReasonNetUnreachable, nil}},
		{"a name of a server", nil, topo.Probe{Kind: topo.ProbeDNS, To: "example.test@203.0.113.8"}, result{"", []string{"203.0.113.80"}}},
		{"a name", nil, topo.Probe{Kind: topo.ProbeDNS, To: "example.test"}, result{"", []string{"203.0.113.80"}}},
		{"no such name", nil, topo.Probe{Kind: topo.ProbeDNS, To: "nope.test@203.0.113.8"}, result{topo.ReasonNoName, nil}},
		{"no DNS server there", nil, topo.Probe{Kind: topo.ProbeDNS, To: "example.test@10.0.0.30"}, result{topo.ReasonPortUnreachable, nil}},
		{"a page", nil, topo.Probe{Kind: topo.ProbeHTTP, To: "http://8.8.8.8/"}, result{"", []string{"200 OK"}}},
		{"no web server there", nil, topo.Probe{Kind: topo.ProbeHTTP, To: "http://10.0.0.30/"}, result{topo.ReasonRefused, nil}},
		{"TCP", nil, topo.Probe{Kind: topo.ProbeTCP, To: "8.8.8.8:80"}, result{}},
		{"UDP to nobody", nil, topo.Probe{Kind: topo.ProbeUDP, To: "10.0.0.1:9"}, result{topo.ReasonPortUnreachable, nil}},
		{"the way", nil, topo.Probe{Kind: topo.ProbeTraceroute, To: "8.8.8.8"}, result{"", []string{"10.0.0.1", "8.8.8.8"}}},
		{"the way is too long", nil, topo.Probe{Kind: topo.ProbeTraceroute, To: "8.8.8.8", Count: 1}, result{topo.ReasonTTL, []string{"10.0.0.1"}}},
		{"the router's word of a narrow link", []topo.Placed{on("r1", topo.LinkSet{Name: "eth1", MTU: 1000})},
			topo.Probe{Kind: topo.ProbePing, To: "203.0.113.8", Size: 1200, DontFragment: true}, result{topo.ReasonTooBig, []string{"10.0.0.1"}}},
		{"a router without a route", nil, topo.Probe{Kind: topo.ProbePing, To: "198.51.100.1"}, result{topo.ReasonNetUnreachable, []string{"10.0.0.1"}}},
		{"nobody behind the router", nil, topo.Probe{Kind: topo.ProbePing, To: "10.0.0.77"}, result{topo.ReasonHostUnreachable, nil}},
		{"TCP to nobody", nil, topo.Probe{Kind: topo.ProbeTCP, To: "10.0.0.78:80"}, result{topo.ReasonHostUnreachable, nil}},
		{"a rule that rejects", []topo.Placed{on("r1", topo.Run{Argv: []string{"iptables", "-I", "FORWARD", "-p", "icmp", "-j", "REJECT", "--reject-with", "icmp-admin-prohibited"}})},
			topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8"}, result{topo.ReasonProhibited, []string{"10.0.0.1"}}},
		{"a rule that drops", []topo.Placed{on("r1", topo.Run{Argv: []string{"iptables", "-I", "FORWARD", "-j", "DROP"}})},
			topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8"}, result{topo.ReasonTimeout, nil}},
		{"a way that ends in silence", nil, topo.Probe{Kind: topo.ProbeTraceroute, To: "8.8.8.8", Count: 2}, result{topo.ReasonTimeout, []string{"10.0.0.1", "*"}}},
		{"a rule of one's own", []topo.Placed{on("host1", topo.Run{Argv: []string{"iptables", "-I", "OUTPUT", "-p", "icmp", "-j", "DROP"}})},
			topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8"}, result{topo.ReasonProhibited, nil}},
		{"a route that prohibits", []topo.Placed{on("host1", add("192.0.2.0/24", topo.Route{Type: "prohibit"}))},
			topo.Probe{Kind: topo.ProbeTCP, To: "192.0.2.1:80"}, result{topo.ReasonProhibited, nil}},
		{"no route", []topo.Placed{on("host1", changed(topo.VerbDel, "default", topo.Route{}))},
			topo.Probe{Kind: topo.ProbePing, To: "8.8.8.8"}, result{topo.ReasonNetUnreachable, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			apply(t, w, c.before...)
			c.probe.From = "host1"
			got, err := w.Probe(t.Context(), c.probe)
			if err != nil {
				t.Fatal(err)
			}
			if got.Reason != c.want.reason || got.OK != (got.Reason == "") || !slices.Equal(got.Detail, c.want.detail) {
				t.Errorf("ok %v, reason %q, detail %q; want %q, %q", got.OK, got.Reason, got.Detail, c.want.reason, c.want.detail)
			}
		})
	}
}

// TestProbesNeverLeaveTheWorld asks for what could tempt a probe to use the
// machine's own network or resolver.
func TestProbesNeverLeaveTheWorld(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", nil)
	for _, p := range []topo.Probe{
		{Kind: topo.ProbePing, To: "localhost"}, {Kind: topo.ProbePing, To: "example.com"}, {Kind: topo.ProbePing, To: "fe80::1%eth0"},
		{Kind: topo.ProbeTCP, To: "localhost:80"}, {Kind: topo.ProbeTCP, To: "10.0.0.20:http"}, {Kind: topo.ProbeTCP, To: "10.0.0.20:0"},
		{Kind: topo.ProbeUDP, To: ":53"}, {Kind: topo.ProbeHTTP, To: "https://10.0.0.20/"}, {Kind: topo.ProbeHTTP, To: "file:///etc/passwd"},
		{Kind: topo.ProbeHTTP, To: "http:///"}, {Kind: topo.ProbeDNS, To: "example.test@resolver"}, {Kind: topo.ProbeDNS, To: "10.0.0.1"},
		{Kind: topo.ProbeTraceroute, To: "host2"}, {Kind: topo.ProbeTraceroute, To: "10.0.0.20", Count: 31}, {Kind: topo.ProbePing, To: "10.0.0.20", Size: 70000},
	} {
		p.From = "host1"
		if got, err := w.Probe(t.Context(), p); host.CodeOf(err) != host.CodeInvalid {
			t.Errorf("%s to %q: %+v, %v", p.Kind, p.To, got, err)
		}
	}
	got, err := w.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbeHTTP, To: "http://example.test/"})
	if err != nil || got.OK || got.Reason != topo.ReasonNetUnreachable {
		t.Errorf("a name without a way to the world's resolver: %+v, %v", got, err)
	}
}

func TestSysctlPaths(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":                "/proc/sys/net/ipv4/ip_forward",
		"net/ipv4/ip_forward":                "/proc/sys/net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/10.rp_filter":    "/proc/sys/net/ipv4/conf/eth0.10/rp_filter",
		"net/ipv4/conf/eth0.10/rp_filter":    "/proc/sys/net/ipv4/conf/eth0.10/rp_filter",
		"net.bridge.bridge-nf-call-iptables": "/proc/sys/net/bridge/bridge-nf-call-iptables",
		"kernel.hostname":                    "",
		"net":                                "",
		"net.ipv4":                           "",
		"":                                   "",
		"net//ipv4/ip_forward":               "",
		"net/../kernel/core_pattern":         "",
		"net/ipv4/../../kernel/core_pattern": "",
		"net.ipv4.//.//.kernel.core_pattern": "",
		"/proc/sys/net/ipv4/ip_forward":      "",
		"net.ipv4.ip forward":                "",
		"net.ipv4.conf.eth0\x00.rp_filter":   "",
		"net.netfilter.nf_hooks_lwtunnel":    "",
	} {
		got, err := sysctlPath(key)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", key, got, err, want)
		}
	}
}

func TestRulesOfIptablesAreRead(t *testing.T) {
	got := parseSave(`# Generated by iptables-nft-save
*nat
:PREROUTING ACCEPT [1:60]
:POSTROUTING ACCEPT [2:120]
:DOCKER - [0:0]
[3:252] -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
[0:0] -A DOCKER -m comment --comment "a [b] c" -j RETURN
COMMIT
*filter
:FORWARD DROP [7:588]
[7:588] -A FORWARD -j DOCKER
COMMIT
`, "iptables", "ip")
	want := []topo.Chain{
		{Tool: "iptables", Family: "ip", Table: "nat", Name: "PREROUTING", Policy: "ACCEPT", Packets: 1, Bytes: 60},
		{Tool: "iptables", Family: "ip", Table: "nat", Name: "POSTROUTING", Policy: "ACCEPT", Packets: 2, Bytes: 120, Rules: []topo.FirewallRule{
			{Text: "-A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE", Packets: 3, Bytes: 252}}},
		{Tool: "iptables", Family: "ip", Table: "nat", Name: "DOCKER", Rules: []topo.FirewallRule{{Text: `-A DOCKER -m comment --comment "a [b] c" -j RETURN`}}},
		{Tool: "iptables", Family: "ip", Table: "filter", Name: "FORWARD", Policy: "DROP", Packets: 7, Bytes: 588, Rules: []topo.FirewallRule{
			{Text: "-A FORWARD -j DOCKER", Packets: 7, Bytes: 588}}},
	}
	wantChains(t, got, want)
}

func TestRulesOfNftAreRead(t *testing.T) {
	got := parseNft(`table inet kabel {
	set ports {
		type inet_service
		elements = { 22, 80,
			     443 }
	}

	chain in {
		type filter hook input priority filter; policy drop;
		tcp dport { 22, 80 } counter packets 5 bytes 300 accept
		tcp dport vmap { 1 : accept,
				 2 : drop }
	}

	chain plain {
		drop
	}
}
table netdev x {
	flags dormant
	chain y {
	}
}
`)
	want := []topo.Chain{
		{Tool: "nft", Family: "inet", Table: "kabel", Name: "in", Policy: "drop", Rules: []topo.FirewallRule{
			{Text: "tcp dport { 22, 80 } counter accept", Packets: 5, Bytes: 300}, {Text: "tcp dport vmap { 1 : accept, 2 : drop }"}}},
		{Tool: "nft", Family: "inet", Table: "kabel", Name: "plain", Rules: []topo.FirewallRule{{Text: "drop"}}},
		{Tool: "nft", Family: "netdev", Table: "x", Name: "y"},
	}
	wantChains(t, got, want)
}

func wantChains(t *testing.T, got, want []topo.Chain) {
	t.Helper()
	a, b := topo.Node{Firewall: got}, topo.Node{Firewall: want}
	if !a.Equal(b) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestCountersAreRead(t *testing.T) {
	got := map[string]uint64{}
	parseCounters("Ip: Forwarding ForwDatagrams\nIp: 1 17\nIcmp: InEchos Nonsense\nIcmp: 3 4\n", got)
	if len(got) != 2 || got["Ip.ForwDatagrams"] != 17 || got["Icmp.InEchos"] != 3 {
		t.Errorf("read %v", got)
	}
}

// TestACutCableIsSeenAtOnce has cables whose ends have equal indexes and
// different ones: the kernel is slow with the first kind.
func TestACutCableIsSeenAtOnce(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", append(slices.Clone(twoKons),
		on("host1/kon", topo.LinkAdd{Name: "same", Kind: "veth", Peer: "same", PeerNetns: "kon2"}),
		on("host1/kon", topo.LinkAdd{Name: "other", Kind: "veth", Peer: "far", PeerNetns: "1"}),
		on("host1/kon", addr(topo.VerbAdd, "172.16.1.1/24", "same")), on("host1/kon", addr(topo.VerbAdd, "172.16.2.1/24", "other")),
		on("host1/kon", up("same")), on("host1/kon", up("other")), on("host1/kon2", up("same")), on("host1", up("far")))).(*World)
	for i := range 10 {
		state := []string{"down", "up"}[i%2]
		apply(t, w, on("host1/kon2", topo.LinkSet{Name: "same", State: state}), on("host1", topo.LinkSet{Name: "far", State: state}))
		s := w.feed.Now()
		for _, r := range s.Node("host1/kon").Routes {
			if r.Down != (state == "down") {
				t.Errorf("the far end of %s is %s, and the route is %+v", r.Dev, state, r)
			}
		}
	}
}

// TestFirewallCounters reads them once with the rules' words and then alone.
func TestFirewallCounters(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", []topo.Placed{
		on("host2", addr(topo.VerbAdd, "10.0.0.20/24", "eth0")),
		on("host1", topo.Run{Argv: []string{"iptables", "-A", "OUTPUT", "-d", "10.0.0.99", "-j", "DROP"}}),
		on("host1", topo.Run{Argv: []string{"iptables", "-A", "OUTPUT", "-p", "icmp", "-j", "ACCEPT"}}),
		on("host1", topo.Run{Argv: []string{"nft", "add table ip kabel; add chain ip kabel out { type filter hook output priority 10; policy accept; }; add rule ip kabel out ip daddr 10.0.0.99 drop; add rule ip kabel out counter"}}),
		on("host2", topo.Run{Argv: []string{"iptables", "-P", "INPUT", "DROP"}}),
	})
	for i := range uint64(3) {
		s := snapshot(t, w)
		counts := map[string]uint64{}
		for _, node := range []topo.NodeID{"host1", "host2"} {
			for _, c := range s.Node(node).Firewall {
				key := fmt.Sprint(node, " ", c.Tool, " ", c.Table, " ", c.Name)
				if c.Policy != "" {
					counts[key] = c.Packets
				}
				for _, r := range c.Rules {
					counts[key+" "+r.Text] = r.Packets
				}
			}
		}
		for key, want := range map[string]uint64{
			"host1 iptables filter OUTPUT -A OUTPUT -d 10.0.0.99/32 -j DROP": 0,
			"host1 iptables filter OUTPUT -A OUTPUT -p icmp -j ACCEPT":       i,
			"host1 nft kabel out counter":                                    i,
			"host2 iptables filter INPUT":                                    i,
		} {
			if got, ok := counts[key]; !ok || got != want {
				t.Errorf("after %d pings %s has %d packets, %v; all are %v", i, key, got, ok, counts)
			}
		}
		if _, err := w.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseWaitsForWhatIsBeingMade(t *testing.T) {
	h := openHost(t)
	made := make(chan error)
	go func() {
		spec := twoHosts("w")
		spec.Setup = append(spec.Setup, on("host1", topo.Run{Argv: []string{"sh", "-c", "sleep 1"}}))
		_, err := h.Create(context.Background(), spec)
		made <- err
	}()
	eventually(t, "no world is begun", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.worlds) == 1
	})
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := <-made; host.CodeOf(err) != host.CodeUnavailable {
		t.Errorf("a world made while the host closes: %v", err)
	}
	if _, err := h.Create(t.Context(), twoHosts("w2")); host.CodeOf(err) != host.CodeUnavailable {
		t.Errorf("a world for a closed host: %v", err)
	}
}

// TestAWorldThatDiesIsGone kills a box from outside, as the kernel does where
// memory runs out.
func TestAWorldThatDiesIsGone(t *testing.T) {
	h := openHost(t)
	w := smallWorld(t, h, "w", cable).(*World)
	v := watch(t, w)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.machines[0].Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "PPid:")
	var boxInit int
	if _, err := fmt.Sscan(rest, &boxInit); err != nil || boxInit < 2 {
		t.Fatalf("the box's init is %d: %v", boxInit, err)
	}
	if err := unix.Kill(boxInit, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range v.updates { // until the watch ends
	}
	eventually(t, "the world is still listed", func() bool {
		ids, err := h.Worlds(t.Context())
		return err == nil && len(ids) == 0
	})
	if _, err := w.Snapshot(t.Context()); host.CodeOf(err) != host.CodeNotFound {
		t.Errorf("a snapshot of it: %v", err)
	}
}

// TestProbesDoNotWaitForEachOther sends many at once; one that gets no answer
// holds up none.
func TestProbesDoNotWaitForEachOther(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", []topo.Placed{on("host2", addr(topo.VerbAdd, "10.0.0.20/24", "eth0"))})
	var wg sync.WaitGroup
	for range 20 {
		for to, want := range map[string]topo.Reason{"10.0.0.20": "", "10.0.0.99": topo.ReasonHostUnreachable} {
			wg.Go(func() {
				got, err := w.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbePing, To: to})
				if err != nil || got.Reason != want {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Probe(ctx, topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.99"}); host.CodeOf(err) != host.CodeTimeout {
		t.Errorf("a probe that nobody waits for: %v", err)
	}
}

// TestNonsenseIsRefused applies what no command could say.
func TestNonsenseIsRefused(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", cable)
	before := snapshot(t, w).Normal()
	for _, op := range []topo.Placed{
		on("host1", topo.NetnsAdd{Name: "../etc"}), on("host1", topo.NetnsDel{Name: ""}), on("host1/kon", topo.NetnsAdd{Name: "x"}),
		on("host1", topo.LinkAdd{}), on("host1", topo.LinkAdd{Name: "a\x00b", Kind: "bridge"}), on("host1", topo.LinkAdd{Name: "a/b", Kind: "bridge"}),
		on("host1", topo.LinkAdd{Name: "v", Kind: "veth", Peer: "p\x00q"}), on("host1", topo.LinkAdd{Name: "v", Kind: "veth", PeerNetns: "kon"}),
		on("host1", topo.LinkAdd{Name: "v", Kind: "veth", Peer: "p", PeerNetns: "../../proc/1/ns/net"}), on("host1", topo.LinkAdd{Name: "v", Kind: "vxlan"}),
		on("host1", topo.LinkAdd{Name: "v", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: -1}}), on("host1", topo.LinkAdd{Name: "v", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 1, Port: 70000}}),
		on("host1", topo.LinkSet{Name: "veth1", MTU: -1}), on("host1", topo.LinkSet{Name: "veth1", State: "sideways"}), on("host1", topo.LinkSet{Name: "veth1", Rename: "a b"}),
		on("host1", topo.LinkSet{Name: "veth1", Netns: "1/../2"}), on("host1", topo.LinkSet{}),
		on("host1", topo.Address{}), on("host1", topo.Address{Verb: topo.VerbAppend, Prefix: prefix("10.9.0.1/24"), Dev: "veth1"}), on("host1", topo.AddressFlush{}),
		on("host1", topo.RouteChange{}), on("host1", add("10.9.0.0/24", topo.Route{Dev: "veth1", Table: -1})), on("host1", add("10.9.0.0/24", topo.Route{Dev: "veth1", Scope: "galaxy"})),
		on("host1", add("10.9.0.0/24", topo.Route{Dev: "veth1", Protocol: "300"})), on("host1", add("10.9.0.0/24", topo.Route{Type: "scenic"})),
		on("host1", topo.NeighbourChange{}), on("host1", topo.NeighbourChange{Verb: topo.VerbAdd, Dev: "veth1"}),
		on("host1", topo.FDBChange{}), on("host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: "1:2", Dev: "veth1"}), on("host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "veth1", State: "liquid"}),
		on("host1", topo.Sysctl{}), on("host1", topo.Sysctl{Key: "kernel.hostname", Value: "x"}), on("host1", topo.Sysctl{Key: "net/../kernel/hostname", Value: "x"}),
	} {
		_, err := w.Apply(t.Context(), []topo.Placed{op})
		if code := host.CodeOf(err); code != host.CodeOpFailed && code != host.CodeInvalid {
			t.Errorf("%T %+v: %v", op.Op, op.Op, err)
		}
	}
	if after := snapshot(t, w).Normal(); !after.Equal(before) {
		t.Errorf("they changed %+v", topo.Compare(before, after).Changed)
	}
}

// TestAWorldFullOfRulesAndRoutesCanBeRead fills tables as a hostile learner would.
func TestAWorldFullOfRulesAndRoutesCanBeRead(t *testing.T) {
	h := openHost(t)
	w := smallWorld(t, h, "w", cable)
	shell(t, w, "seq 0 9999 | awk '{print \"route add 10.\" int($1/256)+64 \".\" $1%256 \".0/24 dev veth1\"}' | ip -batch -")
	s := snapshot(t, w)
	n := s.Node("host1")
	if len(n.Routes) < tableLimit/2 || len(n.Routes) > tableLimit {
		t.Errorf("%d routes of ten thousand are shown", len(n.Routes))
	}
	if n.Sysctls["net.ipv4.ip_forward"] == "" || n.Link("veth1").Peer != "host1/kon:veth2" || s.Node("host1/kon") == nil {
		t.Error("what is read behind the long table is missing")
	}
	h.tools[nftSave] = "/bin/false"
	shell(t, w, "iptables -P FORWARD DROP; ip link set veth1 mtu 1234")
	s = snapshot(t, w)
	if l := s.Node("host1").Link("veth1"); l.MTU != 1234 {
		t.Error("rules that can't be spelt hide the rest")
	}
}

func TestWhatIsLearnedCanBeForgotten(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", []topo.Placed{on("host2", addr(topo.VerbAdd, "10.0.0.20/24", "eth0"))})
	known := func() bool {
		s := snapshot(t, w)
		return slices.ContainsFunc(s.Node("host1").Neighbours, func(n topo.Neighbour) bool { return n.IP == ip("10.0.0.20") && n.MAC != "" })
	}
	for _, flush := range []topo.NeighbourFlush{{}, {Dev: "eth0"}} {
		if _, err := w.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20"}); err != nil {
			t.Fatal(err)
		}
		if !known() {
			t.Error("a ping leaves no neighbour")
		}
		apply(t, w, on("host1", flush))
		if known() {
			t.Errorf("%s leaves the neighbour", flush.Command())
		}
	}
}

func TestEveryCounterIsThere(t *testing.T) {
	s := snapshot(t, smallWorld(t, openHost(t), "w", kon))
	for _, n := range s.Nodes {
		for name := range counters {
			if _, ok := n.Counters[name]; !ok {
				t.Errorf("%s has no %s", n.ID, name)
			}
		}
		if len(n.Counters) != len(counters) {
			t.Errorf("%s has the counters %v", n.ID, n.Counters)
		}
	}
}

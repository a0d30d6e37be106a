package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr       { return netip.MustParseAddr(s) }

func on(node topo.NodeID, op topo.Op) topo.Placed { return topo.Placed{Node: node, Op: op} }

func add(dst string, r topo.Route) topo.RouteChange { return changed(topo.VerbAdd, dst, r) }

func changed(v topo.Verb, dst string, r topo.Route) topo.RouteChange {
	if dst != "default" {
		r.Dst = prefix(dst)
	}
	return topo.RouteChange{Verb: v, Route: r}
}

func addr(v topo.Verb, p, dev string) topo.Address {
	return topo.Address{Verb: v, Prefix: prefix(p), Dev: dev}
}

func up(name string) topo.LinkSet { return topo.LinkSet{Name: name, State: "up"} }

func neigh(v topo.Verb, at, mac, dev string) topo.NeighbourChange {
	return topo.NeighbourChange{Verb: v, IP: ip(at), MAC: mac, Dev: dev}
}

const (
	macA = "02:00:00:00:00:0a"
	macB = "02:00:00:00:00:0b"
)

// The worlds in which the cases begin: host1 has eth0 10.0.0.10/24 on a wire,
// and what these add.
var (
	bare  []topo.Placed
	kon   = []topo.Placed{on("host1", topo.NetnsAdd{Name: "kon"})}
	cable = append(slices.Clone(kon),
		on("host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2", PeerNetns: "kon"}),
		on("host1", up("veth1")), on("host1/kon", up("veth2")))
	bridge = append(slices.Clone(cable),
		on("host1", topo.LinkAdd{Name: "br0", Kind: "bridge"}), on("host1", up("br0")))
	port     = append(slices.Clone(bridge), on("host1", topo.LinkSet{Name: "veth1", Master: "br0"}))
	addrs    = append(slices.Clone(cable), on("host1", addr(topo.VerbAdd, "172.16.0.1/24", "veth1")))
	tunnel   = append(slices.Clone(bare), on("host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 7, Port: 4789, Learning: true}}))
	shared   = append(slices.Clone(bare), on("host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "bridge"}))
	twoKons  = append(slices.Clone(kon), on("host1", topo.NetnsAdd{Name: "kon2"}))
	routed   = append(slices.Clone(addrs), on("host1", add("192.168.0.0/24", topo.Route{Via: ip("172.16.0.2")})))
	resolved = append(slices.Clone(addrs), on("host1", neigh(topo.VerbAdd, "172.16.0.9", macA, "veth1")))
)

// TestOpsAreTheirCommands does every op beside the command that it renders to,
// each in a world of its own: they leave equal worlds and fail in the same words.
func TestOpsAreTheirCommands(t *testing.T) {
	h := openHost(t)
	cases := []struct {
		before []topo.Placed
		node   topo.NodeID
		op     topo.Op
	}{
		{bare, "host1", topo.NetnsAdd{Name: "kon"}},
		{bare, "host1", topo.NetnsAdd{Name: "a.b-c_d@e"}},
		{kon, "host1", topo.NetnsAdd{Name: "kon"}},
		{kon, "host1", topo.NetnsAdd{Name: "aaa"}},
		{kon, "host1", topo.NetnsDel{Name: "kon"}},
		{cable, "host1", topo.NetnsDel{Name: "kon"}},
		{bare, "host1", topo.NetnsDel{Name: "kon"}},

		{bare, "host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2"}},
		{bare, "host1", topo.LinkAdd{Name: "veth7", Kind: "veth"}},
		{bare, "host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2", MAC: macA, MTU: 1400}},
		{kon, "host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "eth0", PeerNetns: "kon"}},
		{kon, "host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "eth0"}},
		{kon, "host1/kon", topo.LinkAdd{Name: "in", Kind: "veth", Peer: "out", PeerNetns: "1"}},
		{twoKons, "host1/kon", topo.LinkAdd{Name: "here", Kind: "veth", Peer: "there", PeerNetns: "kon2"}},
		{kon, "host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "p", PeerNetns: "nope"}},
		{cable, "host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "p"}},
		{bare, "host1", topo.LinkAdd{Name: "a-name-of-16-byte", Kind: "bridge"}},
		{bare, "host1", topo.LinkAdd{Name: "br0", Kind: "bridge"}},
		{bare, "host1", topo.LinkAdd{Name: "br0", Kind: "bridge", MAC: macA}},
		{bridge, "host1", topo.LinkAdd{Name: "br0", Kind: "bridge"}},
		{bare, "host1", topo.LinkAdd{Name: "x", Kind: "no-such-kind"}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 42, Remote: ip("10.0.0.20"), Local: ip("10.0.0.10"), Port: 4789, Learning: true}, VXLANDev: "eth0"}},
		{bare, "host1", topo.LinkAdd{Name: "flannel.1", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 1, Local: ip("10.0.0.10"), Port: 8472}, VXLANDev: "eth0"}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 42, Remote: ip("239.1.1.1"), Port: 4789, Learning: true}, VXLANDev: "eth0", MTU: 1400}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 42, Remote: ip("fd00::2"), Local: ip("fd00::1"), Port: 4789, Learning: true}}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 42, Learning: true}}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 42, Remote: ip("239.1.1.1"), Port: 4789}}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 1 << 24, Port: 4789}}},
		{bare, "host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 42, Port: 4789}, VXLANDev: "nope"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "bridge"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "private", MAC: macA, MTU: 1400}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "passthru"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", MTU: 9000}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "nope"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "nope", Mode: "bridge"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "lo", Mode: "bridge"}},
		{bare, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Mode: "bridge"}},
		{shared, "host1", topo.LinkAdd{Name: "m1", Kind: "macvlan", Link: "eth0", Mode: "passthru"}},
		{shared, "host1", topo.LinkAdd{Name: "m1", Kind: "macvlan", Link: "m0", Mode: "bridge"}},
		{append(slices.Clone(shared), kon...), "host1", topo.LinkSet{Name: "m0", Netns: "kon"}},
		{port, "host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "veth1", Mode: "bridge"}},
		{append(slices.Clone(bridge), shared...), "host1", topo.LinkSet{Name: "eth0", Master: "br0"}},
		{shared, "host1", topo.LinkSet{Name: "m0", State: "up"}},
		{shared, "host1", topo.LinkSet{Name: "m0", MTU: 9000}},
		{shared, "host1", topo.LinkDel{Name: "eth0"}},
		{tunnel, "host1", topo.LinkAdd{Name: "vx1", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 7, Port: 4789, Learning: true}}},

		{cable, "host1", topo.LinkDel{Name: "veth1"}},
		{cable, "host1/kon", topo.LinkDel{Name: "veth2"}},
		{port, "host1", topo.LinkDel{Name: "br0"}},
		{bare, "host1", topo.LinkDel{Name: "lo"}},
		{bare, "host1", topo.LinkDel{Name: "nope"}},
		{bare, "host1/nope", topo.LinkDel{Name: "lo"}},

		{kon, "host1/kon", up("lo")},
		{cable, "host1", topo.LinkSet{Name: "veth1", State: "down"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", MTU: 1400}},
		{cable, "host1", topo.LinkSet{Name: "veth1", MTU: 70000}},
		{cable, "host1", topo.LinkSet{Name: "veth1", MTU: 20}},
		{cable, "host1", topo.LinkSet{Name: "veth1", MAC: macB}},
		{cable, "host1", topo.LinkSet{Name: "veth1", MAC: "01:00:00:00:00:01"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", MAC: "zz"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", Rename: "outside"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", Rename: "eth0"}},
		{bridge, "host1", topo.LinkSet{Name: "veth1", Master: "br0"}},
		{bridge, "host1", topo.LinkSet{Name: "veth1", Master: "nope"}},
		{bridge, "host1", topo.LinkSet{Name: "br0", Master: "br0"}},
		{bridge, "host1", topo.LinkSet{Name: "lo", Master: "br0"}},
		{bridge, "host1", topo.LinkSet{Name: "veth1", Master: "eth0"}},
		{port, "host1", topo.LinkSet{Name: "veth1", NoMaster: true}},
		{addrs, "host1", topo.LinkSet{Name: "veth1", Netns: "kon"}},
		{cable, "host1/kon", topo.LinkSet{Name: "veth2", Netns: "1"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", Netns: "nope"}},
		{cable, "host1", topo.LinkSet{Name: "lo", Netns: "kon"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", State: "down", MTU: 1300, MAC: macA, Rename: "x"}},
		{cable, "host1", topo.LinkSet{Name: "veth1", Netns: "kon", Rename: "x"}},
		{bare, "host1", up("nope")},

		{cable, "host1", addr(topo.VerbAdd, "172.16.0.1/24", "veth1")},
		{cable, "host1", addr(topo.VerbAdd, "172.16.0.1/32", "veth1")},
		{cable, "host1", addr(topo.VerbAdd, "fd00::1/64", "veth1")},
		{cable, "host1", addr(topo.VerbAdd, "127.0.0.5/8", "lo")},
		{addrs, "host1", addr(topo.VerbAdd, "172.16.0.1/24", "veth1")},
		{addrs, "host1", addr(topo.VerbAdd, "172.16.0.7/24", "veth1")},
		{addrs, "host1", addr(topo.VerbReplace, "172.16.0.1/24", "veth1")},
		{cable, "host1", addr(topo.VerbReplace, "172.16.0.1/24", "veth1")},
		{addrs, "host1", addr(topo.VerbDel, "172.16.0.1/24", "veth1")},
		{addrs, "host1", addr(topo.VerbDel, "172.16.0.1/32", "veth1")},
		{addrs, "host1", addr(topo.VerbDel, "9.9.9.9/24", "veth1")},
		{addrs, "host1", addr(topo.VerbAdd, "172.16.0.1/24", "nope")},
		{cable, "host1", addr(topo.VerbAdd, "224.0.0.1/24", "veth1")},
		{append(slices.Clone(addrs), on("host1", addr(topo.VerbAdd, "172.16.0.7/24", "veth1")), on("host1", addr(topo.VerbAdd, "fd00::1/64", "veth1"))),
			"host1", topo.AddressFlush{Dev: "veth1"}},
		{kon, "host1/kon", topo.AddressFlush{Dev: "lo"}},
		{bare, "host1", topo.AddressFlush{Dev: "nope"}},

		{cable, "host1", add("172.16.0.1/32", topo.Route{Dev: "veth1"})},
		{addrs, "host1", add("192.168.0.0/24", topo.Route{Via: ip("172.16.0.2")})},
		{addrs, "host1", add("192.168.0.0/24", topo.Route{Via: ip("172.16.0.2"), Dev: "veth1", Src: ip("10.0.0.10"), Metric: 50, Table: 100, Protocol: "static"})},
		{addrs, "host1", add("192.168.0.0/24", topo.Route{Via: ip("172.16.0.2"), Table: 1000})},
		{addrs, "host1", add("default", topo.Route{Via: ip("172.16.0.2")})},
		{addrs, "host1", add("0.0.0.0/0", topo.Route{Dev: "veth1"})},
		{append(slices.Clone(cable), on("host1/kon", addr(topo.VerbAdd, "172.16.0.1/32", "veth2"))),
			"host1/kon", add("default", topo.Route{Via: ip("172.16.0.1"), Dev: "veth2"})},
		{cable, "host1", add("10.244.1.0/24", topo.Route{Via: ip("10.244.1.0"), Dev: "veth1", Onlink: true})},
		{cable, "host1", add("192.168.0.0/24", topo.Route{Dev: "veth1", Scope: "global"})},
		{cable, "host1", add("192.168.0.0/24", topo.Route{Dev: "veth1", Scope: "host"})},
		{cable, "host1", add("192.168.0.0/24", topo.Route{Type: "blackhole"})},
		{cable, "host1", add("192.168.0.0/24", topo.Route{Type: "unreachable"})},
		{cable, "host1", add("fd01::/64", topo.Route{Type: "prohibit"})},
		{cable, "host1", add("fd01::/64", topo.Route{Dev: "veth1"})},
		{append(slices.Clone(cable), on("host1", addr(topo.VerbAdd, "fd00::1/64", "veth1"))), "host1", add("::/0", topo.Route{Via: ip("fd00::2")})},
		{routed, "host1", add("192.168.0.0/24", topo.Route{Via: ip("172.16.0.2")})},
		{routed, "host1", changed(topo.VerbReplace, "192.168.0.0/24", topo.Route{Via: ip("172.16.0.3")})},
		{routed, "host1", changed(topo.VerbAppend, "192.168.0.0/24", topo.Route{Via: ip("172.16.0.3")})},
		{routed, "host1", changed(topo.VerbDel, "192.168.0.0/24", topo.Route{})},
		{routed, "host1", changed(topo.VerbDel, "192.168.0.0/24", topo.Route{Via: ip("172.16.0.2"), Dev: "veth1"})},
		{routed, "host1", changed(topo.VerbDel, "192.168.0.0/24", topo.Route{Via: ip("172.16.0.3")})},
		{routed, "host1", changed(topo.VerbDel, "172.16.0.0/24", topo.Route{Dev: "veth1"})},
		{routed, "host1", changed(topo.VerbDel, "default", topo.Route{})},
		{addrs, "host1", add("192.168.0.0/24", topo.Route{Via: ip("192.0.2.1")})},
		{addrs, "host1", add("192.168.0.5/24", topo.Route{Dev: "veth1"})},
		{addrs, "host1", add("192.168.0.0/24", topo.Route{Dev: "nope"})},
		{addrs, "host1", add("192.168.0.0/24", topo.Route{Dev: "veth1", Src: ip("1.2.3.4")})},
		{append(slices.Clone(bare), on("host1", topo.LinkAdd{Name: "a", Kind: "veth", Peer: "b"})), "host1", add("192.168.0.0/24", topo.Route{Dev: "a"})},

		{addrs, "host1", neigh(topo.VerbAdd, "172.16.0.9", macA, "veth1")},
		{addrs, "host1", neigh(topo.VerbAdd, "fd00::9", macA, "veth1")},
		{resolved, "host1", neigh(topo.VerbAdd, "172.16.0.9", macB, "veth1")},
		{resolved, "host1", neigh(topo.VerbReplace, "172.16.0.9", macB, "veth1")},
		{resolved, "host1", neigh(topo.VerbDel, "172.16.0.9", "", "veth1")},
		{resolved, "host1", neigh(topo.VerbDel, "172.16.0.8", "", "veth1")},
		{addrs, "host1", neigh(topo.VerbAdd, "172.16.0.9", "", "veth1")},
		{addrs, "host1", neigh(topo.VerbAdd, "172.16.0.9", macA, "nope")},
		{resolved, "host1", topo.NeighbourFlush{Dev: "veth1"}},
		{resolved, "host1", topo.NeighbourFlush{}},
		{resolved, "host1", topo.NeighbourFlush{Dev: "nope"}},

		{tunnel, "host1", topo.FDBChange{Verb: topo.VerbAppend, MAC: "00:00:00:00:00:00", Dev: "vx0", Dst: ip("10.0.0.20")}},
		{tunnel, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "vx0", Dst: ip("10.0.0.20"), State: "permanent"}},
		{tunnel, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "vx0", Dst: ip("10.0.0.20"), State: "static"}},
		{append(slices.Clone(tunnel), on("host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "vx0", Dst: ip("10.0.0.20")})),
			"host1", topo.FDBChange{Verb: topo.VerbReplace, MAC: macA, Dev: "vx0", Dst: ip("10.0.0.30")}},
		{append(slices.Clone(tunnel), on("host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "vx0", Dst: ip("10.0.0.20")})),
			"host1", topo.FDBChange{Verb: topo.VerbDel, MAC: macA, Dev: "vx0", Dst: ip("10.0.0.20")}},
		{tunnel, "host1", topo.FDBChange{Verb: topo.VerbDel, MAC: macA, Dev: "vx0"}},
		{port, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "veth1", Master: true}},
		{port, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "veth1", Master: true, State: "static"}},
		{port, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "veth1", Master: true, State: "dynamic"}},
		{port, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "nope", Master: true}},
		{cable, "host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: macA, Dev: "veth1", Master: true}},

		{bare, "host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}},
		{cable, "host1/kon", topo.Sysctl{Key: "net.ipv4.conf.veth2.rp_filter", Value: "2"}},
		{bridge, "host1", topo.Sysctl{Key: "net.bridge.bridge-nf-call-iptables", Value: "0"}},
		{append(slices.Clone(bare), on("host1", topo.LinkAdd{Name: "eth0.10", Kind: "bridge"})),
			"host1", topo.Sysctl{Key: "net.ipv4.conf.eth0/10.rp_filter", Value: "1"}},
		{append(slices.Clone(bare), on("host1", topo.LinkAdd{Name: "eth0.10", Kind: "bridge"})),
			"host1", topo.Sysctl{Key: "net/ipv4/conf/eth0.10/rp_filter", Value: "1"}},
		{bare, "host1", topo.Sysctl{Key: "net.ipv4.no_such_thing", Value: "1"}},
		{bare, "host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "yes"}},
		{bare, "host1", topo.Sysctl{Key: "net.ipv4.conf.nope.rp_filter", Value: "0"}},

		{bare, "host1", topo.Run{Argv: []string{"iptables", "-P", "FORWARD", "DROP"}}},
		{bare, "host1", topo.Run{Argv: []string{"iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "172.18.0.0/16", "!", "-o", "br0", "-j", "MASQUERADE"}}},
		{kon, "host1/kon", topo.Run{Argv: []string{"iptables-legacy", "-A", "INPUT", "-p", "icmp", "-j", "DROP"}}},
		{bare, "host1", topo.Run{Argv: []string{"nft", "add table inet kabel; add chain inet kabel c { type filter hook input priority 0; policy drop; }; add rule inet kabel c tcp dport { 22, 80 } counter accept"}}},
		{bare, "host1", topo.Run{Argv: []string{"iptables", "-A", "NOPE", "-j", "DROP"}}},
		{bare, "host1", topo.Run{Argv: []string{"ip", "rule", "add", "from", "10.0.0.0/24", "fwmark", "0x1", "iif", "eth0", "lookup", "100", "priority", "99"}}},
	}
	for i, c := range cases {
		t.Run(topo.Placed{Node: c.node, Op: c.op}.Command(), func(t *testing.T) {
			t.Parallel()
			compare(t, h, fmt.Sprint("case", i), c.before, on(c.node, c.op))
		})
	}
}

// compare does op by its command in one world and by Apply in another.
func compare(t *testing.T, h *Host, id string, before []topo.Placed, op topo.Placed) {
	typed, pressed := loneWorld(t, h, id+"-typed", before), loneWorld(t, h, id+"-pressed", before)
	said, err := typed.Exec(t.Context(), host.ExecRequest{Node: topo.NodeID(op.Node.Machine()), Argv: []string{"sh", "-c", op.Command()}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = pressed.Apply(t.Context(), []topo.Placed{op})
	var refused *host.OpError
	switch {
	case err != nil && !errors.As(err, &refused):
		t.Fatalf("the op: %v", err)
	case said.ExitCode == 0 && refused != nil:
		t.Errorf("the command is fine, but the op says %+v", refused)
	case said.ExitCode != 0 && refused == nil:
		t.Errorf("the op is fine, but the command says %s", said.Stderr)
	case refused != nil && !strings.Contains(string(said.Stderr), refused.Message):
		t.Errorf("the op says %q (%s), and the command %q", refused.Message, refused.Errno, said.Stderr)
	}
	var a, b topo.Snapshot
	eventually(t, "the worlds differ", func() bool { // linkwatch and clean-up come later than the answer
		a, b = normal(t, typed, op), normal(t, pressed, op)
		return a.Equal(b)
	})
	if !a.Equal(b) {
		for _, n := range topo.Compare(a, b).Changed {
			t.Errorf("typed   %+v", *a.Node(n.ID))
			t.Errorf("pressed %+v", *b.Node(n.ID))
		}
	}
}

// loneWorld has one machine, host1, whose eth0 is wired to itself.
func loneWorld(t testing.TB, h *Host, id string, setup []topo.Placed) host.World {
	t.Helper()
	return newWorld(t, h, host.Spec{
		ID:       host.WorldID(id),
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}},
		Wires:    []topo.Wire{{A: "host1:eth0", B: "host1:back0"}},
	}, setup)
}

// smallWorld has two machines, host1 and host2, with eth0 wired to eth0.
func smallWorld(t testing.TB, h *Host, id string, setup []topo.Placed) host.World {
	t.Helper()
	return newWorld(t, h, host.Spec{
		ID:       host.WorldID(id),
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "host2", Kind: topo.KindHost}},
		Wires:    []topo.Wire{{A: "host1:eth0", B: "host2:eth0"}},
	}, setup)
}

func newWorld(t testing.TB, h *Host, spec host.Spec, setup []topo.Placed) host.World {
	t.Helper()
	spec.Setup = append([]topo.Placed{on("host1", addr(topo.VerbAdd, "10.0.0.10/24", "eth0"))}, setup...)
	w, err := h.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Destroy(t.Context()) }) // it may be gone already
	return w
}

// normal is the snapshot without random MAC addresses, of which some look like
// chosen ones.
func normal(t *testing.T, w host.World, op topo.Placed) topo.Snapshot {
	t.Helper()
	s, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s = s.Normal()
	chosen := macA + macB + "00:00:00:00:00:00" + op.Command()
	for i := range s.Nodes {
		n := &s.Nodes[i]
		for j := range n.Links {
			if l := &n.Links[j]; !strings.Contains(chosen, l.MAC) {
				l.MAC = ""
			}
		}
		n.FDB = slices.DeleteFunc(n.FDB, func(e topo.FDBEntry) bool { return !strings.Contains(chosen, e.MAC) })
	}
	return s
}

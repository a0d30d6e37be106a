package labs_test

import (
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kabel/labs"
	"kabel/sandbox/topo"
)

func TestCommandsOfTheModels(t *testing.T) {
	on := func(node topo.NodeID, op topo.Op) topo.Placed { return topo.Placed{Node: node, Op: op} }
	defaultVia := func(via, dev string) topo.RouteChange {
		return topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr(via), Dev: dev}}
	}
	address := func(p, dev string) topo.Address {
		return topo.Address{Verb: topo.VerbAdd, Prefix: netip.MustParsePrefix(p), Dev: dev}
	}
	for _, c := range []struct {
		command string
		want    topo.Placed
	}{
		{"ip netns add kon", on("host1", topo.NetnsAdd{Name: "kon"})},
		{"sudo ip netns add red", on("host1", topo.NetnsAdd{Name: "red"})},
		{"ip netns delete kon", on("host1", topo.NetnsDel{Name: "kon"})},
		{"ip link add veth1 type veth peer name veth2", on("host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2"})},
		{"sudo ip link add veth1-r type veth peer veth2-r", on("host1", topo.LinkAdd{Name: "veth1-r", Kind: "veth", Peer: "veth2-r"})},
		{"ip l a veth1 type veth peer name veth2 netns kon", on("host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2", PeerNetns: "kon"})},
		{"ip link set veth2 netns kon", on("host1", topo.LinkSet{Name: "veth2", Netns: "kon"})},
		{"ip netns exec kon ip addr add 172.16.0.1 dev veth2", on("host1/kon", address("172.16.0.1/32", "veth2"))},
		{"ip -n kon a add 172.16.0.1/32 dev veth2", on("host1/kon", address("172.16.0.1/32", "veth2"))},
		{"sudo ip netns exec red ip address add 192.168.0.2/24 dev veth2-r", on("host1/red", address("192.168.0.2/24", "veth2-r"))},
		{"ip -4 addr add 172.16.0.1/24 dev br0", on("host1", address("172.16.0.1/24", "br0"))},
		{"ip -6 addr add fd00::1/64 dev br0", on("host1", address("fd00::1/64", "br0"))},
		{"ip addr flush veth2", on("host1", topo.AddressFlush{Dev: "veth2"})},
		{"ip netns exec kon ip link set dev veth2 up", on("host1/kon", topo.LinkSet{Name: "veth2", State: "up"})},
		{"nsenter --net=/run/netns/kon ip link set lo up", on("host1/kon", topo.LinkSet{Name: "lo", State: "up"})},
		{"sudo nsenter --net=/run/netns/kon ip addr add 172.16.0.1 dev veth2", on("host1/kon", address("172.16.0.1/32", "veth2"))},
		{"ip netns exec kon ip link set lo up", on("host1/kon", topo.LinkSet{Name: "lo", State: "up"})},
		{"ip link set up dev veth1", on("host1", topo.LinkSet{Name: "veth1", State: "up"})},
		{"ip link set dev tun0 mtu 1492", on("host1", topo.LinkSet{Name: "tun0", MTU: 1492})},
		{"ip link set veth10 master br0 up", on("host1", topo.LinkSet{Name: "veth10", Master: "br0", State: "up"})},
		{"ip link add m0 link eth0 type macvlan mode bridge", on("host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "bridge"})},
		{"ip -n kon link add link eth0 name m0 type macvlan", on("host1/kon", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0"})},
		{"ip link set veth10 nomaster", on("host1", topo.LinkSet{Name: "veth10", NoMaster: true})},
		{"ip link set eth0 address 02:00:00:00:00:AA", on("host1", topo.LinkSet{Name: "eth0", MAC: "02:00:00:00:00:aa"})},
		{"ip link del dev veth1", on("host1", topo.LinkDel{Name: "veth1"})},
		{"ip link add name br0 type bridge", on("host1", topo.LinkAdd{Name: "br0", Kind: "bridge"})},
		{"ip link add vx0 type vxlan id 42 dev eth0 dstport 4789 local 10.0.0.10 remote 10.0.0.20 nolearning", on("host1", topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLANDev: "eth0",
			VXLAN: &topo.VXLAN{VNI: 42, Port: 4789, Local: netip.MustParseAddr("10.0.0.10"), Remote: netip.MustParseAddr("10.0.0.20")}})},
		{"ip route add 172.16.0.1/32 dev veth1", on("host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Dst: netip.MustParsePrefix("172.16.0.1/32"), Dev: "veth1"}})},
		{"ip r a 172.16.0.1 dev veth1", on("host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Dst: netip.MustParsePrefix("172.16.0.1/32"), Dev: "veth1"}})},
		{"ip netns exec kon ip route add default via 172.16.0.1 dev veth2", on("host1/kon", defaultVia("172.16.0.1", "veth2"))},
		{"ip -n kon ro add 0.0.0.0/0 via 172.16.0.1 dev veth2", on("host1/kon", defaultVia("172.16.0.1", "veth2"))},
		{"ip route add default via fd00::1", on("host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00::1")}})},
		{"ip route add 172.16.1.0/24 via 10.0.0.20 dev eth0 src 10.0.0.10 metric 5 table 100 onlink", on("host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{
			Dst: netip.MustParsePrefix("172.16.1.0/24"), Via: netip.MustParseAddr("10.0.0.20"), Dev: "eth0", Src: netip.MustParseAddr("10.0.0.10"), Metric: 5, Table: 100, Onlink: true}})},
		{"ip route replace 10.0.0.1 dev eth0 scope link table main proto static", on("host1", topo.RouteChange{Verb: topo.VerbReplace, Route: topo.Route{
			Dst: netip.MustParsePrefix("10.0.0.1/32"), Dev: "eth0", Scope: "link", Protocol: "static"}})},
		{"ip route add blackhole 172.16.9.0/24", on("host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Type: "blackhole", Dst: netip.MustParsePrefix("172.16.9.0/24")}})},
		{"ip neighbour add 172.16.0.2 lladdr 02:00:00:00:00:02 dev veth1", on("host1", topo.NeighbourChange{Verb: topo.VerbAdd, IP: netip.MustParseAddr("172.16.0.2"), MAC: "02:00:00:00:00:02", Dev: "veth1"})},
		{"ip n del 172.16.0.2 dev veth1", on("host1", topo.NeighbourChange{Verb: topo.VerbDel, IP: netip.MustParseAddr("172.16.0.2"), Dev: "veth1"})},
		{"ip neigh flush all", on("host1", topo.NeighbourFlush{})},
		{"bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.20", on("host1", topo.FDBChange{Verb: topo.VerbAppend, MAC: "00:00:00:00:00:00", Dev: "vx0", Dst: netip.MustParseAddr("10.0.0.20")})},
		{"bridge fdb add 02:00:00:00:00:02 dev veth10 master static", on("host1", topo.FDBChange{Verb: topo.VerbAdd, MAC: "02:00:00:00:00:02", Dev: "veth10", Master: true, State: "static"})},
		{"sysctl -w net.ipv4.ip_forward=1", on("host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"})},
		{"sudo sysctl net/ipv4/ip_forward=1", on("host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"})},
		{"ip netns exec kon sysctl -w net.ipv4.conf.eth0/1.rp_filter=0", on("host1/kon", topo.Sysctl{Key: "net.ipv4.conf.eth0/1.rp_filter", Value: "0"})},
		{"echo 0 > /proc/sys/net/ipv4/conf/eth0.1/rp_filter", on("host1", topo.Sysctl{Key: "net.ipv4.conf.eth0/1.rp_filter", Value: "0"})},
		{"echo 0 >/proc/sys/net/ipv4/conf/enp0s8/rp_filter", on("host1", topo.Sysctl{Key: "net.ipv4.conf.enp0s8.rp_filter", Value: "0"})},
		{"echo 1 | sudo tee /proc/sys/net/ipv4/ip_forward", on("host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"})},
		{"iptables -P FORWARD ACCEPT", on("host1", topo.Run{Argv: []string{"iptables", "-P", "FORWARD", "ACCEPT"}})},
		{"sudo iptables -t nat -A POSTROUTING -s 192.168.0.0/24 ! -o br0 -j MASQUERADE", on("host1", topo.Run{Argv: strings.Fields("iptables -t nat -A POSTROUTING -s 192.168.0.0/24 ! -o br0 -j MASQUERADE")})},
		{"ip netns exec kon iptables -A INPUT -m comment --comment 'no \"way\" in' -j DROP", on("host1/kon", topo.Run{Argv: []string{"iptables", "-A", "INPUT", "-m", "comment", "--comment", `no "way" in`, "-j", "DROP"}})},
		{"socat TUN:172.16.0.1/16,iff-up UDP:10.0.0.20:9000,bind=10.0.0.10:9000 &", on("host1", topo.Run{Argv: []string{"socat", "TUN:172.16.0.1/16,iff-up", "UDP:10.0.0.20:9000,bind=10.0.0.10:9000"}, Background: true})},
		{"ip link set lo up # the loopback too", on("host1", topo.LinkSet{Name: "lo", State: "up"})},
	} {
		got, err := labs.ParseCommand("host1", c.command)
		if err != nil {
			t.Errorf("%s: %v", c.command, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %#v\nwant %#v", c.command, got, c.want)
		}
	}
}

// The page shows the command that each of its mouse's actions is, and sends it;
// its own tests write them down.
func TestCommandsOfThePage(t *testing.T) {
	b, err := os.ReadFile("../web/src/build/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) < 50 {
		t.Errorf("only %d commands are there", len(lines))
	}
	for _, line := range lines {
		node, command, _ := strings.Cut(line, "\t")
		if _, err := labs.ParseCommand(topo.NodeID(node), command); err != nil {
			t.Errorf("on %s: %s: %v", node, command, err)
		}
	}
}

func TestRefusedCommands(t *testing.T) {
	for _, c := range []struct {
		command    string
		column     int
		message    string
		suggestion string
	}{
		{"", 1, "a command is missing", ""},
		{"$ ip link set lo up", 1, "prompt", "ip link set lo up"},
		{"ip lnk set lo up", 4, `"lnk" is no object`, "link"},
		{"ip link add br0 tpye bridge", 17, "not understood", "type"},
		{"ip link add br0 type brigde", 22, "not a kind", "bridge"},
		{"ip link add veth1 type veth", 28, "missing", ""},
		{"ip link add m0 type macvlan mode bridge", 40, "interface that it shares", "ip link add link eth0 name m0 type macvlan mode bridge"},
		{"ip link add m0 link eth0 type macvlan mode brigde", 44, "no mode", "bridge"},
		{"ip link add m0 link eth0 type macvlan bridge", 39, "not understood", ""},
		{"ip link add link eth0 br0 type bridge", 13, "shares no interface", ""},
		{"ip link show", 9, "only shows", ""},
		{"ip link set veth1", 18, "says nothing", "up"},
		{"ip link set veth1 up up", 22, "twice", ""},
		{"ip link set a-name-far-too-long up", 13, "name of an interface", ""},
		{"ip addr add 172.16.0.1/24", 26, "interface is missing", "dev eth0"},
		{"ip addr add 172.16.0.256/24 dev br0", 13, "not an address", ""},
		{"ip -6 addr add 172.16.0.1/24 dev br0", 16, "not IPv6", ""},
		{"ip route add 172.16.0.1/24 dev br0", 14, "not the network", "172.16.0.0/24"},
		{"ip route add default via 172.16.0.1 gateway", 37, "not understood", ""},
		{"ip route add default via $BRIDGE_IP", 26, "variables", ""},
		{"ip route add 172.16.0.0/24 via fd00::1", 14, "one family", ""},
		{"ip netns exec kon ip netns exec kon2 ip link set lo up", 28, "one namespace inside another", ""},
		{"nsenter --net=/run/netns/kon ip -n kon2 link set lo up", 33, "one namespace inside another", ""},
		{"ip netns exec kon nsenter --net=/run/netns/kon2 ip link set lo up", 19, "one namespace inside another", ""},
		{"nsenter -t 1 ip link set lo up", 9, "a named network namespace", "--net=/run/netns/kon"},
		{"nsenter --net=/run/netns/../x ip link set lo up", 9, "name of a namespace", ""},
		{"nsenter --net=/run/netns/kon bash", 30, "not a change", ""},
		{"nsenter --net=/run/netns/kon echo 0 > /proc/sys/net/ipv4/ip_forward", 30, "machine's own", "sysctl -w"},
		{"ip netns exec kon ip netns add kon2", 1, "machine itself", "ip netns add kon2"},
		{"ip netns exec kon echo 0 > /proc/sys/net/ipv4/ip_forward", 19, "machine's own", "sysctl -w"},
		{"echo 0 > /etc/passwd", 10, "only files under", "/proc/sys/net/ipv4/ip_forward"},
		{"echo 0 > /proc/sys/net/../kernel/hostname", 10, "not the name of a setting", "net.ipv4.ip_forward"},
		{"sysctl -w kernel.hostname=x", 11, "below net", "net.ipv4.ip_forward"},
		{"sysctl net.ipv4.ip_forward", 8, "only reads", "net.ipv4.ip_forward=1"},
		{"iptabels -P FORWARD DROP", 1, "not a command", "iptables"},
		{"ping 10.0.0.1", 1, "not a change", "a probe of kind ping"},
		{"brctl addbr br0", 1, "not a change", "ip link add name br0 type bridge"},
		{"socat TUN:172.16.0.1/16 UDP:10.0.0.20:9000", 43, "background", "&"},
		{"ip link set lo up &", 19, "background", ""},
		{"ip link set lo up && ip link set eth0 up", 19, "one command at a time", ""},
		{"iptables -S | grep DROP", 13, "pipes", ""},
		{"iptables -m comment --comment 'open", 31, "never closed", ""},
	} {
		_, err := labs.ParseCommand("host1", c.command)
		var syntax *labs.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: got %v, want a syntax error", c.command, err)
			continue
		}
		if syntax.Column != c.column || !strings.Contains(syntax.Message, c.message) || syntax.Suggestion != c.suggestion {
			t.Errorf("%s:\n got %d %q %q\nwant %d %q %q", c.command, syntax.Column, syntax.Message, syntax.Suggestion, c.column, c.message, c.suggestion)
		}
	}
}

// Every op that can be said has a command, and the command says the op.
func TestEveryOpReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkReadsBack(t, anyPlaced(t)) })
}

type failer interface{ Fatalf(string, ...any) }

func checkReadsBack(t failer, want topo.Placed) {
	got, err := labs.ParseCommand(topo.NodeID(want.Node.Machine()), want.Command())
	if err != nil {
		t.Fatalf("%s: %v", want.Command(), err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %#v\nwant %#v", want.Command(), got, want)
	}
}

func anyPlaced(t *rapid.T) topo.Placed {
	name := rapid.StringMatching(`[a-z][a-z0-9_@.-]{0,6}[0-9]`)
	maybe := func(label string) string {
		if rapid.Bool().Draw(t, "with "+label) {
			return name.Draw(t, label)
		}
		return ""
	}
	oneOf := func(label string, s ...string) string { return rapid.SampledFrom(s).Draw(t, label) }
	v4 := func(label string) netip.Addr {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)))
	}
	v6 := func(label string) netip.Addr {
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
		b[0] = 0xfd
		return netip.AddrFrom16(b)
	}
	addr := func(label string) netip.Addr {
		if rapid.Bool().Draw(t, label+" is IPv6") {
			return v6(label)
		}
		return v4(label)
	}
	mac := func(label string) string { return rapid.StringMatching(`([0-9a-f]{2}:){5}[0-9a-f]{2}`).Draw(t, label) }
	verb := func(v ...topo.Verb) topo.Verb { return rapid.SampledFrom(v).Draw(t, "verb") }
	mtu := func() int { return rapid.IntRange(0, 65535).Draw(t, "mtu") }

	node := topo.NodeID("host1").In(maybe("netns"))
	var op topo.Op
	switch rapid.IntRange(0, 12).Draw(t, "kind") {
	case 0:
		node, op = "host1", topo.NetnsAdd{Name: name.Draw(t, "name")}
	case 1:
		node, op = "host1", topo.NetnsDel{Name: name.Draw(t, "name")}
	case 2:
		link := topo.LinkAdd{Name: name.Draw(t, "name"), Kind: oneOf("kind of link", "veth", "bridge", "vxlan", "macvlan"), MTU: mtu()}
		if rapid.Bool().Draw(t, "with mac") {
			link.MAC = mac("mac")
		}
		switch link.Kind {
		case "veth":
			link.Peer, link.PeerNetns = link.Name+"p", maybe("peer netns")
		case "macvlan":
			link.Link, link.Mode = name.Draw(t, "link"), oneOf("mode", "bridge", "private", "vepa", "passthru", "")
		case "vxlan":
			v := topo.VXLAN{VNI: rapid.IntRange(0, 1<<24-1).Draw(t, "vni"), Port: rapid.IntRange(0, 65535).Draw(t, "port"), Learning: rapid.Bool().Draw(t, "learning")}
			if rapid.Bool().Draw(t, "with ends") {
				v.Local, v.Remote = addr("local"), addr("remote")
			}
			link.VXLAN, link.VXLANDev = &v, maybe("lower")
		}
		op = link
	case 3:
		op = topo.LinkDel{Name: name.Draw(t, "name")}
	case 4:
		set := topo.LinkSet{Name: name.Draw(t, "name"), State: oneOf("state", "up", "down", ""), MTU: mtu(), Rename: maybe("rename"), Master: maybe("master"), Netns: maybe("netns to")}
		set.NoMaster = set.Master == "" && rapid.Bool().Draw(t, "nomaster")
		if set == (topo.LinkSet{Name: set.Name}) {
			set.State = "up"
		}
		op = set
	case 5:
		a := addr("address")
		op = topo.Address{Verb: verb(topo.VerbAdd, topo.VerbReplace, topo.VerbDel), Dev: name.Draw(t, "dev"),
			Prefix: netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))}
	case 6:
		op = topo.AddressFlush{Dev: name.Draw(t, "dev")}
	case 7:
		like, via := v4, rapid.Bool().Draw(t, "with via")
		if rapid.Bool().Draw(t, "IPv6") {
			like = v6
		}
		dst := like("dst")
		table := rapid.IntRange(0, 1000).Filter(func(n int) bool { return n != 254 }).Draw(t, "table")
		r := topo.Route{Type: oneOf("type", "", "blackhole", "unreachable", "prohibit"), Dst: netip.PrefixFrom(dst, rapid.IntRange(0, dst.BitLen()).Draw(t, "bits")).Masked(), Dev: maybe("dev"),
			Scope: oneOf("scope", "", "link", "host"), Protocol: oneOf("proto", "", "static", "boot", "kernel"), Metric: rapid.IntRange(0, 1<<20).Draw(t, "metric"), Table: table, Onlink: rapid.Bool().Draw(t, "onlink")}
		if via {
			r.Via, r.Src = like("via"), like("src")
		}
		op = topo.RouteChange{Verb: verb(topo.VerbAdd, topo.VerbReplace, topo.VerbAppend, topo.VerbDel), Route: r}
	case 8:
		op = topo.NeighbourChange{Verb: verb(topo.VerbAdd, topo.VerbReplace, topo.VerbDel), IP: addr("ip"), MAC: mac("mac"), Dev: name.Draw(t, "dev")}
	case 9:
		op = topo.NeighbourFlush{Dev: maybe("dev")}
	case 10:
		f := topo.FDBChange{Verb: verb(topo.VerbAdd, topo.VerbReplace, topo.VerbAppend, topo.VerbDel), MAC: mac("mac"), Dev: name.Draw(t, "dev"),
			Master: rapid.Bool().Draw(t, "master"), State: oneOf("state", "", "permanent", "static", "dynamic")}
		if rapid.Bool().Draw(t, "with dst") {
			f.Dst = addr("dst")
		}
		op = f
	case 11:
		op = topo.Sysctl{Key: "net.ipv4.conf." + oneOf("dev", "all", "eth0", "eth0/1") + ".rp_filter", Value: rapid.StringMatching(`[0-9a-z'"$]([0-9a-z '"$]*[0-9])?`).Draw(t, "value")}
	default:
		run := topo.Run{Argv: []string{oneOf("program", "iptables", "nft", "socat", "conntrack")}}
		run.Background = run.Argv[0] == "socat" || rapid.Bool().Draw(t, "background")
		run.Argv = append(run.Argv, rapid.SliceOf(rapid.StringMatching(`[ -~é]{0,8}`)).Draw(t, "arguments")...)
		op = run
	}
	return topo.Placed{Node: node, Op: op}
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{
		"ip netns add kon", "sudo ip link add veth1 type veth peer veth2 netns kon", "ip -n kon addr add 172.16.0.1 dev veth2",
		"ip netns exec kon ip route add default via 172.16.0.1 dev veth2", "ip -6 r a default dev eth0", "ip route add prohibit 10.0.0.0/8 table main",
		"ip link set dev tun0 mtu 1492 up", "ip link add vx0 type vxlan id 42 group 239.1.1.1 dev eth0", "ip n r fd00::1 lladdr 02:00:00:00:00:01 dev br0 nud permanent",
		"bridge -n kon fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.20 self permanent", `sysctl -w "net.ipv4.conf.eth0/1.rp_filter = 0"`,
		"echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter", "iptables -A INPUT -m comment --comment \"it's\" -j DROP", `socat 'TUN:172.16.0.1/16' "UDP:\$x" \& &`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		first, err := labs.ParseCommand("host1", line)
		if err != nil {
			return
		}
		again, err := labs.ParseCommand("host1", first.Command())
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", line, first.Command(), err)
		}
		if !reflect.DeepEqual(first, again) {
			t.Fatalf("%q became %q:\n%#v\n%#v", line, first.Command(), first, again)
		}
	})
}

func FuzzEveryOpReadsBack(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { checkReadsBack(t, anyPlaced(t)) }))
}

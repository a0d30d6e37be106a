package topo_test

import (
	"encoding/json"
	"net/netip"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"kabel/sandbox/topo"
)

var (
	ip  = netip.MustParseAddr
	net = netip.MustParsePrefix
)

// commands has every op with every option, and the command that it stands for.
var commands = []struct {
	node topo.NodeID
	op   topo.Op
	want string
}{
	{"host1", topo.NetnsAdd{Name: "kon"}, "ip netns add kon"},
	{"host1", topo.NetnsDel{Name: "kon"}, "ip netns del kon"},

	{"host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2"}, "ip link add name veth1 type veth peer name veth2"},
	{"host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "eth0", PeerNetns: "kon"}, "ip link add name veth1 type veth peer name eth0 netns kon"},
	{"host1/kon", topo.LinkAdd{Name: "br0", Kind: "bridge", MAC: "02:00:00:00:00:01", MTU: 1400}, "ip -n kon link add name br0 address 02:00:00:00:00:01 mtu 1400 type bridge"},
	{"host1", topo.LinkAdd{Name: "vx", Kind: "vxlan", VXLANDev: "eth0", VXLAN: &topo.VXLAN{VNI: 42, Local: ip("10.0.0.10"), Remote: ip("10.0.0.20"), Port: 4789, Learning: true}},
		"ip link add name vx type vxlan id 42 local 10.0.0.10 remote 10.0.0.20 dev eth0 dstport 4789"},
	{"host1", topo.LinkAdd{Name: "vx", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 1, Remote: ip("239.1.1.1")}}, "ip link add name vx type vxlan id 1 group 239.1.1.1 nolearning"},
	{"host1", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", Mode: "bridge"}, "ip link add link eth0 name m0 type macvlan mode bridge"},
	{"host1/kon", topo.LinkAdd{Name: "m0", Kind: "macvlan", Link: "eth0", MTU: 1400}, "ip -n kon link add link eth0 name m0 mtu 1400 type macvlan"},
	{"host1", topo.LinkDel{Name: "veth1"}, "ip link del veth1"},

	{"host1", topo.LinkSet{Name: "veth2", Netns: "kon"}, "ip link set dev veth2 netns kon"},
	{"host1/kon", topo.LinkSet{Name: "lo", State: "up"}, "ip -n kon link set dev lo up"},
	{"host1", topo.LinkSet{Name: "a", State: "down", MTU: 1492, MAC: "02:00:00:00:00:01", Rename: "b"}, "ip link set dev a down mtu 1492 address 02:00:00:00:00:01 name b"},
	{"host1", topo.LinkSet{Name: "a", Master: "br0"}, "ip link set dev a master br0"},
	{"host1", topo.LinkSet{Name: "a", NoMaster: true}, "ip link set dev a nomaster"},

	{"host1/kon", topo.Address{Verb: topo.VerbAdd, Prefix: net("172.16.0.1/32"), Dev: "veth2"}, "ip -n kon addr add 172.16.0.1/32 dev veth2"},
	{"host1", topo.Address{Verb: topo.VerbDel, Prefix: net("2001:db8::1/64"), Dev: "eth0"}, "ip addr del 2001:db8::1/64 dev eth0"},
	{"host1", topo.Address{Verb: topo.VerbReplace, Prefix: net("10.0.0.1/8"), Dev: "eth0"}, "ip addr replace 10.0.0.1/8 dev eth0"},
	{"host1", topo.AddressFlush{Dev: "eth0"}, "ip addr flush dev eth0"},

	{"host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Via: ip("172.16.0.1"), Dev: "veth2"}}, "ip route add default via 172.16.0.1 dev veth2"},
	{"host1", topo.RouteChange{Verb: topo.VerbDel, Route: topo.Route{Dst: net("0.0.0.0/0")}}, "ip route del default"},
	{"host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Dst: net("::/0"), Via: ip("2001:db8::1")}}, "ip -6 route add default via 2001:db8::1"},
	{"host1/kon", topo.RouteChange{Verb: topo.VerbAppend, Route: topo.Route{Dst: net("2001:db8::/64"), Dev: "eth0"}}, "ip -n kon -6 route append 2001:db8::/64 dev eth0"},
	{"host1", topo.RouteChange{Verb: topo.VerbReplace, Route: topo.Route{Dst: net("10.1.0.0/16"), Via: ip("10.0.0.20"), Dev: "eth0", Src: ip("10.0.0.10"), Scope: "global", Metric: 5, Table: 100, Protocol: "static", Onlink: true}},
		"ip route replace 10.1.0.0/16 via 10.0.0.20 dev eth0 src 10.0.0.10 scope global metric 5 table 100 proto static onlink"},
	{"host1", topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Type: "blackhole", Dst: net("10.1.0.0/16")}}, "ip route add blackhole 10.1.0.0/16"},

	{"host1", topo.NeighbourChange{Verb: topo.VerbAdd, IP: ip("10.0.0.2"), MAC: "02:00:00:00:00:02", Dev: "eth0"}, "ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0"},
	{"host1", topo.NeighbourChange{Verb: topo.VerbDel, IP: ip("10.0.0.2"), Dev: "eth0"}, "ip neigh del 10.0.0.2 dev eth0"},
	{"host1", topo.NeighbourFlush{}, "ip neigh flush all"},
	{"host1/kon", topo.NeighbourFlush{Dev: "eth0"}, "ip -n kon neigh flush dev eth0"},

	{"host1", topo.FDBChange{Verb: topo.VerbAppend, MAC: "00:00:00:00:00:00", Dev: "vx", Dst: ip("10.0.0.20")}, "bridge fdb append 00:00:00:00:00:00 dev vx dst 10.0.0.20 self"},
	{"host1/kon", topo.FDBChange{Verb: topo.VerbAdd, MAC: "02:00:00:00:00:02", Dev: "veth1", Master: true, State: "static"}, "bridge -n kon fdb add 02:00:00:00:00:02 dev veth1 master static"},

	{"host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}, "sysctl -w net.ipv4.ip_forward=1"},
	{"host1/kon", topo.Sysctl{Key: "net.ipv4.tcp_rmem", Value: "1 2 3"}, "ip netns exec kon sysctl -w 'net.ipv4.tcp_rmem=1 2 3'"},

	{"host1", topo.Run{Argv: []string{"iptables", "-P", "FORWARD", "ACCEPT"}}, "iptables -P FORWARD ACCEPT"},
	{"host1", topo.Run{Argv: []string{"socat", "TUN:10.0.0.1/16,iff-up", "UDP:10.0.0.2:9000"}, Background: true}, "socat TUN:10.0.0.1/16,iff-up UDP:10.0.0.2:9000 &"},
	{"host1/kon", topo.Run{Argv: []string{"ip", "route"}}, "ip netns exec kon ip route"},
	{"host1", topo.Run{Argv: []string{"echo", "it's", "", "$HOME"}}, `echo 'it'\''s' '' '$HOME'`},
}

func TestCommandOfAnOp(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, tt := range commands {
		seen[reflect.TypeOf(tt.op)] = true
		if got := (topo.Placed{Node: tt.node, Op: tt.op}).Command(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	if len(seen) != 13 {
		t.Errorf("%d kinds of ops are tried, not 13", len(seen))
	}
}

func TestOpsAreReadBackFromJSON(t *testing.T) {
	for _, tt := range commands {
		p := topo.Placed{Node: tt.node, Op: tt.op}
		if got := overJSON(t, p); !reflect.DeepEqual(got, p) {
			t.Errorf("%s: got %#v, want %#v", tt.want, got, p)
		}
	}
}

func TestBadOpsAreRefused(t *testing.T) {
	for _, bad := range []string{
		`null`, `{}`, `[]`, `"x"`,
		`{"node":"host1","kind":"format-disk","op":{}}`,
		`{"node":"host1","kind":"netns-add"}`,
		`{"node":"host1","kind":"netns-add","op":[]}`,
		`{"node":"host1","kind":"address","op":{"Prefix":"10.0.0.0/99"}}`,
	} {
		var p topo.Placed
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("%s is read as %#v", bad, p)
		}
	}
	if b, err := json.Marshal(topo.Placed{Node: "host1"}); err == nil {
		t.Errorf("no op at all is written as %s", b)
	}
}

// FuzzQuote asks a shell whether it reads one word back.
func FuzzQuote(f *testing.F) {
	for _, word := range []string{"", "a", "it's", "a b", "$(x)", "`x`", "\\", "é\n", "-n", "~", "*", "!", "#"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.ContainsRune(word, 0) {
			return // no argument can hold a NUL
		}
		out, err := exec.Command("sh", "-c", "printf %s/ "+topo.Quote(word)).Output()
		if err != nil || string(out) != word+"/" {
			t.Errorf("%q is quoted as %s and read as %q, %v", word, topo.Quote(word), out, err)
		}
	})
}

func TestCommandOfAProbe(t *testing.T) {
	for want, p := range map[string]topo.Probe{
		"ping -c 2 -W 1 10.0.0.1":                                             {From: "host1", Kind: topo.ProbePing, To: "10.0.0.1", Count: 2},
		"ip netns exec kon ping -c 1 -W 1 -s 1464 -M do 10.0.0.1":             {From: "host1/kon", Kind: topo.ProbePing, To: "10.0.0.1", Size: 1464, DontFragment: true},
		"nc -z -w 1 10.0.0.1 80":                                              {From: "host1", Kind: topo.ProbeTCP, To: "10.0.0.1:80"},
		"nc -uz -w 1 fd00::1 53":                                              {From: "host1", Kind: topo.ProbeUDP, To: "[fd00::1]:53"},
		"curl -sS -m 1 http://example.test/":                                  {From: "laptop", Kind: topo.ProbeHTTP, To: "http://example.test/"},
		"curl -sS -m 1 'http://example.test/?a=1&b'":                          {From: "laptop", Kind: topo.ProbeHTTP, To: "http://example.test/?a=1&b"},
		"dig +short +time=1 +tries=1 example.test":                            {From: "laptop", Kind: topo.ProbeDNS, To: "example.test"},
		"ip netns exec kon dig +short +time=1 +tries=1 example.test @8.8.8.8": {From: "host1/kon", Kind: topo.ProbeDNS, To: "example.test@8.8.8.8"},
		"traceroute -n -q 1 -w 1 -m 10 8.8.8.8":                               {From: "host1", Kind: topo.ProbeTraceroute, To: "8.8.8.8"},
	} {
		if got := p.Command(); got != want {
			t.Errorf("%+v is typed as %q, not %q", p, got, want)
		}
	}
}

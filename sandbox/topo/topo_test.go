package topo_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kabel/sandbox/topo"
)

// The generators draw from few values, so that two snapshots share most of them.
var (
	names    = rapid.SampledFrom([]string{"a", "b", "eth0", "br0", "veth10"})
	macs     = rapid.SampledFrom([]string{"02:00:00:00:00:01", "02:42:ac:11:00:02", "9a:11:22:33:44:55", "00:00:00:00:00:00"})
	addrs    = rapid.Map(rapid.SampledFrom([]string{"10.0.0.1", "172.16.0.1", "fe80::1", "2001:db8::1"}), netip.MustParseAddr)
	maybeIP  = rapid.OneOf(rapid.Just(netip.Addr{}), addrs)
	prefixes = rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := addrs.Draw(t, "address")
		return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
	})
	ports   = rapid.Map(rapid.Uint16(), func(p uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), p) })
	numbers = rapid.IntRange(0, 3)
	counts  = rapid.Uint64Range(0, 3)
	words   = rapid.SampledFrom([]string{"", "link", "kernel", "blackhole", "permanent"})
)

var routes = rapid.Custom(func(t *rapid.T) topo.Route {
	return topo.Route{Dst: prefixes.Draw(t, "dst"), Type: words.Draw(t, "type"), Via: maybeIP.Draw(t, "via"), Dev: names.Draw(t, "dev"),
		Src: maybeIP.Draw(t, "src"), Scope: words.Draw(t, "scope"), Protocol: words.Draw(t, "protocol"), Metric: numbers.Draw(t, "metric"),
		Table: numbers.Draw(t, "table"), Onlink: rapid.Bool().Draw(t, "onlink"), Down: rapid.Bool().Draw(t, "down")}
})

var vxlans = rapid.Custom(func(t *rapid.T) topo.VXLAN {
	return topo.VXLAN{VNI: numbers.Draw(t, "vni"), Local: maybeIP.Draw(t, "local"), Remote: maybeIP.Draw(t, "remote"), Port: numbers.Draw(t, "port"), Learning: rapid.Bool().Draw(t, "learning")}
})

var netdevs = rapid.Custom(func(t *rapid.T) topo.Netdev {
	d := topo.Netdev{Name: names.Draw(t, "name"), Index: numbers.Draw(t, "index"), Kind: words.Draw(t, "kind"), Up: rapid.Bool().Draw(t, "up"),
		Carrier: rapid.Bool().Draw(t, "carrier"), MAC: macs.Draw(t, "mac"), MTU: numbers.Draw(t, "mtu"), Master: words.Draw(t, "master"),
		Peer: topo.LinkID(words.Draw(t, "peer")), Parent: words.Draw(t, "parent"), Mode: words.Draw(t, "mode"), Addresses: some(t, "addresses", prefixes)}
	if rapid.Bool().Draw(t, "is vxlan") {
		v := vxlans.Draw(t, "vxlan")
		d.VXLAN = &v
	}
	if rapid.Bool().Draw(t, "is tunnel") {
		d.Tunnel = &topo.Tunnel{Local: maybeIP.Draw(t, "near"), Remote: maybeIP.Draw(t, "far"), Key: numbers.Draw(t, "key")}
	}
	if rapid.Bool().Draw(t, "is bridge") {
		d.Bridge = &topo.Bridge{STP: rapid.Bool().Draw(t, "stp"), VLANFiltering: rapid.Bool().Draw(t, "vlan filtering")}
	}
	return d
})

// some is a few of a kind; none is nil or empty, which both mean nothing.
func some[T any](t *rapid.T, label string, of *rapid.Generator[T]) []T {
	s := rapid.SliceOfN(of, 0, 3).Draw(t, label)
	if len(s) == 0 && rapid.Bool().Draw(t, label+" nil") {
		return nil
	}
	return s
}

func someOf[T any](t *rapid.T, label string, draw func(t *rapid.T) T) []T {
	return some(t, label, rapid.Custom(draw))
}

func drawNode(t *rapid.T, id topo.NodeID) topo.Node {
	return topo.Node{
		ID: id, Kind: topo.NodeKind(words.Draw(t, "kind")), Links: some(t, "links", netdevs), Routes: some(t, "routes", routes),
		Rules: someOf(t, "rules", func(t *rapid.T) topo.Rule {
			return topo.Rule{Priority: numbers.Draw(t, "priority"), Text: words.Draw(t, "text")}
		}),
		Neighbours: someOf(t, "neighbours", func(t *rapid.T) topo.Neighbour {
			return topo.Neighbour{IP: addrs.Draw(t, "ip"), MAC: macs.Draw(t, "mac"), Dev: names.Draw(t, "dev"), State: words.Draw(t, "state")}
		}),
		FDB: someOf(t, "fdb", func(t *rapid.T) topo.FDBEntry {
			return topo.FDBEntry{MAC: macs.Draw(t, "mac"), Dev: names.Draw(t, "dev"), Master: words.Draw(t, "master"), VLAN: numbers.Draw(t, "vlan"), Dst: maybeIP.Draw(t, "dst"), State: words.Draw(t, "state")}
		}),
		Firewall: someOf(t, "firewall", func(t *rapid.T) topo.Chain {
			return topo.Chain{Tool: words.Draw(t, "tool"), Family: words.Draw(t, "family"), Table: words.Draw(t, "table"), Name: words.Draw(t, "name"),
				Policy: words.Draw(t, "policy"), Packets: counts.Draw(t, "packets"), Bytes: counts.Draw(t, "bytes"),
				Rules: someOf(t, "rules", func(t *rapid.T) topo.FirewallRule {
					return topo.FirewallRule{Text: words.Draw(t, "text"), Packets: counts.Draw(t, "packets"), Bytes: counts.Draw(t, "bytes")}
				})}
		}),
		Sockets: someOf(t, "sockets", func(t *rapid.T) topo.Socket {
			s := topo.Socket{Protocol: words.Draw(t, "protocol"), Local: ports.Draw(t, "local")}
			if rapid.Bool().Draw(t, "connected") {
				s.Remote = ports.Draw(t, "remote")
			}
			return s
		}),
		Sysctls:  rapid.MapOfN(names, words, 0, 3).Draw(t, "sysctls"),
		Counters: rapid.MapOfN(names, counts, 0, 3).Draw(t, "counters"),
	}
}

func drawSnapshot(t *rapid.T, label string, rev topo.Rev) topo.Snapshot {
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]topo.NodeID{"host1", "host1/kon", "host2", "sw"}), 0, 4, rapid.ID).Draw(t, label+" ids")
	s := topo.Snapshot{Revision: rev, Limits: someOf(t, label+" limits", func(t *rapid.T) topo.LimitHit {
		return topo.LimitHit{Kind: topo.LimitKind(words.Draw(t, "kind")), Node: topo.NodeID(words.Draw(t, "node")), Subject: words.Draw(t, "subject"),
			Bound: numbers.Draw(t, "bound"), Hits: counts.Draw(t, "hits")}
	})}
	for _, id := range ids {
		s.Nodes = append(s.Nodes, drawNode(t, id))
	}
	return s
}

// change redraws some of a snapshot, so that most of it stays as it is.
func change(t *rapid.T, a topo.Snapshot) topo.Snapshot {
	b := drawSnapshot(t, "after", a.Revision+1)
	if rapid.Bool().Draw(t, "same limits") {
		b.Limits = a.Limits
	}
	for i := range b.Nodes {
		was := a.Node(b.Nodes[i].ID)
		if was == nil {
			continue
		}
		now := reflect.ValueOf(&b.Nodes[i]).Elem()
		for f := range now.NumField() {
			if rapid.IntRange(0, 3).Draw(t, "change") > 0 {
				now.Field(f).Set(reflect.ValueOf(*was).Field(f))
			}
		}
	}
	return b
}

func overJSON[T any](t rapid.TB, v T) T {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("unmarshal %s: %v", b, err)
	}
	return out
}

func TestDiffLeadsFromOneSnapshotToTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawSnapshot(t, "before", 7)
		b := change(t, a)
		before := overJSON(t, a)
		d := topo.Compare(a, b)
		for name, d := range map[string]topo.Diff{"at once": d, "over JSON": overJSON(t, d)} {
			got, err := d.Apply(a)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !got.Equal(b) {
				t.Fatalf("%s: got\n%+v\nwant\n%+v", name, got, b)
			}
		}
		if !a.Equal(before) {
			t.Fatal("applying a diff changed the snapshot before it")
		}
		if same := slices.EqualFunc(a.Nodes, b.Nodes, topo.Node.Equal) && slices.Equal(a.Limits, b.Limits); d.Empty() != same {
			t.Fatalf("nothing differs: %v, but the diff is %+v", same, d)
		}
	})
}

// FuzzDiff drives the same property by the fuzzer's bytes.
func FuzzDiff(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		a := drawSnapshot(t, "before", 1)
		b := change(t, a)
		if got, err := overJSON(t, topo.Compare(a, b)).Apply(a); err != nil || !got.Equal(b) {
			t.Fatalf("got %+v, %v, want %+v", got, err, b)
		}
	}))
}

func TestDiffCarriesOnlyWhatDiffers(t *testing.T) {
	a := topo.Snapshot{Revision: 1, Nodes: []topo.Node{
		{ID: "host1", Kind: topo.KindHost, Routes: []topo.Route{{Dev: "eth0"}}, Neighbours: []topo.Neighbour{{Dev: "eth0"}}},
		{ID: "host2", Kind: topo.KindHost},
	}}
	b := topo.Snapshot{Revision: 2, Nodes: []topo.Node{a.Nodes[0], a.Nodes[1]}}
	b.Nodes[0].Neighbours = nil
	d := topo.Compare(a, b)
	if d.Order != nil || d.Limits != nil || len(d.Changed) != 1 || d.Changed[0].ID != "host1" || d.Changed[0].Routes != nil || d.Changed[0].Neighbours == nil {
		t.Errorf("the diff is %+v", d)
	}
	if b, err := json.Marshal(d); err != nil || string(b) != `{"from":1,"to":2,"changed":[{"id":"host1","neighbours":[]}]}` {
		t.Errorf("as JSON it is %s, %v", b, err)
	}
}

func TestDiffThatDoesNotFitIsRefused(t *testing.T) {
	a := topo.Snapshot{Revision: 3, Nodes: []topo.Node{{ID: "host1"}}}
	for name, d := range map[string]topo.Diff{
		"from another revision":  {From: 2, To: 4},
		"orders an unknown node": {From: 3, To: 4, Order: &[]topo.NodeID{"host1", "host2"}},
	} {
		if got, err := d.Apply(a); err == nil {
			t.Errorf("%s: it gave %+v", name, got)
		}
	}
}

func TestSnapshotIsReadBackFromJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSnapshot(t, "snapshot", 1)
		if got := overJSON(t, s); !got.Equal(s) {
			t.Fatalf("got\n%+v\nwant\n%+v", got, s)
		}
	})
}

// TestEqualSeesEveryField changes each field of each type, one at a time; a
// field that was added and forgotten in the comparison is found here.
func TestEqualSeesEveryField(t *testing.T) {
	full := topo.Snapshot{Limits: []topo.LimitHit{{}}, Nodes: []topo.Node{{ID: "host1", Kind: topo.KindHost,
		Links:      []topo.Netdev{{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}, VXLAN: &topo.VXLAN{}, Tunnel: &topo.Tunnel{}, Bridge: &topo.Bridge{}}},
		Routes:     []topo.Route{{}},
		Rules:      []topo.Rule{{}},
		Neighbours: []topo.Neighbour{{}},
		FDB:        []topo.FDBEntry{{}},
		Firewall:   []topo.Chain{{Rules: []topo.FirewallRule{{}}}},
		Sockets:    []topo.Socket{{}},
		Sysctls:    map[string]string{"a": "1"},
		Counters:   map[string]uint64{"a": 1},
	}}}
	var walk func(path string, v reflect.Value, check func(path string))
	walk = func(path string, v reflect.Value, check func(path string)) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		other := map[reflect.Type]any{
			reflect.TypeFor[netip.Addr]():        netip.MustParseAddr("192.0.2.1"),
			reflect.TypeFor[netip.Prefix]():      netip.MustParsePrefix("192.0.2.0/24"),
			reflect.TypeFor[netip.AddrPort]():    netip.MustParseAddrPort("192.0.2.1:1"),
			reflect.TypeFor[map[string]string](): map[string]string{"a": "2"},
			reflect.TypeFor[map[string]uint64](): map[string]uint64{"b": 1},
		}[v.Type()]
		switch {
		case other != nil:
			v.Set(reflect.ValueOf(other))
			check(path)
		case v.Kind() == reflect.String:
			v.SetString("other")
			check(path)
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
			check(path)
		case v.CanInt():
			v.SetInt(99)
			check(path)
		case v.CanUint():
			v.SetUint(99)
			check(path)
		case v.Kind() == reflect.Pointer:
			v.SetZero()
			check(path)
			v.Set(old)
			walk(path, v.Elem(), check)
		case v.Kind() == reflect.Slice:
			v.SetZero()
			check(path)
			v.Set(old)
			walk(path+"[0]", v.Index(0), check)
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i), check)
			}
		default:
			t.Fatalf("%s: the test does not know %s", path, v.Type())
		}
		v.Set(old)
	}
	original := overJSON(t, full)
	walk("Snapshot", reflect.ValueOf(&full).Elem(), func(path string) {
		if full.Equal(original) {
			t.Errorf("a change of %s makes no difference", path)
		}
	})
	if !full.Equal(original) {
		t.Fatal("the test did not put everything back")
	}
}

func TestNormalForgetsOnlyWhatIsLeftToChance(t *testing.T) {
	world := func(mac string, index int, counter uint64, state string) topo.Snapshot {
		return topo.Snapshot{Revision: topo.Rev(index), Limits: []topo.LimitHit{{Kind: topo.LimitMemory, Hits: counter}}, Nodes: []topo.Node{{
			ID: "host1",
			Links: []topo.Netdev{
				{Name: "veth1", Index: index + 1, MAC: mac, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
				{Name: "br0", Index: index, MAC: "02:42:ac:00:00:01"},
			},
			Neighbours: []topo.Neighbour{{IP: netip.MustParseAddr("10.0.0.2"), State: state}},
			FDB:        []topo.FDBEntry{{MAC: mac, Dev: "veth1", State: "permanent"}, {MAC: "02:00:00:00:00:09", Dev: "veth1", State: "static"}, {MAC: "02:00:00:00:00:01", Dev: "veth1"}},
			Firewall:   []topo.Chain{{Name: "FORWARD", Packets: counter, Rules: []topo.FirewallRule{{Text: "-j DROP", Bytes: counter}}}},
			Counters:   map[string]uint64{"Icmp.InEchos": counter},
		}}}
	}
	a, b := world("9a:00:00:00:00:01", 2, 1, "reachable"), world("6e:00:00:00:00:02", 5, 2, "stale")
	before := overJSON(t, a)
	if !a.Normal().Equal(b.Normal()) {
		t.Errorf("two worlds that were built alike differ:\n%+v\n%+v", a.Normal(), b.Normal())
	}
	if !a.Equal(before) {
		t.Error("Normal changed the snapshot itself")
	}
	n := a.Normal().Nodes[0]
	if len(n.FDB) != 1 || len(n.Links) != 2 || n.Links[0].Name != "br0" || n.Links[0].MAC == "" || len(n.Links[1].Addresses) != 1 || len(n.Firewall[0].Rules) != 1 {
		t.Errorf("too much is forgotten: %+v", n)
	}
	if c := world("9a:00:00:00:00:01", 2, 1, "permanent"); c.Normal().Equal(a.Normal()) {
		t.Error("a permanent neighbour is forgotten")
	}
}

func TestNames(t *testing.T) {
	for id, want := range map[topo.NodeID]struct {
		valid          bool
		machine, netns string
	}{
		"host1":                              {true, "host1", ""},
		"host1/kon":                          {true, "host1", "kon"},
		"host1/net-4026531840":               {true, "host1", "net-4026531840"},
		"host1/a/b":                          {false, "host1", "a/b"},
		"host1/":                             {false, "host1", ""},
		"":                                   {false, "", ""},
		"/kon":                               {false, "", "kon"},
		"..":                                 {false, "..", ""},
		"-n":                                 {false, "-n", ""},
		"a b":                                {false, "a b", ""},
		"é":                                  {false, "é", ""},
		topo.NodeID(strings.Repeat("a", 65)): {false, strings.Repeat("a", 65), ""},
	} {
		if id.Valid() != want.valid || id.Machine() != want.machine || id.Netns() != want.netns {
			t.Errorf("%q: valid %v, machine %q, netns %q, want %+v", id, id.Valid(), id.Machine(), id.Netns(), want)
		}
	}
	for name, want := range map[string]bool{"eth0": true, "a-name-of-15-xxx": false, "exactly-15-long": true, "": false, "a/b": false, "eth0:1": false, "br-2.10": true} {
		if topo.ValidLinkName(name) != want {
			t.Errorf("the interface name %q: valid is not %v", name, want)
		}
	}
	if node, name := topo.Link("host1/kon", "veth2").Split(); node != "host1/kon" || name != "veth2" {
		t.Errorf("a LinkID is split into %q and %q", node, name)
	}
	if topo.NodeID("host1/a").In("b") != "host1/b" || topo.NodeID("host1/a").In("") != "host1" {
		t.Error("In does not stay on the machine")
	}
}

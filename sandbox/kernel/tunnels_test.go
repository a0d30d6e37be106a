package kernel

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"

	"kabel/sandbox/topo"
)

// What the kernel says of a tunnel, as it puts it on the wire: an end that is not
// set is all zero, a GRE's key is in the network's byte order, a Geneve's in ours.
func TestATunnelSaysWhereItLeads(t *testing.T) {
	v4 := func(s string) []byte { return ip(s).AsSlice() }
	nobody, six := make([]byte, 4), ip("fd00::2").AsSlice()
	for _, c := range []struct {
		kind string
		data map[int][]byte
		want *topo.Tunnel
	}{
		{"gre", map[int][]byte{nl.IFLA_GRE_LOCAL: v4("10.0.0.10"), nl.IFLA_GRE_REMOTE: v4("10.0.0.20"), nl.IFLA_GRE_OKEY: {0, 0, 0, 7}},
			&topo.Tunnel{Local: ip("10.0.0.10"), Remote: ip("10.0.0.20"), Key: 7}},
		{"gretap", map[int][]byte{nl.IFLA_GRE_LOCAL: nobody, nl.IFLA_GRE_REMOTE: v4("10.0.0.20"), nl.IFLA_GRE_OKEY: nobody}, &topo.Tunnel{Remote: ip("10.0.0.20")}},
		{"gre", map[int][]byte{nl.IFLA_GRE_LOCAL: nobody, nl.IFLA_GRE_REMOTE: nobody}, &topo.Tunnel{}},
		{"ip6gre", map[int][]byte{nl.IFLA_GRE_REMOTE: six}, &topo.Tunnel{Remote: ip("fd00::2")}},
		{"ipip", map[int][]byte{nl.IFLA_IPTUN_LOCAL: v4("10.0.0.10"), nl.IFLA_IPTUN_REMOTE: v4("10.0.0.20")}, &topo.Tunnel{Local: ip("10.0.0.10"), Remote: ip("10.0.0.20")}},
		{"sit", map[int][]byte{nl.IFLA_IPTUN_REMOTE: v4("10.0.0.20")}, &topo.Tunnel{Remote: ip("10.0.0.20")}},
		{"geneve", map[int][]byte{nl.IFLA_GENEVE_ID: nl.Uint32Attr(42), nl.IFLA_GENEVE_REMOTE: v4("10.0.0.20")}, &topo.Tunnel{Remote: ip("10.0.0.20"), Key: 42}},
		{"geneve", map[int][]byte{nl.IFLA_GENEVE_ID: nl.Uint32Attr(42), nl.IFLA_GENEVE_REMOTE6: six}, &topo.Tunnel{Remote: ip("fd00::2"), Key: 42}},
		{"dummy", nil, nil},
	} {
		info := nl.NewRtAttr(0, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(c.kind))
		data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
		for kind, value := range c.data {
			data.AddRtAttr(kind, value)
		}
		var l topo.Netdev
		linkInfo(&l, info.Serialize()[4:])
		switch {
		case l.Kind != c.kind, (l.Tunnel == nil) != (c.want == nil), c.want != nil && *l.Tunnel != *c.want:
			t.Errorf("%s %v is read as %+v (%+v)", c.kind, c.data, l, l.Tunnel)
		}
	}
}

func TestTunnelsOfTheKernelSayWhereTheyLead(t *testing.T) {
	ends := topo.Tunnel{Local: ip("10.0.0.10"), Remote: ip("10.0.0.20")}
	keyed := ends
	keyed.Key = 7
	w := smallWorld(t, openHost(t), "w", nil)
	var missing []string
	for _, c := range []struct {
		needs, name, kind, options string
		want                       topo.Tunnel
	}{
		{"GRE tunnels", "t0", "gre", "local 10.0.0.10 remote 10.0.0.20 key 7", keyed},
		{"GRE tunnels", "t1", "gretap", "local 10.0.0.10 remote 10.0.0.20", ends},
		{"IP-in-IP tunnels", "t2", "ipip", "local 10.0.0.10 remote 10.0.0.20", ends},
		{"sit tunnels", "t3", "sit", "local 10.0.0.10 remote 10.0.0.20", ends},
		{"geneve devices", "t4", "geneve", "id 7 remote 10.0.0.20", topo.Tunnel{Remote: keyed.Remote, Key: 7}},
	} {
		if kernelLacks(t, c.needs) {
			if !slices.Contains(missing, c.needs) {
				missing = append(missing, c.needs)
			}
			continue
		}
		shell(t, w, "ip link add "+c.name+" type "+c.kind+" "+c.options)
		s := snapshot(t, w)
		l := s.Node("host1").Link(c.name)
		if l == nil || l.Kind != c.kind || l.Tunnel == nil || *l.Tunnel != c.want {
			t.Errorf("the %s is %+v", c.kind, l)
			continue
		}
		if ethernet := c.kind == "gretap" || c.kind == "geneve"; (l.MAC != "") != ethernet {
			t.Errorf("the MAC address of the %s is %q", c.kind, l.MAC)
		}
	}
	if len(missing) > 0 {
		t.Skip("kernel lacks: " + strings.Join(missing, ", "))
	}
}

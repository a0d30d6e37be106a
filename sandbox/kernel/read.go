package kernel

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

// The names of iproute2's tables rt_protos, rt_scopes and its route types.
var (
	routeProtocols = map[string]uint8{"redirect": 1, "kernel": 2, "boot": 3, "static": 4, "gated": 8, "ra": 9, "mrt": 10, "zebra": 11,
		"bird": 12, "dnrouted": 13, "xorp": 14, "ntk": 15, "dhcp": 16, "keepalived": 18, "babel": 42, "bgp": 186, "isis": 187, "ospf": 188, "rip": 189, "eigrp": 192}
	routeScopes = map[string]uint8{"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
	routeTypes  = map[string]uint8{"unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6,
		"unreachable": 7, "prohibit": 8, "throw": 9, "nat": 10}
	macvlanModes = map[string]uint8{"private": nl.MACVLAN_MODE_PRIVATE, "vepa": nl.MACVLAN_MODE_VEPA, "bridge": nl.MACVLAN_MODE_BRIDGE,
		"passthru": nl.MACVLAN_MODE_PASSTHRU, "source": nl.MACVLAN_MODE_SOURCE}
	ipvlanModes     = map[string]uint8{"l2": 0, "l3": 1, "l3s": 2}
	neighbourStates = map[uint16]string{unix.NUD_INCOMPLETE: "incomplete", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale",
		unix.NUD_DELAY: "delay", unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_PERMANENT: "permanent"}
)

// word is the name of a number, or the number.
func word(names map[string]uint8, n uint8) string {
	for name, m := range names {
		if m == n {
			return name
		}
	}
	return strconv.Itoa(int(n))
}

// reading is one namespace while it is read.
type reading struct {
	*netns
	conn      *conn
	node      topo.Node
	names     map[uint32]string
	ends      []vethEnd
	lowers    []vethEnd // of what is carried by an interface of another namespace
	untracked uint64
}

// vethEnd is an interface of which another is still to be found, a veth's far end
// or a lower device: an index in the namespace that ours calls nsid; -1 is ours itself.
type vethEnd struct {
	link int // in node.Links
	peer uint32
	nsid int32
}

// tables reads everything that has events: links, addresses, routes, rules,
// neighbours, forwarding tables, netconf.
func (r *reading) tables() error {
	r.node.Sysctls = map[string]string{}
	for _, read := range []func() error{r.links, r.addresses, r.routes, r.rules, r.neighbours, r.fdb, r.netconf} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// extSkipStats asks for links without their long statistics (RTEXT_FILTER_SKIP_STATS).
const extSkipStats = 1 << 3

func (r *reading) links() error {
	type relation struct{ master, lower, vxlanLower uint32 }
	var relations []relation
	reset := func() {
		r.node.Links, r.ends, r.lowers, relations = []topo.Netdev{}, nil, nil, nil
		r.names = map[uint32]string{}
	}
	req := request(unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC), attrU32(unix.IFLA_EXT_MASK, extSkipStats))
	err := r.conn.dump(req, reset, func(b []byte) {
		if len(b) < unix.SizeofIfInfomsg {
			return
		}
		l := topo.Netdev{Index: int(u32(b[4:])), Addresses: []netip.Prefix{}}
		flags := u32(b[8:])
		l.Up, l.Carrier = flags&unix.IFF_UP != 0, flags&unix.IFF_LOWER_UP != 0
		if flags&unix.IFF_LOOPBACK != 0 {
			l.Kind = "loopback"
		}
		var rel relation
		nsid := int32(-1)
		attributes(b[unix.SizeofIfInfomsg:], func(t uint16, v []byte) {
			switch t {
			case unix.IFLA_IFNAME:
				l.Name = unix.ByteSliceToString(v)
			case unix.IFLA_ADDRESS:
				if len(v) == 6 { // that of a tunnel is an IP address
					l.MAC = net.HardwareAddr(v).String()
				}
			case unix.IFLA_IFALIAS:
				l.Alias = unix.ByteSliceToString(v)
			case unix.IFLA_MTU:
				l.MTU = int(u32(v))
			case unix.IFLA_MASTER:
				rel.master = u32(v)
			case unix.IFLA_LINK:
				rel.lower = u32(v)
			case unix.IFLA_LINK_NETNSID:
				nsid = int32(u32(v))
			case unix.IFLA_LINKINFO:
				rel.vxlanLower = linkInfo(&l, v)
			}
		})
		r.names[uint32(l.Index)] = l.Name
		if l.Kind == "veth" && rel.lower != 0 {
			r.ends = append(r.ends, vethEnd{len(r.node.Links), rel.lower, nsid})
			rel.lower = 0
		}
		if nsid >= 0 && rel.lower != 0 {
			r.lowers = append(r.lowers, vethEnd{len(r.node.Links), rel.lower, nsid})
			rel.lower = 0 // an index of another namespace
		}
		r.node.Links, relations = append(r.node.Links, l), append(relations, rel)
	})
	if err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	for i, rel := range relations {
		r.node.Links[i].Master = r.names[rel.master]
		r.node.Links[i].Parent = r.names[cmp.Or(rel.lower, rel.vxlanLower)]
	}
	return nil
}

// linkInfo reads what the kind of device adds; of a vxlan it returns the index
// of the lower device.
func linkInfo(l *topo.Netdev, b []byte) (lower uint32) {
	var data []byte
	attributes(b, func(t uint16, v []byte) {
		switch t {
		case nl.IFLA_INFO_KIND:
			l.Kind = unix.ByteSliceToString(v)
		case nl.IFLA_INFO_DATA:
			data = v
		}
	})
	switch l.Kind {
	case "bridge":
		l.Bridge = &topo.Bridge{}
		attributes(data, func(t uint16, v []byte) {
			switch t {
			case nl.IFLA_BR_STP_STATE:
				l.Bridge.STP = u32(v) != 0
			case nl.IFLA_BR_VLAN_FILTERING:
				l.Bridge.VLANFiltering = v[0] != 0
			}
		})
	case "macvlan", "macvtap":
		attributes(data, func(t uint16, v []byte) {
			if t == nl.IFLA_MACVLAN_MODE {
				l.Mode = word(macvlanModes, uint8(u32(v)))
			}
		})
	case "ipvlan", "ipvtap":
		attributes(data, func(t uint16, v []byte) {
			if t == nl.IFLA_IPVLAN_MODE {
				l.Mode = word(ipvlanModes, uint8(binary.NativeEndian.Uint16(v)))
			}
		})
	case "vxlan":
		l.VXLAN = &topo.VXLAN{}
		attributes(data, func(t uint16, v []byte) {
			switch t {
			case nl.IFLA_VXLAN_ID:
				l.VXLAN.VNI = int(u32(v))
			case nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6:
				l.VXLAN.Local = address(v)
			case nl.IFLA_VXLAN_GROUP, nl.IFLA_VXLAN_GROUP6:
				l.VXLAN.Remote = address(v)
			case nl.IFLA_VXLAN_PORT:
				l.VXLAN.Port = int(binary.BigEndian.Uint16(v))
			case nl.IFLA_VXLAN_LEARNING:
				l.VXLAN.Learning = v[0] != 0
			case nl.IFLA_VXLAN_LINK:
				lower = u32(v)
			}
		})
	}
	l.Tunnel = tunnelEnds(l.Kind, data)
	return lower
}

// tunnelEnds reads where a tunnel leads, nil for other kinds of devices. An end
// that is not set is all zero on the wire.
func tunnelEnds(kind string, data []byte) *topo.Tunnel {
	var t topo.Tunnel
	end := func(v []byte) netip.Addr {
		if a := address(v); !a.IsUnspecified() {
			return a
		}
		return netip.Addr{}
	}
	switch kind {
	case "gre", "gretap", "ip6gre", "ip6gretap":
		attributes(data, func(a uint16, v []byte) {
			switch a {
			case nl.IFLA_GRE_LOCAL:
				t.Local = end(v)
			case nl.IFLA_GRE_REMOTE:
				t.Remote = end(v)
			case nl.IFLA_GRE_OKEY:
				t.Key = int(binary.BigEndian.Uint32(v))
			}
		})
	case "ipip", "sit", "ip6tnl":
		attributes(data, func(a uint16, v []byte) {
			switch a {
			case nl.IFLA_IPTUN_LOCAL:
				t.Local = end(v)
			case nl.IFLA_IPTUN_REMOTE:
				t.Remote = end(v)
			}
		})
	case "geneve":
		attributes(data, func(a uint16, v []byte) {
			switch a {
			case nl.IFLA_GENEVE_REMOTE, nl.IFLA_GENEVE_REMOTE6:
				t.Remote = end(v)
			case nl.IFLA_GENEVE_ID:
				t.Key = int(u32(v))
			}
		})
	default:
		return nil
	}
	return &t
}

func (r *reading) addresses() error {
	reset := func() {
		for i := range r.node.Links {
			r.node.Links[i].Addresses = []netip.Prefix{}
		}
	}
	err := r.conn.dump(request(unix.RTM_GETADDR, 0, nl.NewIfAddrmsg(unix.AF_UNSPEC)), reset, func(b []byte) {
		if len(b) < unix.SizeofIfAddrmsg {
			return
		}
		var local, addr netip.Addr
		attributes(b[unix.SizeofIfAddrmsg:], func(t uint16, v []byte) {
			switch t {
			case unix.IFA_LOCAL:
				local = address(v)
			case unix.IFA_ADDRESS:
				addr = address(v)
			}
		})
		if !local.IsValid() {
			local = addr // IPv6 without a peer has only this one
		}
		if l := r.node.Link(r.names[u32(b[4:])]); l != nil && local.IsValid() {
			l.Addresses = append(l.Addresses, netip.PrefixFrom(local, int(b[1])))
		}
	})
	if err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	return nil
}

func (r *reading) routes() error {
	err := r.conn.dump(request(unix.RTM_GETROUTE, 0, &nl.RtMsg{}), func() { r.node.Routes = []topo.Route{} }, func(b []byte) {
		if len(b) < unix.SizeofRtMsg || (b[0] != unix.AF_INET && b[0] != unix.AF_INET6) {
			return
		}
		r.node.Routes = append(r.node.Routes, r.route(b)...)
	})
	if err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	// The kernel's own order of equal destinations stays: the first one wins.
	slices.SortStableFunc(r.node.Routes, func(a, b topo.Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()))
	})
	return nil
}

// route reads one entry: nothing if it does not belong into the picture, more
// than one if it has several next hops.
func (r *reading) route(b []byte) []topo.Route {
	msg := nl.DeserializeRtMsg(b)
	if msg.Flags&unix.RTM_F_CLONED != 0 {
		return nil
	}
	everything := netip.IPv4Unspecified()
	if msg.Family == unix.AF_INET6 {
		everything = netip.IPv6Unspecified()
	}
	route := topo.Route{Dst: netip.PrefixFrom(everything, 0)}
	table := uint32(msg.Table)
	hop := func(o *topo.Route, flags uint8) func(uint16, []byte) {
		o.Onlink = flags&unix.RTNH_F_ONLINK != 0
		o.Down = flags&(unix.RTNH_F_LINKDOWN|unix.RTNH_F_DEAD) != 0
		return func(t uint16, v []byte) {
			switch t {
			case unix.RTA_OIF:
				o.Dev = r.names[u32(v)]
			case unix.RTA_GATEWAY:
				o.Via = address(v)
			case unix.RTA_VIA:
				o.Via = address(v[2:])
			}
		}
	}
	one := hop(&route, uint8(msg.Flags))
	var hops []topo.Route
	var multipath []byte
	attributes(b[unix.SizeofRtMsg:], func(t uint16, v []byte) {
		switch t {
		case unix.RTA_DST:
			route.Dst = netip.PrefixFrom(address(v), int(msg.Dst_len))
		case unix.RTA_PREFSRC:
			route.Src = address(v)
		case unix.RTA_PRIORITY:
			route.Metric = int(u32(v))
		case unix.RTA_TABLE:
			table = u32(v)
		case unix.RTA_MULTIPATH:
			multipath = v
		default:
			one(t, v)
		}
	})
	if table == unix.RT_TABLE_LOCAL || ownRoute(msg, route.Dst) {
		return nil
	}
	if table != unix.RT_TABLE_MAIN {
		route.Table = int(table)
	}
	if msg.Type != unix.RTN_UNICAST {
		route.Type = word(routeTypes, msg.Type)
	}
	if msg.Scope != unix.RT_SCOPE_UNIVERSE {
		route.Scope = word(routeScopes, msg.Scope)
	}
	if msg.Protocol != unix.RTPROT_BOOT {
		route.Protocol = word(routeProtocols, msg.Protocol)
	}
	for len(multipath) >= unix.SizeofRtNexthop {
		nh := nl.DeserializeRtNexthop(multipath)
		size := int(nh.RtNexthop.Len)
		if size < unix.SizeofRtNexthop || size > len(multipath) {
			break
		}
		o := route
		read := hop(&o, nh.Flags)
		read(unix.RTA_OIF, nl.Uint32Attr(uint32(nh.Ifindex)))
		attributes(multipath[unix.SizeofRtNexthop:size], read)
		hops = append(hops, o)
		multipath = multipath[min(len(multipath), (size+3)&^3):]
	}
	if hops == nil {
		return []topo.Route{route}
	}
	return hops
}

// ownRoute says whether the kernel makes this IPv6 route for every interface by itself.
func ownRoute(msg *nl.RtMsg, dst netip.Prefix) bool {
	return msg.Family == unix.AF_INET6 && msg.Protocol == unix.RTPROT_KERNEL &&
		(dst.Addr().IsLinkLocalUnicast() || dst.Addr().IsMulticast())
}

func (r *reading) rules() error {
	err := r.conn.dump(request(unix.RTM_GETRULE, 0, &nl.RtMsg{}), func() { r.node.Rules = []topo.Rule{} }, func(b []byte) {
		if len(b) < unix.SizeofRtMsg || (b[0] != unix.AF_INET && b[0] != unix.AF_INET6) {
			return // multicast routing has rules of its own
		}
		rule := policyRule(b)
		switch fmt.Sprint(rule.Priority, " ", rule.Text) {
		case "0 from all lookup local", "32766 from all lookup main", "32767 from all lookup default":
			return
		}
		r.node.Rules = append(r.node.Rules, rule)
	})
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	slices.SortStableFunc(r.node.Rules, func(a, b topo.Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	return nil
}

// policyRule reads one rule into the words of `ip rule`.
func policyRule(b []byte) topo.Rule {
	var rule topo.Rule
	from, to := "all", ""
	prefix := func(v []byte, bits uint8) string {
		p := netip.PrefixFrom(address(v), int(bits))
		if p.IsSingleIP() {
			return p.Addr().String()
		}
		return p.String()
	}
	var match []string
	var mark, mask, jump uint32
	mask = ^uint32(0)
	table, action, flags := uint32(b[4]), b[7], u32(b[8:])
	attributes(b[unix.SizeofRtMsg:], func(t uint16, v []byte) {
		switch t {
		case unix.FRA_SRC:
			from = prefix(v, b[2])
		case unix.FRA_DST:
			to = prefix(v, b[1])
		case unix.FRA_IIFNAME:
			match = append(match, "iif "+unix.ByteSliceToString(v))
		case unix.FRA_OIFNAME:
			match = append(match, "oif "+unix.ByteSliceToString(v))
		case unix.FRA_FWMARK:
			mark = u32(v)
		case unix.FRA_FWMASK:
			mask = u32(v)
		case unix.FRA_PRIORITY:
			rule.Priority = int(u32(v))
		case unix.FRA_TABLE:
			table = u32(v)
		case unix.FRA_GOTO:
			jump = u32(v)
		}
	})
	slices.Sort(match)
	var w []string
	if flags&unix.FIB_RULE_INVERT != 0 {
		w = append(w, "not")
	}
	w = append(w, "from "+from)
	if to != "" {
		w = append(w, "to "+to)
	}
	switch {
	case mark != 0 && mask != ^uint32(0):
		w = append(w, fmt.Sprintf("fwmark %#x/%#x", mark, mask))
	case mark != 0:
		w = append(w, fmt.Sprintf("fwmark %#x", mark))
	}
	w = append(w, match...)
	switch action {
	case unix.FR_ACT_TO_TBL:
		names := map[uint32]string{unix.RT_TABLE_LOCAL: "local", unix.RT_TABLE_MAIN: "main", unix.RT_TABLE_DEFAULT: "default"}
		name, ok := names[table]
		if !ok {
			name = strconv.Itoa(int(table))
		}
		w = append(w, "lookup "+name)
	case unix.FR_ACT_GOTO:
		w = append(w, "goto "+strconv.Itoa(int(jump)))
	default:
		w = append(w, word(routeTypes, action))
	}
	rule.Text = strings.Join(w, " ")
	return rule
}

// neighMsg is the fixed part of a neighbour or FDB entry.
type neighMsg struct {
	family uint8
	index  uint32
	state  uint16
	flags  uint8
}

const sizeofNdmsg = 12

func neighMessage(b []byte) (n neighMsg, ok bool) {
	if len(b) < sizeofNdmsg {
		return n, false
	}
	return neighMsg{b[0], u32(b[4:]), binary.NativeEndian.Uint16(b[8:]), b[10]}, true
}

func (r *reading) neighbours() error {
	err := r.conn.dump(request(unix.RTM_GETNEIGH, 0, &netlink.Ndmsg{}), func() { r.node.Neighbours = []topo.Neighbour{} }, func(b []byte) {
		n, ok := neighMessage(b)
		state := neighbourStates[n.state]
		if !ok || state == "" || (n.family != unix.AF_INET && n.family != unix.AF_INET6) {
			return
		}
		e := topo.Neighbour{Dev: r.names[n.index], State: state}
		attributes(b[sizeofNdmsg:], func(t uint16, v []byte) {
			switch t {
			case unix.NDA_DST:
				e.IP = address(v)
			case unix.NDA_LLADDR:
				e.MAC = net.HardwareAddr(v).String()
			}
		})
		r.node.Neighbours = append(r.node.Neighbours, e)
	})
	if err != nil {
		return fmt.Errorf("read neighbours: %w", err)
	}
	slices.SortFunc(r.node.Neighbours, func(a, b topo.Neighbour) int {
		return cmp.Or(cmp.Compare(a.Dev, b.Dev), a.IP.Compare(b.IP))
	})
	return nil
}

func (r *reading) fdb() error {
	err := r.conn.dump(request(unix.RTM_GETNEIGH, 0, &netlink.Ndmsg{Family: unix.AF_BRIDGE}), func() { r.node.FDB = []topo.FDBEntry{} }, func(b []byte) {
		n, ok := neighMessage(b)
		if !ok {
			return
		}
		e := topo.FDBEntry{Dev: r.names[n.index]}
		switch {
		case n.state&unix.NUD_PERMANENT != 0:
			e.State = "permanent"
		case n.state&unix.NUD_NOARP != 0:
			e.State = "static"
		}
		var hw net.HardwareAddr
		attributes(b[sizeofNdmsg:], func(t uint16, v []byte) {
			switch t {
			case unix.NDA_LLADDR:
				hw = net.HardwareAddr(v)
				e.MAC = hw.String()
			case unix.NDA_DST:
				e.Dst = address(v)
			case unix.NDA_MASTER:
				e.Master = r.names[u32(v)]
			case unix.NDA_VLAN:
				e.VLAN = int(binary.NativeEndian.Uint16(v))
			}
		})
		if len(hw) == 6 && hw[0]&1 != 0 && !e.Dst.IsValid() {
			return // a group that the device listens to says nothing about where frames go
		}
		r.node.FDB = append(r.node.FDB, e)
	})
	if err != nil {
		return fmt.Errorf("read forwarding entries: %w", err)
	}
	slices.SortFunc(r.node.FDB, func(a, b topo.FDBEntry) int {
		return cmp.Or(cmp.Compare(a.Dev, b.Dev), cmp.Compare(a.MAC, b.MAC), cmp.Compare(a.Master, b.Master), cmp.Compare(a.VLAN, b.VLAN), a.Dst.Compare(b.Dst))
	})
	return nil
}

// The attributes of RTM_GETNETCONF that we read, linux/netconf.h.
const (
	netconfIfindex    = 1
	netconfForwarding = 2
	netconfRPFilter   = 3
	netconfAll        = ^uint32(0)
	netconfDefault    = ^uint32(1)
)

// netconf reads the sysctls of forwarding, which have events, unlike files.
func (r *reading) netconf() error {
	dotted := strings.NewReplacer(".", "/") // as sysctl(8) writes an interface like eth0.10
	err := r.conn.dump(request(unix.RTM_GETNETCONF, 0, raw{unix.AF_UNSPEC, 0, 0, 0}), func() {}, func(b []byte) {
		if len(b) < 4 {
			return
		}
		where, forwarding, rpFilter := "", "", ""
		attributes(b[4:], func(t uint16, v []byte) {
			switch t {
			case netconfIfindex:
				switch i := u32(v); i {
				case netconfAll:
					where = "all"
				case netconfDefault:
					where = "default"
				default:
					where = dotted.Replace(r.names[i])
				}
			case netconfForwarding:
				forwarding = strconv.Itoa(int(u32(v)))
			case netconfRPFilter:
				rpFilter = strconv.Itoa(int(u32(v)))
			}
		})
		switch {
		case where == "":
		case b[0] == unix.AF_INET:
			r.node.Sysctls["net.ipv4.conf."+where+".rp_filter"] = rpFilter
			r.node.Sysctls["net.ipv4.conf."+where+".forwarding"] = forwarding
			if where == "all" {
				r.node.Sysctls["net.ipv4.ip_forward"] = forwarding
			}
		case b[0] == unix.AF_INET6 && where == "all":
			r.node.Sysctls["net.ipv6.conf.all.forwarding"] = forwarding
		}
	})
	if err != nil {
		return fmt.Errorf("read netconf: %w", err)
	}
	return nil
}

// quiet is the part of a node that changes without an event.
type quiet struct {
	sysctls  map[string]string
	sockets  []topo.Socket
	counters map[string]uint64
	// untracked is no part of the node.
	untracked uint64
}

// sysctlFiles have neither netlink nor events.
var sysctlFiles = []string{"net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables", "net.ipv4.icmp_echo_ignore_all"}

// readProc reads a file of the calling thread's namespace into buf. It goes
// around os.File, whose poller costs more than such a file.
func readProc(path string, buf []byte) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err != nil {
			return "", err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return string(buf[:n]), nil
}

// readQuiet reads it for the namespace of the calling thread.
func readQuiet(buf []byte) (quiet, error) {
	q := quiet{sysctls: map[string]string{}, sockets: []topo.Socket{}, counters: map[string]uint64{}}
	for _, key := range sysctlFiles {
		if text, err := readProc("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), buf); err == nil {
			q.sysctls[key] = strings.TrimSpace(text)
		}
	}
	for _, name := range []string{"snmp", "netstat"} {
		text, err := readProc("/proc/thread-self/net/"+name, buf)
		if err != nil {
			return q, fmt.Errorf("read counters: %w", err)
		}
		parseCounters(text, q.counters)
	}
	q.untracked = untracked(buf)
	var err error
	q.sockets, err = readSockets(buf)
	return q, err
}

// counters are those that explain a packet's fate to a learner.
var counters = map[string]bool{
	"Icmp.InEchos": true, "Icmp.InEchoReps": true, "Icmp.OutEchos": true, "Icmp.OutEchoReps": true,
	"Icmp.InDestUnreachs": true, "Icmp.OutDestUnreachs": true, "Icmp.OutTimeExcds": true,
	"Ip.ForwDatagrams": true, "Ip.InAddrErrors": true, "Ip.OutNoRoutes": true, "Ip.FragFails": true,
	"IpExt.InNoRoutes": true, "TcpExt.IPReversePathFilter": true, "Udp.InDatagrams": true, "Udp.NoPorts": true,
}

// parseCounters reads the form of /proc/net/snmp: a line of names, then a line
// of their values, each behind "Group:".
func parseCounters(text string, into map[string]uint64) {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		group, names, ok := strings.Cut(lines[i], ":")
		same, values, ok2 := strings.Cut(lines[i+1], ":")
		if !ok || !ok2 || group != same {
			continue
		}
		v := strings.Fields(values)
		for j, name := range strings.Fields(names) {
			if key := group + "." + name; counters[key] && j < len(v) {
				n, err := strconv.ParseUint(v[j], 10, 64)
				if err == nil {
					into[key] = n
				}
			}
		}
	}
}

// inet_diag, linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	tcpListen        = 10
	sizeofDiagReq    = 56
	sizeofDiagMsg    = 72
)

// readSockets lists listening TCP and all UDP sockets of the calling thread's namespace.
func readSockets(buf []byte) ([]topo.Socket, error) {
	c, err := socket(unix.NETLINK_INET_DIAG, buf)
	if err != nil {
		return nil, err
	}
	defer func() { c.close() }()
	c.limit = tableLimit
	sockets := []topo.Socket{}
	for _, q := range []struct {
		name          string
		family, proto uint8
		states        uint32
	}{
		{"tcp", unix.AF_INET, unix.IPPROTO_TCP, 1 << tcpListen}, {"tcp", unix.AF_INET6, unix.IPPROTO_TCP, 1 << tcpListen},
		{"udp", unix.AF_INET, unix.IPPROTO_UDP, ^uint32(0)}, {"udp", unix.AF_INET6, unix.IPPROTO_UDP, ^uint32(0)},
	} {
		ask := make(raw, sizeofDiagReq)
		ask[0], ask[1] = q.family, q.proto
		binary.NativeEndian.PutUint32(ask[4:], q.states)
		var found []topo.Socket
		err := c.dump(request(sockDiagByFamily, 0, ask), func() { found = nil }, func(b []byte) {
			if len(b) < sizeofDiagMsg {
				return
			}
			size := 16
			if b[0] == unix.AF_INET {
				size = 4
			}
			s := topo.Socket{Protocol: q.name, Local: netip.AddrPortFrom(address(b[8:8+size]), binary.BigEndian.Uint16(b[4:]))}
			if port := binary.BigEndian.Uint16(b[6:]); port != 0 {
				s.Remote = netip.AddrPortFrom(address(b[24:24+size]), port)
			}
			found = append(found, s)
		})
		if err != nil && !lacking(err) {
			return nil, fmt.Errorf("read sockets: %w", err)
		}
		sockets = append(sockets, found...)
	}
	slices.SortFunc(sockets, func(a, b topo.Socket) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Local.Port(), b.Local.Port()), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	return sockets, nil
}

// resolvePeers finds the far ends of all veths among the namespaces that were
// read. Indexes are not unique across namespaces, so the kernel is asked which
// namespace an nsid means.
func resolvePeers(all []*reading) {
	for _, r := range all {
		for _, end := range r.ends {
			l := &r.node.Links[end.link]
			if end.nsid < 0 {
				l.Peer = topo.Link(r.node.ID, r.names[end.peer])
				continue
			}
			for _, far := range all {
				if name, ok := far.names[end.peer]; ok && far != r && far.hasEnd(end.peer, uint32(l.Index)) && r.conn.nsid(far.fd) == end.nsid {
					l.Peer = topo.Link(far.node.ID, name)
					break
				}
			}
		}
	}
}

// resolveParents names the lower devices that are in other namespaces.
func resolveParents(all []*reading) {
	for _, r := range all {
		for _, end := range r.lowers {
			for _, far := range all {
				if name, ok := far.names[end.peer]; ok && far != r && r.conn.nsid(far.fd) == end.nsid {
					r.node.Links[end.link].Parent = string(topo.Link(far.node.ID, name))
					break
				}
			}
		}
	}
}

func (r *reading) hasEnd(index, peer uint32) bool {
	return slices.ContainsFunc(r.ends, func(e vethEnd) bool {
		return uint32(r.node.Links[e.link].Index) == index && e.peer == peer
	})
}

// nsid asks by which number the namespace of c knows the one of fd; -1 if by none.
func (c *conn) nsid(fd int) int32 {
	id := int32(-1)
	req := request(unix.RTM_GETNSID, 0, nl.NewRtGenMsg(), attrU32(unix.NETNSA_FD, uint32(fd)))
	_, err := c.exchange(req, func(_ uint16, b []byte) error {
		attributes(b[min(len(b), 4):], func(t uint16, v []byte) {
			if t == unix.NETNSA_NSID {
				id = int32(u32(v))
			}
		})
		return nil
	})
	if err != nil {
		return -1
	}
	return id
}

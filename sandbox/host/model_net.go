package host

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"kabel/sandbox/topo"
)

// errno is a refusal of the modelled kernel, by the kernel's name for it.
type errno string

func (e errno) Error() string { return cmp.Or(strerror[e], string(e)) }

// The kernel's words for the errors that the model gives.
var strerror = map[errno]string{
	"EADDRNOTAVAIL": "Cannot assign requested address",
	"EBUSY":         "Device or resource busy",
	"EEXIST":        "File exists",
	"EINVAL":        "Invalid argument",
	"ELOOP":         "Too many levels of symbolic links",
	"ENETDOWN":      "Network is down",
	"ENETUNREACH":   "Network is unreachable",
	"ENODEV":        "No such device",
	"ENOENT":        "No such file or directory",
	"EOPNOTSUPP":    "Operation not supported",
	"EPERM":         "Operation not permitted",
	"ESRCH":         "No such process",
}

// network is the modelled kernel of one world.
type network struct {
	machines []topo.Machine
	spaces   []*space // in the order of a snapshot's nodes
	macs     int      // how many were given out
	tape     *tape    // of the probe that runs; nil while nobody captures
}

// space is one network namespace.
type space struct {
	id         topo.NodeID
	kind       topo.NodeKind
	links      []*link // by index
	index      int     // the last one given out
	routes     []topo.Route
	neighbours []topo.Neighbour
	fdb        []topo.FDBEntry // without the ports' own addresses
	sysctls    map[string]string
	policies   map[string]string // of the chains in iptables' filter table
	dropsFrags bool              // in FORWARD
	counters   map[string]uint64
}

// link is one interface; topo.Netdev's Peer, Master and Carrier are derived.
type link struct {
	topo.Netdev
	in     *space
	peer   *link // of a veth
	master *link
	lower  *link   // that a macvlan shares
	shares []*link // the macvlans that share this one
	tunnel *tunnel // of a tun device with a program behind it
}

func newNetwork(spec Spec) *network {
	n := &network{machines: spec.Machines}
	for _, m := range spec.Machines {
		s := n.addSpace(topo.NodeID(m.Name), m.Kind)
		s.setState(s.link("lo"), true)
		if m.Kind == topo.KindRouter {
			s.forward("1")
			s.sysctls["net.ipv6.conf.all.forwarding"] = "1"
		}
		if m.Kind == topo.KindSwitch {
			br := n.newLink(s, "br0", "bridge")
			br.Bridge = &topo.Bridge{}
			s.setState(br, true)
		}
	}
	for _, w := range spec.Wires {
		a, b := n.wireEnd(w.A), n.wireEnd(w.B)
		a.peer, b.peer = b, a
		a.in.setState(a, true)
		b.in.setState(b, true)
	}
	return n
}

func (n *network) wireEnd(id topo.LinkID) *link {
	node, name := id.Split()
	l := n.newLink(n.space(node), name, "veth")
	if l.in.kind == topo.KindSwitch {
		l.master = l.in.link("br0")
	}
	return l
}

func (n *network) space(id topo.NodeID) *space {
	for _, s := range n.spaces {
		if s.id == id {
			return s
		}
	}
	return nil
}

// addSpace puts a namespace behind those of the same machine.
func (n *network) addSpace(id topo.NodeID, kind topo.NodeKind) *space {
	s := &space{id: id, kind: kind, sysctls: map[string]string{}, policies: map[string]string{}, counters: map[string]uint64{}}
	at := len(n.spaces)
	for i, other := range n.spaces {
		if other.id.Machine() == id.Machine() {
			at = i + 1
		}
	}
	n.spaces = slices.Insert(n.spaces, at, s)
	lo := n.newLink(s, "lo", "loopback")
	lo.MAC, lo.MTU = "00:00:00:00:00:00", 65536
	return s
}

func (n *network) newLink(s *space, name, kind string) *link {
	n.macs++
	mac := fmt.Sprintf("0a:00:00:%02x:%02x:%02x", n.macs>>16&255, n.macs>>8&255, n.macs&255)
	s.index++
	l := &link{in: s, Netdev: topo.Netdev{Name: name, Index: s.index, Kind: kind, MAC: mac, MTU: 1500}}
	s.links = append(s.links, l)
	s.inherit(l)
	return l
}

// inherit gives an interface that is new in s the settings of "default".
func (s *space) inherit(l *link) {
	for _, name := range conf {
		if v, ok := s.sysctls[confKey("default", name)]; ok {
			s.sysctls[confKey(l.Name, name)] = v
		}
	}
}

func (s *space) link(name string) *link {
	for _, l := range s.links {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// apply does one op in s.
func (n *network) apply(s *space, op topo.Op) error {
	switch o := op.(type) {
	case topo.NetnsAdd:
		return n.netnsAdd(s, o)
	case topo.NetnsDel:
		return n.netnsDel(s, o)
	case topo.LinkAdd:
		return n.linkAdd(s, o)
	case topo.RouteChange:
		return s.changeRoute(o)
	case topo.Sysctl:
		return s.setSysctl(o)
	case topo.NeighbourFlush:
		s.neighbours = slices.DeleteFunc(s.neighbours, func(e topo.Neighbour) bool {
			return e.State != "permanent" && (o.Dev == "" || o.Dev == e.Dev)
		})
		return nil
	case topo.Run:
		return n.run(s, o)
	}
	// The rest is about one interface that must be there.
	var name string
	switch o := op.(type) {
	case topo.LinkDel:
		name = o.Name
	case topo.LinkSet:
		name = o.Name
	case topo.Address:
		name = o.Dev
	case topo.AddressFlush:
		name = o.Dev
	case topo.NeighbourChange:
		name = o.Dev
	case topo.FDBChange:
		name = o.Dev
	}
	l := s.link(name)
	if l == nil {
		return errno("ENODEV")
	}
	switch o := op.(type) {
	case topo.LinkDel:
		return n.linkDel(l)
	case topo.LinkSet:
		return n.linkSet(l, o)
	case topo.Address:
		return s.changeAddress(l, o)
	case topo.AddressFlush:
		for _, a := range slices.Clone(l.Addresses) {
			s.dropAddress(l, a)
		}
		return nil
	case topo.NeighbourChange:
		return s.changeNeighbour(o)
	case topo.FDBChange:
		return s.changeFDB(l, o)
	}
	return errno("EOPNOTSUPP")
}

func (n *network) netnsAdd(s *space, o topo.NetnsAdd) error {
	switch {
	case s.id.Netns() != "":
		return errno("EPERM") // /run/netns belongs to the machine
	case !topo.ValidNetnsName(o.Name):
		return errno("EINVAL")
	case n.space(s.id.In(o.Name)) != nil:
		return errno("EEXIST")
	}
	n.addSpace(s.id.In(o.Name), topo.KindNetns)
	return nil
}

func (n *network) netnsDel(s *space, o topo.NetnsDel) error {
	gone := n.space(s.id.In(o.Name))
	if o.Name == "" || gone == nil || s.id.Netns() != "" {
		return errno("ENOENT")
	}
	for _, l := range slices.Clone(gone.links) {
		n.unplug(l)
	}
	n.spaces = slices.DeleteFunc(n.spaces, func(t *space) bool { return t == gone })
	return nil
}

func (n *network) linkAdd(s *space, o topo.LinkAdd) error {
	if !topo.ValidLinkName(o.Name) {
		return errno("EINVAL")
	}
	if s.link(o.Name) != nil {
		return errno("EEXIST")
	}
	if o.MTU != 0 && (o.MTU < 68 || o.MTU > 65535) {
		return errno("EINVAL")
	}
	var l *link
	switch o.Kind {
	case "veth":
		far := s
		if o.PeerNetns != "" {
			if far = n.space(s.id.In(o.PeerNetns)); far == nil {
				return errno("ENOENT")
			}
		}
		peer := o.Peer
		for i := 0; peer == ""; i++ {
			if name := "veth" + strconv.Itoa(i); far.link(name) == nil && name != o.Name {
				peer = name
			}
		}
		switch {
		case !topo.ValidLinkName(peer):
			return errno("EINVAL")
		case far.link(peer) != nil, far == s && peer == o.Name:
			return errno("EEXIST")
		}
		// The kernel makes the far end first, so it has the lower index.
		other := n.newLink(far, peer, "veth")
		l = n.newLink(s, o.Name, "veth")
		l.peer, other.peer = other, l
	case "bridge":
		l = n.newLink(s, o.Name, "bridge")
		l.Bridge = &topo.Bridge{}
	case "vxlan":
		if o.VXLAN == nil || o.VXLAN.VNI < 0 || o.VXLAN.VNI >= 1<<24 {
			return errno("EINVAL")
		}
		lower := s.link(o.VXLANDev)
		if o.VXLANDev != "" && lower == nil {
			return errno("ENODEV")
		}
		l = n.newLink(s, o.Name, "vxlan")
		v := *o.VXLAN
		v.Port = cmp.Or(v.Port, 8472)
		l.VXLAN, l.Parent = &v, o.VXLANDev
		if lower != nil {
			l.MTU = lower.MTU - 50
		}
	case "macvlan":
		var err error
		if l, err = n.macvlan(s, o); err != nil {
			return err
		}
	default:
		return errno("EOPNOTSUPP")
	}
	l.MAC, l.MTU = cmp.Or(o.MAC, l.MAC), cmp.Or(o.MTU, l.MTU)
	return nil
}

func (n *network) macvlan(s *space, o topo.LinkAdd) (*link, error) {
	mode := cmp.Or(o.Mode, "vepa")
	lower := s.link(o.Link)
	switch {
	case o.Link == "" || !slices.Contains([]string{"bridge", "private", "vepa", "passthru", "source"}, mode):
		return nil, errno("EINVAL")
	case lower == nil:
		return nil, errno("ENODEV")
	case lower.Kind == "loopback" || lower.Kind == "tun":
		return nil, errno("EINVAL") // no Ethernet
	case lower.lower != nil:
		lower = lower.lower // a macvlan of a macvlan shares what that one does
	}
	if lower.master != nil {
		return nil, errno("EBUSY")
	}
	// Who has the interface for itself does not share it.
	alone := mode == "passthru" || len(lower.shares) > 0 && lower.shares[0].Mode == "passthru"
	if alone && len(lower.shares) > 0 || o.MTU > lower.MTU {
		return nil, errno("EINVAL")
	}
	l := n.newLink(s, o.Name, "macvlan")
	l.Mode, l.lower, l.MTU = mode, lower, lower.MTU
	if mode == "passthru" {
		l.MAC = lower.MAC
	}
	lower.shares = append(lower.shares, l)
	return l, nil
}

func (n *network) linkDel(l *link) error {
	if l.Kind == "loopback" {
		return errno("EOPNOTSUPP")
	}
	n.unplug(l)
	return nil
}

// unplug removes an interface with what shares it and, of a veth, the other end.
func (n *network) unplug(l *link) {
	for _, upper := range slices.Clone(l.shares) {
		n.unplug(upper)
	}
	if l.lower != nil {
		l.lower.shares = slices.DeleteFunc(l.lower.shares, func(m *link) bool { return m == l })
	}
	l.in.forget(l)
	if p := l.peer; p != nil {
		l.peer, p.peer = nil, nil
		n.unplug(p)
	}
}

// forget takes a link and everything that hangs on it out of s.
func (s *space) forget(l *link) {
	s.setState(l, false)
	l.Addresses, l.master = nil, nil
	s.links = slices.DeleteFunc(s.links, func(m *link) bool { return m == l })
	s.fdb = slices.DeleteFunc(s.fdb, func(e topo.FDBEntry) bool { return e.Dev == l.Name || e.Master == l.Name })
	for _, m := range s.links {
		if m.master == l {
			m.master = nil
		}
	}
	for _, name := range conf {
		delete(s.sysctls, confKey(l.Name, name))
	}
}

func (n *network) linkSet(l *link, o topo.LinkSet) error {
	s := l.in
	if o.MTU != 0 {
		if o.MTU < 68 || o.MTU > 65535 && l.Kind != "loopback" || l.lower != nil && o.MTU > l.lower.MTU {
			return errno("EINVAL")
		}
		l.MTU = o.MTU
		for _, m := range l.shares {
			m.MTU = min(m.MTU, l.MTU)
		}
	}
	l.MAC = cmp.Or(o.MAC, l.MAC)
	if o.Rename != "" {
		if err := s.rename(l, o.Rename); err != nil {
			return err
		}
	}
	switch {
	case o.NoMaster:
		l.enslave(nil)
	case o.Master != "":
		m := s.link(o.Master)
		switch {
		case m == nil:
			return errno("ENODEV")
		case m.Kind != "bridge":
			return errno("EOPNOTSUPP")
		case l.Kind == "bridge":
			return errno("ELOOP")
		case l.Kind == "loopback" || l.Kind == "tun":
			return errno("EINVAL")
		case len(l.shares) > 0:
			return errno("EBUSY")
		}
		l.enslave(m)
	}
	switch o.State {
	case "up":
		s.setState(l, true)
	case "down":
		s.setState(l, false)
	}
	if o.Netns != "" {
		return n.move(l, o.Netns)
	}
	return nil
}

func (l *link) enslave(master *link) {
	l.master = master
	l.in.fdb = slices.DeleteFunc(l.in.fdb, func(e topo.FDBEntry) bool { return e.Dev == l.Name && e.Master != "" })
}

func (s *space) rename(l *link, name string) error {
	switch {
	case !topo.ValidLinkName(name):
		return errno("EINVAL")
	case s.link(name) == l:
		return nil
	case s.link(name) != nil:
		return errno("EEXIST")
	}
	for i := range s.routes {
		if s.routes[i].Dev == l.Name {
			s.routes[i].Dev = name
		}
	}
	for i := range s.neighbours {
		if s.neighbours[i].Dev == l.Name {
			s.neighbours[i].Dev = name
		}
	}
	for i := range s.fdb {
		if s.fdb[i].Dev == l.Name {
			s.fdb[i].Dev = name
		}
		if s.fdb[i].Master == l.Name {
			s.fdb[i].Master = name
		}
	}
	for _, c := range conf {
		if v, ok := s.sysctls[confKey(l.Name, c)]; ok {
			delete(s.sysctls, confKey(l.Name, c))
			s.sysctls[confKey(name, c)] = v
		}
	}
	l.Name = name
	return nil
}

// move takes an interface to another namespace of the machine. It arrives down
// and bare, with its index if that is free.
func (n *network) move(l *link, netns string) error {
	id := l.in.id.In(netns)
	if netns == "1" { // the namespace of pid 1 is the machine's own
		id = l.in.id.In("")
	}
	to := n.space(id)
	switch {
	case to == nil:
		return errno("ENOENT")
	case to == l.in:
		return nil
	case l.Kind == "loopback" || l.Kind == "bridge":
		return errno("EINVAL") // "The interface netns is immutable"
	case to.link(l.Name) != nil:
		return errno("EEXIST")
	}
	l.in.forget(l)
	l.in = to
	if slices.ContainsFunc(to.links, func(m *link) bool { return m.Index == l.Index }) {
		to.index++
		l.Index = to.index
	}
	to.index = max(to.index, l.Index)
	to.links = append(to.links, l)
	slices.SortFunc(to.links, func(a, b *link) int { return cmp.Compare(a.Index, b.Index) })
	to.inherit(l)
	return nil
}

// setState is `ip link set up` and `down`, with the routes that come and go.
func (s *space) setState(l *link, up bool) {
	if l.Up == up {
		return
	}
	l.Up = up
	if up {
		if l.Kind == "loopback" {
			l.addAddress(netip.MustParsePrefix("127.0.0.1/8"))
			l.addAddress(netip.MustParsePrefix("::1/128"))
		}
		for _, a := range l.Addresses {
			s.connect(l, a)
		}
		return
	}
	s.routes = slices.DeleteFunc(s.routes, func(r topo.Route) bool { return r.Dev == l.Name })
	s.neighbours = slices.DeleteFunc(s.neighbours, func(e topo.Neighbour) bool { return e.Dev == l.Name })
	s.fdb = slices.DeleteFunc(s.fdb, func(e topo.FDBEntry) bool { return e.Dev == l.Name && e.State == "" })
	l.Addresses = slices.DeleteFunc(l.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() })
}

// carrier is IFF_LOWER_UP.
func (l *link) carrier() bool {
	if !l.Up {
		return false
	}
	switch l.Kind {
	case "veth":
		return l.peer.Up
	case "bridge":
		alone := true
		for _, p := range l.in.links {
			if p.master == l {
				if p.carrier() {
					return true
				}
				alone = false
			}
		}
		return alone
	case "tun":
		return l.tunnel != nil
	case "macvlan":
		return l.lower.carrier()
	}
	return true
}

// addAddress keeps IPv4 before IPv6, each in the order of coming.
func (l *link) addAddress(a netip.Prefix) {
	if slices.Contains(l.Addresses, a) {
		return
	}
	at := len(l.Addresses)
	if a.Addr().Is4() {
		if i := slices.IndexFunc(l.Addresses, func(b netip.Prefix) bool { return b.Addr().Is6() }); i >= 0 {
			at = i
		}
	}
	l.Addresses = slices.Insert(l.Addresses, at, a)
}

func (s *space) changeAddress(l *link, o topo.Address) error {
	if !o.Prefix.IsValid() || o.Prefix.Addr().Zone() != "" {
		return errno("EINVAL")
	}
	there := slices.Contains(l.Addresses, o.Prefix)
	switch o.Verb {
	case topo.VerbAdd, topo.VerbReplace:
		if there {
			if o.Verb == topo.VerbAdd {
				return errno("EEXIST")
			}
			return nil
		}
		l.addAddress(o.Prefix)
		if l.Up {
			s.connect(l, o.Prefix)
		}
	case topo.VerbDel:
		if !there {
			return errno("EADDRNOTAVAIL")
		}
		s.dropAddress(l, o.Prefix)
	default:
		return errno("EINVAL")
	}
	return nil
}

// connect adds the route to an address's own network. An IPv4 address in the
// network of an earlier one is secondary and adds none.
func (s *space) connect(l *link, a netip.Prefix) {
	if a.IsSingleIP() && a.Addr().Is4() || l.Kind == "loopback" {
		return
	}
	r := topo.Route{Dst: a.Masked(), Dev: l.Name, Protocol: "kernel"}
	if a.Addr().Is4() {
		if l.primary(a) != a {
			return
		}
		r.Scope, r.Src = "link", a.Addr()
	} else {
		r.Metric = 256
	}
	if !slices.Contains(s.routes, r) {
		s.routes = append(s.routes, r)
	}
}

// primary is the first address of a's own network on l.
func (l *link) primary(a netip.Prefix) netip.Prefix {
	i := slices.IndexFunc(l.Addresses, func(b netip.Prefix) bool { return b.Masked() == a.Masked() })
	return l.Addresses[i]
}

// dropAddress also takes the secondaries with their primary, as the kernel does
// without promote_secondaries, and the routes that were sent from it.
func (s *space) dropAddress(l *link, a netip.Prefix) {
	if !slices.Contains(l.Addresses, a) {
		return
	}
	gone := []netip.Prefix{a}
	if a.Addr().Is4() && l.primary(a) == a {
		for _, b := range l.Addresses {
			if b != a && b.Masked() == a.Masked() {
				gone = append(gone, b)
			}
		}
	}
	l.Addresses = slices.DeleteFunc(l.Addresses, func(b netip.Prefix) bool { return slices.Contains(gone, b) })
	s.routes = slices.DeleteFunc(s.routes, func(r topo.Route) bool {
		own := r.Dev == l.Name && r.Protocol == "kernel" && r.Dst == a.Masked() && (a.Addr().Is6() || r.Src == a.Addr())
		from := slices.ContainsFunc(gone, func(b netip.Prefix) bool { return r.Src == b.Addr() && s.owner(r.Src) == nil })
		return own || from
	})
}

// owner is the interface that has the address ip.
func (s *space) owner(ip netip.Addr) *link {
	for _, l := range s.links {
		for _, a := range l.Addresses {
			if a.Addr() == ip || l.Kind == "loopback" && l.Up && a.Contains(ip) {
				return l
			}
		}
	}
	return nil
}

func (s *space) changeRoute(o topo.RouteChange) error {
	r := o.Route
	r.Down = false
	if !r.Dst.IsValid() {
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Via.Is6() || r.Src.Is6() {
			r.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	if r.Dst != r.Dst.Masked() {
		return errno("EINVAL") // bits beyond the prefix
	}
	if o.Verb == topo.VerbDel {
		return s.deleteRoute(r)
	}
	if r.Type == "" {
		if err := s.nextHop(&r); err != nil {
			return err
		}
		if !r.Via.IsValid() && r.Dst.Addr().Is4() {
			r.Scope = cmp.Or(r.Scope, "link")
		}
	}
	if r.Dst.Addr().Is6() {
		r.Metric = cmp.Or(r.Metric, 1024)
	}
	same := slices.IndexFunc(s.routes, func(q topo.Route) bool {
		return q.Dst == r.Dst && q.Metric == r.Metric && q.Table == r.Table
	})
	switch {
	case same < 0 && o.Verb != "", o.Verb == topo.VerbAppend:
		s.routes = append(s.routes, r)
	case o.Verb == topo.VerbReplace:
		s.routes[same] = r
	case o.Verb == topo.VerbAdd:
		return errno("EEXIST")
	default:
		return errno("EINVAL")
	}
	return nil
}

// nextHop checks, and completes with the interface, how r leaves.
func (s *space) nextHop(r *topo.Route) error {
	if r.Dev == "" && !r.Via.IsValid() {
		return errno("ENODEV")
	}
	if r.Dev != "" {
		switch l := s.link(r.Dev); {
		case l == nil:
			return errno("ENODEV")
		case !l.Up:
			return errno("ENETDOWN")
		}
	}
	if r.Src.IsValid() && s.owner(r.Src) == nil {
		return errno("EINVAL")
	}
	if !r.Via.IsValid() || r.Onlink && r.Dev != "" {
		return nil
	}
	// One's own address on the interface does as a gateway; otherwise it must
	// be on a network that an interface is directly on.
	if own := s.owner(r.Via); own != nil && own.Up && (r.Dev == "" || own.Name == r.Dev) {
		r.Dev = own.Name
		return nil
	}
	direct, ok := s.lookup(r.Via, r.Dev)
	if !ok || direct.Via.IsValid() || direct.Type != "" {
		return errno("ENETUNREACH")
	}
	r.Dev = direct.Dev
	return nil
}

// lookup is the best route to ip, through dev if that is not empty.
func (s *space) lookup(ip netip.Addr, dev string) (topo.Route, bool) {
	var best topo.Route
	found := false
	for _, r := range s.routes {
		if !r.Dst.Contains(ip) || r.Table != 0 || dev != "" && r.Dev != dev {
			continue
		}
		if !found || r.Dst.Bits() > best.Dst.Bits() || r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric {
			best, found = r, true
		}
	}
	return best, found
}

func (s *space) deleteRoute(r topo.Route) error {
	for i, q := range s.routes {
		if q.Dst == r.Dst && q.Table == r.Table && q.Type == r.Type && unless(r.Dev, q.Dev) && unless(r.Via, q.Via) &&
			unless(r.Src, q.Src) && unless(r.Metric, q.Metric) && unless(r.Scope, q.Scope) && unless(r.Protocol, q.Protocol) {
			s.routes = slices.Delete(s.routes, i, i+1)
			return nil
		}
	}
	return errno("ESRCH")
}

// unless says that what was asked for is what there is, or was left open.
func unless[T comparable](asked, is T) bool {
	var open T
	return asked == open || asked == is
}

func (s *space) changeNeighbour(o topo.NeighbourChange) error {
	if !o.IP.IsValid() {
		return errno("EINVAL")
	}
	i := slices.IndexFunc(s.neighbours, func(e topo.Neighbour) bool { return e.IP == o.IP && e.Dev == o.Dev })
	e := topo.Neighbour{IP: o.IP, MAC: o.MAC, Dev: o.Dev, State: "permanent"}
	switch {
	case o.Verb == topo.VerbDel && i < 0:
		return errno("ENOENT")
	case o.Verb == topo.VerbDel:
		s.neighbours = slices.Delete(s.neighbours, i, i+1)
	case o.MAC == "" || o.Verb != topo.VerbAdd && o.Verb != topo.VerbReplace:
		return errno("EINVAL")
	case i < 0:
		s.neighbours = append(s.neighbours, e)
	case o.Verb == topo.VerbAdd:
		return errno("EEXIST")
	default:
		s.neighbours[i] = e
	}
	return nil
}

func (s *space) changeFDB(l *link, o topo.FDBChange) error {
	e := topo.FDBEntry{MAC: o.MAC, Dev: o.Dev, Dst: o.Dst, State: cmp.Or(o.State, "permanent")}
	switch {
	case o.MAC == "", !o.Master && o.Dst.IsValid() && l.Kind != "vxlan":
		return errno("EINVAL")
	case o.Master && l.master == nil, !o.Master && l.Kind != "vxlan":
		return errno("EOPNOTSUPP")
	case o.Master:
		e.Master = l.master.Name
	}
	i := slices.IndexFunc(s.fdb, func(f topo.FDBEntry) bool {
		return f.MAC == e.MAC && f.Dev == e.Dev && f.Master == e.Master && (o.Verb != topo.VerbAppend && !o.Dst.IsValid() || f.Dst == e.Dst)
	})
	switch {
	case o.Verb == topo.VerbDel && i < 0:
		return errno("ENOENT")
	case o.Verb == topo.VerbDel:
		s.fdb = slices.Delete(s.fdb, i, i+1)
	case o.Verb != topo.VerbAdd && o.Verb != topo.VerbAppend && o.Verb != topo.VerbReplace:
		return errno("EINVAL")
	case i < 0:
		s.fdb = append(s.fdb, e)
	case o.Verb == topo.VerbReplace:
		s.fdb[i] = e
	default:
		return errno("EEXIST")
	}
	return nil
}

const ipForward = "net.ipv4.ip_forward"

// conf are the settings of an interface, and of "all" and "default", that the
// model obeys.
var conf = []string{"rp_filter", "forwarding"}

func confKey(dev, name string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(dev, ".", "/") + "." + name
}

// setSysctl takes the settings that a snapshot of the model shows, and some that
// make no difference to it.
func (s *space) setSysctl(o topo.Sysctl) error {
	if _, ok := s.shownSysctls()[o.Key]; !ok && !s.silentSysctl(o.Key) {
		return errno("ENOENT")
	}
	if v, err := strconv.Atoi(o.Value); err != nil || v < 0 {
		return errno("EINVAL")
	}
	if o.Key == ipForward || o.Key == confKey("all", "forwarding") {
		s.forward(o.Value)
		return nil
	}
	s.sysctls[o.Key] = o.Value
	return nil
}

// forward sets ip_forward, which sets forwarding of every interface.
func (s *space) forward(value string) {
	s.sysctls[ipForward] = value
	s.sysctls[confKey("all", "forwarding")] = value
	s.sysctls[confKey("default", "forwarding")] = value
	for _, l := range s.links {
		s.sysctls[confKey(l.Name, "forwarding")] = value
	}
}

// silentSysctl says whether key is net.ipv4 or net.ipv6.conf.INTERFACE.NAME with
// a name that the model takes and ignores.
func (s *space) silentSysctl(key string) bool {
	parts := strings.Split(key, ".")
	if len(parts) != 5 || parts[0] != "net" || parts[1] != "ipv4" && parts[1] != "ipv6" || parts[2] != "conf" {
		return false
	}
	where := strings.ReplaceAll(parts[3], "/", ".")
	return (where == "all" || where == "default" || s.link(where) != nil) &&
		slices.Contains([]string{"disable_ipv6", "accept_local", "arp_ignore", "arp_filter", "proxy_arp"}, parts[4])
}

func (s *space) shownSysctls() map[string]string {
	shown := map[string]string{ipForward: "0", "net.ipv6.conf.all.forwarding": "0", "net.ipv4.icmp_echo_ignore_all": "0",
		bridgeCallIptables: "1", "net.bridge.bridge-nf-call-ip6tables": "1"}
	for _, name := range conf {
		shown[confKey("all", name)], shown[confKey("default", name)] = "0", "0"
		for _, l := range s.links {
			shown[confKey(l.Name, name)] = "0"
		}
	}
	for k := range shown {
		if v, ok := s.sysctls[k]; ok {
			shown[k] = v
		}
	}
	return shown
}

// nodes is the world as a snapshot shows it.
func (n *network) nodes() []topo.Node {
	out := make([]topo.Node, len(n.spaces))
	for i, s := range n.spaces {
		out[i] = s.node()
	}
	return out
}

func (s *space) node() topo.Node {
	node := topo.Node{ID: s.id, Kind: s.kind, Links: []topo.Netdev{}, Rules: []topo.Rule{}, Sockets: []topo.Socket{},
		Neighbours: append([]topo.Neighbour{}, s.neighbours...), FDB: append([]topo.FDBEntry{}, s.fdb...),
		Routes: append([]topo.Route{}, s.routes...), Firewall: s.firewall(), Sysctls: s.shownSysctls(), Counters: maps.Clone(s.counters)}
	for _, l := range s.links {
		d := l.Netdev
		d.Addresses = append([]netip.Prefix{}, l.Addresses...)
		d.Carrier = l.carrier()
		if l.peer != nil {
			d.Peer = topo.Link(l.peer.in.id, l.peer.Name)
		}
		if l.lower != nil {
			d.Parent = l.lower.Name
			if l.lower.in != s {
				d.Parent = string(topo.Link(l.lower.in.id, l.lower.Name))
			}
		}
		if l.master != nil {
			d.Master = l.master.Name
			node.FDB = append(node.FDB, topo.FDBEntry{MAC: l.MAC, Dev: l.Name, Master: l.master.Name, State: "permanent"})
		}
		if l.tunnel != nil {
			node.Sockets = append(node.Sockets, topo.Socket{Protocol: "udp", Local: l.tunnel.local, Remote: l.tunnel.remote})
		}
		node.Links = append(node.Links, d)
	}
	for i := range node.Routes {
		r := &node.Routes[i]
		if l := s.link(r.Dev); l != nil {
			r.Down = !l.carrier()
		}
	}
	slices.SortStableFunc(node.Routes, func(a, b topo.Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()), cmp.Compare(a.Metric, b.Metric))
	})
	return node
}

// firewall shows iptables' filter table once it was touched.
func (s *space) firewall() []topo.Chain {
	chains := []topo.Chain{}
	if len(s.policies) == 0 && !s.dropsFrags {
		return chains
	}
	for _, name := range filterChains {
		c := topo.Chain{Tool: "iptables", Family: "ip", Table: "filter", Name: name, Policy: cmp.Or(s.policies[name], "ACCEPT"), Rules: []topo.FirewallRule{}}
		if name == "FORWARD" && s.dropsFrags {
			c.Rules = append(c.Rules, topo.FirewallRule{Text: "-A FORWARD -f -j DROP"})
		}
		chains = append(chains, c)
	}
	return chains
}

// refusal makes the OpError of a failed op.
func refusal(index int, p topo.Placed, err error) *OpError {
	e := &OpError{Index: index, Node: p.Node, Command: p.Command(), Message: err.Error()}
	if no, ok := errors.AsType[errno](err); ok {
		e.Errno = string(no)
	}
	return e
}

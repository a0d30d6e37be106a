package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

// The ops that have a netlink message. Each says what iproute2 6.1 would say
// for the op's command: the same defaults, and the same words when it refuses.

// namespace opens what "netns name" means to iproute2 on the machine of node: a
// name of /run/netns, or else a process: 1 is the machine's own.
func (a *applier) namespace(node topo.NodeID, name string) (*netns, error) {
	if topo.ValidNetnsName(name) {
		ns, err := a.w.open(node.In(name))
		if err == nil {
			return ns, nil
		}
		if name == "1" {
			return a.w.open(node.In(""))
		}
		if !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
	}
	return nil, faultf(unix.EINVAL, "argument %q is wrong: Invalid \"netns\" value", name)
}

func notIfname(name string) error {
	return faultf(unix.EINVAL, "argument %q is wrong: \"name\" not a valid ifname", name)
}

func lladdr(mac string) ([]byte, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return nil, faultf(unix.EINVAL, "%q is invalid lladdr.", mac)
	}
	return hw, nil
}

func (a *applier) linkAdd(ctx context.Context, p *place, node topo.NodeID, o topo.LinkAdd) error {
	req := request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if o.Name == "" || len(o.Name) >= unix.IFNAMSIZ || strings.ContainsRune(o.Name, 0) {
		return notIfname(o.Name)
	}
	req.AddData(attrString(unix.IFLA_IFNAME, o.Name))
	if o.MAC != "" {
		hw, err := lladdr(o.MAC)
		if err != nil {
			return err
		}
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, hw))
	}
	if o.MTU != 0 {
		req.AddData(attrU32(unix.IFLA_MTU, uint32(o.MTU)))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(o.Kind))
	switch o.Kind {
	case "veth":
		peer, done, err := a.vethPeer(node, o)
		if err != nil {
			return err
		}
		defer done()
		if peer != nil {
			info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddChild(peer)
		}
	case "vxlan":
		data, err := a.vxlan(ctx, p, o)
		if err != nil {
			return err
		}
		info.AddChild(data)
	case "macvlan":
		if o.Link != "" {
			lower, err := a.device(ctx, p, o.Link)
			if err != nil {
				return err
			}
			req.AddData(attrU32(unix.IFLA_LINK, lower))
		}
		if o.Mode != "" {
			mode, ok := macvlanModes[o.Mode]
			if !ok {
				return faultf(unix.EINVAL, "argument of \"mode\" must be \"private\", \"vepa\", \"bridge\", \"passthru\" or \"source\", not %q", o.Mode)
			}
			info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(uint32(mode)))
		}
	}
	req.AddData(info)
	return p.do(req)
}

// vethPeer describes the far end, nil if the kernel shall choose; done closes
// the namespace that the description refers to.
func (a *applier) vethPeer(node topo.NodeID, o topo.LinkAdd) (peer *nl.RtAttr, done func(), err error) {
	done = func() {}
	if o.Peer == "" {
		if o.PeerNetns != "" {
			return nil, done, faultf(unix.EINVAL, "a peer's namespace needs the peer's name")
		}
		return nil, done, nil
	}
	if len(o.Peer) >= unix.IFNAMSIZ || strings.ContainsRune(o.Peer, 0) {
		return nil, done, notIfname(o.Peer)
	}
	peer = nl.NewRtAttr(nl.VETH_INFO_PEER, nil)
	peer.AddChild(nl.NewIfInfomsg(unix.AF_UNSPEC))
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(o.Peer))
	if o.PeerNetns != "" {
		ns, err := a.namespace(node, o.PeerNetns)
		if err != nil {
			return nil, done, err
		}
		done = ns.close
		peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.fd)))
	}
	return peer, done, nil
}

func (a *applier) vxlan(ctx context.Context, p *place, o topo.LinkAdd) (*nl.RtAttr, error) {
	data := nl.NewRtAttr(nl.IFLA_INFO_DATA, nil)
	v := o.VXLAN
	if v == nil {
		return nil, faultf(unix.EINVAL, "vxlan: missing virtual network identifier")
	}
	if v.VNI < 0 || v.VNI >= 1<<24 {
		return nil, faultf(unix.EINVAL, "argument \"%d\" is wrong: invalid id", v.VNI)
	}
	if v.Port < 0 || v.Port > 65535 {
		return nil, faultf(unix.EINVAL, "argument \"%d\" is wrong: invalid dst port", v.Port)
	}
	if v.Remote.IsMulticast() && o.VXLANDev == "" {
		return nil, faultf(unix.EINVAL, "vxlan: 'group' requires 'dev' to be specified")
	}
	data.AddRtAttr(nl.IFLA_VXLAN_ID, nl.Uint32Attr(uint32(v.VNI)))
	byFamily := func(addr netip.Addr, v4, v6 int) {
		switch {
		case addr.Is4():
			data.AddChild(attrAddr(v4, addr))
		case addr.Is6():
			data.AddChild(attrAddr(v6, addr))
		}
	}
	byFamily(v.Local, nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6)
	byFamily(v.Remote, nl.IFLA_VXLAN_GROUP, nl.IFLA_VXLAN_GROUP6)
	if o.VXLANDev != "" {
		lower, err := a.device(ctx, p, o.VXLANDev)
		if err != nil {
			return nil, err
		}
		data.AddRtAttr(nl.IFLA_VXLAN_LINK, nl.Uint32Attr(lower))
	}
	if v.Port != 0 {
		data.AddRtAttr(nl.IFLA_VXLAN_PORT, nl.BEUint16Attr(uint16(v.Port)))
	}
	var learning uint8
	if v.Learning {
		learning = 1
	}
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, nl.Uint8Attr(learning))
	return data, nil
}

func (a *applier) linkDel(ctx context.Context, p *place, o topo.LinkDel) error {
	index, err := a.device(ctx, p, o.Name)
	if err != nil {
		return err
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	return p.do(request(unix.RTM_DELLINK, 0, msg))
}

func (a *applier) linkSet(ctx context.Context, p *place, node topo.NodeID, o topo.LinkSet) error {
	index, err := a.device(ctx, p, o.Name)
	if err != nil {
		return err
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req := request(unix.RTM_NEWLINK, 0, msg)
	switch o.State {
	case "up":
		msg.Change, msg.Flags = unix.IFF_UP, unix.IFF_UP
	case "down":
		msg.Change = unix.IFF_UP
	case "":
	default:
		return faultf(unix.EINVAL, "argument %q is wrong: a link is up or down", o.State)
	}
	if o.MTU != 0 {
		req.AddData(attrU32(unix.IFLA_MTU, uint32(o.MTU)))
	}
	if o.MAC != "" {
		hw, err := lladdr(o.MAC)
		if err != nil {
			return err
		}
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, hw))
	}
	if o.Rename != "" {
		if len(o.Rename) >= unix.IFNAMSIZ || strings.ContainsRune(o.Rename, 0) {
			return notIfname(o.Rename)
		}
		req.AddData(attrString(unix.IFLA_IFNAME, o.Rename))
	}
	switch {
	case o.NoMaster:
		req.AddData(attrU32(unix.IFLA_MASTER, 0))
	case o.Master != "":
		master := p.index(o.Master)
		if master == 0 {
			return faultf(unix.ENODEV, "argument %q is wrong: Device does not exist", o.Master)
		}
		req.AddData(attrU32(unix.IFLA_MASTER, master))
	}
	if o.Netns != "" {
		ns, err := a.namespace(node, o.Netns)
		if err != nil {
			return err
		}
		defer ns.close()
		req.AddData(attrU32(unix.IFLA_NET_NS_FD, uint32(ns.fd)))
	}
	if err := p.do(req); err != nil {
		return err
	}
	if o.State != "" {
		p.settle(index)
	}
	return nil
}

// table is how a verb is spoken to the kernel: the message for adding, the one
// for deleting, and which flags.
func table(v topo.Verb, add, del int) (kind, flags int, err error) {
	switch v {
	case topo.VerbAdd:
		return add, unix.NLM_F_CREATE | unix.NLM_F_EXCL, nil
	case topo.VerbReplace:
		return add, unix.NLM_F_CREATE | unix.NLM_F_REPLACE, nil
	case topo.VerbAppend:
		return add, unix.NLM_F_CREATE | unix.NLM_F_APPEND, nil
	case topo.VerbDel:
		return del, 0, nil
	}
	return 0, 0, faultf(unix.EINVAL, "Command %q is unknown", v)
}

func (a *applier) address(ctx context.Context, p *place, o topo.Address) error {
	kind, flags, err := table(o.Verb, unix.RTM_NEWADDR, unix.RTM_DELADDR)
	if err != nil {
		return err
	}
	if !o.Prefix.IsValid() || o.Verb == topo.VerbAppend {
		return faultf(unix.EINVAL, "any valid prefix is expected")
	}
	index, err := a.device(ctx, p, o.Dev)
	if err != nil {
		return err
	}
	addr := o.Prefix.Addr()
	msg := nl.NewIfAddrmsg(int(family(addr)))
	msg.Prefixlen, msg.Index = uint8(o.Prefix.Bits()), index
	if o.Verb != topo.VerbDel && addr.Is4() && addr.IsLoopback() {
		msg.Scope = unix.RT_SCOPE_HOST
	}
	return p.do(request(kind, flags, msg, attrAddr(unix.IFA_LOCAL, addr), attrAddr(unix.IFA_ADDRESS, addr)))
}

// raw is a message that is sent back as it came.
type raw []byte

func (r raw) Len() int          { return len(r) }
func (r raw) Serialize() []byte { return r }

// sweep deletes what a dump shows and wanted chooses, until a dump shows no
// more of it, as iproute2's flush does.
func (a *applier) sweep(p *place, get, del int, msg func() nl.NetlinkRequestData, wanted func(body []byte) bool) error {
	for range 10 {
		var found []raw
		err := p.dump(request(get, 0, msg()), func() { found = found[:0] }, func(body []byte) {
			if wanted(body) {
				found = append(found, raw(append([]byte(nil), body...)))
			}
		})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return nil
		}
		for _, entry := range found {
			err := p.do(request(del, 0, entry))
			if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENOENT) {
				return err // the two: it went with another, or by itself
			}
		}
	}
	return nil
}

func (a *applier) addressFlush(ctx context.Context, p *place, o topo.AddressFlush) error {
	index, err := a.device(ctx, p, o.Dev)
	if err != nil {
		return faultf(unix.ENODEV, "Device %q does not exist.", o.Dev)
	}
	return a.sweep(p, unix.RTM_GETADDR, unix.RTM_DELADDR,
		func() nl.NetlinkRequestData { return nl.NewIfAddrmsg(unix.AF_UNSPEC) },
		func(b []byte) bool { return len(b) >= unix.SizeofIfAddrmsg && u32(b[4:]) == index })
}

func (a *applier) route(ctx context.Context, p *place, o topo.RouteChange) error {
	kind, flags, err := table(o.Verb, unix.RTM_NEWROUTE, unix.RTM_DELROUTE)
	if err != nil {
		return err
	}
	msg := nl.NewRtMsg()
	if o.Verb == topo.VerbDel {
		msg = nl.NewRtDelMsg()
	}
	req := request(kind, flags, msg)
	isDefault := !o.Dst.IsValid() || o.Dst.Bits() == 0
	switch { // "default" has the family of the first address behind it
	case o.Dst.IsValid() && (!isDefault || o.Dst.Addr().Is6()):
		msg.Family = family(o.Dst.Addr())
	case o.Via.IsValid():
		msg.Family = family(o.Via)
	case o.Src.IsValid():
		msg.Family = family(o.Src)
	default:
		msg.Family = unix.AF_INET
	}
	if !isDefault {
		msg.Dst_len = uint8(o.Dst.Bits())
		req.AddData(attrAddr(unix.RTA_DST, o.Dst.Addr()))
	}
	if o.Type != "" {
		if msg.Type, err = number(routeTypes, o.Type); err != nil {
			return err
		}
	}
	if o.Protocol != "" {
		if msg.Protocol, err = number(routeProtocols, o.Protocol); err != nil {
			return err
		}
	}
	if o.Scope != "" {
		if msg.Scope, err = number(routeScopes, o.Scope); err != nil {
			return err
		}
	} else {
		msg.Scope = routeScope(msg.Family, msg.Type, o)
	}
	if o.Via.IsValid() {
		if family(o.Via) == msg.Family {
			req.AddData(attrAddr(unix.RTA_GATEWAY, o.Via))
		} else {
			req.AddData(nl.NewRtAttr(unix.RTA_VIA, append(nl.Uint16Attr(uint16(family(o.Via))), o.Via.AsSlice()...)))
		}
	}
	if o.Src.IsValid() {
		req.AddData(attrAddr(unix.RTA_PREFSRC, o.Src))
	}
	if o.Onlink {
		msg.Flags |= unix.RTNH_F_ONLINK
	}
	if o.Metric != 0 {
		req.AddData(attrU32(unix.RTA_PRIORITY, uint32(o.Metric)))
	}
	switch {
	case o.Table >= 256:
		msg.Table = unix.RT_TABLE_UNSPEC
		req.AddData(attrU32(unix.RTA_TABLE, uint32(o.Table)))
	case o.Table < 0:
		return faultf(unix.EINVAL, "argument \"%d\" is wrong: \"table\" value is invalid", o.Table)
	case o.Table > 0:
		msg.Table = uint8(o.Table)
	case msg.Type == unix.RTN_LOCAL || msg.Type == unix.RTN_BROADCAST || msg.Type == unix.RTN_ANYCAST:
		msg.Table = unix.RT_TABLE_LOCAL
	}
	if o.Dev != "" {
		index, err := a.device(ctx, p, o.Dev)
		if err != nil {
			return err
		}
		req.AddData(attrU32(unix.RTA_OIF, index))
	}
	return p.do(req)
}

// routeScope is the scope that iproute2 chooses when none is written.
func routeScope(fam, kind uint8, o topo.RouteChange) uint8 {
	if fam == unix.AF_INET6 {
		return unix.RT_SCOPE_UNIVERSE
	}
	switch kind {
	case unix.RTN_LOCAL, unix.RTN_NAT:
		return unix.RT_SCOPE_HOST
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		return unix.RT_SCOPE_LINK
	case unix.RTN_UNICAST, unix.RTN_UNSPEC:
		if o.Verb == topo.VerbDel {
			return unix.RT_SCOPE_NOWHERE
		}
		if !o.Via.IsValid() {
			return unix.RT_SCOPE_LINK
		}
	}
	if o.Verb == topo.VerbDel {
		return unix.RT_SCOPE_NOWHERE
	}
	return unix.RT_SCOPE_UNIVERSE
}

func number(names map[string]uint8, word string) (uint8, error) {
	if n, ok := names[word]; ok {
		return n, nil
	}
	if n, err := strconv.ParseUint(word, 0, 8); err == nil {
		return uint8(n), nil
	}
	return 0, faultf(unix.EINVAL, "argument %q is wrong", word)
}

func (a *applier) neighbour(ctx context.Context, p *place, o topo.NeighbourChange) error {
	kind, flags, err := table(o.Verb, unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH)
	if err != nil {
		return err
	}
	if !o.IP.IsValid() || o.Verb == topo.VerbAppend {
		return faultf(unix.EINVAL, "Device and destination are required arguments.")
	}
	index, err := a.device(ctx, p, o.Dev)
	if err != nil {
		return err
	}
	msg := &netlink.Ndmsg{Family: family(o.IP), Index: index, State: unix.NUD_PERMANENT}
	req := request(kind, flags, msg, attrAddr(unix.NDA_DST, o.IP))
	if o.MAC != "" {
		hw, err := lladdr(o.MAC)
		if err != nil {
			return err
		}
		req.AddData(nl.NewRtAttr(unix.NDA_LLADDR, hw))
	}
	return p.do(req)
}

func (a *applier) neighbourFlush(ctx context.Context, p *place, o topo.NeighbourFlush) error {
	var index uint32
	if o.Dev != "" {
		var err error
		if index, err = a.device(ctx, p, o.Dev); err != nil {
			return err
		}
	}
	return a.sweep(p, unix.RTM_GETNEIGH, unix.RTM_DELNEIGH,
		func() nl.NetlinkRequestData { return &netlink.Ndmsg{} },
		func(b []byte) bool {
			n, ok := neighMessage(b)
			return ok && (index == 0 || n.index == index) && n.state&(unix.NUD_PERMANENT|unix.NUD_NOARP) == 0 && n.state != unix.NUD_NONE &&
				(n.family == unix.AF_INET || n.family == unix.AF_INET6)
		})
}

func (a *applier) fdb(ctx context.Context, p *place, o topo.FDBChange) error {
	kind, flags, err := table(o.Verb, unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH)
	if err != nil {
		return err
	}
	hw, err := lladdr(o.MAC)
	if err != nil {
		return err
	}
	msg := &netlink.Ndmsg{Family: unix.AF_BRIDGE, Flags: unix.NTF_SELF}
	if o.Master {
		msg.Flags = unix.NTF_MASTER
	}
	switch o.State {
	case "", "permanent", "local":
		msg.State = unix.NUD_NOARP | unix.NUD_PERMANENT
	case "static", "temp":
		msg.State = unix.NUD_NOARP | unix.NUD_REACHABLE
	case "dynamic":
		msg.State = unix.NUD_REACHABLE
	default:
		return faultf(unix.EINVAL, "argument %q is wrong", o.State)
	}
	if msg.Index, err = a.device(ctx, p, o.Dev); err != nil {
		return err
	}
	req := request(kind, flags, msg, nl.NewRtAttr(unix.NDA_LLADDR, hw))
	if o.Dst.IsValid() {
		req.AddData(attrAddr(unix.NDA_DST, o.Dst))
	}
	return p.do(req)
}

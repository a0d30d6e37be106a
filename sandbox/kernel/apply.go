package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/topo"
)

const (
	// runTimeout bounds a Run in the foreground.
	runTimeout = 10 * time.Second
	// runOutput is how much a Run may say when it fails.
	runOutput = 16 << 10
	// appearance is how long an op waits for the interface that a program in
	// the background brings up.
	appearance = 2 * time.Second
)

// applier does the ops of one Apply. It keeps one netlink socket per namespace
// while it works and lets go of all of them at the end.
type applier struct {
	w       *World
	buf     []byte
	conns   map[topo.NodeID]*place
	spawned bool // a background Run came before
}

// place is an open namespace with a netlink socket in it.
type place struct {
	*conn
	netns *netns
}

func (w *World) applier() *applier {
	return &applier{w: w, buf: make([]byte, receiveSize), conns: map[topo.NodeID]*place{}}
}

// at opens the node, or finds it opened by an earlier op.
func (a *applier) at(node topo.NodeID) (*place, error) {
	if p := a.conns[node]; p != nil {
		return p, nil
	}
	ns, err := a.w.open(node)
	if err != nil {
		return nil, err
	}
	c, err := a.w.host.home.dial(ns.fd, unix.NETLINK_ROUTE, a.buf)
	if err != nil {
		ns.close()
		return nil, err
	}
	a.conns[node] = &place{c, ns}
	return a.conns[node], nil
}

// release closes everything, so that no deleted namespace stays alive.
func (a *applier) release() {
	for node, p := range a.conns {
		p.close()
		p.netns.close()
		delete(a.conns, node)
	}
}

// all does the ops in order; the error is an *OpError of the first that fails,
// unless an op makes no sense.
func (a *applier) all(ctx context.Context, ops []topo.Placed) error {
	defer a.release()
	for i, op := range ops {
		if err := a.one(ctx, op); err != nil {
			return opError(i, op, err)
		}
	}
	return nil
}

func opError(i int, op topo.Placed, err error) error {
	var coded *host.Error
	if errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &host.OpError{Index: i, Node: op.Node, Command: op.Command(), Message: err.Error()}
	var errno unix.Errno
	if errors.As(err, &errno) {
		e.Errno = unix.ErrnoName(errno)
		if errno == unix.EOPNOTSUPP {
			e.Errno = "EOPNOTSUPP" // what the kernel's headers call it, where two names have one number
		}
		var f *fault
		if !errors.As(err, &f) {
			e.Message = words(errno)
		}
	}
	return e
}

func (a *applier) one(ctx context.Context, op topo.Placed) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	machine, err := a.w.machine(op.Node)
	if err != nil {
		return err
	}
	switch o := op.Op.(type) {
	case topo.NetnsAdd, topo.NetnsDel:
		if op.Node.Netns() != "" {
			return host.Errorf(host.CodeInvalid, "%q on %s: only a machine's own namespace has names for others", op.Command(), op.Node)
		}
		if add, ok := o.(topo.NetnsAdd); ok {
			return netnsAdd(ctx, machine, add.Name)
		}
		a.release() // or our own sockets keep it alive
		return netnsDel(ctx, machine, o.(topo.NetnsDel).Name)
	case topo.Run:
		a.release() // it may take long
		return a.run(ctx, machine, op.Node, o)
	}
	p, err := a.at(op.Node)
	if err != nil {
		return err
	}
	switch o := op.Op.(type) {
	case topo.LinkAdd:
		return a.linkAdd(ctx, p, op.Node, o)
	case topo.LinkDel:
		return a.linkDel(ctx, p, o)
	case topo.LinkSet:
		return a.linkSet(ctx, p, op.Node, o)
	case topo.Address:
		return a.address(ctx, p, o)
	case topo.AddressFlush:
		return a.addressFlush(ctx, p, o)
	case topo.RouteChange:
		return a.route(ctx, p, o)
	case topo.NeighbourChange:
		return a.neighbour(ctx, p, o)
	case topo.NeighbourFlush:
		return a.neighbourFlush(ctx, p, o)
	case topo.FDBChange:
		return a.fdb(ctx, p, o)
	case topo.Sysctl:
		return a.w.host.home.inside(p.netns.fd, func() error { return writeSysctl(o.Key, o.Value) })
	}
	return host.Errorf(host.CodeInvalid, "unknown op %T", op.Op)
}

func netnsAdd(ctx context.Context, m *jail.Machine, name string) error {
	if !topo.ValidNetnsName(name) {
		return faultf(unix.EINVAL, "Invalid netns name %q", name)
	}
	err := m.AddNetns(ctx, name)
	var errno unix.Errno
	if errors.As(err, &errno) {
		return faultf(errno, "Cannot create namespace file \"/run/netns/%s\": %s", name, words(errno))
	}
	return err
}

func netnsDel(ctx context.Context, m *jail.Machine, name string) error {
	if !topo.ValidNetnsName(name) {
		return faultf(unix.EINVAL, "Invalid netns name %q", name)
	}
	err := m.DelNetns(ctx, name)
	var errno unix.Errno
	if errors.As(err, &errno) {
		return faultf(errno, "Cannot remove namespace file \"/run/netns/%s\": %s", name, words(errno))
	}
	return err
}

func (a *applier) run(ctx context.Context, m *jail.Machine, node topo.NodeID, o topo.Run) error {
	if len(o.Argv) == 0 {
		return host.Errorf(host.CodeInvalid, "a program without a name")
	}
	if err := a.w.named(node); err != nil {
		return err
	}
	c := jail.Command{Argv: o.Argv, Netns: node.Netns(), Timeout: runTimeout, MaxOutput: runOutput}
	if o.Background {
		a.spawned = true
		return m.Spawn(ctx, c)
	}
	r, err := m.Exec(ctx, c)
	switch {
	case err != nil:
		return err
	case r.TimedOut:
		return faultf(0, "%s: no end after %v", o.Argv[0], runTimeout)
	case r.ExitCode != 0:
		if said := strings.TrimSpace(string(r.Stderr)); said != "" {
			return faultf(0, "%s", said)
		}
		return faultf(0, "%s: exit status %d", o.Argv[0], r.ExitCode)
	}
	return nil
}

// device finds the index of an interface. One that a program in the background
// has yet to bring up is waited for.
func (a *applier) device(ctx context.Context, p *place, name string) (uint32, error) {
	if i := p.index(name); i != 0 {
		return i, nil
	}
	if a.spawned {
		if i, err := a.appear(ctx, p, name); i != 0 || err != nil {
			return i, err
		}
	}
	return 0, faultf(unix.ENODEV, "Cannot find device %q", name)
}

// appear waits for an interface by the kernel's own events; 0 if it stays away.
func (a *applier) appear(ctx context.Context, p *place, name string) (uint32, error) {
	events, err := a.w.host.home.dial(p.netns.fd, unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0, err
	}
	defer events.close()
	if err := join(events.fd, unix.RTNLGRP_LINK); err != nil {
		return 0, err
	}
	discard := make([]byte, 512)
	for deadline := time.Now().Add(appearance); ; {
		if i := p.index(name); i != 0 {
			return i, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return 0, nil
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		poll := []unix.PollFd{{Fd: int32(events.fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, int(min(left.Milliseconds()+1, 100))); n > 0 {
			unix.Recvfrom(events.fd, discard, unix.MSG_DONTWAIT) // an event is only a poke
		}
	}
}

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

func lladdr(mac string) ([]byte, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return nil, faultf(unix.EINVAL, "%q is invalid lladdr.", mac)
	}
	return hw, nil
}

func (a *applier) linkAdd(ctx context.Context, p *place, node topo.NodeID, o topo.LinkAdd) error {
	req := request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if o.Name == "" {
		return faultf(unix.EINVAL, "argument %q is wrong: \"name\" not a valid ifname", o.Name)
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
	if len(o.Peer) >= unix.IFNAMSIZ {
		return nil, done, faultf(unix.EINVAL, "argument %q is wrong: \"name\" not a valid ifname", o.Peer)
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
		if len(o.Rename) >= unix.IFNAMSIZ {
			return faultf(unix.EINVAL, "argument %q is wrong: \"name\" not a valid ifname", o.Rename)
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

// writeSysctl sets one value below net in the calling thread's namespace.
func writeSysctl(key, value string) error {
	path, err := sysctlPath(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		var errno unix.Errno
		if errors.As(err, &errno) {
			return faultf(errno, "cannot stat %s: %s", path, words(errno))
		}
		return err
	}
	_, err = f.WriteString(value + "\n")
	if closed := f.Close(); err == nil {
		err = closed
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return faultf(errno, "setting key %q: %s", key, words(errno))
	}
	return err
}

// sysctlPath is the file of a key below net. As with sysctl(8) the first
// separator decides: after a dot, a slash stands for a dot in a name
// ("net.ipv4.conf.eth0/10.rp_filter"); after a slash everything is literal.
func sysctlPath(key string) (string, error) {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		key = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, key)
	}
	parts := strings.Split(key, "/")
	for _, part := range parts {
		if part == "" || part[0] == '.' || strings.ContainsFunc(part, notInSysctl) {
			return "", faultf(unix.EINVAL, "%q is not a sysctl", key)
		}
	}
	if parts[0] != "net" || len(parts) < 3 {
		return "", faultf(unix.EACCES, "%q is not below net", key)
	}
	if key == "net/netfilter/nf_hooks_lwtunnel" {
		return "", faultf(unix.EACCES, "%q belongs to the whole machine", key) // and can't be taken back
	}
	return "/proc/sys/" + key, nil
}

func notInSysctl(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.@", r))
}

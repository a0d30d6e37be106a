package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/topo"
)

// World is a box with its machines. It implements host.World.
type World struct {
	host     *Host
	id       host.WorldID
	box      *jail.Box
	machines []machine
	ctx      context.Context // ends when the world does
	cancel   context.CancelFunc
	ending   func() error
	feed     *host.Feed
	limits   limits

	// alive is held for reading while descriptors of the box are in use, and
	// for writing when they go: a number that is closed may soon be another
	// world's namespace.
	alive sync.RWMutex

	applying sync.Mutex // Apply calls run one after the other

	watching sync.Mutex // guards the two below
	watchers int
	observer *observer // while there are watchers

	captures captures

	reading      sync.Mutex // guards the picture
	picture      picture
	rulesMoved   atomic.Bool  // nf_tables had an event since the last reading
	processEnded atomic.Bool  // or began, by which a namespace without a name lives
	looking      atomic.Bool  // for those, after a line that was typed
	typed        atomic.Int64 // when that was, in ns
}

type machine struct {
	*jail.Machine
	kind   topo.NodeKind
	userNS uint64 // whose processes belong to the machine
}

func (m machine) node() topo.NodeID { return topo.NodeID(m.Name()) }

// br0 is the bridge of a switch.
const br0 = "br0"

// build makes a world; what it made is gone again if it fails.
func (h *Host) build(ctx context.Context, spec host.Spec) (_ *World, err error) {
	box, err := h.yard.Start(ctx, string(spec.ID))
	if err != nil {
		return nil, limited(fmt.Errorf("start box: %w", err))
	}
	w := &World{host: h, id: spec.ID, box: box, machines: make([]machine, len(spec.Machines)), limits: newLimits(), picture: newPicture()}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.ending = sync.OnceValue(w.finish)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.end())
		}
	}()
	errs := make([]error, len(spec.Machines))
	var adding sync.WaitGroup
	for i, m := range spec.Machines {
		adding.Go(func() {
			w.machines[i], errs[i] = addMachine(ctx, box, m)
		})
	}
	adding.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, limited(fmt.Errorf("add machines: %w", err))
	}
	if err := w.wire(spec.Wires); err != nil {
		return nil, err
	}
	for _, m := range w.machines {
		if m.kind == topo.KindInternet {
			if err := m.ServeInternet(ctx); err != nil {
				return nil, fmt.Errorf("start the services of %s: %w", m.node(), err)
			}
		}
	}
	if err := w.applier().all(ctx, spec.Setup); err != nil {
		return nil, err
	}
	nodes, err := w.read(readAll)
	if err != nil {
		return nil, fmt.Errorf("read the new world: %w", err)
	}
	w.feed = host.NewFeed(nodes)
	return w, nil
}

// limited gives an error its code where a limit of the host is the reason.
func limited(err error) error {
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.ENOMEM, unix.EAGAIN, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, errno) {
			return host.Errorf(host.CodeLimit, "%w", err)
		}
	}
	return err
}

func addMachine(ctx context.Context, box *jail.Box, m topo.Machine) (machine, error) {
	added, err := box.AddMachine(ctx, m.Name)
	if err != nil {
		return machine{}, err
	}
	userNS, err := inode(fmt.Sprintf("/proc/%d/ns/user", added.Pid()))
	return machine{added, m.Kind, userNS}, err
}

// wire brings the machines' own interfaces up and connects them, both ends of a
// wire created in place: moving one would cost the kernel 16 ms.
func (w *World) wire(wires []topo.Wire) error {
	a := w.applier()
	defer a.release()
	for _, m := range w.machines {
		p, err := a.at(m.node())
		if err != nil {
			return err
		}
		if err := p.do(request(unix.RTM_NEWLINK, 0, linkUp(1))); err != nil {
			return fmt.Errorf("bring up lo on %s: %w", m.node(), err)
		}
		switch m.kind {
		case topo.KindSwitch:
			info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
			info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
			req := request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, linkUp(0), attrString(unix.IFLA_IFNAME, br0), info)
			if err := p.do(req); err != nil {
				return fmt.Errorf("make the bridge of %s: %w", m.node(), err)
			}
		case topo.KindRouter:
			err := w.host.home.inside(p.netns.fd, func() error {
				return errors.Join(writeSysctl("net.ipv4.ip_forward", "1"), writeSysctl("net.ipv6.conf.all.forwarding", "1"))
			})
			if err != nil {
				return fmt.Errorf("turn on forwarding on %s: %w", m.node(), err)
			}
		}
	}
	for _, wire := range wires {
		if err := w.connect(a, wire); err != nil {
			return fmt.Errorf("wire %s to %s: %w", wire.A, wire.B, err)
		}
	}
	return nil
}

func (w *World) connect(a *applier, wire topo.Wire) error {
	nearNode, nearName := wire.A.Split()
	farNode, farName := wire.B.Split()
	near, err := a.at(nearNode)
	if err != nil {
		return err
	}
	far, err := a.at(farNode)
	if err != nil {
		return err
	}
	peer := nl.NewRtAttr(nl.VETH_INFO_PEER, nil)
	peer.AddChild(nl.NewIfInfomsg(unix.AF_UNSPEC)) // not up: a veth can't be opened before it has its peer
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(farName))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(far.netns.fd)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddChild(peer)
	add := request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, linkUp(0), attrString(unix.IFLA_IFNAME, nearName), info)
	w.plug(add, near, nearNode)
	if err := near.do(add); err != nil {
		return err
	}
	index := far.index(farName)
	up := request(unix.RTM_NEWLINK, 0, linkUp(int32(index)))
	w.plug(up, far, farNode)
	if err := far.do(up); err != nil {
		return err
	}
	far.settle(index)
	return nil
}

// plug makes the interface of req a port where the node is a switch.
func (w *World) plug(req *nl.NetlinkRequest, p *place, node topo.NodeID) {
	for _, m := range w.machines {
		if m.node() == node && m.kind == topo.KindSwitch {
			req.AddData(attrU32(unix.IFLA_MASTER, p.index(br0)))
		}
	}
}

func linkUp(index int32) *nl.IfInfomsg {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = index, unix.IFF_UP, unix.IFF_UP
	return msg
}

// ID implements host.World.
func (w *World) ID() host.WorldID { return w.id }

// enter keeps the box's descriptors valid until leave is called, and bounds ctx
// by the world's life.
func (w *World) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	w.alive.RLock()
	if w.ctx.Err() != nil {
		w.alive.RUnlock()
		return nil, nil, w.gone()
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.ctx, cancel)
	return ctx, func() { stop(); cancel(); w.alive.RUnlock() }, nil
}

func (w *World) gone() error { return host.Errorf(host.CodeNotFound, "the world %q is gone", w.id) }

// unlessGone is err, unless the end of the world is the reason for it.
func (w *World) unlessGone(err error) error {
	if err != nil && w.ctx.Err() != nil {
		return w.gone()
	}
	return err
}

// machine finds the machine of a node.
func (w *World) machine(node topo.NodeID) (*jail.Machine, error) {
	if node.Valid() {
		for _, m := range w.machines {
			if m.Name() == node.Machine() {
				return m.Machine, nil
			}
		}
	}
	return nil, host.Errorf(host.CodeInvalid, "no machine for %q", node)
}

// Apply implements host.World.
func (w *World) Apply(ctx context.Context, ops []topo.Placed) (topo.Snapshot, error) {
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return topo.Snapshot{}, err
	}
	defer leave()
	depth := readEvents
	for i, op := range ops {
		switch op.Op.(type) {
		case topo.Run, topo.Sysctl:
			depth = readNow // they may change what has no events
		}
		if run, ok := op.Op.(topo.Run); op.Op == nil || (ok && len(run.Argv) == 0) {
			return topo.Snapshot{}, host.Errorf(host.CodeInvalid, "op %d is missing", i)
		}
		if _, err := w.machine(op.Node); err != nil {
			return topo.Snapshot{}, err
		}
	}
	w.applying.Lock()
	defer w.applying.Unlock()
	failed := w.applier().all(ctx, ops)
	_, err = w.refresh(depth)
	if failed != nil {
		err = failed
	}
	return w.feed.Now(), w.unlessGone(err)
}

// Exec implements host.World.
func (w *World) Exec(ctx context.Context, r host.ExecRequest) (host.ExecResult, error) {
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return host.ExecResult{}, err
	}
	defer leave()
	r, err = r.Normal()
	if err != nil {
		return host.ExecResult{}, err
	}
	m, err := w.machine(r.Node)
	if err != nil {
		return host.ExecResult{}, err
	}
	if err := w.named(r.Node); err != nil {
		return host.ExecResult{}, host.Errorf(host.CodeInvalid, "%w", err)
	}
	if err := w.captures.covered(ctx); err != nil {
		return host.ExecResult{}, w.unlessGone(err)
	}
	got, err := m.Exec(ctx, jail.Command{Argv: r.Argv, Netns: r.Node.Netns(), Stdin: r.Stdin,
		Timeout: r.Timeout, MaxOutput: host.MaxExecOutput})
	if err != nil {
		return host.ExecResult{}, w.unlessGone(err)
	}
	return host.ExecResult{ExitCode: got.ExitCode, Stdout: got.Stdout, Stderr: got.Stderr, Truncated: got.Truncated, TimedOut: got.TimedOut}, nil
}

// Snapshot implements host.World.
func (w *World) Snapshot(ctx context.Context) (topo.Snapshot, error) {
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return topo.Snapshot{}, err
	}
	defer leave()
	if _, err := w.refresh(readAll); err != nil {
		return topo.Snapshot{}, w.unlessGone(err)
	}
	if err := w.lookAtLimits(ctx); err != nil {
		return topo.Snapshot{}, w.unlessGone(fmt.Errorf("read the limits of world %s: %w", w.id, err))
	}
	return w.feed.Now(), nil
}

// Destroy implements host.World.
func (w *World) Destroy(ctx context.Context) error {
	_, leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	leave()
	return w.end()
}

// end kills the box and lets go of everything, once.
func (w *World) end() error { return w.ending() }

func (w *World) finish() error {
	w.cancel() // watchers go, and whatever still runs hurries up
	w.watching.Lock()
	if w.watchers > 0 {
		w.watchers = 0
		w.stopObserver()
	}
	w.watching.Unlock()
	if w.feed != nil {
		w.feed.Close()
	}
	err := w.captures.end() // before their namespaces go
	w.alive.Lock()
	defer w.alive.Unlock()
	err = errors.Join(err, w.box.Kill())
	w.host.forget(w)
	return err
}

// netns is an open namespace.
type netns struct {
	id       topo.NodeID
	kind     topo.NodeKind
	fd       int
	borrowed bool
	inode    uint64
}

func (n *netns) close() {
	if !n.borrowed {
		unix.Close(n.fd)
	}
}

// unnamed is how the name of a namespace begins that has none of its own.
const unnamed = "net-"

// open opens the namespace of a node; its error is a fault with ENOENT if there
// is none.
func (w *World) open(node topo.NodeID) (*netns, error) {
	m, err := w.machine(node)
	if err != nil {
		return nil, err
	}
	name := node.Netns()
	if name == "" {
		return &netns{id: node, fd: m.NetNS(), borrowed: true}, nil
	}
	fd, err := m.OpenNetns(name)
	if err == nil {
		return &netns{id: node, fd: fd}, nil
	}
	if strings.HasPrefix(name, unnamed) {
		found, scanErr := w.unnamedOf()
		if scanErr != nil {
			return nil, scanErr
		}
		for _, hidden := range found {
			if hidden.id == node {
				return hidden.open()
			}
		}
	}
	return nil, cannotOpen(name, err)
}

// named says whether node is a machine's own namespace or one with a name: only
// there can the jail start programs.
func (w *World) named(node topo.NodeID) error {
	m, err := w.machine(node)
	if err != nil || node.Netns() == "" {
		return err
	}
	fd, err := m.OpenNetns(node.Netns())
	if err != nil {
		return cannotOpen(node.Netns(), err)
	}
	return unix.Close(fd)
}

func cannotOpen(name string, err error) error {
	errno := unix.ENOENT
	errors.As(err, &errno)
	return faultf(errno, "Cannot open network namespace %q: %s", name, words(errno))
}

package kernel

import (
	"context"
	"errors"
	"strings"
	"time"

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

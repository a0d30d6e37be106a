package kernel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

const (
	// settle is how long a burst of events is let grow before the world is read.
	settle = 3 * time.Millisecond
	// restFactor keeps a storm of events from taking more than a fifth of a CPU.
	restFactor = 4
	// tick is how often what has no events is read while somebody watches.
	tick = time.Second
)

// Watch implements host.World.
func (w *World) Watch(ctx context.Context) (<-chan topo.Update, error) {
	_, leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := w.addWatcher(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.ctx, cancel)
	context.AfterFunc(ctx, func() {
		stop()
		w.removeWatcher()
	})
	return w.feed.Watch(ctx), nil
}

// addWatcher starts the observer for the first watcher.
func (w *World) addWatcher() error {
	w.watching.Lock()
	defer w.watching.Unlock()
	if w.ctx.Err() != nil {
		return w.gone()
	}
	if w.watchers == 0 {
		o, err := w.observe()
		if err != nil {
			return fmt.Errorf("observe world %s: %w", w.id, err)
		}
		w.observer = o
		w.setNumbers(o.route)
	}
	w.watchers++
	if _, err := w.refresh(readAll); err != nil {
		w.unwatch()
		return err
	}
	return nil
}

func (w *World) removeWatcher() {
	w.watching.Lock()
	defer w.watching.Unlock()
	if w.watchers > 0 { // else the world has ended
		w.unwatch()
	}
}

// unwatch stops the observer behind the last watcher; the caller holds watching.
func (w *World) unwatch() {
	w.watchers--
	if w.watchers == 0 {
		w.stopObserver()
	}
}

func (w *World) stopObserver() {
	w.setNumbers(nil)
	w.observer.close()
}

func (w *World) setNumbers(c *conn) {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.picture.numbers = c
}

// observer hears the events of all namespaces of a world through two sockets in
// the box's own unused namespace, which gives every other one a number. That
// pins none of them.
type observer struct {
	poker  *poker
	route  *conn // to give numbers
	socks  []int
	tokens []int32
	poke   chan struct{}
	stop   chan struct{}
	cancel context.CancelFunc // as stop does; nil before they have begun
	done   sync.WaitGroup
}

var routeGroups = []int{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV4_NETCONF,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV6_NETCONF}

// observe starts the observer of w and the goroutine that reads after its pokes.
func (w *World) observe() (o *observer, err error) {
	o = &observer{poker: w.host.poker, poke: make(chan struct{}, 1), stop: make(chan struct{})}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	err = w.host.home.inside(w.box.NetNS(), func() (err error) {
		if o.route, err = socket(unix.NETLINK_ROUTE, make([]byte, 4096)); err != nil {
			return err
		}
		if err := o.listen(unix.NETLINK_ROUTE, routeGroups...); err != nil {
			return err
		}
		err = o.listen(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
		if lacking(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, fd := range o.socks {
		heard := func() {
			drain(fd)
			if i > 0 { // the second is nf_tables'
				w.rulesMoved.Store(true)
			}
			o.soon()
		}
		if err := o.register(fd, unix.EPOLLIN, heard); err != nil {
			return nil, err
		}
	}
	for _, m := range w.machines {
		if err := o.register(m.Mountinfo(), unix.EPOLLPRI, o.soon); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(w.ctx)
	o.cancel = cancel
	o.done.Go(func() { w.follow(o) })
	o.done.Go(func() { w.followLimits(ctx) })
	return o, nil
}

// soon has the world read.
func (o *observer) soon() {
	select {
	case o.poke <- struct{}{}:
	default: // it will be anyway
	}
}

// listen opens a socket in the calling thread's namespace that hears groups in
// every namespace that has a number there.
func (o *observer) listen(protocol int, groups ...int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	o.socks = append(o.socks, fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
		return fmt.Errorf("listen to all namespaces: %w", err)
	}
	return join(fd, groups...)
}

// join makes a netlink socket hear groups. It must be bound: the kernel takes a
// socket without a number for itself and spares it its own messages.
func join(fd int, groups ...int) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind netlink socket: %w", err)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return fmt.Errorf("join netlink group %d: %w", g, err)
		}
	}
	return nil
}

func (o *observer) register(fd int, events uint32, f func()) error {
	token, err := o.poker.add(fd, events, f)
	if err == nil {
		o.tokens = append(o.tokens, token)
	}
	return err
}

// close ends the observer and waits.
func (o *observer) close() {
	for _, token := range o.tokens {
		o.poker.remove(token)
	}
	close(o.stop)
	if o.cancel != nil {
		o.cancel()
	}
	o.done.Wait()
	for _, fd := range o.socks {
		unix.Close(fd)
	}
	if o.route != nil {
		o.route.close()
	}
}

// drain throws away what a socket has; a lost event (ENOBUFS) is as good a poke
// as any.
func drain(fd int) {
	var b [16]byte
	for {
		_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		if err != nil && err != unix.ENOBUFS && err != unix.EINTR {
			return
		}
	}
}

// follow reads the world after each poke and tick. Readings for a tick take turns
// with those of other worlds, and each rests as long as it took before the next:
// where hundreds are watched, what has no events is read less often.
func (w *World) follow(o *observer) {
	ticks := time.NewTicker(w.host.tick)
	defer ticks.Stop()
	rest := settle
	var due <-chan struct{} // the host's turns, after a tick
	for {
		d := readEvents
		select {
		case <-o.stop:
			return
		case <-ticks.C:
			due = w.host.turns
			continue
		case <-due:
			due, d = nil, readAll
		case <-o.poke:
			select {
			case <-o.stop:
				return
			case <-time.After(rest):
			}
			select {
			case <-o.poke: // it belongs to this burst
			default:
			}
		}
		began := time.Now()
		if _, err := w.refresh(d); err != nil && w.ctx.Err() == nil {
			w.host.options.Log.Warn("world could not be read after an event", "world", w.id, "error", err)
		}
		took := time.Since(began)
		if d == readAll {
			time.AfterFunc(took, func() { w.host.turns <- struct{}{} }) // there is room: it was taken from there
		}
		rest = max(settle, min(restFactor*took, tick/4))
	}
}

// number lets the observer hear a namespace. It must come before the first
// reading, so that no change falls between the two.
func (w *World) number(cookie uint64, fd int) error {
	if w.picture.numbers == nil || w.picture.numbered[cookie] {
		return nil
	}
	req := request(unix.RTM_NEWNSID, 0, nl.NewRtGenMsg(), attrU32(unix.NETNSA_FD, uint32(fd)), attrU32(unix.NETNSA_NSID, ^uint32(0)))
	if err := w.picture.numbers.do(req); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("number the namespace: %w", err)
	}
	w.picture.numbered[cookie] = true
	return nil
}

// poker is the one raw epoll of a host. Go's own poller must not see these
// descriptors: it would take the edges of mountinfo.
type poker struct {
	epoll, event int
	done         sync.WaitGroup

	mu      sync.Mutex // held while callbacks run, so that none runs after remove
	last    int32
	targets map[int32]target
}

type target struct {
	fd int
	f  func()
}

func newPoker() (*poker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	p := &poker{epoll: epoll, event: event, targets: map[int32]target{}}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		unix.Close(epoll)
		unix.Close(event)
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	p.done.Go(p.run)
	return p, nil
}

// add calls f, which must not block, whenever fd has one of events.
func (p *poker) add(fd int, events uint32, f func()) (token int32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = max(p.last+1, 1) // 0 is the eventfd
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: p.last}); err != nil {
		return 0, fmt.Errorf("watch descriptor: %w", err)
	}
	p.targets[p.last] = target{fd, f}
	return p.last, nil
}

// remove ends an add; f is not running and never will again.
func (p *poker) remove(token int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.targets[token]; ok {
		delete(p.targets, token)
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, t.fd, nil) // fails only where the descriptor is closed
	}
}

func (p *poker) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == 0 {
				return
			}
			p.mu.Lock()
			if t, ok := p.targets[e.Fd]; ok {
				t.f()
			}
			p.mu.Unlock()
		}
	}
}

func (p *poker) close() error {
	_, err := unix.Write(p.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	p.done.Wait()
	return errors.Join(err, unix.Close(p.epoll), unix.Close(p.event))
}

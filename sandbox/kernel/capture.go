package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// captures are those of one world that are open. Without one, the world has no
// packet socket, no timer and no goroutine for packets.
type captures struct {
	mu    sync.Mutex
	open  map[*capture]struct{}
	ended bool // with the world
}

// capture watches the packets of a world: one ring for each namespace, from when
// the world's readings show it until they don't. It implements host.Capture.
type capture struct {
	*host.CaptureQueue
	world   *World
	request host.CaptureRequest
	ending  func() error
	working sync.WaitGroup
	last    atomic.Uint32 // interface
	over    chan struct{} // closed when it ends

	mu      sync.Mutex
	ended   bool
	sources map[uint64]*source // by the namespace's inode
	errs    []error            // of what could not be closed

	hearing sync.Mutex // so that a flow is told before the packets that it explains
}

// Capture implements host.World.
func (w *World) Capture(ctx context.Context, r host.CaptureRequest) (host.Capture, error) {
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if r, err = r.Normal(); err != nil {
		return nil, err
	}
	if err := checkFilter(r); err != nil {
		return nil, err
	}
	if r.Node != "" {
		ns, err := w.open(r.Node)
		if err != nil {
			return nil, host.Errorf(host.CodeInvalid, "%w", err)
		}
		ns.close()
	}
	c := &capture{CaptureQueue: host.NewCaptureQueue(), world: w, request: r, over: make(chan struct{}), sources: map[uint64]*source{}}
	if err := w.captures.add(c); err != nil {
		return nil, w.gone()
	}
	if err := w.addWatcher(); err != nil { // its reading shows c the namespaces
		c.ending = sync.OnceValue(c.end)
		return nil, w.unlessGone(errors.Join(err, c.Close()))
	}
	c.ending = sync.OnceValue(func() error {
		defer w.removeWatcher()
		return c.end()
	})
	c.mu.Lock()
	if !c.ended {
		c.working.Go(c.lookAfter)
	}
	c.mu.Unlock()
	if err := errors.Join(c.covered(ctx), c.failed()); err != nil {
		return nil, w.unlessGone(limited(errors.Join(err, c.Close())))
	}
	return c, nil
}

// Close implements host.Capture.
func (c *capture) Close() error { return c.ending() }

var errEnded = errors.New("the world has ended")

func (a *captures) add(c *capture) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errEnded
	}
	if a.open == nil {
		a.open = map[*capture]struct{}{}
	}
	a.open[c] = struct{}{}
	return nil
}

func (a *captures) remove(c *capture) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, c)
}

func (a *captures) all() []*capture {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.open))
}

// end ends all captures of a world that ends; their readers get the rest.
func (a *captures) end() error {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	var errs []error
	for _, c := range a.all() {
		errs = append(errs, c.end())
	}
	return errors.Join(errs...)
}

// show tells the captures what a reading has found. The namespaces are open.
func (a *captures) show(all []*reading) {
	for _, c := range a.all() {
		c.show(all)
	}
}

// covered waits until every namespace that is known is captured from.
func (a *captures) covered(ctx context.Context) error {
	for _, c := range a.all() {
		if err := c.covered(ctx); err != nil {
			return err
		}
	}
	return nil
}

// end lets go of all namespaces and waits. It may be called again.
func (c *capture) end() error {
	c.world.captures.remove(c)
	c.mu.Lock()
	if !c.ended {
		c.ended = true
		close(c.over)
	}
	for _, s := range c.sources {
		s.end()
	}
	c.sources = nil
	c.mu.Unlock()
	c.working.Wait()
	c.End()
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := c.errs
	c.errs = nil
	return errors.Join(errs...)
}

// show begins to capture from namespaces that are new, and lets go at once of
// those that are not there any more.
func (c *capture) show(all []*reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	there := map[uint64]bool{}
	for _, r := range all {
		if c.request.Node != "" && c.request.Node != r.id {
			continue
		}
		there[r.inode] = true
		s, known := c.sources[r.inode]
		if !known {
			s = &source{capture: c, node: r.id, ready: make(chan struct{}), links: map[int32]*seenLink{}}
			c.sources[r.inode] = s
		}
		s.show(r)
		if known {
			continue
		}
		ns, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.opened(nil, nil, err)
			continue
		}
		c.working.Go(func() { s.run(ns) })
	}
	for inode, s := range c.sources {
		if !there[inode] {
			delete(c.sources, inode)
			s.end()
		}
	}
}

// lookAfter looks into all rings from time to time, which costs next to nothing,
// because the kernel's wake-up can be missed; see ring.wait.
func (c *capture) lookAfter() {
	tick := time.NewTicker(c.request.Retire)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.over:
			return
		}
		c.mu.Lock()
		for _, s := range c.sources {
			s.nudge()
		}
		c.mu.Unlock()
	}
}

// covered waits until the sources that there are have been opened, or could not be.
func (c *capture) covered(ctx context.Context) error {
	c.mu.Lock()
	sources := slices.Collect(maps.Values(c.sources))
	c.mu.Unlock()
	for _, s := range sources {
		select {
		case <-s.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// failed says why sources could not be opened.
func (c *capture) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, s := range c.sources {
		s.mu.Lock()
		errs = append(errs, s.err)
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// source is one namespace of a capture.
type source struct {
	capture *capture
	ready   chan struct{} // closed when it is open, or could not be

	mu    sync.Mutex
	node  topo.NodeID
	ended bool
	err   error // why it could not be opened
	ring  *ring // while it is open
	flows *conntrack
	links map[int32]*seenLink
	round int // of reading blocks

	process processWatch
}

// processWatch hears of the end of a process by which a namespace lives that has
// no name: no event of the kernel would tell that it is only ours now.
type processWatch struct {
	pid, fd int
	token   int32
}

// seenLink is an interface from which there were packets.
type seenLink struct {
	host.CaptureInterface
	told    bool
	unasked bool // not the one that the request is about
	round   int  // when its name was looked at
}

// run captures from a namespace, whose descriptor it closes.
func (s *source) run(ns int) {
	var r *ring
	var flows *conntrack
	err := s.capture.world.host.home.inside(ns, func() (err error) {
		if r, err = openRing(s.capture.request); err != nil {
			return err
		}
		if flows, err = openConntrack(); err != nil {
			return errors.Join(err, r.close())
		}
		return nil
	})
	unix.Close(ns)
	s.opened(r, flows, err)
	if err != nil {
		return
	}
	var hearing sync.WaitGroup
	if flows != nil {
		hearing.Go(func() { flows.wait(func() { s.capture.hear(nil) }) })
	}
	for {
		interrupted := r.wait() != nil
		if interrupted && !s.goesOn(r) {
			break
		}
		s.read(r)
	}
	s.read(r) // what came between the last block and the interrupt
	s.tell(r.stop())
	s.mu.Lock()
	s.ring, s.flows = nil, nil
	gone := s.forget()
	s.mu.Unlock()
	s.capture.Put(host.CaptureBatch{Interfaces: gone, Kernel: r.dropped()})
	hearing.Wait()
	if flows != nil {
		s.capture.hearing.Lock() // nobody else hears it now, or will again
		flows.close()
		s.capture.hearing.Unlock()
	}
	if err := r.close(); err != nil {
		s.capture.mu.Lock()
		defer s.capture.mu.Unlock()
		s.capture.errs = append(s.capture.errs, fmt.Errorf("close packet socket: %w", err))
	}
}

// opened tells who waits for it.
func (s *source) opened(r *ring, flows *conntrack, err error) {
	defer close(s.ready)
	s.mu.Lock()
	if err != nil {
		s.err = fmt.Errorf("capture on %s: %w", s.node, err)
		s.capture.world.host.options.Log.Warn("namespace can't be captured from", "world", s.capture.world.id, "error", s.err)
	}
	s.ring, s.flows = r, flows
	if s.ended { // meanwhile
		s.interrupt()
	}
	s.mu.Unlock()
	if flows != nil {
		s.capture.hear(flows)
	}
}

// goesOn says whether there is more to wait for after an interrupt.
func (s *source) goesOn(r *ring) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		r.resume()
	}
	return !s.ended
}

// nudge has run look at the ring, if there is a block that it has not been woken
// for.
func (s *source) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring == nil || s.ended {
		return
	}
	if _, ready := s.ring.ready(); ready {
		s.ring.interrupt()
	}
}

// end lets run return.
func (s *source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.unfollow()
	s.interrupt()
}

// interrupt ends what waits. The caller holds s.mu.
func (s *source) interrupt() {
	if s.ring != nil {
		s.ring.interrupt()
	}
	if s.flows != nil {
		s.flows.interrupt()
	}
}

// follow hears of the end of u from now on. The caller holds s.mu.
func (s *source) follow(u unnamedNetns) {
	if s.process.pid == u.pid {
		return
	}
	s.unfollow()
	fd, err := unix.PidfdOpen(u.pid, 0)
	if err != nil {
		return // it has ended: the next reading sees that
	}
	w := s.capture.world
	token, err := w.host.poker.add(fd, unix.EPOLLIN|unix.EPOLLONESHOT, func() {
		w.processEnded.Store(true)
		w.observer.soon() // there is one as long as there is a capture
	})
	if err != nil {
		unix.Close(fd)
		return
	}
	s.process = processWatch{u.pid, fd, token}
}

// unfollow ends follow. The caller holds s.mu.
func (s *source) unfollow() {
	if s.process.pid != 0 {
		s.capture.world.host.poker.remove(s.process.token)
		unix.Close(s.process.fd)
	}
	s.process = processWatch{}
}

// show looks whether the namespace's name and interfaces are still the same. The
// caller holds the world's picture.
func (s *source) show(r *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.capture.world.picture.unnamed, func(u unnamedNetns) bool { return u.id == r.id }); i >= 0 {
		s.follow(s.capture.world.picture.unnamed[i])
	}
	var gone []host.CaptureInterface
	if s.node != r.id {
		gone = s.forget()
		s.node = r.id
	}
	for index, l := range s.links {
		if _, there := r.names[uint32(index)]; there || s.ring == nil || s.ring.name(index) != "" {
			continue
		}
		delete(s.links, index)
		if l.told {
			l.Gone = true
			gone = append(gone, l.CaptureInterface)
		}
	}
	if gone != nil {
		s.capture.Put(host.CaptureBatch{Interfaces: gone})
	}
}

// forget says of all interfaces that they are gone. The caller holds s.mu.
func (s *source) forget() (gone []host.CaptureInterface) {
	for _, l := range s.links {
		if l.told {
			l.Gone = true
			gone = append(gone, l.CaptureInterface)
		}
	}
	clear(s.links)
	return gone
}

// read takes the blocks that are ready.
func (s *source) read(r *ring) {
	for {
		block, ok := r.ready()
		if !ok {
			break
		}
		s.tell(block)
		r.give(block)
	}
	if dropped := r.dropped(); dropped > 0 {
		s.capture.Put(host.CaptureBatch{Kernel: dropped})
	}
}

// The kernel puts at least so much before each packet of a ring: its header and
// address (TPACKET3_HDRLEN).
const ringOverhead = sizeofTpacket3 + unix.SizeofSockaddrLinklayer

// tell puts a copy of a block into the queue, and before it what explains it.
func (s *source) tell(block caughtBlock) {
	if block.count == 0 {
		return
	}
	u := s.capture.Buffer(int(block.count), max(0, int(block.head.Blk_len)-int(block.count)*(ringOverhead-vlanTag)))
	b := host.CaptureBatch{Interfaces: s.copy(block, u)}
	s.capture.hear(nil)
	s.capture.PutBuffer(u, b)
}

// copy puts the packets of a block into u, and lists the interfaces that are new.
func (s *source) copy(block caughtBlock, u *host.CaptureBuffer) (fresh []host.CaptureInterface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	snap := s.capture.request.Snap
	room, records := u.Data, u.Records
	var at *seenLink
	index := int32(-1)
	block.each(func(p *caught) {
		if p.from.Ifindex != index {
			index = p.from.Ifindex
			at = s.link(index, p.from.Hatype, &fresh)
		}
		out := p.from.Pkttype == unix.PACKET_OUTGOING
		if at.unasked || out && at.Hardware == host.HardwareLoopback {
			return
		}
		if !at.told {
			at.told = true
			fresh = append(fresh, at.CaptureInterface)
		}
		begin := len(room)
		length := int(p.header.Len)
		if p.header.Status&unix.TP_STATUS_VLAN_VALID != 0 && len(p.data) >= macs {
			tpid := uint16(unix.ETH_P_8021Q)
			if p.header.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
				tpid = p.header.Hv1.Vlan_tpid
			}
			tci := p.header.Hv1.Vlan_tci
			room = append(room, p.data[:macs]...)
			room = append(room, byte(tpid>>8), byte(tpid), byte(tci>>8), byte(tci))
			room = append(room, p.data[macs:]...)
			length += vlanTag
		} else {
			room = append(room, p.data...)
		}
		kept := min(len(room), begin+snap)
		records = append(records, host.CaptureRecord{
			Interface: at.ID, Time: time.Unix(int64(p.header.Sec), int64(p.header.Nsec)),
			Out: out, Unfinished: p.header.Status&unix.TP_STATUS_CSUMNOTREADY != 0,
			Length: length, Data: room[begin:kept:kept],
		})
		room = room[:kept]
	})
	u.Data, u.Records = room, records
	return fresh
}

// macs is where a VLAN tag stands, behind the addresses, and vlanTag its length.
const macs, vlanTag = 12, 4

// link is the interface of an index. Once in each round its name is looked at.
// The caller holds s.mu.
func (s *source) link(index int32, hardware uint16, fresh *[]host.CaptureInterface) *seenLink {
	l := s.links[index]
	if l != nil && l.round == s.round {
		return l
	}
	name := ""
	if s.ring != nil {
		name = s.ring.name(index)
	}
	switch {
	case l == nil && name == "": // gone already, and never heard of
		name = fmt.Sprintf("if%d", index)
	case l != nil && (name == "" || name == l.Link):
		l.round = s.round
		return l
	}
	if l != nil && l.told {
		l.Gone = true
		*fresh = append(*fresh, l.CaptureInterface)
	}
	asked := s.capture.request.Link
	l = &seenLink{CaptureInterface: host.CaptureInterface{ID: s.capture.last.Add(1), Node: s.node, Link: name, Hardware: hardware},
		unasked: asked != "" && asked != name, round: s.round}
	s.links[index] = l
	return l
}

// hear tells what all conntracks have to tell. Of a new one, it tells of the
// connections that there are already.
func (c *capture) hear(fresh *conntrack) {
	c.hearing.Lock()
	defer c.hearing.Unlock()
	c.mu.Lock()
	sources := slices.Collect(maps.Values(c.sources))
	c.mu.Unlock()
	var told []host.Flow
	for _, s := range sources {
		s.mu.Lock()
		flows, node := s.flows, s.node
		s.mu.Unlock()
		if flows == nil {
			continue
		}
		begin := len(told)
		var lost bool
		if told, lost = flows.hear(told); lost || flows == fresh {
			all, err := flows.all()
			if err != nil {
				c.world.host.options.Log.Debug("connections could not be read", "world", c.world.id, "node", node, "error", err)
			}
			told = append(told, all...)
		}
		for i := range told[begin:] {
			told[begin+i].Node = node
		}
	}
	if told != nil {
		c.Put(host.CaptureBatch{Flows: told})
	}
}

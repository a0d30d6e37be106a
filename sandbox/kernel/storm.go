package kernel

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

// Bridges that are wired in a circle pass a broadcast round and round, as fast as
// the machine can, in the kernel's own time, which no limit of a world counts:
// every other world becomes slow. So the host looks, all the time, how many packets
// the machine handles, and where these are too many for any use that a learner
// has for them, it looks for the bridge, and pulls one plug.

const (
	// stormAt is how many broadcasts a second are a storm where a bridge both
	// takes them in and passes them on. A ping that floods comes to 20,000.
	stormAt = 40_000
	// stormTick is how often the machine's count is looked at, and stormSample how
	// long the bridges are where that is high.
	stormTick   = 200 * time.Millisecond
	stormSample = 100 * time.Millisecond
)

// guard looks for storms until ctx ends.
func (h *Host) guard(ctx context.Context) {
	ticks := time.NewTicker(stormTick)
	defer ticks.Stop()
	before, since := handled(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		now, at := handled(), time.Now()
		// The kernel counts each of its processors in 32 bits.
		var packets uint64
		for i := range min(len(now), len(before)) {
			packets += uint64(now[i] - before[i])
		}
		if rate(packets, at.Sub(since)) >= stormAt {
			h.calm(ctx)
			select { // much traffic may be for good, and is not to be looked at all the time
			case <-ctx.Done():
				return
			case <-time.After(restFactor * time.Since(at)):
			}
			now, at = handled(), time.Now()
		}
		before, since = now, at
	}
}

func rate(n uint64, in time.Duration) uint64 { return uint64(float64(n) / in.Seconds()) }

// handled is how many packets each processor has handled, in whatever namespace.
func handled() (packets []uint32) {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return nil // every kernel has it
	}
	for line := range strings.Lines(string(text)) {
		first, _, _ := strings.Cut(line, " ")
		n, err := strconv.ParseUint(first, 16, 32)
		if err != nil {
			return nil
		}
		packets = append(packets, uint32(n))
	}
	return packets
}

// calm looks through all worlds, and ends the storm in those that have one. In a
// storm whoever changes or lists interfaces waits long for the others, so only
// those of a namespace that has one are listed; counts can be read without.
func (h *Host) calm(ctx context.Context) {
	h.mu.Lock()
	worlds := slices.Collect(maps.Values(h.worlds))
	h.mu.Unlock()
	before := map[uint64]sample{}
	look := func(w *World, _ *netns, _ *conn, cookie uint64) error {
		before[cookie] = takeSample()
		return nil
	}
	check := func(w *World, ns *netns, c *conn, cookie uint64) error {
		now, was := takeSample(), before[cookie]
		grown := now.since(was)
		if !slices.ContainsFunc(slices.Collect(maps.Values(grown)), func(f frames) bool { return f.in >= stormAt }) {
			return nil
		}
		bridges, err := listBridges(c)
		if err != nil {
			return err
		}
		plug, broadcasts := worst(bridges, grown)
		if plug == "" {
			return nil
		}
		h.options.Log.Warn("a loop of bridges, one port is set down", "world", w.id, "node", ns.id, "port", plug, "broadcasts_per_second", broadcasts)
		if err := unplug(c, plug, broadcasts); err != nil {
			return err
		}
		w.hit(topo.LimitHit{Kind: topo.LimitLoop, Node: ns.id, Subject: plug, Bound: stormAt})
		return nil
	}
	for _, visit := range []func(*World, *netns, *conn, uint64) error{look, check} {
		for _, w := range worlds {
			if w == nil {
				continue // it is being made
			}
			if err := w.inEach(ctx, visit); err != nil {
				h.options.Log.Warn("a world could not be looked through for storms", "world", w.id, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(stormSample):
		}
	}
}

// frames that went in and out.
type frames struct{ in, out uint64 }

// sample is what the interfaces of a namespace have counted.
type sample struct {
	at    time.Time
	count map[string]frames
}

// takeSample is for the namespace of the calling thread.
func takeSample() sample {
	s := sample{time.Now(), map[string]frames{}}
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return s // nothing is seen, and nothing done
	}
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 10 {
			continue
		}
		in, err := strconv.ParseUint(f[1], 10, 64)
		out, err2 := strconv.ParseUint(f[9], 10, 64)
		if err == nil && err2 == nil {
			s.count[strings.TrimSpace(name)] = frames{in, out}
		}
	}
	return s
}

// since is by how much the counts of a second have grown.
func (s sample) since(before sample) map[string]frames {
	grown := map[string]frames{}
	for name, now := range s.count {
		if was, ok := before.count[name]; ok && now.in >= was.in && now.out >= was.out {
			grown[name] = frames{rate(now.in-was.in, s.at.Sub(before.at)), rate(now.out-was.out, s.at.Sub(before.at))}
		}
	}
	return grown
}

// listBridges tells the ports of each bridge of a namespace.
func listBridges(c *conn) (map[string][]string, error) {
	masters, names, bridges := map[string]uint32{}, map[uint32]string{}, map[string][]string{}
	c.limit = tableLimit
	err := c.dump(request(unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC), attrU32(unix.IFLA_EXT_MASK, extSkipStats)), func() {}, func(b []byte) {
		if len(b) < unix.SizeofIfInfomsg {
			return
		}
		var l topo.Netdev
		var master uint32
		attributes(b[unix.SizeofIfInfomsg:], func(t uint16, v []byte) {
			switch t {
			case unix.IFLA_IFNAME:
				l.Name = unix.ByteSliceToString(v)
			case unix.IFLA_MASTER:
				master = u32(v)
			case unix.IFLA_LINKINFO:
				linkInfo(&l, v)
			}
		})
		if l.Kind == "bridge" {
			names[u32(b[4:])] = l.Name
		}
		if master != 0 {
			masters[l.Name] = master
		}
	})
	for name, master := range masters {
		if bridge, ok := names[master]; ok {
			bridges[bridge] = append(bridges[bridge], name)
		}
	}
	return bridges, err
}

// worst is the busiest port of the bridge with the worst storm, if there is one. A
// broadcast is received by the bridge itself and passed on to other ports. What
// two containers send each other is not received, and what the bridge answers
// is not passed on.
func worst(bridges map[string][]string, grown map[string]frames) (plug string, storm uint64) {
	for bridge, ports := range bridges {
		var out uint64
		for _, p := range ports {
			out += grown[p].out
		}
		own := grown[bridge]
		if s := min(own.in, out-min(out, own.out)); s >= max(stormAt, storm) {
			storm = s
			plug = slices.MaxFunc(ports, func(a, b string) int { return cmp.Compare(grown[a].in, grown[b].in) })
		}
	}
	return plug, storm
}

// unplug sets a port down and notes on it why, where `ip link` shows it.
func unplug(c *conn, plug string, broadcasts uint64) error {
	note := fmt.Sprintf("Kabel set this port down: its bridge passed on %d broadcasts a second, as in a loop", broadcasts)
	down := nl.NewIfInfomsg(unix.AF_UNSPEC)
	down.Change = unix.IFF_UP
	return c.do(request(unix.RTM_NEWLINK, 0, down, attrString(unix.IFLA_IFNAME, plug), attrString(unix.IFLA_IFALIAS, note)))
}

// inEach visits all namespaces of a living world with a netlink socket.
func (w *World) inEach(ctx context.Context, f func(w *World, ns *netns, c *conn, cookie uint64) error) error {
	_, leave, err := w.enter(ctx)
	if err != nil {
		return nil // it has ended, and its storms with it
	}
	defer leave()
	hidden, err := w.unnamedOf()
	if err != nil {
		return err
	}
	open, err := w.namespaces(hidden)
	defer func() {
		for _, ns := range open {
			ns.close()
		}
	}()
	if err != nil {
		return err
	}
	return w.host.home.visit(func(enter func(int) error) error {
		buf := make([]byte, receiveSize)
		for _, ns := range open {
			if err := enter(ns.fd); err != nil {
				return err
			}
			c, err := socket(unix.NETLINK_ROUTE, buf)
			if err != nil {
				return err
			}
			cookie, err := unix.GetsockoptUint64(c.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
			if err == nil {
				err = f(w, ns, c, cookie)
			}
			c.close()
			if err != nil {
				return fmt.Errorf("%s: %w", ns.id, err)
			}
		}
		return nil
	})
}

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/topo"
)

// TestSoak makes and ends worlds in which anything may happen, four at a time,
// and wants every namespace, mount, process, cgroup, interface, descriptor, thread
// and goroutine back. KABEL_SOAK is how many worlds, for a long run by hand.
func TestSoak(t *testing.T) {
	worlds := 40
	if s := os.Getenv("KABEL_SOAK"); s != "" {
		var err error
		if worlds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("KABEL_SOAK: %v", err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %d worlds", seed, worlds)

	before, goroutines, interfaces := resources(t), goleak.IgnoreCurrent(), ownInterfaces(t)
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) // worlds that are killed while busy say a lot
	yard, err := jail.Open(jail.Options{StateDir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(yard, Options{ID: "soak", Log: log})
	if err != nil {
		yard.Close()
		t.Fatal(err)
	}
	census := takeCensus(t, h.home)
	fresh, open := leftovers(t, dir), atRest(t)

	var next atomic.Int64
	var tally tally
	var workers sync.WaitGroup
	began := time.Now()
	for range 4 {
		workers.Go(func() {
			for n := int(next.Add(1)); n <= worlds && !t.Failed(); n = int(next.Add(1)) {
				l := &life{t: t, h: h, r: rand.New(rand.NewPCG(seed, uint64(n))), census: census, tally: &tally}
				l.live(fmt.Sprint("w", n))
			}
		})
	}
	workers.Wait()
	t.Logf("%v; %s", time.Since(began).Round(time.Millisecond), tally.String())

	if ids, err := h.Worlds(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("worlds that still live: %v, %v", ids, err)
	}
	eventually(t, "some namespaces stay", func() bool { return census.alive() == 0 })
	var now held
	eventually(t, "something is left while the host lives", func() bool { now = resources(t); return now == open })
	if now != open {
		t.Errorf("with an empty host %+v before, %+v now", open, now)
	}
	if now := leftovers(t, dir); !slices.Equal(now, fresh) {
		t.Errorf("an empty host has\n%v\nat its start it had\n%v", now, fresh)
	}
	census.close()
	if err := errors.Join(h.Close(), yard.Close()); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, goroutines)
	eventually(t, "something is left", func() bool { return resources(t) == before })
	if now := resources(t); now != before {
		t.Errorf("%+v before, %+v now", before, now)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("after the end there is still %v", left)
	}
	if now := ownInterfaces(t); !slices.Equal(now, interfaces) {
		t.Errorf("interfaces of the machine itself: %v before, %v now", interfaces, now)
	}
	strayThreads(t)
}

func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	left, err := jail.Leftovers(dir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(left, func(s string) bool { return strings.HasPrefix(s, "descriptor") }) // resources counts them
}

func ownInterfaces(t *testing.T) (names []string) {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// strayThreads fails if a thread of ours is in a namespace that is not ours.
func strayThreads(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"net", "mnt", "user"} {
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		threads, err := filepath.Glob("/proc/self/task/*/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			if is, err := os.Readlink(thread); err == nil && is != own {
				t.Errorf("%s is %s, ours is %s", thread, is, own)
			}
		}
	}
}

// census knows of namespaces whether they live, without keeping them: it gives
// them numbers in a namespace of its own, and the kernel takes these back.
type census struct {
	t     *testing.T
	mu    sync.Mutex
	conn  *conn
	added int
}

func takeCensus(t *testing.T, h home) *census {
	t.Helper()
	c := &census{t: t}
	err := h.visit(func(func(int) error) (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		c.conn, err = socket(unix.NETLINK_ROUTE, make([]byte, receiveSize))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// add counts the namespaces of a world in that have names.
func (c *census) add(w *World) {
	_, leave, err := w.enter(c.t.Context())
	if err != nil {
		return // it is gone
	}
	defer leave()
	for _, m := range w.machines {
		c.number(m.NetNS())
		names, err := m.Netns()
		if err != nil {
			continue
		}
		for _, name := range names {
			if fd, err := m.OpenNetns(name); err == nil {
				c.number(fd)
				unix.Close(fd)
			}
		}
	}
}

func (c *census) number(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := request(unix.RTM_NEWNSID, 0, nl.NewRtGenMsg(), attrU32(unix.NETNSA_FD, uint32(fd)), attrU32(unix.NETNSA_NSID, ^uint32(0)))
	if err := c.conn.do(req); err == nil {
		c.added++
	} else if !errors.Is(err, unix.EEXIST) {
		c.t.Errorf("number a namespace: %v", err)
	}
}

func (c *census) alive() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.conn.dump(request(unix.RTM_GETNSID, unix.NLM_F_DUMP, nl.NewRtGenMsg()), func() { n = 0 }, func([]byte) { n++ })
	if err != nil {
		c.t.Errorf("count namespaces: %v", err)
	}
	return n
}

func (c *census) close() {
	c.t.Logf("%d namespaces were seen to come and go", c.added)
	c.conn.close()
}

// tally is what happened in a soak.
type tally struct {
	ops, refused, execs, probes, watches, cut, byItself atomic.Int64
}

func (y *tally) String() string {
	return fmt.Sprintf("%d ops done, %d refused, %d programs, %d probes, %d watches; %d worlds ended while busy, %d by themselves",
		y.ops.Load(), y.refused.Load(), y.execs.Load(), y.probes.Load(), y.watches.Load(), y.cut.Load(), y.byItself.Load())
}

// life is what one world goes through.
type life struct {
	t      *testing.T
	h      *Host
	r      *rand.Rand
	w      host.World
	census *census
	tally  *tally
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (l *life) live(id string) {
	spec := pick(l.r, twoHosts(id), host.Spec{ID: host.WorldID(id),
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "host2", Kind: topo.KindInternet}, {Name: "r", Kind: topo.KindRouter}},
		Wires:    []topo.Wire{{A: "host1:eth0", B: "r:eth0"}, {A: "host2:eth0", B: "r:eth1"}}})
	w, err := l.h.Create(l.t.Context(), spec)
	if err != nil {
		l.t.Errorf("create %s: %v", id, err)
		return
	}
	l.w = w
	ctx, end := context.WithCancel(l.t.Context())
	defer end()
	var busy sync.WaitGroup
	if l.r.IntN(2) == 0 {
		l.tally.watches.Add(1)
		if updates, err := w.Watch(ctx); err == nil {
			forgetful := l.r.IntN(4) == 0 // reads nothing at all
			busy.Go(func() {
				for !forgetful {
					if _, ok := <-updates; !ok {
						return
					}
				}
			})
		}
	}
	for range 3 + l.r.IntN(8) {
		l.step(ctx)
	}
	l.census.add(w.(*World))
	switch l.r.IntN(4) {
	case 0: // while three callers are at it
		l.tally.cut.Add(1)
		for range 3 {
			other := *l
			other.r = rand.New(rand.NewPCG(l.r.Uint64(), 0))
			busy.Go(func() {
				for ctx.Err() == nil && !l.t.Failed() {
					other.step(ctx)
					if _, err := l.h.World(ctx, w.ID()); err != nil {
						return
					}
				}
			})
		}
		busy.Go(func() {
			_, err := w.Exec(ctx, host.ExecRequest{Node: "host1", Argv: []string{"sh", "-c", "while :; do ip netns add a; ip netns del a; done & yes >/dev/null"}})
			l.check("exec", err)
		})
		time.Sleep(time.Duration(l.r.IntN(60)) * time.Millisecond) // any moment is a good one
	case 1: // as when the kernel's memory limit kills its pid 1
		l.tally.byItself.Add(1)
		if err := w.(*World).box.Kill(); err != nil {
			l.t.Errorf("kill %s: %v", id, err)
		}
	}
	if err := w.Destroy(l.t.Context()); host.CodeOf(err) != "" && host.CodeOf(err) != host.CodeNotFound {
		l.t.Errorf("destroy %s: %v", id, err)
	}
	end()
	busy.Wait()
	// Who asked for the end of a box that had gone by itself may be told before
	// the host has cleared up.
	eventually(l.t, id+" still lives", func() bool { _, err := l.h.World(l.t.Context(), w.ID()); return err != nil })
}

// check fails for what is nobody's fault but ours.
func (l *life) check(what string, err error) {
	switch host.CodeOf(err) {
	case "", host.CodeOpFailed, host.CodeInvalid, host.CodeTimeout, host.CodeNotFound, host.CodeLimit, host.CodeUnsupported:
	default:
		if !errors.Is(err, jail.ErrGone) && !errors.Is(err, os.ErrClosed) {
			l.t.Errorf("%s: %s: %v", l.w.ID(), what, err)
		}
	}
}

// step does one thing.
func (l *life) step(ctx context.Context) {
	switch l.r.IntN(10) {
	case 0, 1:
		l.tally.execs.Add(1)
		short, cancel := context.WithTimeout(ctx, time.Duration(20+l.r.IntN(500))*time.Millisecond)
		defer cancel()
		_, err := l.w.Exec(short, host.ExecRequest{Node: l.node(), Argv: []string{"sh", "-c", pick(l.r,
			"ip -br addr; ip route; ip netns", "unshare -n sleep 100 &", "setsid sleep 100 >/dev/null 2>&1 &", "yes | head -c 2000000",
			"head -c 5000000 /dev/zero >/tmp/x", "mount -t tmpfs t /mnt; ip netns exec kon1 sleep 0.01", "iptables -A FORWARD -j ACCEPT; iptables -t nat -A POSTROUTING -j MASQUERADE",
			"kill -9 -1", "sleep 10", "ip netns add 'a b'", "(sleep 0.1; ip link del veth1) & ping -c1 -W1 10.0.0.20", "tcpdump -i any -c 1 >/dev/null 2>&1 & socat UDP-LISTEN:5000 - & socat TCP-LISTEN:6000 - &")}})
		l.check("exec", err)
	case 2:
		l.tally.probes.Add(1)
		short, cancel := context.WithTimeout(ctx, time.Duration(20+l.r.IntN(300))*time.Millisecond)
		defer cancel()
		_, err := l.w.Probe(short, topo.Probe{From: l.node(), To: pick(l.r, "127.0.0.1", "10.0.0.20", "172.16.0.3", "192.0.2.1", "fe80::1"),
			Kind: pick(l.r, topo.ProbePing, topo.ProbePing, topo.ProbeTraceroute)})
		l.check("probe", err)
	case 3:
		_, err := l.w.Snapshot(ctx)
		l.check("snapshot", err)
	case 4: // a whole model, as a learner who knows
		l.apply(ctx, slices.Concat(model3(l.r.IntN(2) == 0)...))
	default:
		ops := make([]topo.Placed, 1+l.r.IntN(6))
		for i := range ops {
			ops[i] = on(l.node(), l.op())
		}
		l.apply(ctx, ops)
	}
}

func (l *life) apply(ctx context.Context, ops []topo.Placed) {
	_, err := l.w.Apply(ctx, ops)
	var refused *host.OpError
	switch {
	case errors.As(err, &refused):
		l.tally.ops.Add(int64(refused.Index))
		l.tally.refused.Add(1)
	case err == nil:
		l.tally.ops.Add(int64(len(ops)))
	}
	l.check("apply", err)
}

func (l *life) node() topo.NodeID {
	return pick[topo.NodeID](l.r, "host1", "host1", "host1", "host2", "host1/kon1", "host1/kon2", "host2/kon1")
}

// op is any of the vocabulary. Names and addresses are few, so that many ops
// meet what others have made.
func (l *life) op() topo.Op {
	r := l.r
	name := func() string {
		return pick(r, "veth1", "veth2", "veth10", "veth21", "br0", "vx0", "eth0", "lo", "none")
	}
	netns := func() string { return pick(r, "kon1", "kon2", "kon3") }
	verb := func() topo.Verb { return pick(r, topo.VerbAdd, topo.VerbAdd, topo.VerbReplace, topo.VerbDel) }
	at := func() netip.Addr { return ip(pick(r, "10.0.0.20", "172.16.0.2", "172.16.0.3", "10.0.0.10", "fd00::2")) }
	mac := func() string { return pick(r, macA, macB) }
	switch r.IntN(14) {
	case 0:
		return topo.NetnsAdd{Name: netns()}
	case 1:
		return topo.NetnsDel{Name: netns()}
	case 2:
		return topo.LinkAdd{Name: name(), Kind: "veth", Peer: name()}
	case 3:
		return topo.LinkAdd{Name: name(), Kind: "veth", Peer: name(), PeerNetns: netns(), MTU: pick(r, 0, 1400)}
	case 4:
		return pick[topo.Op](r, topo.LinkAdd{Name: name(), Kind: "bridge"},
			topo.LinkAdd{Name: "vx0", Kind: "vxlan", VXLAN: &topo.VXLAN{VNI: 7, Port: 4789, Remote: at(), Learning: true}, VXLANDev: pick(r, "", "eth0")})
	case 5:
		return topo.LinkDel{Name: name()}
	case 6:
		return pick[topo.Op](r, up(name()), topo.LinkSet{Name: name(), State: "down"}, topo.LinkSet{Name: name(), Netns: netns()},
			topo.LinkSet{Name: name(), Master: "br0"}, topo.LinkSet{Name: name(), NoMaster: true}, topo.LinkSet{Name: name(), Rename: name()}, topo.LinkSet{Name: name(), MTU: 1300, MAC: mac()})
	case 7:
		return addr(verb(), pick(r, "172.16.0.1/24", "172.16.0.2/24", "10.0.0.10/24", "fd00::1/64"), name())
	case 8:
		return pick[topo.Op](r, topo.AddressFlush{Dev: name()}, topo.NeighbourFlush{}, topo.NeighbourFlush{Dev: name()})
	case 9:
		return changed(verb(), pick(r, "default", "172.16.1.0/24", "192.0.2.0/24"), pick(r, topo.Route{Via: at()}, topo.Route{Dev: name()}, topo.Route{Type: "blackhole"}))
	case 10:
		return neigh(verb(), at().String(), mac(), name())
	case 11:
		return topo.FDBChange{Verb: verb(), MAC: mac(), Dev: name(), Master: r.IntN(2) == 0, State: "static"}
	case 12:
		return topo.Sysctl{Key: pick(r, "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter", "net.ipv6.conf.all.forwarding", "net.ipv4.none"), Value: pick(r, "0", "1", "x")}
	default:
		return pick[topo.Op](r, topo.Run{Argv: []string{"ip", "-br", "link"}}, topo.Run{Argv: []string{"sleep", "100"}, Background: true},
			topo.Run{Argv: []string{"socat", "UDP-LISTEN:7000", "TUN:172.20.0.1/24,iff-up"}, Background: true}, topo.Run{Argv: []string{"iptables", "-P", "FORWARD", "DROP"}})
	}
}

// A namespace whose name no command could spell is not shown, and reading it
// again and again takes nothing: at the end of the host all descriptors are back.
func TestNamesThatCannotBeShownTakeNothing(t *testing.T) {
	w := smallWorld(t, openHost(t), "w", nil)
	shell(t, w, "ip netns add 'a b' && ip netns add ü && ip netns add kon")
	for range 3 {
		if s := snapshot(t, w); !slices.Equal(ids(s), []topo.NodeID{"host1", "host1/kon", "host2"}) {
			t.Errorf("nodes: %v", ids(s))
		}
	}
}

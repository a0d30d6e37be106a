// Package contract says what every host.Host must do, as one suite of tests that
// the kernel, the wire and the Model all run. It imports testing, so only tests
// may import it.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// patience bounds what a test waits for; a right implementation needs a small
// part of it.
const patience = 30 * time.Second

// Test runs the suite. open makes a host without worlds for one test and closes
// it with t.Cleanup.
func Test(t *testing.T, open func(t *testing.T) host.Host) {
	for _, c := range []struct {
		name string
		test func(*testing.T, host.Host)
	}{
		{"a created world stands", createStands},
		{"worlds are found and listed by id", finds},
		{"an impossible spec is invalid", invalidSpecs},
		{"a setup that fails leaves no world", failedSetup},
		{"ops change the world as the commands would", appliesOps},
		{"namespaces share an interface with macvlans", sharesAnInterface},
		{"a refused op says what the kernel said", refusedOps},
		{"an op on a machine that is not there is invalid and nothing is done", invalidOps},
		{"what was done before a refused op stays", partialApply},
		{"a watcher gets a snapshot and then diffs that lead to the present", watchLeadsToPresent},
		{"the revision that Apply returns shows its result", revisionShowsResult},
		{"a slow reader is not sent all that it missed", slowReader},
		{"a watch ends with its context", watchEnds},
		{"applies of one world do not mix", appliesAreSerial},
		{"worlds do not see each other", worldsAreSeparate},
		{"exec tells what the program left", execResults},
		{"exec refuses what makes no sense", execRefuses},
		{"exec ends at its timeout", execTimeout},
		{"exec ends with its caller", execCancelled},
		{"exec holds up nobody", execHoldsUpNobody},
		{"a probe tells what came back", probes},
		{"a shell runs on a terminal of its own", terminalShell},
		{"a terminal that nobody reads waits, and holds up nobody", terminalWaits},
		{"a terminal ends with its shell, its world or when it is closed", terminalEnds},
		{"a terminal that makes no sense is refused", terminalRefused},
		{"a capture sees a packet at every interface that it crosses", captureSees},
		{"a capture sees one node or one interface, if asked", captureOneInterface},
		{"a capture keeps what its filter and its length say", captureFilters},
		{"a capture that makes no sense is refused", captureRefused},
		{"a capture sees a namespace that is made later, and lets go of it", captureFollows},
		{"a capture sees each packet of a loopback once", captureLoopback},
		{"a capture that nobody reads loses the oldest and counts them", captureSlowReader},
		{"a capture ends when it is closed and with its world", captureEnds},
		{"a destroyed world is gone for all", destroyed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// spec is two machines on a switch.
func spec(id host.WorldID) host.Spec {
	return host.Spec{
		ID:       id,
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "host2", Kind: topo.KindHost}, {Name: "sw", Kind: topo.KindSwitch}},
		Wires:    []topo.Wire{{A: "host1:eth0", B: "sw:port1"}, {A: "host2:eth0", B: "sw:port2"}},
		Setup: []topo.Placed{
			{Node: "host1", Op: address("10.0.0.10/24", "eth0")},
			{Node: "host2", Op: address("10.0.0.20/24", "eth0")},
		},
	}
}

func address(prefix, dev string) topo.Address {
	return topo.Address{Verb: topo.VerbAdd, Prefix: netip.MustParsePrefix(prefix), Dev: dev}
}

func route(verb topo.Verb, dst, via, dev string) topo.RouteChange {
	r := topo.RouteChange{Verb: verb, Route: topo.Route{Dst: netip.MustParsePrefix(dst), Dev: dev}}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

// kon is the first model of the curriculum: one namespace on a cable.
var kon = []topo.Placed{
	{Node: "host1", Op: topo.NetnsAdd{Name: "kon"}},
	{Node: "host1", Op: topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2"}},
	{Node: "host1", Op: topo.LinkSet{Name: "veth2", Netns: "kon"}},
	{Node: "host1/kon", Op: address("172.16.0.1/32", "veth2")},
	{Node: "host1/kon", Op: topo.LinkSet{Name: "veth2", State: "up"}},
	{Node: "host1", Op: topo.LinkSet{Name: "veth1", State: "up"}},
	{Node: "host1/kon", Op: topo.LinkSet{Name: "lo", State: "up"}},
	{Node: "host1", Op: route(topo.VerbAdd, "172.16.0.1/32", "", "veth1")},
	{Node: "host1/kon", Op: route(topo.VerbAdd, "0.0.0.0/0", "172.16.0.1", "veth2")},
}

func create(t *testing.T, h host.Host, id host.WorldID) host.World {
	t.Helper()
	w, err := h.Create(t.Context(), spec(id))
	if err != nil {
		t.Fatalf("create %s: %v", id, err)
	}
	return w
}

func apply(t *testing.T, w host.World, ops ...topo.Placed) topo.Rev {
	t.Helper()
	after, err := w.Apply(t.Context(), ops)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return after.Revision
}

func snapshot(t *testing.T, w host.World) topo.Snapshot {
	t.Helper()
	s, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	return s
}

func wantCode(t *testing.T, what string, err error, code host.Code) {
	t.Helper()
	if got := host.CodeOf(err); got != code {
		t.Errorf("%s: code %q (%v), want %q", what, got, err, code)
	}
}

// link finds an interface that must be there.
func link(t *testing.T, s topo.Snapshot, id topo.LinkID) topo.Netdev {
	t.Helper()
	node, name := id.Split()
	if n := s.Node(node); n != nil {
		if l := n.Link(name); l != nil {
			return *l
		}
	}
	t.Fatalf("there is no %s", id)
	return topo.Netdev{}
}

func hasRoute(s topo.Snapshot, node topo.NodeID, dst, via, dev string) bool {
	want := route("", dst, via, dev)
	n := s.Node(node)
	return n != nil && slices.ContainsFunc(n.Routes, func(r topo.Route) bool {
		return r.Dst == want.Dst && r.Via == want.Via && r.Dev == want.Dev
	})
}

func createStands(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	if w.ID() != "w" {
		t.Errorf("its id is %q", w.ID())
	}
	s := snapshot(t, w)
	if s.Revision == 0 {
		t.Error("revisions count from 1")
	}
	var ids []topo.NodeID
	for _, n := range s.Nodes {
		ids = append(ids, n.ID)
	}
	if !slices.Equal(ids, []topo.NodeID{"host1", "host2", "sw"}) {
		t.Errorf("nodes are %q", ids)
	}
	eth0 := link(t, s, "host1:eth0")
	if !eth0.Up || !eth0.Carrier || eth0.Kind != "veth" || eth0.MTU != 1500 || eth0.Peer != "sw:port1" {
		t.Errorf("host1:eth0 is %+v", eth0)
	}
	if !slices.Contains(eth0.Addresses, netip.MustParsePrefix("10.0.0.10/24")) {
		t.Errorf("host1:eth0 has the addresses %v", eth0.Addresses)
	}
	if !hasRoute(s, "host1", "10.0.0.0/24", "", "eth0") {
		t.Errorf("host1 has no route to its own network: %+v", s.Node("host1").Routes)
	}
	if port := link(t, s, "sw:port1"); port.Master != "br0" || !port.Up {
		t.Errorf("the switch's port is %+v", port)
	}
	if br := link(t, s, "sw:br0"); br.Kind != "bridge" || !br.Up || !br.Carrier {
		t.Errorf("the switch is %+v", br)
	}
	if lo := link(t, s, "host1:lo"); lo.Kind != "loopback" || !lo.Up {
		t.Errorf("lo of a machine is %+v", lo)
	}
}

func finds(t *testing.T, h host.Host) {
	ctx := t.Context()
	_, err := h.World(ctx, "b")
	wantCode(t, "a world that was never made", err, host.CodeNotFound)
	create(t, h, "b")
	create(t, h, "a")
	_, err = h.Create(ctx, spec("a"))
	wantCode(t, "a second world of that id", err, host.CodeExists)
	if w, err := h.World(ctx, "b"); err != nil || w.ID() != "b" {
		t.Errorf("world b: %v, %v", w, err)
	}
	ids, err := h.Worlds(ctx)
	slices.Sort(ids)
	if err != nil || !slices.Equal(ids, []host.WorldID{"a", "b"}) {
		t.Errorf("worlds are %q, %v", ids, err)
	}
	if st, err := h.Status(ctx); err != nil || st.Worlds != 2 || st.ID == "" {
		t.Errorf("status is %+v, %v", st, err)
	}
}

func invalidSpecs(t *testing.T, h host.Host) {
	for name, spoil := range map[string]func(*host.Spec){
		"no id":                      func(s *host.Spec) { s.ID = "" },
		"an id with a slash":         func(s *host.Spec) { s.ID = "../w" },
		"no machine":                 func(s *host.Spec) { s.Machines, s.Wires, s.Setup = nil, nil, nil },
		"two machines of a name":     func(s *host.Spec) { s.Machines[1].Name = "host1" },
		"a machine with a bad name":  func(s *host.Spec) { s.Machines[0].Name = "a b" },
		"an unknown kind":            func(s *host.Spec) { s.Machines[0].Kind = "toaster" },
		"a namespace as a machine":   func(s *host.Spec) { s.Machines[0].Kind = topo.KindNetns },
		"a wire to no machine":       func(s *host.Spec) { s.Wires[0].B = "nobody:port1" },
		"a wire with a bad name":     func(s *host.Spec) { s.Wires[0].A = "host1:a-name-that-is-too-long" },
		"two wires in one interface": func(s *host.Spec) { s.Wires[1].B = "sw:port1" },
		"setup on no machine":        func(s *host.Spec) { s.Setup[0].Node = "nobody" },
		"setup without an op":        func(s *host.Spec) { s.Setup[0].Op = nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := spec("w")
			spoil(&s)
			_, err := h.Create(t.Context(), s)
			wantCode(t, "create", err, host.CodeInvalid)
		})
	}
}

func failedSetup(t *testing.T, h host.Host) {
	s := spec("w")
	s.Setup = append(s.Setup, topo.Placed{Node: "host1", Op: topo.LinkDel{Name: "nope"}})
	_, err := h.Create(t.Context(), s)
	if op := wantOpError(t, err); op != nil && (op.Index != 2 || op.Errno != "ENODEV") {
		t.Errorf("the error is %+v", op)
	}
	_, err = h.World(t.Context(), "w")
	wantCode(t, "the world", err, host.CodeNotFound)
	create(t, h, "w")
}

func appliesOps(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	rev := apply(t, w, kon...)
	s := snapshot(t, w)
	if s.Revision < rev {
		t.Errorf("the snapshot is of revision %d, before %d", s.Revision, rev)
	}
	if n := s.Nodes; len(n) != 4 || n[1].ID != "host1/kon" || n[1].Kind != topo.KindNetns {
		t.Fatalf("a namespace does not follow its machine: %d nodes, then %s", len(n), n[1].ID)
	}
	veth1, veth2 := link(t, s, "host1:veth1"), link(t, s, "host1/kon:veth2")
	if veth1.Peer != "host1/kon:veth2" || veth2.Peer != "host1:veth1" || !veth1.Carrier || !veth2.Up {
		t.Errorf("the cable is %+v and %+v", veth1, veth2)
	}
	if !hasRoute(s, "host1", "172.16.0.1/32", "", "veth1") || !hasRoute(s, "host1/kon", "0.0.0.0/0", "172.16.0.1", "veth2") {
		t.Errorf("the routes are %+v and %+v", s.Node("host1").Routes, s.Node("host1/kon").Routes)
	}

	// Down takes an interface's routes with it, deletion the other end.
	apply(t, w, topo.Placed{Node: "host1", Op: topo.LinkSet{Name: "veth1", State: "down"}})
	s = snapshot(t, w)
	if hasRoute(s, "host1", "172.16.0.1/32", "", "veth1") {
		t.Error("a route stays on an interface that is down")
	}
	if l := link(t, s, "host1/kon:veth2"); l.Carrier {
		t.Error("there is carrier on a cable whose other end is down")
	}
	apply(t, w,
		topo.Placed{Node: "host1", Op: topo.LinkAdd{Name: "br0", Kind: "bridge"}},
		topo.Placed{Node: "host1", Op: topo.LinkSet{Name: "veth1", Master: "br0", MTU: 1400}},
		topo.Placed{Node: "host1", Op: topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}},
		topo.Placed{Node: "host1", Op: topo.NeighbourChange{Verb: topo.VerbAdd, IP: netip.MustParseAddr("10.0.0.99"), MAC: "02:00:00:00:00:99", Dev: "eth0"}},
	)
	s = snapshot(t, w)
	if l := link(t, s, "host1:veth1"); l.Master != "br0" || l.MTU != 1400 {
		t.Errorf("the port is %+v", l)
	}
	n := s.Node("host1")
	if v := n.Sysctls["net.ipv4.ip_forward"]; v != "1" {
		t.Errorf("ip_forward is %q", v)
	}
	if !slices.Contains(n.Neighbours, topo.Neighbour{IP: netip.MustParseAddr("10.0.0.99"), MAC: "02:00:00:00:00:99", Dev: "eth0", State: "permanent"}) {
		t.Errorf("the neighbours are %+v", n.Neighbours)
	}
	apply(t, w, topo.Placed{Node: "host1", Op: topo.LinkDel{Name: "veth1"}}, topo.Placed{Node: "host1", Op: topo.NetnsDel{Name: "kon"}})
	if s = snapshot(t, w); len(s.Nodes) != 3 || s.Node("host1").Link("veth1") != nil {
		t.Error("what was deleted is still there")
	}
}

func sharesAnInterface(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	macvlan := func(name, mode string) topo.Placed {
		return topo.Placed{Node: "host1", Op: topo.LinkAdd{Name: name, Kind: "macvlan", Link: "eth0", Mode: mode}}
	}
	_, err := w.Apply(t.Context(), []topo.Placed{macvlan("a0", "bridge"), macvlan("b0", "bridge"), macvlan("c0", "private")})
	if op, ok := errors.AsType[*host.OpError](err); ok && op.Errno == "EOPNOTSUPP" {
		t.Skip("kernel lacks: macvlan devices")
	} else if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b", "c"} {
		in, dev := topo.NodeID("host1").In(name), name+"0"
		apply(t, w,
			topo.Placed{Node: "host1", Op: topo.NetnsAdd{Name: name}},
			topo.Placed{Node: "host1", Op: topo.LinkSet{Name: dev, Netns: name}},
			topo.Placed{Node: in, Op: address(fmt.Sprintf("10.0.0.%d/24", 31+i), dev)},
			topo.Placed{Node: in, Op: topo.LinkSet{Name: dev, State: "up"}})
	}
	apply(t, w, macvlan("vepa0", ""))
	s := snapshot(t, w)
	for id, want := range map[topo.LinkID][2]string{
		"host1/a:a0": {"host1:eth0", "bridge"}, "host1/c:c0": {"host1:eth0", "private"}, "host1:vepa0": {"eth0", "vepa"},
	} {
		if l := link(t, s, id); l.Kind != "macvlan" || [2]string{l.Parent, l.Mode} != want || l.MAC == link(t, s, "host1:eth0").MAC {
			t.Errorf("%s is %+v, want %v", id, l, want)
		}
	}
	// Bridged ones hear each other and what is outside, a private one only that;
	// none of them hears the machine whose interface they share.
	for _, p := range []struct {
		from topo.NodeID
		to   string
		ok   bool
	}{
		{"host1/a", "10.0.0.32", true}, {"host1/a", "10.0.0.20", true}, {"host2", "10.0.0.31", true}, {"host1/c", "10.0.0.20", true},
		{"host1/a", "10.0.0.33", false}, {"host1/c", "10.0.0.31", false}, {"host1/a", "10.0.0.10", false}, {"host1", "10.0.0.31", false},
	} {
		got, err := w.Probe(t.Context(), topo.Probe{From: p.from, Kind: topo.ProbePing, To: p.to})
		if err != nil || got.OK != p.ok {
			t.Errorf("a ping from %s to %s: %+v, %v", p.from, p.to, got, err)
		}
	}
	// They go with what they share.
	apply(t, w, topo.Placed{Node: "host1", Op: topo.LinkDel{Name: "eth0"}})
	s = snapshot(t, w)
	if s.Node("host1/a").Link("a0") != nil || s.Node("host1").Link("vepa0") != nil {
		t.Error("a macvlan outlives the interface that it shares")
	}
}

func wantOpError(t *testing.T, err error) *host.OpError {
	t.Helper()
	op, ok := errors.AsType[*host.OpError](err)
	if !ok {
		t.Errorf("%v is no OpError", err)
		return nil
	}
	wantCode(t, "an OpError", err, host.CodeOpFailed)
	return op
}

func refusedOps(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	apply(t, w, kon...)
	apply(t, w, topo.Placed{Node: "host1", Op: topo.LinkAdd{Name: "down0", Kind: "veth", Peer: "down1"}})
	for _, tt := range []struct {
		node  topo.NodeID
		op    topo.Op
		errno string
	}{
		{"host1", topo.NetnsAdd{Name: "kon"}, "EEXIST"},
		{"host1", topo.NetnsDel{Name: "nope"}, "ENOENT"},
		{"host1/nope", topo.LinkDel{Name: "lo"}, "ENOENT"},
		{"host1", topo.LinkAdd{Name: "veth1", Kind: "bridge"}, "EEXIST"},
		{"host1", topo.LinkAdd{Name: "new0", Kind: "veth", Peer: "veth1"}, "EEXIST"},
		{"host1", topo.LinkDel{Name: "nope"}, "ENODEV"},
		{"host1", topo.LinkDel{Name: "lo"}, "EOPNOTSUPP"},
		{"host1", topo.LinkSet{Name: "nope", State: "up"}, "ENODEV"},
		{"host1", topo.LinkSet{Name: "veth1", Master: "nope"}, "ENODEV"},
		{"host1", topo.LinkSet{Name: "lo", Netns: "kon"}, "EINVAL"},
		{"host1/kon", topo.LinkSet{Name: "veth2", Rename: "lo"}, "EEXIST"},
		{"host1/kon", address("172.16.0.1/32", "veth2"), "EEXIST"},
		{"host1/kon", address("172.16.0.1/32", "nope"), "ENODEV"},
		{"host1", topo.Address{Verb: topo.VerbDel, Prefix: netip.MustParsePrefix("9.9.9.9/24"), Dev: "eth0"}, "EADDRNOTAVAIL"},
		{"host1", route(topo.VerbAdd, "172.16.0.1/32", "", "veth1"), "EEXIST"},
		{"host1", route(topo.VerbAdd, "10.9.0.0/16", "192.0.2.1", ""), "ENETUNREACH"},
		{"host1", route(topo.VerbAdd, "10.9.0.0/16", "", "nope"), "ENODEV"},
		{"host1", route(topo.VerbAdd, "10.9.0.0/16", "", "down0"), "ENETDOWN"},
		{"host1", route(topo.VerbAdd, "10.9.0.1/16", "", "eth0"), "EINVAL"},
		{"host1", route(topo.VerbDel, "10.9.0.0/16", "", "eth0"), "ESRCH"},
		{"host1", topo.NeighbourChange{Verb: topo.VerbDel, IP: netip.MustParseAddr("10.0.0.77"), Dev: "eth0"}, "ENOENT"},
		{"host1", topo.Sysctl{Key: "net.ipv4.no_such_thing", Value: "1"}, "ENOENT"},
		{"host1", topo.Run{Argv: []string{"false"}}, ""},
		{"host1", topo.Run{Argv: []string{"no-such-program"}}, ""},
	} {
		p := topo.Placed{Node: tt.node, Op: tt.op}
		t.Run(p.Command()+" on "+string(tt.node), func(t *testing.T) {
			before := snapshot(t, w).Normal()
			_, err := w.Apply(t.Context(), []topo.Placed{p})
			op := wantOpError(t, err)
			if op == nil {
				return
			}
			if op.Errno != tt.errno {
				t.Errorf("errno is %q (%s), want %q", op.Errno, op.Message, tt.errno)
			}
			if op.Index != 0 || op.Node != tt.node || op.Command != p.Command() || op.Message == "" {
				t.Errorf("the error is %+v", op)
			}
			if !snapshot(t, w).Normal().Equal(before) {
				t.Error("the refused op changed the world")
			}
		})
	}
}

func invalidOps(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	good := topo.Placed{Node: "host1", Op: topo.NetnsAdd{Name: "kon"}}
	for name, bad := range map[string]topo.Placed{
		"an unknown machine": {Node: "nobody", Op: topo.NetnsAdd{Name: "x"}},
		"no node":            {Op: topo.NetnsAdd{Name: "x"}},
		"a bad node":         {Node: "host1/a/b", Op: topo.NetnsAdd{Name: "x"}},
		"no op":              {Node: "host1"},
		"no program":         {Node: "host1", Op: topo.Run{}},
	} {
		_, err := w.Apply(t.Context(), []topo.Placed{good, bad})
		wantCode(t, name, err, host.CodeInvalid)
	}
	if s := snapshot(t, w); s.Node("host1/kon") != nil {
		t.Error("ops before an invalid one were done")
	}
}

func partialApply(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	_, err := w.Apply(t.Context(), []topo.Placed{
		{Node: "host1", Op: topo.NetnsAdd{Name: "first"}},
		{Node: "host1", Op: topo.NetnsAdd{Name: "first"}},
		{Node: "host1", Op: topo.NetnsAdd{Name: "third"}},
	})
	if op := wantOpError(t, err); op != nil && op.Index != 1 {
		t.Errorf("%d ops were done, want 1", op.Index)
	}
	s := snapshot(t, w)
	if s.Node("host1/first") == nil {
		t.Error("what was done before the failure is gone")
	}
	if s.Node("host1/third") != nil {
		t.Error("what came after the failure was done")
	}
}

// reader follows a watch as a careful client does.
type reader struct {
	t       *testing.T
	updates <-chan topo.Update
	now     topo.Snapshot
	count   int
}

func watch(t *testing.T, w host.World) *reader {
	t.Helper()
	updates, err := w.Watch(t.Context())
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	r := &reader{t: t, updates: updates}
	if r.next(); r.now.Revision == 0 {
		t.Fatal("the first update is no snapshot")
	}
	return r
}

func (r *reader) next() {
	r.t.Helper()
	select {
	case u, open := <-r.updates:
		if !open {
			r.t.Fatal("the watch ended")
		}
		r.count++
		if (u.Snapshot == nil) == (u.Diff == nil) {
			r.t.Fatalf("an update is a snapshot or a diff, not %+v", u)
		}
		was := r.now.Revision
		if u.Snapshot != nil {
			r.now = *u.Snapshot
		} else {
			var err error
			if r.now, err = u.Diff.Apply(r.now); err != nil {
				r.t.Fatalf("a diff does not fit: %v", err)
			}
		}
		if r.now.Revision <= was {
			r.t.Fatalf("revision %d follows %d", r.now.Revision, was)
		}
	case <-time.After(patience):
		r.t.Fatalf("no update after revision %d", r.now.Revision)
	}
}

// until reads on to the revision rev.
func (r *reader) until(rev topo.Rev) {
	r.t.Helper()
	for r.now.Revision < rev {
		r.next()
	}
}

// present reads on until the watcher and a fresh snapshot are of one revision
// and compares them.
func (r *reader) present(w host.World) {
	r.t.Helper()
	for {
		fresh := snapshot(r.t, w)
		r.until(fresh.Revision)
		if r.now.Revision == fresh.Revision {
			if !r.now.Equal(fresh) {
				r.t.Fatalf("at revision %d the watcher has\n%+v\nand a fresh snapshot is\n%+v", fresh.Revision, r.now, fresh)
			}
			return
		}
	}
}

func watchLeadsToPresent(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	r := watch(t, w)
	r.present(w)
	for _, op := range kon {
		apply(t, w, op)
	}
	r.present(w)
	late := watch(t, w)
	apply(t, w, topo.Placed{Node: "host1", Op: topo.NetnsDel{Name: "kon"}})
	r.present(w)
	late.present(w)
}

func revisionShowsResult(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	r := watch(t, w)
	last := r.now.Revision
	for i := range 10 {
		mtu := 1000 + i
		rev := apply(t, w, topo.Placed{Node: "host1", Op: topo.LinkSet{Name: "eth0", MTU: mtu}})
		if rev <= last {
			t.Fatalf("a change has revision %d after %d", rev, last)
		}
		last = rev
		r.until(rev)
		if got := link(t, r.now, "host1:eth0").MTU; got != mtu {
			t.Errorf("revision %d shows MTU %d, want %d", rev, got, mtu)
		}
	}
	if rev := apply(t, w); rev < last {
		t.Errorf("no ops at all lead back to revision %d from %d", rev, last)
	}
}

func slowReader(t *testing.T, h host.Host) {
	const changes = 100
	w := create(t, h, "w")
	slow := watch(t, w)
	quick := watch(t, w)
	for i := range changes {
		quick.until(apply(t, w, topo.Placed{Node: "host1", Op: topo.LinkSet{Name: "eth0", MTU: 1000 + i}}))
	}
	slow.count = 0
	slow.present(w)
	if slow.count >= changes {
		t.Errorf("%d updates were kept for a reader that did not read", slow.count)
	}
}

func watchEnds(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	ctx, cancel := context.WithCancel(t.Context())
	updates, err := w.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	drain(t, updates)
}

// drain waits until a watch is closed.
func drain(t *testing.T, updates <-chan topo.Update) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case _, open := <-updates:
			if !open {
				return
			}
		case <-limit:
			t.Fatal("the watch did not end")
		}
	}
}

func appliesAreSerial(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			// Mixed with another of its kind, one of the two adds would fail.
			if _, err := w.Apply(t.Context(), []topo.Placed{
				{Node: "host1", Op: topo.LinkAdd{Name: "br7", Kind: "bridge"}},
				{Node: "host1", Op: topo.LinkSet{Name: "br7", State: "up"}},
				{Node: "host1", Op: topo.LinkDel{Name: "br7"}},
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func worldsAreSeparate(t *testing.T, h host.Host) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			id := host.WorldID(fmt.Sprint("w", i))
			w, err := h.Create(t.Context(), spec(id))
			if err != nil {
				t.Errorf("create %s: %v", id, err)
				return
			}
			if _, err := w.Apply(t.Context(), kon); err != nil {
				t.Errorf("apply in %s: %v", id, err)
			}
			if _, err := w.Apply(t.Context(), []topo.Placed{{Node: "host1", Op: topo.LinkSet{Name: "eth0", MTU: 1000 + i}}}); err != nil {
				t.Errorf("apply in %s: %v", id, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i := range 4 {
		w, err := h.World(t.Context(), host.WorldID(fmt.Sprint("w", i)))
		if err != nil {
			t.Fatal(err)
		}
		if mtu := link(t, snapshot(t, w), "host1:eth0").MTU; mtu != 1000+i {
			t.Errorf("world %d has the MTU %d", i, mtu)
		}
	}
}

func execResults(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	apply(t, w, kon...)
	long := bytes.Repeat([]byte("0123456789abcde\n"), host.MaxExecOutput/16+1)
	for _, tt := range []struct {
		name string
		req  host.ExecRequest
		want host.ExecResult
	}{
		{"success", host.ExecRequest{Argv: []string{"true"}}, host.ExecResult{}},
		{"failure", host.ExecRequest{Argv: []string{"false"}}, host.ExecResult{ExitCode: 1}},
		{"output", host.ExecRequest{Argv: []string{"echo", "a", "b"}}, host.ExecResult{Stdout: []byte("a b\n")}},
		{"input", host.ExecRequest{Argv: []string{"cat"}, Stdin: []byte("in\x00\xff")}, host.ExecResult{Stdout: []byte("in\x00\xff")}},
		{"in a namespace", host.ExecRequest{Node: "host1/kon", Argv: []string{"echo", "x"}}, host.ExecResult{Stdout: []byte("x\n")}},
		{"more output than is kept", host.ExecRequest{Argv: []string{"cat"}, Stdin: long}, host.ExecResult{Stdout: long[:host.MaxExecOutput], Truncated: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.req.Node == "" {
				tt.req.Node = "host1"
			}
			got, err := w.Exec(t.Context(), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			if got.ExitCode != tt.want.ExitCode || !bytes.Equal(got.Stdout, tt.want.Stdout) || len(got.Stderr) > 0 || got.Truncated != tt.want.Truncated || got.TimedOut {
				t.Errorf("exit code %d, %d bytes out, %q, truncated %v", got.ExitCode, len(got.Stdout), got.Stderr, got.Truncated)
			}
		})
	}
	got, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"no-such-program"}})
	if err != nil || got.ExitCode != 127 || len(got.Stderr) == 0 {
		t.Errorf("a program that is not there: %+v, %v", got, err)
	}
}

func execRefuses(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	for name, r := range map[string]host.ExecRequest{
		"an unknown node":      {Node: "nobody", Argv: []string{"true"}},
		"an unknown namespace": {Node: "host1/nope", Argv: []string{"true"}},
		"no program":           {Node: "host1"},
		"a timeout below zero": {Node: "host1", Argv: []string{"true"}, Timeout: -1},
		"a timeout too long":   {Node: "host1", Argv: []string{"true"}, Timeout: host.MaxExecTimeout + 1},
	} {
		_, err := w.Exec(t.Context(), r)
		wantCode(t, name, err, host.CodeInvalid)
	}
}

func execTimeout(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	got, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"sleep", "1000"}, Timeout: 50 * time.Millisecond})
	if err != nil || !got.TimedOut || got.ExitCode != 128+9 {
		t.Errorf("%+v, %v", got, err)
	}
}

func execCancelled(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.Exec(ctx, host.ExecRequest{Node: "host1", Argv: []string{"sleep", "1000"}, Timeout: host.MaxExecTimeout})
	wantCode(t, "exec", err, host.CodeTimeout)
}

func execHoldsUpNobody(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, err := w.Exec(ctx, host.ExecRequest{Node: "host1", Argv: []string{"sleep", "1000"}, Timeout: host.MaxExecTimeout})
			wantCode(t, "exec", err, host.CodeTimeout)
		})
	}
	apply(t, w, kon...)
	snapshot(t, w)
	create(t, h, "other")
	cancel()
	wg.Wait()
}

func probes(t *testing.T, h host.Host) {
	w := create(t, h, "w")
	for _, tt := range []struct {
		name   string
		probe  topo.Probe
		reason topo.Reason
	}{
		{"a neighbour", topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20", Count: 2}, ""},
		{"itself", topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.10"}, ""},
		{"no route", topo.Probe{From: "host1", Kind: topo.ProbePing, To: "192.0.2.1"}, topo.ReasonNetUnreachable},
		{"nobody there", topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.99"}, topo.ReasonHostUnreachable},
		{"too big", topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20", Size: 1600, DontFragment: true}, topo.ReasonTooBig},
		{"big, in fragments", topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20", Size: 1600}, ""},
		{"nobody listens", topo.Probe{From: "host1", Kind: topo.ProbeTCP, To: "10.0.0.20:81"}, topo.ReasonRefused},
		{"nobody takes a datagram", topo.Probe{From: "host1", Kind: topo.ProbeUDP, To: "10.0.0.20:81"}, topo.ReasonPortUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.Probe(t.Context(), tt.probe)
			if err != nil {
				t.Fatal(err)
			}
			if got.OK != (tt.reason == "") || got.Reason != tt.reason {
				t.Errorf("ok %v, reason %q, want %q", got.OK, got.Reason, tt.reason)
			}
			if want := max(tt.probe.Count, 1); got.Sent != want || got.OK && (got.Received != want || got.RTTms <= 0) {
				t.Errorf("%d sent, %d received in %v ms", got.Sent, got.Received, got.RTTms)
			}
			if got.Probe != tt.probe || got.At.IsZero() {
				t.Errorf("it answers %+v at %v", got.Probe, got.At)
			}
		})
	}
	for name, p := range map[string]topo.Probe{
		"an unknown node":    {From: "nobody", Kind: topo.ProbePing, To: "10.0.0.20"},
		"an unknown kind":    {From: "host1", Kind: "telepathy", To: "10.0.0.20"},
		"no address":         {From: "host1", Kind: topo.ProbePing, To: "10.0.0"},
		"no port":            {From: "host1", Kind: topo.ProbeTCP, To: "10.0.0.20"},
		"too many attempts":  {From: "host1", Kind: topo.ProbePing, To: "10.0.0.20", Count: 11},
		"a count below zero": {From: "host1", Kind: topo.ProbePing, To: "10.0.0.20", Count: -1},
	} {
		_, err := w.Probe(t.Context(), p)
		wantCode(t, name, err, host.CodeInvalid)
	}
}

func destroyed(t *testing.T, h host.Host) {
	ctx := t.Context()
	w := create(t, h, "w")
	again, err := h.World(ctx, "w")
	if err != nil {
		t.Fatal(err)
	}
	updates, err := again.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Destroy(ctx); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	drain(t, updates)
	for _, handle := range []host.World{w, again} {
		_, err = handle.Apply(ctx, kon)
		wantCode(t, "apply", err, host.CodeNotFound)
		_, err = handle.Exec(ctx, host.ExecRequest{Node: "host1", Argv: []string{"true"}})
		wantCode(t, "exec", err, host.CodeNotFound)
		_, err = handle.Probe(ctx, topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20"})
		wantCode(t, "probe", err, host.CodeNotFound)
		_, err = handle.Snapshot(ctx)
		wantCode(t, "snapshot", err, host.CodeNotFound)
		_, err = handle.Watch(ctx)
		wantCode(t, "watch", err, host.CodeNotFound)
		wantCode(t, "destroy", handle.Destroy(ctx), host.CodeNotFound)
	}
	_, err = h.World(ctx, "w")
	wantCode(t, "world", err, host.CodeNotFound)
	if ids, err := h.Worlds(ctx); err != nil || len(ids) != 0 {
		t.Errorf("worlds are %q, %v", ids, err)
	}
	w = create(t, h, "w")
	if s := snapshot(t, w); strings.Contains(fmt.Sprint(s.Nodes), "kon") {
		t.Error("a new world has something of the old one")
	}
}

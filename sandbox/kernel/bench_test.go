package kernel

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	nsfd "github.com/vishvananda/netns"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// containers are the steps of Model 2 on a machine: two namespaces on a bridge.
// inPlace makes the far ends of the cables where they belong, as no tutorial does.
func containers(machine topo.NodeID, net string, inPlace bool) [][]topo.Placed {
	here := func(ops ...topo.Op) (placed []topo.Placed) {
		for _, op := range ops {
			placed = append(placed, on(machine, op))
		}
		return placed
	}
	steps := [][]topo.Placed{here(topo.NetnsAdd{Name: "kon1"}, topo.NetnsAdd{Name: "kon2"})}
	for i, kon := range []string{"kon1", "kon2"} {
		outside, inside := fmt.Sprintf("veth%d0", i+1), fmt.Sprintf("veth%d1", i+1)
		in := machine.In(kon)
		if inPlace {
			steps = append(steps, here(topo.LinkAdd{Name: outside, Kind: "veth", Peer: inside, PeerNetns: kon}))
		} else {
			steps = append(steps, here(topo.LinkAdd{Name: outside, Kind: "veth", Peer: inside}, topo.LinkSet{Name: inside, Netns: kon}))
		}
		steps = append(steps, []topo.Placed{
			on(in, addr(topo.VerbAdd, fmt.Sprintf("%s.%d/24", net, i+2), inside)), on(in, up(inside)), on(in, up("lo")), on(machine, up(outside)),
		})
	}
	return append(steps,
		here(topo.LinkAdd{Name: "br0", Kind: "bridge"}, topo.LinkSet{Name: "veth10", Master: "br0"}, topo.LinkSet{Name: "veth20", Master: "br0"}, up("br0")),
		here(addr(topo.VerbAdd, net+".1/24", "br0")),
		[]topo.Placed{on(machine.In("kon1"), add("default", topo.Route{Via: ip(net + ".1")})), on(machine.In("kon2"), add("default", topo.Route{Via: ip(net + ".1")}))},
	)
}

func model2(inPlace bool) [][]topo.Placed { return containers("host1", "172.16.0", inPlace) }

func model3(inPlace bool) [][]topo.Placed {
	return append(append(containers("host1", "172.16.0", inPlace), containers("host2", "172.16.1", inPlace)...),
		[]topo.Placed{on("host1", add("172.16.1.0/24", topo.Route{Via: ip("10.0.0.20")})), on("host2", add("172.16.0.0/24", topo.Route{Via: ip("10.0.0.10")}))},
		[]topo.Placed{on("host1", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}), on("host2", topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"})})
}

func twoHosts(id string) host.Spec {
	return host.Spec{ID: host.WorldID(id),
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "host2", Kind: topo.KindHost}, {Name: "sw", Kind: topo.KindSwitch}},
		Wires:    []topo.Wire{{A: "host1:eth0", B: "sw:port1"}, {A: "host2:eth0", B: "sw:port2"}},
		Setup:    []topo.Placed{on("host1", addr(topo.VerbAdd, "10.0.0.10/24", "eth0")), on("host2", addr(topo.VerbAdd, "10.0.0.20/24", "eth0"))}}
}

// BenchmarkModels builds Model 2 and Model 3 in every way that there is, in
// turn, each time in a new world, and reports medians and their ratios.
func BenchmarkModels(b *testing.B) {
	for _, m := range []struct {
		name  string
		model func(inPlace bool) [][]topo.Placed
	}{{"model2", model2}, {"model3", model3}} {
		b.Run(m.name, func(b *testing.B) { benchmarkModel(b, m.model) })
	}
}

func benchmarkModel(b *testing.B, model func(bool) [][]topo.Placed) {
	h := openHost(b)
	moved, placed := model(false), model(true)
	took := map[string][]time.Duration{}
	n := 0
	fresh := func(way string, build func(host.World)) {
		n++
		w, err := h.Create(b.Context(), twoHosts(fmt.Sprint("w", n)))
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		build(w)
		took[way] = append(took[way], time.Since(began))
		if err := w.Destroy(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	applied := func(steps ...[]topo.Placed) func(host.World) {
		return func(w host.World) {
			for _, step := range steps {
				apply(b, w, step...)
			}
		}
	}
	typed := func(script map[topo.NodeID]string) func(host.World) {
		return func(w host.World) {
			for _, machine := range []topo.NodeID{"host1", "host2"} {
				r, err := w.Exec(b.Context(), host.ExecRequest{Node: machine, Argv: []string{"sh", "-ec", script[machine]}})
				if err != nil || r.ExitCode != 0 {
					b.Fatalf("%v: %s", err, r.Stderr)
				}
			}
		}
	}
	scripts, batches := map[topo.NodeID]string{}, map[topo.NodeID]string{}
	for _, machine := range []topo.NodeID{"host1", "host2"} {
		scripts[machine], batches[machine] = script(machine, slices.Concat(moved...)), batch(machine, slices.Concat(moved...))
	}
	b.ResetTimer()
	for range b.N {
		fresh("setup", func(w host.World) { // as Create does it
			if err := w.(*World).applier().all(b.Context(), slices.Concat(placed...)); err != nil {
				b.Fatal(err)
			}
		})
		fresh("at-once", applied(slices.Concat(placed...)))
		took["loop"] = append(took["loop"], plainLoop(b, slices.Concat(placed...)))
		fresh("steps", applied(moved...))
		took["loop-moves"] = append(took["loop-moves"], plainLoop(b, slices.Concat(moved...)))
		fresh("script", typed(scripts))
		fresh("batch", typed(batches))
	}
	median := map[string]float64{}
	for way, d := range took {
		slices.Sort(d)
		median[way] = float64(d[len(d)/2].Microseconds()) / 1000
		b.ReportMetric(median[way], "ms/"+way)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median["setup"]/median["loop"], "setup:loop")
	b.ReportMetric(median["at-once"]/median["loop"], "at-once:loop")
	b.ReportMetric(median["steps"]/median["loop-moves"], "steps:loop-moves")
	b.ReportMetric(median["script"]/median["steps"], "script:steps")
	b.ReportMetric(median["batch"]/median["steps"], "batch:steps")
	b.ReportMetric(median["script"]/median["at-once"], "script:at-once")
}

// script is the ops of one machine as a person types them.
func script(machine topo.NodeID, ops []topo.Placed) string {
	var lines []string
	for _, op := range ops {
		if op.Node.Machine() == string(machine) {
			lines = append(lines, op.Command())
		}
	}
	return strings.Join(lines, "\n")
}

// batch is the same with one ip process for each run of ops in one namespace.
func batch(machine topo.NodeID, ops []topo.Placed) string {
	var out strings.Builder
	var lines []string
	var node topo.NodeID
	flush := func() {
		if lines != nil {
			netns := ""
			if node.Netns() != "" {
				netns = "-n " + node.Netns() + " "
			}
			fmt.Fprintf(&out, "ip %s-batch - <<'END'\n%s\nEND\n", netns, strings.Join(lines, "\n"))
			lines = nil
		}
	}
	for _, op := range ops {
		if op.Node.Machine() != string(machine) {
			continue
		}
		line, ok := strings.CutPrefix(op.Op.Command(), "ip ")
		if op.Node != node || !ok {
			flush()
			node = op.Node
		}
		if ok {
			lines = append(lines, line)
		} else {
			out.WriteString(op.Command() + "\n")
		}
	}
	flush()
	return out.String()
}

// plainLoop does ops in new namespaces as the plainest program would, with a handle
// per namespace, and returns the time without making the machines.
func plainLoop(b *testing.B, ops []topo.Placed) time.Duration {
	took := make(chan time.Duration)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with its namespaces
		must := func(err error) {
			if err != nil {
				b.Error(err)
			}
		}
		handles := map[topo.NodeID]*netlink.Handle{}
		spaces := map[topo.NodeID]nsfd.NsHandle{}
		create := func(node topo.NodeID) {
			ns, err := nsfd.New()
			must(err)
			spaces[node] = ns
			handles[node], err = netlink.NewHandleAt(ns, 0)
			must(err)
		}
		for _, machine := range []topo.NodeID{"host1", "host2"} {
			create(machine)
			must(handles[machine].LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "far"}))
			for _, name := range []string{"eth0", "far", "lo"} {
				l, err := handles[machine].LinkByName(name)
				must(err)
				must(handles[machine].LinkSetUp(l))
			}
			l, err := handles[machine].LinkByName("eth0")
			must(err)
			at := map[topo.NodeID]string{"host1": "10.0.0.10/24", "host2": "10.0.0.20/24"}[machine]
			address, err := netlink.ParseAddr(at)
			must(err)
			must(handles[machine].AddrAdd(l, address))
		}
		began := time.Now()
		for _, op := range ops {
			must(plainOp(handles[op.Node], spaces, op, create))
		}
		d := time.Since(began)
		for node, ns := range spaces {
			handles[node].Close()
			must(ns.Close())
		}
		took <- d
	}()
	return <-took
}

func plainOp(h *netlink.Handle, spaces map[topo.NodeID]nsfd.NsHandle, op topo.Placed, create func(topo.NodeID)) error {
	link := func(name string) netlink.Link {
		l, err := h.LinkByName(name)
		if err != nil {
			return &netlink.Dummy{}
		}
		return l
	}
	switch o := op.Op.(type) {
	case topo.NetnsAdd:
		create(op.Node.In(o.Name))
		return nil
	case topo.LinkAdd:
		if o.Kind == "bridge" {
			return h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: o.Name}})
		}
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: o.Name}, PeerName: o.Peer}
		if o.PeerNetns != "" {
			v.PeerNamespace = netlink.NsFd(spaces[op.Node.In(o.PeerNetns)])
		}
		return h.LinkAdd(v)
	case topo.LinkSet:
		switch {
		case o.Netns != "":
			return h.LinkSetNsFd(link(o.Name), int(spaces[op.Node.In(o.Netns)]))
		case o.Master != "":
			return h.LinkSetMaster(link(o.Name), link(o.Master))
		}
		return h.LinkSetUp(link(o.Name))
	case topo.Address:
		return h.AddrAdd(link(o.Dev), &netlink.Addr{IPNet: &net.IPNet{IP: o.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(o.Prefix.Bits(), 32)}})
	case topo.RouteChange:
		r := &netlink.Route{Gw: o.Via.AsSlice()}
		if o.Dst.IsValid() {
			r.Dst = &net.IPNet{IP: o.Dst.Addr().AsSlice(), Mask: net.CIDRMask(o.Dst.Bits(), 32)}
		}
		return h.RouteAdd(r)
	case topo.Sysctl:
		if err := nsfd.Set(spaces[op.Node]); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(o.Key, ".", "/"), []byte(o.Value), 0)
	}
	return fmt.Errorf("no bare way for %T", op.Op)
}

// BenchmarkWorlds makes worlds beside 1 and beside 100 that live, and tells what
// each of the hundred weighs.
func BenchmarkWorlds(b *testing.B) {
	h := openHost(b)
	n := 0
	create := func() (host.World, time.Duration) {
		n++
		began := time.Now()
		w, err := h.Create(b.Context(), twoHosts(fmt.Sprint("w", n)))
		if err != nil {
			b.Fatal(err)
		}
		return w, time.Since(began)
	}
	beside := func(alive int) {
		b.Run(fmt.Sprint("beside", alive), func(b *testing.B) {
			var took []time.Duration
			var made []host.World
			clear := func() {
				for _, w := range made {
					if err := w.Destroy(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				made = nil
			}
			for range b.N {
				if len(made) == 20 { // in batches, because the kernel is slow right after a world's end
					clear()
				}
				w, d := create()
				made, took = append(made, w), append(took, d)
			}
			clear()
			slices.Sort(took)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "ms-p95")
		})
	}
	create()
	beside(1)
	before := available(b)
	for range 99 {
		create()
	}
	perWorld := float64(before-available(b)) / 99 / (1 << 20)
	beside(100)
	b.Run("memory", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(perWorld, "MiB/world")
	})
}

// available is the memory of the machine that nobody uses, in bytes.
func available(b *testing.B) int {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if w := strings.Fields(string(line)); len(w) > 1 && w[0] == "MemAvailable:" {
			kib, err := strconv.Atoi(w[1])
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatal("the kernel does not tell how much memory is available")
	return 0
}

// BenchmarkRead reads the world of Model 3: what every event costs at most.
func BenchmarkRead(b *testing.B) {
	h := openHost(b)
	created, err := h.Create(b.Context(), twoHosts("w"))
	if err != nil {
		b.Fatal(err)
	}
	apply(b, created, slices.Concat(model3(true)...)...)
	w := created.(*World)
	for name, d := range map[string]depth{"events": readEvents, "all": readAll} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := w.refresh(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

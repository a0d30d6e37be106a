package kernel

import (
	"maps"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// loop is what a learner does who wires two bridges twice.
var loop = []topo.Placed{
	on("host1", topo.LinkAdd{Name: "p", Kind: "bridge"}), on("host1", topo.LinkAdd{Name: "q", Kind: "bridge"}),
	on("host1", topo.LinkAdd{Name: "p1", Kind: "veth", Peer: "q1"}), on("host1", topo.LinkAdd{Name: "p2", Kind: "veth", Peer: "q2"}),
	on("host1", topo.LinkSet{Name: "p1", Master: "p", State: "up"}), on("host1", topo.LinkSet{Name: "p2", Master: "p", State: "up"}),
	on("host1", topo.LinkSet{Name: "q1", Master: "q", State: "up"}), on("host1", topo.LinkSet{Name: "q2", Master: "q", State: "up"}),
	on("host1", addr(topo.VerbAdd, "172.30.0.1/24", "p")), on("host1", up("p")), on("host1", up("q")),
}

func TestALoopOfBridgesIsUnplugged(t *testing.T) {
	h := openHost(t)
	neighbour, err := h.Create(t.Context(), twoHosts("neighbour"))
	if err != nil {
		t.Fatal(err)
	}
	w := smallWorld(t, h, "w", loop)
	v := watch(t, w)
	if _, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"ping", "-b", "-c", "3", "-i", "0.01", "-W", "1", "172.30.0.255"}}); err != nil {
		t.Fatal(err) // nobody answers, and it is on its way for ever
	}
	var off topo.Netdev
	v.until("a port that is down, and why", func(s topo.Snapshot) bool {
		for _, l := range s.Node("host1").Links {
			if l.Master != "" && !l.Up && strings.HasPrefix(l.Alias, "Kabel set this port down: its bridge passed on ") {
				off = l
			}
		}
		return off.Name != ""
	})
	if r, err := neighbour.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20", Count: 3}); err != nil || r.Received != 3 {
		t.Errorf("the neighbour's pings: %+v, %v", r, err)
	}
	if said := shell(t, w, "ip link show "+off.Name); !strings.Contains(said, "alias Kabel set this port down") {
		t.Errorf("the learner does not see why: %s", said)
	}
	// One plug was enough, and what is no loop stays as it is.
	down := 0
	now := snapshot(t, w)
	for _, l := range now.Node("host1").Links {
		if l.Master != "" && !l.Up {
			down++
		}
	}
	if down != 1 {
		t.Errorf("%d ports are down", down)
	}
	eventually(t, "the storm goes on", func() bool {
		began, was := time.Now(), handled()
		time.Sleep(50 * time.Millisecond)
		var n uint64
		for i, now := range handled() {
			n += uint64(now - was[i])
		}
		return rate(n, time.Since(began)) < stormAt
	})
}

func TestWhichPlugIsPulled(t *testing.T) {
	bridges := map[string][]string{"br": {"a", "b"}, "other": {"c"}, "empty": nil}
	for _, k := range []struct {
		what  string
		grown map[string]frames // a second
		want  string            // the port, empty for none
	}{
		{"nothing moves", map[string]frames{}, ""},
		{"a ping that floods all", map[string]frames{"br": {20_000, 10}, "a": {20_000, 10}, "b": {10, 20_000}}, ""},
		{"two containers at full speed", map[string]frames{"a": {900_000, 900_000}, "b": {900_000, 900_000}}, ""},
		{"one that floods the bridge itself", map[string]frames{"br": {300_000, 10}, "a": {300_000, 10}}, ""},
		{"and is answered", map[string]frames{"br": {300_000, 300_000}, "a": {300_000, 300_000}}, ""},
		{"no bridge at all", map[string]frames{"eth0": {900_000, 900_000}}, ""},
		{"a storm", map[string]frames{"br": {200_000, 10}, "a": {90_000, 110_000}, "b": {110_000, 90_000}}, "b"},
		{"the worse of two", map[string]frames{"br": {200_000, 10}, "a": {200_000, 200_000}, "other": {300_000, 10}, "c": {300_000, 300_000}}, "c"},
		{"a bridge without ports", map[string]frames{"empty": {300_000, 0}}, ""},
	} {
		if plug, storm := worst(bridges, k.grown); plug != k.want || (storm >= stormAt) != (k.want != "") {
			t.Errorf("%s: %q at %d; want %q", k.what, plug, storm, k.want)
		}
	}
	now := time.Now()
	before := sample{now, map[string]frames{"a": {100, 100}, "again": {500, 500}}}
	after := sample{now.Add(time.Second / 2), map[string]frames{"a": {150, 100}, "again": {5, 5}, "new": {900, 900}}}
	if got := after.since(before); !maps.Equal(got, map[string]frames{"a": {100, 0}}) {
		t.Errorf("grown by %v a second", got)
	}
}

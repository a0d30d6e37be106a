package host

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"kabel/sandbox/topo"
)

// FuzzRequest sends any bytes to a server as any request: it never panics, it
// answers what it can't read with CodeInvalid, and the world stays sound.
func FuzzRequest(f *testing.F) {
	spec := Spec{ID: "w", Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "sw", Kind: topo.KindSwitch}},
		Wires: []topo.Wire{{A: "host1:eth0", B: "sw:port1"}}}
	on := func(ops ...topo.Op) request {
		r := request{World: "w"}
		for _, o := range ops {
			r.Ops = append(r.Ops, topo.Placed{Node: "host1", Op: o})
		}
		return r
	}
	for _, seed := range []struct {
		verb    verb
		request request
	}{
		{verbCreate, request{Spec: &spec}},
		{verbWorlds, request{}},
		{verbStatus, request{}},
		{verbSnapshot, request{World: "w"}},
		{verbDestroy, request{World: "w"}},
		{verbWatch, request{World: "w", Lease: "l"}},
		{verbUnwatch, request{World: "w", Lease: "l"}},
		{verbExec, request{World: "w", Exec: &ExecRequest{Node: "host1", Argv: []string{"cat"}, Stdin: []byte("x"), Timeout: time.Millisecond}}},
		{verbProbe, request{World: "w", Probe: &topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.1"}}},
		{verbApply, on(topo.NetnsAdd{Name: "kon"}, topo.LinkAdd{Name: "a", Kind: "veth", Peer: "b"}, topo.LinkSet{Name: "b", Netns: "kon"})},
		{verbApply, on(topo.Run{Argv: []string{"socat", "TUN:172.16.0.1/16,iff-up", "UDP:10.0.0.20:9000"}, Background: true})},
		{verbApply, on(topo.RouteChange{Verb: topo.VerbAdd, Route: topo.Route{Dev: "eth0"}})},
	} {
		data, err := json.Marshal(seed.request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(seed.verb), data)
	}
	f.Add("apply", []byte(`{"world":"w","ops":[null]}`))
	f.Add("nonsense", []byte(`[]`))

	f.Fuzz(func(t *testing.T, v string, data []byte) {
		m := NewModel()
		defer m.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Create(ctx, spec); err != nil {
			t.Fatal(err)
		}
		s := newServer(nil, m, "h")
		if v == string(verbWatch) {
			v = string(verbSnapshot) // its stream needs a connection
		}
		r := s.handle(ctx, verb(v), data)
		if !json.Valid(data) && (r.Error == nil || r.Error.Code != CodeInvalid) {
			t.Errorf("bytes that are no request are answered with %+v", r)
		}
		if w := m.worlds["w"]; w != nil {
			now := w.feed.Now()
			b, err := json.Marshal(now)
			if err != nil {
				t.Fatalf("the world has no snapshot any more: %v", err)
			}
			var read topo.Snapshot
			if err := json.Unmarshal(b, &read); err != nil || !read.Equal(now) {
				t.Errorf("the snapshot is read back as another: %v", err)
			}
		}
	})
}

package session_test

import (
	"encoding/json"
	"runtime"
	"slices"
	"testing"

	"kabel/sandbox/topo"
	"kabel/server/session"
)

func nodesOf(s topo.Snapshot) []topo.NodeID {
	ids := []topo.NodeID{}
	for _, n := range s.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

func TestChangesOfAStep(t *testing.T) {
	s, _ := fresh(t, nil).create(t)
	steps := s.View().Steps
	first, second := steps[0].ID, steps[1].ID
	read := func(step string) *session.Changes {
		t.Helper()
		c, err := s.Changes(step)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := read(first); c == nil || len(c.From.Nodes)+len(c.To.Nodes) > 0 {
		t.Fatalf("nothing has happened yet: got %+v", c)
	}
	if c := read(second); c != nil {
		t.Fatalf("a step that is still to come: got %+v", c)
	}
	op(t, s, "ip netns add other")
	if c := read(first); !slices.Equal(nodesOf(c.To), []topo.NodeID{"host1/other"}) {
		t.Errorf("so far: got %v", nodesOf(c.To))
	}
	op(t, s, "ip netns add kon")
	for range 2 { // what comes later belongs to the next step
		c := read(first)
		if got := nodesOf(c.To); !slices.Equal(got, []topo.NodeID{"host1/other", "host1/kon"}) && !slices.Equal(got, []topo.NodeID{"host1/kon", "host1/other"}) {
			t.Errorf("after the step: got %v", got)
		}
		if len(c.From.Nodes) > 0 || c.From.Revision >= c.To.Revision {
			t.Errorf("before the step: got %+v", c.From)
		}
		op(t, s, "ip link add late type bridge")
		op(t, s, "ip link del late")
	}
	if _, err := s.Reset(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if c := read(first); c == nil || len(c.From.Nodes)+len(c.To.Nodes) > 0 {
		t.Errorf("after a reset: got %+v", c)
	}
	if _, err := s.Changes("no-such"); err == nil {
		t.Error("a step that does not exist has changes")
	}
}

// What the steps of many learners have changed is kept in a fraction of its size: that
// of a classroom is a matter of a few megabytes.
func TestChangesAreKeptSmall(t *testing.T) {
	const learners, classroom = 75, 300
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what a pool had goes with the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	d := fresh(t, nil)
	var all []*session.Session
	for range learners {
		s, _ := d.create(t)
		for _, st := range s.View().Steps {
			if _, err := s.Apply(t.Context(), st.ID); err != nil {
				t.Fatal(err)
			}
		}
		if v := s.View(); v.Current != "" {
			t.Fatalf("the session is at %s", v.Current)
		}
		all = append(all, s)
	}
	// The peer: the same as it is told, undiminished.
	before := heap()
	var plain [][]byte
	for _, s := range all {
		for _, st := range s.View().Steps {
			c, err := s.Changes(st.ID)
			if err != nil || c == nil {
				t.Fatalf("%s: %+v, %v", st.ID, c, err)
			}
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			plain = append(plain, b)
		}
	}
	peer := heap() - before
	runtime.KeepAlive(plain)
	plain = nil
	before = heap()
	for _, s := range all {
		s.ForgetChanges()
	}
	kept := before - heap()
	t.Logf("%d sessions keep %d KiB for what their steps have changed, which is %d KiB as JSON",
		classroom, kept*classroom/learners>>10, peer*classroom/learners>>10)
	if kept > peer/3 {
		t.Errorf("%d bytes are kept of %d", kept, peer)
	}
}

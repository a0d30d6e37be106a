package session_test

import (
	"errors"
	"strconv"
	"testing"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

func (d *desk) play(t *testing.T, variant string) (*session.Session, string) {
	t.Helper()
	s, key, err := d.Create(t.Context(), labs.FreePlay, variant, "en")
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

func nodes(t *testing.T, s *session.Session) map[topo.NodeID]topo.Node {
	t.Helper()
	now, err := s.Topology(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[topo.NodeID]topo.Node{}
	for _, n := range now.Nodes {
		out[n.ID] = n
	}
	return out
}

// What was done by command in free play is done again in the next world; what was
// typed is not, nor what built on it.
func TestFreePlayIsBuiltAgain(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, _ := d.play(t, "2-router")
		op(t, s, "ip netns add kon")
		w, err := d.model.World(t.Context(), d.worlds(t)[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Apply(t.Context(), []topo.Placed{{Node: "host1", Op: topo.NetnsAdd{Name: "typed"}}}); err != nil {
			t.Fatal(err)
		}
		op(t, s, "ip link add veth1 type veth peer name veth2")
		op(t, s, "ip link set veth2 netns typed")
		if _, _, err := s.Op(t.Context(), "host1", "ip link set nothing up"); err == nil {
			t.Error("an op on nothing did not fail")
		}
		if v := op(t, s, "ip link set veth1 up"); v.Kept != 4 || len(v.Steps) != 0 || v.Current != "" || v.Lab != "free-play" || v.Variant != "2-router" {
			t.Errorf("%+v", v)
		}
		a := watch(t, s)
		a.until(func(v session.View) bool { return v.State == session.StateParked })
		again := nodes(t, s)
		host1 := again["host1"]
		if veth1 := host1.Link("veth1"); veth1 == nil || !veth1.Up || host1.Link("veth2") == nil {
			t.Errorf("veth1 and veth2 on host1: %+v", host1.Links)
		}
		if _, ok := again["host1/kon"]; !ok || len(again) != 4 {
			t.Errorf("nodes: %v", again)
		}
		if v, err := s.Reset(t.Context(), ""); err != nil || v.Kept != 0 || len(v.Nodes) != 3 {
			t.Errorf("reset: %+v %v", v, err)
		}
	})
}

// The choice and what was done are in the record.
func TestFreePlayOutlivesServerAndSandbox(t *testing.T) {
	model, records := host.NewModel(), &session.Memory{}
	d := open(t, model, records, nil)
	s, key := d.play(t, "3-switch-internet")
	op(t, s, "ip netns add kon")
	if err := errors.Join(d.Close(), model.Close()); err != nil {
		t.Fatal(err)
	}
	model = host.NewModel()
	d = open(t, model, records, nil)
	defer func() {
		if err := errors.Join(d.Close(), model.Close()); err != nil {
			t.Error(err)
		}
	}()
	s, err := d.Find(s.ID(), key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Refresh(t.Context())
	if err != nil || v.Variant != "3-switch-internet" || v.Kept != 1 || len(v.Nodes) != 7 || v.Nodes[1] != "host1/kon" {
		t.Errorf("%+v %v", v, err)
	}
}

func TestFreePlayKeepsSoManyCommands(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.play(t, "1-switch")
	for i := range session.MaxKeptOps + 3 {
		op(t, s, "ip link set dev lo mtu "+strconv.Itoa(1000+i))
	}
	if v := s.View(); v.Kept != session.MaxKeptOps {
		t.Errorf("kept: %d", v.Kept)
	}
}

func TestFreePlayOfNoSuchChoice(t *testing.T) {
	d := fresh(t, nil)
	if _, _, err := d.Create(t.Context(), labs.FreePlay, "9-switch", "en"); !has(err, session.CodeNoVariant) {
		t.Error(err)
	}
}

// A lab's own commands are in its steps: what else was done goes with the world.
func TestALabKeepsNoCommands(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	if v := op(t, s, "ip netns add other"); v.Kept != 0 {
		t.Errorf("%+v", v)
	}
}

package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a registry on the in-memory Model, which stands for a sandbox that
// outlives it.
type desk struct {
	*session.Registry
	model   *host.Model
	records *session.Memory
}

// builtIn loads the labs once: a catalog does not change.
var builtIn = sync.OnceValues(labs.BuiltIn)

func open(t *testing.T, model *host.Model, records *session.Memory, change func(*session.Options)) *desk {
	t.Helper()
	catalog, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	o := session.Options{Host: model, Labs: catalog, Records: records, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&o)
	}
	r, err := session.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{r, model, records}
}

func fresh(t *testing.T, change func(*session.Options)) *desk {
	t.Helper()
	model := host.NewModel()
	d := open(t, model, &session.Memory{}, change)
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), model.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *desk) create(t *testing.T) (*session.Session, string) {
	t.Helper()
	s, key, err := d.Create(t.Context(), "one-namespace", "", "en")
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

func (d *desk) worlds(t *testing.T) []host.WorldID {
	t.Helper()
	ids, err := d.model.Worlds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func op(t *testing.T, s *session.Session, command string) session.View {
	t.Helper()
	out, _, err := s.Op(t.Context(), "host1", command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out.View
}

// A step is done when the state is right, whoever made it so, and stays done.
func TestAnyWayToDoAStep(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	if v := s.View(); v.Current != "namespace" || v.Steps[0].Hint == "" {
		t.Fatalf("at the start: %+v", v)
	}
	if v := op(t, s, "ip netns add kon"); v.Current != "cable" {
		t.Errorf("by command: %+v", v)
	}
	if out, err := s.Apply(t.Context(), "cable"); err != nil || out.View.Current != "move" {
		t.Errorf("by button: %+v %v", out.View, err)
	}
	if v := op(t, s, "ip netns del kon"); v.Steps[0].State != session.StepDone {
		t.Errorf("a done step was taken back: %+v", v)
	}
}

// The hint follows the state, not the number of tries.
func TestHintsFollowTheState(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	before := s.View().Steps[0].Hint
	after := op(t, s, "ip netns add kontainer").Steps[0].Hint
	if after == "" || after == before {
		t.Errorf("before %q, after a wrong name %q", before, after)
	}
	if v := op(t, s, "ip netns del kontainer"); v.Steps[0].Hint != before {
		t.Errorf("undone: %q, was %q", v.Steps[0].Hint, before)
	}
}

func TestHintsAreToldInTheLanguageThatIsChosen(t *testing.T) {
	s, _ := fresh(t, nil).create(t)
	audience := watch(t, s)
	english := s.View().Steps[0].Hint
	v, err := s.Speak(t.Context(), "vi")
	if err != nil || v.Language != "vi" || v.Steps[0].Hint == "" || v.Steps[0].Hint == english {
		t.Fatalf("in Vietnamese: %+v, %v", v, err)
	}
	audience.until(func(told session.View) bool { return told.Steps[0].Hint == v.Steps[0].Hint })
	if v = op(t, s, "ip netns add kontainer"); v.Language != "vi" {
		t.Errorf("the next is told in %q", v.Language)
	}
}

func TestPredictionsAreJudgedByTheState(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	if _, err := s.Predict(t.Context(), "namespace", "nonsense"); !has(err, session.CodeBadChoice) {
		t.Errorf("a choice that is none: %v", err)
	}
	for _, choice := range []string{"same-as-host", "only-lo"} { // may be changed until it is done
		if _, err := s.Predict(t.Context(), "namespace", choice); err != nil {
			t.Fatal(err)
		}
	}
	v := op(t, s, "ip netns add kon")
	p := v.Steps[0].Prediction
	if p == nil || p.Answer != "only-lo" || p.Right == nil || !*p.Right {
		t.Errorf("%+v", p)
	}
	if _, err := s.Predict(t.Context(), "namespace", "nothing"); !has(err, session.CodeStepDone) {
		t.Errorf("after it is done: %v", err)
	}
}

// A server that starts again takes its sessions' worlds over, as they are, and
// destroys those that belong to nobody.
func TestRestart(t *testing.T) {
	model, records := host.NewModel(), &session.Memory{}
	d := open(t, model, records, nil)
	s, key := d.create(t)
	op(t, s, "ip netns add kon")
	op(t, s, "ip netns add by-hand")
	if _, err := s.Speak(t.Context(), "ko"); err != nil {
		t.Fatal(err)
	}
	before, err := s.Changes("namespace")
	if err != nil || before == nil {
		t.Fatalf("what the first step has changed: %v, %v", before, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := model.Create(t.Context(), host.Spec{ID: "orphan", Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}}}); err != nil {
		t.Fatal(err)
	}

	d = open(t, model, records, nil)
	found, err := d.Find(s.ID(), key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := found.Refresh(t.Context())
	if err != nil || v.Current != "cable" || !slices.Contains(v.Nodes, "host1/by-hand") {
		t.Errorf("taken over: %+v %v", v, err)
	}
	if v.Language != "ko" {
		t.Errorf("it spoke Korean, and speaks %q", v.Language)
	}
	if after, err := found.Changes("namespace"); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("what the first step has changed: %+v, %v; was %+v", after, err, before)
	}
	eventually(t, "the orphan is destroyed", func() bool { return !slices.Contains(d.worlds(t), "orphan") })
	if _, err := d.Find(s.ID(), "another key"); !has(err, session.CodeNoSession) {
		t.Errorf("with another key: %v", err)
	}
	if err := errors.Join(d.Close(), model.Close()); err != nil {
		t.Error(err)
	}
}

// A server that was killed while it built a world does not take it over.
func TestRestartInTheMiddleOfBuilding(t *testing.T) {
	model, records := host.NewModel(), &session.Memory{}
	d := open(t, model, records, nil)
	s, key := d.create(t)
	op(t, s, "ip netns add by-hand")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	kept, _, err := records.Get(t.Context(), s.ID())
	if err != nil {
		t.Fatal(err)
	}
	half := bytes.Replace(kept, []byte(`"built":true`), []byte(`"built":false`), 1)
	if bytes.Equal(half, kept) {
		t.Fatalf("the record does not tell of a built world: %s", kept)
	}
	if _, err := records.Put(t.Context(), s.ID(), half); err != nil {
		t.Fatal(err)
	}

	before := d.worlds(t)
	d = open(t, model, records, nil)
	found, err := d.Find(s.ID(), key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := found.Refresh(t.Context())
	if err != nil || v.State != session.StateReady || slices.Contains(v.Nodes, "host1/by-hand") {
		t.Errorf("%+v %v", v, err)
	}
	eventually(t, "the half made world is destroyed", func() bool { return !slices.Contains(d.worlds(t), before[0]) })
	if err := errors.Join(d.Close(), model.Close()); err != nil {
		t.Error(err)
	}
}

// A world that is lost is built again, with the result of the steps that were
// done, at the next request.
func TestLostWorld(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	op(t, s, "ip netns add kon")
	events, err := s.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.model.World(t.Context(), d.worlds(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e.View != nil && e.View.State == session.StateGone {
			break
		}
	}
	v, err := s.Refresh(t.Context())
	if err != nil || v.State != session.StateReady || v.Current != "cable" || !slices.Contains(v.Nodes, "host1/kon") {
		t.Errorf("built again: %+v %v", v, err)
	}
}

func TestResetToAStep(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	for _, step := range []string{"namespace", "cable", "move"} {
		if _, err := s.Apply(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.Reset(t.Context(), "move")
	if err != nil || v.Current != "move" || v.Steps[1].State != session.StepDone {
		t.Errorf("%+v %v", v, err)
	}
	now, err := s.Topology(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now.Node("host1").Link("veth2") == nil {
		t.Error("veth2 is not back on host1")
	}
	eventually(t, "only the new world lives", func() bool { return len(d.worlds(t)) == 1 })
}

// A subscriber that does not read gets the present in place of what it missed,
// and never holds up the others.
func TestSlowSubscriber(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	slow, err := s.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		op(t, s, "ip link add d0 type bridge")
		op(t, s, "ip link del d0")
	}
	op(t, s, "ip link add last type bridge")
	var seen topo.Snapshot
	for seen.Node("host1") == nil || seen.Node("host1").Link("last") == nil {
		e := <-slow
		switch {
		case e.Update == nil:
		case e.Update.Snapshot != nil:
			seen = *e.Update.Snapshot
		default:
			if seen, err = e.Update.Diff.Apply(seen); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Nobody looks: the world is taken away; somebody comes: it is there again.
func TestIdle(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.Idle = 10 * time.Millisecond })
	s, _ := d.create(t)
	op(t, s, "ip netns add kon")
	eventually(t, "the idle world is gone", func() bool { return len(d.worlds(t)) == 0 })
	ctx, leave := context.WithCancel(t.Context())
	events, err := s.Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.View == nil || e.View.State != session.StateReady || e.View.Current != "cable" {
		t.Errorf("come back: %+v", e.View)
	}
	leave()
	for range events { // closed when we left
	}
}

func TestFull(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.MaxSessions = 1 })
	s, _ := d.create(t)
	if _, _, err := d.Create(t.Context(), "one-namespace", "", "en"); !has(err, session.CodeFull) {
		t.Errorf("a second: %v", err)
	}
	if err := d.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	d.create(t)
}

func has(err error, code session.Code) bool {
	var p *session.Problem
	return errors.As(err, &p) && p.Code == code
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("it never came that %s", what)
		case <-tick.C:
		}
	}
}

// lateHost does something before it makes a world.
type lateHost struct {
	host.Host
	before func()
}

func (h *lateHost) Create(ctx context.Context, spec host.Spec) (host.World, error) {
	h.before()
	return h.Host.Create(ctx, spec)
}

// While a world is made anew, whoever looks sees the old one, which must not count.
func TestTheOldWorldDoesNoStepsWhileItIsReset(t *testing.T) {
	model := host.NewModel()
	late := &lateHost{model, func() {}}
	d := open(t, model, &session.Memory{}, func(o *session.Options) { o.Host = late })
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), model.Close()); err != nil {
			t.Error(err)
		}
	})
	s, _ := d.create(t)
	op(t, s, "ip netns add kon")
	late.before = func() {
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if v, err := s.Reset(t.Context(), ""); err != nil || v.Current != "namespace" {
		t.Errorf("after a reset to the beginning: %+v %v", v, err)
	}
}

package session_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

// spectator follows the demo as a page does.
type spectator struct {
	t      *testing.T
	viewer *session.DemoViewer
	events <-chan session.Event
	leave  context.CancelFunc
	view   session.View
	now    topo.Snapshot
	probe  topo.ProbeResult
}

func (d *desk) spectate(t *testing.T) *spectator {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v, events, err := d.WatchDemo(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	return &spectator{t: t, viewer: v, events: events, leave: func() { cancel(); v.Close() }}
}

// next takes one event and says what it was.
func (s *spectator) next() (what string) {
	s.t.Helper()
	e, ok := <-s.events
	switch {
	case !ok:
		s.t.Fatal("the demo ended without a word")
	case e.View != nil:
		s.view = *e.View
		return "view"
	case e.Probe != nil:
		s.probe = *e.Probe
		return "probe"
	case e.Update != nil && e.Update.Snapshot != nil:
		s.now = *e.Update.Snapshot
		return "snapshot"
	case e.Update != nil:
		var err error
		if s.now, err = e.Update.Diff.Apply(s.now); err != nil {
			s.t.Fatal(err)
		}
		return "diff"
	}
	return e.Ended
}

// until takes events until ok.
func (s *spectator) until(ok func() bool) {
	s.t.Helper()
	for !ok() {
		if what := s.next(); what == session.DemoUnavailable || what == session.EndDeleted {
			s.t.Fatal("the demo ended: ", what)
		}
	}
}

func (s *spectator) current(step string) {
	s.t.Helper()
	s.until(func() bool { return s.view.Current == step })
}

// answered takes events until a ping from a node has the outcome.
func (s *spectator) answered(from topo.NodeID, ok bool) {
	s.t.Helper()
	s.probe = topo.ProbeResult{}
	s.until(func() bool { return s.probe.Probe.From == from && s.probe.OK == ok })
}

func TestTheDemoBuildsItself(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		began := time.Now()
		a := d.spectate(t)
		defer a.leave()
		if first, second := a.next(), a.next(); first != "view" || second != "snapshot" || len(a.now.Nodes) != 3 || a.view.Lab != labs.Demo {
			t.Fatalf("%s %s %+v", first, second, a.view)
		}
		a.answered("host1/kon1", true)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("the first ping is answered after %v", d)
		}
		a.current("pulled")
		if len(a.now.Nodes) != 7 {
			t.Errorf("built: %d nodes", len(a.now.Nodes))
		}
		pings := time.Now()
		for range 4 {
			a.answered("host1/kon1", true)
			a.answered("host1/kon2", true)
		}
		if d := time.Since(pings); d < 3*time.Second || d > 5*time.Second {
			t.Errorf("8 pings in %v", d)
		}
		for _, trouble := range []struct {
			repair string
			kon2   bool // is still answered
		}{{"plugged", true}, {"allowed", false}, {"found", false}} {
			a.current(trouble.repair) // so it is broken now
			a.answered("host1/kon1", false)
			a.answered("host1/kon2", trouble.kon2)
			a.until(func() bool { return a.view.Current != trouble.repair })
			a.answered("host1/kon1", true)
			a.answered("host1/kon2", true)
		}

		// Who comes late sees what is there.
		late := d.spectate(t)
		late.next()
		late.next()
		if len(late.now.Nodes) != 7 || late.view.ID != a.view.ID {
			t.Errorf("a late viewer: %d nodes of %s", len(late.now.Nodes), late.view.ID)
		}
		late.leave()

		a.current("containers")
		a.answered("host1/kon1", true)
		if lap := time.Since(began); lap < 30*time.Second || lap > 2*time.Minute {
			t.Errorf("it begins anew after %v", lap)
		}
		if w := d.worlds(t); len(w) != 1 {
			t.Errorf("worlds: %v", w)
		}
	})
}

// The world goes a while after the last viewer, and comes back with the next.
func TestTheDemoIsThereForItsViewers(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		if len(d.worlds(t)) != 0 {
			t.Error("a world that nobody has asked for")
		}
		a, b := d.spectate(t), d.spectate(t)
		a.current("pulled")
		a.leave()
		time.Sleep(time.Minute)
		b.answered("host1/kon1", true)
		b.leave()
		time.Sleep(20 * time.Second)
		again := d.spectate(t)
		again.next()
		if again.view.ID != a.view.ID {
			t.Error("it was another one, though the last had hardly left")
		}
		again.leave()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if n, _, _ := d.Counts(); len(d.worlds(t)) != 0 || n != 0 {
			t.Errorf("afterwards: worlds %v, %d sessions", d.worlds(t), n)
		}
		next := d.spectate(t)
		defer next.leave()
		next.next()
		if next.view.ID == a.view.ID || next.view.Current != "containers" {
			t.Errorf("the next one: %+v", next.view)
		}
		if keys, err := d.records.Keys(t.Context()); err != nil || len(keys) != 0 {
			t.Errorf("records: %v %v", keys, err)
		}
	})
}

// Behind pages that nobody looks at, nothing happens; no limit of a learner's
// session ends it.
func TestTheDemoRestsWhileNobodyLooks(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		a := d.spectate(t)
		defer a.leave()
		a.current("pulled")
		a.viewer.Attend(false)
		time.Sleep(10 * time.Second)
		for quiet := false; !quiet; {
			select {
			case <-a.events:
			default:
				quiet = true
			}
		}
		time.Sleep(10 * time.Hour)
		select {
		case e := <-a.events:
			t.Errorf("an event: %+v", e)
		default:
		}
		a.viewer.Attend(true)
		a.current("plugged")
		if a.view.Ends != nil || a.view.State != session.StateReady {
			t.Errorf("%+v", a.view)
		}
	})
}

func TestTheDemosPackets(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		viewer, packets, err := d.DemoPackets(t.Context(), "icmp", 0)
		if err != nil {
			t.Fatal(err)
		}
		a := d.spectate(t) // there is one world for both
		for range 3 {
			m, err := packets.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.60s", m.Head)
		}
		if len(d.worlds(t)) != 1 {
			t.Errorf("worlds: %v", d.worlds(t))
		}
		packets.Close()
		viewer.Close()
		a.leave()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if len(d.worlds(t)) != 0 {
			t.Errorf("worlds: %v", d.worlds(t))
		}
	})
}

func TestTheDemoGivesItsPlaceToALearner(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.MaxSessions = 1 })
	s, _ := d.create(t)
	if _, _, err := d.WatchDemo(t.Context()); err == nil || session.DemoReason(err) != session.DemoFull {
		t.Errorf("beside a learner: %v", err)
	}
	if err := d.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	a := d.spectate(t)
	defer a.leave()
	d.create(t)
	for what := ""; what != session.DemoFull; {
		if what = a.next(); what == session.EndDeleted || what == session.DemoUnavailable {
			t.Fatalf("the demo ended: %s", what)
		}
	}
	if _, _, err := d.Create(t.Context(), "one-namespace", "", "en"); !has(err, session.CodeFull) {
		t.Errorf("a second learner: %v", err)
	}
}

func TestTooManyWatchTheDemo(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.DemoViewers = 1 })
	a := d.spectate(t)
	if _, _, err := d.WatchDemo(t.Context()); err == nil || session.DemoReason(err) != session.DemoCrowded {
		t.Error(err)
	}
	a.leave()
	d.spectate(t).leave()
}

// away is a host that is not there.
type away struct{ host.Host }

func (away) Create(context.Context, host.Spec) (host.World, error) {
	return nil, host.Errorf(host.CodeUnavailable, "no host")
}

func TestTheDemoWithoutAHost(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.Host = away{o.Host} })
	for range 2 {
		if _, _, err := d.WatchDemo(t.Context()); err == nil || session.DemoReason(err) != session.DemoUnavailable {
			t.Error(err)
		}
	}
}

// Nobody has a key to the demo, or one of their own.
func TestTheDemoIsNobodys(t *testing.T) {
	d := fresh(t, nil)
	a := d.spectate(t)
	defer a.leave()
	a.next()
	for _, key := range []string{"", "x"} {
		if _, err := d.Find(a.view.ID, key); !has(err, session.CodeNoSession) {
			t.Errorf("with the key %q: %v", key, err)
		}
	}
	if _, _, err := d.Create(t.Context(), labs.Demo, "", "en"); !has(err, session.CodeNoLab) {
		t.Error(err)
	}
	var p *session.Problem
	if _, _, err := d.Plan(labs.Demo, "korean"); !errors.As(err, &p) || p.Code != session.CodeNoVariant {
		t.Error(err)
	}
}

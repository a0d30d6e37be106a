package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kabel/sandbox/host"
	"kabel/server/session"
)

// limited runs a test on a clock of its own, which moves when all wait, with the
// limits that a server has by default.
func limited(t *testing.T, test func(*testing.T, *desk)) {
	synctest.Test(t, func(t *testing.T) {
		model := host.NewModel()
		d := open(t, model, &session.Memory{}, func(o *session.Options) { o.Idle, o.Total = 30*time.Minute, 8*time.Hour })
		defer func() {
			if err := errors.Join(d.Close(), model.Close()); err != nil {
				t.Error(err)
			}
		}()
		test(t, d)
	})
}

// audience follows a session as its viewers do.
type audience struct {
	t      *testing.T
	events <-chan session.Event
	view   session.View
}

func watch(t *testing.T, s *session.Session) *audience {
	t.Helper()
	events, err := s.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &audience{t: t, events: events}
}

// until reads until the view is as wanted, or the session has ended, and says why.
func (a *audience) until(ok func(session.View) bool) (ended string) {
	a.t.Helper()
	for e := range a.events {
		switch {
		case e.Ended != "":
			return e.Ended
		case e.View != nil:
			if a.view = *e.View; ok(a.view) {
				return ""
			}
		}
	}
	a.t.Fatal("the stream ended without a word")
	return ""
}

func warned(v session.View) bool { return v.Ends != nil }
func calm(v session.View) bool   { return v.Ends == nil }

// left is how long a warned session has, rounded to the tick of the clock.
func left(v session.View) time.Duration { return time.Until(v.Ends.At).Round(2 * time.Second) }

func TestIdleIsWarnedOfAndTakenBackByAnyUse(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, key := d.create(t)
		term := terminal(t, s)
		a := watch(t, s)
		for what, use := range map[string]func() error{
			"a request":   func() error { _, err := d.Find(s.ID(), key); return err },
			"a command":   func() error { _, _, err := s.Op(t.Context(), "host1", "ip link set lo up"); return err },
			"a keystroke": func() error { return term.Type(t.Context(), []byte("a")) },
			"a visit":     func() error { s.Attend()(); return nil },
		} {
			began := time.Now()
			a.until(warned)
			if a.view.Ends.Why != session.EndIdle || left(a.view) != 5*time.Minute || time.Since(began).Round(time.Minute) != 25*time.Minute {
				t.Errorf("before %s: warned after %v of %+v", what, time.Since(began), a.view.Ends)
			}
			if err := use(); err != nil {
				t.Fatal(err)
			}
			a.until(calm)
		}
	})
}

// An idle session is parked, says so, and is built again for who comes back.
func TestIdleSessionIsParked(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, key := d.create(t)
		op(t, s, "ip netns add kon")
		term := terminal(t, s)
		v := look(t, term, 0)
		v.sees("# ")
		v.viewer.Detach()
		a := watch(t, s) // a page that is open, but not looked at
		a.until(func(v session.View) bool { return v.State == session.StateParked })
		synctest.Wait() // the world is destroyed out of the way
		if len(d.worlds(t)) != 0 || a.view.Ends != nil {
			t.Errorf("parked: worlds %v, %+v", d.worlds(t), a.view)
		}
		if e := v.ends(); e.Ended != session.TerminalIdle {
			t.Errorf("its shell ends with %+v", e)
		}
		found, err := d.Find(s.ID(), key)
		if err != nil {
			t.Fatal(err)
		}
		back, err := found.Refresh(t.Context())
		if err != nil || back.State != session.StateReady || back.Current != "cable" {
			t.Errorf("come back: %+v %v", back, err)
		}
	})
}

// A list of packets that comes back by itself, behind a page that nobody looks at,
// keeps no world and builds none; it goes on when somebody has come back.
func TestPacketsBehindAHiddenPage(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, _ := d.create(t)
		a := watch(t, s)
		v, err := s.Packets("", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		begins := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if m, err := v.Next(ctx); err != nil || !strings.Contains(string(m.Head), `"start"`) {
				t.Errorf("%s, %v", m.Head, err)
			}
		}
		begins()
		a.until(func(v session.View) bool { return v.State == session.StateParked })
		if _, err := s.Packets("", 0); host.CodeOf(err) != host.CodeNotFound {
			t.Errorf("packets of a parked world: %v", err)
		}
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		begins()
	})
}

func TestWhoOnlyLooksAtPacketsIsThere(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, _ := d.create(t)
		v, err := s.Packets("", 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if s.View().State != session.StateReady {
			t.Errorf("parked under the eyes of a viewer: %+v", s.View())
		}
		v.Close()
		time.Sleep(time.Hour)
		if s.View().State != session.StateParked {
			t.Errorf("not parked when they had left: %+v", s.View())
		}
	})
}

// Where somebody is there, a session is never idle, but has its time in all.
func TestTotalEndsWhatIsAttended(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		began := time.Now()
		s, key := d.create(t)
		v := look(t, terminal(t, s), 0)
		a := watch(t, s)
		leave := s.Attend()
		defer leave()
		a.until(warned)
		if a.view.Ends.Why != session.EndTotal || left(a.view) != 5*time.Minute {
			t.Errorf("warned after %v of %+v", time.Since(began), a.view.Ends)
		}
		op(t, s, "ip netns add kon") // does not help
		if why := a.until(calm); why != session.EndTotal || time.Since(began).Round(time.Minute) != 8*time.Hour {
			t.Errorf("after %v it ends with %q", time.Since(began), why)
		}
		if e := v.ends(); e.Ended != session.TerminalTotal {
			t.Errorf("its shell ends with %+v", e)
		}
		synctest.Wait()
		if _, err := d.Find(s.ID(), key); !has(err, session.CodeNoSession) || len(d.worlds(t)) != 0 {
			t.Errorf("afterwards: %v, worlds %v", err, d.worlds(t))
		}
	})
}

// What counts is the time with a world: who parks at night has it in the morning.
func TestTotalCountsTheWorldsTimeOnly(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, _ := d.create(t)
		for range 3 {
			a := watch(t, s)
			leave := s.Attend()
			time.Sleep(90 * time.Minute)
			leave()
			a.until(func(v session.View) bool { return v.State == session.StateParked }) // after two hours
			time.Sleep(12 * time.Hour)
			if _, err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		a := watch(t, s)
		defer s.Attend()()
		a.until(warned)
		if why := a.until(calm); why != session.EndTotal || time.Since(began).Round(time.Minute) != 2*time.Hour {
			t.Errorf("after %v more it ends with %q", time.Since(began), why)
		}
	})
}

// A terminal whose viewer has no stream, as of a program, is somebody.
func TestWhoHasATerminalIsThere(t *testing.T) {
	limited(t, func(t *testing.T, d *desk) {
		s, _ := d.create(t)
		look(t, terminal(t, s), 0)
		time.Sleep(7 * time.Hour)
		if v := s.View(); v.State != session.StateReady || v.Ends != nil {
			t.Errorf("%+v", v)
		}
	})
}

func TestWithoutLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := fresh(t, nil)
		s, _ := d.create(t)
		time.Sleep(1000 * time.Hour)
		if v := s.View(); v.State != session.StateReady || v.Ends != nil {
			t.Errorf("%+v", v)
		}
	})
}

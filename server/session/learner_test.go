package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

// pupil is a learner with a session.
func (d *desk) pupil(t *testing.T, key string) *session.Session {
	t.Helper()
	s, _ := d.create(t)
	if err := d.Enroll(t.Context(), s, key); err != nil {
		t.Fatal(err)
	}
	return s
}

// told is the progress in the first lab, step by step: what a table can compare.
func (d *desk) told(t *testing.T, key string) string {
	t.Helper()
	out := ""
	for _, l := range d.Progress(key).Labs {
		out += fmt.Sprintf("[%s %s", l.Lab, l.Variant)
		for _, st := range l.Steps {
			out += fmt.Sprintf(" %s:", st.ID)
			if st.DoneAt != nil {
				out += "done,"
			}
			out += fmt.Sprintf("%gs,%da,%dh,%s", st.Seconds, st.Attempts, st.Hints, st.Predicted)
		}
		out += "]"
	}
	return out
}

func TestProgressCounts(t *testing.T) {
	type way struct {
		name string
		do   func(t *testing.T, d *desk, s *session.Session)
		want string
	}
	for _, c := range []way{
		{"nothing", func(*testing.T, *desk, *session.Session) {}, ""},
		{"a step by its button", func(t *testing.T, d *desk, s *session.Session) {
			if _, err := s.Apply(t.Context(), "namespace"); err != nil {
				t.Fatal(err)
			}
		}, " namespace:done,0s,1a,0h,"},
		{"a step by command, after others", func(t *testing.T, d *desk, s *session.Session) {
			op(t, s, "ip link set lo up")
			if _, _, err := s.Op(t.Context(), "host1", "ip link set nothing up"); err == nil {
				t.Error("no error")
			}
			if _, err := s.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbePing, To: "127.0.0.1"}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"true"}}); err != nil {
				t.Fatal(err)
			}
			op(t, s, "ip netns add kon")
		}, " namespace:done,0s,5a,0h,"},
		{"what is refused", func(t *testing.T, d *desk, s *session.Session) {
			if _, err := s.Apply(t.Context(), "cable"); !has(err, session.CodeOutOfOrder) {
				t.Error(err)
			}
			if _, _, err := s.Op(t.Context(), "host1", "rm"); !has(err, session.CodeBadCommand) {
				t.Error(err)
			}
		}, ""},
		{"the time when somebody is there", func(t *testing.T, d *desk, s *session.Session) {
			time.Sleep(time.Minute)
			leave := s.Attend()
			time.Sleep(20 * time.Second)
			leave()
			time.Sleep(time.Minute)
			leave = s.Attend()
			time.Sleep(1500 * time.Millisecond)
			op(t, s, "ip netns add kon")
			time.Sleep(7 * time.Second)
			leave()
		}, " namespace:done,21.5s,1a,0h, cable:7s,0a,0h,"},
		{"hints, each once", func(t *testing.T, d *desk, s *session.Session) {
			for range 2 {
				if err := s.Hinted("namespace"); err != nil {
					t.Error(err)
				}
			}
			op(t, s, "ip netns add kontainer")
			if err := s.Hinted("namespace"); err != nil {
				t.Error(err)
			}
			if err := s.Hinted("cable"); !has(err, session.CodeOutOfOrder) {
				t.Error(err)
			}
			if err := s.Hinted("nope"); !has(err, session.CodeNoStep) {
				t.Error(err)
			}
		}, " namespace:0s,1a,2h,"},
		{"a prediction", func(t *testing.T, d *desk, s *session.Session) {
			if _, err := s.Predict(t.Context(), "namespace", "only-lo"); err != nil {
				t.Fatal(err)
			}
			op(t, s, "ip netns add kon")
		}, " namespace:done,0s,1a,0h,right"},
		{"not what a reset does, nor what is done again", func(t *testing.T, d *desk, s *session.Session) {
			op(t, s, "ip netns add kon")
			if _, err := s.Reset(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			op(t, s, "ip link set lo up")
			op(t, s, "ip netns add kon")
			if _, err := s.Reset(t.Context(), "move"); err != nil {
				t.Fatal(err)
			}
			op(t, s, "ip link set lo up")
		}, " namespace:done,0s,1a,0h, move:0s,1a,0h,"},
	} {
		t.Run(c.name, func(t *testing.T) {
			limited(t, func(t *testing.T, d *desk) {
				key := session.NewLearner()
				s := d.pupil(t, key)
				c.do(t, d, s)
				if got := d.told(t, key); got != "[one-namespace default"+c.want+"]" {
					t.Errorf("%s, not %s", got, c.want)
				}
			})
		})
	}
}

// A typed line counts when the world changes after it.
func TestTypedLinesThatChangeTheWorldAreAttempts(t *testing.T) {
	d := fresh(t, nil)
	key := session.NewLearner()
	s := d.pupil(t, key)
	term := terminal(t, s)
	w, err := d.model.World(t.Context(), d.worlds(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	typed := func(keys string, o topo.Op) {
		t.Helper()
		if err := term.Type(t.Context(), []byte(keys)); err != nil {
			t.Fatal(err)
		}
		if o != nil {
			if _, err := w.Apply(t.Context(), []topo.Placed{{Node: "host1", Op: o}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Topology(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	typed("ls\r", nil)
	typed("half", topo.NetnsAdd{Name: "a"}) // the line before may have been slow
	typed("half", topo.NetnsAdd{Name: "b"})
	typed("ip netns add c\r", topo.NetnsAdd{Name: "c"})
	typed("ip netns add kon\r", topo.NetnsAdd{Name: "kon"})
	if got := d.told(t, key); got != "[one-namespace default namespace:done,0s,3a,0h,]" {
		t.Error(got)
	}
}

func TestALabIsDoneWhenAllItsStepsAre(t *testing.T) {
	d := fresh(t, nil)
	key := session.NewLearner()
	s := d.pupil(t, key)
	steps := s.View().Steps
	for i, st := range steps {
		if _, err := s.Apply(t.Context(), st.ID); err != nil {
			t.Fatal(err)
		}
		l := d.Progress(key).Labs[0]
		if done := i == len(steps)-1; (l.DoneAt != nil) != done || l.Total != len(steps) || len(l.Steps) != i+1 {
			t.Errorf("after %s: %+v", st.ID, l)
		}
	}
}

// Progress outlives the server, and what is done afterwards is counted on; the
// session is alive without its world.
func TestProgressOutlivesTheServer(t *testing.T) {
	model, records, learners := host.NewModel(), &session.Memory{}, &session.Memory{}
	keeping := func(o *session.Options) { o.Learners = learners }
	key := session.NewLearner()
	d := open(t, model, records, keeping)
	s := d.pupil(t, key)
	op(t, s, "ip netns add kon")
	before := d.Progress(key)
	if err := errors.Join(d.Close(), model.Close()); err != nil {
		t.Fatal(err)
	}
	if keys, err := learners.Keys(t.Context()); err != nil || len(keys) != 1 || keys[0] == key {
		t.Errorf("kept under %v, %v", keys, err)
	}
	model = host.NewModel()
	d = open(t, model, records, keeping)
	defer func() {
		if err := errors.Join(d.Close(), model.Close()); err != nil {
			t.Error(err)
		}
	}()
	after := d.Progress(key)
	if fmt.Sprintf("%+v", before.Labs[0].Started) != fmt.Sprintf("%+v", after.Labs[0].Started) || !after.Labs[0].Alive || after.Labs[0].Session != s.ID() || after.Labs[0].Steps[0].DoneAt == nil {
		t.Errorf("%+v, before %+v", after, before)
	}
	if len(d.worlds(t)) != 0 {
		t.Error("a world was built for it")
	}
	if err := d.Forget(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if keys, err := learners.Keys(t.Context()); err != nil || len(keys) != 0 || len(d.Progress(key).Labs) != 0 || d.Learner(key) {
		t.Errorf("forgotten: %v %v %+v", keys, err, d.Progress(key))
	}
}

// What goes on after a learner was forgotten is nobody's.
func TestAForgottenLearnerIsCountedNoMore(t *testing.T) {
	learners := &session.Memory{}
	d := fresh(t, func(o *session.Options) { o.Learners = learners })
	key, other := session.NewLearner(), session.NewLearner()
	s := d.pupil(t, key)
	d.pupil(t, other)
	if err := d.Forget(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if v := op(t, s, "ip netns add kon"); v.Current != "cable" {
		t.Errorf("the session: %+v", v)
	}
	if len(d.Progress(key).Labs) != 0 || len(d.Progress(other).Labs) != 1 || !d.Learner(other) {
		t.Errorf("%+v %+v", d.Progress(key), d.Progress(other))
	}
}

func TestProgressIsOnePerLabAndVariant(t *testing.T) {
	d := fresh(t, nil)
	key := session.NewLearner()
	first := d.pupil(t, key)
	second := d.pupil(t, key)
	for i := range 110 {
		f := labs.Free{Hosts: 1 + i%6, Join: labs.JoinSwitch}
		s, _ := d.play(t, f.Variant())
		if err := d.Enroll(t.Context(), s, key); err != nil {
			t.Fatal(err)
		}
		if err := d.Delete(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	p := d.Progress(key)
	if len(p.Labs) != 7 || p.Labs[0].Session != second.ID() || !p.Labs[0].Alive || p.Labs[1].Alive || p.Labs[1].Total != 0 {
		t.Errorf("%s; %+v", first.ID(), p)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	d := fresh(t, nil)
	s, _ := d.create(t)
	for _, key := range []string{"", "x", session.NewLearner() + "x"} {
		if err := d.Enroll(t.Context(), s, key); err != nil {
			t.Error(err)
		}
		if d.Learner(key) || len(d.Progress(key).Labs) != 0 || d.Forget(t.Context(), key) != nil {
			t.Errorf("%q is a learner", key)
		}
	}
	op(t, s, "ip netns add kon")
}

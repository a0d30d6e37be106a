package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

const (
	// reaction is how long a world may take to become what programs and the kernel
	// make of it by themselves.
	reaction = 2 * time.Second
	// straggling is how long packets may be under way to a check that asks for them.
	straggling = 300 * time.Millisecond
	// pause is between two looks at something of which no event tells.
	pause = 20 * time.Millisecond
)

// player plays one session.
type player struct {
	*subject
	s      *session.Session
	events <-chan session.Event // nil: nobody looks
}

// sit begins a session; with a page open if somebody watches. The caller leaves.
func (s *subject) sit(ctx context.Context, watches bool) (p *player, leave func(*error), err error) {
	p = &player{subject: s}
	if p.s, _, err = s.Sessions.Create(ctx, s.plan.LabID, s.plan.Variant, s.text.Language); err != nil {
		return nil, nil, err
	}
	leave = func(err *error) {
		*err = errors.Join(*err, s.Sessions.Delete(context.WithoutCancel(ctx), p.s))
	}
	if watches {
		if p.events, err = p.s.Subscribe(ctx); err != nil {
			leave(&err)
			return nil, nil, err
		}
	}
	return p, leave, nil
}

// await waits until the view is as wanted, for some time at most, and gives it in
// either case.
func (p *player) await(ctx context.Context, most time.Duration, wanted func(session.View) bool) (session.View, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		v := p.s.View()
		if wanted(v) {
			return v, nil
		}
		var look <-chan time.Time
		if p.events == nil {
			look = time.After(pause)
		}
		select {
		case <-p.events: // whatever it is, the view is newer
		case <-look:
			if v, err := p.s.Refresh(ctx); err != nil && ctx.Err() == nil {
				return v, err
			}
		case <-ctx.Done():
			return p.s.View(), nil
		}
	}
}

// round plays the solution from beginning to end, one way, and then tears down
// what was built.
func (s *subject) round(ctx context.Context, way Way, n int) (err error) {
	p, leave, err := s.sit(ctx, way != Exec)
	if err != nil {
		return err
	}
	defer leave(&err)
	name := fmt.Sprintf("%s %d", way, n)
	if s.from > 0 {
		if _, err := p.s.Reset(ctx, s.plan.Steps[s.from].ID); err != nil {
			return err
		}
	}
	h := p.hands(way)
	defer h.leave()
	for i := s.from; i < s.to; i++ {
		if ok, err := p.step(ctx, i, name, h); !ok || err != nil {
			return err
		}
	}
	return p.tearDown(ctx, s.to, name)
}

// step does one step. It is false where the lab can't go on.
func (p *player) step(ctx context.Context, i int, name string, h hands) (ok bool, err error) {
	step := &p.plan.Steps[i]
	c, end := p.begin(KindSolution, step.ID, name)
	defer end()
	before, err := p.s.Refresh(ctx)
	if err != nil {
		return false, err
	}
	if before.Current != step.ID {
		c.fault("it passed before anything was done for it: the current step is %q", before.Current)
		return false, nil
	}
	p.noteBeginning(c, i, before)
	if step.Predict != nil {
		if _, err := p.s.Predict(ctx, step.ID, step.Predict.Options[0]); err != nil {
			return false, err
		}
	}
	if err := h.do(ctx, step); isRefusal(err) {
		c.fault("its solution fails: %v", err)
		return false, nil
	} else if err != nil {
		return false, err
	}
	v, err := p.await(ctx, p.Patience, func(v session.View) bool { return v.Steps[i].State == session.StepDone })
	if err != nil {
		return false, err
	}
	if v.Steps[i].State != session.StepDone {
		c.fault("it is not done by its solution; the hint is %q%s", p.hintID(step.ID, v.Steps[i].Hint), h.said())
		return false, nil
	}
	p.judgeSteps(c, v, i+1)
	if step.Predict != nil {
		if got := v.Steps[i].Prediction; got == nil || !slices.Contains(step.Predict.Options, got.Answer) {
			c.fault("the prediction's answer is none of the options: %+v", got)
		} else if e := step.Predict.Expect; e != "" && got.Answer != e {
			c.fault("the texts speak of the answer %q, and the kernel's is %q", e, got.Answer)
		}
	}
	return true, p.compare(ctx, c, i+1)
}

// noteBeginning remembers the hint with which a step begins; there must be one.
func (p *player) noteBeginning(c *Case, i int, v session.View) {
	id := p.hintID(c.Step, v.Steps[i].Hint)
	if id == "" {
		c.fault("it begins without a hint")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begins[i] = id
}

// judgeSteps wants that the first n steps are done, and no other.
func (p *player) judgeSteps(c *Case, v session.View, n int) {
	for i, st := range v.Steps {
		switch {
		case i < n && st.State != session.StepDone:
			c.fault("step %s was done and is not any more", st.ID)
		case i >= n && st.State == session.StepDone:
			c.fault("step %s passed before anything was done for it", st.ID)
		}
	}
}

// compare wants the world to be what it was for others after n steps. What
// programs and the kernel still do by themselves is waited for.
func (p *player) compare(ctx context.Context, c *Case, n int) error {
	deadline := time.Now().Add(reaction)
	for {
		now, err := p.s.Topology(ctx)
		if err != nil {
			return err
		}
		difference := p.agree(n, now.Normal())
		switch {
		case difference == "":
			return nil
		case time.Now().After(deadline):
			c.fault("the world is not what it was for others after this step: %s", difference)
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// differs says what sets a world apart from another; empty: nothing.
func differs(a, b topo.Snapshot) string {
	d := topo.Compare(a, b)
	if d.Empty() {
		return ""
	}
	is, _ := json.Marshal(d) // of topo, which always is JSON
	old, _ := json.Marshal(topo.Compare(b, a).Changed)
	const most = 2000
	text := fmt.Sprintf("%s, was %s", is, old)
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}

// tearDown deletes all namespaces and interfaces that the first n steps made. What
// was done stays done, nothing else passes by it, and there is a hint.
func (p *player) tearDown(ctx context.Context, n int, name string) error {
	c, end := p.begin(KindUndo, p.plan.Steps[n-1].ID, name)
	defer end()
	now, err := p.s.Topology(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	first := p.states[0]
	p.mu.Unlock()
	if first == nil {
		return nil // a step alone is proved, and the beginning was not seen
	}
	commands := map[topo.NodeID][]string{}
	for _, node := range now.Nodes {
		old, machine := first.Node(node.ID), topo.NodeID(node.ID.Machine())
		if old == nil && node.ID.Netns() != "" {
			commands[machine] = append(commands[machine], "ip netns del "+topo.Quote(node.ID.Netns()))
		}
		for _, l := range node.Links {
			if old != nil && old.Link(l.Name) == nil {
				commands[machine] = append(commands[machine], topo.Placed{Node: node.ID, Op: topo.LinkDel{Name: l.Name}}.Command())
			}
		}
	}
	for machine, all := range commands {
		if _, err := p.s.Exec(ctx, host.ExecRequest{Node: machine, Argv: []string{"bash", "-c", strings.Join(all, "\n")}}); err != nil {
			return err
		}
	}
	v, err := p.s.Refresh(ctx)
	if err != nil {
		return err
	}
	p.judgeSteps(c, v, n)
	if n < len(v.Steps) && v.Steps[n].Hint == "" {
		c.fault("step %s has no hint for who has torn everything down", v.Current)
	}
	return nil
}

// resets plays the solution once, then resets to each step, the last first, and
// does it.
func (s *subject) resets(ctx context.Context) (err error) {
	p, leave, err := s.sit(ctx, true)
	if err != nil {
		return err
	}
	defer leave(&err)
	h := p.hands(Button)
	beginning, end := s.begin(KindReset, s.plan.Steps[0].ID, "beginning")
	err = p.compare(ctx, beginning, 0)
	end()
	if err != nil {
		return err
	}
	for i := range s.to {
		if ok, err := p.step(ctx, i, "before the resets", h); !ok || err != nil {
			return err
		}
	}
	for i := s.to - 1; i >= s.from; i-- {
		if err := p.reset(ctx, i); err != nil {
			return err
		}
		if ok, err := p.step(ctx, i, "after a reset", h); !ok || err != nil {
			return err
		}
		if err := p.tearDown(ctx, i+1, "after a reset"); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) reset(ctx context.Context, i int) error {
	c, end := p.begin(KindReset, p.plan.Steps[i].ID, "from behind")
	defer end()
	v, err := p.s.Reset(ctx, p.plan.Steps[i].ID)
	if err != nil {
		return err
	}
	p.judgeSteps(c, v, i)
	return p.compare(ctx, c, i)
}

// mistake is a wrong solution of a step.
type mistake struct {
	step  int
	wrong labs.Wrong
}

func (s *subject) mistakes(ctx context.Context, some []mistake) (err error) {
	p, leave, err := s.sit(ctx, true)
	if err != nil {
		return err
	}
	defer leave(&err)
	for i, m := range some {
		if err := p.mistake(ctx, m, i == 0 && m.step == 0); err != nil {
			return err
		}
	}
	return nil
}

// mistake makes a mistake as a learner does, command by command. It must not do
// the step, and must get its hint.
func (p *player) mistake(ctx context.Context, m mistake, fresh bool) error {
	step := &p.plan.Steps[m.step]
	c, end := p.begin(KindWrong, step.ID, m.wrong.ID)
	defer end()
	if !fresh {
		if _, err := p.s.Reset(ctx, step.ID); err != nil {
			return err
		}
	}
	if err := p.blunder(ctx, m.wrong); err != nil {
		return err
	}
	passed := func(v session.View) bool { return v.Steps[m.step].State == session.StepDone }
	want := p.text.Steps[step.ID].Hints[m.wrong.Hint]
	if needsPackets(step) {
		if _, err := p.await(ctx, straggling, passed); err != nil {
			return err
		}
	}
	helped := func(v session.View) bool { return passed(v) || v.Steps[m.step].Hint == want }
	v, err := p.await(ctx, p.Patience, helped)
	if err != nil {
		return err
	}
	switch {
	case passed(v):
		c.fault("it passes")
	case v.Steps[m.step].Hint != want:
		c.fault("it gets the hint %q, not %q", p.hintID(step.ID, v.Steps[m.step].Hint), m.wrong.Hint)
	}
	return nil
}

// blunder does what a wrong solution says. It may be one that the kernel refuses: what
// counts is that the learner is helped.
func (p *player) blunder(ctx context.Context, w labs.Wrong) error {
	for _, cmd := range w.Do {
		if _, _, err := p.s.Op(ctx, cmd.Node, cmd.Text); isRefusal(err) {
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, probe := range w.Probes {
		if _, _, err := p.s.ProbeSeen(ctx, probe); err != nil {
			return err
		}
	}
	return nil
}

func needsPackets(step *labs.Step) bool {
	return step.Check.Packets() || slices.ContainsFunc(step.Hints, func(h labs.Hint) bool { return h.When != nil && h.When.Packets() })
}

func isRefusal(err error) bool {
	var op *host.OpError
	return errors.As(err, &op)
}

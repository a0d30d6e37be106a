package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// Why the demo is not there; these are told as the reason of its end.
const (
	DemoFull        = "full"        // no room for another world
	DemoCrowded     = "crowded"     // as many watch as may
	DemoUnavailable = "unavailable" // there is no host, or it failed
)

// CodeCrowded says that as many watch the demo as may.
const CodeCrowded Code = "crowded"

// DemoReason is why the demo could not be watched.
func DemoReason(err error) string {
	var p *Problem
	switch {
	case errors.As(err, &p) && p.Code == CodeFull:
		return DemoFull
	case errors.As(err, &p) && p.Code == CodeCrowded:
		return DemoCrowded
	}
	return DemoUnavailable
}

const (
	// demoLinger is how long the demo's world outlives its last viewer.
	demoLinger = 30 * time.Second
	// demoPause is between two of the steps that build.
	demoPause = 300 * time.Millisecond
	// demoCalm is how long all is well, demoTrouble how long something is broken.
	demoCalm    = 10 * time.Second
	demoTrouble = 6 * time.Second
	// demoPatience is how long a step may take to be done, demoLook how often it is looked.
	demoPatience = 5 * time.Second
	demoLook     = 50 * time.Millisecond
	// demoBuilds is how many of the steps build; behind them, each that breaks
	// something is followed by the one that repairs it.
	demoBuilds = 4
)

// demoFlows are the pings that cross the demo. Each is sent once a second, in turn.
var demoFlows = []topo.Probe{
	{From: "host1/kon1", Kind: topo.ProbePing, To: "172.16.1.2", Count: 1},
	{From: "host1/kon2", Kind: topo.ProbePing, To: "172.16.1.3", Count: 1},
}

// demo is the one world that plays itself while anybody watches it. It is a
// session without a key and without a record.
type demo struct {
	reg  *Registry
	most int // viewers, and as many who look at packets

	mu  sync.Mutex
	now *performance // nil: nobody has watched for a while
}

// performance is the demo while it has a world.
type performance struct {
	session *Session
	stop    context.CancelFunc
	ready   chan struct{} // closed when the world stands, or can't
	err     error         // why it can't; for those who have seen ready
	// Guarded by the demo's mu.
	viewers, packets int
	gaveWay          bool        // to a learner
	linger           *time.Timer // runs while nobody is there
}

// DemoViewer is somebody who watches the demo; they close it.
type DemoViewer struct {
	demo  *demo
	of    *performance
	count *int
	once  sync.Once
	leave func()
}

// WatchDemo lets somebody watch the demo, which begins when the first one comes.
// The events are those of Subscribe. Codes: CodeFull, CodeCrowded, those of a host.
func (r *Registry) WatchDemo(ctx context.Context) (*DemoViewer, <-chan Event, error) {
	v, err := r.demo.enter(ctx, func(p *performance) *int { return &p.viewers })
	if err != nil {
		return nil, nil, err
	}
	v.leave = v.of.session.Attend()
	events, err := v.of.session.subscribe(ctx)
	if err != nil {
		v.Close()
		return nil, nil, err
	}
	return v, events, nil
}

// DemoPackets is Session.Packets of the demo. Codes: those of WatchDemo.
func (r *Registry) DemoPackets(ctx context.Context, expression string, after uint64) (*DemoViewer, *PacketViewer, error) {
	v, err := r.demo.enter(ctx, func(p *performance) *int { return &p.packets })
	if err != nil {
		return nil, nil, err
	}
	packets, err := v.of.session.Packets(expression, after)
	if err != nil {
		v.Close()
		return nil, nil, err
	}
	return v, packets, nil
}

// Attend says whether the viewer is there or looks away.
func (v *DemoViewer) Attend(there bool) {
	switch {
	case there && v.leave == nil:
		v.leave = v.of.session.Attend()
	case !there && v.leave != nil:
		v.leave()
		v.leave = nil
	}
}

// Close leaves. Attend and Close are for one goroutine at a time.
func (v *DemoViewer) Close() {
	v.once.Do(func() {
		v.Attend(false)
		v.demo.exit(v.of, v.count)
	})
}

// enter finds the performance, or begins one, and waits until its world stands.
func (d *demo) enter(ctx context.Context, which func(*performance) *int) (*DemoViewer, error) {
	d.mu.Lock()
	p := d.now
	if p == nil {
		var err error
		if p, err = d.begin(); err != nil {
			d.mu.Unlock()
			return nil, err
		}
	}
	count := which(p)
	if *count >= d.most {
		d.mu.Unlock()
		return nil, &Problem{Code: CodeCrowded}
	}
	*count++
	p.linger.Stop()
	d.mu.Unlock()
	v := &DemoViewer{demo: d, of: p, count: count}
	select {
	case <-p.ready:
	case <-ctx.Done():
		v.Close()
		return nil, ctx.Err()
	}
	if p.err != nil {
		v.Close()
		return nil, p.err
	}
	return v, nil
}

func (d *demo) exit(p *performance, count *int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*count--
	if p.viewers+p.packets == 0 {
		p.linger.Reset(demoLinger)
	}
}

// begin starts a performance. The caller holds d.mu.
func (d *demo) begin() (*performance, error) {
	r := d.reg
	if full := r.full(); full != nil {
		return nil, full
	}
	s, err := r.newSession(record{ID: newID(), Lab: labs.Demo, Language: "en", Created: time.Now().UTC()})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	ctx, stop := context.WithCancel(r.ctx)
	p := &performance{session: s, stop: stop, ready: make(chan struct{})}
	p.linger = time.AfterFunc(demoLinger, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if p.viewers+p.packets == 0 {
			d.forget(p)
		}
	})
	r.mu.Lock()
	r.sessions[s.rec.ID] = s
	r.mu.Unlock()
	d.now = p
	r.tasks.Go(func() { d.perform(ctx, p) })
	return p, nil
}

// forget ends a performance; who comes next begins another. The caller holds d.mu.
func (d *demo) forget(p *performance) {
	p.stop()
	p.linger.Stop()
	if d.now == p {
		d.now = nil
	}
}

// giveWay ends the performance, if there is one, for a learner who needs its place.
func (d *demo) giveWay() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.now
	if p == nil {
		return false
	}
	p.gaveWay = true
	d.forget(p)
	return true
}

// perform plays the lab over and over until ctx ends or something goes wrong.
func (d *demo) perform(ctx context.Context, p *performance) {
	s := p.session
	_, end, err := s.begin(ctx)
	if err == nil {
		end()
	}
	p.err = err
	close(p.ready)
	for first := true; err == nil; first = false {
		if !first {
			_, err = s.Reset(ctx, "")
		}
		if err == nil {
			err = d.round(ctx, s)
		}
	}
	why := EndDeleted
	if ctx.Err() == nil {
		s.log.Warn("the demo ends", "err", err)
		why = DemoReason(err)
	}
	d.mu.Lock()
	d.forget(p)
	if p.gaveWay {
		why = DemoFull
	}
	d.mu.Unlock()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := d.reg.end(last, s, why); err != nil {
		s.log.Error("end the demo", "err", err)
	}
}

// round builds, breaks and repairs once.
func (d *demo) round(ctx context.Context, s *Session) error {
	ctx, stop := context.WithCancel(ctx)
	var flows sync.WaitGroup
	defer flows.Wait()
	defer stop()
	for i, step := range s.plan().Steps {
		pause := demoPause
		switch {
		case i == demoBuilds:
			for n, flow := range demoFlows {
				start := time.Duration(n) * time.Second / time.Duration(len(demoFlows))
				flows.Go(func() { s.flow(ctx, flow, start) })
			}
			pause = demoCalm
		case i > demoBuilds && (i-demoBuilds)%2 == 0:
			pause = demoCalm
		case i > demoBuilds:
			pause = demoTrouble
		}
		if err := s.wait(ctx, pause); err != nil {
			return err
		}
		if _, err := s.Apply(ctx, step.ID); err != nil {
			return fmt.Errorf("step %s: %w", step.ID, err)
		}
		done, err := s.passes(ctx, step.ID)
		if err != nil {
			return err
		}
		if !done {
			// A ping was lost where none should be: the machine is very busy.
			s.log.Warn("the demo begins anew: a step was not done", "step", step.ID)
			break
		}
	}
	return s.wait(ctx, demoCalm)
}

// passes waits until a step is done: the pings that cross meanwhile hold up the
// checks for as long as they are under way.
func (s *Session) passes(ctx context.Context, step string) (bool, error) {
	for range demoPatience / demoLook {
		if s.View().Current != step {
			return true, nil
		}
		select {
		case <-time.After(demoLook):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return false, nil
}

// flow sends a probe once a second while somebody is there. One that fails takes
// as long as its sender waits for the answer.
func (s *Session) flow(ctx context.Context, p topo.Probe, start time.Duration) {
	select {
	case <-time.After(start):
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if s.isAttended() {
			if _, err := s.Probe(ctx, p); err != nil {
				if ctx.Err() == nil && host.CodeOf(err) != host.CodeNotFound {
					s.log.Warn("a ping of the demo", "err", err)
				}
				return // the steps will find out
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// wait lets time pass, and more of it while nobody is there.
func (s *Session) wait(ctx context.Context, d time.Duration) error {
	for {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.isAttended() {
			return nil
		}
		d = time.Second
	}
}

func (s *Session) isAttended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attended()
}

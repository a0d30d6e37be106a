// Package proof plays labs as learners do, through a session's own doors, and
// tells what is not as a lab promises. It must not know HTTP or the kernel.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"kabel/labs"
	"kabel/sandbox/topo"
	"kabel/server/session"
)

// Way is how a step is done.
type Way string

// The ways. All of them must do the same to a world.
const (
	Button   Way = "button"   // as the page's button does
	Terminal Way = "terminal" // typed at a shell, line by line
	Exec     Way = "exec"     // run over the API, with no page open
)

// Ways lists them all.
func Ways() []Way { return []Way{Button, Terminal, Exec} }

const (
	// rounds is how often the solution is played each way: what a first one
	// leaves behind may spoil a second.
	rounds = 2
	// chain is how many wrong solutions are tried in one session, one after the
	// other, each in a world of its own.
	chain = 6
	// worldsPerCPU are played at a time: a proof mostly waits for answers that
	// must not come.
	worldsPerCPU = 12
)

// Options say what is proved, and to whom it is told.
type Options struct {
	Sessions *session.Registry
	// Ways that the solution is played; empty: all.
	Ways []Way
	// Variants by their ids, session.DefaultVariant among them; empty: all that
	// the author wrote, and a personal one, which is only played once and reset to
	// each step. Of the personal ones, those that are named are proved; labs.Personal
	// stands for one of them.
	Variants []string
	// Languages that must have all words; empty: all.
	Languages []string
	// Step narrows the proof to the step of that id.
	Step string
	// Worlds at a time; 0: twelve for each CPU.
	Worlds int
	// Patience is how long the page may take to show what was done; 0: half a minute,
	// because a machine that is busy starts programs and reads counters late.
	Patience time.Duration
	// Progress is told of each case that is over, one at a time.
	Progress func(*Lab, Case)
}

// Run proves labs: the solution is played twice each way, every wrong solution
// once from a fresh start of its step, and every step is reset to. The error is
// of the machinery; what is wrong with the labs is in the report.
//
// A step that was done stays done, whatever becomes of what was built: its check
// speaks of a moment, often of one that the next step ends, such as a ping that
// must fail. Proved is that it does.
func Run(ctx context.Context, o Options, chosen []*labs.Lab) (*Report, error) {
	start := time.Now()
	if len(o.Ways) == 0 {
		o.Ways = Ways()
	}
	o.Worlds = cmp.Or(o.Worlds, worldsPerCPU*runtime.GOMAXPROCS(0))
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	r := &run{Options: o}
	report := &Report{}
	var units [3][]unit // the longest first, so that none is left alone at the end
	for _, lab := range chosen {
		for _, variant := range o.variants(lab) {
			_, plan, err := o.Sessions.Plan(lab.ID, variant)
			if err != nil {
				return nil, err
			}
			from, to := 0, len(plan.Steps)
			if o.Step != "" {
				if from = slices.IndexFunc(plan.Steps, func(s labs.Step) bool { return s.ID == o.Step }); from < 0 {
					continue
				}
				to = from + 1
			}
			s := &subject{run: r, plan: plan, text: plan.Text("en"), from: from, to: to,
				states: make([]*topo.Snapshot, len(plan.Steps)+1), begins: make([]string, len(plan.Steps))}
			s.brief = len(o.Variants) == 0 && strings.HasPrefix(variant, labs.Personal)
			s.lab = s.newLab(lab, variant)
			report.Labs = append(report.Labs, s.lab)
			for i, u := range s.units() {
				units[i] = append(units[i], u...)
			}
			r.subjects = append(r.subjects, s)
		}
	}
	if len(report.Labs) == 0 {
		return nil, errors.New("there is nothing to prove: no lab has that variant or step")
	}
	err := r.all(ctx, slices.Concat(units[:]...))
	for _, s := range r.subjects {
		if err == nil && !s.brief {
			s.judgeHints()
			s.judgeLanguages()
		}
		slices.SortStableFunc(s.lab.Cases, func(a, b Case) int {
			return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(s.stepIndex(a.Step), s.stepIndex(b.Step)), cmp.Compare(a.Name, b.Name))
		})
	}
	report.Seconds = time.Since(start).Seconds()
	return report, err
}

// personalSeed is the personal variant that is proved unless another is named:
// always the same, so that what fails can be repeated.
const personalSeed = labs.Personal + "-7f3a9c"

// variants are those of a lab that are to be proved.
func (o Options) variants(lab *labs.Lab) (out []string) {
	all := append([]string{session.DefaultVariant}, lab.Variants...)
	if len(o.Variants) == 0 {
		if lab.Personal() {
			all = append(all, personalSeed)
		}
		return all
	}
	for _, v := range o.Variants {
		switch {
		case slices.Contains(all, v), lab.Personal() && strings.HasPrefix(v, labs.Personal+"-"):
			out = append(out, v)
		case lab.Personal() && v == labs.Personal:
			out = append(out, personalSeed)
		}
	}
	return out
}

// run is what all the players of a proof share.
type run struct {
	Options
	subjects []*subject

	mu sync.Mutex // guards the reports
}

// unit is played in a session of its own.
type unit func(ctx context.Context) error

// all plays the units, so many at a time, and stops at the first whose machinery
// fails.
func (r *run) all(ctx context.Context, units []unit) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var players sync.WaitGroup
	places := make(chan struct{}, r.Worlds)
	for _, play := range units {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		players.Go(func() {
			if err := play(ctx); err != nil {
				stop(err)
			}
			<-places
		})
	}
	players.Wait()
	return context.Cause(ctx)
}

// subject is a variant of a lab under proof.
type subject struct {
	*run
	lab      *Lab
	plan     *labs.Plan
	text     labs.Text // in English, as the players have it
	from, to int       // the steps that are proved
	brief    bool      // only play it once and reset to each step

	// Guarded by run.mu: what the world was after so many steps, as it was first
	// seen, and the hint with which each step began.
	states []*topo.Snapshot
	begins []string
}

func (s *subject) units() (out [3][]unit) {
	out[0] = []unit{s.resets}
	if s.brief {
		return out
	}
	for _, w := range s.Ways {
		for n := range rounds {
			out[1] = append(out[1], func(ctx context.Context) error { return s.round(ctx, w, n+1) })
		}
	}
	var wrong []mistake
	for i := s.from; i < s.to; i++ {
		for _, w := range s.plan.Steps[i].Wrong {
			wrong = append(wrong, mistake{i, w})
		}
	}
	for some := range slices.Chunk(wrong, chain) {
		out[2] = append(out[2], func(ctx context.Context) error { return s.mistakes(ctx, some) })
	}
	return out
}

func (s *subject) stepIndex(id string) int {
	return slices.IndexFunc(s.plan.Steps, func(st labs.Step) bool { return st.ID == id })
}

// begin opens a case; the returned function closes it.
func (s *subject) begin(kind Kind, step, name string) (*Case, func()) {
	c, start := &Case{Kind: kind, Step: step, Name: name}, time.Now()
	return c, func() {
		c.Seconds = time.Since(start).Seconds()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lab.Cases = append(s.lab.Cases, *c)
		if s.Progress != nil {
			s.Progress(s.lab, *c)
		}
	}
}

// judgeHints wants for each hint a mistake that makes it, unless it is there from
// the beginning of its step or always.
func (s *subject) judgeHints() {
	for i := s.from; i < s.to; i++ {
		step := &s.plan.Steps[i]
		for _, h := range step.Hints {
			c, end := s.begin(KindHint, step.ID, h.ID)
			made := slices.ContainsFunc(step.Wrong, func(w labs.Wrong) bool { return w.Hint == h.ID })
			if !made && h.When != nil && s.begins[i] != h.ID {
				c.fault("no wrong solution makes this hint")
			}
			end()
		}
	}
}

func (s *subject) judgeLanguages() {
	languages := s.run.Languages
	if len(languages) == 0 {
		languages = labs.Languages()
	}
	for _, lang := range languages {
		c, end := s.begin(KindLanguage, "", lang)
		for _, key := range s.lab.lacks[lang] {
			c.fault("%s is missing", key)
		}
		end()
	}
}

// hintID finds the hint that a learner reads.
func (s *subject) hintID(step, text string) string {
	for id, t := range s.text.Steps[step].Hints {
		if t == text {
			return id
		}
	}
	return ""
}

// agree compares a world after n steps with what others had then. The first is
// believed.
func (s *subject) agree(n int, now topo.Snapshot) (difference string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[n] == nil {
		s.states[n] = &now
		return ""
	}
	return differs(*s.states[n], now)
}

func (c *Case) fault(format string, a ...any) {
	c.Faults = append(c.Faults, fmt.Sprintf(format, a...))
}

package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
)

// Report is the proof of one lab, or what is wrong with it.
type Report struct {
	Lab      string        `json:"lab"`
	Variants []ProvedCases `json:"variants"`
	Took     time.Duration `json:"took"`
}

// ProvedCases counts what was played of one variant; Faults has a line for each
// thing that was not as the lab promises.
type ProvedCases struct {
	Variant string   `json:"variant"`
	Steps   int      `json:"steps"`
	Rounds  int      `json:"rounds"`
	Wrong   int      `json:"wrong"`
	Predict int      `json:"predict"`
	Faults  []string `json:"faults"`
}

// Failures counts the faults of all variants.
func (r Report) Failures() (n int) {
	for _, v := range r.Variants {
		n += len(v.Faults)
	}
	return n
}

func (r Report) String() string {
	var b strings.Builder
	for _, v := range r.Variants {
		verdict := "ok"
		if len(v.Faults) > 0 {
			verdict = "FAILED"
		}
		name := r.Lab
		if v.Variant != "" {
			name += " (" + v.Variant + ")"
		}
		fmt.Fprintf(&b, "%-6s %s: %d steps, solution played %d times, %d wrong solutions, %d predictions\n", verdict, name, v.Steps, v.Rounds, v.Wrong, v.Predict)
		for _, f := range v.Faults {
			fmt.Fprintf(&b, "       %s\n", f)
		}
	}
	fmt.Fprintf(&b, "       %s took %.1f s\n", r.Lab, r.Took.Seconds())
	return b.String()
}

// Prove plays every variant of a lab, side by side, as learners would: the
// solution twice, every wrong solution once from a fresh start of its step. A
// step must not pass before it is done; a wrong solution must not pass and must
// get its hint. The error is of the machinery; what is wrong with the lab is in
// the report.
func (r *Registry) Prove(ctx context.Context, lab *labs.Lab) (Report, error) {
	start := time.Now()
	report := Report{Lab: lab.ID}
	for _, variant := range append([]string{""}, lab.Variants...) {
		report.Variants = append(report.Variants, ProvedCases{Variant: variant})
	}
	errs := make([]error, len(report.Variants))
	var players sync.WaitGroup
	for i := range report.Variants {
		players.Go(func() {
			cases := &report.Variants[i]
			for round := range 2 {
				p := &proof{reg: r, round: round, cases: cases}
				if err := p.play(ctx, lab.ID, cases.Variant); err != nil {
					errs[i] = fmt.Errorf("%s %s: %w", lab.ID, cases.Variant, err)
					return
				}
			}
		})
	}
	players.Wait()
	report.Took = time.Since(start)
	return report, errors.Join(errs...)
}

type proof struct {
	reg   *Registry
	round int
	cases *ProvedCases
	s     *Session
}

func (p *proof) fault(step, format string, a ...any) {
	p.cases.Faults = append(p.cases.Faults, fmt.Sprintf("round %d, step %s: ", p.round+1, step)+fmt.Sprintf(format, a...))
}

func (p *proof) play(ctx context.Context, lab, variant string) (err error) {
	if p.s, _, err = p.reg.Create(ctx, lab, variant, "en"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.reg.Delete(context.WithoutCancel(ctx), p.s)) }()
	p.cases.Steps = len(p.s.plan().Steps)
	p.cases.Rounds++
	for i := range p.s.plan().Steps {
		step := &p.s.plan().Steps[i]
		if v := p.s.View(); v.Current != step.ID {
			p.fault(step.ID, "passed before anything was done for it (the current step is %q)", v.Current)
			return nil
		}
		if p.round == 0 {
			for _, wrong := range step.Wrong {
				if err := p.tryWrong(ctx, step, wrong); err != nil {
					return err
				}
			}
			if len(step.Wrong) > 0 {
				if _, err := p.s.Reset(ctx, step.ID); err != nil {
					return err
				}
			}
		}
		if step.Predict != nil {
			if _, err := p.s.Predict(ctx, step.ID, step.Predict.Options[0]); err != nil {
				return err
			}
		}
		if _, err := p.s.Apply(ctx, step.ID); isOpError(err) {
			p.fault(step.ID, "the solution fails: %v", err)
			return nil
		} else if err != nil {
			return err
		}
		v := p.s.View().Steps[i]
		if v.State != StepDone {
			p.fault(step.ID, "not done by its solution (hint: %q)", v.Hint)
			return nil
		}
		if step.Predict != nil {
			p.cases.Predict++
			if v.Prediction == nil || !slices.Contains(step.Predict.Options, v.Prediction.Answer) {
				p.fault(step.ID, "the prediction's answer is none of the options: %+v", v.Prediction)
			}
		}
	}
	return nil
}

func (p *proof) tryWrong(ctx context.Context, step *labs.Step, wrong labs.Wrong) error {
	p.cases.Wrong++
	if _, err := p.s.Reset(ctx, step.ID); err != nil {
		return err
	}
	w, end, err := p.s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	// A wrong solution may be one that the kernel refuses: what counts is that
	// the step is not done and the learner is helped.
	if _, err := p.s.act(ctx, w, ops(wrong.Do), wrong.Probes); err != nil && !isOpError(err) {
		return err
	}
	p.s.mu.Lock()
	hint, current := p.s.hint, p.s.makeView().Current
	p.s.mu.Unlock()
	switch {
	case current != step.ID:
		p.fault(step.ID, "the wrong solution %q passes", wrong.ID)
	case hint != wrong.Hint:
		p.fault(step.ID, "the wrong solution %q gets the hint %q, not %q", wrong.ID, hint, wrong.Hint)
	}
	return nil
}

func isOpError(err error) bool {
	var op *host.OpError
	return errors.As(err, &op)
}

// Memory keeps records for as long as it lives: for proofs and tests.
type Memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

// Put implements Records.
func (m *Memory) Put(_ context.Context, key string, value []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[string][]byte{}
	}
	m.m[key] = value
	return 0, nil
}

// Get implements Records.
func (m *Memory) Get(_ context.Context, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.m[key]
	if !ok {
		return nil, 0, fmt.Errorf("no record %q", key)
	}
	return b, 0, nil
}

// Delete implements Records.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, key)
	return nil
}

// Keys implements Records.
func (m *Memory) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.m)), nil
}

package labs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kabel/sandbox/topo"
)

// Catalog holds the labs that were loaded together. It does not change.
type Catalog struct {
	labs     []*Lab
	broken   []Broken
	glossary *Glossary
	demo     *Lab
}

// Demo is the id of the lab that plays itself.
const Demo = "demo"

// Demo is the lab that plays itself, which is not listed; nil if the built-in labs
// are not among these. Its steps have no hints and no wrong solutions.
func (c *Catalog) Demo() *Lab { return c.demo }

// Broken lists the labs that were left out, because of mistakes in them.
func (c *Catalog) Broken() []Broken { return slices.Clone(c.broken) }

// With is the catalogue with the labs of another beside its own. A lab whose name
// is taken is left out.
func (c *Catalog) With(more *Catalog) *Catalog {
	out := &Catalog{labs: c.Labs(), glossary: c.glossary, broken: append(c.Broken(), more.broken...), demo: c.demo}
	for _, l := range more.labs {
		if c.Lab(l.ID) != nil {
			out.broken = append(out.broken, Broken{l.ID, &Problem{l.ID + "/lab.yaml", 1, 1,
				fmt.Sprintf("there is a lab %q already: give this one another id, and its folder the same name", l.ID), ""}})
			continue
		}
		out.labs = append(out.labs, l)
	}
	out.sort()
	return out
}

func (c *Catalog) sort() {
	slices.SortFunc(c.labs, func(a, b *Lab) int {
		return cmp.Or(cmp.Compare(a.Track, b.Track), cmp.Compare(a.Order, b.Order), cmp.Compare(a.ID, b.ID))
	})
}

// Glossary explains the terms that the labs' texts mark.
func (c *Catalog) Glossary() *Glossary { return c.glossary }

// Labs lists them in teaching order: by track, then by number.
func (c *Catalog) Labs() []*Lab { return slices.Clone(c.labs) }

// Lab finds a lab by its id; nil if there is none.
func (c *Catalog) Lab(id string) *Lab {
	for _, l := range c.labs {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// Lab is one lesson.
type Lab struct {
	ID      string
	Track   string
	Order   int
	Minutes int
	// Variants are the ids of the sets of names and addresses other than the
	// default one and personal ones.
	Variants []string
	// Lacks lists, by language, the passages that are missing in it and are in
	// English instead.
	Lacks map[string][]string

	plans    map[string]*Plan
	personal *personal
}

// Personal says whether each learner may have names and addresses of their own:
// Plan then knows all variants that DrawPersonal makes.
func (l *Lab) Personal() bool { return l.personal != nil && l.personal.offered }

// Plan is the lab with the names and addresses of a variant; "" is the default.
// It is shared and must not be changed.
func (l *Lab) Plan(variant string) (*Plan, error) {
	if l.Personal() && personalVariant.MatchString(variant) {
		return l.personal.plan(variant, Drawn{})
	}
	p, ok := l.plans[variant]
	if !ok {
		return nil, fmt.Errorf("lab %s has no variant %q: there are %s", l.ID, variant, strings.Join(l.Variants, ", "))
	}
	return p, nil
}

// PlanWith is Plan, where a personal variant keeps what was drawn for it before,
// whatever of the lab was edited since.
func (l *Lab) PlanWith(variant string, kept Drawn) (*Plan, error) {
	if l.personal == nil || kept.Names == nil && kept.Networks == nil || !personalVariant.MatchString(variant) {
		return l.Plan(variant)
	}
	return l.personal.plan(variant, kept)
}

// Plan is all that is needed to play a lab.
type Plan struct {
	LabID, Variant string
	// Drawn is what a personal variant has in place of the lab's names and networks.
	Drawn    Drawn
	Machines []topo.Machine
	Wires    []topo.Wire
	// Setup is what the machines are given before the first step.
	Setup []topo.Placed
	Steps []Step

	source *source
	sub    substitution
	texts  map[string]Text // by language; those of a personal plan are written when they are asked for
}

// Step is one thing to do and to understand.
type Step struct {
	ID string
	// Do are the commands that the step stands for, in order.
	Do []Command
	// Probes are sent after the commands, to show what came of them.
	Probes []topo.Probe
	// Check says whether the step is done, no matter how.
	Check *Check
	// Hints in order: the first whose When holds is the one to show.
	Hints   []Hint
	Predict *Predict
	Wrong   []Wrong
}

// Command is a command as its author wrote it, and the op that it stands for.
type Command struct {
	// Node is the machine where it is typed; Op.Node may be a namespace of it.
	Node topo.NodeID
	Text string
	Op   topo.Placed
}

// Hint is shown while When holds; a nil When always does.
type Hint struct {
	When *Check
	ID   string
}

// Predict is a question that is asked before the step.
type Predict struct {
	Options []string
	// Answer yields the id of the right option, judged when the step is done.
	Answer *Expr
	// Expect is the option of which the step's texts speak; it may be empty.
	Expect string
}

// Wrong is a plausible mistake: the step must not be done by it, and Hint is
// the hint that it must get.
type Wrong struct {
	ID     string
	Do     []Command
	Probes []topo.Probe
	Hint   string
}

package session

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"kabel/labs"
	"kabel/sandbox/topo"
)

// Lesson tells a subscriber that the lab was edited: its texts are to be read
// again, or, with Mistakes, the lab stays as it was until they are corrected.
type Lesson struct{ Mistakes []string }

// edition is the catalogue that is taught, and since when.
type edition struct {
	*labs.Catalog
	since string
}

func newEdition(c *labs.Catalog) *edition {
	return &edition{c, time.Now().UTC().Format(time.RFC3339Nano)}
}

// Edition is the catalogue, with a word that no other edition of it has.
func (r *Registry) Edition() (*labs.Catalog, string) {
	e := r.labs.Load()
	return e.Catalog, e.since
}

// Teach replaces the labs, for an author who edits one. Sessions follow and keep
// their worlds. Where the lab would now have built another world up to here, the
// session is stale until it is reset.
func (r *Registry) Teach(c *labs.Catalog) {
	r.labs.Store(newEdition(c))
	for _, s := range r.all() {
		s.relearn(c)
	}
}

// relearn takes the lab from c.
func (s *Session) relearn(c *labs.Catalog) {
	s.mu.Lock()
	lab, plan, err := s.reg.planWith(s.rec.Lab, s.rec.Variant, s.rec.Drawn)
	before := s.lesson.Load()
	switch {
	case s.rec.Lab == labs.FreePlay || before.lab == lab:
		s.mu.Unlock()
		return
	case err != nil:
		s.mistakes = mistakes(c, s.rec.Lab)
		s.broadcast(Event{Lesson: &Lesson{s.mistakes}})
		s.mu.Unlock()
		return
	}
	s.mistakes = nil
	s.lesson.Store(&lesson{lab, plan, plan.Text(s.rec.Language)})
	s.rec.Drawn = plan.Drawn
	s.rec.Done = known(s.rec.Done, plan)
	n := len(s.rec.Done)
	s.stale = s.stale || !bytes.Equal(basis(before.plan, n), basis(plan, n))
	s.broadcast(Event{Lesson: &Lesson{}})
	s.judgeAndSave()
}

// mistakes says why the catalogue lacks a lab.
func mistakes(c *labs.Catalog, id string) []string {
	for _, b := range c.Broken() {
		if b.ID == id {
			return strings.Split(b.Err.Error(), "\n")
		}
	}
	return []string{"the lab " + id + " is not there any more"}
}

// known are the steps of done that the plan has.
func known(done []string, plan *labs.Plan) []string {
	return slices.DeleteFunc(slices.Clone(done), func(id string) bool {
		return !slices.ContainsFunc(plan.Steps, func(st labs.Step) bool { return st.ID == id })
	})
}

// basis is a word for what a plan builds with so many of its steps.
func basis(p *labs.Plan, steps int) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%+v\n%+v\n", p.Machines, p.Wires)
	tell := func(op topo.Placed) { fmt.Fprintf(h, "%s %s\n", op.Node, op.Command()) }
	for _, op := range p.Setup {
		tell(op)
	}
	for _, st := range p.Steps[:min(steps, len(p.Steps))] {
		fmt.Fprintln(h, st.ID)
		for _, c := range st.Do {
			tell(c.Op)
		}
	}
	return h.Sum(nil)
}

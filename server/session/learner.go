package session

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kabel/labs"
	"kabel/sandbox/topo"
)

// Progress is what a learner has done, lab by lab, the latest last.
type Progress struct {
	Labs []LabProgress `json:"labs" nullable:"false"`
}

// LabProgress is a learner's way through one variant of a lab, over all their
// sessions of it.
type LabProgress struct {
	Lab     string         `json:"lab"`
	Variant string         `json:"variant"`
	Session string         `json:"session" doc:"the last one"`
	Alive   bool           `json:"alive" doc:"the session can be gone on with, parked or not"`
	Started time.Time      `json:"started"`
	Last    time.Time      `json:"last" doc:"when something was done, or somebody was there, last"`
	DoneAt  *time.Time     `json:"done_at,omitempty" doc:"when the last of all steps was done"`
	Steps   []StepProgress `json:"steps" nullable:"false" doc:"those that have been the current one, in the lab's order"`
	Total   int            `json:"total_steps" doc:"how many the lab has"`
}

// StepProgress is what a step took until the learner had done it for the first
// time; nothing is counted afterwards.
type StepProgress struct {
	ID        string     `json:"id"`
	DoneAt    *time.Time `json:"done_at,omitempty" doc:"by the learner; not set by a reset to a later step"`
	Seconds   float64    `json:"seconds" doc:"while it was the current step and somebody was there"`
	Attempts  int        `json:"attempts" doc:"what was done meanwhile: steps applied, commands, programs, probes, and typed lines that changed the world"`
	Hints     int        `json:"hints" doc:"how many different hints were opened"`
	Predicted string     `json:"predicted" enum:",right,wrong"`
}

const (
	// maxLabs and maxSteps bound a learner's record: the labs that were left longest
	// ago are forgotten first.
	maxLabs  = 100
	maxSteps = 64
	// flushEvery is how long what was counted may wait to be kept.
	flushEvery = time.Second
)

// LearnerLifetime is how long a learner is remembered after they were last seen.
const LearnerLifetime = 365 * 24 * time.Hour

// learnerRecord is what is kept of a learner.
type learnerRecord struct {
	Seen time.Time   `json:"seen"`
	Labs []labRecord `json:"labs"`
}

type labRecord struct {
	Lab     string       `json:"lab"`
	Variant string       `json:"variant"`
	Session string       `json:"session"`
	Started time.Time    `json:"started"`
	Last    time.Time    `json:"last"`
	Done    *time.Time   `json:"done,omitempty"`
	Steps   []stepRecord `json:"steps,omitempty"`
}

type stepRecord struct {
	ID       string        `json:"id"`
	Done     *time.Time    `json:"done,omitempty"`
	Spent    time.Duration `json:"spent,omitempty"`
	Attempts int           `json:"attempts,omitempty"`
	Hints    []string      `json:"hints,omitempty"`
	Right    *bool         `json:"right,omitempty"` // the prediction
}

// lab finds the record of a variant, or begins it.
func (l *learnerRecord) lab(lab, variant string) *labRecord {
	if i := slices.IndexFunc(l.Labs, func(r labRecord) bool { return r.Lab == lab && r.Variant == variant }); i >= 0 {
		return &l.Labs[i]
	}
	if len(l.Labs) >= maxLabs {
		oldest := slices.MinFunc(l.Labs, func(a, b labRecord) int { return a.Last.Compare(b.Last) })
		l.Labs = slices.DeleteFunc(l.Labs, func(r labRecord) bool { return r.Lab == oldest.Lab && r.Variant == oldest.Variant })
	}
	l.Labs = append(l.Labs, labRecord{Lab: lab, Variant: variant, Started: now()})
	return &l.Labs[len(l.Labs)-1]
}

// step finds the record of a step, or begins it; nil where there are too many.
func (l *labRecord) step(id string) *stepRecord {
	if i := slices.IndexFunc(l.Steps, func(r stepRecord) bool { return r.ID == id }); i >= 0 {
		return &l.Steps[i]
	}
	if len(l.Steps) >= maxSteps {
		return nil
	}
	l.Steps = append(l.Steps, stepRecord{ID: id})
	return &l.Steps[len(l.Steps)-1]
}

// now is the time as it is kept.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// learners are all who have progress. Their keys are kept as hashes only.
type learners struct {
	records Records

	mu    sync.Mutex
	known map[string]*learnerRecord // by the hash of the key
	dirty map[string]bool
	wake  chan struct{} // there is something to keep
}

func newLearners(r Records) *learners {
	if r == nil {
		r = &Memory{}
	}
	return &learners{records: r, known: map[string]*learnerRecord{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// change changes what is known of a learner, if they are known.
func (l *learners) change(id string, do func(*learnerRecord)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec := l.known[id]; rec != nil {
		do(rec)
		rec.Seen = now()
		l.dirty[id] = true
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// flush keeps what has changed.
func (l *learners) flush(ctx context.Context) error {
	l.mu.Lock()
	changed := map[string][]byte{}
	for id := range l.dirty {
		b, err := json.Marshal(l.known[id])
		if err != nil {
			l.mu.Unlock()
			return fmt.Errorf("encode a learner: %w", err)
		}
		changed[id] = b
	}
	clear(l.dirty)
	l.mu.Unlock()
	for id, b := range changed {
		l.mu.Lock()
		gone := l.known[id] == nil
		l.mu.Unlock()
		if gone {
			continue // forgotten meanwhile
		}
		if _, err := l.records.Put(ctx, id, b); err != nil {
			l.mu.Lock()
			for id := range changed {
				l.dirty[id] = l.known[id] != nil
			}
			l.mu.Unlock()
			return fmt.Errorf("keep a learner: %w", err)
		}
	}
	return nil
}

// learnerID is under which name a learner's record is kept; empty if the key can't
// be one.
func learnerID(key string) string {
	if len(key) != 43 {
		return ""
	}
	return hex.EncodeToString(hashToken(key))
}

// NewLearner is the key of a learner who has not been here before.
func NewLearner() string {
	key, _ := newToken()
	return key
}

// Learner says whether there is a learner with the key.
func (r *Registry) Learner(key string) bool {
	r.learners.mu.Lock()
	defer r.learners.mu.Unlock()
	return r.learners.known[learnerID(key)] != nil
}

// Enroll counts what is done in a session for the learner with the key.
func (r *Registry) Enroll(ctx context.Context, s *Session, key string) error {
	id := learnerID(key)
	if id == "" {
		return nil
	}
	r.learners.mu.Lock()
	if r.learners.known[id] == nil {
		r.learners.known[id] = &learnerRecord{}
	}
	r.learners.mu.Unlock()
	s.mu.Lock()
	s.rec.Learner = id
	s.progress(func(l *labRecord) { l.Session = s.rec.ID })
	s.spend()
	kept := s.snapshotRecord()
	s.mu.Unlock()
	return r.save(ctx, kept)
}

// Progress is what the learner with the key has done. It looks at no world.
func (r *Registry) Progress(key string) Progress {
	out := Progress{Labs: []LabProgress{}}
	id := learnerID(key)
	for _, s := range r.all() {
		s.mu.Lock()
		if id != "" && s.rec.Learner == id {
			s.spend()
		}
		s.mu.Unlock()
	}
	var kept []labRecord
	r.learners.mu.Lock()
	if rec := r.learners.known[id]; rec != nil {
		kept = slices.Clone(rec.Labs)
		for i := range kept {
			kept[i].Steps = slices.Clone(kept[i].Steps)
		}
	}
	r.learners.mu.Unlock()
	for _, l := range kept {
		out.Labs = append(out.Labs, r.showProgress(l))
	}
	slices.SortFunc(out.Labs, func(a, b LabProgress) int { return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Lab, b.Lab)) })
	return out
}

func (r *Registry) showProgress(l labRecord) LabProgress {
	out := LabProgress{Lab: l.Lab, Variant: l.Variant, Session: l.Session, Started: l.Started, Last: l.Last, DoneAt: l.Done, Steps: []StepProgress{}, Total: len(l.Steps)}
	r.mu.Lock()
	out.Alive = r.sessions[l.Session] != nil
	r.mu.Unlock()
	if _, plan, err := r.Plan(l.Lab, l.Variant); err == nil {
		out.Total = len(plan.Steps)
		place := map[string]int{}
		for i, st := range plan.Steps {
			place[st.ID] = i
		}
		slices.SortStableFunc(l.Steps, func(a, b stepRecord) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	}
	for _, st := range l.Steps {
		shown := StepProgress{ID: st.ID, DoneAt: st.Done, Seconds: st.Spent.Round(100 * time.Millisecond).Seconds(), Attempts: st.Attempts, Hints: len(st.Hints)}
		switch {
		case st.Right != nil && *st.Right:
			shown.Predicted = "right"
		case st.Right != nil:
			shown.Predicted = "wrong"
		}
		out.Steps = append(out.Steps, shown)
	}
	return out
}

// Forget forgets the learner with the key. Their sessions go on, uncounted.
func (r *Registry) Forget(ctx context.Context, key string) error {
	id := learnerID(key)
	if id == "" {
		return nil
	}
	for _, s := range r.all() {
		s.mu.Lock()
		its := s.rec.Learner == id
		if its {
			s.rec.Learner = ""
		}
		kept := s.snapshotRecord()
		s.mu.Unlock()
		if its {
			if err := r.save(ctx, kept); err != nil {
				return err
			}
		}
	}
	r.learners.mu.Lock()
	delete(r.learners.known, id)
	delete(r.learners.dirty, id)
	r.learners.mu.Unlock()
	if err := r.learners.records.Delete(ctx, id); err != nil {
		return fmt.Errorf("forget a learner: %w", err)
	}
	return nil
}

// recall reads who was here before, and forgets who has not been for very long. A
// record that this version can't read is left alone.
func (l *learners) recall(ctx context.Context, log *slog.Logger) error {
	ids, err := l.records.Keys(ctx)
	if err != nil {
		return fmt.Errorf("list learners: %w", err)
	}
	for _, id := range ids {
		b, _, err := l.records.Get(ctx, id)
		if err != nil {
			return fmt.Errorf("read a learner: %w", err)
		}
		rec := &learnerRecord{}
		if err := json.Unmarshal(b, rec); err != nil {
			log.Warn("a learner can't be read", "err", err)
			continue
		}
		if time.Since(rec.Seen) > LearnerLifetime {
			if err := l.records.Delete(ctx, id); err != nil {
				return fmt.Errorf("forget a learner: %w", err)
			}
			continue
		}
		l.known[id] = rec
	}
	return nil
}

// tendLearners keeps what is counted, until the registry closes.
func (r *Registry) tendLearners() {
	keep := func() {
		if err := r.learners.flush(context.WithoutCancel(r.ctx)); err != nil {
			r.log.Error("progress", "err", err)
		}
	}
	for r.ctx.Err() == nil {
		select {
		case <-r.learners.wake:
		case <-r.ctx.Done():
		}
		select {
		case <-time.After(flushEvery):
		case <-r.ctx.Done():
		}
		keep()
	}
	// Whenever the end came, also before the first turn, what was counted is kept.
	for _, s := range r.all() {
		s.mu.Lock()
		s.spend()
		s.mu.Unlock()
	}
	keep()
}

// --- what a session counts; the caller holds s.mu

// progress changes the record of the session's lab, if it has a learner.
func (s *Session) progress(do func(*labRecord)) {
	if s.rec.Learner == "" {
		return
	}
	s.reg.learners.change(s.rec.Learner, func(l *learnerRecord) {
		r := l.lab(s.rec.Lab, s.rec.Variant)
		r.Last = now()
		do(r)
	})
}

// count changes the record of a step that the learner has not done yet.
func (s *Session) count(step string, do func(*stepRecord)) {
	if step == "" {
		return
	}
	s.progress(func(l *labRecord) {
		if st := l.step(step); st != nil && st.Done == nil {
			do(st)
		}
	})
}

// current is the first step that is not done; empty if all are.
func (s *Session) current() string {
	for i := range s.plan().Steps {
		if id := s.plan().Steps[i].ID; !slices.Contains(s.rec.Done, id) {
			return id
		}
	}
	return ""
}

// attempt counts an action for the current step. What it changes was not typed.
func (s *Session) attempt() {
	s.typed = false
	s.progress(func(*labRecord) {})
	s.count(s.current(), func(st *stepRecord) { st.Attempts++ })
}

// attempted is attempt. Without s.mu.
func (s *Session) attempted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt()
}

// rewired says whether a world differs by more than its packets do to it.
func rewired(a, b topo.Snapshot) bool {
	still := func(s topo.Snapshot) topo.Snapshot {
		s = uncounted(s)
		for i := range s.Nodes {
			n := &s.Nodes[i]
			n.Neighbours = slices.DeleteFunc(slices.Clone(n.Neighbours), func(e topo.Neighbour) bool { return e.State != "permanent" })
			n.FDB = slices.DeleteFunc(slices.Clone(n.FDB), func(e topo.FDBEntry) bool { return e.State == "" })
		}
		return s
	}
	return !slices.EqualFunc(still(a).Nodes, still(b).Nodes, topo.Node.Equal)
}

// spend adds the time since it was last called to the current step, if somebody
// has been there since. It is called when that has changed, and before the current
// step does.
func (s *Session) spend() {
	at := time.Now()
	spent := at.Sub(s.counted)
	if s.there && s.rec.Learner != "" && spent > 0 {
		s.count(s.current(), func(st *stepRecord) { st.Spent += spent })
	}
	s.counted, s.there = at, s.attended()
}

// passed notes that the learner has done a step.
func (s *Session) passed(step *labs.Step) {
	s.progress(func(l *labRecord) {
		st := l.step(step.ID)
		if st == nil || st.Done != nil {
			return
		}
		at := now()
		st.Done = &at
		if p, ok := s.rec.Predictions[step.ID]; ok {
			st.Right = p.Right
		}
		undone := func(of labs.Step) bool {
			return !slices.ContainsFunc(l.Steps, func(r stepRecord) bool { return r.ID == of.ID && r.Done != nil })
		}
		if l.Done == nil && !slices.ContainsFunc(s.plan().Steps, undone) {
			l.Done = &at
		}
	})
}

// Hinted notes that the hint of the current step was opened. A step that was done
// meanwhile counts none. Codes: CodeNoStep, CodeOutOfOrder.
func (s *Session) Hinted(stepID string) error {
	_, err := s.currentStep(stepID)
	if p, ok := errors.AsType[*Problem](err); ok && p.Code == CodeStepDone {
		return nil
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(stepID, func(st *stepRecord) {
		if s.hint != "" && !slices.Contains(st.Hints, s.hint) {
			st.Hints = append(st.Hints, s.hint)
		}
	})
	return nil
}

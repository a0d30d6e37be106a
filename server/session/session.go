package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/capture"
)

// State is where a session's world stands.
type State string

// The states.
const (
	StateReady      State = "ready"
	StateRebuilding State = "rebuilding" // the world was lost or reset and is being made again
	StateGone       State = "gone"       // the world is not there; the next request rebuilds it
	StateParked     State = "parked"     // likewise, because nobody was there for long
)

// StepState is a step's progress.
type StepState string

// The states of a step. A step that was done stays done.
const (
	StepTodo StepState = "todo"
	StepDone StepState = "done"
)

// View is what a learner sees of a session.
type View struct {
	ID       string        `json:"id"`
	Lab      string        `json:"lab"`
	Variant  string        `json:"variant"`
	Language string        `json:"language"`
	State    State         `json:"state" enum:"ready,rebuilding,gone,parked"`
	Current  string        `json:"current,omitempty" doc:"the first step that is not done"`
	Steps    []StepView    `json:"steps" nullable:"false"`
	Nodes    []topo.NodeID `json:"nodes" nullable:"false"`
	Stale    bool          `json:"stale,omitempty" doc:"the lab was edited, and would build another world now: reset to see it"`
	Ends     *Ends         `json:"ends,omitempty" doc:"when the world goes by itself, once that is near"`
	Kept     int           `json:"kept,omitempty" doc:"of free play: how many commands of POST …/ops are done again when the world is built anew; those beyond the first 500 are not"`
}

// StepView is one step's progress; Hint is for the current step only, chosen by
// what the kernel's state is now, in the session's language.
type StepView struct {
	ID         string      `json:"id"`
	State      StepState   `json:"state" enum:"todo,done"`
	Hint       string      `json:"hint,omitempty"`
	Prediction *Prediction `json:"prediction,omitempty"`
}

// Prediction is a learner's answer to a predict question. Answer and Right are
// known when the step is done: the kernel is the judge.
type Prediction struct {
	Choice string `json:"choice"`
	Answer string `json:"answer,omitempty"`
	Right  *bool  `json:"right,omitempty"`
}

// Event is one message to a subscriber; exactly one field is set.
type Event struct {
	View   *View
	Update *topo.Update
	Probe  *topo.ProbeResult
	Lesson *Lesson
	Ended  string // the session is over, and why
}

// Outcome is what an action left behind.
type Outcome struct {
	Revision topo.Rev
	Probes   []topo.ProbeResult
	View     View
}

// record is what outlives the process.
type record struct {
	ID          string                 `json:"id"`
	TokenHash   []byte                 `json:"token_hash"`
	Lab         string                 `json:"lab"`
	Variant     string                 `json:"variant"`
	Drawn       labs.Drawn             `json:"drawn,omitzero"` // of a personal variant
	Language    string                 `json:"language"`
	Created     time.Time              `json:"created"`
	World       host.WorldID           `json:"world"` // the latest that was made for it
	Generation  int                    `json:"generation"`
	Built       bool                   `json:"built"` // World has all that Done says
	Done        []string               `json:"done"`
	Predictions map[string]Prediction  `json:"predictions,omitempty"`
	Lived       time.Duration          `json:"lived"`             // with a world, up to when this was kept
	History     map[topo.NodeID]string `json:"history,omitempty"` // of the machines' shells in the world before
	Ops         []topo.Placed          `json:"ops,omitempty"`     // of free play: what was done since the last reset
	Learner     string                 `json:"learner,omitempty"` // whose progress this is; see learners
	// Basis tells apart what the world was built from: a lab that was edited while the
	// server was not there builds another.
	Basis []byte `json:"basis,omitempty"`
	// Changes are those of the steps that were done, less what is very large.
	Changes map[string]packed `json:"packed_changes,omitempty"`
}

// Session is one learner's way through one lab. It is safe for concurrent use.
type Session struct {
	reg *Registry
	log *slog.Logger
	// lesson is what is taught; it is replaced as a whole when the lab is edited.
	lesson atomic.Pointer[lesson]
	// packets of the world; it takes its own lock, also under mu.
	packets *capture.Hub

	// turn is held by the one action that changes the world; mu by whoever
	// reads or changes the fields below, and never during a call to the host.
	turn chan struct{}

	mu        sync.Mutex
	rec       record
	world     host.World // nil: not there
	state     State
	now       topo.Snapshot
	since     topo.Snapshot      // when the current step became current
	begun     time.Time          // then
	probes    []topo.ProbeResult // since then
	probing   []topo.Probe       // under way
	hint      string
	holding   int  // actions under way: checks wait for their end
	view      View // as last told to the subscribers
	subs      map[chan Event]struct{}
	terminals map[string]*Terminal
	opening   int                  // terminals that are
	shells    map[topo.NodeID]bool // machines of this world that had one
	watching  context.CancelFunc
	holds     context.CancelFunc // the capture, for the current step's sake
	recording int
	looking   int // viewers of packets
	attending int
	lastUsed  time.Time
	stood     time.Time // when the session got the world, or took it over
	ending    bool      // a limit is over, and this is being acted on
	ended     bool
	stale     bool      // the lab was edited so that it would build another world
	based     basedOn   // rec.Basis
	mistakes  []string  // why the lab as it is now can't be taught
	counted   time.Time // until when the current step's time is
	there     bool      // somebody has been, since then
	typed     bool      // a line, and the world has not changed since
}

const (
	maxKeptProbes = 50
	// MaxKeptOps is how many commands of free play outlive their world: the first,
	// since later ones build on them.
	MaxKeptOps = 500
)

func newToken() (token string, hash []byte) {
	b := make([]byte, 32)
	rand.Read(b) // never fails, crypto/rand
	token = base64.RawURLEncoding.EncodeToString(b)
	return token, hashToken(token)
}

func hashToken(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// lesson is a lab's plan and what it says in the session's language.
type lesson struct {
	lab  *labs.Lab
	plan *labs.Plan
	text labs.Text
}

func (s *Session) plan() *labs.Plan { return s.lesson.Load().plan }

func (s *Session) authorises(token string) bool {
	return subtle.ConstantTimeCompare(s.rec.TokenHash, hashToken(token)) == 1
}

// Lab is what the session teaches, and how: where the lab can't be taught any more
// as it is now, or names were drawn for the session, that is not what Registry.Plan
// tells.
func (s *Session) Lab() (*labs.Lab, *labs.Plan) {
	l := s.lesson.Load()
	return l.lab, l.plan
}

// ID is the session's public name.
func (s *Session) ID() string { return s.rec.ID }

// Speak has the session's hints told in another language from now on.
func (s *Session) Speak(ctx context.Context, language string) (View, error) {
	s.mu.Lock()
	s.used()
	if s.ended {
		s.mu.Unlock()
		return View{}, &Problem{Code: CodeNoSession}
	}
	s.rec.Language = language
	l := s.lesson.Load()
	s.lesson.Store(&lesson{l.lab, l.plan, l.plan.Text(language)})
	s.tell()
	rec, view := s.snapshotRecord(), s.makeView()
	s.mu.Unlock()
	return view, s.reg.save(ctx, rec)
}

// begin takes the turn, waiting for the action under way, and makes sure that
// the world stands. The caller calls the returned end.
func (s *Session) begin(ctx context.Context) (host.World, func(), error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, &Problem{Code: CodeBusy, Err: ctx.Err()}
	}
	end := func() { <-s.turn }
	w, err := s.standing(ctx)
	if err != nil {
		end()
		return nil, nil, err
	}
	return w, end, nil
}

// standing is the session's world, rebuilt if it was lost. The caller has the turn.
func (s *Session) standing(ctx context.Context) (host.World, error) {
	w, done, err := s.present()
	if w != nil || err != nil {
		return w, err
	}
	return s.build(ctx, done)
}

// reach is the session's world for those who only look or run beside the
// learner's actions: they wait for no turn, unless the world must be rebuilt.
func (s *Session) reach(ctx context.Context) (host.World, error) {
	w, _, err := s.present()
	if w != nil || err != nil {
		return w, err
	}
	w, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	end()
	return w, nil
}

// present is the world if it is there, and how many steps are done.
func (s *Session) present() (w host.World, done int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used()
	if s.ended {
		return nil, 0, &Problem{Code: CodeNoSession}
	}
	return s.world, len(s.rec.Done), nil
}

// build makes a new world in which the first n steps of the lab are done, and
// lets go of the old one. The caller has the turn.
func (s *Session) build(ctx context.Context, n int) (host.World, error) {
	s.mu.Lock()
	s.rec.Generation++
	s.rec.World = host.WorldID(s.rec.ID + "-" + strconv.Itoa(s.rec.Generation))
	s.rec.Built = false
	s.stale = false
	spec := host.Spec{ID: s.rec.World, Machines: s.plan().Machines, Wires: s.plan().Wires, Setup: s.plan().Setup}
	rec := s.snapshotRecord()
	s.state = StateRebuilding
	s.tell()
	s.mu.Unlock()
	// The record tells of the building before it begins: after a crash in the
	// middle, a world that is half made must not pass for the learner's.
	if err := s.reg.save(ctx, rec); err != nil {
		s.lose()
		return nil, err
	}
	w, err := s.reg.host.Create(ctx, spec)
	if err != nil {
		s.lose()
		err = fmt.Errorf("create a world for session %s: %w", s.rec.ID, err)
		if host.CodeOf(err) == host.CodeLimit {
			_, worlds, _ := s.reg.Counts()
			return nil, &Problem{Code: CodeFull, Subject: strconv.Itoa(worlds), Err: err}
		}
		return nil, err
	}
	err = s.replay(ctx, w, s.plan().Steps[:n])
	if err == nil {
		err = redo(ctx, w, rec.Ops)
	}
	if err != nil {
		s.lose()
		return nil, errors.Join(err, w.Destroy(context.WithoutCancel(ctx)))
	}
	now, err := w.Snapshot(ctx)
	if err != nil {
		s.lose()
		return nil, errors.Join(fmt.Errorf("read the new world: %w", err), w.Destroy(context.WithoutCancel(ctx)))
	}
	s.adopt(w, now)
	s.mu.Lock()
	s.rec.Built = true
	rec = s.snapshotRecord()
	s.mu.Unlock()
	return w, s.reg.save(ctx, rec)
}

// replay does steps in a new world, as many as it can at once.
func (s *Session) replay(ctx context.Context, w host.World, steps []labs.Step) error {
	var waiting []topo.Placed
	for i, step := range steps {
		waiting = append(waiting, ops(step.Do)...)
		if !leavesProgram(waiting) && i < len(steps)-1 {
			continue
		}
		if _, err := w.Apply(ctx, waiting); err != nil {
			return fmt.Errorf("replay up to step %s: %w", step.ID, err)
		}
		// A check that needs more than the state, such as a ping, is not waited
		// out: what a program brings up is state.
		settle(ctx, waiting, func() bool {
			now, err := w.Snapshot(ctx)
			if err != nil {
				return true // the next request will tell
			}
			done, err := step.Check.Eval(ctx, labs.State{Now: now, Since: now})
			return done || err != nil
		})
		waiting = nil
	}
	return nil
}

// redo does again what was done in free play. What fails now, because it built on
// something that was typed, is left out.
func redo(ctx context.Context, w host.World, done []topo.Placed) error {
	for len(done) > 0 {
		_, err := w.Apply(ctx, done)
		op, refused := errors.AsType[*host.OpError](err)
		switch {
		case err == nil:
			return nil
		case !refused || op.Index >= len(done):
			return fmt.Errorf("do again what was done: %w", err)
		}
		done = done[op.Index+1:]
	}
	return nil
}

// adopt makes w the session's world, seen as now, and destroys the one before.
func (s *Session) adopt(w host.World, now topo.Snapshot) {
	s.mu.Lock()
	old := s.world
	s.rec.Lived, s.stood = s.lived(), time.Now()
	s.world, s.state = w, StateReady
	if old != w {
		s.shells = map[topo.NodeID]bool{}
	}
	s.now, s.since, s.begun, s.probes = now, now, time.Now(), nil
	s.packets.Use(w)
	s.endTerminals(w, TerminalReset)
	s.stopWatch()
	s.startWatch()
	s.judge()
	s.broadcast(Event{Update: &topo.Update{Snapshot: &now}})
	s.tell()
	s.mu.Unlock()
	if old != nil && old != w {
		s.reg.destroy(old)
	}
}

// lose gives the world up. Should it still live somewhere, it is destroyed.
func (s *Session) lose() {
	s.mu.Lock()
	w := s.letGo(StateGone, TerminalLost)
	s.mu.Unlock()
	if w != nil {
		s.reg.destroy(w)
	}
}

// checkLost forgets the world if err says that it is gone, so that the next
// request rebuilds it.
func (s *Session) checkLost(w host.World, err error) error {
	if code := host.CodeOf(err); code == host.CodeNotFound || code == host.CodeUnavailable {
		s.mu.Lock()
		same := s.world == w
		s.mu.Unlock()
		if same {
			s.lose()
		}
	}
	return err
}

// View is the session as a learner sees it now.
func (s *Session) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.makeView()
}

// Refresh reads the world, so that View shows what was done by hand, and
// rebuilds a lost one.
func (s *Session) Refresh(ctx context.Context) (View, error) {
	w, err := s.reach(ctx)
	if err != nil {
		return View{}, err
	}
	if _, err := s.look(ctx, w); err != nil {
		return View{}, err
	}
	return s.View(), nil
}

// Topology reads the world.
func (s *Session) Topology(ctx context.Context) (topo.Snapshot, error) {
	w, err := s.reach(ctx)
	if err != nil {
		return topo.Snapshot{}, err
	}
	return s.look(ctx, w)
}

// Apply does a step's commands and then its probes. The step must be the
// current one.
func (s *Session) Apply(ctx context.Context, stepID string) (Outcome, error) {
	w, end, err := s.begin(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer end()
	step, err := s.currentStep(stepID)
	if err != nil {
		return Outcome{}, err
	}
	s.attempted()
	return s.act(ctx, w, ops(step.Do), step.Probes)
}

// Op does one command, typed on a node.
func (s *Session) Op(ctx context.Context, node topo.NodeID, command string) (Outcome, topo.Placed, error) {
	w, end, err := s.begin(ctx)
	if err != nil {
		return Outcome{}, topo.Placed{}, err
	}
	defer end()
	if err := s.checkNode(ctx, w, node); err != nil {
		return Outcome{}, topo.Placed{}, err
	}
	op, err := labs.ParseCommand(node, command)
	if err != nil {
		return Outcome{}, topo.Placed{}, &Problem{Code: CodeBadCommand, Err: err}
	}
	s.attempted()
	out, err := s.act(ctx, w, []topo.Placed{op}, nil)
	if err == nil && s.rec.Lab == labs.FreePlay {
		out.View = s.keep(op)
	}
	return out, op, err
}

// keep has a command of free play done again in the next world.
func (s *Session) keep(op topo.Placed) View {
	s.mu.Lock()
	full := len(s.rec.Ops) >= MaxKeptOps
	if !full {
		s.rec.Ops = append(s.rec.Ops, op)
		s.tell()
	}
	rec, v := s.snapshotRecord(), s.makeView()
	s.mu.Unlock()
	if !full {
		if err := s.reg.save(s.reg.ctx, rec); err != nil {
			s.log.Error("save", "session", rec.ID, "err", err)
		}
	}
	return v
}

// act is the one way to change the world: ops, then probes, then the checks.
func (s *Session) act(ctx context.Context, w host.World, do []topo.Placed, ask []topo.Probe) (Outcome, error) {
	release, err := s.capturing(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer release()
	judge := s.hold()
	defer judge()
	var out Outcome
	var now topo.Snapshot
	var lookErr error
	if len(do) > 0 {
		now, err = w.Apply(ctx, do)
	}
	for _, p := range ask {
		if err != nil {
			break
		}
		var r topo.ProbeResult
		if r, err = s.send(ctx, w, p); err == nil {
			out.Probes = append(out.Probes, r)
		}
	}
	before := s.View().Current
	if err != nil || len(do) == 0 || len(ask) > 0 {
		// Packets leave marks, and a failed op may have some done before it.
		now, lookErr = s.look(ctx, w)
	} else {
		s.see(w, now)
	}
	judge()
	settle(ctx, do, func() bool {
		if err != nil || lookErr != nil || s.View().Current != before {
			return true
		}
		now, lookErr = s.look(ctx, w)
		return false
	})
	if err := cmp.Or(s.checkLost(w, err), lookErr); err != nil {
		return Outcome{}, err
	}
	s.awaitPackets(ctx, before)
	out.Revision = now.Revision
	out.View = s.View()
	return out, nil
}

// settling is how long a program that was left running may take to bring up what
// it is there for.
const settling = 2 * time.Second

func leavesProgram(do []topo.Placed) bool {
	return slices.ContainsFunc(do, func(p topo.Placed) bool { r, ok := p.Op.(topo.Run); return ok && r.Background })
}

// settle waits until done, if a program was left running by the ops: what such
// a program does, it does when it is scheduled.
func settle(ctx context.Context, do []topo.Placed, done func() bool) {
	if !leavesProgram(do) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Exec runs a program with the learner's rights.
func (s *Session) Exec(ctx context.Context, r host.ExecRequest) (host.ExecResult, error) {
	w, err := s.reach(ctx)
	if err != nil {
		return host.ExecResult{}, err
	}
	if err := s.checkNode(ctx, w, r.Node); err != nil {
		return host.ExecResult{}, err
	}
	s.attempted()
	release, err := s.capturing(ctx)
	if err != nil {
		return host.ExecResult{}, err
	}
	defer release()
	before := s.View().Current
	res, err := w.Exec(ctx, r)
	if err != nil {
		return res, s.checkLost(w, err)
	}
	if _, err = s.look(ctx, w); err == nil {
		s.awaitPackets(ctx, before)
	}
	return res, err
}

// Probe sends packets from a node.
func (s *Session) Probe(ctx context.Context, p topo.Probe) (topo.ProbeResult, error) {
	w, err := s.reach(ctx)
	if err != nil {
		return topo.ProbeResult{}, err
	}
	if err := s.checkNode(ctx, w, p.From); err != nil {
		return topo.ProbeResult{}, err
	}
	s.attempted()
	defer s.hold()()
	r, err := s.send(ctx, w, p)
	if err != nil {
		return r, s.checkLost(w, err)
	}
	_, err = s.look(ctx, w)
	return r, err
}

// Predict notes a learner's answer to a step's question. An answer can be
// changed until the step is done.
func (s *Session) Predict(ctx context.Context, stepID, choice string) (View, error) {
	i := s.stepIndex(stepID)
	if i < 0 {
		return View{}, &Problem{Code: CodeNoStep, Subject: stepID}
	}
	step := s.plan().Steps[i]
	if step.Predict == nil || !slices.Contains(step.Predict.Options, choice) {
		return View{}, &Problem{Code: CodeBadChoice, Subject: choice}
	}
	s.mu.Lock()
	s.used()
	if slices.Contains(s.rec.Done, stepID) {
		s.mu.Unlock()
		return View{}, &Problem{Code: CodeStepDone, Subject: stepID}
	}
	if s.rec.Predictions == nil {
		s.rec.Predictions = map[string]Prediction{}
	}
	s.rec.Predictions[stepID] = Prediction{Choice: choice}
	s.tell()
	rec, view := s.snapshotRecord(), s.makeView()
	s.mu.Unlock()
	return view, s.reg.save(ctx, rec)
}

// Reset makes the world anew, as it is at the start of a step; an empty step is
// the first.
func (s *Session) Reset(ctx context.Context, stepID string) (View, error) {
	n := 0
	if stepID != "" {
		if n = s.stepIndex(stepID); n < 0 {
			return View{}, &Problem{Code: CodeNoStep, Subject: stepID}
		}
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return View{}, &Problem{Code: CodeBusy, Err: ctx.Err()}
	}
	defer func() { <-s.turn }()
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return View{}, &Problem{Code: CodeNoSession}
	}
	s.spend()
	// Steps before n count as done: the new world has their result.
	s.rec.Done = nil
	for i, step := range s.plan().Steps {
		if i < n {
			s.rec.Done = append(s.rec.Done, step.ID)
		} else {
			delete(s.rec.Predictions, step.ID)
			delete(s.rec.Changes, step.ID)
		}
	}
	s.rec.Ops = nil
	s.hint = ""
	s.state = StateRebuilding // the old world says nothing about steps any more
	s.used()
	old := s.world
	s.mu.Unlock()
	if old != nil {
		s.gatherHistory(ctx, old)
	}
	if _, err := s.build(ctx, n); err != nil {
		return View{}, err
	}
	return s.View(), nil
}

// Subscribe delivers the view and a snapshot first and then every change, until
// ctx ends, the session ends or the subscriber is cancelled; then the channel is
// closed. A reader that falls behind gets view and snapshot again in place of
// what it missed.
func (s *Session) Subscribe(ctx context.Context) (<-chan Event, error) {
	if _, err := s.reach(ctx); err != nil {
		return nil, err
	}
	return s.subscribe(ctx)
}

// subscribe is Subscribe to a world that stands.
func (s *Session) subscribe(ctx context.Context) (<-chan Event, error) {
	ch := make(chan Event, 64)
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, &Problem{Code: CodeNoSession}
	}
	s.subs[ch] = struct{}{}
	s.catchUp(ch)
	s.startWatch()
	s.mu.Unlock()
	s.reg.tasks.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.reg.ctx.Done():
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.subs[ch]; !ok {
			return // the session ended and closed it
		}
		delete(s.subs, ch)
		close(ch)
		if !s.watched() {
			s.stopWatch()
		}
	})
	return ch, nil
}

// --- below: the caller holds s.mu, where not said otherwise

func (s *Session) snapshotRecord() record {
	rec := s.rec
	rec.Done = slices.Clone(rec.Done)
	rec.Predictions = map[string]Prediction{}
	for k, v := range s.rec.Predictions {
		rec.Predictions[k] = v
	}
	rec.History, rec.Changes = maps.Clone(s.rec.History), maps.Clone(s.rec.Changes)
	rec.Lived = s.lived()
	rec.Basis = s.standsOn()
	return rec
}

// standsOn is the basis of the world as it is.
func (s *Session) standsOn() []byte {
	at := basedOn{s.plan(), len(s.rec.Done)}
	if !s.stale && s.based != at {
		s.rec.Basis, s.based = basis(at.plan, at.steps), at
	}
	return s.rec.Basis
}

// basedOn is what a basis was found for.
type basedOn struct {
	plan  *labs.Plan
	steps int
}

func (s *Session) makeView() View {
	v := View{ID: s.rec.ID, Lab: s.rec.Lab, Variant: s.rec.Variant, Language: s.rec.Language, State: s.state,
		Steps: []StepView{}, Nodes: []topo.NodeID{}}
	for _, step := range s.plan().Steps {
		sv := StepView{ID: step.ID, State: StepTodo}
		if slices.Contains(s.rec.Done, step.ID) {
			sv.State = StepDone
		} else if v.Current == "" {
			v.Current = step.ID
			if s.hint != "" {
				sv.Hint = s.lesson.Load().text.Steps[step.ID].Hints[s.hint]
			}
		}
		if p, ok := s.rec.Predictions[step.ID]; ok {
			sv.Prediction = &p
		}
		v.Steps = append(v.Steps, sv)
	}
	for _, n := range s.now.Nodes {
		v.Nodes = append(v.Nodes, n.ID)
	}
	v.Ends, v.Stale = s.warned(), s.stale
	v.Kept = len(s.rec.Ops)
	return v
}

// tell sends the view to the subscribers if it changed.
func (s *Session) tell() {
	if v := s.makeView(); !reflect.DeepEqual(v, s.view) {
		s.view = v
		s.broadcast(Event{View: &v})
	}
}

func (s *Session) broadcast(e Event) {
	for ch := range s.subs {
		select {
		case ch <- e:
		default:
			// Too slow: forget what waits and start it afresh.
			for drained := false; !drained; {
				select {
				case <-ch:
				default:
					drained = true
				}
			}
			s.catchUp(ch)
		}
	}
}

// catchUp puts the present into an empty channel.
func (s *Session) catchUp(ch chan Event) {
	v, now := s.makeView(), s.now
	ch <- Event{View: &v}
	ch <- Event{Update: &topo.Update{Snapshot: &now}}
	if len(s.mistakes) > 0 {
		ch <- Event{Lesson: &Lesson{s.mistakes}}
	}
}

// startWatch follows the world while somebody looks or types.
func (s *Session) startWatch() {
	if s.watching != nil || s.world == nil || !s.watched() || s.reg.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.reg.ctx)
	s.watching = cancel
	w := s.world
	s.reg.tasks.Go(func() { s.follow(ctx, w) })
	s.holdPackets()
}

func (s *Session) stopWatch() {
	if s.watching != nil {
		s.watching()
		s.watching = nil
		s.holdPackets()
	}
}

// follow runs without s.mu. It keeps its own copy of the world, as told by the
// host, and lets the session see each state of it.
func (s *Session) follow(ctx context.Context, w host.World) {
	updates, err := w.Watch(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("watch", "session", s.rec.ID, "err", err)
			s.checkLost(w, err)
		}
		return
	}
	var seen topo.Snapshot
	for u := range updates {
		switch {
		case u.Snapshot != nil:
			seen = *u.Snapshot
		case u.Diff != nil:
			next, err := u.Diff.Apply(seen)
			if err != nil {
				s.log.Error("watch", "session", s.rec.ID, "err", err)
				continue // the host sends a snapshot after a gap
			}
			seen = next
		}
		s.see(w, seen)
	}
	if ctx.Err() == nil {
		s.mu.Lock()
		lost := s.world == w && !s.ended
		s.mu.Unlock()
		if lost {
			s.lose()
		}
	}
}

// look reads the world and sees it. Without s.mu.
func (s *Session) look(ctx context.Context, w host.World) (topo.Snapshot, error) {
	now, err := w.Snapshot(ctx)
	if err != nil {
		return now, s.checkLost(w, err)
	}
	s.see(w, now)
	return now, nil
}

// see takes a newer state of the world: subscribers get the difference, checks
// are judged. Without s.mu.
func (s *Session) see(w host.World, now topo.Snapshot) {
	s.mu.Lock()
	if s.world != w {
		s.mu.Unlock()
		return
	}
	if now.Revision > s.now.Revision {
		d := topo.Compare(s.now, now)
		if s.typed && s.holding == 0 && rewired(s.now, now) {
			s.attempt()
		}
		s.now = now
		s.packets.See(now)
		s.broadcast(Event{Update: &topo.Update{Diff: &d}})
	}
	s.judgeAndSave()
}

// judgeAndSave judges, tells and keeps what came of it. The caller holds s.mu,
// which it gives back.
func (s *Session) judgeAndSave() {
	changed := s.judge()
	s.holdPackets()
	s.tell()
	rec := s.snapshotRecord()
	s.mu.Unlock()
	if changed {
		if err := s.reg.save(s.reg.ctx, rec); err != nil {
			s.log.Error("save", "session", rec.ID, "err", err)
		}
	}
}

// judge moves on through every step whose check the state fulfils, and picks the
// hint for the first that it doesn't. It says whether a step was done.
func (s *Session) judge() (changed bool) {
	if s.holding > 0 || s.state == StateRebuilding {
		return false
	}
	s.hint = ""
	for i := range s.plan().Steps {
		step := &s.plan().Steps[i]
		if slices.Contains(s.rec.Done, step.ID) {
			continue
		}
		state := labs.State{Now: s.now, Since: s.since, Probes: s.probes, Probing: s.probing}
		if needsPackets(step) {
			state.Packets = s.packets.Sightings(s.begun)
		}
		done, err := step.Check.Eval(s.reg.ctx, state)
		if err != nil {
			s.log.Error("check", "session", s.rec.ID, "step", step.ID, "err", err)
			return changed
		}
		if !done {
			s.hint = s.pickHint(step, state)
			return changed
		}
		s.spend()
		s.rec.Done = append(s.rec.Done, step.ID)
		changed = true
		if p, ok := s.rec.Predictions[step.ID]; ok && step.Predict != nil {
			answer, err := step.Predict.Answer.Eval(s.reg.ctx, state)
			if err != nil {
				s.log.Error("predict", "session", s.rec.ID, "step", step.ID, "err", err)
			} else {
				right := answer == p.Choice
				p.Answer, p.Right = answer, &right
				s.rec.Predictions[step.ID] = p
			}
		}
		s.passed(step)
		s.noteChanges(step.ID)
		s.since, s.begun, s.probes = s.now, time.Now(), nil
	}
	return changed
}

func (s *Session) pickHint(step *labs.Step, state labs.State) string {
	for _, h := range step.Hints {
		if h.When == nil {
			return h.ID
		}
		yes, err := h.When.Eval(s.reg.ctx, state)
		if err != nil {
			s.log.Error("hint", "session", s.rec.ID, "step", step.ID, "hint", h.ID, "err", err)
			continue
		}
		if yes {
			return h.ID
		}
	}
	return ""
}

// --- small things; without s.mu

// hold lets the checks wait until the returned function is called, which judges.
// They must not see a result before the counters that its packets have moved: what
// these rise by later would be taken for the next step's.
func (s *Session) hold() (judge func()) {
	s.mu.Lock()
	s.holding++
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.holding--
		if s.world == nil {
			s.mu.Unlock()
			return
		}
		s.judgeAndSave()
	})
}

// send probes and notes the result. While it is under way the checks know of it.
func (s *Session) send(ctx context.Context, w host.World, p topo.Probe) (topo.ProbeResult, error) {
	s.mu.Lock()
	s.probing = append(s.probing, p)
	s.mu.Unlock()
	r, err := w.Probe(ctx, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.probing, p); i >= 0 {
		s.probing = slices.Delete(slices.Clone(s.probing), i, i+1)
	}
	if err != nil || s.world != w {
		return r, err
	}
	s.probes = append(s.probes, r)
	if extra := len(s.probes) - maxKeptProbes; extra > 0 {
		s.probes = slices.Clone(s.probes[extra:])
	}
	s.broadcast(Event{Probe: &r})
	return r, nil
}

func (s *Session) stepIndex(id string) int {
	return slices.IndexFunc(s.plan().Steps, func(st labs.Step) bool { return st.ID == id })
}

func (s *Session) currentStep(id string) (*labs.Step, error) {
	i := s.stepIndex(id)
	if i < 0 {
		return nil, &Problem{Code: CodeNoStep, Subject: id}
	}
	switch v := s.View(); {
	case v.Steps[i].State == StepDone:
		return nil, &Problem{Code: CodeStepDone, Subject: id}
	case v.Current != id:
		return nil, &Problem{Code: CodeOutOfOrder, Subject: v.Current}
	}
	return &s.plan().Steps[i], nil
}

// checkNode reads the world again before it refuses a node: it may have been
// made a moment ago.
func (s *Session) checkNode(ctx context.Context, w host.World, id topo.NodeID) error {
	known := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now.Node(id) != nil
	}
	if known() {
		return nil
	}
	if _, err := s.look(ctx, w); err != nil {
		return err
	}
	if !known() {
		return &Problem{Code: CodeNoNode, Subject: string(id)}
	}
	return nil
}

func ops(commands []labs.Command) []topo.Placed {
	out := make([]topo.Placed, len(commands))
	for i, c := range commands {
		out[i] = c.Op
	}
	return out
}

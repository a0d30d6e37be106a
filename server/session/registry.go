// Package session runs learners' ways through labs: which step is current, the
// world that belongs to it, its latest snapshot, the checks, and who is looking.
// It must not know HTTP or the kernel: it speaks to a host.Host and keeps its
// records where it is told to.
package session

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/capture"
)

// Code is one of the few kinds of problem that a learner is told about; the
// words are found elsewhere, by code and language.
type Code string

// The codes of this package. Failures of the host keep theirs (host.CodeOf).
const (
	CodeNoSession  Code = "no-such-session" // or the token is not its
	CodeNoLab      Code = "no-such-lab"
	CodeNoVariant  Code = "no-such-variant"
	CodeNoStep     Code = "no-such-step"
	CodeNoNode     Code = "no-such-node"
	CodeBadCommand Code = "bad-command" // wraps a *labs.SyntaxError
	CodeBadChoice  Code = "no-such-choice"
	CodeStepDone   Code = "step-done"
	CodeOutOfOrder Code = "step-out-of-order" // Subject is the step that comes first
	CodeBusy       Code = "busy"
	CodeFull       Code = "full" // Subject is the number of worlds there are
)

// Problem is a refusal with its code; Subject is the thing that it is about.
type Problem struct {
	Code    Code
	Subject string
	Err     error
}

func (p *Problem) Error() string {
	s := string(p.Code)
	if p.Subject != "" {
		s += " " + p.Subject
	}
	if p.Err != nil {
		s += ": " + p.Err.Error()
	}
	return s
}

// Unwrap gives the cause, if any.
func (p *Problem) Unwrap() error { return p.Err }

// Records keeps sessions beyond the life of the process; an engine.Store is one.
// The revisions are not needed here: one server owns a session.
type Records interface {
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context) ([]string, error)
}

// DefaultVariant names the lab as its author wrote it, without substitutions.
const DefaultVariant = "default"

// Plan is the lab's plan of a variant; empty is the default. Codes: CodeNoLab,
// CodeNoVariant.
func (r *Registry) Plan(lab, variant string) (*labs.Lab, *labs.Plan, error) {
	return r.planWith(lab, variant, labs.Drawn{})
}

// planWith is Plan for a session that keeps what was drawn for it.
func (r *Registry) planWith(lab, variant string, kept labs.Drawn) (*labs.Lab, *labs.Plan, error) {
	if lab == labs.FreePlay {
		free, err := labs.ParseFree(variant)
		if err != nil {
			return nil, nil, &Problem{Code: CodeNoVariant, Subject: variant, Err: err}
		}
		return free.Plan()
	}
	l := r.Labs().Lab(lab)
	if lab == labs.Demo {
		l = r.Labs().Demo()
	}
	if l == nil {
		return nil, nil, &Problem{Code: CodeNoLab, Subject: lab}
	}
	if variant == DefaultVariant {
		variant = ""
	}
	plan, err := l.PlanWith(variant, kept)
	if err != nil {
		return nil, nil, &Problem{Code: CodeNoVariant, Subject: variant, Err: err}
	}
	return l, plan, nil
}

// Options of a Registry.
type Options struct {
	Host    host.Host
	Labs    *labs.Catalog
	Records Records
	Log     *slog.Logger
	// Learners keeps learners' progress; nil: it does not outlive the registry.
	Learners Records
	// MaxSessions that may have a world at once; 0: 300.
	MaxSessions int
	// Idle is how long a session where nobody is keeps its world; 0: for ever.
	Idle time.Duration
	// Total is how long a session may have a world in all, before it ends; 0: for
	// ever.
	Total time.Duration
	// DemoViewers is how many may watch the demo at once; 0: 1000.
	DemoViewers int
}

// Registry is all the sessions of a server.
type Registry struct {
	host    host.Host
	labs    atomic.Pointer[edition]
	records Records
	log     *slog.Logger
	max     int
	idle    time.Duration
	total   time.Duration

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*Session

	demo     demo
	learners *learners
}

// Open finds the sessions that were kept, takes over the worlds of theirs that
// still live, and destroys worlds that belong to nobody.
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{host: o.Host, records: o.Records, log: o.Log, max: o.MaxSessions, idle: o.Idle, total: o.Total, sessions: map[string]*Session{}}
	r.labs.Store(newEdition(o.Labs))
	if r.max == 0 {
		r.max = 300
	}
	r.learners = newLearners(o.Learners)
	if err := r.learners.recall(ctx, r.log); err != nil {
		return nil, err
	}
	kept, err := r.records.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the kept sessions: %w", err)
	}
	living, err := r.host.Worlds(ctx)
	if err != nil {
		return nil, fmt.Errorf("list worlds: %w", err)
	}
	r.demo = demo{reg: r, most: cmp.Or(o.DemoViewers, 1000)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	owned := map[host.WorldID]bool{}
	for _, key := range kept {
		s, err := r.restore(ctx, key)
		if err != nil {
			// A record that this version can't use (its lab is gone) is told and
			// left alone: another version may know it.
			r.log.Warn("a kept session can't be restored", "session", key, "err", err)
			continue
		}
		r.sessions[s.rec.ID] = s
		if !s.rec.Built || !slices.Contains(living, s.rec.World) {
			continue
		}
		w, err := r.host.World(ctx, s.rec.World)
		if err != nil {
			continue // it died since it was listed
		}
		now, err := w.Snapshot(ctx)
		if err != nil {
			continue
		}
		owned[s.rec.World] = true
		s.stale = s.rec.Basis != nil && !bytes.Equal(s.rec.Basis, basis(s.plan(), len(s.rec.Done)))
		s.adopt(w, now)
	}
	for _, id := range living {
		if owned[id] {
			continue
		}
		if w, err := r.host.World(ctx, id); err == nil {
			r.destroy(w)
		}
	}
	r.tasks.Go(r.tendLearners)
	if r.idle > 0 || r.total > 0 {
		r.tasks.Go(r.tend)
	}
	return r, nil
}

func (r *Registry) restore(ctx context.Context, key string) (*Session, error) {
	b, _, err := r.records.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, err
	}
	return r.newSession(rec)
}

func (r *Registry) newSession(rec record) (*Session, error) {
	lab, plan, err := r.planWith(rec.Lab, rec.Variant, rec.Drawn)
	if err != nil {
		return nil, err
	}
	rec.Drawn = plan.Drawn
	rec.Variant = plan.Variant
	if rec.Variant == "" {
		rec.Variant = DefaultVariant
	}
	// Steps that the lab no longer has are forgotten.
	rec.Done = known(rec.Done, plan)
	s := &Session{reg: r, log: r.log, turn: make(chan struct{}, 1), rec: rec, state: StateGone,
		subs: map[chan Event]struct{}{}, terminals: map[string]*Terminal{}, shells: map[topo.NodeID]bool{}, lastUsed: time.Now(), counted: time.Now()}
	s.lesson.Store(&lesson{lab, plan, plan.Text(rec.Language)})
	s.packets = capture.NewHub(capture.Options{Log: r.log.With("session", rec.ID), Retire: r.retire, Changed: s.packetsChanged})
	return s, nil
}

// Labs is the catalogue.
func (r *Registry) Labs() *labs.Catalog { return r.labs.Load().Catalog }

// Host is where the worlds are.
func (r *Registry) Host() host.Host { return r.host }

// Counts tells how many sessions are known, how many have a world, and how many
// terminals are open.
func (r *Registry) Counts() (sessions, worlds, terminals int) {
	all := r.all()
	for _, s := range all {
		s.mu.Lock()
		if s.world != nil {
			worlds++
		}
		terminals += len(s.terminals)
		s.mu.Unlock()
	}
	return len(all), worlds, terminals
}

// full is the refusal of another world where there are as many as there may be;
// nil where there is room.
func (r *Registry) full() *Problem {
	if _, worlds, _ := r.Counts(); worlds >= r.max {
		return &Problem{Code: CodeFull, Subject: strconv.Itoa(worlds)}
	}
	return nil
}

func (r *Registry) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.sessions))
}

// Create starts a session; when it returns, its world stands. The token is the
// learner's key to it and is not kept. For the variant labs.Personal a seed is
// drawn.
func (r *Registry) Create(ctx context.Context, lab, variant, language string) (s *Session, token string, err error) {
	if lab == labs.Demo {
		return nil, "", &Problem{Code: CodeNoLab, Subject: lab} // it is everybody's
	}
	if full := r.full(); full != nil && !r.demo.giveWay() {
		return nil, "", full
	}
	if l := r.Labs().Lab(lab); l != nil && l.Personal() && variant == labs.Personal {
		variant = labs.DrawPersonal()
	}
	token, hash := newToken()
	s, err = r.newSession(record{ID: newID(), TokenHash: hash, Lab: lab, Variant: variant, Language: language, Created: time.Now().UTC()})
	if err != nil {
		return nil, "", err
	}
	r.mu.Lock()
	r.sessions[s.rec.ID] = s
	r.mu.Unlock()
	if _, end, err := s.begin(ctx); err != nil {
		return nil, "", errors.Join(err, r.Delete(context.WithoutCancel(ctx), s))
	} else {
		end()
	}
	return s, token, nil
}

// Find is the session id if token is its key; otherwise CodeNoSession, without
// telling the two cases apart. A session that is found is in use.
func (r *Registry) Find(id, token string) (*Session, error) {
	r.mu.Lock()
	s := r.sessions[id]
	r.mu.Unlock()
	if s == nil || !s.authorises(token) {
		return nil, &Problem{Code: CodeNoSession, Subject: id}
	}
	s.use()
	return s, nil
}

// Delete ends a session: its world, its record, its subscribers.
func (r *Registry) Delete(ctx context.Context, s *Session) error {
	return r.end(ctx, s, EndDeleted)
}

// end is Delete with a reason.
func (r *Registry) end(ctx context.Context, s *Session, why string) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return &Problem{Code: CodeBusy, Err: ctx.Err()}
	}
	r.mu.Lock()
	delete(r.sessions, s.rec.ID)
	r.mu.Unlock()
	s.mu.Lock()
	s.spend()
	w := s.world
	s.world, s.state, s.ended = nil, StateGone, true
	s.endTerminals(nil, why)
	s.stopWatch()
	s.broadcast(Event{Ended: why})
	for ch := range s.subs {
		delete(s.subs, ch)
		close(ch)
	}
	s.mu.Unlock()
	s.packets.Close()
	var err error
	if w != nil {
		if err = w.Destroy(ctx); host.CodeOf(err) == host.CodeNotFound {
			err = nil
		}
	}
	return errors.Join(err, r.records.Delete(ctx, s.rec.ID))
}

// Close lets go of everything and waits. Records and worlds stay: whoever opens
// next finds them.
func (r *Registry) Close() error {
	for _, s := range r.all() {
		s.packets.Close()
	}
	r.stop()
	r.tasks.Wait()
	return nil
}

// destroy ends a world that nobody needs any more, out of the way of the learner.
func (r *Registry) destroy(w host.World) {
	r.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.Destroy(ctx); err != nil && host.CodeOf(err) != host.CodeNotFound {
			r.log.Error("destroy", "world", w.ID(), "err", err)
		}
	})
}

func (r *Registry) save(ctx context.Context, rec record) error {
	if rec.Lab == labs.Demo {
		return nil
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode session %s: %w", rec.ID, err)
	}
	if _, err := r.records.Put(ctx, rec.ID, b); err != nil {
		return fmt.Errorf("keep session %s: %w", rec.ID, err)
	}
	return nil
}

// newID is a public name: 60 random bits in lower case letters and digits.
func newID() string { return strings.ToLower(rand.Text()[:12]) }

package session

import (
	"context"
	"encoding/json"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
)

// Why a session's world goes.
const (
	EndDeleted = "deleted" // with the session, by who has it
	EndIdle    = "idle"    // nobody was there; the next request builds it again
	EndTotal   = "total"   // it has had its time, and the session ends
)

// Ends tells when the world goes, and why; it is known a while before.
type Ends struct {
	At  time.Time `json:"at"`
	In  float64   `json:"in" doc:"seconds from when this was said, for those whose clock is wrong"` // set when it is written
	Why string    `json:"why" enum:"idle,total" doc:"idle: nobody is there, and any use takes it back; total: the session has had its time"`
}

// MarshalJSON adds how long it is until then.
func (e Ends) MarshalJSON() ([]byte, error) {
	type plain Ends
	e.In = max(0, time.Until(e.At).Seconds())
	return json.Marshal(plain(e))
}

// warning is how long before its end a limit is told of.
func warning(limit time.Duration) time.Duration { return min(5*time.Minute, limit/5) }

// Attend counts somebody who is there, however little they do, until they leave.
// As long as anybody is, the session is not idle.
func (s *Session) Attend() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attending++
	s.used()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.attending--
		s.used()
	}
}

// use notes that somebody does something.
func (s *Session) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used()
}

// used is use, and takes back a warning. The caller holds s.mu.
func (s *Session) used() {
	s.lastUsed = time.Now()
	s.spend()
	if s.view.Ends != nil {
		s.tell()
	}
}

// attended says whether somebody is there. Who has only a terminal or a list of
// packets is; who has a stream says so by Attend, for those as well. The caller
// holds s.mu.
func (s *Session) attended() bool {
	if s.attending > 0 || len(s.subs) > 0 {
		return s.attending > 0
	}
	for _, t := range s.terminals {
		t.mu.Lock()
		n := len(t.viewers)
		t.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return s.looking > 0
}

// lived is how long the session has had a world, in all. The caller holds s.mu.
func (s *Session) lived() time.Duration {
	if s.world == nil {
		return s.rec.Lived
	}
	return s.rec.Lived + time.Since(s.stood)
}

// due is the end that comes next; its Why is empty if none does. The caller
// holds s.mu.
func (s *Session) due() (e Ends, limit time.Duration) {
	if s.world == nil || s.ended || s.rec.Lab == labs.Demo {
		return Ends{}, 0
	}
	if limit = s.reg.total; limit > 0 {
		e = Ends{At: s.stood.Add(limit - s.rec.Lived), Why: EndTotal}
	}
	if idle := s.reg.idle; idle > 0 && !s.attended() {
		if at := s.lastUsed.Add(idle); e.Why == "" || at.Before(e.At) {
			e, limit = Ends{At: at, Why: EndIdle}, idle
		}
	}
	return e, limit
}

// warned is the end that is to be told of now, if any. The caller holds s.mu.
func (s *Session) warned() *Ends {
	e, limit := s.due()
	if e.Why == "" || time.Until(e.At) > warning(limit) {
		return nil
	}
	e.At = e.At.Round(time.Millisecond).UTC() // what is told twice is told alike
	return &e
}

// tend keeps the limits: it warns, parks the idle and ends what has had its time.
func (r *Registry) tend() {
	every := time.Second
	for _, limit := range []time.Duration{r.idle, r.total} {
		if limit > 0 {
			every = min(every, max(limit/10, time.Millisecond))
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		for _, s := range r.all() {
			r.tendTo(s)
		}
	}
}

func (r *Registry) tendTo(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.warned(); (now == nil) != (s.view.Ends == nil) || now != nil && *now != *s.view.Ends {
		s.tell()
	}
	e, _ := s.due()
	if e.Why == "" || time.Until(e.At) > 0 || s.ending {
		return
	}
	s.ending = true
	// Out of the way of other sessions: it may have to wait.
	r.tasks.Go(func() {
		if e.Why == EndIdle {
			r.park(s)
		} else {
			r.endTotal(s)
		}
		s.mu.Lock()
		s.ending = false // what could not be done is tried again
		s.mu.Unlock()
	})
}

// endTotal ends a session in turn with the learner's actions.
func (r *Registry) endTotal(s *Session) {
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	defer cancel()
	if err := r.end(ctx, s, EndTotal); err != nil {
		r.log.Error("end a session that has had its time", "session", s.rec.ID, "err", err)
	}
}

// park takes the world from a session where nobody is; it is built again when
// they come back.
func (r *Registry) park(s *Session) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	default:
		return // in use
	}
	s.mu.Lock()
	old := s.world
	s.mu.Unlock()
	if old != nil {
		s.gatherHistory(r.ctx, old)
	}
	s.mu.Lock()
	e, _ := s.due()
	if e.Why != EndIdle || time.Until(e.At) > 0 {
		s.mu.Unlock()
		return // somebody came
	}
	w := s.letGo(StateParked, EndIdle)
	rec := s.snapshotRecord()
	s.mu.Unlock()
	r.destroy(w)
	if err := r.save(r.ctx, rec); err != nil {
		r.log.Error("save", "session", rec.ID, "err", err)
	}
}

// letGo takes the world from the session, for the caller to destroy; its
// terminals are told why. The caller holds s.mu.
func (s *Session) letGo(state State, why string) host.World {
	w := s.world
	s.rec.Lived = s.lived()
	s.world, s.state = nil, state
	s.packets.Use(nil)
	s.endTerminals(nil, why)
	s.stopWatch()
	s.tell()
	return w
}

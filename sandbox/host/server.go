package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"kabel/sandbox/topo"
)

// How many requests a host and one of its worlds work on at a time; more are
// refused with CodeLimit.
const (
	maxInFlight         = 1024
	maxInFlightPerWorld = 32
)

// server answers the wire's requests with a Host.
type server struct {
	nc   *nats.Conn
	host Host
	id   string

	working   sync.WaitGroup
	mu        sync.Mutex
	closing   bool
	calls     int                           // in flight
	cancels   map[string]context.CancelFunc // of those whose caller gave an id
	busy      map[WorldID]int               // calls in flight by world
	streams   map[WorldID]*stream
	terminals map[string]*servedTerminal
	captures  map[string]*servedCapture
}

// Serve answers requests for the host h under the name id, until ctx ends or the
// connection is closed for good, which is an error. It waits for what it began,
// and does not close h.
func Serve(ctx context.Context, nc *nats.Conn, h Host, id string) error {
	if !topo.ValidNetnsName(id) {
		return Errorf(CodeInvalid, "%q can't name a host", id)
	}
	s := newServer(nc, h, id)
	ctx, cancel := context.WithCancel(ctx)
	defer s.working.Wait()
	defer cancel()
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	sub, err := nc.Subscribe(subject(id, "*"), func(m *nats.Msg) { s.accept(ctx, m) })
	if err != nil {
		return fmt.Errorf("serve %s: %w", id, err)
	}
	defer s.stop(sub)
	asked := make(chan struct{}, 1)
	hello, err := nc.Subscribe(helloSubject, func(*nats.Msg) {
		select {
		case asked <- struct{}{}:
		default: // the next beat is on its way
		}
	})
	if err != nil {
		return fmt.Errorf("serve %s: %w", id, err)
	}
	defer func() { _ = hello.Unsubscribe() }() // fails only where the connection is closed
	if nc.IsClosed() {                         // perhaps before closed could tell
		return fmt.Errorf("serve %s: %w", id, nats.ErrConnectionClosed)
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		s.beat(ctx, false)
		select {
		case <-tick.C:
			s.sweep(time.Now())
		case <-asked:
		case <-closed:
			return fmt.Errorf("serve %s: %w", id, nats.ErrConnectionClosed)
		case <-ctx.Done():
			s.beat(context.WithoutCancel(ctx), true)
			return nil
		}
	}
}

func newServer(nc *nats.Conn, h Host, id string) *server {
	return &server{nc: nc, host: h, id: id, cancels: map[string]context.CancelFunc{}, busy: map[WorldID]int{}, streams: map[WorldID]*stream{}, terminals: map[string]*servedTerminal{}, captures: map[string]*servedCapture{}}
}

// stop takes no more requests and ends all streams.
func (s *server) stop(sub *nats.Subscription) {
	_ = sub.Unsubscribe() // fails only where the connection is closed
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for _, st := range s.streams {
		st.cancel()
	}
	for _, t := range s.terminals {
		t.cancel()
	}
	for _, c := range s.captures {
		c.cancel()
	}
}

func (s *server) beat(ctx context.Context, gone bool) {
	st, err := s.status(ctx)
	if err != nil {
		return // a host that can't tell its status is better taken for silent
	}
	s.publish(beatSubject(s.id), beat{st, gone})
	if gone {
		_ = s.nc.FlushTimeout(beatEvery) // a courtesy; the silence says the same later
	}
}

func (s *server) status(ctx context.Context) (Status, error) {
	st, err := s.host.Status(ctx)
	st.ID = s.id
	return st, err
}

func (s *server) publish(subject string, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = s.nc.Publish(subject, b)
	}
	if errors.Is(err, nats.ErrMaxPayload) && strings.HasPrefix(subject, "kabel.stream.") {
		// The readers see the gap and ask for a snapshot, which says CodeLimit.
		_ = s.nc.Publish(subject, []byte(`{}`))
	}
	// Any other failure is the connection's, and Serve sees its end.
}

// accept begins a request. It must not block: all requests come through here.
func (s *server) accept(ctx context.Context, m *nats.Msg) {
	v := verb(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	id := m.Header.Get(headerID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == verbCancel {
		if cancel := s.cancels[id]; cancel != nil {
			cancel()
		}
		return
	}
	if s.closing {
		s.respond(m, reply{Error: toWire(Errorf(CodeUnavailable, "host %s is closing", s.id))})
		return
	}
	if s.calls >= maxInFlight {
		s.respond(m, reply{Error: toWire(Errorf(CodeLimit, "host %s works on %d requests already", s.id, maxInFlight))})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, budget(m.Header.Get(headerBudget)))
	s.calls++
	if id != "" {
		s.cancels[id] = cancel
	}
	s.working.Go(func() {
		r := s.handle(ctx, v, m.Data)
		cancel()
		s.respond(m, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls--
		delete(s.cancels, id)
	})
}

func budget(header string) time.Duration {
	ms, err := strconv.ParseInt(header, 10, 64)
	if err != nil || ms > maxBudget.Milliseconds() {
		return maxBudget
	}
	return time.Duration(ms) * time.Millisecond
}

func (s *server) respond(m *nats.Msg, r reply) {
	if m.Reply != "" {
		_ = m.Respond(encode(r, s.nc.MaxPayload())) // a failure is the connection's
	}
}

// handle does one request, whatever it is.
func (s *server) handle(ctx context.Context, v verb, data []byte) reply {
	r, err := decodeRequest(data)
	if err != nil {
		return reply{Error: toWire(err)}
	}
	if v == verbCreate && r.Spec != nil {
		r.World = r.Spec.ID
	}
	leave, err := s.enter(r.World)
	if err != nil {
		return reply{Error: toWire(err)}
	}
	defer leave()
	out, err := s.do(ctx, v, r)
	if err != nil {
		out.Error = toWire(err)
	}
	return out
}

// enter counts a request of a world; leave must be called when it is done.
func (s *server) enter(id WorldID) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != "" && s.busy[id] >= maxInFlightPerWorld {
		return nil, Errorf(CodeLimit, "world %s works on %d requests already", id, maxInFlightPerWorld)
	}
	s.busy[id]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy[id]--; s.busy[id] == 0 {
			delete(s.busy, id)
		}
	}, nil
}

func (s *server) do(ctx context.Context, v verb, r request) (out reply, err error) {
	missing := func(what string) (reply, error) {
		return reply{}, Errorf(CodeInvalid, "a %s request without %s", v, what)
	}
	switch v {
	case verbCreate:
		if r.Spec == nil {
			return missing("a spec")
		}
		_, err = s.host.Create(ctx, *r.Spec)
		return out, err
	case verbWorlds:
		out.Worlds, err = s.host.Worlds(ctx)
		return out, err
	case verbStatus:
		st, err := s.status(ctx)
		return reply{Status: &st}, err
	case verbUnwatch:
		s.unwatch(r.World, r.Lease)
		return out, nil
	case verbWorld, verbApply, verbExec, verbProbe, verbSnapshot, verbDestroy, verbWatch, verbTerminal, verbCapture:
	default:
		return out, Errorf(CodeInvalid, "there is no request %q", v)
	}
	w, err := s.host.World(ctx, r.World)
	if err != nil {
		return out, err
	}
	switch v {
	case verbApply:
		var after topo.Snapshot
		after, err = w.Apply(ctx, r.Ops)
		out.Snapshot = &after
	case verbExec:
		if r.Exec == nil {
			return missing("a program")
		}
		var res ExecResult
		res, err = w.Exec(ctx, *r.Exec)
		out.Exec = &res
	case verbProbe:
		if r.Probe == nil {
			return missing("a probe")
		}
		var res topo.ProbeResult
		res, err = w.Probe(ctx, *r.Probe)
		out.Probe = &res
	case verbSnapshot:
		var snap topo.Snapshot
		snap, err = w.Snapshot(ctx)
		out.Snapshot = &snap
	case verbDestroy:
		err = w.Destroy(ctx)
	case verbTerminal:
		if r.Terminal == nil {
			return missing("a terminal")
		}
		err = s.openTerminal(ctx, w, r.Lease, *r.Terminal)
	case verbCapture:
		if r.Capture == nil {
			return missing("a capture")
		}
		err = s.openCapture(ctx, w, r.Lease, *r.Capture)
	case verbWatch:
		if r.Lease == "" {
			return missing("a lease")
		}
		out.Stream, out.Revision, err = s.watch(w, r.Lease)
	}
	return out, err
}

// stream publishes the updates of one world.
type stream struct {
	name   string
	cancel context.CancelFunc
	leases map[string]time.Time // when each runs out
	last   topo.Rev             // that was published
}

// watch takes or renews a lease on the world's stream, and begins it if need be.
func (s *server) watch(w World, lease string) (string, topo.Rev, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return "", 0, Errorf(CodeUnavailable, "host %s is closing", s.id)
	}
	st := s.streams[w.ID()]
	if st == nil {
		// The stream outlives the request; stop, sweep and unwatch end it.
		ctx, cancel := context.WithCancel(context.Background())
		updates, err := w.Watch(ctx)
		if err != nil {
			cancel()
			return "", 0, err
		}
		st = &stream{name: nats.NewInbox()[len(nats.InboxPrefix):], cancel: cancel, leases: map[string]time.Time{}}
		s.streams[w.ID()] = st
		s.working.Go(func() {
			defer cancel()
			s.pump(w.ID(), st, updates)
		})
	}
	st.leases[lease] = time.Now().Add(leaseTime)
	return st.name, st.last, nil
}

// pump publishes updates until their end.
func (s *server) pump(id WorldID, st *stream, updates <-chan topo.Update) {
	for u := range updates {
		s.publish(streamSubject(st.name), streamed{Update: u})
		s.mu.Lock()
		if u.Snapshot != nil {
			st.last = u.Snapshot.Revision
		} else {
			st.last = u.Diff.To
		}
		s.mu.Unlock()
	}
	s.publish(streamSubject(st.name), streamed{End: true})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[id] == st {
		delete(s.streams, id)
	}
}

func (s *server) unwatch(id WorldID, lease string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[id]; st != nil {
		delete(st.leases, lease)
		s.endUnleased(id, st)
	}
}

// sweep ends the streams whose readers have all gone silent.
func (s *server) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.streams {
		for lease, end := range st.leases {
			if now.After(end) {
				delete(st.leases, lease)
			}
		}
		s.endUnleased(id, st)
	}
}

func (s *server) endUnleased(id WorldID, st *stream) {
	if len(st.leases) == 0 {
		st.cancel()
		delete(s.streams, id) // a new reader gets a new stream
	}
}

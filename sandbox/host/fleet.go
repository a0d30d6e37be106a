package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Fleet is all living hosts of an engine as one Host. It finds them by their
// heartbeats, puts a new world on the host with the fewest, and finds a world
// wherever it is.
type Fleet struct {
	nc       *nats.Conn
	beats    *nats.Subscription
	mu       sync.Mutex
	hosts    map[string]*Client
	placing  map[string]int     // worlds under creation, by host
	creating map[WorldID]bool   // so that no two hosts make the same
	owners   map[WorldID]string // where a world was seen last; only a hint
	closing  sync.WaitGroup     // of hosts that have gone
	closed   bool
}

var _ Host = (*Fleet)(nil)

// OpenFleet begins to look for hosts: those that live are found at once, others
// within a second of their start.
func OpenFleet(nc *nats.Conn) (*Fleet, error) {
	f := &Fleet{nc: nc, hosts: map[string]*Client{}, placing: map[string]int{}, creating: map[WorldID]bool{}, owners: map[WorldID]string{}}
	var err error
	if f.beats, err = nc.Subscribe(beatSubject("*"), f.heartbeat); err != nil {
		return nil, &Error{Code: CodeUnavailable, Err: err}
	}
	_ = nc.Publish(helloSubject, nil) // if lost, the next beat comes anyway
	return f, nil
}

func (f *Fleet) heartbeat(m *nats.Msg) {
	var b beat
	if json.Unmarshal(m.Data, &b) != nil || m.Subject != beatSubject(b.ID) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	c := f.hosts[b.ID]
	if c == nil {
		if b.Gone {
			return
		}
		c = newClient(f.nc, b.ID)
		f.hosts[b.ID] = c
	}
	c.heartbeat(b)
	for id, c := range f.hosts {
		if _, alive := c.state(); !alive {
			delete(f.hosts, id)
			f.closing.Go(func() { _ = c.Close() }) // it has no subscription that could fail
		}
	}
}

// state is what the host said last, and whether that still counts.
func (c *Client) state() (Status, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.alive.Err() == nil
}

// Hosts lists the living hosts, the least loaded first.
func (f *Fleet) Hosts() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	living := []Status{}
	for _, c := range f.hosts {
		if st, alive := c.state(); alive {
			living = append(living, st)
		}
	}
	slices.SortFunc(living, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Worlds+f.placing[a.ID], b.Worlds+f.placing[b.ID]), strings.Compare(a.ID, b.ID))
	})
	return living
}

// Client is the client of one host; nil if it is not known. It belongs to f.
func (f *Fleet) Client(id string) *Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[id]
}

// Create implements Host. A host that turns out to be gone is passed over.
func (f *Fleet) Create(ctx context.Context, spec Spec) (World, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	exists := Errorf(CodeExists, "world %s lives already", spec.ID)
	f.mu.Lock()
	if f.creating[spec.ID] {
		f.mu.Unlock()
		return nil, exists
	}
	f.creating[spec.ID] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.creating, spec.ID)
	}()
	switch _, err := f.World(ctx, spec.ID); {
	case err == nil:
		return nil, exists
	case CodeOf(err) != CodeNotFound:
		return nil, err
	}
	for _, st := range f.Hosts() {
		c := f.Client(st.ID)
		if c == nil {
			continue
		}
		f.count(st.ID, 1)
		w, err := c.Create(ctx, spec)
		f.count(st.ID, -1)
		if errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		if err == nil {
			f.found(spec.ID, st.ID)
		}
		return w, err
	}
	return nil, errNoHost
}

var errNoHost = Errorf(CodeUnavailable, "no host is alive")

func (f *Fleet) count(host string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.placing[host] += n; f.placing[host] == 0 {
		delete(f.placing, host)
	}
}

func (f *Fleet) found(id WorldID, host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owners[id] = host
}

// World implements Host.
func (f *Fleet) World(ctx context.Context, id WorldID) (World, error) {
	f.mu.Lock()
	hint := f.owners[id]
	f.mu.Unlock()
	living := f.Hosts()
	if len(living) == 0 {
		return nil, errNoHost
	}
	if i := slices.IndexFunc(living, func(st Status) bool { return st.ID == hint }); i > 0 {
		living[0], living[i] = living[i], living[0]
	}
	err := error(Errorf(CodeNotFound, "there is no world %q", id))
	for _, st := range living {
		c := f.Client(st.ID)
		if c == nil {
			continue
		}
		w, e := c.World(ctx, id)
		switch {
		case e == nil:
			f.found(id, st.ID)
			return w, nil
		case CodeOf(e) != CodeNotFound && !errors.Is(e, nats.ErrNoResponders):
			err = e // it may be there
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.owners, id)
	return nil, err
}

// Worlds implements Host.
func (f *Fleet) Worlds(ctx context.Context) ([]WorldID, error) {
	all := []WorldID{}
	for _, st := range f.Hosts() {
		c := f.Client(st.ID)
		if c == nil {
			continue
		}
		ids, err := c.Worlds(ctx)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			return nil, err
		}
		all = append(all, ids...)
	}
	slices.Sort(all)
	return all, nil
}

// Status implements Host: the sum of all hosts. What one of them can't do is
// said with its name, unless there is only one.
func (f *Fleet) Status(ctx context.Context) (Status, error) {
	living := f.Hosts()
	if len(living) == 0 {
		return Status{}, errNoHost
	}
	sum := Status{ID: "fleet", Missing: []string{}}
	for _, st := range living {
		c := f.Client(st.ID)
		if c == nil {
			continue
		}
		now, err := c.Status(ctx)
		if err != nil {
			return Status{}, err
		}
		sum.Worlds += now.Worlds
		sum.Rootless = sum.Rootless || now.Rootless
		for _, m := range now.Missing {
			if len(living) > 1 {
				m = st.ID + ": " + m
			}
			sum.Missing = append(sum.Missing, m)
		}
	}
	return sum, nil
}

// Close implements Host. The hosts and their worlds stay.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	hosts := f.hosts
	f.hosts = map[string]*Client{}
	f.mu.Unlock()
	var errs []error
	if err := f.beats.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		errs = append(errs, err)
	}
	for _, c := range hosts {
		errs = append(errs, c.Close())
	}
	f.closing.Wait()
	return errors.Join(errs...)
}

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"kabel/sandbox/topo"
)

// Connect is a connection to the engine over conn, which a sandbox process has
// inherited. The end of conn is the end of the connection.
func Connect(conn net.Conn, options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append(options, nats.InProcessServer(inherited{conn}), nats.NoReconnect())...)
}

// ConnectURL is a connection to an engine at a URL; it is made anew whenever it
// breaks. It waits for an engine that is not there yet until ctx ends; a token
// that the engine refuses is an error at once.
func ConnectURL(ctx context.Context, url, token string, options ...nats.Option) (*nats.Conn, error) {
	options = append(options, nats.Token(token), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))
	for {
		nc, err := nats.Connect(url, options...)
		if !errors.Is(err, nats.ErrNoServers) {
			return nc, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(reconnectWait):
		}
	}
}

const reconnectWait = 500 * time.Millisecond

type inherited struct{ net.Conn }

// InProcessConn implements nats.InProcessConnProvider.
func (i inherited) InProcessConn() (net.Conn, error) { return i.Conn, nil }

// Client is a Host behind the wire.
type Client struct {
	nc    *nats.Conn
	id    string
	beats *nats.Subscription

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	mu     sync.Mutex
	alive  context.Context // ends when the host falls silent
	heard  *time.Timer     // ends alive
	die    context.CancelFunc
	last   Status // that the host beat with
}

var _ Host = (*Client)(nil)

var errSilent = errors.New("the host is silent")

// Dial makes a client of the host of that id. It does not wait for the host:
// where there is none, requests fail with CodeUnavailable.
func Dial(nc *nats.Conn, id string) (*Client, error) {
	c := newClient(nc, id)
	beats, err := nc.Subscribe(beatSubject(id), func(m *nats.Msg) {
		var b beat
		if json.Unmarshal(m.Data, &b) == nil {
			c.heartbeat(b)
		}
	})
	if err != nil {
		return nil, errors.Join(&Error{Code: CodeUnavailable, Err: err}, c.Close())
	}
	c.beats = beats
	return c, nil
}

// newClient is a client that somebody else tells of heartbeats.
func newClient(nc *nats.Conn, id string) *Client {
	c := &Client{nc: nc, id: id}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.alive, c.die = context.WithCancel(c.ctx)
	c.heard = time.AfterFunc(silence, c.silent)
	return c
}

func (c *Client) heartbeat(b beat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case b.Gone:
		c.die()
	case c.ctx.Err() == nil:
		if c.alive.Err() != nil {
			c.alive, c.die = context.WithCancel(c.ctx)
		}
		c.last = b.Status
		c.heard.Reset(silence)
	}
}

func (c *Client) silent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.die()
}

// Close ends the client's calls and watches. The host and its worlds stay.
func (c *Client) Close() error {
	c.mu.Lock()
	c.cancel()
	c.heard.Stop()
	c.mu.Unlock()
	c.tasks.Wait()
	if c.beats == nil {
		return nil
	}
	if err := c.beats.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("host %s: %w", c.id, err)
	}
	return nil
}

// call asks the host and waits for its answer.
func (c *Client) call(ctx context.Context, v verb, r request) (reply, error) {
	ctx, stopTimer := context.WithTimeout(ctx, maxBudget)
	defer stopTimer()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer c.whenSilent(func() { stop(errSilent) })()
	data, err := json.Marshal(r)
	if err != nil {
		return reply{}, Errorf(CodeInvalid, "%s: %w", v, err)
	}
	deadline, _ := ctx.Deadline()
	id := nats.NewInbox()
	m, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: subject(c.id, v),
		Header:  nats.Header{headerID: {id}, headerBudget: {strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)}},
		Data:    data,
	})
	if err != nil {
		return reply{}, c.failed(ctx, v, id, err)
	}
	var out reply
	if err := json.Unmarshal(m.Data, &out); err != nil {
		return reply{}, Errorf(CodeInternal, "%s: reply of host %s: %w", v, c.id, err)
	}
	if out.Error != nil {
		return out, out.Error.err()
	}
	return out, nil
}

// whenSilent calls end once the host falls silent. One that is silent already may
// be back and merely not have beaten yet, so it gets its time once more.
func (c *Client) whenSilent(end func()) (forget func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alive.Err() == nil {
		return context.AfterFunc(c.alive, end)
	}
	return time.AfterFunc(silence, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.alive.Err() != nil {
			end()
		}
	}).Stop
}

// failed says why there was no answer, and tells the host to stop if it is the
// caller who does not wait any more.
func (c *Client) failed(ctx context.Context, v verb, id string, err error) error {
	code := CodeUnavailable
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		err = errSilent
	case ctx.Err() != nil:
		code, err = CodeTimeout, ctx.Err()
		// If this is lost too, the request's budget ends it.
		_ = c.nc.PublishMsg(&nats.Msg{Subject: subject(c.id, verbCancel), Header: nats.Header{headerID: {id}}})
	case errors.Is(err, nats.ErrMaxPayload):
		code = CodeLimit
	}
	return Errorf(code, "%s at host %s: %w", v, c.id, err)
}

// Create implements Host.
func (c *Client) Create(ctx context.Context, spec Spec) (World, error) {
	if err := spec.Validate(); err != nil { // also what can't be encoded
		return nil, err
	}
	_, err := c.call(ctx, verbCreate, request{Spec: &spec})
	if err != nil {
		return nil, err
	}
	return &remote{c, spec.ID}, nil
}

// World implements Host.
func (c *Client) World(ctx context.Context, id WorldID) (World, error) {
	if _, err := c.call(ctx, verbWorld, request{World: id}); err != nil {
		return nil, err
	}
	return &remote{c, id}, nil
}

// Worlds implements Host.
func (c *Client) Worlds(ctx context.Context) ([]WorldID, error) {
	r, err := c.call(ctx, verbWorlds, request{})
	return r.Worlds, err
}

// Status implements Host.
func (c *Client) Status(ctx context.Context) (Status, error) {
	r, err := c.call(ctx, verbStatus, request{})
	return value(r.Status, err)
}

// value is what a reply must have where there is no error.
func value[T any](v *T, err error) (T, error) {
	var none T
	switch {
	case err != nil:
		return none, err
	case v == nil:
		return none, Errorf(CodeInternal, "an empty reply")
	}
	return *v, nil
}

// remote is a world of a Client's host.
type remote struct {
	c  *Client
	id WorldID
}

func (w *remote) ID() WorldID { return w.id }

func (w *remote) Apply(ctx context.Context, ops []topo.Placed) (topo.Snapshot, error) {
	for i, p := range ops {
		if p.Op == nil { // it has no form on the wire
			return topo.Snapshot{}, Errorf(CodeInvalid, "op %d is missing", i)
		}
	}
	r, err := w.c.call(ctx, verbApply, request{World: w.id, Ops: ops})
	return value(r.Snapshot, err)
}

func (w *remote) Exec(ctx context.Context, e ExecRequest) (ExecResult, error) {
	r, err := w.c.call(ctx, verbExec, request{World: w.id, Exec: &e})
	return value(r.Exec, err)
}

func (w *remote) Probe(ctx context.Context, p topo.Probe) (topo.ProbeResult, error) {
	r, err := w.c.call(ctx, verbProbe, request{World: w.id, Probe: &p})
	return value(r.Probe, err)
}

func (w *remote) Snapshot(ctx context.Context) (topo.Snapshot, error) {
	r, err := w.c.call(ctx, verbSnapshot, request{World: w.id})
	return value(r.Snapshot, err)
}

func (w *remote) Destroy(ctx context.Context) error {
	_, err := w.c.call(ctx, verbDestroy, request{World: w.id})
	return err
}

// Watch implements World. It ends, besides, when the host falls silent.
func (w *remote) Watch(ctx context.Context) (<-chan topo.Update, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{remote: w, lease: nats.NewInbox(), messages: make(chan *nats.Msg, 256)}
	joined := make(chan error)
	if !w.c.begin(func() {
		defer cancel()
		defer context.AfterFunc(w.c.ctx, cancel)()
		defer f.leave()
		err := f.join(ctx)
		joined <- err
		if err == nil {
			defer f.feed.Close()
			f.run(ctx)
		}
	}) {
		cancel()
		return nil, Errorf(CodeUnavailable, "the client of host %s is closed", w.c.id)
	}
	if err := <-joined; err != nil {
		return nil, err
	}
	return f.feed.Watch(ctx), nil
}

// begin starts a task that Close waits for, unless the client is closed.
func (c *Client) begin(task func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.tasks.Go(task)
	return true
}

// follower keeps a Feed that is a copy of the world's own.
type follower struct {
	*remote
	lease    string
	stream   string
	messages chan *nats.Msg
	sub      *nats.Subscription
	feed     *Feed
}

// join subscribes to the stream first and asks for a snapshot then: both go the
// same way in this order, so no update is missed in between.
func (f *follower) join(ctx context.Context) error {
	r, err := f.c.call(ctx, verbWatch, request{World: f.id, Lease: f.lease})
	if err != nil {
		return err
	}
	if f.sub != nil {
		_ = f.sub.Unsubscribe() // from a stream that is no more
	}
	f.stream = r.Stream
	if f.sub, err = f.c.nc.ChanSubscribe(streamSubject(f.stream), f.messages); err != nil {
		return Errorf(CodeUnavailable, "watch: %w", err)
	}
	return f.resync(ctx)
}

func (f *follower) resync(ctx context.Context) error {
	s, err := f.Snapshot(ctx)
	if err != nil {
		return err
	}
	if f.feed == nil {
		f.feed = feedFrom(s)
	} else {
		f.feed.follow(topo.Update{Snapshot: &s})
	}
	return nil
}

// run follows the stream and renews the lease until there is no more to follow.
func (f *follower) run(ctx context.Context) {
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		f.c.mu.Lock()
		alive := f.c.alive
		f.c.mu.Unlock()
		var err error
		select {
		case m := <-f.messages:
			var s streamed
			if json.Unmarshal(m.Data, &s) != nil || s.End {
				return
			}
			if s.Update == (topo.Update{}) || !f.feed.follow(s.Update) {
				err = f.resync(ctx)
			}
		case <-renew.C:
			err = f.renew(ctx)
		case <-alive.Done():
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return // the world or its host is gone, or nobody reads
		}
	}
}

// renew also finds out what was lost at the end of a burst, when no later diff
// shows the gap, and whether the host has let the stream go in a silence of ours.
func (f *follower) renew(ctx context.Context) error {
	r, err := f.c.call(ctx, verbWatch, request{World: f.id, Lease: f.lease})
	switch {
	case err != nil:
		return err
	case r.Stream != f.stream:
		return f.join(ctx)
	case r.Revision > f.feed.Now().Revision && len(f.messages) == 0:
		return f.resync(ctx)
	}
	return nil
}

// leave gives the lease back without waiting for an answer.
func (f *follower) leave() {
	if f.sub != nil {
		_ = f.sub.Unsubscribe() // fails only where the connection is closed
	}
	if data, err := json.Marshal(request{World: f.id, Lease: f.lease}); err == nil {
		_ = f.c.nc.Publish(subject(f.c.id, verbUnwatch), data) // if lost, the lease runs out
	}
}

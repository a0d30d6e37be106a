package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"kabel/sandbox/host"
	"kabel/sandbox/host/contract"
	"kabel/sandbox/topo"
)

// startNATS is a server without a port.
func startNATS(t testing.TB) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, MaxPayload: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func connect(t testing.TB, s *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// serve begins to serve h and returns what ends it and waits.
func serve(t testing.TB, nc *nats.Conn, h host.Host, id string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- host.Serve(ctx, nc, h, id) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// dial waits until the host answers.
func dial(t testing.TB, nc *nats.Conn, id string) *host.Client {
	t.Helper()
	c, err := host.Dial(nc, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	waitFor(t, func() bool {
		_, err := c.Status(t.Context())
		return err == nil
	})
	return c
}

// overWire is a Model seen from the other end of the wire.
func overWire(t testing.TB) (*host.Client, *host.Model) {
	t.Helper()
	s, m := startNATS(t), host.NewModel()
	t.Cleanup(func() { m.Close() })
	serve(t, connect(t, s), m, "a.host")
	return dial(t, connect(t, s), "a.host"), m
}

func TestWireKeepsTheContract(t *testing.T) {
	contract.Test(t, func(t *testing.T) host.Host {
		c, _ := overWire(t)
		return c
	})
}

var spec = host.Spec{ID: "w", Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}}}

func newWorld(t testing.TB, h host.Host) host.World {
	t.Helper()
	w, err := h.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestConnectOverInheritedConn(t *testing.T) {
	s := startNATS(t)
	inside, err := s.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := host.Connect(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	m := host.NewModel()
	defer m.Close()
	ended := make(chan error, 1)
	go func() { ended <- host.Serve(t.Context(), nc, m, "h") }()
	c := dial(t, connect(t, s), "h")
	newWorld(t, c)
	// The engine goes away: Serve ends, so that the process can.
	inside.Close()
	if err := <-ended; !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("serve: %v", err)
	}
}

func TestServeRefusesABadName(t *testing.T) {
	err := host.Serve(t.Context(), connect(t, startNATS(t)), host.NewModel(), "a b")
	if host.CodeOf(err) != host.CodeInvalid {
		t.Error(err)
	}
}

func TestHostThatIsNotThereIsUnavailable(t *testing.T) {
	c, err := host.Dial(connect(t, startNATS(t)), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.World(t.Context(), "w")
	if host.CodeOf(err) != host.CodeUnavailable {
		t.Error(err)
	}
}

func TestHostThatGoesEndsCallsAndWatches(t *testing.T) {
	for name, end := range map[string]func(serving *nats.Conn, stop func()){
		"in order":   func(_ *nats.Conn, stop func()) { stop() },
		"by a crash": func(serving *nats.Conn, _ func()) { serving.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, m := startNATS(t), host.NewModel()
			defer m.Close()
			serving := connect(t, s)
			stop := serve(t, serving, m, "h")
			w := newWorld(t, dial(t, connect(t, s), "h"))
			updates, err := w.Watch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			<-updates
			called := make(chan error, 1)
			go func() {
				_, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"sleep", "1000"}, Timeout: host.MaxExecTimeout})
				called <- err
			}()
			end(serving, stop)
			if code := host.CodeOf(<-called); code != host.CodeUnavailable && code != host.CodeTimeout {
				t.Errorf("the call ends with the code %q", code)
			}
			for range updates {
			}
			if _, err = w.Snapshot(t.Context()); host.CodeOf(err) != host.CodeUnavailable {
				t.Errorf("snapshot: %v", err)
			}
		})
	}
}

// observed counts the watches of a host's worlds that are open.
type observed struct {
	host.Host
	watches chan int // +1 and -1
}

func (o observed) World(ctx context.Context, id host.WorldID) (host.World, error) {
	w, err := o.Host.World(ctx, id)
	if err != nil {
		return nil, err
	}
	return observedWorld{w, o}, nil
}

type observedWorld struct {
	host.World
	o observed
}

func (w observedWorld) Watch(ctx context.Context) (<-chan topo.Update, error) {
	updates, err := w.World.Watch(ctx)
	if err == nil {
		w.o.watches <- 1
		context.AfterFunc(ctx, func() { w.o.watches <- -1 })
	}
	return updates, err
}

func TestUpdatesArePublishedOnlyWhileSomebodyWatches(t *testing.T) {
	s, m := startNATS(t), host.NewModel()
	defer m.Close()
	o := observed{m, make(chan int, 10)}
	serve(t, connect(t, s), o, "h")
	w := newWorld(t, dial(t, connect(t, s), "h"))
	var ends []context.CancelFunc
	for range 3 { // three readers share one stream
		ctx, cancel := context.WithCancel(t.Context())
		ends = append(ends, cancel)
		if _, err := w.Watch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-o.watches; got != 1 || len(o.watches) != 0 {
		t.Errorf("%d watches more than one were begun", len(o.watches))
	}
	for _, end := range ends {
		end()
	}
	if got := <-o.watches; got != -1 {
		t.Error("the world is watched again")
	}
}

func TestLostUpdatesAreMadeGood(t *testing.T) {
	s, m := startNATS(t), host.NewModel()
	defer m.Close()
	serve(t, connect(t, s), m, "h")
	reader := connect(t, s)
	w := newWorld(t, dial(t, reader, "h"))
	updates, err := w.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := *(<-updates).Snapshot
	// A forged diff stands for a gap: it begins at a revision that was not seen.
	stream := make(chan string, 1)
	spy := connect(t, s)
	if _, err := spy.Subscribe("kabel.stream.>", func(m *nats.Msg) {
		select {
		case stream <- m.Subject:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	apply := func() {
		if _, err := w.Apply(t.Context(), []topo.Placed{{Node: "host1", Op: topo.LinkSet{Name: "lo", MTU: 1000 + int(now.Revision)}}}); err != nil {
			t.Fatal(err)
		}
		u := <-updates
		if u.Snapshot != nil {
			now = *u.Snapshot
		} else if now, err = u.Diff.Apply(now); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	forged, err := json.Marshal(topo.Update{Diff: &topo.Diff{From: now.Revision + 100, To: now.Revision + 101}})
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Publish(<-stream, forged); err != nil {
		t.Fatal(err)
	}
	apply()
	fresh, err := w.Snapshot(t.Context())
	if err != nil || !fresh.Equal(now) {
		t.Errorf("after a gap: %+v, want %+v, %v", now, fresh, err)
	}
}

func TestCallerThatGoesStopsTheWork(t *testing.T) {
	s, m := startNATS(t), host.NewModel()
	defer m.Close()
	b := blocking{m, make(chan error, 1), make(chan struct{})}
	serve(t, connect(t, s), b, "h")
	c := dial(t, connect(t, s), "h")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-b.begun
		cancel()
	}()
	_, err := c.Create(ctx, spec)
	if host.CodeOf(err) != host.CodeTimeout {
		t.Errorf("create: %v", err)
	}
	if err := <-b.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the work ended with %v", err)
	}
}

// blocking is a host whose Create lasts as long as its caller waits.
type blocking struct {
	host.Host
	ended chan error
	begun chan struct{}
}

func (b blocking) Create(ctx context.Context, _ host.Spec) (host.World, error) {
	close(b.begun)
	<-ctx.Done()
	b.ended <- ctx.Err()
	return nil, ctx.Err()
}

func TestTooMuchIsRefused(t *testing.T) {
	c, _ := overWire(t)
	w := newWorld(t, c)
	t.Run("a message larger than the engine takes", func(t *testing.T) {
		_, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"cat"}, Stdin: make([]byte, 8<<20)})
		if host.CodeOf(err) != host.CodeLimit {
			t.Error(err)
		}
	})
	t.Run("more requests than a world works on", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		refused := make(chan error, 100)
		for range 40 {
			wg.Go(func() {
				_, err := w.Exec(ctx, host.ExecRequest{Node: "host1", Argv: []string{"sleep", "1000"}, Timeout: host.MaxExecTimeout})
				refused <- err
			})
		}
		if err := <-refused; host.CodeOf(err) != host.CodeLimit {
			t.Error(err)
		}
		other := spec
		other.ID = "other"
		if _, err := c.Create(t.Context(), other); err != nil {
			t.Errorf("another world suffers: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	c, m := overWire(t)
	w := newWorld(t, c)
	local, err := m.World(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	ops := []topo.Placed{{Node: "host1", Op: topo.NetnsAdd{Name: "a"}}, {Node: "host1", Op: topo.LinkDel{Name: "nope"}}}
	_, far := w.Apply(t.Context(), ops)
	ops[0].Op = topo.NetnsAdd{Name: "b"}
	_, near := local.Apply(t.Context(), ops)
	f, _ := errors.AsType[*host.OpError](far)
	n, _ := errors.AsType[*host.OpError](near)
	if f == nil || n == nil || *f != *n {
		t.Errorf("an op failed with %v over the wire and %v without", far, near)
	}
	_, far = c.World(t.Context(), "nope")
	_, near = m.World(t.Context(), "nope")
	if far.Error() != near.Error() {
		t.Errorf("%q over the wire is %q without", far, near)
	}
}

func BenchmarkApplyOverWire(b *testing.B) {
	c, _ := overWire(b)
	w := newWorld(b, c)
	for b.Loop() {
		if _, err := w.Apply(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestConnectURLNeedsTheToken(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Authorization: "secret", NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	if nc, err := host.ConnectURL(t.Context(), s.ClientURL(), "wrong"); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("with a wrong token: %v", err)
	}
	nc, err := host.ConnectURL(t.Context(), s.ClientURL(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

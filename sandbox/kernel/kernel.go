// Package kernel is the door on Linux: worlds made of jails and network
// namespaces, changed and read by netlink. It applies ops with the meaning of
// the commands that they render to, reads whole worlds after the kernel's
// events, and sends probes from inside a namespace. It must not know what a lab
// is, interpret captured packets, or let anything resolve or send in the
// machine's own namespace. It is the only importer of vishvananda/netlink.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
)

// Options for New.
type Options struct {
	// ID names the host in its Status.
	ID string
	// MaxWorlds bounds the worlds that live at once; 0 means as many as there is
	// room for in the tables, and without them no bound.
	MaxWorlds int
	// Tables is the file in which the machine's shared tables are remembered
	// while this host and others have set them; if empty, they are left alone.
	Tables string
	Log    *slog.Logger
}

// Host makes worlds in the boxes of a Yard. It implements host.Host.
type Host struct {
	yard    *jail.Yard
	options Options
	home    home
	poker   *poker
	tables  *tables // nil if they are left alone
	tools   tools
	tick    time.Duration
	turns   chan struct{}  // of readings for a tick; who has one gives it back
	ends    sync.WaitGroup // one goroutine per world waits for its box
	guards  sync.WaitGroup // one goroutine looks for storms, one at terminals
	unguard context.CancelFunc

	mu       sync.Mutex
	closed   bool
	worlds   map[host.WorldID]*World // nil while it is being made
	building sync.WaitGroup          // those
}

var _ host.Host = (*Host)(nil)

// New starts a host. The yard stays the caller's, to be closed after the Host.
func New(yard *jail.Yard, o Options) (*Host, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	home, err := openHome()
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	p, err := newPoker()
	if err != nil {
		unix.Close(int(home))
		return nil, fmt.Errorf("kernel: %w", err)
	}
	h := &Host{yard: yard, options: o, home: home, poker: p, tools: findTools(exec.LookPath), tick: tick, worlds: map[host.WorldID]*World{},
		turns: make(chan struct{}, max(1, runtime.NumCPU()/2))}
	for range cap(h.turns) {
		h.turns <- struct{}{}
	}
	if o.Tables != "" {
		if h.tables, err = openTables("/", o.Tables, yard); err != nil {
			return nil, errors.Join(fmt.Errorf("kernel: shared tables: %w", err), p.close(), unix.Close(int(home)))
		}
		if o.MaxWorlds == 0 {
			h.options.MaxWorlds = h.tables.capacity
		}
	}
	var ctx context.Context
	ctx, h.unguard = context.WithCancel(context.Background())
	h.guards.Go(func() { h.guard(ctx) })
	h.guards.Go(func() { h.guardTerminals(ctx) })
	return h, nil
}

// Create implements host.Host.
func (h *Host) Create(ctx context.Context, spec host.Spec) (host.World, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := h.reserve(spec.ID); err != nil {
		return nil, err
	}
	defer h.building.Done()
	w, err := h.build(ctx, spec)
	h.mu.Lock()
	closing := h.closed
	if err != nil || closing {
		delete(h.worlds, spec.ID)
	} else {
		h.worlds[spec.ID] = w
		h.ends.Go(func() {
			<-w.box.Done()
			if err := w.end(); err != nil {
				h.options.Log.Error("world did not end cleanly", "world", w.id, "error", err)
			}
		})
	}
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if closing {
		return nil, errors.Join(host.Errorf(host.CodeUnavailable, "the host is closing"), w.end())
	}
	return w, nil
}

// reserve takes a name, so that building can go on without the lock.
func (h *Host) reserve(id host.WorldID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return host.Errorf(host.CodeUnavailable, "the host is closing")
	}
	if _, taken := h.worlds[id]; taken {
		return host.Errorf(host.CodeExists, "a world %q lives", id)
	}
	if limit := h.options.MaxWorlds; limit > 0 && len(h.worlds) >= limit {
		return host.Errorf(host.CodeLimit, "%d worlds live, which is the limit", limit)
	}
	h.worlds[id] = nil
	h.building.Add(1)
	return nil
}

func (h *Host) forget(w *World) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.worlds[w.id] == w {
		delete(h.worlds, w.id)
	}
}

// World implements host.Host.
func (h *Host) World(_ context.Context, id host.WorldID) (host.World, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.worlds[id]; w != nil {
		return w, nil
	}
	return nil, host.Errorf(host.CodeNotFound, "no world %q", id)
}

// Worlds implements host.Host.
func (h *Host) Worlds(context.Context) ([]host.WorldID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := []host.WorldID{}
	for id, w := range h.worlds {
		if w != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Status implements host.Host.
func (h *Host) Status(context.Context) (host.Status, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	missing := append(slices.Clone(h.yard.Missing()), h.tools.missing()...)
	if h.tables != nil {
		missing = append(missing, h.tables.missing...)
	}
	return host.Status{ID: h.options.ID, Worlds: len(h.worlds), Capacity: h.options.MaxWorlds, Rootless: h.yard.Rootless(), Missing: missing}, nil
}

// Close ends all worlds and waits.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.unguard()
	h.guards.Wait()
	h.building.Wait() // each sees that we close, and ends what it made
	h.mu.Lock()
	worlds := slices.Collect(maps.Values(h.worlds))
	h.mu.Unlock()
	errs := make([]error, len(worlds))
	var ending sync.WaitGroup
	for i, w := range worlds {
		ending.Go(func() { errs[i] = w.end() })
	}
	ending.Wait()
	h.ends.Wait()
	if h.tables != nil {
		errs = append(errs, h.tables.close())
	}
	return errors.Join(append(errs, h.poker.close(), unix.Close(int(h.home)))...)
}

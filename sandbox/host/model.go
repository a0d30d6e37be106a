package host

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kabel/sandbox/topo"
)

// Model is a Host in memory, for tests and for playing labs without a kernel.
// Its ops change a modelled network as the kernel would (errors included) and
// its probes walk that network.
//
// It does not model: time (nothing that is learned expires), what permanent
// neighbours and FDB entries do to packets, IPv6 neighbour discovery and
// link-local addresses, policy rules, NAT and firewall rules other than the
// policies of iptables' filter table and the dropping of fragments in FORWARD,
// VXLAN traffic, several routes to one destination, counters other than a few of
// ping, and programs other than echo, cat, true, false, sleep, iptables for the
// above and a socat between a TUN and UDP. Its terminals have hardly more than a
// line that is echoed, and its captures see what its probes send, a connection's
// first packet and the answer to it.
type Model struct {
	mu     sync.Mutex
	worlds map[WorldID]*modelWorld
	closed bool
}

// NewModel makes a host without worlds.
func NewModel() *Model { return &Model{worlds: map[WorldID]*modelWorld{}} }

// Create implements Host.
func (m *Model) Create(ctx context.Context, spec Spec) (World, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	net := newNetwork(spec)
	if err := net.applyAll(spec.Setup); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, Errorf(CodeUnavailable, "the host is closed")
	case m.worlds[spec.ID] != nil:
		return nil, Errorf(CodeExists, "world %s lives already", spec.ID)
	}
	w := &modelWorld{id: spec.ID, host: m, net: net, feed: NewFeed(net.nodes()), gone: make(chan struct{})}
	m.worlds[spec.ID] = w
	return w, nil
}

// World implements Host.
func (m *Model) World(_ context.Context, id WorldID) (World, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.worlds[id]; w != nil {
		return w, nil
	}
	return nil, Errorf(CodeNotFound, "there is no world %q", id)
}

// Worlds implements Host.
func (m *Model) Worlds(context.Context) ([]WorldID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := []WorldID{}
	for id := range m.worlds {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Status implements Host.
func (m *Model) Status(context.Context) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{ID: "model", Worlds: len(m.worlds), Missing: []string{"kernel: everything happens in a model, no packet is sent"}}, nil
}

// Close implements Host.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for id, w := range m.worlds {
		delete(m.worlds, id)
		w.end()
	}
	return nil
}

type modelWorld struct {
	id   WorldID
	host *Model
	mu   sync.Mutex // of net
	net  *network
	feed *Feed
	gone chan struct{}

	captures []*modelCapture // under mu
}

// end is called once, by who took the world out of the host's map.
func (w *modelWorld) end() {
	close(w.gone)
	w.feed.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.captures {
		c.End()
	}
}

func (w *modelWorld) ID() WorldID { return w.id }

func (w *modelWorld) alive() error {
	select {
	case <-w.gone:
		return Errorf(CodeNotFound, "world %q is gone", w.id)
	default:
		return nil
	}
}

func (w *modelWorld) Apply(ctx context.Context, ops []topo.Placed) (topo.Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.alive(); err != nil {
		return topo.Snapshot{}, err
	}
	if err := ctx.Err(); err != nil {
		return topo.Snapshot{}, err
	}
	machines := map[string]bool{}
	for _, m := range w.net.machines {
		machines[m.Name] = true
	}
	if err := validateOps(ops, machines); err != nil {
		return topo.Snapshot{}, err
	}
	err := w.net.applyAll(ops)
	for _, c := range w.captures {
		c.look()
	}
	w.feed.Publish(w.net.nodes())
	return w.feed.Now(), err
}

// applyAll stops at the first op that fails, with an *OpError.
func (n *network) applyAll(ops []topo.Placed) error {
	for i, p := range ops {
		s := n.space(p.Node)
		if s == nil {
			return refusal(i, p, errno("ENOENT"))
		}
		if err := n.apply(s, p.Op); err != nil {
			return refusal(i, p, err)
		}
	}
	return nil
}

// space finds a node of a living world. The caller holds w.mu.
func (w *modelWorld) space(id topo.NodeID) (*space, error) {
	if err := w.alive(); err != nil {
		return nil, err
	}
	s := w.net.space(id)
	if s == nil {
		return nil, Errorf(CodeInvalid, "world %s has no node %q", w.id, id)
	}
	return s, nil
}

func (w *modelWorld) Exec(ctx context.Context, r ExecRequest) (ExecResult, error) {
	r, err := r.Normal()
	if err != nil {
		return ExecResult{}, err
	}
	w.mu.Lock()
	s, err := w.space(r.Node)
	if err != nil {
		w.mu.Unlock()
		return ExecResult{}, err
	}
	out, known := w.net.program(s, r)
	w.mu.Unlock()
	if known {
		w.feed.Publish(w.nodes())
		return out, nil
	}
	if r.Argv[0] != "sleep" || len(r.Argv) != 2 {
		return ExecResult{ExitCode: 127, Stderr: []byte(r.Argv[0] + ": not found\n")}, nil
	}
	seconds, err := strconv.ParseFloat(r.Argv[1], 64)
	if err != nil {
		return ExecResult{ExitCode: 1, Stderr: []byte("sleep: invalid time interval\n")}, nil
	}
	limit := time.NewTimer(r.Timeout)
	defer limit.Stop()
	done := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer done.Stop()
	select {
	case <-done.C:
		return ExecResult{}, nil
	case <-limit.C:
		return ExecResult{ExitCode: 128 + 9, TimedOut: true}, nil
	case <-ctx.Done():
		return ExecResult{}, ctx.Err()
	case <-w.gone:
		return ExecResult{}, w.alive()
	}
}

func (w *modelWorld) nodes() []topo.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.net.nodes()
}

// program runs what ends at once, if the model has it.
func (n *network) program(s *space, r ExecRequest) (out ExecResult, known bool) {
	args := r.Argv[1:]
	switch r.Argv[0] {
	case "true":
	case "false":
		out.ExitCode = 1
	case "echo":
		out.Stdout = []byte(strings.Join(args, " ") + "\n")
	case "cat":
		out.Stdout = bytes.Clone(r.Stdin)
	case "iptables":
		policy := len(args) == 3 && args[0] == "-P" && slices.Contains(filterChains, args[1]) && (args[2] == "ACCEPT" || args[2] == "DROP")
		switch {
		case policy:
			s.policies[args[1]] = args[2]
		case slices.Equal(args, []string{"-A", "FORWARD", "-f", "-j", "DROP"}):
			s.dropsFrags = true
		case slices.Equal(args, []string{"-F", "FORWARD"}):
			s.dropsFrags = false
		default:
			return ExecResult{ExitCode: 2, Stderr: []byte("iptables: the model does not know this\n")}, true
		}
	default:
		return out, false
	}
	if len(out.Stdout) > MaxExecOutput {
		out.Stdout, out.Truncated = out.Stdout[:MaxExecOutput], true
	}
	return out, true
}

func (w *modelWorld) Probe(ctx context.Context, p topo.Probe) (topo.ProbeResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return topo.ProbeResult{}, err
	}
	s, err := w.space(p.From)
	if err != nil {
		return topo.ProbeResult{}, err
	}
	if len(w.captures) > 0 {
		w.net.tape = &tape{}
	}
	res, err := w.net.probe(s, p)
	if t := w.net.tape; t != nil {
		w.net.tape = nil
		w.play(*t, res.Sent)
	}
	w.feed.Publish(w.net.nodes()) // it has learned and counted
	return res, err
}

func (w *modelWorld) Snapshot(context.Context) (topo.Snapshot, error) {
	if err := w.alive(); err != nil {
		return topo.Snapshot{}, err
	}
	return w.feed.Now(), nil
}

func (w *modelWorld) Watch(ctx context.Context) (<-chan topo.Update, error) {
	if err := w.alive(); err != nil {
		return nil, err
	}
	return w.feed.Watch(ctx), nil
}

func (w *modelWorld) Destroy(context.Context) error {
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	if w.host.worlds[w.id] != w {
		return Errorf(CodeNotFound, "world %q is gone", w.id)
	}
	delete(w.host.worlds, w.id)
	w.end()
	return nil
}

package session

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"kabel/sandbox/topo"
)

// Changes are the two ends of a step: the kernel's state when it became the
// current one, and when it was done. They have only the nodes that differ, and
// no counters.
type Changes struct {
	From topo.Snapshot `json:"from"`
	To   topo.Snapshot `json:"to"`
}

// Changes says what a step that is done has changed, however it was done, and
// what has changed so far in the current one; nil where that is not known: the step is
// still to come, was skipped by a reset, or the steps have changed very much.
func (s *Session) Changes(stepID string) (*Changes, error) {
	if s.stepIndex(stepID) < 0 {
		return nil, &Problem{Code: CodeNoStep, Subject: stepID}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used()
	if s.makeView().Current == stepID {
		c := between(s.since, s.now)
		return &c, nil
	}
	kept, ok := s.rec.Changes[stepID]
	if !ok {
		return nil, nil
	}
	c, err := kept.unpack()
	if err != nil {
		return nil, fmt.Errorf("session %s, step %s: what was kept of its changes: %w", s.rec.ID, stepID, err)
	}
	return &c, nil
}

// maxChanges bounds what a session keeps of its steps' changes, in bytes.
const maxChanges = 32 << 10

// packed is how Changes are kept, in memory as in a record: the two ends of a step are
// nearly alike, and far more is kept than is ever asked for again.
type packed []byte

// deflaters are large, and steps are done one after the other.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestCompression)
	if err != nil {
		panic("session: flate: " + err.Error()) // the level is no valid one
	}
	return w
}}

func pack(c Changes) (packed, error) {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	if err := json.NewEncoder(w).Encode(c); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(out.Bytes()), nil
}

func (p packed) unpack() (c Changes, err error) {
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(p)))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(b, &c)
}

// noteChanges keeps what the step that is done now has changed. The caller holds s.mu.
func (s *Session) noteChanges(step string) {
	delete(s.rec.Changes, step)
	kept, err := pack(between(s.since, s.now))
	if err != nil {
		s.log.Error("keep what a step has changed", "session", s.rec.ID, "step", step, "err", err)
		return
	}
	size := len(kept)
	for _, other := range s.rec.Changes {
		size += len(other)
	}
	if size > maxChanges {
		return
	}
	if s.rec.Changes == nil {
		s.rec.Changes = map[string]packed{}
	}
	s.rec.Changes[step] = kept
}

func between(a, b topo.Snapshot) Changes {
	a, b = uncounted(a), uncounted(b)
	differing := func(s, other topo.Snapshot) topo.Snapshot {
		out := topo.Snapshot{Revision: s.Revision, Nodes: []topo.Node{}}
		for _, n := range s.Nodes {
			if m := other.Node(n.ID); m == nil || !n.Equal(*m) {
				out.Nodes = append(out.Nodes, n)
			}
		}
		return out
	}
	return Changes{From: differing(a, b), To: differing(b, a)}
}

// uncounted is the snapshot without what grows with every packet.
func uncounted(s topo.Snapshot) topo.Snapshot {
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Counters = nil
		n.Firewall = slices.Clone(n.Firewall)
		for j := range n.Firewall {
			c := &n.Firewall[j]
			c.Packets, c.Bytes = 0, 0
			c.Rules = slices.Clone(c.Rules)
			for k := range c.Rules {
				c.Rules[k].Packets, c.Rules[k].Bytes = 0, 0
			}
		}
	}
	return s
}

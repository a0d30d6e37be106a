package session

import (
	"encoding/json"
	"slices"

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
// still to come, was skipped by a reset, or has changed very much and was done before
// the server started.
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
	if c, ok := s.changes[stepID]; ok {
		return &c, nil
	}
	return nil, nil
}

// maxChanges bounds what a session's record has of its steps' changes, in bytes.
const maxChanges = 128 << 10

// noteChanges keeps what the step that is done now has changed. The caller holds s.mu.
func (s *Session) noteChanges(step string) {
	c := between(s.since, s.now)
	s.changes[step] = c
	b, err := json.Marshal(c)
	if err != nil {
		s.log.Error("keep what a step has changed", "session", s.rec.ID, "step", step, "err", err)
		return
	}
	size := len(b)
	for _, kept := range s.rec.Changes {
		size += len(kept)
	}
	if size > maxChanges {
		return
	}
	if s.rec.Changes == nil {
		s.rec.Changes = map[string]json.RawMessage{}
	}
	s.rec.Changes[step] = b
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

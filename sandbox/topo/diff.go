package topo

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Update is one message of the way up: either a whole Snapshot, or a Diff from
// the revision before. Exactly one of the two is set.
type Update struct {
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	Diff     *Diff     `json:"diff,omitempty"`
}

// Diff turns the snapshot of revision From into that of revision To.
type Diff struct {
	From Rev `json:"from"`
	To   Rev `json:"to"`
	// Order lists all nodes as they stand after the diff; it is left out where
	// the same nodes stand in the same order as before. A node that is not in
	// it is gone.
	Order   *[]NodeID    `json:"order,omitempty"`
	Changed []NodeChange `json:"changed,omitempty"`
	// Limits are all that have been hit, where one of them has been anew.
	Limits *[]LimitHit `json:"limits,omitempty"`
}

// Empty says that nothing but the revision differs.
func (d Diff) Empty() bool { return d.Order == nil && len(d.Changed) == 0 && d.Limits == nil }

// NodeChange carries the sections of one node that differ, each whole; a nil
// section is as it was. A new node has all its sections.
type NodeChange struct {
	ID         NodeID             `json:"id"`
	Kind       *NodeKind          `json:"kind,omitempty" enum:"host,switch,router,internet,laptop,netns"`
	Links      *[]Netdev          `json:"links,omitempty"`
	Routes     *[]Route           `json:"routes,omitempty"`
	Rules      *[]Rule            `json:"rules,omitempty"`
	Neighbours *[]Neighbour       `json:"neighbours,omitempty"`
	FDB        *[]FDBEntry        `json:"fdb,omitempty"`
	Firewall   *[]Chain           `json:"firewall,omitempty"`
	Sockets    *[]Socket          `json:"sockets,omitempty"`
	Sysctls    *map[string]string `json:"sysctls,omitempty"`
	Counters   *map[string]uint64 `json:"counters,omitempty"`
}

// Compare is the Diff that leads from a to b: Apply(Compare(a, b), a) equals b.
func Compare(a, b Snapshot) Diff {
	d := Diff{From: a.Revision, To: b.Revision}
	if !slices.Equal(a.Limits, b.Limits) {
		d.Limits = list(b.Limits)
	}
	old := make(map[NodeID]*Node, len(a.Nodes))
	for i := range a.Nodes {
		old[a.Nodes[i].ID] = &a.Nodes[i]
	}
	sameID := func(x, y Node) bool { return x.ID == y.ID }
	if !slices.EqualFunc(a.Nodes, b.Nodes, sameID) {
		order := make([]NodeID, len(b.Nodes))
		for i, n := range b.Nodes {
			order[i] = n.ID
		}
		d.Order = &order
	}
	for _, n := range b.Nodes {
		was, known := old[n.ID]
		if !known {
			d.Changed = append(d.Changed, whole(n))
			continue
		}
		if len(changes(*was, n)) > 0 {
			d.Changed = append(d.Changed, change(*was, n))
		}
	}
	return d
}

// Apply is the snapshot after d. It fails if d does not begin at s's revision
// (the reader missed an update and needs a snapshot) or names an unknown node.
// s is not changed.
func (d Diff) Apply(s Snapshot) (Snapshot, error) {
	if d.From != s.Revision {
		return Snapshot{}, fmt.Errorf("diff from revision %d does not fit revision %d", d.From, s.Revision)
	}
	byID := make(map[NodeID]Node, len(s.Nodes))
	order := make([]NodeID, len(s.Nodes))
	for i, n := range s.Nodes {
		byID[n.ID], order[i] = n, n.ID
	}
	for _, c := range d.Changed {
		n := byID[c.ID]
		n.ID = c.ID
		set(&n.Kind, c.Kind)
		set(&n.Links, c.Links)
		set(&n.Routes, c.Routes)
		set(&n.Rules, c.Rules)
		set(&n.Neighbours, c.Neighbours)
		set(&n.FDB, c.FDB)
		set(&n.Firewall, c.Firewall)
		set(&n.Sockets, c.Sockets)
		set(&n.Sysctls, c.Sysctls)
		set(&n.Counters, c.Counters)
		byID[c.ID] = n
	}
	set(&order, d.Order)
	out := Snapshot{Revision: d.To, Limits: s.Limits}
	set(&out.Limits, d.Limits)
	for _, id := range order {
		n, ok := byID[id]
		if !ok {
			return Snapshot{}, fmt.Errorf("diff to revision %d orders the unknown node %q", d.To, id)
		}
		out.Nodes = append(out.Nodes, n)
	}
	return out, nil
}

func set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

func whole(n Node) NodeChange {
	return NodeChange{ID: n.ID, Kind: &n.Kind, Links: list(n.Links), Routes: list(n.Routes), Rules: list(n.Rules), Neighbours: list(n.Neighbours),
		FDB: list(n.FDB), Firewall: list(n.Firewall), Sockets: list(n.Sockets), Sysctls: dict(n.Sysctls), Counters: dict(n.Counters)}
}

// list and dict are never nil inside: JSON would write that as null, and the
// reader would take a section that is now empty for one that is as it was.
func list[T any](s []T) *[]T {
	if s == nil {
		s = []T{}
	}
	return &s
}

func dict[V any](m map[string]V) *map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	return &m
}

func change(a, b Node) NodeChange {
	c := whole(b)
	keep := changes(a, b)
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "ID" && !slices.Contains(keep, name) {
			v.Field(i).SetZero()
		}
	}
	return c
}

// changes names the sections in which two nodes differ. A nil and an empty
// section are the same: both mean that there is nothing.
func changes(a, b Node) []string {
	var out []string
	differ := func(name string, same bool) {
		if !same {
			out = append(out, name)
		}
	}
	if a.ID != b.ID {
		out = append(out, "ID")
	}
	differ("Kind", a.Kind == b.Kind)
	differ("Links", slices.EqualFunc(a.Links, b.Links, Netdev.equal))
	differ("Routes", slices.Equal(a.Routes, b.Routes))
	differ("Rules", slices.Equal(a.Rules, b.Rules))
	differ("Neighbours", slices.Equal(a.Neighbours, b.Neighbours))
	differ("FDB", slices.Equal(a.FDB, b.FDB))
	differ("Firewall", slices.EqualFunc(a.Firewall, b.Firewall, Chain.equal))
	differ("Sockets", slices.Equal(a.Sockets, b.Sockets))
	differ("Sysctls", maps.Equal(a.Sysctls, b.Sysctls))
	differ("Counters", maps.Equal(a.Counters, b.Counters))
	return out
}

func (l Netdev) equal(m Netdev) bool {
	return l.Name == m.Name && l.Index == m.Index && l.Kind == m.Kind && l.Up == m.Up && l.Carrier == m.Carrier &&
		l.MAC == m.MAC && l.MTU == m.MTU && l.Master == m.Master && l.Peer == m.Peer && l.Parent == m.Parent && l.Mode == m.Mode && l.Alias == m.Alias &&
		slices.Equal(l.Addresses, m.Addresses) && equalPtr(l.VXLAN, m.VXLAN) && equalPtr(l.Tunnel, m.Tunnel) && equalPtr(l.Bridge, m.Bridge)
}

func (c Chain) equal(d Chain) bool {
	return c.Tool == d.Tool && c.Family == d.Family && c.Table == d.Table && c.Name == d.Name && c.Policy == d.Policy &&
		c.Packets == d.Packets && c.Bytes == d.Bytes && slices.Equal(c.Rules, d.Rules)
}

func equalPtr[T comparable](a, b *T) bool {
	return a == b || (a != nil && b != nil && *a == *b)
}

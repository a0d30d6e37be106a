// Package capture is what the viewers of one world's packets share: it opens the
// world's capture while somebody looks, has packets decoded once and joined to
// journeys, and hands each viewer the rows that pass its filter. What is too much
// is left out by whole journeys and counted; a slow viewer loses its own oldest
// rows and slows nobody. It must not know HTTP, sessions or labs.
package capture

import (
	"context"
	"net/netip"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/packet"
	"kabel/server/packet/journey"
)

// World is what is captured; a host.World is one.
type World interface {
	Capture(ctx context.Context, r host.CaptureRequest) (host.Capture, error)
}

// Row is one packet, with every place where it was seen: a row of the list.
type Row struct {
	ID          uint64        `json:"id"`
	At          Micros        `json:"at" doc:"µs since the capture started"`
	Protocol    string        `json:"protocol"`
	Source      string        `json:"source"`
	Destination string        `json:"destination"`
	Info        string        `json:"info"`
	Length      int           `json:"length"`
	State       journey.State `json:"state" enum:"in-flight,delivered,answered,gone,unsure"`
	Answers     uint64        `json:"answers,omitempty" doc:"the row that this one answers"`
	AnsweredBy  uint64        `json:"answered_by,omitempty"`
	Into        uint64        `json:"into,omitempty" doc:"this row has turned out to be a part of that one; it has no sightings any more"`
	Sightings   []Sighting    `json:"sightings" nullable:"false"`
}

// unsure stands for gone, where packets of the capture itself were lost meanwhile:
// the packet may have arrived and only not have been seen.
const unsure journey.State = "unsure"

// Sighting is one place of a row.
type Sighting struct {
	No      uint64      `json:"no"`
	Node    topo.NodeID `json:"node"`
	Link    string      `json:"link"`
	Out     bool        `json:"out"`
	At      Micros      `json:"at"`
	Length  int         `json:"length"`
	After   uint64      `json:"after,omitempty" doc:"the sighting before on its way; none where the way begins"`
	Changes []Change    `json:"changes,omitempty"`
}

// Change is what differs from the sighting before.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Micros is a time in microseconds, to the nanosecond.
type Micros float64

func micros(d time.Duration) Micros { return Micros(float64(d) / 1e3) }

// Lost counts packets, since the capture started, that a viewer was not shown.
type Lost struct {
	Kernel uint64 `json:"kernel"` // no room in the kernel's ring
	Host   uint64 `json:"host"`   // the way to the server was too slow
	Hub    uint64 `json:"hub"`    // more than the list takes in a second: left out by whole journeys
	Viewer uint64 `json:"viewer"` // row updates that this viewer was too slow for
}

// place is what a snapshot says about addresses and cables.
type place struct {
	owners map[owner]struct{}
	peers  map[topo.LinkID]topo.LinkID
}

type owner struct {
	node    topo.NodeID
	address netip.Addr
}

func newPlace(s topo.Snapshot) *place {
	p := &place{owners: map[owner]struct{}{}, peers: map[topo.LinkID]topo.LinkID{}}
	for _, n := range s.Nodes {
		for _, l := range n.Links {
			for _, a := range l.Addresses {
				p.owners[owner{n.ID, a.Addr()}] = struct{}{}
			}
			if l.Peer != "" {
				p.peers[topo.Link(n.ID, l.Name)] = l.Peer
			}
		}
	}
	return p
}

func (p *place) local(node topo.NodeID, a netip.Addr) bool {
	_, ok := p.owners[owner{node, a}]
	return ok || a.IsLoopback()
}

func (p *place) peer(i packet.Interface) (packet.Interface, bool) {
	to, ok := p.peers[topo.Link(i.Node, i.Link)]
	if !ok {
		return packet.Interface{}, false
	}
	node, link := to.Split()
	return packet.Interface{Node: node, Link: link, Hardware: packet.HardwareEther}, true
}

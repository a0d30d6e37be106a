// Package topo is the vocabulary that the whole project shares: what a world
// looks like (Snapshot), how it changed (Diff), what can be done to it (Op) and
// what can be asked of it (Probe). It uses the standard library only; it must
// not touch a kernel, a network or a file.
package topo

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// NodeID names a network namespace of a world: "host1" is the machine's own
// namespace, "host1/kon" the namespace kon that was made on host1. A namespace
// without a name is called "host1/net-<inode>".
type NodeID string

// Machine is the part before the slash: the machine on which the node lives.
func (n NodeID) Machine() string {
	machine, _, _ := strings.Cut(string(n), "/")
	return machine
}

// Netns is the part behind the slash, empty for a machine's own namespace.
func (n NodeID) Netns() string {
	_, netns, _ := strings.Cut(string(n), "/")
	return netns
}

// In is the node of the namespace netns on the machine of n; an empty name is
// the machine itself.
func (n NodeID) In(netns string) NodeID {
	if netns == "" {
		return NodeID(n.Machine())
	}
	return NodeID(n.Machine() + "/" + netns)
}

// Valid says whether both parts are names that a kernel and a file system take:
// 1 to 64 letters, digits, '.', '_', '-', '@', not starting with a dot or dash.
func (n NodeID) Valid() bool {
	machine, netns, nested := strings.Cut(string(n), "/")
	return validName(machine, 64) && (!nested || validName(netns, 64))
}

// ValidLinkName says whether name can be an interface name: at most 15 bytes
// (IFNAMSIZ less the terminator), no slash, colon or white space.
func ValidLinkName(name string) bool { return validName(name, 15) }

// ValidNetnsName says whether name can name a namespace under /run/netns.
func ValidNetnsName(name string) bool { return validName(name, 64) }

func validName(name string, limit int) bool {
	if name == "" || len(name) > limit || name[0] == '.' || name[0] == '-' {
		return false
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._-@", r):
		default:
			return false
		}
	}
	return true
}

// LinkID names one interface of a world: "host1/kon:veth2".
type LinkID string

// Link composes the LinkID of the interface name in node.
func Link(node NodeID, name string) LinkID { return LinkID(string(node) + ":" + name) }

// Split is the node and the interface's name.
func (l LinkID) Split() (NodeID, string) {
	node, name, _ := strings.Cut(string(l), ":")
	return NodeID(node), name
}

// Rev counts the updates of one world's snapshot, from 1.
type Rev uint64

// NodeKind says what a node stands for in the lesson.
type NodeKind string

// The kinds of nodes. All but KindNetns are machines.
const (
	KindHost     NodeKind = "host"
	KindSwitch   NodeKind = "switch"
	KindRouter   NodeKind = "router"
	KindInternet NodeKind = "internet"
	KindLaptop   NodeKind = "laptop"
	KindNetns    NodeKind = "netns"
)

// Machine is one machine of a world. A machine of KindSwitch gets a bridge
// "br0" that all its wires are ports of; one of KindInternet answers DNS on
// UDP port 53 and HTTP on port 80 on all its addresses; a router forwards.
type Machine struct {
	Name string   `json:"name"`
	Kind NodeKind `json:"kind"`
}

// Wire joins two interfaces, "host1:eth0" with "sw:port1".
type Wire struct {
	A LinkID `json:"a"`
	B LinkID `json:"b"`
}

// Snapshot is the state of every namespace of one world as the kernel told it.
// Nodes stand in this order: machines as the lab lists them, each followed by
// its namespaces in the order of their creation.
type Snapshot struct {
	Revision Rev    `json:"revision"`
	Nodes    []Node `json:"nodes"`
	// Limits are those that the world has hit, each kind of a node's once.
	Limits []LimitHit `json:"limits,omitempty"`
}

// LimitHit says that a world came up against one of its limits.
type LimitHit struct {
	Kind LimitKind `json:"kind"`
	// Node is where it was hit; empty where the limit is the whole world's.
	Node NodeID `json:"node,omitempty"`
	// Subject is what hit it, where the kernel tells: a port, a program.
	Subject string `json:"subject,omitempty"`
	// Bound is how much the limit allows, in the unit of its kind.
	Bound int `json:"bound,omitempty"`
	// Hits counts: a reader who has seen a lower number has not seen this.
	Hits uint64 `json:"hits"`
}

// LimitKind is one of a world's limits.
type LimitKind string

// The limits that can be seen to be hit.
const (
	// LimitMemory: programs were stopped because the memory, Bound MiB, was used up.
	LimitMemory LimitKind = "memory"
	// LimitKernelMemory: the kernel refused to make something, for the same reason,
	// and no program was stopped.
	LimitKernelMemory LimitKind = "kernel-memory"
	// LimitSocketMemory: packets that nobody reads fill the sockets' memory, Bound
	// MiB, and more were thrown away.
	LimitSocketMemory LimitKind = "socket-memory"
	// LimitProcesses: Bound processes and threads ran, and no more could be started.
	LimitProcesses LimitKind = "processes"
	// LimitProcessor: the programs wanted more than Bound percent of one processor
	// for longer than a moment, and were held up.
	LimitProcessor LimitKind = "processor"
	// LimitNamespaces: Bound network namespaces were there, and no more could be made.
	LimitNamespaces LimitKind = "namespaces"
	// LimitOpenFiles: the program Subject had Bound files open, as many as it may.
	LimitOpenFiles LimitKind = "open-files"
	// LimitFiles: the files of Node, Bound MiB, were full.
	LimitFiles LimitKind = "files"
	// LimitTerminals: Bound terminals were open on Node, and no more can be.
	LimitTerminals LimitKind = "terminals"
	// LimitOwnTerminals: programs held more than Bound ends of terminals, most of them
	// on devpts of their own, and the program Subject was stopped.
	LimitOwnTerminals LimitKind = "own-terminals"
	// LimitConnections: Node tracked Bound connections, and forgot or refused some.
	LimitConnections LimitKind = "connections"
	// LimitLoop: a bridge of Node passed on Bound broadcasts a second, more than is
	// let, and its port Subject was set down.
	LimitLoop LimitKind = "bridge-loop"
)

// Node finds a node by its id; nil if there is none.
func (s *Snapshot) Node(id NodeID) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].ID == id {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Node is one network namespace.
type Node struct {
	ID   NodeID   `json:"id"`
	Kind NodeKind `json:"kind" enum:"host,switch,router,internet,laptop,netns"`
	// Links in the order of their interface index.
	Links []Netdev `json:"links"`
	// Routes of all tables but "local"; without the kernel's own IPv6
	// link-local and multicast routes.
	Routes []Route `json:"routes"`
	// Rules other than the three that every namespace starts with.
	Rules []Rule `json:"rules"`
	// Neighbours other than those that need no address resolution.
	Neighbours []Neighbour `json:"neighbours"`
	FDB        []FDBEntry  `json:"fdb"`
	Firewall   []Chain     `json:"firewall"`
	// Sockets that are bound: listening TCP and all UDP.
	Sockets []Socket `json:"sockets"`
	// Sysctls that decide about a lesson's packets, by their dotted names.
	Sysctls map[string]string `json:"sysctls" nullable:"true"`
	// Counters of the namespace that explain a packet's fate, named as in
	// /proc/net/snmp and /proc/net/netstat: "Icmp.InEchoReps", "TcpExt.IPReversePathFilter".
	Counters map[string]uint64 `json:"counters" nullable:"true"`
}

// Link finds an interface by its name; nil if there is none.
func (n *Node) Link(name string) *Netdev {
	for i := range n.Links {
		if n.Links[i].Name == name {
			return &n.Links[i]
		}
	}
	return nil
}

// Netdev is one interface, as `ip -d link` and `ip addr` show it.
type Netdev struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	// Kind as in `ip -d link`: veth, bridge, tun, vxlan, …; "loopback" for lo.
	Kind string `json:"kind"`
	// Up is the administrator's wish (IFF_UP), Carrier whether there is a
	// signal (IFF_LOWER_UP).
	Up      bool   `json:"up"`
	Carrier bool   `json:"carrier"`
	MAC     string `json:"mac"`
	MTU     int    `json:"mtu"` // bytes
	// Master is the bridge (or other upper device) that this is a port of.
	Master string `json:"master,omitempty"`
	// Peer is the other end of a veth, wherever it is.
	Peer LinkID `json:"peer,omitempty"`
	// Parent is the lower device of a vlan, macvlan or vxlan: its name, or its
	// LinkID where it is in another namespace.
	Parent string `json:"parent,omitempty"`
	// Mode of a macvlan: bridge, private, vepa, passthru, source; of an ipvlan: l2, l3, l3s.
	Mode      string         `json:"mode,omitempty"`
	Addresses []netip.Prefix `json:"addresses"`
	VXLAN     *VXLAN         `json:"vxlan,omitempty"`
	Tunnel    *Tunnel        `json:"tunnel,omitempty"`
	Bridge    *Bridge        `json:"bridge,omitempty"`
	// Alias is what somebody has noted on it; Kabel does when it sets a port down
	// because of a loop.
	Alias string `json:"alias,omitempty"`
}

// VXLAN holds the attributes of a VXLAN device (RFC 7348).
type VXLAN struct {
	VNI      int        `json:"vni"`
	Local    netip.Addr `json:"local,omitzero"`
	Remote   netip.Addr `json:"remote,omitzero"` // one peer or a multicast group
	Port     int        `json:"port"`            // UDP
	Learning bool       `json:"learning"`
}

// Tunnel holds the ends of a device of another kind that puts packets into
// others: gre, gretap, ipip, sit, geneve and those over IPv6.
type Tunnel struct {
	Local  netip.Addr `json:"local,omitzero"`
	Remote netip.Addr `json:"remote,omitzero"`
	// Key tells tunnels between the same two apart: of a gre the key of what it
	// sends, of a geneve its VNI.
	Key int `json:"key,omitempty"`
}

// Bridge holds the attributes of a bridge device.
type Bridge struct {
	STP           bool `json:"stp"`
	VLANFiltering bool `json:"vlan_filtering"`
}

// Route is one entry of a routing table; Dst of a default route is 0.0.0.0/0
// or ::/0. Type is empty for an ordinary (unicast) route.
type Route struct {
	Dst      netip.Prefix `json:"dst"`
	Type     string       `json:"type,omitempty"`
	Via      netip.Addr   `json:"via,omitzero"`
	Dev      string       `json:"dev,omitempty"`
	Src      netip.Addr   `json:"src,omitzero"`
	Scope    string       `json:"scope,omitempty"` // empty: global
	Protocol string       `json:"protocol,omitempty"`
	Metric   int          `json:"metric,omitempty"`
	Table    int          `json:"table,omitempty"` // 0: main
	Onlink   bool         `json:"onlink,omitempty"`
	// Down marks a next hop whose interface is without carrier.
	Down bool `json:"down,omitempty"`
}

// Rule is one policy routing rule, as `ip rule` shows it.
type Rule struct {
	Priority int    `json:"priority"`
	Text     string `json:"text"`
}

// Neighbour is one entry of the ARP or NDP table. State is the kernel's:
// permanent, reachable, stale, delay, probe, incomplete, failed.
type Neighbour struct {
	IP    netip.Addr `json:"ip"`
	MAC   string     `json:"mac,omitempty"`
	Dev   string     `json:"dev"`
	State string     `json:"state"`
}

// FDBEntry is one line of `bridge fdb`. State is permanent, static or empty
// (learned); Dst is the remote VTEP of a VXLAN entry.
type FDBEntry struct {
	MAC    string     `json:"mac"`
	Dev    string     `json:"dev"`
	Master string     `json:"master,omitempty"`
	VLAN   int        `json:"vlan,omitempty"`
	Dst    netip.Addr `json:"dst,omitzero"`
	State  string     `json:"state,omitempty"`
}

// Chain is one chain of the firewall. Tool tells who wrote it: "iptables",
// "iptables-legacy", "nft"; Policy is empty for a chain without one.
type Chain struct {
	Tool    string         `json:"tool"`
	Family  string         `json:"family"`
	Table   string         `json:"table"`
	Name    string         `json:"name"`
	Policy  string         `json:"policy,omitempty"`
	Packets uint64         `json:"packets"`
	Bytes   uint64         `json:"bytes"`
	Rules   []FirewallRule `json:"rules"`
}

// FirewallRule is one rule, its text without counters as the tool would take it.
type FirewallRule struct {
	Text    string `json:"text"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Socket is one bound socket; Remote is set where it is connected (UDP).
type Socket struct {
	Protocol string         `json:"protocol"` // tcp, udp
	Local    netip.AddrPort `json:"local"`
	Remote   netip.AddrPort `json:"remote,omitzero"`
}

// Equal compares by value.
func (s Snapshot) Equal(t Snapshot) bool {
	return s.Revision == t.Revision && slices.EqualFunc(s.Nodes, t.Nodes, Node.Equal) && slices.Equal(s.Limits, t.Limits)
}

// Equal compares by value.
func (n Node) Equal(m Node) bool {
	return len(changes(n, m)) == 0
}

// Normal is the snapshot without what differs between two worlds that were built
// alike: revision, limits that were hit, interface indexes, random MAC addresses, counters, learned
// neighbours and FDB entries, IPv6 link-local addresses and the ephemeral ports
// of connected sockets. Two worlds that had the same commands have equal Normals.
func (s Snapshot) Normal() Snapshot {
	s = clone(s)
	s.Revision, s.Limits = 0, nil
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Counters = nil
		for j := range n.Links {
			l := &n.Links[j]
			l.Index = 0
			if !fixedMAC(l.MAC) {
				l.MAC = ""
			}
			l.Addresses = slices.DeleteFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() })
		}
		slices.SortFunc(n.Links, func(a, b Netdev) int { return strings.Compare(a.Name, b.Name) })
		n.Neighbours = slices.DeleteFunc(n.Neighbours, func(e Neighbour) bool { return e.State != "permanent" })
		n.FDB = slices.DeleteFunc(n.FDB, func(e FDBEntry) bool {
			return e.State == "" || (e.State == "permanent" && !e.Dst.IsValid() && !fixedMAC(e.MAC))
		})
		for j := range n.Firewall {
			c := &n.Firewall[j]
			c.Packets, c.Bytes = 0, 0
			for k := range c.Rules {
				c.Rules[k].Packets, c.Rules[k].Bytes = 0, 0
			}
		}
	}
	return s
}

// fixedMAC says whether a person chose the address: the kernel's own random
// ones (eth_random_addr) set the locally-administered bit, and so do people's;
// a chosen one of the labs begins with 02:00:00, or as Docker does with 02:42 and 10.x or 172.x.
func fixedMAC(mac string) bool {
	return strings.HasPrefix(mac, "02:00:00:") || strings.HasPrefix(mac, "02:42:0a:") || strings.HasPrefix(mac, "02:42:ac:") || strings.HasPrefix(mac, "00:00:00:")
}

// clone is a deep copy by way of the wire's own form, so that it can't forget a field.
func clone(s Snapshot) Snapshot {
	b, err := json.Marshal(s)
	if err != nil {
		panic("topo: a snapshot is always JSON: " + err.Error())
	}
	var c Snapshot
	if err := json.Unmarshal(b, &c); err != nil {
		panic("topo: a snapshot is always JSON: " + err.Error())
	}
	return c
}

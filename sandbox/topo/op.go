package topo

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Op is one change of a namespace, out of a closed vocabulary. Command renders
// it as the command that a person would type in that namespace; parsing the
// command gives the Op back.
type Op interface {
	Command() string
	kind() string
}

// Verb says how an entry of a table is changed, as iproute2 spells it.
type Verb string

// The verbs. VerbAppend is for FDB entries and routes only.
const (
	VerbAdd     Verb = "add"
	VerbReplace Verb = "replace"
	VerbAppend  Verb = "append"
	VerbDel     Verb = "del"
)

type (
	// NetnsAdd makes a named namespace; only on a machine's own node.
	NetnsAdd struct{ Name string }
	// NetnsDel removes the name; the namespace goes with its last user.
	NetnsDel struct{ Name string }

	// LinkAdd makes an interface of Kind veth, bridge, vxlan or macvlan.
	LinkAdd struct {
		Name string
		Kind string
		MAC  string `json:",omitempty"`
		MTU  int    `json:",omitempty"`
		// Peer and PeerNetns are for a veth. PeerNetns creates the far end in
		// place, in that namespace of the same machine.
		Peer      string `json:",omitempty"`
		PeerNetns string `json:",omitempty"`
		// VXLAN is for a vxlan; VXLANDev is its lower device, if any.
		VXLAN    *VXLAN `json:",omitempty"`
		VXLANDev string `json:",omitempty"`
		// Link is the interface that a macvlan shares, Mode how: bridge, private,
		// passthru or vepa, which is what the kernel takes for none.
		Link string `json:",omitempty"`
		Mode string `json:",omitempty"`
	}
	// LinkDel removes an interface; of a veth, both ends go.
	LinkDel struct{ Name string }
	// LinkSet changes what is not zero.
	LinkSet struct {
		Name     string
		State    string `json:",omitempty"` // up or down
		MTU      int    `json:",omitempty"`
		MAC      string `json:",omitempty"`
		Rename   string `json:",omitempty"`
		Master   string `json:",omitempty"`
		NoMaster bool   `json:",omitempty"`
		Netns    string `json:",omitempty"`
	}

	// Address adds, replaces or deletes an interface address.
	Address struct {
		Verb   Verb
		Prefix netip.Prefix
		Dev    string
	}
	// AddressFlush deletes all addresses of an interface.
	AddressFlush struct{ Dev string }

	// RouteChange adds, replaces, appends or deletes a route. An invalid Dst
	// is "default".
	RouteChange struct {
		Verb Verb
		Route
	}
	// NeighbourChange adds, replaces or deletes a permanent ARP or NDP entry.
	NeighbourChange struct {
		Verb Verb
		IP   netip.Addr
		MAC  string `json:",omitempty"`
		Dev  string
	}
	// NeighbourFlush forgets what was learned on Dev, or everywhere.
	NeighbourFlush struct {
		Dev string `json:",omitempty"`
	}
	// FDBChange changes a forwarding entry: of the device itself (VXLAN), or
	// with Master of the bridge that it is a port of. State is permanent
	// (default), static or dynamic.
	FDBChange struct {
		Verb   Verb
		MAC    string
		Dev    string
		Dst    netip.Addr `json:",omitzero"`
		Master bool       `json:",omitempty"`
		State  string     `json:",omitempty"`
	}

	// Sysctl writes one value; Key is dotted, below net.
	Sysctl struct{ Key, Value string }

	// Run starts a program inside the jail with the learner's own rights, for
	// what has no op of ours (iptables, nft, socat). In the background it is
	// left running.
	Run struct {
		Argv       []string
		Background bool `json:",omitempty"`
	}
)

func (NetnsAdd) kind() string        { return "netns-add" }
func (NetnsDel) kind() string        { return "netns-del" }
func (LinkAdd) kind() string         { return "link-add" }
func (LinkDel) kind() string         { return "link-del" }
func (LinkSet) kind() string         { return "link-set" }
func (Address) kind() string         { return "address" }
func (AddressFlush) kind() string    { return "address-flush" }
func (RouteChange) kind() string     { return "route" }
func (NeighbourChange) kind() string { return "neighbour" }
func (NeighbourFlush) kind() string  { return "neighbour-flush" }
func (FDBChange) kind() string       { return "fdb" }
func (Sysctl) kind() string          { return "sysctl" }
func (Run) kind() string             { return "run" }

// Command implements Op.
func (o NetnsAdd) Command() string { return "ip netns add " + Quote(o.Name) }

// Command implements Op.
func (o NetnsDel) Command() string { return "ip netns del " + Quote(o.Name) }

// Command implements Op.
func (o LinkAdd) Command() string {
	// "name", since iproute2 takes a bare "a" for its keyword "address".
	w := words{"ip", "link", "add"}
	w.opt(o.Link != "", "link", o.Link)
	w = append(w, "name", o.Name)
	w.opt(o.MAC != "", "address", o.MAC)
	w.opt(o.MTU != 0, "mtu", strconv.Itoa(o.MTU))
	w = append(w, "type", o.Kind)
	w.opt(o.Peer != "", "peer", "name", o.Peer)
	w.opt(o.PeerNetns != "", "netns", o.PeerNetns)
	w.opt(o.Mode != "", "mode", o.Mode)
	if v := o.VXLAN; v != nil {
		w = append(w, "id", strconv.Itoa(v.VNI))
		w.opt(v.Local.IsValid(), "local", v.Local.String())
		far := "remote"
		if v.Remote.IsMulticast() {
			far = "group"
		}
		w.opt(v.Remote.IsValid(), far, v.Remote.String())
		w.opt(o.VXLANDev != "", "dev", o.VXLANDev)
		w.opt(v.Port != 0, "dstport", strconv.Itoa(v.Port))
		w.opt(!v.Learning, "nolearning")
	}
	return w.String()
}

// Command implements Op.
func (o LinkDel) Command() string { return "ip link del " + Quote(o.Name) }

// Command implements Op.
func (o LinkSet) Command() string {
	w := words{"ip", "link", "set", "dev", o.Name}
	w.opt(o.State != "", o.State)
	w.opt(o.MTU != 0, "mtu", strconv.Itoa(o.MTU))
	w.opt(o.MAC != "", "address", o.MAC)
	w.opt(o.Rename != "", "name", o.Rename)
	w.opt(o.Master != "", "master", o.Master)
	w.opt(o.NoMaster, "nomaster")
	w.opt(o.Netns != "", "netns", o.Netns)
	return w.String()
}

// Command implements Op.
func (o Address) Command() string {
	return words{"ip", "addr", string(o.Verb), o.Prefix.String(), "dev", o.Dev}.String()
}

// Command implements Op.
func (o AddressFlush) Command() string { return words{"ip", "addr", "flush", "dev", o.Dev}.String() }

// Command implements Op.
func (o RouteChange) Command() string {
	w := words{"ip"}
	w.opt(o.Dst.Addr().Is6(), "-6")
	w = append(w, "route", string(o.Verb))
	w.opt(o.Type != "", o.Type)
	if o.Dst.IsValid() && o.Dst.Bits() > 0 {
		w = append(w, o.Dst.String())
	} else {
		w = append(w, "default")
	}
	w.opt(o.Via.IsValid(), "via", o.Via.String())
	w.opt(o.Dev != "", "dev", o.Dev)
	w.opt(o.Src.IsValid(), "src", o.Src.String())
	w.opt(o.Scope != "", "scope", o.Scope)
	w.opt(o.Metric != 0, "metric", strconv.Itoa(o.Metric))
	w.opt(o.Table != 0, "table", strconv.Itoa(o.Table))
	w.opt(o.Protocol != "", "proto", o.Protocol)
	w.opt(o.Onlink, "onlink")
	return w.String()
}

// Command implements Op.
func (o NeighbourChange) Command() string {
	w := words{"ip", "neigh", string(o.Verb), o.IP.String()}
	w.opt(o.MAC != "", "lladdr", o.MAC)
	return append(w, "dev", o.Dev).String()
}

// Command implements Op.
func (o NeighbourFlush) Command() string {
	if o.Dev == "" {
		return "ip neigh flush all"
	}
	return words{"ip", "neigh", "flush", "dev", o.Dev}.String()
}

// Command implements Op.
func (o FDBChange) Command() string {
	w := words{"bridge", "fdb", string(o.Verb), o.MAC, "dev", o.Dev}
	w.opt(o.Dst.IsValid(), "dst", o.Dst.String())
	w.opt(o.Master, "master")
	w.opt(!o.Master, "self")
	w.opt(o.State != "", o.State)
	return w.String()
}

// Command implements Op.
func (o Sysctl) Command() string { return "sysctl -w " + Quote(o.Key+"="+o.Value) }

// Command implements Op.
func (o Run) Command() string {
	s := words(o.Argv).String()
	if o.Background {
		s += " &"
	}
	return s
}

// Placed is an Op and the node where it happens.
type Placed struct {
	Node NodeID
	Op   Op
}

// Command renders the op as typed on the node's machine: for a namespace, ip
// and bridge get -n, everything else goes through ip netns exec.
func (p Placed) Command() string {
	cmd, netns := p.Op.Command(), p.Node.Netns()
	if netns == "" {
		return cmd
	}
	for _, tool := range []string{"ip ", "bridge "} {
		if rest, ok := strings.CutPrefix(cmd, tool); ok && !isRun(p.Op) {
			return tool + "-n " + Quote(netns) + " " + rest
		}
	}
	return "ip netns exec " + Quote(netns) + " " + cmd
}

func isRun(o Op) bool { _, ok := o.(Run); return ok }

type placedWire struct {
	Node NodeID          `json:"node"`
	Kind string          `json:"kind"`
	Op   json.RawMessage `json:"op"`
}

// MarshalJSON writes the op with its kind beside it.
func (p Placed) MarshalJSON() ([]byte, error) {
	if p.Op == nil {
		return nil, fmt.Errorf("an op for %q is missing", p.Node)
	}
	b, err := json.Marshal(p.Op)
	if err != nil {
		return nil, err
	}
	return json.Marshal(placedWire{p.Node, p.Op.kind(), b})
}

// UnmarshalJSON reads what MarshalJSON writes and refuses an unknown kind.
func (p *Placed) UnmarshalJSON(b []byte) error {
	var w placedWire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	read, ok := readers[w.Kind]
	if !ok {
		return fmt.Errorf("unknown kind of op %q", w.Kind)
	}
	op, err := read(w.Op)
	if err != nil {
		return fmt.Errorf("op %s: %w", w.Kind, err)
	}
	p.Node, p.Op = w.Node, op
	return nil
}

var readers = func() map[string]func([]byte) (Op, error) {
	m := map[string]func([]byte) (Op, error){}
	reads[NetnsAdd](m)
	reads[NetnsDel](m)
	reads[LinkAdd](m)
	reads[LinkDel](m)
	reads[LinkSet](m)
	reads[Address](m)
	reads[AddressFlush](m)
	reads[RouteChange](m)
	reads[NeighbourChange](m)
	reads[NeighbourFlush](m)
	reads[FDBChange](m)
	reads[Sysctl](m)
	reads[Run](m)
	return m
}()

func reads[T Op](m map[string]func([]byte) (Op, error)) {
	var zero T
	m[zero.kind()] = func(b []byte) (Op, error) {
		var op T
		err := json.Unmarshal(b, &op)
		return op, err
	}
}

// words is a command line under construction.
type words []string

func (w *words) opt(yes bool, more ...string) {
	if yes {
		*w = append(*w, more...)
	}
}

func (w words) String() string {
	q := make([]string, len(w))
	for i, s := range w {
		q[i] = Quote(s)
	}
	return strings.Join(q, " ")
}

// Quote writes a word so that a POSIX shell reads it back as one word.
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, needsQuote) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func needsQuote(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./-_", r))
}

package labs

import (
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kabel/sandbox/topo"
)

// ParseCommand reads a command as it would be typed in node and turns it into
// the op that it stands for. It knows iproute2's ip and bridge, sysctl, echo
// into /proc/sys, nsenter --net, and the programs that a lab may run. Everything else is
// refused with a *SyntaxError.
func ParseCommand(node topo.NodeID, line string) (topo.Placed, error) {
	if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " \t"), "$ "); ok {
		return topo.Placed{}, &SyntaxError{1, "leave the prompt out", strings.TrimSpace(rest)}
	}
	words, err := split(line)
	if err != nil {
		return topo.Placed{}, err
	}
	p := &parser{words: words, end: len([]rune(line)) + 1}
	netns, op := p.command()
	if p.err == nil && p.more() {
		p.fail(p.words[0], "", "%q is too much here: take it out", p.words[0].text)
	}
	if p.err != nil {
		return topo.Placed{}, p.err
	}
	if netns != "" {
		node = node.In(netns)
	}
	switch op.(type) {
	case topo.NetnsAdd, topo.NetnsDel:
		if node.Netns() != "" {
			return topo.Placed{}, &SyntaxError{1, "make and delete namespaces on the machine itself: a name made inside another namespace does not last", op.Command()}
		}
	}
	return topo.Placed{Node: node, Op: op}, nil
}

// programs may be run by a lab because they change the network in ways that no
// op of ours describes. They run with the learner's rights, so the list guards
// against mistakes, not against malice.
var programs = []string{
	"iptables", "ip6tables", "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy",
	"nft", "ebtables", "ipset", "conntrack", "tc", "ethtool", "socat", "python3", "pkill",
}

// instead tells authors of refused programs what to write.
var instead = map[string]string{
	"ping": "a probe of kind ping", "ping6": "a probe of kind ping", "traceroute": "a probe of kind traceroute",
	"curl": "a probe of kind http", "wget": "a probe of kind http", "dig": "a probe of kind dns", "nslookup": "a probe of kind dns",
	"brctl": "ip link add name br0 type bridge", "ifconfig": "ip addr add 172.16.0.1/24 dev eth0", "route": "ip route add 172.16.0.0/24 dev eth0",
	"arp": "ip neigh", "netstat": "ip route", "vconfig": "ip link add",
	"tcpdump": "", "bash": "", "sh": "",
}

// parser reads words from the left. After the first failure it yields nothing
// more, so that callers need not ask after every word.
type parser struct {
	words  []word
	end    int // the column behind the last character
	nested bool
	seen   []string
	err    *SyntaxError
}

func (p *parser) more() bool { return p.err == nil && len(p.words) > 0 }

func (p *parser) fail(w word, suggestion, format string, a ...any) {
	if p.err == nil {
		p.err = &SyntaxError{w.column, fmt.Sprintf(format, a...), suggestion}
	}
}

// next takes a word; what says, for the error, what belongs there.
func (p *parser) next(what string) word {
	if !p.more() {
		p.fail(word{column: p.end}, "", "%s is missing here", what)
		return word{column: p.end}
	}
	w := p.words[0]
	p.words = p.words[1:]
	if w.operator {
		switch w.text {
		case ">":
			p.fail(w, "", "output goes nowhere from here; only echo VALUE > /proc/sys/net/... is understood")
		case "|":
			p.fail(w, "", "pipes are not supported; only echo VALUE | tee /proc/sys/net/... is understood")
		default:
			p.fail(w, "", "only a program at the end of the line can be sent to the background")
		}
	}
	return w
}

// once refuses a keyword that was given before.
func (p *parser) once(w word, key string) {
	if slices.Contains(p.seen, key) {
		p.fail(w, "", "%q is given twice", w.text)
	}
	p.seen = append(p.seen, key)
}

// pick resolves an abbreviation as iproute2 does: the first entry that begins
// with the word.
func (p *parser) pick(w word, what string, table ...string) string {
	for _, entry := range table {
		if w.text != "" && strings.HasPrefix(entry, w.text) {
			return entry
		}
	}
	p.fail(w, nearest(w.text, table), "%q is no %s", w.text, what)
	return ""
}

func (p *parser) unknown(w word, candidates ...string) {
	p.fail(w, nearest(w.text, candidates), "%q is not understood here", w.text)
}

func (p *parser) command() (netns string, op topo.Op) {
	w := p.next("a command")
	if w.text == "sudo" && !p.nested {
		w = p.next("the command behind sudo")
	}
	switch {
	case p.err != nil:
	case w.text == "ip":
		return p.ip()
	case w.text == "bridge":
		return p.bridge()
	case w.text == "sysctl":
		return "", p.sysctl()
	case w.text == "echo":
		return "", p.echo(w)
	case w.text == "nsenter":
		return p.nsenter(w)
	case slices.Contains(programs, w.text):
		return "", p.run(w)
	default:
		suggestion, known := instead[w.text]
		if known {
			p.fail(w, suggestion, "%s is not a change that a lab can make", w.text)
			break
		}
		all := append([]string{"ip", "bridge", "sysctl", "echo", "nsenter"}, programs...)
		p.fail(w, nearest(w.text, all), "%q is not a command that labs know: there are %s", w.text, strings.Join(all, ", "))
	}
	return "", nil
}

func (p *parser) run(program word) topo.Op {
	op := topo.Run{Argv: []string{program.text}}
	if n := len(p.words); n > 0 && p.words[n-1].operator && p.words[n-1].text == "&" {
		op.Background = true
		p.words = p.words[:n-1]
	}
	for p.more() {
		op.Argv = append(op.Argv, p.next("").text)
	}
	if program.text == "socat" && !op.Background {
		p.fail(word{column: p.end}, "&", "socat runs until it is stopped: send it to the background")
	}
	return op
}

// family is what -4 and -6 ask for; 0 is either.
type family int

func (f family) admits(a netip.Addr) bool {
	return f == 0 || (f == 4) == a.Is4()
}

func (p *parser) ip() (netns string, op topo.Op) {
	var fam family
	for p.more() && strings.HasPrefix(p.words[0].text, "-") {
		w := p.next("")
		switch {
		case w.text == "-4":
			fam = 4
		case w.text == "-6":
			fam = 6
		case len(w.text) > 1 && strings.HasPrefix("-netns", w.text):
			p.once(w, "-netns")
			netns = p.enter(w)
		default:
			p.unknown(w, "-4", "-6", "-n", "-netns")
		}
	}
	object := p.next("an object of ip (link, addr, route, neigh, netns)")
	if p.err != nil {
		return "", nil
	}
	switch p.pick(object, "object of ip that labs know", "address", "route", "neighbor", "neighbour", "link", "netns") {
	case "address":
		op = p.address(fam)
	case "route":
		op = p.route(fam)
	case "neighbor", "neighbour":
		op = p.neighbour(fam)
	case "link":
		op = p.link()
	case "netns":
		verb := p.next("add, del or exec")
		switch p.verb(verb, "add", "delete", "exec") {
		case "add":
			op = topo.NetnsAdd{Name: p.netnsName()}
		case "delete":
			op = topo.NetnsDel{Name: p.netnsName()}
		case "exec":
			if netns != "" {
				p.fail(verb, "", "ip -n already names a namespace")
			}
			netns = p.enter(verb)
			inner, op := p.command()
			if inner != "" {
				p.fail(verb, "", "one namespace inside another is not supported")
			}
			return netns, op
		}
	}
	return netns, op
}

// enter reads the name of the namespace in which the rest happens.
func (p *parser) enter(w word) string {
	if p.nested {
		p.fail(w, "", "one namespace inside another is not supported: the outer one has no effect")
	}
	p.nested = true
	return p.netnsName()
}

// nsenter reads the other way to run a command in a namespace, which names its
// file under /run/netns.
func (p *parser) nsenter(command word) (netns string, op topo.Op) {
	const form = "--net=/run/netns/"
	w := p.next(form + "NAME")
	name, named := strings.CutPrefix(w.text, form)
	switch {
	case p.err != nil:
		return "", nil
	case p.nested:
		p.fail(command, "", "one namespace inside another is not supported: the outer one has no effect")
	case !named:
		p.fail(w, form+"kon", "a lab enters a named network namespace and nothing else")
	case !topo.ValidNetnsName(name):
		p.fail(w, "", "%q can't be the name of a namespace: up to 64 letters, digits and . _ - @", name)
	}
	p.nested = true
	inner, op := p.command()
	if inner != "" {
		p.fail(command, "", "one namespace inside another is not supported")
	}
	return name, op
}

// verb picks one of the verbs; those that only show are told apart from typos.
func (p *parser) verb(w word, verbs ...string) string {
	if p.err != nil {
		return ""
	}
	for _, show := range []string{"show", "list", "lst", "get", "monitor"} {
		if len(w.text) > 1 && strings.HasPrefix(show, w.text) && !slices.Contains(verbs, w.text) {
			p.fail(w, "", "%q only shows something and changes nothing: it belongs into a terminal", w.text)
			return ""
		}
	}
	return p.pick(w, "verb that labs know here", verbs...)
}

func asVerb(s string) topo.Verb {
	if s == "delete" {
		return topo.VerbDel
	}
	return topo.Verb(s)
}

func (p *parser) link() topo.Op {
	verb := p.next("add, set or del")
	switch p.verb(verb, "add", "set", "delete") {
	case "add":
		return p.linkAdd()
	case "set":
		return p.linkSet()
	case "delete":
		return topo.LinkDel{Name: p.device()}
	}
	return nil
}

var linkKinds = []string{"veth", "bridge", "vxlan", "macvlan"}

func (p *parser) linkAdd() topo.Op {
	var op topo.LinkAdd
	var shared word
	for p.more() && op.Kind == "" {
		switch w := p.next(""); w.text {
		case "name", "dev":
			p.once(w, "name")
			op.Name = p.linkName(p.next("the interface's name"))
		case "address":
			p.once(w, "address")
			op.MAC = p.mac()
		case "mtu":
			p.once(w, "mtu")
			op.MTU = p.number("an MTU in bytes", 1, math.MaxInt32)
		case "link":
			p.once(w, "link")
			shared = w
			op.Link = p.linkName(p.next("the interface that is shared"))
		case "type":
			kind := p.next("veth, bridge, vxlan or macvlan")
			if p.err == nil && !slices.Contains(linkKinds, kind.text) {
				p.fail(kind, nearest(kind.text, linkKinds), "%q is not a kind of interface that labs know", kind.text)
			}
			op.Kind = kind.text
		case "up", "down", "master", "netns":
			p.fail(w, "", "%q is not possible while an interface is made: use ip link set afterwards", w.text)
		default:
			if op.Name != "" {
				p.unknown(w, "type", "name", "mtu", "address", "link")
				break
			}
			p.once(w, "name")
			op.Name = p.linkName(w)
		}
	}
	switch {
	case p.err != nil:
		return nil
	case op.Kind == "":
		p.fail(word{column: p.end}, "type veth", "the kind of the interface is missing")
	case op.Name == "":
		p.fail(word{column: p.end}, "", "the interface's name is missing")
	case op.Kind == "macvlan":
		p.macvlan(&op)
	case op.Link != "":
		p.fail(shared, "", "a %s shares no interface", op.Kind)
	case op.Kind == "veth":
		p.peer(&op)
	case op.Kind == "vxlan":
		p.vxlan(&op)
	}
	return op
}

func (p *parser) peer(op *topo.LinkAdd) {
	w := p.next("peer name, the other end of the cable,")
	if w.text != "peer" {
		p.unknown(w, "peer")
	}
	for p.more() {
		switch w := p.next(""); w.text {
		case "name", "dev":
			p.once(w, "peer name")
			op.Peer = p.linkName(p.next("the other end's name"))
		case "netns":
			p.once(w, "peer netns")
			op.PeerNetns = p.netnsName()
		default:
			if op.Peer != "" {
				p.unknown(w, "netns")
				break
			}
			op.Peer = p.linkName(w)
		}
	}
	if op.Peer == "" {
		p.fail(word{column: p.end}, "peer name "+op.Name+"-peer", "the other end of the cable needs a name")
	}
	if op.Peer == op.Name && op.PeerNetns == "" {
		p.fail(word{column: p.end}, "", "both ends of the cable can't be called %q in one namespace", op.Name)
	}
}

func (p *parser) vxlan(op *topo.LinkAdd) {
	v := topo.VXLAN{Learning: true}
	for p.more() {
		w := p.next("")
		switch w.text {
		case "id", "vni":
			p.once(w, "id")
			v.VNI = p.number("a network id", 0, 1<<24-1)
			continue
		case "nolearning", "learning":
			p.once(w, "learning")
			v.Learning = w.text == "learning"
			continue
		case "local":
			v.Local = p.addr(0)
		case "remote", "group":
			at := p.words
			v.Remote = p.addr(0)
			if p.err == nil && v.Remote.IsMulticast() != (w.text == "group") {
				p.fail(at[0], "", "remote is one machine's address, group a multicast address")
			}
			w.text = "remote or group"
		case "dev":
			op.VXLANDev = p.linkName(p.next("the lower interface"))
		case "dstport":
			v.Port = p.number("a UDP port", 1, 65535)
		default:
			p.unknown(w, "id", "local", "remote", "group", "dev", "dstport", "nolearning", "learning")
		}
		p.once(w, "vxlan "+w.text)
	}
	if !slices.Contains(p.seen, "id") {
		p.fail(word{column: p.end}, "id 42", "a VXLAN needs the id of its network")
	}
	op.VXLAN = &v
}

func (p *parser) macvlan(op *topo.LinkAdd) {
	if op.Link == "" {
		p.fail(word{column: p.end}, "ip link add link eth0 name "+op.Name+" type macvlan mode bridge", "a macvlan needs the interface that it shares")
	}
	modes := []string{"bridge", "private", "vepa", "passthru"}
	for p.more() {
		w := p.next("")
		if w.text != "mode" {
			p.unknown(w, "mode")
			break
		}
		p.once(w, "mode")
		mode := p.next("bridge, private, vepa or passthru")
		if p.err == nil && !slices.Contains(modes, mode.text) {
			p.fail(mode, nearest(mode.text, modes), "%q is no mode of a macvlan: there are %s", mode.text, strings.Join(modes, ", "))
		}
		op.Mode = mode.text
	}
}

func (p *parser) linkSet() topo.Op {
	var op topo.LinkSet
	for p.more() {
		switch w := p.next(""); w.text {
		case "dev":
			p.once(w, "dev")
			op.Name = p.linkName(p.next("the interface's name"))
		case "up", "down":
			p.once(w, "state")
			op.State = w.text
		case "mtu":
			p.once(w, "mtu")
			op.MTU = p.number("an MTU in bytes", 1, math.MaxInt32)
		case "address":
			p.once(w, "address")
			op.MAC = p.mac()
		case "name":
			p.once(w, "name")
			op.Rename = p.linkName(p.next("the new name"))
		case "master":
			p.once(w, "master")
			op.Master = p.linkName(p.next("the bridge's name"))
		case "nomaster":
			p.once(w, "master")
			op.NoMaster = true
		case "netns":
			p.once(w, "netns")
			op.Netns = p.netnsName()
		default:
			if op.Name != "" {
				p.unknown(w, "up", "down", "mtu", "address", "name", "master", "nomaster", "netns")
				break
			}
			p.once(w, "dev")
			op.Name = p.linkName(w)
		}
	}
	switch {
	case p.err != nil:
	case op.Name == "":
		p.fail(word{column: p.end}, "", "the interface's name is missing")
	case op == topo.LinkSet{Name: op.Name}:
		p.fail(word{column: p.end}, "up", "this says nothing about what to set")
	}
	return op
}

func (p *parser) address(fam family) topo.Op {
	verb := p.verb(p.next("add, replace, del or flush"), "add", "replace", "delete", "flush")
	if verb == "flush" {
		return topo.AddressFlush{Dev: p.device()}
	}
	op := topo.Address{Verb: asVerb(verb)}
	for p.more() {
		switch w := p.next(""); w.text {
		case "dev":
			p.once(w, "dev")
			op.Dev = p.linkName(p.next("the interface's name"))
		case "local":
			w = p.next("an address")
			fallthrough
		default:
			if op.Prefix.IsValid() {
				p.unknown(w, "dev")
				break
			}
			op.Prefix = p.prefix(w, fam)
		}
	}
	switch {
	case p.err != nil:
	case !op.Prefix.IsValid():
		p.fail(word{column: p.end}, "", "the address is missing")
	case op.Dev == "":
		p.fail(word{column: p.end}, "dev eth0", "the interface is missing")
	}
	return op
}

// routeTypes are the kinds of routes that send nothing; unicast is the usual one.
var routeTypes = []string{"blackhole", "unreachable", "prohibit", "unicast"}

func (p *parser) route(fam family) topo.Op {
	op := topo.RouteChange{Verb: asVerb(p.verb(p.next("add, replace, append or del"), "add", "replace", "append", "delete"))}
	w := p.next("a destination")
	if p.err == nil && slices.Contains(routeTypes, w.text) {
		if w.text != "unicast" {
			op.Type = w.text
		}
		w = p.next("a destination")
	}
	if w.text == "to" {
		w = p.next("a destination")
	}
	byDefault := w.text == "default"
	if p.err == nil && !byDefault {
		op.Dst = p.prefix(w, fam)
		if p.err == nil && op.Dst != op.Dst.Masked() {
			p.fail(w, op.Dst.Masked().String(), "%s is an address inside the network, not the network", op.Dst)
		}
	}
	for p.more() {
		w := p.next("")
		switch w.text {
		case "via":
			op.Via = p.addr(fam)
		case "dev":
			op.Dev = p.linkName(p.next("the interface's name"))
		case "src":
			op.Src = p.addr(fam)
		case "scope":
			op.Scope = p.pick(p.next("a scope"), "scope", "link", "host", "global")
			if op.Scope == "global" {
				op.Scope = ""
			}
		case "metric":
			op.Metric = p.number("a metric", 0, math.MaxInt32)
		case "table":
			if p.more() && p.words[0].text == "main" {
				p.next("")
			} else if op.Table = p.number("main or the number of a table", 1, math.MaxInt32); op.Table == mainTable {
				op.Table = 0
			}
		case "proto", "protocol":
			w.text = "proto"
			op.Protocol = p.pick(p.next("a protocol"), "protocol that labs know", "static", "boot", "kernel")
		case "onlink":
			op.Onlink = true
		case "nexthop":
			p.fail(w, "", "routes with several next hops are not supported")
		default:
			p.unknown(w, "via", "dev", "src", "scope", "metric", "table", "proto", "onlink")
		}
		p.once(w, w.text)
	}
	if byDefault {
		op.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if fam == 6 || op.Via.Is6() || op.Src.Is6() {
			op.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	for _, a := range []netip.Addr{op.Via, op.Src} {
		if a.IsValid() && a.Is4() != op.Dst.Addr().Is4() {
			p.fail(w, "", "the destination and %s are not of one family", a)
		}
	}
	return op
}

// mainTable is the kernel's number of the table that routes go to by default.
const mainTable = 254

func (p *parser) neighbour(fam family) topo.Op {
	verb := p.verb(p.next("add, replace, del or flush"), "add", "replace", "delete", "flush")
	if verb == "flush" {
		if p.more() && p.words[0].text == "all" {
			p.next("")
			return topo.NeighbourFlush{}
		}
		return topo.NeighbourFlush{Dev: p.device()}
	}
	op := topo.NeighbourChange{Verb: asVerb(verb)}
	for p.more() {
		switch w := p.next(""); w.text {
		case "lladdr":
			p.once(w, "lladdr")
			op.MAC = p.mac()
		case "dev":
			p.once(w, "dev")
			op.Dev = p.linkName(p.next("the interface's name"))
		case "nud":
			if w := p.next("permanent"); w.text != "permanent" {
				p.fail(w, "permanent", "only permanent entries can be made by hand here")
			}
		case "to":
		default:
			if op.IP.IsValid() {
				p.unknown(w, "lladdr", "dev", "nud")
				break
			}
			op.IP = p.parseAddr(w, fam)
		}
	}
	switch {
	case p.err != nil:
	case !op.IP.IsValid():
		p.fail(word{column: p.end}, "", "the neighbour's address is missing")
	case op.Dev == "":
		p.fail(word{column: p.end}, "dev eth0", "the interface is missing")
	case op.MAC == "" && op.Verb != topo.VerbDel:
		p.fail(word{column: p.end}, "lladdr 02:00:00:00:00:01", "the neighbour's MAC address is missing")
	}
	return op
}

func (p *parser) bridge() (netns string, op topo.Op) {
	for p.more() && strings.HasPrefix(p.words[0].text, "-") {
		w := p.next("")
		if len(w.text) < 2 || !strings.HasPrefix("-netns", w.text) {
			p.unknown(w, "-n", "-netns")
		}
		netns = p.enter(w)
	}
	p.pick(p.next("fdb"), "object of bridge that labs know", "fdb")
	entry := topo.FDBChange{Verb: asVerb(p.verb(p.next("add, append, replace or del"), "add", "append", "replace", "delete"))}
	for p.more() {
		w := p.next("")
		switch w.text {
		case "dev":
			entry.Dev = p.linkName(p.next("the interface's name"))
		case "dst":
			entry.Dst = p.addr(0)
		case "master", "self":
			entry.Master = w.text == "master"
			w.text = "master or self"
		case "permanent", "local":
			entry.State = "permanent"
			w.text = "state"
		case "static", "temp":
			entry.State = "static"
			w.text = "state"
		case "dynamic":
			entry.State = "dynamic"
			w.text = "state"
		default:
			if entry.MAC != "" {
				p.unknown(w, "dev", "dst", "master", "self", "permanent", "static", "dynamic")
				break
			}
			entry.MAC = p.parseMAC(w)
			w.text = "a MAC address"
		}
		p.once(w, w.text)
	}
	switch {
	case p.err != nil:
	case entry.MAC == "":
		p.fail(word{column: p.end}, "", "the MAC address is missing")
	case entry.Dev == "":
		p.fail(word{column: p.end}, "dev vxlan0", "the interface is missing")
	}
	return netns, entry
}

func (p *parser) sysctl() topo.Op {
	for p.more() && strings.HasPrefix(p.words[0].text, "-") {
		if w := p.next(""); !slices.Contains([]string{"-w", "--write", "-q", "--quiet", "-qw", "-wq"}, w.text) {
			p.unknown(w, "-w", "-q")
		}
	}
	w := p.next("key=value")
	key, value, given := strings.Cut(w.text, "=")
	if p.err == nil && !given {
		p.fail(w, w.text+"=1", "this only reads the value: to set one, write key=value")
	}
	if p.more() {
		p.fail(p.words[0], "", "one value at a time, without spaces around the equals sign")
	}
	// As in sysctl(8): whichever of . and / comes first separates, the other
	// stands for a dot inside a name.
	key = strings.TrimSpace(key)
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		key = strings.NewReplacer("/", ".", ".", "/").Replace(key)
	}
	return p.setting(w, key, value)
}

// echo reads the two ways to write a file under /proc/sys from a shell.
func (p *parser) echo(echo word) topo.Op {
	if p.nested {
		p.fail(echo, "sysctl -w", "the shell opens the file before ip netns exec starts, so this would write the machine's own value")
	}
	var value []string
	for p.more() && !p.words[0].operator {
		value = append(value, p.next("").text)
	}
	if !p.more() {
		p.fail(word{column: p.end}, "> /proc/sys/net/ipv4/ip_forward", "echo alone changes nothing")
		return nil
	}
	operator := p.words[0]
	p.words = p.words[1:]
	switch {
	case operator.text == "|":
		w := p.next("tee")
		if w.text == "sudo" {
			w = p.next("tee")
		}
		if w.text != "tee" {
			p.unknown(w, "tee")
		}
	case operator.text != ">" || p.more() && p.words[0].operator:
		p.fail(operator, ">", "write the value with one > into a file under /proc/sys/net")
	}
	w := p.next("a file under /proc/sys/net")
	if p.err != nil {
		return nil
	}
	file, below := strings.CutPrefix(path.Clean(w.text), "/proc/sys/")
	if !below {
		p.fail(w, "/proc/sys/net/ipv4/ip_forward", "only files under /proc/sys/net can be written")
	}
	return p.setting(w, strings.NewReplacer("/", ".", ".", "/").Replace(file), strings.Join(value, " "))
}

// sysctlKey is a dotted key in which / stands for a dot inside a name.
var sysctlKey = regexp.MustCompile(`^net(\.[A-Za-z0-9_/@-]*[A-Za-z0-9_@-][A-Za-z0-9_/@-]*)+$`)

func (p *parser) setting(w word, key, value string) topo.Op {
	value = strings.TrimSpace(value)
	switch {
	case p.err != nil:
	case !sysctlKey.MatchString(key):
		p.fail(w, "net.ipv4.ip_forward", "%q is not the name of a setting below net", key)
	case value == "":
		p.fail(w, "", "the value is missing")
	}
	return topo.Sysctl{Key: key, Value: value}
}

// reserved are the words that have a meaning of their own where iproute2 also
// takes a bare interface name.
var reserved = []string{"dev", "name", "type", "address", "mtu", "up", "down", "master", "nomaster", "netns", "peer", "all"}

func (p *parser) linkName(w word) string {
	switch {
	case p.err != nil:
	case !topo.ValidLinkName(w.text):
		p.fail(w, "", "%q can't be the name of an interface: up to 15 letters, digits and . _ - @", w.text)
	case slices.Contains(reserved, w.text):
		p.fail(w, "", "%q is a word of the command itself and makes a bad name", w.text)
	}
	return w.text
}

// device reads an interface with or without the word dev.
func (p *parser) device() string {
	w := p.next("the interface's name")
	if w.text == "dev" {
		w = p.next("the interface's name")
	}
	return p.linkName(w)
}

func (p *parser) netnsName() string {
	w := p.next("the namespace's name")
	if p.err == nil && !topo.ValidNetnsName(w.text) {
		p.fail(w, "", "%q can't be the name of a namespace: up to 64 letters, digits and . _ - @", w.text)
	}
	return w.text
}

func (p *parser) number(what string, least, most int) int {
	w := p.next(what)
	n, err := strconv.Atoi(w.text)
	if p.err == nil && (err != nil || n < least || n > most || strconv.Itoa(n) != w.text) {
		p.fail(w, "", "%q is not %s (%d to %d)", w.text, what, least, most)
	}
	return n
}

func (p *parser) addr(fam family) netip.Addr {
	return p.parseAddr(p.next("an address"), fam)
}

func (p *parser) parseAddr(w word, fam family) netip.Addr {
	if p.err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(w.text)
	switch {
	case err != nil || a.Zone() != "" || a.Is4In6():
		p.fail(w, "", "%q is not an IP address", w.text)
	case !fam.admits(a):
		p.fail(w, "", "%s is not an IPv%d address", a, fam)
	}
	return a
}

// prefix reads an address with or without a length; without, it is one host.
func (p *parser) prefix(w word, fam family) netip.Prefix {
	if p.err != nil {
		return netip.Prefix{}
	}
	if !strings.Contains(w.text, "/") {
		a := p.parseAddr(w, fam)
		return netip.PrefixFrom(a, a.BitLen())
	}
	pre, err := netip.ParsePrefix(w.text)
	switch {
	case err != nil || pre.Addr().Is4In6():
		p.fail(w, "", "%q is not an address with a prefix length such as 172.16.0.1/24", w.text)
	case !fam.admits(pre.Addr()):
		p.fail(w, "", "%s is not IPv%d", pre, fam)
	}
	return pre
}

func (p *parser) mac() string { return p.parseMAC(p.next("a MAC address")) }

var macAddress = regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)

func (p *parser) parseMAC(w word) string {
	mac := strings.ToLower(w.text)
	if p.err == nil && !macAddress.MatchString(mac) {
		p.fail(w, "02:00:00:00:00:01", "%q is not a MAC address", w.text)
	}
	return mac
}

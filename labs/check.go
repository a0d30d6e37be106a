package labs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"kabel/sandbox/topo"
)

// State is what a check is judged by.
type State struct {
	Now topo.Snapshot
	// Since is the snapshot at the moment when the step became current;
	// counters are read as their rise since then.
	Since topo.Snapshot
	// Probes since then, oldest first.
	Probes []topo.ProbeResult
	// Probing lists the probes that are under way. While there is one, its
	// packets can't be told from a ping that was typed.
	Probing []topo.Probe
	// Packets are the sightings since then, oldest first. They need to be there
	// for checks that ask for them only (Check.Packets).
	Packets []topo.Sighting
}

// Check is a condition over a State, compiled from CEL.
type Check struct {
	program compiled
	packets bool
}

// Packets says whether the condition asks for packets, so that somebody must
// capture them.
func (c *Check) Packets() bool { return c.packets }

// Expr is an expression over a State that yields a string.
type Expr struct{ program compiled }

// compiled is a program and the adapter that knows the views its functions return.
type compiled struct {
	cel.Program
	adapter types.Adapter
}

// Eval decides the condition. It is safe for concurrent use.
func (c *Check) Eval(ctx context.Context, s State) (bool, error) {
	v, err := evaluate(ctx, c.program, s)
	if err != nil {
		return false, err
	}
	yes, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("a check yielded %s instead of a bool", v.Type())
	}
	return bool(yes), nil
}

// Eval computes the string. It is safe for concurrent use.
func (e *Expr) Eval(ctx context.Context, s State) (string, error) {
	v, err := evaluate(ctx, e.program, s)
	if err != nil {
		return "", err
	}
	text, ok := v.(types.String)
	if !ok {
		return "", fmt.Errorf("an expression yielded %s instead of a string", v.Type())
	}
	return string(text), nil
}

func evaluate(ctx context.Context, p compiled, s State) (ref.Val, error) {
	bound := make(map[string]cel.LateBoundFunction, len(functions))
	for _, f := range functions {
		bound[f.name] = func(overload string, args ...ref.Val) ref.Val {
			i := slices.IndexFunc(functions, func(f function) bool { return f.overload() == overload })
			words := make([]string, len(args))
			var number int
			for i, a := range args {
				switch a := a.(type) {
				case types.String:
					words[i] = string(a)
				case types.Int:
					number = int(a)
				}
			}
			return p.adapter.NativeToValue(functions[i].call(&s, words, number))
		}
	}
	vars, err := cel.FunctionVars(cel.NoVars(), bound)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	v, _, err := p.ContextEval(ctx, vars)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return v, nil
}

// What the functions of a check return: a part of the snapshot, all zero where
// there is no such thing.
type (
	nodeView struct {
		Exists bool `cel:"exists"`
	}
	linkView struct {
		Exists  bool   `cel:"exists"`
		Up      bool   `cel:"up"`
		Carrier bool   `cel:"carrier"`
		MTU     int    `cel:"mtu"`
		MAC     string `cel:"mac"`
		Kind    string `cel:"kind"`
		Master  string `cel:"master"`
		Peer    string `cel:"peer"`
		Parent  string `cel:"parent"`
		Mode    string `cel:"mode"`
	}
	routeView struct {
		Exists bool   `cel:"exists"`
		Count  int    `cel:"count"` // of routes to just that destination
		Type   string `cel:"type"`  // of the first, which the kernel takes
		Via    string `cel:"via"`
		Dev    string `cel:"dev"`
		Src    string `cel:"src"`
		Onlink bool   `cel:"onlink"`
		Metric int    `cel:"metric"`
	}
	neighbourView struct {
		Exists bool   `cel:"exists"`
		MAC    string `cel:"mac"`
		Dev    string `cel:"dev"`
		State  string `cel:"state"`
	}
	fdbView struct {
		Exists  bool   `cel:"exists"`
		Learned bool   `cel:"learned"`
		Dst     string `cel:"dst"`
		Master  string `cel:"master"`
	}
	ruleView struct {
		Exists bool `cel:"exists"`
		Rose   int  `cel:"rose"` // packets since the step became current
	}
	socketView struct {
		Exists bool   `cel:"exists"`
		Count  int    `cel:"count"` // of sockets with that port
		Local  string `cel:"local"` // of the first
		Remote string `cel:"remote"`
	}
	probeView struct {
		Tried    bool   `cel:"tried"`
		OK       bool   `cel:"ok"`
		Failed   bool   `cel:"failed"`
		Sent     int    `cel:"sent"`
		Received int    `cel:"received"`
		Reason   string `cel:"reason"`
	}
	// packetView is a topo.Sighting; what that says of its fields holds here.
	packetView struct {
		Out       bool     `cel:"out"`
		Kind      string   `cel:"kind"`
		Protocols []string `cel:"protocols"`
		Src       string   `cel:"src"`
		Dst       string   `cel:"dst"`
		SrcPort   int      `cel:"src_port"`
		DstPort   int      `cel:"dst_port"`
		TTL       int      `cel:"ttl"`
		OuterSrc  string   `cel:"outer_src"`
		OuterDst  string   `cel:"outer_dst"`
		OuterPort int      `cel:"outer_port"`
		OuterTTL  int      `cel:"outer_ttl"`
		Length    int      `cel:"length"`
		Answered  bool     `cel:"answered"`
	}
)

// argument says what a function's argument names, so that a misspelt one is
// found when the lab is loaded.
type argument int

const (
	anyText argument = iota
	anyNumber
	nodeName
	linkName
	destination
	address
	interfaceAddress
	sysctlName
	counterName
	tableName
	protocolName
	portNumber
)

// function is one function of the language of checks.
type function struct {
	name   string
	args   []argument
	result reflect.Type
	call   func(s *State, args []string, number int) any
}

// signature is how the function is written.
func (f function) signature() string {
	var args []string
	for _, a := range f.args {
		args = append(args, argumentNames[a])
	}
	return f.name + "(" + strings.Join(args, ", ") + ")"
}

var argumentNames = map[argument]string{anyText: "'text'", anyNumber: "number", nodeName: "'node'", linkName: "'interface'", destination: "'destination'",
	address: "'address'", interfaceAddress: "'address/length'", sysctlName: "'setting'", counterName: "'counter'", tableName: "'table'",
	protocolName: "'protocol'", portNumber: "port"}

// overload names the function and its number of arguments.
func (f function) overload() string { return fmt.Sprintf("%s_%d", f.name, len(f.args)) }

// view is the struct that the function returns, one or a list of; nil: neither.
func (f function) view() reflect.Type {
	switch {
	case f.result.Kind() == reflect.Slice:
		return f.result.Elem()
	case f.result.Kind() == reflect.Struct:
		return f.result
	}
	return nil
}

// functions is the whole vocabulary of checks.
var functions = []function{
	{"node", []argument{nodeName}, reflect.TypeFor[nodeView](), func(s *State, a []string, _ int) any {
		return nodeView{s.Now.Node(topo.NodeID(a[0])) != nil}
	}},
	{"link", []argument{nodeName, linkName}, reflect.TypeFor[linkView](), func(s *State, a []string, _ int) any {
		l := node(&s.Now, a[0]).Link(a[1])
		if l == nil {
			return linkView{}
		}
		return linkView{true, l.Up, l.Carrier, l.MTU, l.MAC, l.Kind, l.Master, string(l.Peer), l.Parent, l.Mode}
	}},
	{"has_addr", []argument{nodeName, linkName, interfaceAddress}, reflect.TypeFor[bool](), func(s *State, a []string, _ int) any {
		l := node(&s.Now, a[0]).Link(a[1])
		return l != nil && slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.String() == a[2] })
	}},
	{"route", []argument{nodeName, destination}, reflect.TypeFor[routeView](), func(s *State, a []string, _ int) any {
		var view routeView
		want := routeTo(a[1])
		for _, r := range node(&s.Now, a[0]).Routes {
			if r.Table != 0 || r.Dst != want && (r.Dst.IsValid() || want.Bits() != 0) {
				continue
			}
			if view.Count == 0 {
				view = routeView{true, 0, r.Type, text(r.Via), r.Dev, text(r.Src), r.Onlink, r.Metric}
			}
			view.Count++
		}
		return view
	}},
	{"neigh", []argument{nodeName, address}, reflect.TypeFor[neighbourView](), func(s *State, a []string, _ int) any {
		for _, n := range node(&s.Now, a[0]).Neighbours {
			if n.IP.String() == a[1] {
				return neighbourView{true, n.MAC, n.Dev, n.State}
			}
		}
		return neighbourView{}
	}},
	{"fdb", []argument{nodeName, linkName, anyText}, reflect.TypeFor[fdbView](), func(s *State, a []string, _ int) any {
		for _, e := range node(&s.Now, a[0]).FDB {
			if e.Dev == a[1] && e.MAC == a[2] {
				return fdbView{true, e.State == "", text(e.Dst), e.Master}
			}
		}
		return fdbView{}
	}},
	{"sysctl", []argument{nodeName, sysctlName}, reflect.TypeFor[string](), func(s *State, a []string, _ int) any {
		return node(&s.Now, a[0]).Sysctls[a[1]]
	}},
	{"policy", []argument{nodeName, tableName, anyText}, reflect.TypeFor[string](), func(s *State, a []string, _ int) any {
		for _, c := range chains(&s.Now, a[0], a[1], a[2]) {
			if c.Policy != "" && !strings.EqualFold(c.Policy, "ACCEPT") {
				return strings.ToUpper(c.Policy)
			}
		}
		return "ACCEPT" // also what the kernel does where there is no chain
	}},
	{"rule", []argument{nodeName, tableName, anyText, anyText}, reflect.TypeFor[ruleView](), func(s *State, a []string, _ int) any {
		now, found := matched(&s.Now, a)
		since, _ := matched(&s.Since, a)
		return ruleView{found, int(now - min(now, since))}
	}},
	{"socket", []argument{nodeName, protocolName, portNumber}, reflect.TypeFor[socketView](), func(s *State, a []string, port int) any {
		var view socketView
		for _, k := range node(&s.Now, a[0]).Sockets {
			if k.Protocol != a[1] || int(k.Local.Port()) != port {
				continue
			}
			view.Count++
			if view.Exists {
				continue
			}
			view.Exists, view.Local = true, k.Local.String()
			if k.Remote.IsValid() {
				view.Remote = k.Remote.String()
			}
		}
		return view
	}},
	{"rose", []argument{nodeName, counterName}, reflect.TypeFor[int](), func(s *State, a []string, _ int) any {
		return rose(s, a[0], a[1])
	}},
	{"probe", []argument{nodeName, anyText}, reflect.TypeFor[probeView](), func(s *State, a []string, _ int) any {
		return probed(s, func(p topo.Probe) bool { return p.From == topo.NodeID(a[0]) && p.To == a[1] })
	}},
	{"probe", []argument{nodeName, anyText, anyNumber}, reflect.TypeFor[probeView](), func(s *State, a []string, size int) any {
		return probed(s, func(p topo.Probe) bool { return p.From == topo.NodeID(a[0]) && p.To == a[1] && p.Size == size })
	}},
	{"ping", []argument{nodeName, address}, reflect.TypeFor[probeView](), func(s *State, a []string, _ int) any {
		return pinged(s, topo.NodeID(a[0]), a[1])
	}},
	{packetsFunction, []argument{nodeName, linkName}, reflect.TypeFor[[]packetView](), func(s *State, a []string, _ int) any {
		return sightings(s, topo.NodeID(a[0]), a[1])
	}},
}

// packetsFunction is the one function that needs a capture.
const packetsFunction = "packets"

// node finds a node; an empty one stands for one that is not there, because
// nothing is on it.
func node(s *topo.Snapshot, id string) *topo.Node {
	if n := s.Node(topo.NodeID(id)); n != nil {
		return n
	}
	return &topo.Node{}
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// routeTo reads a destination; the zero Prefix if it is none.
func routeTo(s string) netip.Prefix {
	if s == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() {
		return netip.Prefix{}
	}
	return p
}

// chains finds the IPv4 chains of that name, of whatever tool.
func chains(s *topo.Snapshot, id, table, name string) []topo.Chain {
	var out []topo.Chain
	for _, c := range node(s, id).Firewall {
		if c.Table == table && c.Name == name && c.Family != "ip6" {
			out = append(out, c)
		}
	}
	return out
}

// matched counts what met the first rule of a node, table and chain that has
// the given words.
func matched(s *topo.Snapshot, a []string) (n uint64, found bool) {
	for _, c := range chains(s, a[0], a[1], a[2]) {
		for _, r := range c.Rules {
			if strings.Contains(r.Text, a[3]) {
				return r.Packets, true
			}
		}
	}
	return 0, false
}

// rose is how much a counter grew since the step became current. A namespace
// that was made again in between counts from zero.
func rose(s *State, id, counter string) int {
	now, since := node(&s.Now, id).Counters[counter], node(&s.Since, id).Counters[counter]
	if now < since {
		since = 0
	}
	return int(now - since)
}

func probed(s *State, match func(topo.Probe) bool) probeView {
	for _, r := range slices.Backward(s.Probes) {
		if match(r.Probe) {
			return probeView{true, r.OK, !r.OK, r.Sent, r.Received, string(r.Reason)}
		}
	}
	return probeView{}
}

// pinged joins the two ways to ping. A probe says exactly what happened to it.
// For a ping that was typed into a terminal the kernel's counters speak: an
// answer counts if the asker received replies and the owner of the address sent
// some; a failure if the asker had no route or two requests stayed without a
// reply. Counters don't tell which address was asked, so that a failure of
// another ping from the same namespace counts as well.
func pinged(s *State, from topo.NodeID, to string) probeView {
	view := probed(s, func(p topo.Probe) bool { return p.Kind == topo.ProbePing && p.From == from && p.To == to })
	if view.OK {
		return view
	}
	sent, replies, noRoute := rose(s, string(from), "Icmp.OutEchos"), rose(s, string(from), "Icmp.InEchoReps"), rose(s, string(from), "Ip.OutNoRoutes")
	for _, r := range s.Probes {
		if r.Probe.Kind == topo.ProbePing && r.Probe.From == from {
			sent -= r.Sent
			replies -= r.Received
		}
		if r.Probe.From == from && r.Reason == topo.ReasonNetUnreachable {
			noRoute -= max(r.Sent, r.Probe.Count, 1)
		}
	}
	answered := false
	for i := range s.Now.Nodes {
		n := &s.Now.Nodes[i]
		answered = answered || owns(n, to) && rose(s, string(n.ID), "Icmp.OutEchoReps") > 0
	}
	busy := slices.ContainsFunc(s.Probing, func(p topo.Probe) bool { return p.From == from })
	switch {
	case replies > 0 && answered:
		return probeView{Tried: true, OK: true, Sent: max(sent, replies), Received: replies}
	case view.Tried || busy:
	case noRoute > 0:
		return probeView{Tried: true, Failed: true, Reason: string(topo.ReasonNetUnreachable)}
	case sent-max(replies, 0) >= 2:
		view = probeView{Tried: true, Failed: true, Sent: sent, Received: max(replies, 0), Reason: string(topo.ReasonTimeout)}
		if rose(s, string(from), "Icmp.InDestUnreachs") > 0 {
			view.Reason = string(topo.ReasonHostUnreachable)
		}
	}
	return view
}

// maxSightings is how many packets of an interface a check looks at, the latest;
// it keeps a check within its cost.
const maxSightings = 200

// sightings lists what an interface saw, the latest first.
func sightings(s *State, node topo.NodeID, link string) []packetView {
	seen := []packetView{}
	for _, p := range slices.Backward(s.Packets) {
		if p.Node != node || p.Link != link {
			continue
		}
		seen = append(seen, packetView{p.Out, p.Kind, p.Protocols, text(p.Src), text(p.Dst), int(p.SrcPort), int(p.DstPort), int(p.TTL),
			text(p.OuterSrc), text(p.OuterDst), int(p.OuterPort), int(p.OuterTTL), p.Length, p.Answered})
		if len(seen) == maxSightings {
			break
		}
	}
	return seen
}

func owns(n *topo.Node, address string) bool {
	return slices.ContainsFunc(n.Links, func(l topo.Netdev) bool {
		return slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr().String() == address })
	})
}

// checkCost bounds the work of one evaluation, in CEL's own units; the checks
// of the built-in labs stay below 100.
const checkCost = 10_000

// newEnvironment is the language of checks: CEL with the functions above.
func newEnvironment() (*cel.Env, error) {
	views := []any{ext.ParseStructTags(true)}
	options := []cel.EnvOption{}
	for _, f := range functions {
		result := cel.StringType
		switch {
		case f.result.Kind() == reflect.Bool:
			result = cel.BoolType
		case f.result.Kind() == reflect.Int:
			result = cel.IntType
		case f.result.Kind() == reflect.Struct || f.result.Kind() == reflect.Slice:
			view := f.view()
			result = cel.ObjectType("labs." + view.Name())
			if f.result.Kind() == reflect.Slice {
				result = cel.ListType(result)
			}
			if !slices.Contains(views, any(view)) {
				views = append(views, view)
			}
		}
		var args []*cel.Type
		for _, a := range f.args {
			if a == anyNumber || a == portNumber {
				args = append(args, cel.IntType)
			} else {
				args = append(args, cel.StringType)
			}
		}
		options = append(options, cel.Function(f.name, cel.Overload(f.overload(), args, result, cel.LateFunctionBinding())))
	}
	options = append(options, ext.NativeTypes(views...))
	return cel.NewEnv(options...)
}

// names are what the expressions of one lab may speak of.
type names struct {
	nodes, links []string
	// unsure says that there may be more: a command could not be read.
	unsure bool
}

// list writes names one after the other, each once.
func (k names) list(all []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(all))), ", ")
}

// exprError is a mistake in an expression, at a line and column of it from 1.
type exprError struct {
	line, column        int
	message, suggestion string
}

func (e *exprError) Error() string { return e.message }

// compile translates an expression and judges all that can be judged before
// there is a state: types, cost, and every name in it.
func compile(env *cel.Env, known names, source string, want *cel.Type) (cel.Program, *ast.AST, error) {
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		e := issues.Errors()[0]
		message, _, _ := strings.Cut(e.Message, " (") // CEL's own hints name what is not ours
		failed := &exprError{line: e.Location.Line(), column: e.Location.Column() + 1, message: inWordsOfCEL(message)}
		if name, ok := strings.CutPrefix(message, "undeclared reference to '"); ok {
			name, _, _ = strings.Cut(name, "'")
			var all []string
			for _, f := range functions {
				all = append(all, f.name)
			}
			failed.suggestion = nearest(name, all)
		}
		if name, ok := strings.CutPrefix(message, "undefined field '"); ok {
			name, _, _ = strings.Cut(name, "'")
			failed.suggestion = nearest(name, fields())
		}
		return nil, nil, failed
	}
	tree := checked.NativeRep()
	if !checked.OutputType().IsExactType(want) {
		return nil, nil, &exprError{1, 1, fmt.Sprintf("this yields %s, but %s is needed here: %s", celType(checked.OutputType().String()), celType(want.String()), whatToYield(want)), ""}
	}
	var mistakes []error
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		if m := known.judge(tree, e.AsCall()); m != nil {
			mistakes = append(mistakes, m)
		}
	}))
	if len(mistakes) > 0 {
		return nil, nil, errors.Join(mistakes...)
	}
	program, err := env.Program(checked, cel.CostLimit(checkCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, nil, &exprError{1, 1, err.Error(), ""}
	}
	return program, tree, nil
}

var (
	overloads  = regexp.MustCompile(`^found no matching overload for '([^']+)' applied to '(.*)'$`)
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']+)'$`)
	undefined  = regexp.MustCompile(`^undefined field '([^']+)'$`)
)

// inWordsOfCEL says what CEL found, as one says it to an author.
func inWordsOfCEL(message string) string {
	if m := undeclared.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("there is no function %q here; a text stands in quotes", m[1])
	}
	if m := undefined.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("what stands before the dot has no %q", m[1])
	}
	if m := overloads.FindStringSubmatch(message); m != nil {
		var takes []string
		for _, f := range functions {
			if f.name == m[1] {
				takes = append(takes, f.signature())
			}
		}
		if len(takes) > 0 {
			return fmt.Sprintf("%s can't be called with %s: write %s", m[1], celType(m[2]), strings.Join(takes, " or "))
		}
		return fmt.Sprintf("%s is not possible between %s: both sides must be of one kind, texts in quotes and numbers without", strings.Trim(m[1], "_"), celType(strings.Trim(m[2], "()")))
	}
	if rest, ok := strings.CutPrefix(message, "Syntax error: "); ok {
		switch {
		case strings.Contains(rest, "recognition error at: '= "), strings.HasSuffix(rest, "at: '='"):
			return "one = compares nothing: write =="
		case strings.HasPrefix(rest, "missing ')'"):
			return "a ( is not closed: write ) where it ends"
		}
		return "this is no expression: " + strings.ReplaceAll(rest, "'<EOF>'", "the end")
	}
	return message
}

// celType says what CEL calls string, bool and so on.
func celType(name string) string {
	return strings.NewReplacer("string", "a text", "bool", "true or false", "int", "a number", "labs.", "").Replace(name)
}

func whatToYield(want *cel.Type) string {
	if want == cel.BoolType {
		return "compare it with == or take a part of it, such as .exists"
	}
	return "let it yield the id of an option in quotes, such as a ? 'yes' : 'no'"
}

func fields() []string {
	var all []string
	for _, f := range functions {
		if view := f.view(); view != nil {
			for i := range view.NumField() {
				all = append(all, view.Field(i).Tag.Get("cel"))
			}
		}
	}
	return all
}

// judge looks at the names that a call gives literally.
func (k names) judge(tree *ast.AST, call ast.CallExpr) *exprError {
	at := func(e ast.Expr, suggestion, format string, a ...any) *exprError {
		where := tree.SourceInfo().GetStartLocation(e.ID())
		return &exprError{where.Line(), where.Column() + 1, fmt.Sprintf(format, a...), suggestion}
	}
	if call.FunctionName() == operators.Equals || call.FunctionName() == operators.NotEquals {
		for i, side := range call.Args() {
			other := call.Args()[1-i]
			if side.Kind() != ast.SelectKind || other.Kind() != ast.LiteralKind {
				continue
			}
			value := literal(other)
			switch field := side.AsSelect().FieldName(); {
			case value == "":
			case field == "reason" && !slices.Contains(reasons, value):
				return at(other, nearest(value, reasons), "%q is not a reason why a probe fails: there are %s", value, strings.Join(reasons, ", "))
			case field == "kind" && !slices.Contains(packetKinds, value) && ofPacket(tree, side.AsSelect()):
				return at(other, nearest(value, packetKinds), "%q is not a kind of packet: there are %s", value, strings.Join(packetKinds, ", "))
			}
		}
		return nil
	}
	i := slices.IndexFunc(functions, func(f function) bool { return f.name == call.FunctionName() && len(f.args) == len(call.Args()) })
	if i < 0 {
		return nil
	}
	for j, kind := range functions[i].args {
		arg := call.Args()[j]
		if kind == anyText || kind == anyNumber {
			continue
		}
		if arg.Kind() != ast.LiteralKind {
			return at(arg, "", "write this out in quotes, so that it can be checked before anybody plays the lab")
		}
		value := literal(arg)
		switch kind {
		case nodeName:
			if !k.unsure && !slices.Contains(k.nodes, value) {
				return at(arg, nearest(value, k.nodes), "this lab has no node %q: there are %s", value, k.list(k.nodes))
			}
		case linkName:
			if !k.unsure && !slices.Contains(k.links, value) {
				return at(arg, nearest(value, k.links), "this lab has no interface %q: there are %s", value, k.list(k.links))
			}
		case destination:
			if !routeTo(value).IsValid() {
				if p, err := netip.ParsePrefix(value); err == nil {
					return at(arg, p.Masked().String(), "%s is an address inside a network, and a route leads to the network", value)
				}
				return at(arg, "", "%q is not a destination: write default, an address or a network", value)
			}
		case address:
			if a, err := netip.ParseAddr(value); err != nil || a.String() != value {
				return at(arg, "", "%q is not an IP address as the kernel writes it", value)
			}
		case interfaceAddress:
			if p, err := netip.ParsePrefix(value); err != nil || p.String() != value {
				return at(arg, "", "%q is not an address with its length, such as 10.0.0.10/24", value)
			}
		case sysctlName:
			if !slices.ContainsFunc(sysctlNames, func(re *regexp.Regexp) bool { return re.MatchString(value) }) {
				return at(arg, "", "checks can't see the setting %q: there are net.ipv4.ip_forward, net.ipv4.icmp_echo_ignore_all, rp_filter and forwarding below net.ipv4.conf, and net.bridge.bridge-nf-call-iptables", value)
			}
		case counterName:
			if !slices.Contains(counters, value) {
				return at(arg, nearest(value, counters), "checks can't see the counter %q: there are %s", value, strings.Join(counters, ", "))
			}
		case tableName:
			if !slices.Contains(tables, value) {
				return at(arg, nearest(value, tables), "%q is not a table of the firewall: there are %s", value, strings.Join(tables, ", "))
			}
		case protocolName:
			if value != "tcp" && value != "udp" {
				return at(arg, "udp", "%q is not a protocol of sockets", value)
			}
		}
	}
	return nil
}

// calls says whether an expression calls a function.
func calls(tree *ast.AST, name string) (yes bool) {
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		yes = yes || e.Kind() == ast.CallKind && e.AsCall().FunctionName() == name
	}))
	return yes
}

// ofPacket tells the kind of a packet from that of a link.
func ofPacket(tree *ast.AST, s ast.SelectExpr) bool {
	return tree.GetType(s.Operand().ID()).TypeName() == "labs."+reflect.TypeFor[packetView]().Name()
}

// literal is the text of a string literal, or empty.
func literal(e ast.Expr) string {
	if e.Kind() != ast.LiteralKind {
		return ""
	}
	s, _ := e.AsLiteral().(types.String)
	return string(s)
}

// counters are the counters that checks may ask for, named as in
// /proc/net/snmp and /proc/net/netstat. A snapshot must have them.
var counters = []string{
	"Icmp.InEchos", "Icmp.InEchoReps", "Icmp.OutEchos", "Icmp.OutEchoReps", "Icmp.InDestUnreachs", "Icmp.OutDestUnreachs", "Icmp.OutTimeExcds",
	"Ip.ForwDatagrams", "Ip.InAddrErrors", "Ip.OutNoRoutes", "Ip.FragFails",
	"IpExt.InNoRoutes", "TcpExt.IPReversePathFilter", "Udp.InDatagrams", "Udp.NoPorts",
}

var tables = []string{"filter", "nat", "mangle", "raw", "security"}

// sysctlNames are the settings that checks may ask for. A snapshot must have them.
var sysctlNames = []*regexp.Regexp{
	regexp.MustCompile(`^net\.ipv4\.(ip_forward|icmp_echo_ignore_all)$`),
	regexp.MustCompile(`^net\.ipv4\.conf\.[A-Za-z0-9_/@-]+\.(rp_filter|forwarding)$`),
	regexp.MustCompile(`^net\.ipv6\.conf\.all\.forwarding$`),
	regexp.MustCompile(`^net\.bridge\.bridge-nf-call-(ip|ip6|arp)tables$`),
}

var reasons = []string{
	string(topo.ReasonNetUnreachable), string(topo.ReasonHostUnreachable), string(topo.ReasonPortUnreachable), string(topo.ReasonRefused), string(topo.ReasonTimeout),
	string(topo.ReasonTooBig), string(topo.ReasonProhibited), string(topo.ReasonTTL), string(topo.ReasonNoName), string(topo.ReasonBadAnswer),
}

// packetKinds are those that topo.Sighting names.
var packetKinds = []string{
	"arp-request", "arp-reply", "echo-request", "echo-reply", "unreachable", "time-exceeded", "too-big", "neighbour-solicitation",
	"neighbour-advertisement", "tcp-syn", "tcp-syn-ack", "tcp-reset", "tcp-fin", "tcp", "dns-query", "dns-answer", "udp", "other",
}

package labs

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"kabel/sandbox/topo"
)

// substitution replaces whole names and addresses, all at once.
type substitution struct {
	words map[string]string
	used  map[string]bool // nil: not noted, so that it is safe for concurrent use
}

func newSubstitution(words map[string]string) substitution {
	s := substitution{words, map[string]bool{}}
	for w := range words {
		s.used[w] = false
	}
	return s
}

// apply replaces the words of text. A word ends where no letter, digit, dash or
// underscore follows, nor a dot with one of these behind it: in "172.16.0.1/32"
// and "host1/kon." the address and the name are words.
func (s substitution) apply(text string) string {
	if len(s.words) == 0 {
		return text
	}
	var out strings.Builder
	done := 0
	for start, end := range words(text) {
		out.WriteString(text[done:start])
		out.WriteString(s.word(text[start:end]))
		done = end
	}
	out.WriteString(text[done:])
	return out.String()
}

// word replaces a word. Of a setting such as net.ipv4.conf.veth1.rp_filter it
// replaces the part.
func (s substitution) word(word string) string {
	if with, ok := s.words[word]; ok {
		s.use(word)
		return with
	}
	if !strings.HasPrefix(word, "net.") {
		return word
	}
	parts := strings.Split(word, ".")
	for i, part := range parts {
		if with, ok := s.words[part]; ok {
			s.use(part)
			parts[i] = with
		}
	}
	return strings.Join(parts, ".")
}

func (s substitution) use(word string) {
	if s.used != nil {
		s.used[word] = true
	}
}

// words yields where each word of a text starts and ends.
func words(text string) iter.Seq2[int, int] {
	part := func(i int) bool {
		if i >= len(text) {
			return false
		}
		c := text[i]
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
	}
	return func(yield func(start, end int) bool) {
		for i := 0; i < len(text); i++ {
			start := i
			for part(i) || i > start && i < len(text) && text[i] == '.' && part(i+1) {
				i++
			}
			if i > start && !yield(start, i) {
				return
			}
		}
	}
}

// builder makes the plan of one variant.
type builder struct {
	*loader
	file     string
	raw      *labFile
	variant  string
	sub      substitution
	machines []string
	known    names
	problems []error
}

func (b *builder) fail(at spot, suggestion, format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	if b.variant != "" {
		text = "with the names of variant " + b.variant + ": " + text
	}
	b.problems = append(b.problems, &Problem{b.file, max(at.Line, 1), max(at.Column, 1), text, suggestion})
}

func (b *builder) plan() *Plan {
	p := &Plan{LabID: b.raw.ID.Text, Variant: b.variant}
	b.known.links = []string{"lo"}
	b.world(p)
	for _, d := range b.raw.Setup {
		for _, c := range b.commands(spot{}, []doFile{d}) {
			p.Setup = append(p.Setup, c.Op)
		}
	}
	// All commands come before the first check, which may speak of what any of
	// them makes.
	ids := map[string]bool{}
	for _, s := range b.raw.Steps {
		b.unique(ids, s.ID, "a step")
		step := Step{ID: s.ID.Text, Do: b.commands(s.On, s.Do)}
		wrongs := map[string]bool{}
		for _, w := range s.Wrong {
			b.unique(wrongs, w.ID, "a wrong solution of this step")
			step.Wrong = append(step.Wrong, Wrong{ID: w.ID.Text, Do: b.commands(s.On, w.Do), Hint: w.Hint.Text})
		}
		p.Steps = append(p.Steps, step)
	}
	b.known.unsure = len(b.problems) > 0
	for i, s := range b.raw.Steps {
		b.judgements(&p.Steps[i], s)
	}
	return p
}

// judgements fills in what needs the names: probes, check, hints, prediction.
func (b *builder) judgements(step *Step, s stepFile) {
	step.Probes = b.probes(s.On, s.Probes)
	step.Check = b.check(s.Check)
	ids := map[string]bool{}
	always := false
	for _, h := range s.Hints {
		b.unique(ids, h.ID, "a hint of this step")
		if always {
			b.fail(h.ID, "", "the hint %q is never shown, because one above it has no when: put that last", h.ID.Text)
		}
		hint := Hint{ID: h.ID.Text}
		if h.When.Text != "" {
			hint.When = b.check(h.When)
		} else {
			always = true
		}
		step.Hints = append(step.Hints, hint)
	}
	for i, w := range s.Wrong {
		step.Wrong[i].Probes = b.probes(s.On, w.Probes)
		if !ids[w.Hint.Text] {
			var all []string
			for _, h := range s.Hints {
				all = append(all, h.ID.Text)
			}
			b.fail(w.Hint, nearest(w.Hint.Text, all), "this step has no hint %q: there are %s", w.Hint.Text, strings.Join(all, ", "))
		}
		if len(w.Do)+len(w.Probes) == 0 {
			b.fail(w.ID, "", "the wrong solution %q does nothing: give it do, probes or both", w.ID.Text)
		}
	}
	if len(s.Do)+len(s.Probes) == 0 {
		b.fail(s.ID, "", "the step %q does nothing: give it do, probes or both", s.ID.Text)
	}
	if s.Predict != nil {
		var options []string
		for _, o := range s.Predict.Options {
			options = append(options, b.sub.apply(o))
		}
		step.Predict = &Predict{Options: options, Expect: b.sub.apply(s.Predict.Expect.Text)}
		if e := step.Predict.Expect; e != "" && !slices.Contains(options, e) {
			b.fail(s.Predict.Expect, nearest(e, options), "%q is not one of the options %s", e, strings.Join(options, ", "))
		}
		program, tree := b.compile(s.Predict.Answer, cel.StringType)
		if program != nil {
			step.Predict.Answer = &Expr{compiled{program, b.env.CELTypeAdapter()}}
			for _, o := range outcomes(tree.Expr()) {
				if !slices.Contains(options, o) {
					b.fail(s.Predict.Answer, nearest(o, options), "the answer %q is not one of the options %s", o, strings.Join(options, ", "))
				}
			}
		}
	}
}

// outcomes lists the strings that an expression yields literally.
func outcomes(e ast.Expr) []string {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional {
		return append(outcomes(e.AsCall().Args()[1]), outcomes(e.AsCall().Args()[2])...)
	}
	if s := literal(e); s != "" {
		return []string{s}
	}
	return nil
}

func (b *builder) unique(seen map[string]bool, id spot, what string) {
	if seen[id.Text] {
		b.fail(id, "", "%q is already the name of %s: choose another", id.Text, what)
	}
	seen[id.Text] = true
}

// world builds the machines, their cables and what they are given.
func (b *builder) world(p *Plan) {
	for _, m := range b.raw.Machines {
		name := b.sub.apply(m.Name.Text)
		if !topo.NodeID(name).Valid() || strings.Contains(name, "/") {
			b.fail(m.Name, "", "%q can't be the name of a machine: use letters, digits and dashes", name)
		}
		if slices.Contains(b.machines, name) {
			b.fail(m.Name, "", "there is already a machine %q: choose another name", name)
		}
		b.machines = append(b.machines, name)
		b.known.nodes = append(b.known.nodes, name)
		p.Machines = append(p.Machines, topo.Machine{Name: name, Kind: topo.NodeKind(m.Kind)})
		if m.Kind == string(topo.KindSwitch) {
			b.known.links = append(b.known.links, "br0")
		}
	}
	b.cables(p)
	for _, m := range b.raw.Machines {
		node := topo.NodeID(b.sub.apply(m.Name.Text))
		p.Setup = append(p.Setup, topo.Placed{Node: node, Op: topo.LinkSet{Name: "lo", State: "up"}})
		if topo.NodeKind(m.Kind) != topo.KindSwitch {
			p.Setup = append(p.Setup, b.settings(node, m)...)
		}
		for _, l := range m.Links {
			for _, a := range l.Addresses {
				if c, ok := b.command(node, spot{"ip addr add " + a.Text + " dev " + l.Name.Text, a.Line, a.Column - len("ip addr add "), a.plain}); ok {
					p.Setup = append(p.Setup, c.Op)
				}
			}
		}
	}
	for _, m := range b.raw.Machines {
		for _, r := range m.Routes {
			if c, ok := b.command(topo.NodeID(b.sub.apply(m.Name.Text)), spot{"ip route add " + r.Text, r.Line, r.Column - len("ip route add "), r.plain}); ok {
				p.Setup = append(p.Setup, c.Op)
			}
		}
	}
}

// settings are those that a new namespace would take from the computer on which
// it is made; a lab must run the same everywhere.
func (b *builder) settings(node topo.NodeID, m machineFile) []topo.Placed {
	var out []topo.Placed
	if k := topo.NodeKind(m.Kind); k == topo.KindHost || k == topo.KindLaptop || k == topo.KindInternet {
		out = append(out, topo.Placed{Node: node, Op: topo.Sysctl{Key: "net.ipv4.ip_forward", Value: "0"}})
	}
	where := []string{"all", "default"}
	for _, l := range m.Links {
		where = append(where, strings.ReplaceAll(b.sub.apply(l.Name.Text), ".", "/"))
	}
	for _, w := range where {
		out = append(out, topo.Placed{Node: node, Op: topo.Sysctl{Key: "net.ipv4.conf." + w + ".rp_filter", Value: "0"}})
	}
	return out
}

// cables joins the interfaces; a switch gets a port for each cable.
func (b *builder) cables(p *Plan) {
	ports := map[string]int{}
	plugged := map[topo.LinkID]bool{}
	for _, m := range b.raw.Machines {
		for _, l := range m.Links {
			name := b.sub.apply(l.Name.Text)
			if !topo.ValidLinkName(name) {
				b.fail(l.Name, "", "%q can't be the name of an interface: up to 15 letters, digits and . _ - @", name)
			}
			b.known.links = append(b.known.links, name)
			if l.To.Text == "" {
				continue
			}
			near := topo.Link(topo.NodeID(b.sub.apply(m.Name.Text)), name)
			far := topo.LinkID(b.sub.apply(l.To.Text))
			machine, port := far.Split()
			i := slices.Index(b.machines, string(machine))
			switch {
			case i < 0:
				b.fail(l.To, nearest(string(machine), b.machines), "there is no machine %q: there are %s", machine, strings.Join(b.machines, ", "))
				continue
			case port == "" && b.raw.Machines[i].Kind == string(topo.KindSwitch):
				ports[string(machine)]++
				port = "port" + strconv.Itoa(ports[string(machine)])
				b.known.links = append(b.known.links, port)
				far = topo.Link(machine, port)
			case port == "" || !slices.ContainsFunc(b.raw.Machines[i].Links, func(o linkFile) bool { return b.sub.apply(o.Name.Text) == port && o.To.Text == "" }):
				b.fail(l.To, "", "a cable leads to a switch, or to machine:interface of an interface without to of its own")
				continue
			}
			for _, end := range []topo.LinkID{near, far} {
				if plugged[end] {
					b.fail(l.To, "", "%s has a cable already: only one of the two ends says to", end)
				}
				plugged[end] = true
			}
			p.Wires = append(p.Wires, topo.Wire{A: near, B: far})
		}
	}
	for _, m := range b.raw.Machines {
		for _, l := range m.Links {
			if end := topo.Link(topo.NodeID(b.sub.apply(m.Name.Text)), b.sub.apply(l.Name.Text)); !plugged[end] && l.To.Text == "" {
				b.fail(l.Name, "", "no cable leads to %s: say with to where it goes, or at its other end", end)
			}
		}
	}
}

// commands parses commands and blocks; on is the machine of those that name none.
func (b *builder) commands(on spot, do []doFile) []Command {
	var out []Command
	for _, d := range do {
		at, lines := on, d.Do
		if d.Command.Text != "" {
			lines = []spot{d.Command}
		} else {
			at = d.On
		}
		node, ok := b.machine(at, lines[0])
		for _, line := range lines {
			if !ok {
				break
			}
			if c, ok := b.command(node, line); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

func (b *builder) machine(on, at spot) (topo.NodeID, bool) {
	name := b.sub.apply(on.Text)
	switch {
	case name == "":
		b.fail(at, "", "it is not said on which machine: use a block with on and do")
	case !slices.Contains(b.machines, name):
		b.fail(on, nearest(name, b.machines), "there is no machine %q: there are %s", name, strings.Join(b.machines, ", "))
	default:
		return topo.NodeID(name), true
	}
	return "", false
}

func (b *builder) command(node topo.NodeID, line spot) (Command, bool) {
	text := b.sub.apply(line.Text)
	op, err := ParseCommand(node, text)
	if err != nil {
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			b.fail(line, "", "%v", err)
			return Command{}, false
		}
		if line.plain && b.variant == "" {
			line.Column += syntax.Column - 1
			b.fail(line, syntax.Suggestion, "%s", syntax.Message)
		} else {
			b.fail(line, syntax.Suggestion, "in %q at column %d: %s", text, syntax.Column, syntax.Message)
		}
		return Command{}, false
	}
	b.learn(op)
	return Command{Node: node, Text: text, Op: op}, true
}

// learn remembers the names that a command brings into the lab.
func (b *builder) learn(p topo.Placed) {
	switch op := p.Op.(type) {
	case topo.NetnsAdd:
		b.known.nodes = append(b.known.nodes, string(p.Node.In(op.Name)))
	case topo.LinkAdd:
		b.known.links = append(b.known.links, op.Name)
		if op.Peer != "" {
			b.known.links = append(b.known.links, op.Peer)
		}
	case topo.LinkSet:
		if op.Rename != "" {
			b.known.links = append(b.known.links, op.Rename)
		}
	case topo.Run:
		if op.Argv[0] == "socat" {
			b.known.links = append(b.known.links, tunName(op.Argv))
		}
	}
}

// tunName is the interface that a socat makes, if it makes one.
func tunName(argv []string) string {
	for _, address := range argv {
		for option := range strings.SplitSeq(address, ",") {
			if name, ok := strings.CutPrefix(option, "tun-name="); ok {
				return name
			}
		}
	}
	return "tun0" // the first that is free
}

func (b *builder) probes(on spot, files []probeFile) []topo.Probe {
	var out []topo.Probe
	for _, f := range files {
		from := f.From
		if from.Text == "" {
			from.Text = on.Text
		}
		p := topo.Probe{From: topo.NodeID(b.sub.apply(from.Text)), Kind: topo.ProbeKind(f.Kind), To: b.sub.apply(f.To.Text), Count: f.Count, Size: f.Size, DontFragment: f.DontFragment}
		if p.Kind == "" {
			p.Kind = topo.ProbePing
		}
		if p.Kind == topo.ProbePing && p.Count == 0 {
			p.Count = 2
		}
		if !b.known.unsure && !slices.Contains(b.known.nodes, string(p.From)) {
			b.fail(f.From, nearest(string(p.From), b.known.nodes), "this lab has no node %q: there are %s", p.From, b.known.list(b.known.nodes))
		}
		if err := judgeTarget(p); err != nil {
			b.fail(f.To, "", "%v", err)
		}
		out = append(out, p)
	}
	return out
}

func judgeTarget(p topo.Probe) error {
	switch p.Kind {
	case topo.ProbePing, topo.ProbeTraceroute:
		if _, err := netip.ParseAddr(p.To); err != nil {
			return fmt.Errorf("%q is not an IP address: names are not looked up here", p.To)
		}
	case topo.ProbeTCP, topo.ProbeUDP:
		if _, err := netip.ParseAddrPort(p.To); err != nil {
			return fmt.Errorf("%q is not an address with a port such as 172.16.0.2:80", p.To)
		}
	case topo.ProbeHTTP:
		if u, err := url.Parse(p.To); err != nil || u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("%q is not a URL such as http://172.16.0.2/", p.To)
		}
	}
	return nil
}

func (b *builder) check(source spot) *Check {
	program, tree := b.compile(source, cel.BoolType)
	if program == nil {
		return nil
	}
	return &Check{compiled{program, b.env.CELTypeAdapter()}, calls(tree, packetsFunction)}
}

func (b *builder) compile(source spot, want *cel.Type) (cel.Program, *ast.AST) {
	program, tree, err := compile(b.env, b.known, b.sub.apply(source.Text), want)
	if err == nil {
		return program, tree
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		var e *exprError
		if !errors.As(err, &e) {
			b.fail(source, "", "%v", err)
			continue
		}
		if source.plain && b.variant == "" && e.line == 1 && !strings.Contains(source.Text, "\n") {
			at := source
			at.Column += e.column - 1
			b.fail(at, e.suggestion, "%s", e.message)
		} else {
			b.fail(source, e.suggestion, "at line %d, column %d of the expression: %s", e.line, e.column, e.message)
		}
	}
	return nil, nil
}

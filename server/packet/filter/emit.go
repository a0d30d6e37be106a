package filter

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// maxInstructions is the length of the longest program. Source: BPF_MAXINSNS in
// linux/bpf_common.h.
const maxInstructions = 4096

// block is one step of a program: it loads, compares and goes on to one of two
// others. Blocks only ever lead forward.
type block struct {
	test
	set     int // an effect sets this slot; -1 in a test
	yes, no *block
	verdict bool // a return: yes and no are nil

	visited bool
	facts   []fact // what is known whichever way led here
	reached bool   // facts is the meet of at least one way
	order   int    // the place in the program
}

// isReturn is true for the two blocks that end a program.
func (b *block) isReturn() bool { return b.yes == nil }

// isEffect is true for a block that goes on to yes whatever it loads.
func (b *block) isEffect() bool { return b.set >= 0 }

// maxBlocks bounds the work on an expression too long for a program. What is
// known beforehand removes blocks, seldom more than half.
const maxBlocks = 2 * maxInstructions

type emitter struct {
	accept, reject *block
	blocks         int
}

// link makes the blocks that go on to yes where a condition holds and to no where
// it doesn't, from the last to the first.
func (e *emitter) link(c condition, yes, no *block) *block {
	if e.blocks > maxBlocks {
		return no
	}
	switch c := c.(type) {
	case bool:
		if c {
			return yes
		}
		return no
	case not:
		return e.link(c.of, no, yes)
	case allOf:
		for _, part := range slices.Backward(c) {
			yes = e.link(part, yes, no)
		}
		return yes
	case anyOf:
		for _, part := range slices.Backward(c) {
			no = e.link(part, yes, no)
		}
		return no
	case effect:
		e.blocks++
		return &block{test: test{load: c.do}, set: c.set, yes: yes, no: yes}
	case test:
		if yes == no {
			return yes
		}
		e.blocks++
		return &block{test: c, set: -1, yes: yes, no: no}
	}
	return nil
}

// fact is the outcome of a test that was made.
type fact struct {
	test
	outcome bool
}

// maxFacts bounds what is remembered: the EtherType and protocol are asked for
// again and again, the rest seldom.
const maxFacts = 12

func (t test) same(u test) bool {
	return t.withX == u.withX && slices.Equal(t.load, u.load)
}

// decides says whether a fact answers a test, and how.
func (f fact) decides(t test) (outcome, known bool) {
	if !f.same(t) {
		return false, false
	}
	if f.cond == t.cond && f.value == t.value {
		return f.outcome, true
	}
	if t.withX {
		return false, false
	}
	isValue := f.cond == bpf.JumpEqual && f.outcome || f.cond == bpf.JumpNotEqual && !f.outcome
	if isValue {
		return holds(t.cond, f.value, t.value), true
	}
	notValue := f.cond == bpf.JumpEqual || f.cond == bpf.JumpNotEqual
	if notValue && f.value == t.value && t.cond == bpf.JumpEqual {
		return false, true
	}
	if notValue && f.value == t.value && t.cond == bpf.JumpNotEqual {
		return true, true
	}
	return false, false
}

// learn is what is known behind a block that went one way.
func (b *block) learn(outcome bool) []fact {
	if b.isEffect() {
		// What the scratch memory held is no longer known.
		known := slices.DeleteFunc(slices.Clone(b.facts), func(f fact) bool {
			return slices.ContainsFunc(f.load, func(i bpf.Instruction) bool { _, ok := i.(bpf.LoadScratch); return ok })
		})
		return append(known, fact{insideTest(b.set), true})
	}
	known := slices.Clone(b.facts)
	if len(known) == maxFacts {
		known = slices.Delete(known, 1, 2) // the first is of the EtherType
	}
	return append(known, fact{b.test, outcome})
}

// thread leads every way past the tests whose answer is known on it.
func (e *emitter) thread(first *block) {
	for _, b := range forward(first) {
		if b.isReturn() {
			continue
		}
		b.yes = b.follow(b.yes, true)
		b.no = b.follow(b.no, false)
	}
}

func (b *block) follow(next *block, outcome bool) *block {
	known := b.learn(outcome)
	for !next.isReturn() && !next.isEffect() {
		decided := false
		for _, f := range known {
			if yes, ok := f.decides(next.test); ok {
				if decided = true; yes {
					next = next.yes
				} else {
					next = next.no
				}
				break
			}
		}
		if !decided {
			break
		}
	}
	if !next.reached {
		next.reached, next.facts = true, known
	} else {
		next.facts = slices.DeleteFunc(next.facts, func(f fact) bool {
			return !slices.ContainsFunc(known, func(k fact) bool {
				return k.same(f.test) && k.cond == f.cond && k.value == f.value && k.outcome == f.outcome
			})
		})
	}
	return next
}

// forward lists the blocks that first leads to, each behind all that lead to it.
func forward(first *block) []*block {
	var list []*block
	var visit func(*block)
	visit = func(b *block) {
		if b.visited {
			return
		}
		b.visited = true
		if !b.isReturn() {
			// The blocks of yes come before those of no, next to their test.
			visit(b.no)
			visit(b.yes)
		}
		list = append(list, b)
	}
	visit(first)
	slices.Reverse(list)
	for i, b := range list {
		b.visited, b.order = false, i
	}
	return list
}

// shared is how many instructions of next are done when b has run: A holds what
// next would load, or X does.
func (b *block) shared(next *block) int {
	if b.isEffect() || next.isReturn() || next.isEffect() {
		return 0
	}
	if slices.Equal(b.load, next.load) {
		return len(next.load)
	}
	// A header length stays in X while one place after the other is loaded.
	if len(b.load) == 2 && len(next.load) > 1 && b.load[0] == next.load[0] {
		_, header := b.load[0].(bpf.LoadMemShift)
		_, indirect := b.load[1].(bpf.LoadIndirect)
		if header && indirect {
			return 1
		}
	}
	return 0
}

// assemble puts the blocks in a row. A test can skip 255 instructions; beyond
// that it skips to an unconditional jump behind it.
func assemble(blocks []*block) []bpf.Instruction {
	n := len(blocks)
	skip := make([]int, n)  // instructions of the load that every way has done already
	start := make([]int, n) // of the load, from its first instruction, done or not
	farYes, farNo := make([]bool, n), make([]bool, n)
	for i := range blocks {
		skip[i] = -1
	}
	skip[0] = 0
	for _, b := range blocks {
		for _, next := range b.ways() {
			if s := b.shared(next); skip[next.order] < 0 || s < skip[next.order] {
				skip[next.order] = s
			}
		}
	}
	target := func(b, next *block) int {
		return start[next.order] + b.shared(next) - skip[next.order]
	}
	size := func(i int) int {
		b := blocks[i]
		switch {
		case b.isReturn():
			return 1
		case b.isEffect() && b.yes.order == i+1:
			return len(b.load)
		case b.isEffect():
			return len(b.load) + 1
		}
		s := len(b.load) - skip[i] + 1
		if farYes[i] {
			s++
		}
		if farNo[i] {
			s++
		}
		return s
	}
	for changed := true; changed; {
		changed = false
		for i := 1; i < n; i++ {
			start[i] = start[i-1] + size(i-1)
		}
		for i, b := range blocks {
			if b.isReturn() || b.isEffect() {
				continue
			}
			// From the end of the block, which is at most 3 behind the test.
			behind := start[i] + size(i)
			if !farYes[i] && target(b, b.yes)-behind > 252 {
				farYes[i], changed = true, true
			}
			if !farNo[i] && target(b, b.no)-behind > 252 {
				farNo[i], changed = true, true
			}
		}
	}
	var out []bpf.Instruction
	for i, b := range blocks {
		switch {
		case b.isReturn():
			k := uint32(0)
			if b.verdict {
				k = WholePacket
			}
			out = append(out, bpf.RetConstant{Val: k})
			continue
		case b.isEffect():
			out = append(out, b.load...)
			if b.yes.order != i+1 {
				out = append(out, bpf.Jump{Skip: uint32(target(b, b.yes) - len(out) - 1)})
			}
			continue
		}
		out = append(out, b.load[skip[i]:]...)
		at := len(out) + 1 // what skipping nothing leads to
		yes, no := target(b, b.yes)-at, target(b, b.no)-at
		var jumps []bpf.Instruction
		if farYes[i] {
			jumps = append(jumps, bpf.Jump{Skip: uint32(yes - 1)})
			yes = 0
		}
		if farNo[i] {
			here := len(jumps)
			jumps = append(jumps, bpf.Jump{Skip: uint32(no - here - 1)})
			no = here
		}
		if b.withX {
			out = append(out, bpf.JumpIfX{Cond: b.cond, SkipTrue: uint8(yes), SkipFalse: uint8(no)})
		} else {
			out = append(out, bpf.JumpIf{Cond: b.cond, Val: b.value, SkipTrue: uint8(yes), SkipFalse: uint8(no)})
		}
		out = append(out, jumps...)
	}
	return out
}

func (b *block) ways() []*block {
	if b.isReturn() {
		return nil
	}
	return []*block{b.yes, b.no}
}

// The hardware types whose frames begin with an Ethernet header; all others begin
// with IP. Source: linux/if_arp.h.
const hardwareEther, hardwareLoopback = 1, 772

func tooLong() error {
	return &Error{Message: fmt.Sprintf("the program for this would be longer than the kernel takes, %d instructions", maxInstructions)}
}

// generate makes the program of a tree. One program is for all sorts of frames:
// it begins by asking which it has.
func generate(tree node) ([]bpf.Instruction, error) {
	e := &emitter{accept: &block{set: -1, verdict: true}, reject: &block{set: -1}}
	slots := 0
	variant := func(of layer) (*block, error) {
		l := lowering{layer: of}
		c := l.lower(tree)
		if l.err != nil {
			return nil, l.err
		}
		slots = max(slots, l.slots)
		first := e.link(c, e.accept, e.reject)
		e.thread(first)
		return first, nil
	}
	raw, err := variant(rawLayer)
	if err != nil {
		return nil, err
	}
	ether, err := variant(etherLayer)
	if err != nil {
		return nil, err
	}
	stripped, err := variant(strippedLayer)
	if err != nil {
		return nil, err
	}
	if e.blocks > maxBlocks {
		return nil, tooLong()
	}
	extension := func(x bpf.Extension) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadExtension{Num: x}}
	}
	hardware := func(v uint32) condition { return equal(extension(bpf.ExtLinkLayerType), v) }
	tag := e.link(equal(extension(bpf.ExtVLANTagPresent), 0), ether, stripped)
	first := e.link(anyOf{hardware(hardwareEther), hardware(hardwareLoopback)}, tag, raw)
	if slots > 0 {
		// The kernel refuses a program that loads what no way has stored.
		clear := []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA}}
		for s := range slots {
			clear = append(clear, bpf.StoreScratch{Src: bpf.RegA, N: s})
		}
		first = &block{test: test{load: clear}, set: scratchSize, yes: first, no: first}
	}
	program := assemble(forward(first))
	if len(program) > maxInstructions {
		return nil, tooLong()
	}
	return program, nil
}

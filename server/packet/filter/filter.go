// Package filter compiles tcpdump's filter expressions to classic BPF, without
// libpcap. It is pure: one program does for the kernel and for frames in memory.
package filter

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// WholePacket is what a program returns for a packet that it accepts: more bytes
// than a packet has.
const WholePacket = 1 << 18

// maxExpression bounds the length of an expression in bytes.
const maxExpression = 8192

// Error says what is wrong with an expression, and where.
type Error struct {
	Position   int    // in bytes from the start
	Message    string // plain words
	Suggestion string // what may have been meant in place of the word there, or ""
}

func (e *Error) Error() string {
	s := fmt.Sprintf("filter, at %d: %s", e.Position, e.Message)
	if e.Suggestion != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Suggestion)
	}
	return s
}

// Filter is a compiled expression. It may be used by several goroutines.
type Filter struct {
	program []bpf.RawInstruction
	steps   []step // the same
}

// Compile compiles an expression; every error is an *Error. The empty expression
// accepts all.
func Compile(expression string) (*Filter, error) {
	if len(expression) > maxExpression {
		return nil, &Error{Position: maxExpression, Message: fmt.Sprintf("the expression is longer than %d bytes", maxExpression)}
	}
	tree, err := parse(expression)
	if err != nil {
		return nil, err
	}
	instructions, err := generate(tree)
	if err != nil {
		return nil, err
	}
	program, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("no program can be made of this: %v", err)}
	}
	return &Filter{program, steps(program)}, nil
}

// Match says whether a frame is accepted: its first bytes, with a VLAN tag in
// place, the ARPHRD_ type of the interface, whether that sent it, and the length
// that the whole frame had. As in the kernel, a test of bytes beyond data makes
// it not accepted, even behind "not".
func (f *Filter) Match(data []byte, hardware uint16, out bool, length int) bool {
	packetType := uint32(0)
	if out {
		packetType = outgoing
	}
	return run(f.steps, data, uint32(hardware), packetType, uint32(length))
}

// Program is the filter for a packet socket (SOCK_RAW) that is bound to all
// interfaces of a network namespace. It returns WholePacket or 0. It tells sorts
// of frames apart by the hardware type, knows that the kernel takes the first
// VLAN tag out of a frame, and so accepts the same frames as Match.
func (f *Filter) Program() []bpf.RawInstruction { return f.ProgramSnap(WholePacket) }

// ProgramSnap is Program with another number of bytes to keep of a packet.
func (f *Filter) ProgramSnap(snap uint32) []bpf.RawInstruction {
	program := slices.Clone(f.program)
	for i := range program {
		if program[i].Op == opReturn && program[i].K != 0 {
			program[i].K = snap
		}
	}
	return program
}

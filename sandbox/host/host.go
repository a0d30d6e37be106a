// Package host is the door between the server and the privileged side: what a
// Host can do with Worlds, the fixed error codes, the wire that carries it over
// NATS, and Model, a Host in memory. It must not touch the kernel, parse a lab
// or know HTTP.
package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kabel/sandbox/topo"
)

// WorldID names one world of a host; it is a valid topo name.
type WorldID string

// Spec describes a world to create.
type Spec struct {
	ID       WorldID        `json:"id"`
	Machines []topo.Machine `json:"machines"`
	// Wires are veth pairs between machines, each created with both ends in
	// place and up.
	Wires []topo.Wire `json:"wires"`
	// Setup is applied after the wires, in order, before the world is handed out.
	Setup []topo.Placed `json:"setup"`
}

// Host creates and finds worlds. Implementations are safe for concurrent use.
type Host interface {
	// Create makes a world and returns when it stands. Codes: CodeExists,
	// CodeInvalid, CodeLimit, CodeOpFailed.
	Create(ctx context.Context, spec Spec) (World, error)
	// World finds a living world; CodeNotFound.
	World(ctx context.Context, id WorldID) (World, error)
	// Worlds lists what lives.
	Worlds(ctx context.Context) ([]WorldID, error)
	// Status tells what this host can and can't do.
	Status(ctx context.Context) (Status, error)
	// Close lets go of the host and waits. A Host in this process destroys its
	// worlds; a client of a remote one leaves them.
	Close() error
}

// Status describes a host.
type Status struct {
	ID     string `json:"id"`
	Worlds int    `json:"worlds"`
	// Capacity is how many worlds it takes at once; 0: it knows no bound.
	Capacity int `json:"capacity,omitempty"`
	// Rootless is set when the host runs in a user namespace of an ordinary user.
	Rootless bool `json:"rootless"`
	// Missing names what this host can't do and what is lost by it, in English,
	// for operators: "cgroups: limits on memory and processes are not enforced".
	Missing []string `json:"missing"`
}

// World is one learner's world. Implementations are safe for concurrent use;
// Apply calls of one world run one after the other.
type World interface {
	ID() WorldID
	// Apply does the ops in order and stops at the first that fails, with an
	// *OpError; what was done before stays. It returns the world as the ops
	// left it; what they can't have changed is as it was last read. An interface
	// that a background Run brings up is waited for up to two seconds.
	Apply(ctx context.Context, ops []topo.Placed) (topo.Snapshot, error)
	// Exec runs a program with the learner's rights and waits for it.
	Exec(ctx context.Context, r ExecRequest) (ExecResult, error)
	// Probe sends packets from inside a node. A probe that gets no answer is a
	// result, not an error.
	Probe(ctx context.Context, p topo.Probe) (topo.ProbeResult, error)
	// Snapshot reads the world now. Its revision is the watchers'.
	Snapshot(ctx context.Context) (topo.Snapshot, error)
	// Terminal starts a shell in a node; ctx counts for the start only. The
	// caller closes it.
	Terminal(ctx context.Context, r TerminalRequest) (Terminal, error)
	// Capture sees packets; ctx counts for the opening only. The caller closes it.
	Capture(ctx context.Context, r CaptureRequest) (Capture, error)
	// Watch sends a snapshot first and then what changes; a reader that falls
	// behind gets a snapshot again instead of what it missed. The channel is
	// closed when ctx ends or the world is gone.
	Watch(ctx context.Context) (<-chan topo.Update, error)
	// Destroy ends the world and waits until its processes are gone.
	Destroy(ctx context.Context) error
}

// ExecRequest is a program to run in a node.
type ExecRequest struct {
	Node    topo.NodeID   `json:"node"`
	Argv    []string      `json:"argv"`
	Stdin   []byte        `json:"stdin,omitempty"`
	Timeout time.Duration `json:"timeout"` // 0: DefaultExecTimeout; at most MaxExecTimeout
}

// MaxExecTimeout bounds one Exec; MaxExecOutput is how many bytes of each of
// stdout and stderr are kept.
const (
	DefaultExecTimeout = 10 * time.Second
	MaxExecTimeout     = 60 * time.Second
	MaxExecOutput      = 256 << 10
)

// ExecResult is what a program left. A program killed by signal n has exit code
// 128+n; one that could not be started 127 (not found) or 126, as in a shell.
type ExecResult struct {
	ExitCode  int    `json:"exit_code"`
	Stdout    []byte `json:"stdout"`
	Stderr    []byte `json:"stderr"`
	Truncated bool   `json:"truncated,omitempty"`
	TimedOut  bool   `json:"timed_out,omitempty"`
}

// Code is one of the few kinds of failure that callers tell apart.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"      // the request makes no sense: unknown node, bad name
	CodeNotFound    Code = "not-found"    // no such world
	CodeExists      Code = "exists"       // a world of that name lives
	CodeOpFailed    Code = "op-failed"    // the kernel refused an op; see OpError
	CodeLimit       Code = "limit"        // a limit of the world or the host is reached
	CodeTimeout     Code = "timeout"      // it took too long
	CodeUnavailable Code = "unavailable"  // the host is gone or not reachable
	CodeInternal    Code = "internal"     // a fault of ours
	CodeUnsupported Code = "not-possible" // this host's kernel or rights lack what it needs
)

// Error is a failure with its code. The text is for the log, not for learners.
type Error struct {
	Code Code
	Err  error
}

// Errorf makes an Error as fmt.Errorf does, %w included.
func Errorf(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, a...)}
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// CodeOf finds the code of any error: CodeInternal where none is wrapped,
// CodeTimeout for an expired context; empty for nil.
func CodeOf(err error) Code {
	var coded *Error
	var op *OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &op):
		return CodeOpFailed
	case errors.As(err, &coded):
		return coded.Code
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return CodeTimeout
	}
	return CodeInternal
}

// OpError tells which op of an Apply failed and what the kernel said. Its fields
// may be shown to the learner: they are what the command itself would have said.
type OpError struct {
	Index   int         `json:"index"` // how many ops were done before
	Node    topo.NodeID `json:"node"`
	Command string      `json:"command"`
	// Errno is the kernel's name for it, "EEXIST"; empty where a program failed.
	Errno string `json:"errno,omitempty"`
	// Message is the kernel's own words: "File exists", or the program's stderr.
	Message string `json:"message"`
}

func (e *OpError) Error() string {
	return fmt.Sprintf("%s: op %d %q on %s: %s", CodeOpFailed, e.Index, e.Command, e.Node, e.Message)
}

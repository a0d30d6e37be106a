package host

import (
	"cmp"
	"io"

	"kabel/sandbox/topo"
)

// TerminalRequest is a shell to start in a node.
type TerminalRequest struct {
	Node topo.NodeID `json:"node"`
	Rows int         `json:"rows,omitempty"` // 0: 24
	Cols int         `json:"cols,omitempty"` // 0: 80
}

// MaxTerminalSize bounds the rows and the columns of a terminal.
const MaxTerminalSize = 1000

// Terminal is a shell on a terminal of its own. One goroutine may read while
// another writes; the other methods may be called at any time.
type Terminal interface {
	// Read gives what the shell shows; what nobody reads holds it up. io.EOF
	// means that the shell has ended, any other error that it is lost, with its
	// world or its host.
	//
	// Write types, and waits while nobody reads what was typed before.
	//
	// Close hangs up, and does not wait for the shell. Read and Write end by it.
	io.ReadWriteCloser
	Resize(rows, cols int) error
	// ExitCode is known when Read has said io.EOF; 128+n means signal n.
	ExitCode() int
}

// Normal is the request with its defaults filled in, or an error of CodeInvalid.
func (r TerminalRequest) Normal() (TerminalRequest, error) {
	r.Rows, r.Cols = cmp.Or(r.Rows, 24), cmp.Or(r.Cols, 80)
	return r, ValidSize(r.Rows, r.Cols)
}

// ValidSize is an error of CodeInvalid if no terminal can have that size.
func ValidSize(rows, cols int) error {
	if min(rows, cols) < 1 || max(rows, cols) > MaxTerminalSize {
		return Errorf(CodeInvalid, "a terminal can't have %d rows of %d columns", rows, cols)
	}
	return nil
}

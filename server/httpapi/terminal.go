package httpapi

import "kabel/sandbox/topo"

// The websocket of a terminal,
//
//	GET /api/v1/sessions/{id}/terminals/{node}?rows=24&cols=80[&terminal=ID][&window=131072]
//
// with the node escaped (host1%2Fkon). Without terminal a new shell is started
// on the node; with it, one that runs is attached to, whatever it has shown so
// far included. rows and cols set its size, and may be left out then.
//
// Binary messages are bytes, both ways: what is typed, what is shown. A message
// may end anywhere, also within a character. Text messages are one JSON object
// each, a TerminalMessage with a type:
//
// From the server:
//
//   - "terminal" {id, node, rows, cols, replay}: comes first. Empty the screen:
//     the next replay bytes are what was shown before. Answers that the screen
//     gives to them (to "where is the cursor?") must not be sent. It comes again
//     when a viewer was so slow that it missed something.
//   - "size" {rows, cols}: another viewer has changed the size.
//   - "exit" {code}: the shell has ended, 128+n by signal n. The server closes.
//   - "ended" {reason}: the terminal was taken away: "closed" (somebody closed
//     it), "reset" (there is a new world), "deleted" (the session has ended),
//     "lost" (the world or the sandbox is gone). The server closes.
//
// From the client:
//
//   - "size" {rows, cols}: from 1 to 1000 each.
//   - "ack" {bytes}: that many more bytes have been drawn, replayed ones included.
//     Needed only with the parameter window: the server then never has more than
//     so many bytes under way that are not acknowledged. A page needs it, since a
//     browser takes messages faster than a screen draws them.
//
// When the connection breaks the shell lives on: attach to it again. A viewer
// that closes (code 1000) only leaves, too; DELETE with the same path and
// parameter ends the shell. Input that no program reads for ten seconds ends the
// connection with code 1008.

// TerminalMessage is a control message of a terminal's websocket; Type tells
// which fields are set.
type TerminalMessage struct {
	Type   string      `json:"type"` // terminal, size, exit, ended; from clients: size, ack
	ID     string      `json:"id,omitempty"`
	Node   topo.NodeID `json:"node,omitempty"`
	Rows   int         `json:"rows,omitempty"`
	Cols   int         `json:"cols,omitempty"`
	Replay int         `json:"replay,omitempty"`
	Code   *int        `json:"code,omitempty"`
	Reason string      `json:"reason,omitempty"`
	Bytes  int         `json:"bytes,omitempty"`
}

package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"kabel/sandbox/topo"
)

// The wire is JSON over NATS. A request goes to kabel.host.HOST.VERB and is
// answered by one reply. A world that is watched has a stream, a subject that
// its updates are published on for as long as somebody renews a lease on it.
// Every second, and when it is asked on kabel.hello, a host beats on
// kabel.beat.HOST with its Status. A message that
// is larger than the connection's MaxPayload fails with CodeLimit: the engine
// sets that limit above the largest snapshot.
const (
	// headerID names a request, so that it can be cancelled; headerBudget is
	// how many milliseconds its caller waits for it.
	headerID     = "Kabel-Id"
	headerBudget = "Kabel-Budget"

	// maxBudget bounds every request, also one whose caller would wait forever.
	maxBudget = 2 * time.Minute

	beatEvery = time.Second
	// silence is how long a host may be quiet before it counts as gone.
	silence = 6 * time.Second

	renewEvery = 2 * time.Second
	leaseTime  = 5 * renewEvery
)

type verb string

const (
	verbCreate   verb = "create"
	verbWorld    verb = "world"
	verbWorlds   verb = "worlds"
	verbStatus   verb = "status"
	verbApply    verb = "apply"
	verbExec     verb = "exec"
	verbProbe    verb = "probe"
	verbSnapshot verb = "snapshot"
	verbDestroy  verb = "destroy"
	verbWatch    verb = "watch"    // take or renew a lease on a world's stream
	verbUnwatch  verb = "unwatch"  // give it back
	verbTerminal verb = "terminal" // see terminal_line.go
	verbCapture  verb = "capture"  // see capture_wire.go
	verbCancel   verb = "cancel"   // the caller of the request in headerID is gone
)

func token(hostID string) string { return strings.ReplaceAll(hostID, ".", "%2E") }

func subject(hostID string, v verb) string { return "kabel.host." + token(hostID) + "." + string(v) }

func beatSubject(hostID string) string { return "kabel.beat." + token(hostID) }

// helloSubject asks all hosts to beat at once.
const helloSubject = "kabel.hello"

func streamSubject(stream string) string { return "kabel.stream." + stream }

// request is what a verb needs; most leave most of it out.
type request struct {
	World    WorldID          `json:"world,omitempty"`
	Spec     *Spec            `json:"spec,omitempty"`
	Ops      []topo.Placed    `json:"ops,omitempty"`
	Exec     *ExecRequest     `json:"exec,omitempty"`
	Probe    *topo.Probe      `json:"probe,omitempty"`
	Lease    string           `json:"lease,omitempty"`
	Terminal *TerminalRequest `json:"terminal,omitempty"`
	Capture  *CaptureRequest  `json:"capture,omitempty"`
}

// reply has Error, or what the verb gives.
type reply struct {
	Error    *wireError        `json:"error,omitempty"`
	Revision topo.Rev          `json:"revision,omitempty"`
	Exec     *ExecResult       `json:"exec,omitempty"`
	Probe    *topo.ProbeResult `json:"probe,omitempty"`
	Snapshot *topo.Snapshot    `json:"snapshot,omitempty"`
	Worlds   []WorldID         `json:"worlds,omitempty"`
	Status   *Status           `json:"status,omitempty"`
	Stream   string            `json:"stream,omitempty"`
}

// streamed is one message of a stream: an update, or that there will be none.
type streamed struct {
	topo.Update
	End bool `json:"end,omitempty"`
}

// beat is a heartbeat; Gone is the last one of a host that ends in order.
type beat struct {
	Status
	Gone bool `json:"gone,omitempty"`
}

type wireError struct {
	Code    Code     `json:"code"`
	Message string   `json:"message"`
	Op      *OpError `json:"op,omitempty"`
}

func toWire(err error) *wireError {
	w := &wireError{Code: CodeOf(err)}
	w.Message = strings.TrimPrefix(err.Error(), string(w.Code)+": ")
	w.Op, _ = errors.AsType[*OpError](err)
	return w
}

func (w *wireError) err() error {
	if w.Op != nil {
		return w.Op
	}
	return &Error{Code: w.Code, Err: errors.New(w.Message)}
}

// encode is the message of v, or of the error that it is too large.
func encode(v reply, limit int64) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(reply{Error: toWire(Errorf(CodeInternal, "encode the reply: %w", err))})
	}
	if int64(len(b)) > limit {
		b, _ = json.Marshal(reply{Error: toWire(Errorf(CodeLimit, "the reply of %d bytes is larger than the engine's limit of %d", len(b), limit))})
	}
	return b
}

func decodeRequest(data []byte) (request, error) {
	var r request
	if err := json.Unmarshal(data, &r); err != nil {
		return r, &Error{Code: CodeInvalid, Err: fmt.Errorf("request: %w", err)}
	}
	return r, nil
}

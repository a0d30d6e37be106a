package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/capture"
	"kabel/server/session"
)

const apiDescription = `A playground for container networking: each session is a small world of machines in a real Linux kernel.

Start a session with POST /api/v1/sessions; send its token as "Authorization: Bearer …" (browsers have it as a cookie).
A node is named host1 (a machine) or host1/kon (a namespace on it).

**Stream.** GET /api/v1/sessions/{id}/stream is a websocket of JSON text messages, one object each, with a "type":
"session" {session}, "snapshot" {snapshot}, "diff" {diff}, "probe" {result}, "ended" {reason}; while an author edits the lab, also "lab" {mistakes}: without mistakes its texts are to be read again.
A session and a snapshot come first. A diff fits the snapshot of its revision "from" and leads to "to": each entry of "changed" replaces
the sections that it has in the node of that id (a new node has all of them), and "order", when present, lists the nodes that there are.
A reader that is too slow gets a session and a snapshot again in place of what it missed.
The reasons of "ended" are "deleted" and "total" (the session has had its time). When the world is about to go by itself, the session's "ends" says
when and why: "total", or "idle" because nobody is there. Who has a stream open is there, unless they say {"type":"away"}; {"type":"here"} takes that back.
An idle session is only "parked": the next request builds its world again, with the steps that were done.

**Free play.** POST /api/v1/sessions with {"free": {"hosts": 2, "join": "switch"}} in place of a lab makes a world without steps. Its session's lab is
"free-play", and its variant names the choice: GET /api/v1/labs/free-play?variant=2-switch. When its world is built anew, the first 500 commands of POST …/ops
since the last reset are done again; what was typed is not.

**Terminals.** GET /api/v1/sessions/{id}/terminals/{node}?rows=24&cols=80 is a websocket (the node escaped: host1%2Fkon). It starts a shell,
or attaches to the one that the parameter "terminal" names, and brings what that has shown so far. Binary messages are bytes, both ways.
Text messages are JSON objects with a "type"; from the server: "terminal" {id, node, rows, cols, replay} (first, and again after a viewer
was too slow: empty the screen; "replay" bytes of what was shown before follow), "size" {rows, cols}, "exit" {code}, "ended" {reason};
from the client: "size" {rows, cols} and "ack" {bytes}. With the parameter "window" no more than so many bytes are sent that were not acknowledged.
A shell outlives its viewers: it ends by itself, by DELETE, or with its world. A session has 8 at the most.

**Packets.** GET /api/v1/sessions/{id}/packets?filter=EXPRESSION is a websocket of JSON text messages with a "type"; the filter is in tcpdump's words.
From the server: "start" {started, filter, snap, resumed} (unless resumed, the list begins anew), "batch" {seq, rows, lost, gap}: each row is one packet
with every place that saw it, and takes the place of the row with its id; "lost" counts the packets that are not shown, and "gap" the changes of rows that were left out
before this batch; "filter-error" {position, message, suggestion}, "paused", "ended" {reason}. From the client: "filter" {filter}, "pause", "resume".
Who comes back names the last batch that came with the parameter "after". GET /api/v1/sessions/{id}/capture.pcapng?node=&link=&filter=&snap=&seconds= is a file that
grows, for Wireshark; with kept=true it is whole at once and has what is kept for the list: curl -N -H "Authorization: Bearer …" … | wireshark -k -i -

**Progress.** A browser is a learner: POST /api/v1/sessions from a page sets the cookie kabel_learner, and GET /api/v1/progress tells what was done in all sessions
that were started with it. Until a step is done for the first time, its time (while somebody is there), attempts and opened hints are counted; what a reset does is not.
Programs that send neither the cookie nor an Origin have no progress.

**Demo.** GET /api/v1/demo/stream and GET /api/v1/demo/packets are the stream and the packets of a world that is everybody's: it builds itself, breaks and is
repaired, over and over, while somebody watches. No key is needed, and nothing can be done to it; GET /api/v1/labs/demo has the texts of its steps.
Where there is no demo, the first message is "ended", with the reason "full" (no room for another world), "crowded" (too many watch) or "unavailable"
(there is no sandbox, or it failed); the same may come later.

Errors are application/problem+json (RFC 9457) with a stable "code".`

// Lab is a lab as the API shows it.
type Lab struct {
	ID       string       `json:"id"`
	Title    string       `json:"title"`
	Summary  string       `json:"summary"`
	Track    string       `json:"track"`
	Minutes  int          `json:"minutes" doc:"about how long it takes"`
	Language string       `json:"language" doc:"of the texts, as served"`
	Intro    string       `json:"intro,omitempty" doc:"HTML, sanitised"`
	Variants []LabVariant `json:"variants" nullable:"false" doc:"the default one first"`
	Steps    []LabStep    `json:"steps" nullable:"false"`
}

// LabVariant is one set of names and addresses of a lab.
type LabVariant struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// LabStep is one step; Text, Probes and Predict come with a single lab only.
type LabStep struct {
	ID       string        `json:"id"`
	Title    string        `json:"title"`
	Commands []LabCommand  `json:"commands" nullable:"false"`
	Text     string        `json:"text,omitempty" doc:"HTML, sanitised"`
	After    string        `json:"after,omitempty" doc:"HTML, sanitised; what the step has shown"`
	Probes   []LabProbe    `json:"probes,omitempty"`
	Predict  *PredictShown `json:"predict,omitempty"`
}

// LabCommand is a command as a learner would type it, and where.
type LabCommand struct {
	Node    topo.NodeID `json:"node"`
	Command string      `json:"command"`
}

// LabProbe is a test of a step, and what a learner would type for it on the node's machine.
type LabProbe struct {
	topo.Probe
	Command string `json:"command"`
}

// PredictShown is a question that is asked before the step is done.
type PredictShown struct {
	Question string          `json:"question" doc:"HTML, sanitised"`
	Options  []PredictOption `json:"options" nullable:"false"`
}

// PredictOption is one answer to choose.
type PredictOption struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Created is a new session with its key, which is told only here.
type Created struct {
	session.View
	Token string `json:"token"`
}

// Acted is a session after an action.
type Acted struct {
	session.View
	Revision topo.Rev           `json:"revision" doc:"the first topology revision that shows the result"`
	Probes   []topo.ProbeResult `json:"probes" nullable:"false"`
}

// Done is a session after a single op.
type Done struct {
	Acted
	Command string `json:"command" doc:"as Kabel understood it"`
}

// Executed is what a program left.
type Executed struct {
	ExitCode  int    `json:"exit_code"`
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Truncated bool   `json:"truncated,omitempty" doc:"output beyond 256 KiB was dropped"`
	TimedOut  bool   `json:"timed_out,omitempty"`
}

// body wraps what huma writes as the answer's body.
type body[T any] struct{ Body T }

// mine is the input of every route below one session.
type mine struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) routes() {
	huma.Register(s.api, huma.Operation{OperationID: "list-labs", Method: http.MethodGet, Path: "/api/v1/labs", Summary: "All labs, in teaching order"}, s.listLabs)
	huma.Register(s.api, huma.Operation{OperationID: "get-lab", Method: http.MethodGet, Path: "/api/v1/labs/{lab}", Summary: "One lab with its texts", Errors: []int{404}}, s.getLab)
	huma.Register(s.api, huma.Operation{OperationID: "get-catalogue", Method: http.MethodGet, Path: "/api/v1/catalogue", Summary: "Labs that could not be loaded, and whether labs are being edited"}, s.catalogue)
	huma.Register(s.api, huma.Operation{OperationID: "get-glossary", Method: http.MethodGet, Path: "/api/v1/glossary", Summary: "The terms that lab texts mark with <dfn data-term>, explained"}, s.glossary)
	huma.Register(s.api, huma.Operation{OperationID: "create-session", Method: http.MethodPost, Path: "/api/v1/sessions", Summary: "Start a lab or free play; answers when the world stands",
		DefaultStatus: http.StatusCreated, Errors: []int{404, 503}}, s.createSession)

	huma.Register(s.api, huma.Operation{OperationID: "get-progress", Method: http.MethodGet, Path: "/api/v1/progress", Summary: "What the learner of this browser has done"}, s.progress)
	huma.Register(s.api, huma.Operation{OperationID: "get-progress-csv", Method: http.MethodGet, Path: "/api/v1/progress.csv", Summary: "The same as a table, a row for each step",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: "string"}}}}}}, s.progressCSV)
	huma.Register(s.api, huma.Operation{OperationID: "forget-progress", Method: http.MethodDelete, Path: "/api/v1/progress", Summary: "Forget the learner; their sessions go on, uncounted",
		DefaultStatus: http.StatusNoContent}, s.forget)

	own := func(id, method, path, summary string, errs ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/sessions/{id}" + path, Summary: summary,
			Security: []map[string][]string{{"token": {}}}, Middlewares: huma.Middlewares{s.authorise}, Errors: append([]int{401, 404, 503}, errs...)}
	}
	huma.Register(s.api, own("get-session", http.MethodGet, "", "The session as it is now"), s.getSession)
	huma.Register(s.api, own("get-session-lab", http.MethodGet, "/lab", "The session's lab with its texts, which may be older than the one that is begun now"), s.sessionLab)
	del := own("delete-session", http.MethodDelete, "", "End the session and its world")
	del.DefaultStatus = http.StatusNoContent
	huma.Register(s.api, del, s.deleteSession)
	huma.Register(s.api, own("reset-session", http.MethodPost, "/reset", "A new world, as it is at the start of a step (the first, unless one is named)"), s.reset)
	huma.Register(s.api, own("set-language", http.MethodPut, "/language", "Have the hints told in another language"), s.speak)
	huma.Register(s.api, own("apply-step", http.MethodPost, "/steps/{step}/apply", "Do the current step's commands and probes", 409), s.applyStep)
	huma.Register(s.api, own("predict-step", http.MethodPost, "/steps/{step}/predict", "Answer a step's question before it is done", 409), s.predict)
	huma.Register(s.api, own("get-changes", http.MethodGet, "/steps/{step}/changes", "The kernel before and after a step, as far as they differ"), s.changes)
	hint := own("open-hint", http.MethodPost, "/steps/{step}/hint", "Note that the hint of the current step was opened; of a step that was done meanwhile none counts", 409)
	hint.DefaultStatus = http.StatusNoContent
	huma.Register(s.api, hint, s.hinted)
	huma.Register(s.api, own("apply-op", http.MethodPost, "/ops", "Do one command", 409), s.op)
	huma.Register(s.api, own("exec", http.MethodPost, "/exec", "Run a program with the learner's rights", 409), s.exec)
	huma.Register(s.api, own("probe", http.MethodPost, "/probes", "Send packets from a node and see whether they are answered", 409), s.probe)
	huma.Register(s.api, own("get-packet", http.MethodGet, "/packets/{no}", "One packet at one place, with its layers and bytes"), s.packet)
	huma.Register(s.api, own("list-terminals", http.MethodGet, "/terminals", "The shells that run"), s.listTerminals)
	end := own("close-terminal", http.MethodDelete, "/terminals/{node}", "End a shell")
	end.DefaultStatus = http.StatusNoContent
	huma.Register(s.api, end, s.closeTerminal)
	huma.Register(s.api, own("get-topology", http.MethodGet, "/topology", "The state of every namespace, read from the kernel now"), s.topology)
}

type sessionKey struct{}

// authorise finds the session that the path names, if the request has its key.
func (s *Server) authorise(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	found, p := s.find(r, ctx.Param("id"))
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	next(huma.WithValue(ctx, sessionKey{}, found))
}

func (s *Server) find(r *http.Request, id string) (*session.Session, *Problem) {
	key := token(r, id)
	if key == "" {
		return nil, problem(codeUnauthorised, "")
	}
	found, err := s.sessions.Find(id, key)
	if err != nil {
		return nil, s.problemOf(r.Context(), err)
	}
	return found, nil
}

func current(ctx context.Context) *session.Session {
	return ctx.Value(sessionKey{}).(*session.Session)
}

// answer wraps a handler's result, and its error as a problem.
func answer[T any](s *Server, ctx context.Context, v T, err error) (*body[T], error) {
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	return &body[T]{v}, nil
}

type labsInput struct {
	Language string `header:"Accept-Language" maxLength:"200"`
}

func (s *Server) listLabs(ctx context.Context, in *labsInput) (*body[[]Lab], error) {
	out := []Lab{}
	for _, l := range s.sessions.Labs().Labs() {
		_, plan, err := s.sessions.Plan(l.ID, "")
		if err != nil {
			return nil, s.problemOf(ctx, err)
		}
		shown := showLab(l, plan, labs.Negotiate(in.Language))
		for i := range shown.Steps {
			st := &shown.Steps[i]
			*st = LabStep{ID: st.ID, Title: st.Title, Commands: st.Commands}
		}
		out = append(out, shown)
	}
	return &body[[]Lab]{out}, nil
}

type labInput struct {
	Language string `header:"Accept-Language" maxLength:"200"` // huma does not fill unexported embedded structs
	Lab      string `path:"lab" maxLength:"64"`
	Variant  string `query:"variant" maxLength:"64"`
}

func (s *Server) getLab(ctx context.Context, in *labInput) (*body[Lab], error) {
	l, plan, err := s.sessions.Plan(in.Lab, in.Variant)
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	return answer(s, ctx, showLab(l, plan, labs.Negotiate(in.Language)), nil)
}

func (s *Server) glossary(_ context.Context, in *labsInput) (*body[[]labs.Term], error) {
	return &body[[]labs.Term]{s.sessions.Labs().Glossary().Terms(labs.Negotiate(in.Language))}, nil
}

type createInput struct {
	Accept string `header:"Accept-Language" maxLength:"200"`
	Key    string `cookie:"kabel_learner" maxLength:"100"`
	Origin string `header:"Origin"`
	Body   struct {
		Lab      string `json:"lab,omitempty" minLength:"1" maxLength:"64" example:"one-namespace"`
		Language string `json:"language,omitempty" maxLength:"35" doc:"otherwise Accept-Language decides"`
		Variant  string `json:"variant,omitempty" maxLength:"64"`
		Free     *Free  `json:"free,omitempty" doc:"in place of a lab: free play, with machines of one's choice"`
	}
}

// Free is the choice of machines in free play.
type Free struct {
	Hosts    int    `json:"hosts" minimum:"1" maximum:"6"`
	Join     string `json:"join" enum:"switch,router" doc:"switch: all hosts in one network; router: each in its own"`
	Internet bool   `json:"internet,omitempty" doc:"a machine that owns 8.8.8.8, behind the router"`
	Laptop   bool   `json:"laptop,omitempty" doc:"a client outside, behind the router"`
}

type createOutput struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Location  string        `header:"Location"`
	Body      Created
}

func (s *Server) createSession(ctx context.Context, in *createInput) (*createOutput, error) {
	language := in.Body.Language
	if language == "" {
		language = in.Accept
	}
	lab, variant := in.Body.Lab, in.Body.Variant
	if free := in.Body.Free; free != nil {
		if lab != "" || variant != "" {
			return nil, problem(codeBadRequest, "Ask for a lab or for free play, not for both.")
		}
		lab, variant = labs.FreePlay, labs.Free(*free).Variant()
	} else if lab == "" {
		return nil, problem(codeBadRequest, "Ask for a lab, or for free play.")
	}
	found, key, err := s.sessions.Create(ctx, lab, variant, labs.Negotiate(language))
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	cookies, err := s.enroll(ctx, found, in.Key, in.Origin)
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	path := "/api/v1/sessions/" + found.ID()
	return &createOutput{
		// Not Secure: a classroom server speaks plain HTTP on its own network.
		SetCookie: append(cookies, http.Cookie{Name: cookieName(found.ID()), Value: key, Path: path, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int((7 * 24 * time.Hour).Seconds())}),
		Location:  path,
		Body:      Created{View: found.View(), Token: key},
	}, nil
}

func (s *Server) getSession(ctx context.Context, _ *mine) (*body[session.View], error) {
	v, err := current(ctx).Refresh(ctx)
	return answer(s, ctx, v, err)
}

type sessionLabInput struct {
	mine
	Language string `header:"Accept-Language" maxLength:"200"`
}

func (s *Server) sessionLab(ctx context.Context, in *sessionLabInput) (*body[Lab], error) {
	l, plan := current(ctx).Lab()
	return answer(s, ctx, showLab(l, plan, labs.Negotiate(in.Language)), nil)
}

func (s *Server) deleteSession(ctx context.Context, _ *mine) (*struct{}, error) {
	if err := s.sessions.Delete(ctx, current(ctx)); err != nil {
		return nil, s.problemOf(ctx, err)
	}
	return nil, nil
}

type resetInput struct {
	mine
	Body *struct {
		Step string `json:"step,omitempty" maxLength:"64"`
	}
}

func (s *Server) reset(ctx context.Context, in *resetInput) (*body[session.View], error) {
	step := ""
	if in.Body != nil {
		step = in.Body.Step
	}
	v, err := current(ctx).Reset(ctx, step)
	return answer(s, ctx, v, err)
}

type languageInput struct {
	mine
	Body struct {
		Language string `json:"language" minLength:"1" maxLength:"35" example:"id"`
	}
}

func (s *Server) speak(ctx context.Context, in *languageInput) (*body[session.View], error) {
	v, err := current(ctx).Speak(ctx, labs.Negotiate(in.Body.Language))
	return answer(s, ctx, v, err)
}

type stepInput struct {
	mine
	Step string `path:"step" maxLength:"64"`
}

func (s *Server) applyStep(ctx context.Context, in *stepInput) (*body[Acted], error) {
	out, err := current(ctx).Apply(ctx, in.Step)
	return answer(s, ctx, acted(out), err)
}

func acted(o session.Outcome) Acted {
	if o.Probes == nil {
		o.Probes = []topo.ProbeResult{}
	}
	return Acted{View: o.View, Revision: o.Revision, Probes: o.Probes}
}

type predictInput struct {
	mine
	Step string `path:"step" maxLength:"64"`
	Body struct {
		Choice string `json:"choice" minLength:"1" maxLength:"64"`
	}
}

func (s *Server) predict(ctx context.Context, in *predictInput) (*body[session.View], error) {
	v, err := current(ctx).Predict(ctx, in.Step, in.Body.Choice)
	return answer(s, ctx, v, err)
}

// Changed is what a step changed; null where that is not known.
type Changed struct {
	Changes *session.Changes `json:"changes"`
}

func (s *Server) changes(ctx context.Context, in *stepInput) (*body[Changed], error) {
	c, err := current(ctx).Changes(in.Step)
	return answer(s, ctx, Changed{c}, err)
}

type opInput struct {
	mine
	Body struct {
		Node    topo.NodeID `json:"node" minLength:"1" maxLength:"130" example:"host1"`
		Command string      `json:"command" minLength:"1" maxLength:"4096" example:"ip netns add kon"`
	}
}

func (s *Server) op(ctx context.Context, in *opInput) (*body[Done], error) {
	out, op, err := current(ctx).Op(ctx, in.Body.Node, in.Body.Command)
	if err != nil {
		return nil, s.problemOf(ctx, err)
	}
	return answer(s, ctx, Done{acted(out), op.Command()}, nil)
}

type execInput struct {
	mine
	Body struct {
		Node      topo.NodeID `json:"node" minLength:"1" maxLength:"130" example:"host1"`
		Argv      []string    `json:"argv" minItems:"1" maxItems:"256" example:"[\"ip\",\"-br\",\"link\"]"`
		Stdin     string      `json:"stdin,omitempty"`
		TimeoutMS int         `json:"timeout_ms,omitempty" minimum:"0" maximum:"60000" doc:"0: 10 seconds"`
	}
}

func (s *Server) exec(ctx context.Context, in *execInput) (*body[Executed], error) {
	res, err := current(ctx).Exec(ctx, host.ExecRequest{Node: in.Body.Node, Argv: in.Body.Argv, Stdin: []byte(in.Body.Stdin),
		Timeout: time.Duration(in.Body.TimeoutMS) * time.Millisecond})
	return answer(s, ctx, Executed{ExitCode: res.ExitCode, Stdout: text(res.Stdout), Stderr: text(res.Stderr), Truncated: res.Truncated, TimedOut: res.TimedOut}, err)
}

// text makes output fit for JSON: bytes that are not UTF-8 become U+FFFD.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

type probeInput struct {
	mine
	Body struct {
		From         topo.NodeID    `json:"from" minLength:"1" maxLength:"130" example:"host1"`
		Kind         topo.ProbeKind `json:"kind" enum:"ping,tcp,udp,http,dns,traceroute"`
		To           string         `json:"to" minLength:"1" maxLength:"300" example:"172.16.0.1"`
		Count        int            `json:"count,omitempty" minimum:"0" maximum:"10"`
		Size         int            `json:"size,omitempty" minimum:"0" maximum:"65000" doc:"ping only: payload bytes, 0 means 56"`
		DontFragment bool           `json:"dont_fragment,omitempty" doc:"ping only"`
	}
}

// Probed is what came of a probe, and the packets that it made.
type Probed struct {
	topo.ProbeResult
	Journeys []capture.Row `json:"journeys" doc:"the packets that it sent, and what answered them; null where packets can't be captured"`
}

func (s *Server) probe(ctx context.Context, in *probeInput) (*body[Probed], error) {
	b := in.Body
	r, rows, err := current(ctx).ProbeSeen(ctx, topo.Probe{From: b.From, Kind: b.Kind, To: b.To, Count: b.Count, Size: b.Size, DontFragment: b.DontFragment})
	return answer(s, ctx, Probed{r, rows}, err)
}

func (s *Server) topology(ctx context.Context, _ *mine) (*body[topo.Snapshot], error) {
	t, err := current(ctx).Topology(ctx)
	return answer(s, ctx, t, err)
}

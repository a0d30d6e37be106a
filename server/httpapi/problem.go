package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/session"
)

// Problem is the body of every error (RFC 9457, application/problem+json). Code
// is stable; Title and Detail are for people.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
	// Of a failed or refused command: what it was, where, the kernel's name for
	// the reason, and how many commands were done before it.
	Command string `json:"command,omitempty"`
	Node    string `json:"node,omitempty"`
	Errno   string `json:"errno,omitempty"`
	Applied *int   `json:"applied,omitempty"`
	Column  int    `json:"column,omitempty"`
	// Errors lists what is wrong with a request, place by place.
	Errors []*huma.ErrorDetail `json:"errors,omitempty"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// wording is what a code means to a person; %s in the detail is the subject.
type wording struct {
	status        int
	title, detail string
}

// english is the fallback language; other languages are keyed alike.
var english = map[string]wording{
	string(session.CodeNoSession):        {http.StatusNotFound, "No such session", "The session does not exist, or it is not yours. Start the lab again."},
	string(session.CodeNoLab):            {http.StatusNotFound, "No such lab", "There is no lab called %q. GET /api/v1/labs lists them."},
	string(session.CodeNoVariant):        {http.StatusNotFound, "No such variant", "The lab has no variant called %q."},
	string(session.CodeNoStep):           {http.StatusNotFound, "No such step", "The lab has no step called %q."},
	string(session.CodeNoNode):           {http.StatusNotFound, "No such node", "There is no machine or namespace called %q in this world now. A namespace is named after its machine: host1/kon."},
	string(session.CodeBadCommand):       {http.StatusUnprocessableEntity, "Command not understood", "%s"},
	string(session.CodeBadChoice):        {http.StatusUnprocessableEntity, "No such choice", "The question has no answer called %q."},
	string(session.CodeStepDone):         {http.StatusConflict, "Already done", "The step %q is done. Reset to it to do it again."},
	string(session.CodeOutOfOrder):       {http.StatusConflict, "Another step comes first", "Do the step %q first: later steps build on it."},
	string(session.CodeNoTerminal):       {http.StatusNotFound, "No such terminal", "The terminal %q has ended, or it is on another node. Open a new one."},
	string(session.CodeTooManyTerminals): {http.StatusConflict, "Too many terminals", "A session has no more than 8 terminals at a time. Close one first."},
	string(session.CodeBusy):             {http.StatusConflict, "Busy", "Another action of this session is still under way. Try again in a moment."},
	string(session.CodeFull):             {http.StatusServiceUnavailable, "All places are taken", "This server has no room for another world just now. Try again in a few minutes."},
	string(host.CodeInvalid):             {http.StatusUnprocessableEntity, "Not possible as asked", "%s"},
	string(host.CodeNotFound):            {http.StatusConflict, "The world was lost", "The world of this session is gone. The next request builds it again."},
	string(host.CodeOpFailed):            {http.StatusConflict, "The kernel refused a command", "%s"},
	string(host.CodeLimit):               {http.StatusConflict, "A limit is reached", "This world has reached one of its limits. Remove something, or reset the lab."},
	string(host.CodeTimeout):             {http.StatusGatewayTimeout, "It took too long", "The action did not end in time and was stopped."},
	string(host.CodeUnavailable):         {http.StatusServiceUnavailable, "The sandbox is not there", "The part of Kabel that runs the worlds does not answer. It may be starting: try again in a moment."},
	string(host.CodeUnsupported):         {http.StatusNotImplemented, "This machine can't do that", "The kernel or the rights of this machine lack what it needs."},
	string(host.CodeInternal):            {http.StatusInternalServerError, "A fault of ours", "Something went wrong inside Kabel. The log has the details."},
	codeBadRequest:                       {http.StatusUnprocessableEntity, "The request is not right", "%s"},
	codeNoRoute:                          {http.StatusNotFound, "No such page", "There is nothing at this address."},
	codeNoMethod:                         {http.StatusMethodNotAllowed, "Method not allowed", "This address does not take that method."},
	codeUnauthorised:                     {http.StatusUnauthorized, "Token missing", "Send the session's token as \"Authorization: Bearer …\"."},
	codeTooLarge:                         {http.StatusRequestEntityTooLarge, "Too large", "The request's body is larger than this server takes."},
	codeCrossOrigin:                      {http.StatusForbidden, "Cross-origin request refused", "The request came from another site."},
}

// Codes of this package.
const (
	codeBadRequest   = "bad-request"
	codeNoRoute      = "no-such-page"
	codeNoMethod     = "method-not-allowed"
	codeUnauthorised = "unauthorised"
	codeTooLarge     = "too-large"
	codeCrossOrigin  = "cross-origin"
)

func problem(code, subject string) *Problem {
	w, ok := english[code]
	if !ok {
		code = string(host.CodeInternal)
		w = english[code]
	}
	p := &Problem{Status: w.status, Title: w.title, Detail: w.detail, Code: code}
	if n := countVerbs(w.detail); n > 0 {
		p.Detail = fmt.Sprintf(w.detail, subject)
	}
	return p
}

func countVerbs(s string) (n int) {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '%' && (s[i+1] == 's' || s[i+1] == 'q') {
			n++
		}
	}
	return n
}

// problemOf turns any error into what the client may know of it; what it may
// not goes to the log.
func (s *Server) problemOf(ctx context.Context, err error) *Problem {
	var own *Problem
	var refused *session.Problem
	var syntax *labs.SyntaxError
	var op *host.OpError
	var coded *host.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &syntax):
		detail := syntax.Message
		if syntax.Suggestion != "" {
			detail += " " + syntax.Suggestion
		}
		p := problem(string(session.CodeBadCommand), detail)
		p.Column = syntax.Column
		return p
	case errors.As(err, &refused):
		return problem(string(refused.Code), refused.Subject)
	case errors.As(err, &op):
		p := problem(string(host.CodeOpFailed), fmt.Sprintf("%s (on %s): %s", op.Command, op.Node, op.Message))
		p.Command, p.Node, p.Errno, p.Applied = op.Command, string(op.Node), op.Errno, &op.Index
		return p
	case errors.As(err, &coded) && coded.Code == host.CodeInvalid:
		return problem(string(coded.Code), coded.Err.Error())
	}
	p := problem(string(host.CodeOf(err)), "")
	level := s.log.Warn
	if p.Status == http.StatusInternalServerError {
		level = s.log.Error
	}
	level("request failed", "code", p.Code, "err", err)
	return p
}

// humaProblem turns huma's own errors (validation, body limits) into Problems.
// What the client sent is not echoed: it may be a secret.
func humaProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := codeBadRequest
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		code = codeTooLarge
	case http.StatusInternalServerError:
		code = string(host.CodeInternal)
	}
	p := problem(code, m.Detail)
	p.Status = m.Status
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, &huma.ErrorDetail{Message: e.Message, Location: e.Location})
		}
	}
	return p, nil
}

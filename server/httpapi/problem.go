package httpapi

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/packet/filter"
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

	subject string // what it is about, for the words
}

func (p *Problem) Error() string { return p.Code + ": " + p.subject }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statuses are the codes that a client may meet and their HTTP statuses. Their
// words are in problems/, a file for each language.
var statuses = map[string]int{
	string(session.CodeNoSession):        http.StatusNotFound,
	string(session.CodeNoLab):            http.StatusNotFound,
	string(session.CodeNoVariant):        http.StatusNotFound,
	string(session.CodeNoStep):           http.StatusNotFound,
	string(session.CodeNoNode):           http.StatusNotFound,
	string(session.CodeBadCommand):       http.StatusUnprocessableEntity,
	string(session.CodeBadChoice):        http.StatusUnprocessableEntity,
	string(session.CodeStepDone):         http.StatusConflict,
	string(session.CodeOutOfOrder):       http.StatusConflict,
	string(session.CodeNoTerminal):       http.StatusNotFound,
	string(session.CodeTooManyTerminals): http.StatusConflict,
	string(session.CodeNoPacket):         http.StatusNotFound,
	string(session.CodeBadFilter):        http.StatusUnprocessableEntity,
	string(session.CodeTooManyRecords):   http.StatusConflict,
	string(session.CodeBusy):             http.StatusConflict,
	string(session.CodeFull):             http.StatusServiceUnavailable,
	string(host.CodeInvalid):             http.StatusUnprocessableEntity,
	string(host.CodeNotFound):            http.StatusConflict,
	string(host.CodeOpFailed):            http.StatusConflict,
	string(host.CodeLimit):               http.StatusConflict,
	string(host.CodeTimeout):             http.StatusGatewayTimeout,
	string(host.CodeUnavailable):         http.StatusServiceUnavailable,
	string(host.CodeUnsupported):         http.StatusNotImplemented,
	string(host.CodeInternal):            http.StatusInternalServerError,
	codeBadRequest:                       http.StatusUnprocessableEntity,
	codeNoRoute:                          http.StatusNotFound,
	codeNoMethod:                         http.StatusMethodNotAllowed,
	codeUnauthorised:                     http.StatusUnauthorized,
	codeTooLarge:                         http.StatusRequestEntityTooLarge,
	codeCrossOrigin:                      http.StatusForbidden,
}

//go:embed problems/*.json
var problemFiles embed.FS

// wording is what a code means to a person; {} in the detail is the subject.
type wording struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// words reads what is said in a language; nil if it is not spoken.
func words(language string) map[string]wording {
	b, err := problemFiles.ReadFile("problems/" + language + ".json")
	if err != nil {
		return nil
	}
	var m map[string]wording
	if err := json.Unmarshal(b, &m); err != nil {
		panic("httpapi: the words of " + language + ": " + err.Error()) // a test reads them all
	}
	return m
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

// problem makes a Problem without words; they are found when it is written, in
// the language of its reader.
func problem(code, subject string) *Problem {
	status, ok := statuses[code]
	if !ok {
		code = string(host.CodeInternal)
		status = statuses[code]
	}
	return &Problem{Status: status, Code: code, subject: subject}
}

// in gives the problem its words, in the best language for an Accept-Language header.
func (p *Problem) in(accept string) *Problem {
	w := words(labs.Negotiate(accept))[p.Code]
	p.Title, p.Detail = w.Title, strings.ReplaceAll(w.Detail, "{}", p.subject)
	return p
}

// problemOf turns any error into what the client may know of it; what it may
// not goes to the log.
func (s *Server) problemOf(ctx context.Context, err error) *Problem {
	var own *Problem
	var refused *session.Problem
	var syntax *labs.SyntaxError
	var expression *filter.Error
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
	case errors.As(err, &expression):
		detail := expression.Message
		if expression.Suggestion != "" {
			detail += " (" + expression.Suggestion + "?)"
		}
		p := problem(string(session.CodeBadFilter), detail)
		p.Column = expression.Position + 1
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
func humaProblem(ctx huma.Context, _ string, v any) (any, error) {
	accept := ctx.Header("Accept-Language")
	if p, ok := v.(*Problem); ok {
		return p.in(accept), nil
	}
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
	return p.in(accept), nil
}

package httpapi

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"kabel/server/capture"
)

// describe completes what huma has read from the handlers' types: the page's own
// types are checked against the description, so that it must be exact.
func describe(api *huma.OpenAPI) {
	r := api.Components.Schemas
	of := r.Map()
	of["ErrorModel"] = huma.SchemaFromType(r, reflect.TypeFor[Problem]())
	of["StreamMessage"] = messages(r, reflect.TypeFor[Message](),
		"session session", "snapshot snapshot", "diff diff", "probe result", "lab mistakes?", "ended reason?")
	of["StreamRequest"] = huma.SchemaFromType(r, reflect.TypeFor[presence]())
	of["TerminalMessage"] = messages(r, reflect.TypeFor[TerminalMessage](), "terminal id node rows cols replay?", "size rows cols", "exit code", "ended reason?")
	of["TerminalRequest"] = messages(r, reflect.TypeFor[TerminalMessage](), "size rows cols", "ack bytes")
	of["PacketsMessage"] = &huma.Schema{}
	for _, t := range []reflect.Type{reflect.TypeFor[capture.Started](), reflect.TypeFor[capture.Batch](), reflect.TypeFor[capture.FilterError](),
		reflect.TypeFor[capture.Paused](), reflect.TypeFor[capture.Ended]()} {
		of["PacketsMessage"].OneOf = append(of["PacketsMessage"].OneOf, r.Schema(t, true, ""))
	}
	of["PacketsRequest"] = messages(r, reflect.TypeFor[packetRequest](), "filter filter", "pause", "resume")
	for _, s := range of {
		leaveOut(s)
	}
	for _, p := range api.Paths {
		if p.Get != nil && p.Get.Responses["200"] != nil {
			for _, c := range p.Get.Responses["200"].Content {
				c.Schema.Nullable = false // no list that is a whole answer is nil
			}
		}
	}
}

// messages describes what a websocket carries where one Go type is for all
// messages: each line is a message's type and its fields, with a ? those that may be
// left out.
func messages(r huma.Registry, t reflect.Type, lines ...string) *huma.Schema {
	fields := huma.SchemaFromType(r, t).Properties
	var all huma.Schema
	for _, line := range lines {
		words := strings.Fields(line)
		m := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"type"},
			Properties: map[string]*huma.Schema{"type": {Type: huma.TypeString, Enum: []any{words[0]}}}}
		for _, name := range words[1:] {
			name, optional := strings.CutSuffix(name, "?")
			m.Properties[name] = fields[name]
			if !optional {
				m.Required = append(m.Required, name)
			}
		}
		leaveOut(m)
		all.OneOf = append(all.OneOf, m)
	}
	return &all
}

// leaveOut has no list null that omitempty leaves out. Other lists are written as
// null when they are nil, unless their field's tag says that they never are.
func leaveOut(s *huma.Schema) {
	required := map[string]bool{}
	for _, name := range s.Required {
		required[name] = true
	}
	for name, p := range s.Properties {
		if p.Type == huma.TypeArray && !required[name] {
			p.Nullable = false
		}
	}
}

// TransformSchema implements huma.SchemaTransformer: huma has no object that may be null.
func (*Changed) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Properties["changes"] = &huma.Schema{AnyOf: []*huma.Schema{s.Properties["changes"], {Type: "null"}}}
	return s
}

package httpapi

import (
	"context"
	"strings"
)

// Catalogue tells of the labs what their list does not.
type Catalogue struct {
	Edition string    `json:"edition" doc:"changes when labs were edited, which happens while an author previews them only"`
	Draft   bool      `json:"draft,omitempty" doc:"an author previews labs: ask again"`
	LeftOut []LeftOut `json:"left_out" nullable:"false" doc:"labs of the server's directory that can't be begun, because of mistakes in them"`
}

// LeftOut is a lab that can't be begun. A mistake may quote what a check asks for, so
// that learners are told of none; whoever runs the server has them in its log.
type LeftOut struct {
	ID       string   `json:"id"`
	Mistakes []string `json:"mistakes,omitempty" doc:"while an author previews labs: file:line:column and what is wrong"`
}

func (s *Server) catalogue(context.Context, *struct{}) (*body[Catalogue], error) {
	labs, edition := s.sessions.Edition()
	out := Catalogue{Edition: edition, Draft: s.draft, LeftOut: []LeftOut{}}
	for _, b := range labs.Broken() {
		left := LeftOut{ID: b.ID}
		if s.draft {
			left.Mistakes = strings.Split(b.Err.Error(), "\n")
		}
		out.LeftOut = append(out.LeftOut, left)
	}
	return &body[Catalogue]{out}, nil
}

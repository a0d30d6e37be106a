package httpapi

import (
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kabel/server/session"
)

// learnerCookie has the key of a learner, who is a browser.
const learnerCookie = "kabel_learner"

func setLearner(key string, lasting time.Duration) http.Cookie {
	age := int(lasting / time.Second)
	if age <= 0 {
		age = -1
	}
	// Not Secure: as a session's cookie.
	return http.Cookie{Name: learnerCookie, Value: key, Path: "/api/v1", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: age}
}

// enroll has a new session counted for the learner who asks for it, and makes one
// of a browser that is here for the first time: browsers name the page's origin in
// every POST. Programs have no progress.
func (s *Server) enroll(ctx context.Context, of *session.Session, key, origin string) ([]http.Cookie, error) {
	if !s.sessions.Learner(key) {
		if origin == "" {
			return nil, nil
		}
		key = session.NewLearner()
	}
	// Set each time: who comes back is remembered for another year.
	return []http.Cookie{setLearner(key, session.LearnerLifetime)}, s.sessions.Enroll(ctx, of, key)
}

type progressInput struct {
	Key string `cookie:"kabel_learner" maxLength:"100"`
}

func (s *Server) progress(_ context.Context, in *progressInput) (*body[session.Progress], error) {
	return &body[session.Progress]{s.sessions.Progress(in.Key)}, nil
}

type forgetOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

func (s *Server) forget(ctx context.Context, in *progressInput) (*forgetOutput, error) {
	if err := s.sessions.Forget(ctx, in.Key); err != nil {
		return nil, s.problemOf(ctx, err)
	}
	return &forgetOutput{setLearner("", 0)}, nil
}

func (s *Server) progressCSV(_ context.Context, in *progressInput) (*huma.StreamResponse, error) {
	p := s.sessions.Progress(in.Key)
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "text/csv; charset=utf-8")
		ctx.SetHeader("Content-Disposition", `attachment; filename="kabel-progress.csv"`)
		_, to := humachi.Unwrap(ctx)
		w := csv.NewWriter(to)
		moment := func(t *time.Time) string {
			if t == nil {
				return ""
			}
			return t.Format(time.RFC3339)
		}
		w.Write([]string{"lab", "variant", "session", "lab_started", "lab_done_at", "step", "done_at", "seconds", "attempts", "hints", "predicted"})
		for _, l := range p.Labs {
			for _, st := range l.Steps {
				w.Write([]string{l.Lab, l.Variant, l.Session, moment(&l.Started), moment(l.DoneAt), st.ID, moment(st.DoneAt),
					strconv.FormatFloat(st.Seconds, 'f', 1, 64), strconv.Itoa(st.Attempts), strconv.Itoa(st.Hints), st.Predicted})
			}
		}
		w.Flush() // the client may be gone: nothing to do about it
	}}, nil
}

func (s *Server) hinted(ctx context.Context, in *stepInput) (*struct{}, error) {
	if err := current(ctx).Hinted(in.Step); err != nil {
		return nil, s.problemOf(ctx, err)
	}
	return nil, nil
}

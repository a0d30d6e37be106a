// Package httpapi is the server's face: chi routes, the OpenAPI description,
// the websocket stream, metrics and the page. It turns requests into calls of a
// session.Registry and errors into problems; it must not decide anything about a
// lab or a world. It is the only importer of chi, huma and the websocket library.
package httpapi

import (
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kabel/sandbox/host"
	"kabel/server/session"
)

// MaxBody is the largest request body that is read, in bytes.
const MaxBody = 1 << 20

// Options of a Server.
type Options struct {
	Sessions *session.Registry
	// Page is the built web page; nil serves a note in its place.
	Page fs.FS
	Log  *slog.Logger
	// Version is told in the OpenAPI document.
	Version string
	// Draft: who looks edits the labs, and may see what is wrong with them.
	Draft bool
}

// Server is the HTTP face. It is an http.Handler.
type Server struct {
	http.Handler
	api      huma.API
	sessions *session.Registry
	log      *slog.Logger
	draft    bool
	requests *prometheus.HistogramVec
	viewers  prometheus.Gauge
}

// New builds the routes.
func New(o Options) *Server {
	s := &Server{sessions: o.Sessions, log: o.Log, draft: o.Draft}
	reg := s.metrics()
	r := chi.NewRouter()
	r.Use(middleware.RequestSize(MaxBody), s.measure, s.recoverPanic, secure)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { writeProblem(w, r, problem(codeNoRoute, "")) })
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) { writeProblem(w, r, problem(codeNoMethod, "")) })

	config := huma.DefaultConfig("Kabel", o.Version)
	config.Info.Description = apiDescription
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "/api/v1/openapi", "", ""
	config.CreateHooks = nil // no $schema links in bodies
	config.Transformers = append(config.Transformers, humaProblem)
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "The token that POST /api/v1/sessions returned; a browser sends it as a cookie instead."},
	}
	s.api = humachi.New(r, config)
	s.routes()
	describe(s.api.OpenAPI())

	r.Get("/api/v1/sessions/{id}/stream", s.stream)
	r.Get("/api/v1/sessions/{id}/terminals/{node}", s.terminal)
	r.Get("/api/v1/sessions/{id}/packets", s.packets)
	r.Get("/api/v1/sessions/{id}/capture.pcapng", s.recording)
	r.Get("/api/v1/demo/stream", s.demoStream)
	r.Get("/api/v1/demo/packets", s.demoPackets)
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	r.Get("/readyz", s.ready)
	r.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	// A catch-all by Get, so that a wrong method on a route stays a 405.
	r.Get("/*", page(o.Page))
	r.Head("/*", page(o.Page))

	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { writeProblem(w, r, problem(codeCrossOrigin, "")) }))
	s.Handler = guard.Handler(r)
	return s
}

// secure sets the headers that every answer has. The page has no inline script
// and no style but its own; Trusted Types keep strings out of the DOM's sinks.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types kabel")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if trustworthy(r) { // elsewhere browsers leave it unheeded, and complain
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// trustworthy tells whether browsers take the page's origin for a safe one: what
// they read came encrypted, as a proxy before us may say, or from their own machine.
func trustworthy(r *http.Request) bool {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

// recoverPanic answers a fault of ours as a problem and logs it.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				s.log.Error("panic", "path", r.URL.Path, "panic", v)
				writeProblem(w, r, problem("internal", ""))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p.in(r.Header.Get("Accept-Language"))) // the client may be gone: nothing to do about it
}

// readiness is what /readyz tells.
type readiness struct {
	host.Status
	// LabsLeftOut has the labs of KABEL_LABS that have mistakes, and which.
	LabsLeftOut map[string][]string `json:"labs_left_out"`
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	status, err := s.sessions.Host().Status(r.Context())
	if err != nil {
		writeProblem(w, r, s.problemOf(r.Context(), err))
		return
	}
	ready := readiness{Status: status, LabsLeftOut: map[string][]string{}}
	for _, b := range s.sessions.Labs().Broken() {
		ready.LabsLeftOut[b.ID] = strings.Split(b.Err.Error(), "\n")
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(ready)
}

func (s *Server) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	s.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kabel_http_request_seconds", Help: "Time to answer, by route and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"method", "route", "status"})
	s.viewers = prometheus.NewGauge(prometheus.GaugeOpts{Name: "kabel_viewers", Help: "Open streams."})
	reg.MustRegister(s.requests, s.viewers,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kabel_sessions", Help: "Sessions known."}, func() float64 { n, _, _ := s.sessions.Counts(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kabel_worlds", Help: "Sessions with a living world."}, func() float64 { _, n, _ := s.sessions.Counts(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kabel_terminals", Help: "Open terminals: shells that run, whoever looks."}, func() float64 { _, _, n := s.sessions.Counts(); return float64(n) }))
	return reg
}

func (s *Server) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		route := chi.RouteContext(r.Context()).RoutePattern()
		if r.Header.Get("Upgrade") != "" || route == "" {
			return // a websocket lasts as long as its viewer likes; an unknown path is no label
		}
		status := "2xx"
		if c := ww.Status(); c >= 300 {
			status = string(rune('0'+c/100)) + "xx"
		}
		s.requests.WithLabelValues(r.Method, route, status).Observe(time.Since(start).Seconds())
	})
}

// token is the key that a request brings: the Authorization header, or the
// cookie of that session.
func token(r *http.Request, id string) string {
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return strings.TrimSpace(t)
	}
	if c, err := r.Cookie(cookieName(id)); err == nil {
		return c.Value
	}
	return ""
}

func cookieName(id string) string { return "kabel_" + url.PathEscape(id) }

// Package api is the service's HTTP surface: it decodes requests strictly, has a pipeline of package inference serve
// them, and encodes what comes back. The contract is openapi.yaml at the top of the repository; a test keeps the routes
// here and the paths there the same.
package api

import (
	"net/http"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"denoised/inference"
)

// Server answers HTTP requests with a pipeline. Make one with [New].
type Server struct {
	pipeline *inference.Pipeline
	metrics  *Metrics
	log      zerolog.Logger
	maxBody  int64
	handler  http.Handler
	draining atomic.Bool
}

// New makes a server over a pipeline. maxBody bounds a request's body in bytes.
func New(pipeline *inference.Pipeline, metrics *Metrics, log zerolog.Logger, maxBody int64) *Server {
	s := &Server{pipeline: pipeline, metrics: metrics, log: log, maxBody: maxBody}
	metrics.setModels(pipeline)
	s.handler = s.routes()
	return s
}

// routes is every route of the service.
func (s *Server) routes() chi.Router {
	r := chi.NewRouter()
	r.Use(s.identify, s.observe, s.recover)
	r.NotFound(s.notFound)
	r.MethodNotAllowed(s.methodNotAllowed(r))
	r.Get("/livez", s.livez)
	r.Get("/readyz", s.readyz)
	r.Method(http.MethodGet, "/metrics", s.metrics.handler())
	r.Get("/openapi.yaml", s.openapi)
	r.Route("/v1", func(r chi.Router) {
		r.Use(s.sameSite, s.open, s.limitBody)
		r.Post("/generate", s.handle(s.postGenerate))
		r.Get("/generate", s.handle(s.getGenerate))
		r.Post("/denoise", s.handle(s.denoise))
		r.Post("/noise", s.handle(s.noise))
		r.Get("/models", s.handle(s.listModels))
		r.Get("/models/{model}", s.handle(s.getModel))
		r.Get("/samplers", s.handle(s.listSamplers))
	})
	return r
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Drain makes the server refuse new work, with 503, while what it has accepted goes on.
func (s *Server) Drain() { s.draining.Store(true) }

// handle adapts a handler that returns its error: the error is written here and nowhere else.
func (s *Server) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

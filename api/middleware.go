package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"
)

type requestIDKey struct{}

// echoable is what a client's own request id may look like, so that it can go into a log line and a header as it is.
var echoable = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify gives every request an id, its client's own if there is a sound one, and a logger that carries it.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !echoable.MatchString(id) {
			id = strings.ToLower(rand.Text()[:16])
		}
		w.Header().Set("X-Request-Id", id)
		log := s.log.With().Str("request_id", id).Logger()
		ctx := context.WithValue(log.WithContext(r.Context()), requestIDKey{}, id)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// observe counts and times the request and writes its line to the log, by the route's pattern and never by the raw path.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		wrapped := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(wrapped, r)
		took := time.Since(started)
		route := chi.RouteContext(r.Context()).RoutePattern()
		if route == "" || strings.HasSuffix(route, "*") {
			route = "unmatched"
		}
		status := wrapped.Status()
		if status == 0 {
			status = http.StatusOK
		}
		s.metrics.served(route, r.Method, status, took)
		event := zerolog.Ctx(r.Context()).Info()
		switch route {
		case "/livez", "/readyz", "/metrics":
			event = zerolog.Ctx(r.Context()).Debug()
		}
		event.Str("method", r.Method).Str("route", route).Int("status", status).Int("bytes", wrapped.BytesWritten()).
			Dur("ms", took).Msg("request")
	})
}

// recover turns a panic into a 500 and a log line.
func (s *Server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				zerolog.Ctx(r.Context()).Error().Bytes("stack", debug.Stack()).Msg("panic")
				s.fail(w, r, fmt.Errorf("panic: %v", cause))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// sameSite refuses what a browser sends on another site's behalf: CrossOriginProtection covers the unsafe methods, and
// drawing is work even when it is asked for by GET.
func (s *Server) sameSite(next http.Handler) http.Handler {
	denied := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, refuse(http.StatusForbidden, "browsers may not send requests from other sites"))
	})
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(denied)
	protected := protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			denied(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	})
}

// open refuses new work while the service drains.
func (s *Server) open(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
			s.fail(w, r, refuse(http.StatusServiceUnavailable, "the service is shutting down"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitBody refuses a body that is announced as too large at once, and any other where it becomes so.
func (s *Server) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > s.maxBody {
			s.fail(w, r, &http.MaxBytesError{Limit: s.maxBody})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.maxBody)
		next.ServeHTTP(w, r)
	})
}

// methodNotAllowed answers 405 and lists the methods that the path has.
func (s *Server) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
				allowed = append(allowed, method)
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, r, refuse(http.StatusMethodNotAllowed, "allowed here: %s", strings.Join(allowed, ", ")))
	}
}

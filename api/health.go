package api

import (
	_ "embed" // for the contract
	"net/http"
)

//go:generate cp ../openapi.yaml openapi.gen.yaml
//go:embed openapi.gen.yaml
var contract []byte

// livez says that the process answers.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) { plain(w, "ok\n") }

// readyz says whether the service takes work: its models are loaded before it listens, so only draining stands against
// it.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		s.fail(w, r, refuse(http.StatusServiceUnavailable, "the service is shutting down"))
		return
	}
	plain(w, "ready\n")
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_ = write(w, contract)
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = write(w, []byte(text))
}

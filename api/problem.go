package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/rs/zerolog"

	"denoised/inference"
)

// problem is the body of every error (RFC 9457). Its type is about:blank, so its title is the status's own phrase.
type problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"request_id"`
	Errors    []fault `json:"errors,omitempty"`
}

// fault is one thing wrong with a request, found at a JSON pointer into its body or at a query parameter.
type fault struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// refusal is an error that says by itself which status it has.
type refusal struct {
	status int
	detail string
	faults []fault
}

func (e *refusal) Error() string { return e.detail }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, detail: fmt.Sprintf(format, args...)}
}

// statusOf maps the kinds of error that inference knows to HTTP.
var statusOf = map[inference.Kind]int{
	inference.Internal:    http.StatusInternalServerError,
	inference.Invalid:     http.StatusUnprocessableEntity,
	inference.NotFound:    http.StatusNotFound,
	inference.Malformed:   http.StatusBadRequest,
	inference.TooLarge:    http.StatusRequestEntityTooLarge,
	inference.Unsupported: http.StatusUnsupportedMediaType,
}

// statusClientGone is logged for a client that left before its answer; nobody receives it.
const statusClientGone = 499

// fail is the one place where an error reaches a client. The cause goes to the log, the message to the client, and both
// carry the request's id.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		w.WriteHeader(statusClientGone)
		return
	}
	status, detail, faults := s.explain(r, err)
	s.metrics.rejected(status)
	if status == http.StatusInternalServerError {
		zerolog.Ctx(r.Context()).Error().Err(err).Msg("request failed")
	}
	s.writeProblem(w, r, status, detail, faults)
}

func (s *Server) explain(r *http.Request, err error) (status int, detail string, faults []fault) {
	if e, ok := errors.AsType[*refusal](err); ok {
		return e.status, e.detail, e.faults
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", e.Limit), nil
	}
	if e, ok := errors.AsType[*inference.Error](err); ok && e.Kind != inference.Internal {
		return statusOf[e.Kind], e.Detail, faultsOf(r, e.Fields)
	}
	return http.StatusInternalServerError, "the service failed; its log has the cause under this request's id", nil
}

// faultsOf says where in the request the fields are: in its JSON body, in its query, or the body itself.
func faultsOf(r *http.Request, fields []inference.FieldError) []fault {
	inBody := r.URL.Path == "/v1/generate" && r.Method == http.MethodPost
	var faults []fault
	for _, f := range fields {
		switch {
		case f.Field == "image":
			faults = append(faults, fault{Pointer: "#", Detail: "the image " + f.Detail})
		case inBody:
			faults = append(faults, fault{Pointer: "#/" + f.Field, Detail: f.Detail})
		default:
			faults = append(faults, fault{Parameter: f.Field, Detail: f.Detail})
		}
	}
	return faults
}

// withFaults joins what was wrong with the encoding of a request to what the pipeline found wrong with its values.
func withFaults(r *http.Request, faults []fault, err error) error {
	if len(faults) == 0 {
		return err
	}
	if e, ok := errors.AsType[*inference.Error](err); ok && e.Kind == inference.Invalid {
		faults = append(faults, faultsOf(r, e.Fields)...)
	}
	return &refusal{status: http.StatusUnprocessableEntity, detail: "the request cannot be served as it stands", faults: faults}
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, status int, detail string, faults []fault) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Del("ETag")
	w.WriteHeader(status)
	body := problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail,
		RequestID: requestID(r.Context()), Errors: faults,
	}
	// A client that has gone cannot be told that it has.
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, refuse(http.StatusNotFound, "no such route; /openapi.yaml lists those there are"))
}

package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"denoised/inference"
	"denoised/inference/inferencetest"
)

// service is a server over the network whose answers are known, called digits.
type service struct {
	*Server
	t       *testing.T
	network *inferencetest.Gaussian
	log     *bytes.Buffer
}

func newService(t *testing.T) *service {
	t.Helper()
	network, metrics, log := inferencetest.NewGaussian(t), NewMetrics("test"), &bytes.Buffer{}
	model, err := inference.NewModel(inferencetest.Bundle("digits", 28), network, 8, metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	limits := inference.Limits{Steps: 1000, Count: 64, Pixels: 1 << 22}
	pipeline := inference.NewPipeline("test", limits, model)
	return &service{New(pipeline, metrics, zerolog.New(log), 1<<20), t, network, log}
}

// send makes a request; headers are pairs of a name and a value.
func (s *service) send(method, target, body string, headers ...string) *http.Response {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func (s *service) get(target string, headers ...string) *http.Response {
	s.t.Helper()
	return s.send(http.MethodGet, target, "", headers...)
}

// read is the body of an answer that must have the given status.
func (s *service) read(response *http.Response, status int) string {
	s.t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if response.StatusCode != status {
		s.t.Fatalf("status %d, want %d: %s", response.StatusCode, status, body)
	}
	return string(body)
}

package api

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"denoised/inference/inferencetest"
)

// metric is the value of one series, written as the service shows it.
func (s *service) metric(series string) string {
	s.t.Helper()
	for line := range strings.Lines(s.read(s.get("/metrics"), 200)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

func TestMetricsCount(t *testing.T) {
	s := newService(t)
	rows := s.metric(`denoised_network_rows_total{model="digits"}`)
	if rows != "0" {
		t.Fatalf("%s rows before the first request", rows)
	}
	s.read(s.send("POST", "/v1/generate", `{"label":"7","count":3,"steps":5}`), 200)
	s.read(s.get("/v1/generate?steps=5"), 200)
	s.read(s.send("POST", "/v1/denoise?sigma=20", inferencetest.GreyPNG(t, 28, 28, 9)), 200)
	s.read(s.send("POST", "/v1/noise?timestep=20", inferencetest.GreyPNG(t, 28, 28, 9)), 200)
	s.read(s.send("POST", "/v1/generate", `{"steps":0}`), 422)
	s.read(s.send("POST", "/v1/generate", `{`), 400)
	s.read(s.get("/v1/no/such/route"), 404)
	s.read(s.send("BREW", "/v1/generate", ""), 405)
	for series, want := range map[string]string{
		`denoised_http_requests_total{code="200",method="POST",route="/v1/generate"}`:                "1",
		`denoised_http_requests_total{code="200",method="GET",route="/v1/generate"}`:                 "1",
		`denoised_http_requests_total{code="422",method="POST",route="/v1/generate"}`:                "1",
		`denoised_http_requests_total{code="404",method="GET",route="unmatched"}`:                    "1",
		`denoised_http_requests_total{code="405",method="other",route="unmatched"}`:                  "1",
		`denoised_http_request_duration_seconds_count{method="POST",route="/v1/denoise"}`:            "1",
		`denoised_images_total{model="digits",task="generate"}`:                                      "4",
		`denoised_images_total{model="digits",task="denoise"}`:                                       "1",
		`denoised_images_total{model="digits",task="noise"}`:                                         "1",
		`denoised_network_rows_total{model="digits"}`:                                                "36", // 3·5 guided, 5, 1
		`denoised_batch_rows_sum{model="digits"}`:                                                    "36",
		`denoised_queue_rows{model="digits"}`:                                                        "0",
		`denoised_trajectories{model="digits"}`:                                                      "0",
		`denoised_wasted_rows_total{model="digits"}`:                                                 "0",
		`denoised_rejected_total{reason="invalid"}`:                                                  "1",
		`denoised_rejected_total{reason="malformed"}`:                                                "1",
		`denoised_rejected_total{reason="not_found"}`:                                                "1",
		`denoised_rejected_total{reason="method"}`:                                                   "1",
		`denoised_rejected_total{reason="too_large"}`:                                                "0",
		`denoised_model_info{checksum="` + inferencetest.Checksum + `",device="cpu",model="digits"}`: "1",
		`denoised_build_info{version="test"}`:                                                        "1",
	} {
		if got := s.metric(series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	if got := s.metric(`denoised_network_run_seconds_count{model="digits"}`); got == "0" || got == "absent" {
		t.Errorf("%s runs were timed", got)
	}
}

// TestClientThatLeaves hangs up in the middle of a run: its trajectory ends, and what was computed for it is counted.
func TestClientThatLeaves(t *testing.T) {
	s := newService(t)
	ctx, hangUp := context.WithCancel(t.Context())
	s.network.Before = func(int) error {
		hangUp()
		time.Sleep(time.Millisecond)
		return nil
	}
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/generate", strings.NewReader(`{"label":"7","steps":1000}`))
	s.ServeHTTP(httptest.NewRecorder(), r)
	s.network.Before = nil
	for series, want := range map[string]string{
		`denoised_network_rows_total{model="digits"}`:                                 "2",
		`denoised_wasted_rows_total{model="digits"}`:                                  "2",
		`denoised_trajectories{model="digits"}`:                                       "0",
		`denoised_http_requests_total{code="499",method="POST",route="/v1/generate"}`: "1",
	} {
		if got := s.metric(series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
}

func TestDraining(t *testing.T) {
	s := newService(t)
	s.read(s.get("/readyz"), 200)
	s.Drain()
	s.read(s.get("/readyz"), 503)
	s.read(s.send("POST", "/v1/generate", ""), 503)
	s.read(s.get("/livez"), 200)
}

func TestPanicIsAnswered(t *testing.T) {
	s := newService(t)
	s.pipeline = nil
	s.read(s.get("/v1/models"), 500)
	if log := s.log.String(); !strings.Contains(log, `"message":"panic"`) || !strings.Contains(log, "models.go") {
		t.Errorf("log %s", log)
	}
}

// TestLogHasALineARequest checks the line, and that nothing a client sends reaches it raw.
func TestLogHasALineARequest(t *testing.T) {
	s := newService(t)
	s.read(s.get("/v1/models/evil%0Aline"), 404)
	s.read(s.get("/livez"), 200)
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	if len(lines) != 2 || strings.Contains(lines[0], "evil") || !strings.Contains(lines[0], `"route":"/v1/models/{model}","status":404`) {
		t.Errorf("log %q", lines)
	}
}

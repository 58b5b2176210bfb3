package api

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"denoised/inference"
)

// Metrics is every metric of the service. Their names are part of the contract. It is the [inference.Observer] of the
// engines.
type Metrics struct {
	registry     *prometheus.Registry
	requests     *prometheus.CounterVec
	durations    *prometheus.HistogramVec
	images       *prometheus.CounterVec
	rows         *prometheus.CounterVec
	runs         *prometheus.HistogramVec
	batches      *prometheus.HistogramVec
	queue        *prometheus.GaugeVec
	trajectories *prometheus.GaugeVec
	rejections   *prometheus.CounterVec
	wasted       *prometheus.CounterVec
	models       *prometheus.GaugeVec
}

var _ inference.Observer = (*Metrics)(nil)

// NewMetrics makes the metrics of one process. version is the build's.
func NewMetrics(version string) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	make := promauto.With(registry)
	model := []string{"model"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return make.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return make.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return make.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry: registry,
		requests: counter("denoised_http_requests_total", "HTTP requests answered.", "route", "method", "code"),
		durations: histogram("denoised_http_request_duration_seconds", "Time from a request's arrival to its answer's end.",
			prometheus.ExponentialBuckets(0.001, 2.5, 14), "route", "method"),
		images: counter("denoised_images_total", "Images drawn, denoised or noised by a model.", "model", "task"),
		rows:   counter("denoised_network_rows_total", "Rows evaluated by the network.", model...),
		runs: histogram("denoised_network_run_seconds", "Time of one run of the network.",
			prometheus.ExponentialBuckets(0.0005, 2, 16), model...),
		batches: histogram("denoised_batch_rows", "Rows in one run of the network.",
			prometheus.ExponentialBuckets(1, 2, 8), model...),
		queue:        gauge("denoised_queue_rows", "Rows waiting for the network.", model...),
		trajectories: gauge("denoised_trajectories", "Trajectories under way.", model...),
		rejections:   counter("denoised_rejected_total", "Requests that were answered with an error.", "reason"),
		wasted:       counter("denoised_wasted_rows_total", "Rows computed for clients that had gone.", model...),
		models:       gauge("denoised_model_info", "Models served; the value is 1.", "model", "checksum", "device"),
	}
	gauge("denoised_build_info", "The build; the value is 1.", "version").WithLabelValues(version).Set(1)
	return m
}

// setModels announces the models, with every series that they can have, so that a rate over them begins at zero.
func (m *Metrics) setModels(p *inference.Pipeline) {
	for _, model := range p.Models() {
		name := model.Bundle.Name
		m.models.WithLabelValues(name, model.Bundle.Checksum, model.Device).Set(1)
		for _, task := range model.Tasks() {
			m.images.WithLabelValues(name, task)
		}
		m.rows.WithLabelValues(name)
		m.runs.WithLabelValues(name)
		m.batches.WithLabelValues(name)
		m.queue.WithLabelValues(name)
		m.trajectories.WithLabelValues(name)
		m.wasted.WithLabelValues(name)
	}
	for _, reason := range reasons {
		m.rejections.WithLabelValues(reason)
	}
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// served counts an answered request. The label values are bounded: a route's pattern, a method that some route has.
func (m *Metrics) served(route, method string, status int, took time.Duration) {
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions}, method) {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route, method).Observe(took.Seconds())
}

// reasons names, in metrics, the statuses that a request is refused with.
var reasons = map[int]string{
	http.StatusBadRequest:            "malformed",
	http.StatusForbidden:             "cross_site",
	http.StatusNotFound:              "not_found",
	http.StatusMethodNotAllowed:      "method",
	http.StatusNotAcceptable:         "not_acceptable",
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "unsupported",
	http.StatusUnprocessableEntity:   "invalid",
	http.StatusInternalServerError:   "internal",
	http.StatusServiceUnavailable:    "draining",
}

func (m *Metrics) rejected(status int) { m.rejections.WithLabelValues(reasons[status]).Inc() }

func (m *Metrics) made(model, task string, images int) {
	m.images.WithLabelValues(model, task).Add(float64(images))
}

// NetworkRan implements [inference.Observer].
func (m *Metrics) NetworkRan(model string, rows int, took time.Duration) {
	m.rows.WithLabelValues(model).Add(float64(rows))
	m.runs.WithLabelValues(model).Observe(took.Seconds())
	m.batches.WithLabelValues(model).Observe(float64(rows))
}

// RowsWasted implements [inference.Observer].
func (m *Metrics) RowsWasted(model string, rows int) {
	m.wasted.WithLabelValues(model).Add(float64(rows))
}

// RowsQueued implements [inference.Observer].
func (m *Metrics) RowsQueued(model string, rows int) {
	m.queue.WithLabelValues(model).Set(float64(rows))
}

// TrajectoriesLive implements [inference.Observer].
func (m *Metrics) TrajectoriesLive(model string, trajectories int) {
	m.trajectories.WithLabelValues(model).Set(float64(trajectories))
}

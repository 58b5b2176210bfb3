package api

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"denoised/inference"
	"denoised/inference/diffusion"
)

type modelPage struct {
	Name         string        `json:"name"`
	Checksum     string        `json:"checksum"`
	Tasks        []string      `json:"tasks"`
	Labels       []string      `json:"labels,omitempty"`
	Guidance     bool          `json:"guidance"`
	Channels     int           `json:"channels"`
	Size         [2]int        `json:"size"`
	Sizes        string        `json:"sizes"`
	SizeStep     int           `json:"size_step,omitempty"`
	Batch        string        `json:"batch"`
	Timestep     string        `json:"timestep"`
	Reproducible string        `json:"reproducible"`
	Defaults     modelDefaults `json:"defaults"`
	Limits       modelLimits   `json:"limits"`
	Schedule     modelSchedule `json:"schedule"`
	Device       string        `json:"device"`
	Threads      int           `json:"threads"`
	Runtime      string        `json:"runtime"`
}

type modelDefaults struct {
	Sampler         string  `json:"sampler"`
	Steps           int     `json:"steps"`
	GuidanceScale   float64 `json:"guidance_scale"`
	GuidanceRescale float64 `json:"guidance_rescale"`
}

type modelLimits struct {
	Steps     int   `json:"steps"`
	Count     int   `json:"count"`
	Pixels    int   `json:"pixels"`
	BodyBytes int64 `json:"body_bytes"`
}

type modelSchedule struct {
	TrainTimesteps  int    `json:"train_timesteps"`
	BetaSchedule    string `json:"beta_schedule"`
	PredictionType  string `json:"prediction_type"`
	TimestepSpacing string `json:"timestep_spacing"`
	StepsOffset     int    `json:"steps_offset"`
	SigmaSchedule   string `json:"sigma_schedule"`
	VarianceType    string `json:"variance_type"`
}

func (s *Server) pageOf(m *inference.Model) modelPage {
	b, limits := m.Bundle, s.pipeline.Limits
	return modelPage{
		Name: b.Name, Checksum: b.Checksum, Tasks: m.Tasks(), Labels: b.Labels, Guidance: m.Guides(),
		Channels: b.Channels, Size: [2]int{b.Height, b.Width},
		Sizes: either(m.SizeStep > 0, "free", "fixed"), SizeStep: m.SizeStep,
		Batch:        either(m.MaxRows > 1, "free", "fixed"),
		Timestep:     either(b.Graph.Timestep.Type == "float32", "float", "integer"),
		Reproducible: either(m.Bitwise, "bitwise", "tolerance"),
		Defaults:     modelDefaults{b.Defaults.Sampler, b.Defaults.Steps, b.Defaults.GuidanceScale, b.Defaults.GuidanceRescale},
		Limits:       modelLimits{limits.Steps, limits.Count, limits.Pixels, s.maxBody},
		Schedule: modelSchedule{b.Scheduler.TrainTimesteps, b.Scheduler.Betas(), b.Scheduler.PredictionType,
			b.Scheduler.TimestepSpacing, b.Scheduler.StepsOffset, b.Scheduler.SigmaSchedule, b.Scheduler.VarianceType},
		Device: m.Device, Threads: m.Threads, Runtime: m.Runtime,
	}
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) error {
	pages := []modelPage{}
	for _, m := range s.pipeline.Models() {
		pages = append(pages, s.pageOf(m))
	}
	return writeJSON(w, map[string]any{"models": pages})
}

func (s *Server) getModel(w http.ResponseWriter, r *http.Request) error {
	m, err := s.pipeline.Model(chi.URLParam(r, "model"))
	if err != nil {
		return err
	}
	return writeJSON(w, s.pageOf(m))
}

type samplerPage struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Paper       string   `json:"paper"`
	Diffusers   string   `json:"diffusers,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
	Order       int      `json:"order"`
	Stochastic  bool     `json:"stochastic"`
	Eta         bool     `json:"eta"`
	DefaultEta  *float64 `json:"default_eta,omitempty"`
	Evaluations int      `json:"evaluations_per_step"`
	Schedules   []string `json:"schedules"`
	Distilled   bool     `json:"distilled"`
}

func (s *Server) listSamplers(w http.ResponseWriter, _ *http.Request) error {
	var pages []samplerPage
	for _, name := range diffusion.Methods() {
		_, m, _ := diffusion.MethodOf(name)
		page := samplerPage{
			Name: name, Title: m.Title, Paper: m.Paper, Diffusers: m.Diffusers, Aliases: m.Aliases, Order: m.Order,
			Stochastic: m.Stochastic, Eta: m.Eta, Evaluations: m.Evaluations,
			Schedules: inference.SchedulesOf(m), Distilled: m.Distilled(),
		}
		if m.Eta {
			page.DefaultEta = &m.DefaultEta
		}
		pages = append(pages, page)
	}
	return writeJSON(w, map[string]any{"samplers": pages})
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", typeJSON)
	return write(w, body)
}

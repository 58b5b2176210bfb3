package diffusion

import (
	"context"
	"maps"
	"slices"
)

// Run is what a sampler is given beside the denoiser and the state.
type Run struct {
	Levels []Level                     // decreasing in σ; the state begins at the first and ends at the last
	Eta    float64                     // share of fresh noise, for the methods that take one
	Noise  func(dst []float32)         // fills dst with independent standard normal values
	Seen   func(step int, x []float32) // nil, or told the state after each step; x is only lent
}

// see reports the state after a step, counted from 0.
func (r Run) see(step int, x []float32) {
	if r.Seen != nil {
		r.Seen(step, x)
	}
}

// A Sampler moves the state x in place from the first of the run's levels to the last. It returns the denoiser's
// error, and x is then of no use.
type Sampler func(ctx context.Context, d Denoiser, x []float32, run Run) error

// Method is a sampler with what a caller needs to know of it.
type Method struct {
	Title       string // the name that papers use
	Paper       string // where it is published
	Order       int    // of accuracy as a solver of the probability-flow ODE; 0 where it solves another equation
	Stochastic  bool   // draws fresh noise on the way
	Eta         bool   // has the parameter η
	Evaluations int    // of the network a step
	Fractional  bool   // visits timesteps between trained ones
	MayEndNoisy bool   // ends at the first trained level where the scheduler's set_alpha_to_one is false
	Unclipped   bool   // never clips x̂₀, whatever the model's scheduler says
	// Start scales the standard normal noise that the state begins with, given the spacing's name and first level.
	Start  func(spacing string, first Level) float64
	Sample Sampler
}

var methods = map[string]Method{
	"ddpm": {
		Title: "DDPM ancestral sampling", Paper: "https://arxiv.org/abs/2006.11239",
		Stochastic: true, Evaluations: 1, Start: unscaled, Sample: DDPM,
	},
	"ddim": {
		Title: "DDIM", Paper: "https://arxiv.org/abs/2010.02502",
		Order: 1, Eta: true, Evaluations: 1, MayEndNoisy: true, Start: unscaled, Sample: DDIM,
	},
	"euler": {
		Title: "Euler", Paper: "https://arxiv.org/abs/2206.00364",
		Order: 1, Evaluations: 1, Fractional: true, Unclipped: true, Start: toFirstLevel, Sample: Euler,
	},
}

// Methods is the names of all methods in alphabetical order.
func Methods() []string { return slices.Sorted(maps.Keys(methods)) }

// MethodOf finds a method by its name.
func MethodOf(name string) (Method, bool) {
	m, ok := methods[name]
	return m, ok
}

func unscaled(string, Level) float64 { return 1 }

// toFirstLevel gives the noise the first level's own σ, where data is forgotten rather than assumed to be there; with
// leading spacing diffusers adds the data's unit variance, which makes σ² + α² = 1 of it.
func toFirstLevel(spacing string, first Level) float64 {
	if spacing == "leading" {
		return 1
	}
	return first.Sigma
}

package weights

import (
	"maps"
	"slices"
)

// A Scheduler is what scheduler/scheduler_config.json says, with the defaults of the diffusers class that it names.
type Scheduler struct {
	Class                 string  // DDPMScheduler, DDIMScheduler or EulerDiscreteScheduler
	TrainTimesteps        int     // 2 to 100,000
	BetaSchedule          string  // linear, scaled_linear or squaredcos_cap_v2
	BetaStart, BetaEnd    float64 // 0 < start ≤ end < 1; squaredcos_cap_v2 has no use for them
	PredictionType        string  // epsilon
	ClipSample            bool    // x̂₀ is limited to ±ClipSampleRange; never with EulerDiscreteScheduler, which cannot
	ClipSampleRange       float64 // > 0
	UseClippedModelOutput bool    // DDIM makes ε̂ from the clipped x̂₀; from the key denoised of model_index.json
	TimestepSpacing       string  // leading, trailing or linspace
	StepsOffset           int     // 0 to TrainTimesteps − 1
	SetAlphaToOne         bool    // ᾱ after the last step is 1, else ᾱ₀; only DDIMScheduler has the choice
}

// samplerOf names the sampler that each served scheduler class is.
var samplerOf = map[string]string{
	"DDPMScheduler":          "ddpm",
	"DDIMScheduler":          "ddim",
	"EulerDiscreteScheduler": "euler",
}

// readScheduler asks for the keys that the class named has and ignores others, as diffusers does: its configs carry keys
// of every class that they passed through.
func (f *folder) readScheduler() (Scheduler, error) {
	var s Scheduler
	err := f.readJSON(schedulerFile, func(o *object) {
		s.Class = oneOf(o, "_class_name", need[string](o, "_class_name"), slices.Sorted(maps.Keys(samplerOf))...)
		switch s.Class {
		case "DDPMScheduler":
			s.common(o, "leading")
			s.clipping(o)
			s.SetAlphaToOne = true
			oneOf(o, "variance_type", get(o, "variance_type", "fixed_small"), "fixed_small")
		case "DDIMScheduler":
			s.common(o, "leading")
			s.clipping(o)
			s.SetAlphaToOne = get(o, "set_alpha_to_one", true)
		case "EulerDiscreteScheduler":
			s.common(o, "linspace")
			s.ClipSampleRange = 1
			s.SetAlphaToOne = true
			plainEuler(o)
		}
	})
	return s, err
}

// common asks for what the classes share; they differ in the spacing that an absent key means.
func (s *Scheduler) common(o *object, spacing string) {
	s.TrainTimesteps = between(o, "num_train_timesteps", get(o, "num_train_timesteps", 1000), 2, 100_000)
	s.BetaStart = get(o, "beta_start", 1e-4)
	s.BetaEnd = get(o, "beta_end", 0.02)
	if s.BetaStart <= 0 || s.BetaStart > s.BetaEnd || s.BetaEnd >= 1 {
		o.fail("beta_start", "%v and beta_end %v must keep 0 < beta_start ≤ beta_end < 1", s.BetaStart, s.BetaEnd)
	}
	s.BetaSchedule = oneOf(o, "beta_schedule", get(o, "beta_schedule", "linear"), "linear", "scaled_linear", "squaredcos_cap_v2")
	s.PredictionType = oneOf(o, "prediction_type", get(o, "prediction_type", "epsilon"), "epsilon")
	s.TimestepSpacing = oneOf(o, "timestep_spacing", get(o, "timestep_spacing", spacing), "leading", "trailing", "linspace")
	s.StepsOffset = between(o, "steps_offset", get(o, "steps_offset", 0), 0, s.TrainTimesteps-1)
	o.only("trained_betas", "null", "[]")
	o.only("rescale_betas_zero_snr", "false")
}

func (s *Scheduler) clipping(o *object) {
	s.ClipSample = get(o, "clip_sample", true)
	s.ClipSampleRange = get(o, "clip_sample_range", 1.0)
	if s.ClipSampleRange <= 0 {
		o.fail("clip_sample_range", "%v is not above 0", s.ClipSampleRange)
	}
	o.only("thresholding", "false")
}

// plainEuler refuses the variations that EulerDiscreteScheduler offers on its σs and timesteps.
func plainEuler(o *object) {
	o.only("use_karras_sigmas", "false", "null")
	o.only("use_exponential_sigmas", "false", "null")
	o.only("use_beta_sigmas", "false", "null")
	oneOf(o, "interpolation_type", get(o, "interpolation_type", "linear"), "linear")
	oneOf(o, "timestep_type", get(o, "timestep_type", "discrete"), "discrete")
	oneOf(o, "final_sigmas_type", get(o, "final_sigmas_type", "zero"), "zero")
}

package weights

import (
	"maps"
	"slices"
)

// A Scheduler is what scheduler/scheduler_config.json says. A key that the file leaves out means what it means to the
// class of diffusers that the file names. The keys behind these fields are heeded with every class, even one that lacks
// them, since a request may ask for the sampler of another. What such a class leaves out means as little as can be, or is
// left to the sampler that is asked for.
type Scheduler struct {
	Class                    string    // in diffusers, such as DDIMScheduler
	Sampler                  string    // that the class is, such as ddim
	TrainTimesteps           int       // 2 to 100,000
	BetaSchedule             string    // linear, scaled_linear, squaredcos_cap_v2 or sigmoid
	BetaStart, BetaEnd       float64   // 0 < start ≤ end < 1; squaredcos_cap_v2 and TrainedBetas have no use for them
	TrainedBetas             []float64 // each β itself, TrainTimesteps of them, 0 < β < 1; nil where BetaSchedule makes them
	RescaleBetasZeroSNR      bool      // the βs are rescaled so that ᾱ ends at 0; never where PredictionType is epsilon
	PredictionType           string    // epsilon, v_prediction or sample
	ClipSample               *bool     // x̂₀ is limited to ±ClipSampleRange; nil where neither file nor class says
	ClipSampleRange          float64   // > 0
	Thresholding             bool      // x̂₀ is limited by its own quantile; goes before ClipSample
	DynamicThresholdingRatio float64   // that quantile, above 0 and at most 1
	SampleMaxValue           float64   // the most that the quantile counts for, ≥ 1
	VarianceType             string    // fixed_small, fixed_large or learned_range
	UseClippedModelOutput    bool      // DDIM makes ε̂ from the clipped x̂₀; from the key denoised of model_index.json
	SigmaSchedule            string    // native, karras, exponential or beta
	TimestepSpacing          string    // leading, trailing or linspace
	StepsOffset              int       // 0 to TrainTimesteps − 1
	SetAlphaToOne            *bool     // ᾱ after the last step of DDIM and PNDM is 1, else ᾱ₀; nil as above
	FinalSigmasType          string    // zero or sigma_min, where the samplers end that have the choice
	OriginalSteps            int       // 1 to TrainTimesteps, of the distillation; LCM and TCD choose among these
}

// Betas names the course of β.
func (s Scheduler) Betas() string {
	if s.TrainedBetas != nil {
		return "trained_betas"
	}
	return s.BetaSchedule
}

// readScheduler ignores keys that it does not know, as diffusers does: published configs carry those of every class that
// they passed through.
func (f *folder) readScheduler(net network) (Scheduler, error) {
	var s Scheduler
	err := f.readJSON(schedulerFile, func(o *object) {
		name := oneOf(o, "_class_name", need[string](o, "_class_name"), slices.Sorted(maps.Keys(classes))...)
		class, served := classes[name]
		if !served {
			return
		}
		s = class.defaults()
		s.Class, s.Sampler = name, class.sampler
		s.readBetas(o)
		s.readPrediction(o, net)
		s.readLimits(o)
		s.readLevels(o)
		if class.own != nil {
			class.own(o, &s)
		}
	})
	return s, err
}

func (s *Scheduler) readBetas(o *object) {
	if !o.null("trained_betas") {
		s.TrainedBetas = get(o, "trained_betas", s.TrainedBetas)
	}
	if len(s.TrainedBetas) > 0 {
		s.TrainTimesteps = len(s.TrainedBetas)
	} else {
		s.TrainedBetas = nil // an empty list is none
	}
	s.TrainTimesteps = between(o, "num_train_timesteps", get(o, "num_train_timesteps", s.TrainTimesteps), 2, 100_000)
	if given := len(s.TrainedBetas); given > 0 && given != s.TrainTimesteps {
		o.fail("trained_betas", "lists %d values, but num_train_timesteps asks for %d", given, s.TrainTimesteps)
	}
	for t, beta := range s.TrainedBetas {
		if beta <= 0 || beta >= 1 {
			o.fail("trained_betas", "has β = %v at timestep %d; each must keep 0 < β < 1", beta, t)
		}
	}
	s.BetaSchedule = oneOf(o, "beta_schedule", get(o, "beta_schedule", s.BetaSchedule),
		"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
	s.BetaStart = get(o, "beta_start", s.BetaStart)
	s.BetaEnd = get(o, "beta_end", s.BetaEnd)
	if !(0 < s.BetaStart && s.BetaStart <= s.BetaEnd && s.BetaEnd < 1) {
		o.fail("beta_start", "%v and beta_end %v must keep 0 < beta_start ≤ beta_end < 1", s.BetaStart, s.BetaEnd)
	}
	s.RescaleBetasZeroSNR = get(o, "rescale_betas_zero_snr", s.RescaleBetasZeroSNR)
}

// readPrediction reads what the network's output is.
func (s *Scheduler) readPrediction(o *object, net network) {
	s.PredictionType = oneOf(o, "prediction_type", get(o, "prediction_type", s.PredictionType),
		"epsilon", "v_prediction", "sample")
	if s.RescaleBetasZeroSNR && s.PredictionType == "epsilon" {
		o.fail("rescale_betas_zero_snr", "true is not served with prediction_type epsilon: where ᾱ is 0, the noise says nothing about the data")
	}
	if !o.null("variance_type") {
		s.VarianceType = oneOf(o, "variance_type", get(o, "variance_type", s.VarianceType),
			"fixed_small", "fixed_small_log", "fixed_large", "learned_range")
	}
	if s.VarianceType == "fixed_small_log" { // diffusers takes the way through the logarithm to the same values
		s.VarianceType = "fixed_small"
	}
	outputs := net.channels
	if s.VarianceType == "learned_range" {
		outputs = 2 * net.channels
	}
	if outputs != net.outputs {
		o.fail("variance_type", "%s asks for out_channels %d with in_channels %d, but %s has %d",
			s.VarianceType, outputs, net.channels, networkFile, net.outputs)
	}
}

func (s *Scheduler) readLimits(o *object) {
	s.ClipSample = choice(o, "clip_sample", s.ClipSample)
	s.ClipSampleRange = get(o, "clip_sample_range", s.ClipSampleRange)
	if !(s.ClipSampleRange > 0) {
		o.fail("clip_sample_range", "%v is not above 0", s.ClipSampleRange)
	}
	s.Thresholding = get(o, "thresholding", s.Thresholding)
	s.DynamicThresholdingRatio = get(o, "dynamic_thresholding_ratio", s.DynamicThresholdingRatio)
	if !(s.DynamicThresholdingRatio > 0 && s.DynamicThresholdingRatio <= 1) {
		o.fail("dynamic_thresholding_ratio", "%v is not above 0 and at most 1", s.DynamicThresholdingRatio)
	}
	s.SampleMaxValue = get(o, "sample_max_value", s.SampleMaxValue)
	if !(s.SampleMaxValue >= 1) {
		o.fail("sample_max_value", "%v is not at least 1", s.SampleMaxValue)
	}
}

// choice is a key that may have been left to the sampler.
func choice(o *object, key string, absent *bool) *bool {
	if _, given := o.raw(key); !given {
		return absent
	}
	return new(get(o, key, false))
}

// readLevels reads which levels of noise a run visits.
func (s *Scheduler) readLevels(o *object) {
	s.TimestepSpacing = oneOf(o, "timestep_spacing", get(o, "timestep_spacing", s.TimestepSpacing), "leading", "trailing", "linspace")
	s.StepsOffset = between(o, "steps_offset", get(o, "steps_offset", s.StepsOffset), 0, s.TrainTimesteps-1)
	s.SetAlphaToOne = choice(o, "set_alpha_to_one", s.SetAlphaToOne)
	s.FinalSigmasType = oneOf(o, "final_sigmas_type", get(o, "final_sigmas_type", s.FinalSigmasType), "zero", "sigma_min")
	s.OriginalSteps = between(o, "original_inference_steps",
		get(o, "original_inference_steps", min(s.OriginalSteps, s.TrainTimesteps)), 1, s.TrainTimesteps)
	for _, schedule := range []string{"karras", "exponential", "beta"} {
		key := "use_" + schedule + "_sigmas"
		if o.null(key) || !get(o, key, false) {
			continue
		}
		if s.SigmaSchedule != "native" {
			o.fail(key, "true is not served with use_%s_sigmas true; at most one of them can be", s.SigmaSchedule)
		}
		s.SigmaSchedule = schedule
	}
	// Every class of diffusers that has a σ schedule takes its ends from these, whether its own __init__ lists them or not.
	o.only("sigma_min", "null")
	o.only("sigma_max", "null")
}

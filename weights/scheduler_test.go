package weights

import (
	"path/filepath"
	"reflect"
	"testing"
)

// scheduler reads a config beside a network without a learned variance.
func scheduler(t *testing.T, config string) (Scheduler, error) {
	t.Helper()
	dir := t.TempDir()
	if err := write(filepath.Join(dir, schedulerFile), []byte(config)); err != nil {
		t.Fatal(err)
	}
	files, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files.readScheduler(network{channels: 1, outputs: 1})
}

var yes, no = new(true), new(false)

// The defaults are those of the classes' __init__ in diffusers 0.42.1. Keys that a class lacks have the same value in
// every row here: no thresholding, fixed_small, native, zero and 50.
func TestAnAbsentKeyMeansWhatItMeansToTheClass(t *testing.T) {
	table := []struct {
		class, sampler, key string // a key that the class cannot do without
		start, end          float64
		schedule            string
		clip, alphaToOne    *bool // nil: the class has no such key
		spacing             string
	}{
		{"DDPMScheduler", "ddpm", "", 0.0001, 0.02, "linear", yes, nil, "leading"},
		{"DDIMScheduler", "ddim", "", 0.0001, 0.02, "linear", yes, yes, "leading"},
		{"PNDMScheduler", "pndm", `, "skip_prk_steps": true`, 0.0001, 0.02, "linear", nil, no, "leading"},
		{"EulerDiscreteScheduler", "euler", "", 0.0001, 0.02, "linear", nil, nil, "linspace"},
		{"EulerAncestralDiscreteScheduler", "euler_a", "", 0.0001, 0.02, "linear", nil, nil, "linspace"},
		{"HeunDiscreteScheduler", "heun", "", 0.00085, 0.012, "linear", no, nil, "linspace"},
		{"KDPM2DiscreteScheduler", "dpm2", "", 0.00085, 0.012, "linear", nil, nil, "linspace"},
		{"KDPM2AncestralDiscreteScheduler", "dpm2_a", "", 0.00085, 0.012, "linear", nil, nil, "linspace"},
		{"LMSDiscreteScheduler", "lms", "", 0.0001, 0.02, "linear", nil, nil, "linspace"},
		{"DEISMultistepScheduler", "deis", "", 0.0001, 0.02, "linear", nil, nil, "linspace"},
		{"DPMSolverMultistepScheduler", "dpmpp_2m", "", 0.0001, 0.02, "linear", nil, nil, "linspace"},
		{"DPMSolverSDEScheduler", "dpmpp_sde", "", 0.00085, 0.012, "linear", nil, nil, "linspace"},
		{"UniPCMultistepScheduler", "unipc", "", 0.0001, 0.02, "linear", nil, nil, "linspace"},
		{"LCMScheduler", "lcm", "", 0.00085, 0.012, "scaled_linear", no, yes, "leading"},
		{"TCDScheduler", "tcd", "", 0.00085, 0.012, "scaled_linear", no, yes, "leading"},
	}
	if len(table) != len(classes) {
		t.Errorf("the table has %d classes, and %d are served", len(table), len(classes))
	}
	for _, test := range table {
		t.Run(test.class, func(t *testing.T) {
			got, err := scheduler(t, `{"_class_name": "`+test.class+`"`+test.key+`}`)
			if err != nil {
				t.Fatal(err)
			}
			want := Scheduler{
				Class: test.class, Sampler: test.sampler, TrainTimesteps: 1000,
				BetaSchedule: test.schedule, BetaStart: test.start, BetaEnd: test.end, PredictionType: "epsilon",
				ClipSample: test.clip, ClipSampleRange: 1, DynamicThresholdingRatio: 0.995, SampleMaxValue: 1,
				VarianceType: "fixed_small", SigmaSchedule: "native", TimestepSpacing: test.spacing,
				SetAlphaToOne: test.alphaToOne, FinalSigmasType: "zero", OriginalSteps: 50,
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v\nwant  %+v", got, want)
			}
		})
	}
}

// The keys behind these fields are heeded whatever the class, so each case may add to any.
func TestAGivenKeyIsHeeded(t *testing.T) {
	for _, test := range []struct {
		class, keys string
		differs     func(*Scheduler)
	}{
		{"PNDMScheduler", `"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
			"set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null, "clip_sample": false`,
			func(s *Scheduler) {
				s.BetaSchedule, s.BetaStart, s.BetaEnd, s.StepsOffset = "scaled_linear", 0.00085, 0.012, 1
				s.ClipSample = no
			}},
		{"PNDMScheduler", `"skip_prk_steps": true, "set_alpha_to_one": true`, func(s *Scheduler) { s.SetAlphaToOne = yes }},
		{"EulerAncestralDiscreteScheduler", `"clip_sample": true, "clip_sample_range": 3, "set_alpha_to_one": false`,
			func(s *Scheduler) { s.ClipSample, s.ClipSampleRange, s.SetAlphaToOne = yes, 3, no }},
		{"DDPMScheduler", `"clip_sample": false, "clip_sample_range": Infinity, "sample_max_value": 1.5`,
			func(s *Scheduler) { s.ClipSample, s.ClipSampleRange, s.SampleMaxValue = no, inf, 1.5 }},
		{"LMSDiscreteScheduler", `"thresholding": true, "dynamic_thresholding_ratio": 1, "sample_max_value": 2`,
			func(s *Scheduler) { s.Thresholding, s.DynamicThresholdingRatio, s.SampleMaxValue = true, 1, 2 }},
		{"DDPMScheduler", `"variance_type": "fixed_large"`, func(s *Scheduler) { s.VarianceType = "fixed_large" }},
		{"DDPMScheduler", `"variance_type": "fixed_small_log"`, func(*Scheduler) {}},
		{"DDPMScheduler", `"variance_type": null`, func(*Scheduler) {}},
		{"HeunDiscreteScheduler", `"use_karras_sigmas": true, "use_beta_sigmas": false`, func(s *Scheduler) { s.SigmaSchedule = "karras" }},
		{"DDIMScheduler", `"use_exponential_sigmas": true`, func(s *Scheduler) { s.SigmaSchedule = "exponential" }},
		{"EulerDiscreteScheduler", `"use_karras_sigmas": null, "use_beta_sigmas": true`, func(s *Scheduler) { s.SigmaSchedule = "beta" }},
		{"EulerDiscreteScheduler", `"sigma_min": null, "sigma_max": null, "interpolation_type": "linear", "final_sigmas_type": "sigma_min"`,
			func(s *Scheduler) { s.FinalSigmasType = "sigma_min" }},
		{"KDPM2DiscreteScheduler", `"prediction_type": "sample", "timestep_spacing": "trailing", "beta_schedule": "sigmoid"`,
			func(s *Scheduler) {
				s.PredictionType, s.TimestepSpacing, s.BetaSchedule = "sample", "trailing", "sigmoid"
			}},
		{"DPMSolverSDEScheduler", `"prediction_type": "v_prediction", "rescale_betas_zero_snr": true, "noise_sampler_seed": null`,
			func(s *Scheduler) { s.PredictionType, s.RescaleBetasZeroSNR = "v_prediction", true }},
		{"TCDScheduler", `"original_inference_steps": 100, "trained_betas": [], "timestep_scaling": 5.0`,
			func(s *Scheduler) { s.OriginalSteps = 100 }},
		{"LCMScheduler", `"num_train_timesteps": 40, "timestep_scaling": 10.0`,
			func(s *Scheduler) { s.TrainTimesteps, s.OriginalSteps = 40, 40 }},
		{"DDIMScheduler", `"num_train_timesteps": 2, "trained_betas": [0.25, 0.5]`,
			func(s *Scheduler) { s.TrainTimesteps, s.OriginalSteps, s.TrainedBetas = 2, 2, []float64{0.25, 0.5} }},
		{"DPMSolverMultistepScheduler", `"algorithm_type": "sde-dpmsolver++", "lambda_min_clipped": -Infinity, "solver_order": 2`,
			func(s *Scheduler) { s.Sampler = "dpmpp_2m_sde" }},
		{"DPMSolverMultistepScheduler", `"algorithm_type": "deis", "solver_type": "logrho"`, func(*Scheduler) {}},
		{"DEISMultistepScheduler", `"algorithm_type": "dpmsolver++", "solver_type": "midpoint"`, func(*Scheduler) {}},
		{"UniPCMultistepScheduler", `"solver_type": "midpoint", "disable_corrector": [], "solver_p": null, "shift_terminal": null`, func(*Scheduler) {}},
		// What another class would have to say here is of no concern to this one.
		{"DDIMScheduler", `"solver_order": 3, "skip_prk_steps": false, "interpolation_type": "log_linear", "note": NaN`, func(*Scheduler) {}},
	} {
		t.Run(test.class, func(t *testing.T) {
			got, err := scheduler(t, `{"_class_name": "`+test.class+`", `+test.keys+`}`)
			if err != nil {
				t.Fatalf("%s: %v", test.keys, err)
			}
			want := classes[test.class].defaults()
			want.Class, want.Sampler = test.class, classes[test.class].sampler
			if test.differs(&want); !reflect.DeepEqual(got, want) {
				t.Errorf("%s\nfound %+v\nwant  %+v", test.keys, got, want)
			}
		})
	}
}

func TestTheStepsThatNobodySaidAreTheSamplers(t *testing.T) {
	for config, want := range map[string]Defaults{
		`{"_class_name": "DDPMScheduler"}`:                                           {"ddpm", true, 1000, 1, 0},
		`{"_class_name": "DDPMScheduler", "num_train_timesteps": 100}`:               {"ddpm", true, 100, 1, 0},
		`{"_class_name": "DEISMultistepScheduler"}`:                                  {"deis", true, 50, 1, 0},
		`{"_class_name": "LCMScheduler"}`:                                            {"lcm", true, 4, 1, 0},
		`{"_class_name": "TCDScheduler", "original_inference_steps": 2}`:             {"tcd", true, 2, 1, 0},
		`{"_class_name": "HeunDiscreteScheduler", "trained_betas": [0.5, 0.6, 0.7]}`: {"heun", true, 3, 1, 0},
	} {
		dir := bundle(t, "variants/no-index")
		if err := write(filepath.Join(dir, schedulerFile), []byte(config)); err != nil {
			t.Fatal(err)
		}
		b, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if b.Defaults != want {
			t.Errorf("%s: the defaults are %+v, want %+v", config, b.Defaults, want)
		}
	}
}

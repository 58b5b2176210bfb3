package weights

// A class is a scheduler of diffusers that is served.
type class struct {
	sampler  string
	defaults func() Scheduler          // what absent keys mean, as __init__ of the class in diffusers 0.42.1 has it
	own      func(*object, *Scheduler) // nil, or refuses what the keys of this class ask for and the service lacks
}

var classes = map[string]class{
	"DDPMScheduler":                   {"ddpm", ddpm, nil},
	"DDIMScheduler":                   {"ddim", ddim, nil},
	"PNDMScheduler":                   {"pndm", pndm, withoutRungeKutta},
	"EulerDiscreteScheduler":          {"euler", neutral, plainEuler},
	"EulerAncestralDiscreteScheduler": {"euler_a", neutral, nil},
	"HeunDiscreteScheduler":           {"heun", heun, nil},
	"KDPM2DiscreteScheduler":          {"dpm2", latent, nil},
	"KDPM2AncestralDiscreteScheduler": {"dpm2_a", latent, nil},
	"LMSDiscreteScheduler":            {"lms", neutral, nil},
	"DEISMultistepScheduler":          {"deis", neutral, plainDEIS},
	"DPMSolverMultistepScheduler":     {"dpmpp_2m", neutral, plainDPMSolver},
	"DPMSolverSDEScheduler":           {"dpmpp_sde", latent, ownNoise},
	"UniPCMultistepScheduler":         {"unipc", neutral, plainUniPC},
	"LCMScheduler":                    {"lcm", distilled, plainLCM},
	"TCDScheduler":                    {"tcd", distilled, nil},
}

// neutral is what absent keys mean to most classes. Where a class lacks a key, its value here changes nothing.
func neutral() Scheduler {
	return Scheduler{
		TrainTimesteps: 1000, BetaSchedule: "linear", BetaStart: 0.0001, BetaEnd: 0.02, PredictionType: "epsilon",
		ClipSampleRange: 1, DynamicThresholdingRatio: 0.995, SampleMaxValue: 1, VarianceType: "fixed_small",
		SigmaSchedule: "native", TimestepSpacing: "linspace", FinalSigmasType: "zero", OriginalSteps: 50,
	}
}

func ddpm() Scheduler {
	s := neutral()
	s.ClipSample, s.TimestepSpacing = new(true), "leading"
	return s
}

func ddim() Scheduler {
	s := ddpm()
	s.SetAlphaToOne = new(true)
	return s
}

func pndm() Scheduler {
	s := neutral()
	s.SetAlphaToOne, s.TimestepSpacing = new(false), "leading"
	return s
}

// latent has the βs of Stable Diffusion, though not their schedule.
func latent() Scheduler {
	s := neutral()
	s.BetaStart, s.BetaEnd = 0.00085, 0.012
	return s
}

func heun() Scheduler {
	s := latent()
	s.ClipSample = new(false)
	return s
}

func distilled() Scheduler {
	s := heun()
	s.SetAlphaToOne = new(true)
	s.BetaSchedule, s.TimestepSpacing = "scaled_linear", "leading"
	return s
}

// withoutRungeKutta asks for the key that Stable Diffusion's configs turn the first steps of PNDM off with.
func withoutRungeKutta(o *object, _ *Scheduler) {
	if !get(o, "skip_prk_steps", false) {
		o.fail("skip_prk_steps", "must be true: the Runge-Kutta steps that PNDMScheduler begins with otherwise are not served")
	}
}

func plainEuler(o *object, _ *Scheduler) {
	oneOf(o, "interpolation_type", get(o, "interpolation_type", "linear"), "linear")
	oneOf(o, "timestep_type", get(o, "timestep_type", "discrete"), "discrete")
}

func plainDEIS(o *object, _ *Scheduler) {
	multistep(o)
	// diffusers reads the settings of its other solvers as DEIS's only ones.
	oneOf(o, "algorithm_type", get(o, "algorithm_type", "deis"), "deis", "dpmsolver", "dpmsolver++")
	oneOf(o, "solver_type", get(o, "solver_type", "logrho"), "logrho", "midpoint", "heun", "bh1", "bh2")
}

func plainDPMSolver(o *object, s *Scheduler) {
	multistep(o)
	o.only("euler_at_final", "false")
	o.only("use_lu_lambdas", "false")
	o.only("lambda_min_clipped", "-Infinity")
	// Settings of DEIS and UniPC are read as dpmsolver++ and midpoint by diffusers, too.
	oneOf(o, "solver_type", get(o, "solver_type", "midpoint"), "midpoint", "logrho", "bh1", "bh2")
	algorithm := oneOf(o, "algorithm_type", get(o, "algorithm_type", "dpmsolver++"), "dpmsolver++", "sde-dpmsolver++", "deis")
	if algorithm == "sde-dpmsolver++" {
		s.Sampler = "dpmpp_2m_sde"
	}
}

func plainUniPC(o *object, _ *Scheduler) {
	multistep(o)
	o.only("predict_x0", "true")
	o.only("disable_corrector", "[]")
	o.only("solver_p", "null")
	o.only("shift_terminal", "null")
	// diffusers reads solver types of DEIS and DPM-Solver as bh2.
	oneOf(o, "solver_type", get(o, "solver_type", "bh2"), "bh2", "midpoint", "heun", "logrho")
}

// multistep checks the keys that the classes of multistep solvers share.
func multistep(o *object) {
	o.only("solver_order", "2")
	o.only("lower_order_final", "true")
	o.only("use_flow_sigmas", "false")
	o.only("use_dynamic_shifting", "false")
}

// ownNoise asks that the noise be the request's: a seed in the config would be that of diffusers' Brownian tree.
func ownNoise(o *object, _ *Scheduler) {
	o.only("noise_sampler_seed", "null")
}

func plainLCM(o *object, _ *Scheduler) {
	o.only("timestep_scaling", "10")
}

package diffusion

import (
	"maps"
	"slices"
)

// Method is a sampler with what a caller needs to know of it.
type Method struct {
	Title       string   // the name that papers use
	Paper       string   // where it is published
	Diffusers   string   // the class of diffusers that is this method, "" where there is none
	Aliases     []string // other names that it is known by
	Order       int      // of accuracy as a solver of the probability-flow ODE; 0 where it solves another equation
	Stochastic  bool     // draws fresh noise on the way
	Eta         bool     // has the parameter η
	DefaultEta  float64  // its value where none is given
	Evaluations int      // of the network a step; a step to clean data takes one
	FixedGrid   bool     // holds for timesteps of its own only, and takes no σ schedule
	Rescheduled bool     // has the σ schedule that the model's scheduler asks for; others have a request's alone
	Dataless    bool     // can begin at a level without data, ᾱ = 0; others take a level with very little for it
	Clips       bool     // limits x̂₀ to clip_sample_range where the model asks for it
	// ClipsUnasked and AlphaToOne are what the method's class in diffusers does where a model's scheduler has no key for it.
	ClipsUnasked, AlphaToOne bool
	Thresholds               bool // limits x̂₀ by dynamic thresholding where the model asks for it
	Consistent               bool // makes ε̂ of the limited x̂₀, whatever the model says
	Sample                   Sampler

	visits       visit
	ends         ending
	roundsKarras bool // tells the network whole timesteps with the karras schedule
}

const (
	ddpmPaper   = "https://arxiv.org/abs/2006.11239"
	ddimPaper   = "https://arxiv.org/abs/2010.02502"
	karrasPaper = "https://arxiv.org/abs/2206.00364"
	dpmPaper    = "https://arxiv.org/abs/2206.00927"
	dpmppPaper  = "https://arxiv.org/abs/2211.01095"
	pndmPaper   = "https://arxiv.org/abs/2202.09778"
	deisPaper   = "https://arxiv.org/abs/2204.13902"
	unipcPaper  = "https://arxiv.org/abs/2302.04867"
	lcmPaper    = "https://arxiv.org/abs/2310.04378"
	tcdPaper    = "https://arxiv.org/abs/2402.19159"
)

var methods = map[string]Method{
	"ddpm": {
		Title: "DDPM ancestral sampling", Paper: ddpmPaper, Diffusers: "DDPMScheduler",
		Stochastic: true, Evaluations: 1, Clips: true, ClipsUnasked: true, Thresholds: true, Dataless: true, Sample: DDPM,
	},
	"ddim": {
		Title: "DDIM", Paper: ddimPaper, Diffusers: "DDIMScheduler",
		Order: 1, Eta: true, Evaluations: 1, Clips: true, ClipsUnasked: true, Thresholds: true, AlphaToOne: true, Dataless: true, Sample: DDIM,
		ends: endByAlpha,
	},
	"euler": {
		Title: "Euler", Paper: karrasPaper, Diffusers: "EulerDiscreteScheduler", Aliases: []string{"k_euler"},
		Order: 1, Evaluations: 1, Rescheduled: true, Sample: Euler, visits: fractions, ends: endBySigma,
	},
	"euler_a": {
		Title: "Euler ancestral", Paper: karrasPaper, Diffusers: "EulerAncestralDiscreteScheduler",
		Aliases:    []string{"euler_ancestral", "k_euler_a"},
		Stochastic: true, Evaluations: 1, Sample: EulerAncestral, visits: fractions,
	},
	"heun": {
		Title: "Heun", Paper: karrasPaper, Diffusers: "HeunDiscreteScheduler", Aliases: []string{"k_heun"},
		Order: 2, Evaluations: 2, Clips: true, Consistent: true, Rescheduled: true, Sample: Heun, visits: fractions,
	},
	"dpm2": {
		Title: "DPM-Solver-2", Paper: dpmPaper, Diffusers: "KDPM2DiscreteScheduler", Aliases: []string{"dpm_2", "k_dpm_2"},
		Order: 2, Evaluations: 2, Rescheduled: true, Sample: DPM2, visits: fractions, roundsKarras: true,
	},
	"dpm2_a": {
		Title: "DPM-Solver-2 ancestral", Paper: dpmPaper, Diffusers: "KDPM2AncestralDiscreteScheduler",
		Aliases:    []string{"dpm2_ancestral", "dpm_2_ancestral", "k_dpm_2_a"},
		Stochastic: true, Evaluations: 2, Rescheduled: true, Sample: DPM2Ancestral, visits: fractions, roundsKarras: true,
	},
	"lms": {
		Title: "Linear multistep", Paper: karrasPaper, Diffusers: "LMSDiscreteScheduler", Aliases: []string{"k_lms"},
		Order: 4, Evaluations: 1, Rescheduled: true, Sample: LMS, visits: fractions,
	},
	"pndm": {
		Title: "PNDM (PLMS)", Paper: pndmPaper, Diffusers: "PNDMScheduler", Aliases: []string{"plms"},
		Order: 2, Evaluations: 1, FixedGrid: true, Sample: PNDM, ends: endByAlpha,
	},
	"ipndm": {
		Title: "Improved PNDM", Paper: deisPaper,
		Order: 4, Evaluations: 1, Rescheduled: true, Sample: IPNDM, visits: fractions,
	},
	"deis": {
		Title: "DEIS (multistep, log ρ)", Paper: deisPaper, Diffusers: "DEISMultistepScheduler", Aliases: []string{"deis_2m"},
		Order: 2, Evaluations: 1, Thresholds: true, Consistent: true, Rescheduled: true, Sample: DEIS, visits: lessLast, ends: endFirst,
	},
	"dpmpp_2s_a": {
		Title: "DPM-Solver++(2S) ancestral", Paper: dpmppPaper, Aliases: []string{"dpmpp_2s_ancestral", "dpm++_2s_a"},
		Stochastic: true, Evaluations: 2, Rescheduled: true, Sample: DPMpp2SAncestral, visits: fractions,
	},
	"dpmpp_2m": {
		Title: "DPM-Solver++(2M)", Paper: dpmppPaper, Diffusers: "DPMSolverMultistepScheduler", Aliases: []string{"dpm++_2m"},
		Order: 2, Evaluations: 1, Thresholds: true, Rescheduled: true, Sample: DPMpp2M, visits: lessLast, ends: endBySigma,
	},
	"dpmpp_2m_sde": {
		Title: "SDE-DPM-Solver++(2M)", Paper: dpmppPaper, Diffusers: "DPMSolverMultistepScheduler",
		Aliases:    []string{"dpm++_2m_sde"},
		Stochastic: true, Evaluations: 1, Thresholds: true, Rescheduled: true, Sample: DPMpp2MSDE, visits: lessLast, ends: endBySigma,
	},
	"dpmpp_sde": {
		Title: "DPM-Solver++ SDE", Paper: dpmppPaper, Diffusers: "DPMSolverSDEScheduler", Aliases: []string{"dpm++_sde"},
		Stochastic: true, Evaluations: 2, Rescheduled: true, Sample: DPMppSDE, visits: fractions,
	},
	"dpmpp_3m_sde": {
		Title: "SDE-DPM-Solver++(3M)", Paper: dpmppPaper, Aliases: []string{"dpm++_3m_sde"},
		Stochastic: true, Evaluations: 1, Thresholds: true, Rescheduled: true, Sample: DPMpp3MSDE, visits: lessLast,
	},
	"unipc": {
		Title: "UniPC", Paper: unipcPaper, Diffusers: "UniPCMultistepScheduler", Aliases: []string{"uni_pc", "uni_pc_bh2"},
		Order: 3, Evaluations: 1, Thresholds: true, Rescheduled: true, Sample: UniPC, visits: lessLast, ends: endBySigma,
	},
	"lcm": {
		Title: "Latent consistency model", Paper: lcmPaper, Diffusers: "LCMScheduler",
		Stochastic: true, Evaluations: 1, FixedGrid: true, Clips: true, Thresholds: true, Dataless: true, Sample: LCM, visits: distilled,
	},
	"tcd": {
		Title: "Trajectory consistency distillation", Paper: tcdPaper, Diffusers: "TCDScheduler",
		Stochastic: true, Eta: true, DefaultEta: 0.3, Evaluations: 1, FixedGrid: true, Dataless: true, Sample: TCD,
		visits: distilled, ends: endFirst,
	},
}

// Methods is the names of all methods in alphabetical order.
func Methods() []string { return slices.Sorted(maps.Keys(methods)) }

// MethodOf finds a method by its name or an alias, and gives the name that it is listed by.
func MethodOf(name string) (string, Method, bool) {
	if m, ok := methods[name]; ok {
		return name, m, true
	}
	for listed, m := range methods {
		if slices.Contains(m.Aliases, name) {
			return listed, m, true
		}
	}
	return "", Method{}, false
}

// Distilled says whether the method is for models that were distilled to take few steps.
func (m Method) Distilled() bool { return m.visits == distilled }

// Limit is how a model's scheduler wants x̂₀ limited.
type Limit struct {
	Clip           float64 // to ±Clip; 0 for no clipping
	Quantile, Most float64 // by dynamic thresholding, which goes before clipping; 0 for none
	Consistent     bool    // ε̂ follows
}

// Limited limits what a denoiser finds, as far as the method does so.
func (m Method) Limited(d Denoiser, l Limit) Denoiser {
	switch {
	case l.Quantile > 0 && m.Thresholds:
		d = Thresholded(d, l.Quantile, l.Most)
	case l.Clip > 0 && m.Clips:
		d = Clipped(d, l.Clip)
	default:
		return d
	}
	if l.Consistent || m.Consistent {
		return Consistent(d)
	}
	return d
}

// Start scales the standard normal noise that the state begins with. Methods that work in σ-space give it the first
// level's own σ, where data is forgotten rather than assumed to be there; with leading spacing diffusers adds the data's
// unit variance, which makes σ² + α² = 1 of it.
func (m Method) Start(spacing string, first Level) float64 {
	if m.visits == fractions && spacing != "leading" {
		return first.Sigma
	}
	return 1
}

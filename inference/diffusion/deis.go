package diffusion

import (
	"context"
	"math"
)

// DEIS is the diffusion exponential integrator sampler of Zhang & Chen 2023 in its multistep form of second order, with
// the polynomial through the last two ε̂ in ln ρ (ρ = σ̃; diffusers' logrho):
//
//	x̃' = x̃ + Σⱼ cⱼ·ε̂ⱼ,   c₀ = ∫ ln(τ/ρ₋₁)/ln(ρ/ρ₋₁) dτ,  c₁ = ∫ ln(τ/ρ)/ln(ρ₋₁/ρ) dτ  from ρ to ρ'
//
// It ends at the first trained level, since ln ρ has no value at clean data. As in diffusers, the last step of a run of
// fewer than 15 is of first order.
func DEIS(ctx context.Context, d Denoiser, x []float32, run Run) error {
	var past history
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		past = past.remember(est.Eps, 2)
		if run.firstOrder(i) {
			flow(x, x, at, next, est.Eps)
		} else {
			newer, older, end := at.Ratio(), run.Levels[i-1].Ratio(), next.Ratio()
			mix(x, term{next.Alpha / at.Alpha, x},
				term{next.Alpha * logarithmic(newer, end, newer, older), past[0]},
				term{next.Alpha * logarithmic(newer, end, older, newer), past[1]})
		}
		run.see(i, x)
	}
	return nil
}

// logarithmic is ∫ ln(τ/zero)/ln(one/zero) dτ from start to end: the line in ln τ that is 1 at one and 0 at zero.
func logarithmic(start, end, one, zero float64) float64 {
	primitive := func(tau float64) float64 { return tau * (math.Log(tau/zero) - 1) / math.Log(one/zero) }
	return primitive(end) - primitive(start)
}

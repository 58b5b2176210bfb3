package diffusion

import (
	"context"
	"math"
)

// UniPC is the unified predictor-corrector of Zhao et al. 2023 of second order, for x̂₀, with B(h) = e⁻ʰ − 1 (their B₂;
// diffusers' bh2). Each step predicts with the estimates so far:
//
//	x' = σ'/σ·x − α'·B·(x̂₀ + ½·D),   D = (x̂₀₋₁ − x̂₀)/r,  r = (λ₋₁ − λ)/h
//
// and the estimate that the next evaluation makes there corrects the state before it goes on, at no further cost:
//
//	x' = σ'/σ·x − α'·B·(x̂₀ + ρ₁·D + ρ₂·(x̂₀' − x̂₀))
//
// The first step and the last are of first order: no D, and ρ₂ = ½.
func UniPC(ctx context.Context, d Denoiser, x []float32, run Run) error {
	var past history
	from := make([]float32, len(x)) // the corrected state that the step under way began at
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		if i > 0 {
			unify(x, from, run.Levels[:i], at, past, est.X0)
		}
		past = past.remember(est.X0, 2)
		copy(from, x)
		known := past
		if i == len(run.Levels)-2 {
			known = past[:1]
		}
		unify(x, from, run.Levels[:i+1], next, known, nil)
		run.see(i, x)
	}
	return nil
}

// unify sets dst to the state at next: predicted from the state and the estimates at the levels behind it, or corrected
// with the estimate at next itself.
func unify(dst, x []float32, levels []Level, next Level, past history, corrector []float32) {
	at := levels[len(levels)-1]
	h := next.Lambda() - at.Lambda()
	b := math.Expm1(-h)
	weights := []float64{1, 0} // of x̂₀ and x̂₀₋₁
	corrected := 0.0           // and of x̂₀'
	switch {
	case len(past) == 1 && corrector != nil:
		corrected = 0.5
	case len(past) == 2:
		r := (levels[len(levels)-2].Lambda() - at.Lambda()) / h
		rho1 := 0.5
		if corrector != nil {
			// ρ₁ + ρ₂ = φ₁/B and r·ρ₁ + ρ₂ = 2φ₂/B, with φ₁ = B/(−h) − 1 and φ₂ = φ₁/(−h) − ½.
			first := b/-h - 1
			second := first/-h - 0.5
			rho1 = (first - 2*second) / b / (1 - r)
			corrected = first/b - rho1
		}
		weights[0] -= rho1 / r
		weights[1] += rho1 / r
	}
	weights[0] -= corrected
	terms := []term{{next.Sigma / at.Sigma, x}}
	for k := range past {
		terms = append(terms, term{-next.Alpha * b * weights[k], past[k]})
	}
	if corrector != nil {
		terms = append(terms, term{-next.Alpha * b * corrected, corrector})
	}
	mix(dst, terms...)
}

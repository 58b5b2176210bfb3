package diffusion

import (
	"context"
	"math"
)

// DPMpp3MSDE is the third-order multistep method for the reverse SDE that k-diffusion calls sample_dpmpp_3m_sde, with
// one and two steps of lower order for a start:
//
//	x' = σ'/σ·e⁻ʰ·x + α'·((1 − e⁻²ʰ)·x̂₀ + φ₂·D₁ − φ₃·D₂) + σ'·√(1 − e⁻²ʰ)·z
//	φ₂ = (e⁻²ʰ − 1)/2h + 1,  φ₃ = φ₂/2h − ½
//
// D₁ and D₂ are the first two differences of the last three x̂₀ over λ, in units of h. diffusers' third-order SDE update
// has φ₂/2h + ½ in φ₃'s place, a wrong sign, and draws another picture.
func DPMpp3MSDE(ctx context.Context, d Denoiser, x []float32, run Run) error {
	var past history
	z := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		past = past.remember(est.X0, 3)
		if next.Sigma == 0 {
			copy(x, est.X0)
			run.see(i, x)
			continue
		}
		run.Noise(z)
		decay := next.Ratio() / at.Ratio()
		terms := []term{{next.Sigma / at.Sigma * decay, x}, {next.Sigma * math.Sqrt(1-decay*decay), z}}
		for k, weight := range differences(run.Levels[:i+2], len(past)) {
			terms = append(terms, term{next.Alpha * weight, past[k]})
		}
		mix(x, terms...)
		run.see(i, x)
	}
	return nil
}

// differences gives the weights of the last known x̂₀, the newest first, in [DPMpp3MSDE]'s step to the last of the levels.
func differences(levels []Level, known int) []float64 {
	lambda := func(k int) float64 { return levels[len(levels)-1-k].Lambda() }
	h := lambda(0) - lambda(1)
	phi2 := math.Expm1(-2*h)/(2*h) + 1
	phi3 := phi2/(2*h) - 0.5
	weights := []float64{-math.Expm1(-2 * h), 0, 0}
	if known > 1 {
		r0 := (lambda(1) - lambda(2)) / h
		d1, d2 := []float64{1 / r0, -1 / r0, 0}, []float64{0, 0, 0}
		if known > 2 {
			r1 := (lambda(2) - lambda(3)) / h
			for k, bend := range []float64{1 / r0, -1/r0 - 1/r1, 1 / r1} {
				d1[k] += bend * r0 / (r0 + r1)
				d2[k] = bend / (r0 + r1)
			}
		}
		for k := range weights {
			weights[k] += phi2*d1[k] - phi3*d2[k]
		}
	}
	return weights[:known]
}

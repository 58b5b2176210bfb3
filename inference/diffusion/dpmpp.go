package diffusion

import (
	"context"
	"math"
)

// The methods of DPM-Solver++ (Lu et al. 2022b) solve for x̂₀ instead of ε̂, over λ = ln(α/σ). With h = λ' − λ the factor
// e⁻ʰ is σ̃'/σ̃, and 0 for a step to clean data.

// DPMpp2M is DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2):
//
//	x' = σ'/σ·x − α'·(e⁻ʰ − 1)·D,   D = x̂₀ + h/(2h₋₁)·(x̂₀ − x̂₀₋₁)
//
// The first step, the one to clean data and, as in diffusers, the last of fewer than 15 are of first order, D = x̂₀.
func DPMpp2M(ctx context.Context, d Denoiser, x []float32, run Run) error {
	return multistep(ctx, d, x, run, func(_ int, at, next Level, slope []float32) {
		mix(x, term{next.Sigma / at.Sigma, x}, term{next.Alpha * (1 - next.Ratio()/at.Ratio()), slope})
	})
}

// DPMpp2MSDE is SDE-DPM-Solver++(2M) (Lu et al. 2022b, appendix): [DPMpp2M] for the reverse SDE, with D as there.
//
//	x' = σ'/σ·e⁻ʰ·x + α'·(1 − e⁻²ʰ)·D + σ'·√(1 − e⁻²ʰ)·z
func DPMpp2MSDE(ctx context.Context, d Denoiser, x []float32, run Run) error {
	z := make([]float32, len(x))
	return multistep(ctx, d, x, run, func(_ int, at, next Level, slope []float32) {
		run.Noise(z)
		decay := next.Ratio() / at.Ratio()
		mix(x, term{next.Sigma / at.Sigma * decay, x}, term{next.Alpha * (1 - decay*decay), slope},
			term{next.Sigma * math.Sqrt(1-decay*decay), z})
	})
}

// multistep runs the loop that both share: step moves the state with the extrapolated D.
func multistep(ctx context.Context, d Denoiser, x []float32, run Run, step func(i int, at, next Level, slope []float32)) error {
	var past history
	slope := make([]float32, len(x))
	last := len(run.Levels) - 2
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		past = past.remember(est.X0, 2)
		copy(slope, est.X0)
		if i > 0 && next.Sigma > 0 && !(i == last && len(run.Levels) <= 15) {
			ahead := (next.Lambda() - at.Lambda()) / (at.Lambda() - run.Levels[i-1].Lambda()) / 2
			mix(slope, term{1 + ahead, past[0]}, term{-ahead, past[1]})
		}
		step(i, at, next, slope)
		run.see(i, x)
	}
	return nil
}

// DPMpp3MSDE is the third-order multistep method for the reverse SDE that k-diffusion calls sample_dpmpp_3m_sde, with
// one and two steps of lower order for a start:
//
//	x' = σ'/σ·e⁻ʰ·x + α'·((1 − e⁻²ʰ)·x̂₀ + φ₂·D₁ − φ₃·D₂) + σ'·√(1 − e⁻²ʰ)·z
//	φ₂ = (e⁻²ʰ − 1)/2h + 1,  φ₃ = φ₂/2h − ½
//
// D₁ and D₂ are the first two differences of the last three x̂₀ over λ, in units of h. diffusers' third-order SDE update
// has −½ and +φ₂/2h in φ₃'s place with a wrong sign, and draws another picture.
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
		h := next.Lambda() - at.Lambda()
		phi2 := math.Expm1(-2*h)/(2*h) + 1
		phi3 := phi2/(2*h) - 0.5
		weights := []float64{-math.Expm1(-2 * h), 0, 0}
		if i > 0 {
			r0 := (at.Lambda() - run.Levels[i-1].Lambda()) / h
			d1 := []float64{1 / r0, -1 / r0, 0}
			if i > 1 {
				r1 := (run.Levels[i-1].Lambda() - run.Levels[i-2].Lambda()) / h
				bend := []float64{1 / r0, -1/r0 - 1/r1, 1 / r1}
				for k := range bend {
					d1[k] += bend[k] * r0 / (r0 + r1)
					weights[k] -= phi3 * bend[k] / (r0 + r1)
				}
			}
			for k := range d1 {
				weights[k] += phi2 * d1[k]
			}
		}
		run.Noise(z)
		decay := next.Ratio() / at.Ratio()
		terms := []term{{next.Sigma / at.Sigma * decay, x}, {next.Sigma * math.Sqrt(1-decay*decay), z}}
		for k := range past {
			terms = append(terms, term{next.Alpha * weights[k], past[k]})
		}
		mix(x, terms...)
		run.see(i, x)
	}
	return nil
}

// DPMpp2SAncestral is DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1) down to σ̃↓ with fresh noise added, as in
// [EulerAncestral] (k-diffusion's sample_dpmpp_2s_ancestral). Its second evaluation is halfway in λ.
func DPMpp2SAncestral(ctx context.Context, d Denoiser, x []float32, run Run) error {
	y, z := make([]float32, len(x)), make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		from := at.Ratio()
		down, up := ancestral(from, next.Ratio())
		if down > 0 {
			middle := run.Schedule.WithRatio(math.Sqrt(from * down))
			shrink := middle.Ratio() / from
			mix(y, term{middle.Alpha / at.Alpha * shrink, x}, term{middle.Alpha * (1 - shrink), est.X0})
			if est, err = d(ctx, y, middle); err != nil {
				return err
			}
			run.Noise(z)
		}
		shrink := down / from
		mix(x, term{next.Alpha / at.Alpha * shrink, x}, term{next.Alpha * (1 - shrink), est.X0}, term{next.Alpha * up, z})
		run.see(i, x)
	}
	return nil
}

// DPMppSDE is the single-step second-order method for the reverse SDE that k-diffusion calls sample_dpmpp_sde. The noise
// of its half step and of its whole step are increments of one Brownian motion over σ̃: with z₁ before the midpoint σ̃ₘ
// and z₂ after it, the whole step's is (√(σ̃−σ̃ₘ)·z₁ + √(σ̃ₘ−σ̃')·z₂)/√(σ̃−σ̃').
func DPMppSDE(ctx context.Context, d Denoiser, x []float32, run Run) error {
	y, z, z2 := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		from, to := at.Ratio(), next.Ratio()
		if to > 0 {
			middle := run.Schedule.WithRatio(math.Sqrt(from * to))
			half := middle.Ratio()
			down, up := ancestral(from, half)
			run.Noise(z)
			mix(y, term{middle.Alpha / at.Alpha * down / from, x}, term{middle.Alpha * (1 - down/from), est.X0},
				term{middle.Alpha * up, z})
			if est, err = d(ctx, y, middle); err != nil {
				return err
			}
			run.Noise(z2)
			mix(z, term{math.Sqrt((from - half) / (from - to)), z}, term{math.Sqrt((half - to) / (from - to)), z2})
		}
		down, up := ancestral(from, to)
		mix(x, term{next.Alpha / at.Alpha * down / from, x}, term{next.Alpha * (1 - down/from), est.X0},
			term{next.Alpha * up, z})
		run.see(i, x)
	}
	return nil
}

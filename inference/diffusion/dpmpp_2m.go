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
	return multistep(ctx, d, x, run, func(at, next Level, slope []float32) {
		mix(x, term{next.Sigma / at.Sigma, x}, term{next.Alpha * (1 - next.Ratio()/at.Ratio()), slope})
	})
}

// DPMpp2MSDE is SDE-DPM-Solver++(2M) (Lu et al. 2022b, appendix): [DPMpp2M] for the reverse SDE, with D as there.
//
//	x' = σ'/σ·e⁻ʰ·x + α'·(1 − e⁻²ʰ)·D + σ'·√(1 − e⁻²ʰ)·z
func DPMpp2MSDE(ctx context.Context, d Denoiser, x []float32, run Run) error {
	z := make([]float32, len(x))
	return multistep(ctx, d, x, run, func(at, next Level, slope []float32) {
		run.Noise(z)
		decay := next.Ratio() / at.Ratio()
		mix(x, term{next.Sigma / at.Sigma * decay, x}, term{next.Alpha * (1 - decay*decay), slope},
			term{next.Sigma * math.Sqrt(1-decay*decay), z})
	})
}

// multistep runs the loop that both share: step moves the state with the extrapolated D.
func multistep(ctx context.Context, d Denoiser, x []float32, run Run, step func(at, next Level, slope []float32)) error {
	var past history
	slope := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		past = past.remember(est.X0, 2)
		copy(slope, est.X0)
		if !run.firstOrder(i) {
			ahead := (next.Lambda() - at.Lambda()) / (at.Lambda() - run.Levels[i-1].Lambda()) / 2
			mix(slope, term{1 + ahead, past[0]}, term{-ahead, past[1]})
		}
		step(at, next, slope)
		run.see(i, x)
	}
	return nil
}

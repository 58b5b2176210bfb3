package diffusion

import "context"

// Euler is Euler's method on the probability-flow ODE in σ-space (Karras et al. 2022, algorithm 1 without churn):
//
//	x̃' = x̃ + (σ̃' − σ̃)·ε̂,   x̃ = x/α,  σ̃ = σ/α
func Euler(ctx context.Context, d Denoiser, x []float32, run Run) error {
	for i, next := range run.Levels[1:] {
		est, err := d(ctx, x, run.Levels[i])
		if err != nil {
			return err
		}
		flow(x, x, run.Levels[i], next, est.Eps)
		run.see(i, x)
	}
	return nil
}

// EulerAncestral takes each of Euler's steps farther, down to σ̃↓, and makes up for it with fresh noise (k-diffusion's
// sample_euler_ancestral):
//
//	x̃' = x̃ + (σ̃↓ − σ̃)·ε̂ + σ̃↑·z,   σ̃↑² = σ̃'²(σ̃² − σ̃'²)/σ̃²,  σ̃↓² = σ̃'² − σ̃↑²
//
// In the limit of many steps that is DDPM's diffusion.
func EulerAncestral(ctx context.Context, d Denoiser, x []float32, run Run) error {
	z := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		down, up := ancestral(at.Ratio(), next.Ratio())
		if up > 0 {
			run.Noise(z)
		}
		mix(x, term{next.Alpha / at.Alpha, x}, term{next.Alpha * (down - at.Ratio()), est.Eps}, term{next.Alpha * up, z})
		run.see(i, x)
	}
	return nil
}

package diffusion

import "context"

// Euler is Euler's method on the probability-flow ODE in σ-space (Karras et al. 2022, algorithm 1 without churn):
//
//	x̃' = x̃ + (σ̃' − σ̃)·ε̂,   x̃ = x/α,  σ̃ = σ/α
//
// It asks the denoiser for ε̂ alone.
func Euler(ctx context.Context, d Denoiser, x []float32, run Run) error {
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		combine(x, next.Alpha/at.Alpha, x, next.Alpha*(next.Ratio()-at.Ratio()), est.Eps)
		run.see(i, x)
	}
	return nil
}

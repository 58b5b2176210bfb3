package diffusion

import "context"

// Heun is Heun's method on the probability-flow ODE (Karras et al. 2022, algorithm 1 without churn): an Euler step, and
// then the same step again along the mean of the slopes at its two ends. The step to clean data, where there is no slope,
// is Euler's.
func Heun(ctx context.Context, d Denoiser, x []float32, run Run) error {
	slope, y := make([]float32, len(x)), make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		copy(slope, est.Eps)
		if next.Sigma > 0 {
			flow(y, x, at, next, slope)
			if est, err = d(ctx, y, next); err != nil {
				return err
			}
			mix(slope, term{0.5, slope}, term{0.5, est.Eps})
		}
		flow(x, x, at, next, slope)
		run.see(i, x)
	}
	return nil
}

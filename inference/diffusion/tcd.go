package diffusion

import (
	"context"
	"math"
)

// TCD is strategic stochastic sampling for trajectory consistency distillation (Zheng et al. 2024, algorithm 4): a
// deterministic step beyond the next timestep t' to s = ⌊(1−γ)·t'⌋, and fresh noise back up to t'. The run's η is γ.
//
//	x_s = α_s·x̂₀ + σ_s·ε̂,   x' = α'/α_s·x_s + √(1 − (α'/α_s)²)·z
func TCD(ctx context.Context, d Denoiser, x []float32, run Run) error {
	z := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		est, err := d(ctx, x, run.Levels[i])
		if err != nil {
			return err
		}
		// PyTorch multiplies in float32 here, and the product decides which timestep it is.
		s := run.Schedule.At(int(float32(1-run.Eta) * float32(next.T)))
		keep := next.Alpha / s.Alpha
		fresh := math.Sqrt(max(1-keep*keep, 0))
		if fresh > 0 {
			run.Noise(z)
		}
		mix(x, term{keep * s.Alpha, est.X0}, term{keep * s.Sigma, est.Eps}, term{fresh, z})
		run.see(i, x)
	}
	return nil
}

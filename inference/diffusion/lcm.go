package diffusion

import (
	"context"
	"math"
)

// LCM is the multistep sampler of latent consistency models (Luo et al. 2023, algorithm 3): the network has been
// distilled to jump to clean data at once, and each step but the last puts fresh noise back on what it found.
//
//	x' = α'·D + σ'·z,   D = c_skip·x + c_out·x̂₀
//
// c_skip = s²/(τ²+s²) and c_out = τ/√(τ²+s²) with τ = 10·t and s = ½ make D(x) = x where there is no noise.
func LCM(ctx context.Context, d Denoiser, x []float32, run Run) error {
	const scaling, deviation = 10, 0.5
	z := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		tau := scaling * at.T
		skip := deviation * deviation / (tau*tau + deviation*deviation)
		out := tau / math.Sqrt(tau*tau+deviation*deviation)
		if next.Sigma > 0 {
			run.Noise(z)
		}
		mix(x, term{next.Alpha * skip, x}, term{next.Alpha * out, est.X0}, term{next.Sigma, z})
		run.see(i, x)
	}
	return nil
}

package diffusion

import (
	"context"
	"math"
)

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
			middle := run.Schedule.labelled(math.Sqrt(from * to))
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

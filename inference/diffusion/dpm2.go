package diffusion

import (
	"context"
	"math"
)

// DPM2 is DPM-Solver-2 (Lu et al. 2022, algorithm 1) as k-diffusion's sample_dpm_2 has it: the midpoint method, with the
// slope taken at the geometric mean of the step's two σ̃.
func DPM2(ctx context.Context, d Denoiser, x []float32, run Run) error {
	y := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		if next.Sigma > 0 {
			middle := run.Schedule.labelled(math.Sqrt(at.Ratio() * next.Ratio()))
			flow(y, x, at, middle, est.Eps)
			if est, err = d(ctx, y, middle); err != nil {
				return err
			}
		}
		flow(x, x, at, next, est.Eps)
		run.see(i, x)
	}
	return nil
}

// DPM2Ancestral is [DPM2] down to σ̃↓ with fresh noise added, as in [EulerAncestral] (k-diffusion's
// sample_dpm_2_ancestral).
func DPM2Ancestral(ctx context.Context, d Denoiser, x []float32, run Run) error {
	y, z := make([]float32, len(x)), make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		down, up := ancestral(at.Ratio(), next.Ratio())
		if down > 0 {
			middle := run.Schedule.labelled(math.Sqrt(at.Ratio() * down))
			flow(y, x, at, middle, est.Eps)
			if est, err = d(ctx, y, middle); err != nil {
				return err
			}
			run.Noise(z)
		}
		mix(x, term{next.Alpha / at.Alpha, x}, term{next.Alpha * (down - at.Ratio()), est.Eps}, term{next.Alpha * up, z})
		run.see(i, x)
	}
	return nil
}

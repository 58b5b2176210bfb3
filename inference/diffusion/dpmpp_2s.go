package diffusion

import (
	"context"
	"math"
)

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
			middle := run.Schedule.labelled(math.Sqrt(from * down))
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

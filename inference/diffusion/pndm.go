package diffusion

import "context"

// bashforth holds the weights of Adams and Bashforth for even steps, the newest slope's first, by the number of slopes.
var bashforth = [][]float64{
	1: {1},
	2: {3. / 2, -1. / 2},
	3: {23. / 12, -16. / 12, 5. / 12},
	4: {55. / 24, -59. / 24, 37. / 24, -9. / 24},
}

// extrapolate sets dst to the slope that past slopes lead to expect over the next step.
func extrapolate(dst []float32, past history) {
	terms := make([]term, len(past))
	for j, weight := range bashforth[len(past)] {
		terms[j] = term{weight, past[j]}
	}
	mix(dst, terms...)
}

// PNDM is the pseudo linear multistep method of Liu et al. 2022 (eq. 12) in the form that diffusers calls PLMS: DDIM's step
// along a combination of the last four ε̂, with weights for even timesteps. The first step is a Heun step of two
// evaluations in place of their Runge-Kutta start.
//
// diffusers computes a step's end as t − T÷steps; this one looks it up, as [DDIM] does and for the same reason. With v
// prediction diffusers combines v of different timesteps as if they were of one; here each is made ε̂ first.
func PNDM(ctx context.Context, d Denoiser, x []float32, run Run) error {
	return pseudo(ctx, d, x, run, len(run.Levels) > 2)
}

// IPNDM is the improved PNDM of Zhang & Chen 2023 (section 3.3): [PNDM] with lower orders for a start, so that every step
// costs one evaluation.
func IPNDM(ctx context.Context, d Denoiser, x []float32, run Run) error {
	return pseudo(ctx, d, x, run, false)
}

// pseudo runs the loop that both share, with a Heun step for a start or without.
func pseudo(ctx context.Context, d Denoiser, x []float32, run Run, heun bool) error {
	var past history
	slope := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		past = past.remember(est.Eps, 4)
		extrapolate(slope, past)
		if i == 0 && heun {
			y := make([]float32, len(x))
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

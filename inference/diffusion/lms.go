package diffusion

import (
	"context"

	"gonum.org/v1/gonum/integrate/quad"
)

// LMS is the linear multistep method that k-diffusion calls sample_lms: the slope over a step is the polynomial in σ̃
// through the last four slopes, as in the method of Adams and Bashforth but for steps of any length.
//
//	x̃' = x̃ + Σⱼ cⱼ·ε̂ⱼ,   cⱼ = ∫ Π_{k≠j} (τ − σ̃ₖ)/(σ̃ⱼ − σ̃ₖ) dτ  from σ̃ to σ̃'
//
// A step more than twice as long as all that the polynomial knows is taken along the last slope alone: it would be led
// astray by the smallest curvature. No schedule of diffusers has such a step.
func LMS(ctx context.Context, d Denoiser, x []float32, run Run) error {
	const order = 4
	var past history
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		past = past.remember(est.Eps, order)
		known := len(past)
		if span := run.Levels[i+1-known].Ratio() - at.Ratio(); at.Ratio()-next.Ratio() > 2*span {
			known = 1
		}
		terms := []term{{next.Alpha / at.Alpha, x}}
		for j := range known {
			terms = append(terms, term{next.Alpha * lagrange(run.Levels[:i+1], known, j, next.Ratio()), past[j]})
		}
		mix(x, terms...)
		run.see(i, x)
	}
	return nil
}

// lagrange integrates the j-th Lagrange polynomial through the last order levels from the last of them to end. Gauss's
// rule of four points is exact here.
func lagrange(levels []Level, order, j int, end float64) float64 {
	node := func(k int) float64 { return levels[len(levels)-1-k].Ratio() }
	polynomial := func(tau float64) float64 {
		product := 1.0
		for k := range order {
			if k != j {
				product *= (tau - node(k)) / (node(j) - node(k))
			}
		}
		return product
	}
	// The rule wants the smaller limit first.
	return -quad.Fixed(polynomial, end, node(0), 4, quad.Legendre{}, 0)
}

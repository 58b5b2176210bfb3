package diffusion

import (
	"context"
	"math"
)

// Run is what a sampler is given beside the denoiser and the state.
type Run struct {
	Levels   []Level                     // decreasing in σ; the state begins at the first and ends at the last
	Schedule *Schedule                   // for the methods that visit levels between those listed
	Eta      float64                     // share of fresh noise, for the methods that take one
	Variance Variance                    // of DDPM's steps
	Noise    func(dst []float32)         // fills dst with independent standard normal values
	Seen     func(step int, x []float32) // nil, or told the state after each step; x is only lent
}

// see reports the state after a step, counted from 0.
func (r Run) see(step int, x []float32) {
	if r.Seen != nil {
		r.Seen(step, x)
	}
}

// firstOrder says whether a multistep method of second order takes step i in first: it knows no estimate before, the step
// leads to clean data or, as in diffusers, is the last of fewer than 15.
func (r Run) firstOrder(i int) bool {
	return i == 0 || r.Levels[i+1].Sigma == 0 || i == len(r.Levels)-2 && len(r.Levels) <= 15
}

// A Sampler moves the state x in place from the first of the run's levels to the last. It returns the denoiser's
// error, and x is then of no use.
type Sampler func(ctx context.Context, d Denoiser, x []float32, run Run) error

// flow sets dst to the state that x becomes when it goes from one level to another and all of its noise is eps. In
// σ-space it is a straight line, x̃' = x̃ + (σ̃' − σ̃)·ε.
func flow(dst, x []float32, from, to Level, eps []float32) {
	keep := to.Alpha / from.Alpha
	mix(dst, term{keep, x}, term{to.Sigma - float64(keep*from.Sigma), eps})
}

// ancestral splits a step in σ-space from σ̃ to σ̃' into a deterministic one down to a smaller σ̃ and fresh noise of
// standard deviation up, with down² + up² = σ̃'².
func ancestral(from, to float64) (down, up float64) {
	up = to / from * math.Sqrt(from*from-to*to)
	return math.Sqrt(max(to*to-up*up, 0)), up
}

// A history holds the last few estimates of a multistep method, the newest first.
type history [][]float32

// remember puts a copy of an estimate first and forgets those beyond the most.
func (h history) remember(estimate []float32, most int) history {
	var kept []float32
	if len(h) == most {
		kept, h = h[most-1], h[:most-1]
	}
	kept = resized(kept, len(estimate))
	copy(kept, estimate)
	return append(history{kept}, h...)
}

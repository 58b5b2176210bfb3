package diffusion

import (
	"context"
	"math"
)

// Gaussian is data whose every element is independently N(Mean, Std²). Its ideal denoiser and the solution of its
// probability-flow ODE are known in closed form, so a sampler can be held against an exact answer.
type Gaussian struct{ Mean, Std float64 }

// Clean is E[x₀ | x] = μ + s²α·(x − αμ)/(s²α² + σ²).
func (g Gaussian) Clean(x float64, at Level) float64 {
	variance := g.Std * g.Std
	return g.Mean + variance*at.Alpha*(x-at.Alpha*g.Mean)/(variance*at.Alpha*at.Alpha+at.Sigma*at.Sigma)
}

// Denoiser is the ideal one.
func (g Gaussian) Denoiser() Denoiser {
	return func(_ context.Context, x []float32, at Level) (Estimate, error) {
		est := Estimate{X0: make([]float32, len(x)), Eps: make([]float32, len(x))}
		for i, v := range x {
			clean := g.Clean(float64(v), at)
			est.X0[i] = float32(clean)
			est.Eps[i] = float32((float64(v) - at.Alpha*clean) / at.Sigma)
		}
		return est, nil
	}
}

// Flow carries a state from one level to another along the probability-flow ODE. In σ-space
// x̃' = μ + (x̃ − μ)·√((s² + σ̃'²)/(s² + σ̃²)).
func (g Gaussian) Flow(x float64, from, to Level) float64 {
	variance := g.Std * g.Std
	spread := func(l Level) float64 { return variance + l.Ratio()*l.Ratio() }
	return to.Alpha * (g.Mean + (x/from.Alpha-g.Mean)*math.Sqrt(spread(to)/spread(from)))
}

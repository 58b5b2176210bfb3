package diffusion

import (
	"context"
	"math"
)

// Variance is the choice of a DDPM step's variance. Without fresh data the smallest that is right is β̃ = β·(1−ᾱ')/(1−ᾱ),
// and the largest β (Ho et al. 2020, section 3.2).
type Variance int

// The variances, as diffusers names them.
const (
	FixedSmall   Variance = iota // β̃
	FixedLarge                   // β
	LearnedRange                 // between the two on a logarithmic scale, as the network says for each element
)

// Variances finds them by those names.
var Variances = map[string]Variance{"fixed_small": FixedSmall, "fixed_large": FixedLarge, "learned_range": LearnedRange}

// DDPM is the ancestral sampler of Ho et al. 2020. Each step draws from q(x' | x, x̂₀) (eq. 6 and 7), with
// α = ᾱ/ᾱ', β = 1−α between the step's two levels:
//
//	μ = √ᾱ'·β/(1−ᾱ)·x̂₀ + √α·(1−ᾱ')/(1−ᾱ)·x
//	x' = μ + √(β·(1−ᾱ')/(1−ᾱ))·z
//
// or with another [Variance]. A step to clean data draws no noise (their algorithm 2), whatever its timestep: with the
// larger variances diffusers leaves noise in a picture whose last timestep is not 0.
func DDPM(ctx context.Context, d Denoiser, x []float32, run Run) error {
	z := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		keep := at.Alpha / next.Alpha // √α
		beta := 1 - keep*keep
		shrink := next.Sigma / at.Sigma
		std := 0.0
		if next.Sigma > 0 {
			run.Noise(z)
			std = deviate(z, run.Variance, beta, shrink*shrink, est.Spread)
		}
		mix(x, term{next.Alpha * beta / (at.Sigma * at.Sigma), est.X0}, term{keep * shrink * shrink, x}, term{std, z})
		run.see(i, x)
	}
	return nil
}

// deviate gives the standard deviation of the step's noise z, whose smallest variance is small·β; where it differs from
// element to element z itself is scaled.
func deviate(z []float32, variance Variance, beta, small float64, spread []float32) float64 {
	switch variance {
	case FixedLarge:
		return math.Sqrt(beta)
	case LearnedRange:
		for i, v := range spread {
			z[i] *= float32(math.Pow(small, (1-float64(v))/4)) // of √small, the share (1−v)/2
		}
		return math.Sqrt(beta)
	}
	return math.Sqrt(small * beta)
}

package diffusion

import (
	"context"
	"math"
)

// DDPM is the ancestral sampler of Ho et al. 2020. Each step draws from q(x' | x, x̂₀) (eq. 6 and 7), with
// α = ᾱ/ᾱ', β = 1−α between the step's two levels:
//
//	μ = √ᾱ'·β/(1−ᾱ)·x̂₀ + √α·(1−ᾱ')/(1−ᾱ)·x
//	x' = μ + √(β·(1−ᾱ')/(1−ᾱ))·z
//
// A step to clean data has no variance and draws no noise.
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
		combine(x, next.Alpha*beta/(at.Sigma*at.Sigma), est.X0, keep*shrink*shrink, x)
		if std := shrink * math.Sqrt(beta); std > 0 {
			run.Noise(z)
			addScaled(x, std, z)
		}
		run.see(i, x)
	}
	return nil
}

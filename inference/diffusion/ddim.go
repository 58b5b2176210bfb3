package diffusion

import (
	"context"
	"math"
)

// DDIM is the generalised sampler of Song et al. 2021 (eq. 12 and 16). With η = 0 it is deterministic, with η = 1 it has
// the variance of [DDPM]:
//
//	σ(η) = η·√((1−ᾱ')/(1−ᾱ))·√(1−ᾱ/ᾱ')
//	x' = √ᾱ'·x̂₀ + √(1−ᾱ'−σ²)·ε̂ + σ·z
//
// The step's end (ᾱ') is the next level of the run. diffusers computes it as t − T÷steps instead, which is another level
// wherever the timesteps are not that far apart: with linspace spacing, and with trailing spacing when the step count
// does not divide T. There the two differ, and this is the one that the paper describes.
func DDIM(ctx context.Context, d Denoiser, x []float32, run Run) error {
	z := make([]float32, len(x))
	for i, next := range run.Levels[1:] {
		at := run.Levels[i]
		est, err := d(ctx, x, at)
		if err != nil {
			return err
		}
		keep := at.Alpha / next.Alpha
		std := run.Eta * next.Sigma / at.Sigma * math.Sqrt(max(1-keep*keep, 0))
		direction := math.Sqrt(max(next.Sigma*next.Sigma-std*std, 0))
		if std > 0 {
			run.Noise(z)
		}
		mix(x, term{next.Alpha, est.X0}, term{direction, est.Eps}, term{std, z})
		run.see(i, x)
	}
	return nil
}

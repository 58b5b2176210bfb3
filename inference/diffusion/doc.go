// Package diffusion holds the mathematics of sampling from a diffusion model: noise schedules, denoisers, guidance,
// samplers and the seeded noise. It starts no goroutine, does no I/O and writes no log. Its two examples are the whole
// idea: noise is added and taken away again by whoever knows it, then by whoever can guess it.
//
// A diffusion model knows data at every level of noise. A level is a pair (α, σ) in which a clean sample x₀ is seen as
//
//	x = α·x₀ + σ·ε,   ε ~ N(0, I)
//
// and a noise-prediction network estimates ε from x and the level's timestep t. A [Denoiser] turns that estimate into
// both x̂₀ and ε̂, which determine one another by the equation above. A [Sampler] begins with noise at the highest
// level and calls a denoiser along a decreasing list of levels until data is left.
//
// The schedules here preserve variance, α² + σ² = 1, and every state has the scale of the network's input. The σ-space
// in which Karras et al. 2022 and k-diffusion write their samplers, x̃ = x₀ + σ̃·ε, is the same state divided by α:
// x̃ = x/α and σ̃ = σ/α. In it the probability-flow ODE is dx̃/dσ̃ = ε̂, and DDIM at η = 0 is Euler's method.
package diffusion

package diffusion

import "context"

// Estimate is what a denoiser makes of a state: x ≈ α·X0 + σ·Eps. Both slices are the denoiser's own and hold until its
// next call; a sampler that needs them longer copies them.
type Estimate struct {
	X0  []float32 // x̂₀, the clean sample; clipped where the model asks for it
	Eps []float32 // ε̂, the noise; as the network gave it, unless the model has it follow the clipped x̂₀
}

// A Denoiser estimates the clean sample and the noise in the state x at a level. It leaves x as it is. Its error is the
// network's or the context's.
type Denoiser func(ctx context.Context, x []float32, at Level) (Estimate, error)

// A Predictor gives ε̂ for the state x at timestep t. The slice it returns is its own and holds until its next call.
type Predictor func(ctx context.Context, x []float32, t float64) ([]float32, error)

// Epsilon makes a denoiser of a noise predictor: x̂₀ = (x − σ·ε̂)/α (Ho et al. 2020, eq. 15).
func Epsilon(predict Predictor) Denoiser {
	var x0 []float32
	return func(ctx context.Context, x []float32, at Level) (Estimate, error) {
		eps, err := predict(ctx, x, at.T)
		if err != nil {
			return Estimate{}, err
		}
		x0 = resized(x0, len(x))
		combine(x0, 1/at.Alpha, x, -at.Ratio(), eps)
		return Estimate{X0: x0, Eps: eps}, nil
	}
}

// Clipped limits x̂₀ to [−limit, limit] and leaves ε̂ alone, as diffusers does by default: the two then no longer add up
// to x.
func Clipped(d Denoiser, limit float64) Denoiser {
	bound := float32(limit)
	return func(ctx context.Context, x []float32, at Level) (Estimate, error) {
		est, err := d(ctx, x, at)
		for i, v := range est.X0 {
			est.X0[i] = min(max(v, -bound), bound)
		}
		return est, err
	}
}

// Consistent recomputes ε̂ from x̂₀, so that the two add up to x again after clipping: ε̂ = (x − α·x̂₀)/σ. diffusers
// calls it use_clipped_model_output.
func Consistent(d Denoiser) Denoiser {
	return func(ctx context.Context, x []float32, at Level) (Estimate, error) {
		est, err := d(ctx, x, at)
		if err != nil {
			return Estimate{}, err
		}
		combine(est.Eps, 1/at.Sigma, x, -at.Alpha/at.Sigma, est.X0)
		return est, nil
	}
}

// combine sets dst = a·x + b·y. The conversions keep the compiler from fusing the products into the sum, which it may
// do on some processors and not on others: the bits would then depend on the machine.
func combine(dst []float32, a float64, x []float32, b float64, y []float32) {
	p, q := float32(a), float32(b)
	for i := range dst {
		dst[i] = float32(p*x[i]) + float32(q*y[i])
	}
}

// addScaled adds b·y to x.
func addScaled(x []float32, b float64, y []float32) { combine(x, 1, x, b, y) }

func resized(buffer []float32, size int) []float32 {
	if cap(buffer) < size {
		return make([]float32, size)
	}
	return buffer[:size]
}

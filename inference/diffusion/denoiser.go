package diffusion

import (
	"context"
	"math"
	"slices"
)

// Estimate is what a denoiser makes of a state: x ≈ α·X0 + σ·Eps. The slices are the denoiser's own and hold until its
// next call; a sampler that needs them longer copies them.
type Estimate struct {
	X0  []float32 // x̂₀, the clean sample; limited where the model asks for it
	Eps []float32 // ε̂, the noise; as the network gave it, unless the model has it follow the limited x̂₀
	// Spread is nil, or the learned variance's v, element by element: −1 is the smallest variance that a step can have,
	// 1 the largest (Nichol & Dhariwal 2021, eq. 15, whose v runs from 0 to 1).
	Spread []float32
}

// A Denoiser estimates the clean sample and the noise in the state x at a level. It leaves x as it is. Its error is the
// network's or the context's.
type Denoiser func(ctx context.Context, x []float32, at Level) (Estimate, error)

// A Predictor gives the network's prediction for the state x at timestep t: as many values as x has, or twice as many
// where the network learned its variance. The slice it returns is its own and holds until its next call.
type Predictor func(ctx context.Context, x []float32, t float64) ([]float32, error)

// Prediction makes a denoiser of what a network predicts, as diffusers' prediction_type names it; nil for other names.
//
//	epsilon       ε̂ itself (Ho et al. 2020), and x̂₀ = (x − σ·ε̂)/α
//	v_prediction  v = α·ε − σ·x₀ (Salimans & Ho 2022): x̂₀ = α·x − σ·v and ε̂ = α·v + σ·x
//	sample        x̂₀ itself, and ε̂ = (x − α·x̂₀)/σ
func Prediction(kind string, predict Predictor) Denoiser {
	var x0, eps []float32
	var read func(x, out []float32, at Level) Estimate
	switch kind {
	case "epsilon":
		read = func(x, out []float32, at Level) Estimate {
			mix(x0, term{1 / at.Alpha, x}, term{-at.Ratio(), out})
			return Estimate{X0: x0, Eps: out}
		}
	case "v_prediction":
		read = func(x, out []float32, at Level) Estimate {
			mix(x0, term{at.Alpha, x}, term{-at.Sigma, out})
			mix(eps, term{at.Alpha, out}, term{at.Sigma, x})
			return Estimate{X0: x0, Eps: eps}
		}
	case "sample":
		read = func(x, out []float32, at Level) Estimate {
			mix(eps, term{1 / at.Sigma, x}, term{-at.Alpha / at.Sigma, out})
			return Estimate{X0: out, Eps: eps}
		}
	default:
		return nil
	}
	return func(ctx context.Context, x []float32, at Level) (Estimate, error) {
		out, err := predict(ctx, x, at.T)
		if err != nil {
			return Estimate{}, err
		}
		x0, eps = resized(x0, len(x)), resized(eps, len(x))
		est := read(x, out[:len(x)], at)
		if len(out) > len(x) {
			est.Spread = out[len(x):]
		}
		return est, nil
	}
}

// Clipped limits x̂₀ to [−limit, limit] and leaves ε̂ alone, as diffusers does by default: the two then no longer add up
// to x.
func Clipped(d Denoiser, limit float64) Denoiser {
	bound := float32(limit)
	return limited(d, func(x0 []float32) {
		for i, v := range x0 {
			x0[i] = min(max(v, -bound), bound)
		}
	})
}

// Thresholded is dynamic thresholding (Saharia et al. 2022, section 2.3): x̂₀ is limited to [−s, s] and divided by s, the
// given quantile of |x̂₀|, kept between 1 and most.
func Thresholded(d Denoiser, quantile, most float64) Denoiser {
	var sorted []float64
	return limited(d, func(x0 []float32) {
		sorted = sorted[:0]
		for _, v := range x0 {
			sorted = append(sorted, math.Abs(float64(v)))
		}
		slices.Sort(sorted)
		rank := quantile * float64(len(sorted)-1)
		below := int(rank)
		above := min(below+1, len(sorted)-1)
		s := sorted[below] + (rank-float64(below))*(sorted[above]-sorted[below])
		s = min(max(s, 1), most)
		for i, v := range x0 {
			x0[i] = float32(min(max(float64(v), -s), s) / s)
		}
	})
}

func limited(d Denoiser, limit func(x0 []float32)) Denoiser {
	return func(ctx context.Context, x []float32, at Level) (Estimate, error) {
		est, err := d(ctx, x, at)
		if err == nil {
			limit(est.X0)
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
		mix(est.Eps, term{1 / at.Sigma, x}, term{-at.Alpha / at.Sigma, est.X0})
		return est, nil
	}
}

// A term is one product c·v of a sum.
type term struct {
	c float64
	v []float32
}

// mix sets dst to the sum of the terms, any of which may be dst itself. It adds in float64; the conversions keep the
// compiler from fusing a product into the sum, which it may do on some processors and not on others: the bits would then
// depend on the machine.
func mix(dst []float32, terms ...term) {
	for i := range dst {
		sum := 0.0
		for _, t := range terms {
			sum += float64(t.c * float64(t.v[i]))
		}
		dst[i] = float32(sum)
	}
}

func resized(buffer []float32, size int) []float32 {
	if cap(buffer) < size {
		return make([]float32, size)
	}
	return buffer[:size]
}

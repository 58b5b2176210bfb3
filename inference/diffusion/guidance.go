package diffusion

import (
	"context"
	"math"
)

// A Network evaluates ε_θ(x, t, label) once for each label, all in one call, so that the rows of a guided step can
// share a run. A network without classes is called with one label that it ignores. The slices returned are the
// network's own and hold until its next call.
type Network func(ctx context.Context, x []float32, t float64, labels []int64) ([][]float32, error)

// Conditioned is the network's prediction for one label.
func Conditioned(network Network, label int64) Predictor {
	labels := []int64{label}
	return func(ctx context.Context, x []float32, t float64) ([]float32, error) {
		rows, err := network(ctx, x, t, labels)
		if err != nil {
			return nil, err
		}
		return rows[0], nil
	}
}

// GuidanceLabels lists the labels whose predictions enter the sum of [Guided], in the order in which it asks for them.
func GuidanceLabels(label, null int64, scale float64) []int64 {
	switch scale {
	case 0:
		return []int64{null}
	case 1:
		return []int64{label}
	}
	return []int64{null, label}
}

// Guided is classifier-free guidance, ε̂ = ε_∅ + scale·(ε_label − ε_∅) (Ho & Salimans 2022, eq. 6, with their w + 1 as
// scale): 0 ignores the label, 1 is the plain conditional prediction, more follows the label harder. Only the
// predictions that enter the sum are computed. A learned variance is the label's own.
//
// A large scale raises the contrast. rescale gives back that part of it, 0 to 1, which the standard deviation of the
// conditional prediction says (Lin et al. 2024, eq. 15 and 16).
func Guided(network Network, label, null int64, scale, rescale float64) Predictor {
	labels := GuidanceLabels(label, null, scale)
	if len(labels) == 1 {
		return Conditioned(network, labels[0])
	}
	return func(ctx context.Context, x []float32, t float64) ([]float32, error) {
		rows, err := network(ctx, x, t, labels)
		if err != nil {
			return nil, err
		}
		without, with := rows[0], rows[1]
		copy(without[len(x):], with[len(x):])
		guided := without[:len(x)]
		mix(guided, term{1 - scale, guided}, term{scale, with})
		if rescale > 0 {
			if contrast := deviation(guided); contrast > 0 {
				factor := rescale*deviation(with[:len(x)])/contrast + (1 - rescale)
				mix(guided, term{factor, guided})
			}
		}
		return without, nil
	}
}

// deviation is the standard deviation of the values.
func deviation(values []float32) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range values {
		sum += float64(v)
	}
	mean := sum / float64(len(values))
	for _, v := range values {
		squares += float64((float64(v) - mean) * (float64(v) - mean))
	}
	return math.Sqrt(squares / float64(len(values)))
}

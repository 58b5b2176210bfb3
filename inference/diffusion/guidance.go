package diffusion

import "context"

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
// predictions that enter the sum are computed.
func Guided(network Network, label, null int64, scale float64) Predictor {
	labels := GuidanceLabels(label, null, scale)
	if len(labels) == 1 {
		return Conditioned(network, labels[0])
	}
	var difference []float32
	return func(ctx context.Context, x []float32, t float64) ([]float32, error) {
		rows, err := network(ctx, x, t, labels)
		if err != nil {
			return nil, err
		}
		without, with := rows[0], rows[1]
		difference = resized(difference, len(x))
		combine(difference, 1, with, -1, without)
		addScaled(without, scale, difference)
		return without, nil
	}
}

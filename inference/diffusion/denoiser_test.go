package diffusion_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"denoised/inference/diffusion"
)

var level = diffusion.Level{T: 500, Alpha: 0.6, Sigma: 0.8}

func constant(eps ...float32) diffusion.Predictor {
	return func(context.Context, []float32, float64) ([]float32, error) { return slices.Clone(eps), nil }
}

func near(a, b []float32, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Abs(float64(a-b)) <= tolerance })
}

func TestDenoisers(t *testing.T) {
	x := []float32{1.4, -1.4, 0.2}
	eps := []float32{1, -1, 0.1}
	// (x − 0.8·ε)/0.6 is [1, −1, 0.2]: at a limit of 0.5 the first two are clipped.
	plain := diffusion.Prediction("epsilon", constant(eps...))
	for _, c := range []struct {
		name    string
		d       diffusion.Denoiser
		x0, eps []float32
	}{
		{"epsilon", plain, []float32{1, -1, 0.2}, eps},
		{"clipped keeps the network's noise", diffusion.Clipped(plain, 0.5), []float32{0.5, -0.5, 0.2}, eps},
		{"consistent noise follows the clipped sample", diffusion.Consistent(diffusion.Clipped(plain, 0.5)),
			[]float32{0.5, -0.5, 0.2}, []float32{1.375, -1.375, 0.1}},
		// v = α·ε − σ·x₀, with the same x₀ and ε.
		{"v", diffusion.Prediction("v_prediction", constant(-0.2, 0.2, -0.1)), []float32{1, -1, 0.2}, eps},
		{"sample", diffusion.Prediction("sample", constant(1, -1, 0.2)), []float32{1, -1, 0.2}, eps},
		{"clipping x̂₀ leaves the noise of a sample prediction", diffusion.Clipped(diffusion.Prediction("sample", constant(1, -1, 0.2)), 0.5),
			[]float32{0.5, -0.5, 0.2}, eps},
		// The quantile ⅔ of |x̂₀| ∈ {0.5, 1.5, 3} lies a third of the way from 1.5 to 3.
		{"thresholded", diffusion.Thresholded(diffusion.Prediction("sample", constant(3, -1.5, 0.5)), 2./3, 9),
			[]float32{1, -0.75, 0.25}, []float32{-0.5, -0.625, -0.125}},
		{"thresholded at most", diffusion.Thresholded(diffusion.Prediction("sample", constant(3, -1.5, 0.5)), 1, 1.5),
			[]float32{1, -1, 0.33333334}, []float32{-0.5, -0.625, -0.125}},
		{"a threshold below 1 is 1", diffusion.Thresholded(diffusion.Prediction("sample", constant(0.2, -0.1, 0.1)), 0.5, 2),
			[]float32{0.2, -0.1, 0.1}, []float32{1.6, -1.675, 0.175}},
	} {
		t.Run(c.name, func(t *testing.T) {
			est, err := c.d(t.Context(), x, level)
			if err != nil {
				t.Fatal(err)
			}
			if !near(est.X0, c.x0, 1e-6) || !near(est.Eps, c.eps, 1e-6) {
				t.Errorf("x̂₀ %v and ε̂ %v; want %v and %v", est.X0, est.Eps, c.x0, c.eps)
			}
		})
	}
}

func TestGuided(t *testing.T) {
	const label, null = 3, 10
	rows := map[int64][]float32{label: {3, 1}, null: {1, 2}}
	for _, c := range []struct {
		scale float64
		asked []int64
		want  []float32
	}{
		{0, []int64{null}, []float32{1, 2}},
		{1, []int64{label}, []float32{3, 1}},
		{2, []int64{null, label}, []float32{5, 0}},
		{0.5, []int64{null, label}, []float32{2, 1.5}},
	} {
		var asked []int64
		network := func(_ context.Context, _ []float32, _ float64, labels []int64) ([][]float32, error) {
			asked = slices.Clone(labels)
			var out [][]float32
			for _, l := range labels {
				out = append(out, slices.Clone(rows[l]))
			}
			return out, nil
		}
		eps, err := diffusion.Guided(network, label, null, c.scale, 0)(t.Context(), make([]float32, 2), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(asked, c.asked) || !near(eps, c.want, 0) {
			t.Errorf("scale %g: asked for %v, got %v; want %v and %v", c.scale, asked, eps, c.asked, c.want)
		}
	}
}

// TestGuidedRescale gives back the standard deviation of the conditional prediction, whole and by half.
func TestGuidedRescale(t *testing.T) {
	network := func(context.Context, []float32, float64, []int64) ([][]float32, error) {
		return [][]float32{{0, 0}, {1, 3}}, nil // without and with the label
	}
	for _, c := range []struct {
		rescale float64
		want    []float32
	}{{0, []float32{4, 12}}, {1, []float32{1, 3}}, {0.5, []float32{2.5, 7.5}}} {
		eps, err := diffusion.Guided(network, 3, 10, 4, c.rescale)(t.Context(), make([]float32, 2), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !near(eps, c.want, 1e-6) {
			t.Errorf("rescale %g: %v, want %v", c.rescale, eps, c.want)
		}
	}
}

// TestLearnedVarianceRides reads the second half of a network's channels, which guidance leaves to the label.
func TestLearnedVarianceRides(t *testing.T) {
	network := func(context.Context, []float32, float64, []int64) ([][]float32, error) {
		return [][]float32{{1, 2, 0.1, 0.2}, {3, 1, 0.5, 0.6}}, nil
	}
	d := diffusion.Prediction("epsilon", diffusion.Guided(network, 3, 10, 2, 0))
	est, err := d(t.Context(), []float32{0, 0}, level)
	if err != nil {
		t.Fatal(err)
	}
	if !near(est.Eps, []float32{5, 0}, 0) || !near(est.Spread, []float32{0.5, 0.6}, 0) || len(est.X0) != 2 {
		t.Errorf("ε̂ %v, spread %v, x̂₀ %v", est.Eps, est.Spread, est.X0)
	}
}

package diffusion_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"denoised/inference/diffusion"
)

// moments is the mean and the standard deviation of values.
func moments(values []float32) (mean, std float64) {
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	mean = sum / float64(len(values))
	return mean, math.Sqrt(squares/float64(len(values)) - mean*mean)
}

// TestStochasticMoments draws many values and compares their mean and spread with the data's.
func TestStochasticMoments(t *testing.T) {
	s := linearSchedule(t)
	for _, c := range []struct {
		name     string
		eta      float64
		variance diffusion.Variance
		steps    int
	}{
		{"ddpm", 0, diffusion.FixedSmall, 200},
		{"ddpm", 0, diffusion.FixedLarge, 200},
		{"ddim", 1, 0, 200},
		{"ddim", 0.5, 0, 200},
		{"euler_a", 0, 0, 200},
		{"dpm2_a", 0, 0, 100},
		{"dpmpp_2s_a", 0, 0, 100},
		{"dpmpp_sde", 0, 0, 100},
		{"dpmpp_2m_sde", 0, 0, 100},
		{"dpmpp_3m_sde", 0, 0, 100},
	} {
		t.Run(fmt.Sprintf("%s η=%g variance %d", c.name, c.eta, c.variance), func(t *testing.T) {
			method := methodOf(t, c.name)
			levels, err := method.Levels(s, trailingGrid, c.steps)
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 8000)
			g := diffusion.NewGenerator(3)
			g.Normal(x)
			run := diffusion.Run{Levels: levels, Schedule: s, Eta: c.eta, Variance: c.variance, Noise: g.Normal}
			if err := method.Sample(t.Context(), data.Denoiser(), x, run); err != nil {
				t.Fatal(err)
			}
			mean, std := moments(x)
			// Three standard errors of the mean are 0.017; discretisation leaves a little less spread than the data has.
			if math.Abs(mean-data.Mean) > 0.02 || math.Abs(std-data.Std) > 0.02 {
				t.Errorf("mean %.4f and standard deviation %.4f; the data has %g and %g", mean, std, data.Mean, data.Std)
			}
		})
	}
}

// TestDistilledMoments takes LCM and TCD by what they are: a network that jumps to clean data at once draws the data's
// own distribution. The ideal jump for Gaussian data is along the probability-flow ODE.
func TestDistilledMoments(t *testing.T) {
	s := linearSchedule(t)
	jump := func(_ context.Context, x []float32, at diffusion.Level) (diffusion.Estimate, error) {
		est := diffusion.Estimate{X0: make([]float32, len(x)), Eps: make([]float32, len(x))}
		for i, v := range x {
			clean := data.Flow(float64(v), at, diffusion.Clean)
			est.X0[i], est.Eps[i] = float32(clean), float32((float64(v)-at.Alpha*clean)/at.Sigma)
		}
		return est, nil
	}
	for _, name := range []string{"lcm", "tcd"} {
		t.Run(name, func(t *testing.T) {
			method := methodOf(t, name)
			levels, err := method.Levels(s, trailingGrid, 4)
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 8000)
			g := diffusion.NewGenerator(4)
			g.Normal(x)
			run := diffusion.Run{Levels: levels, Schedule: s, Eta: 1, Noise: g.Normal}
			if err := method.Sample(t.Context(), jump, x, run); err != nil {
				t.Fatal(err)
			}
			mean, std := moments(x)
			if math.Abs(mean-data.Mean) > 0.02 || math.Abs(std-data.Std) > 0.02 {
				t.Errorf("mean %.4f and standard deviation %.4f; the data has %g and %g", mean, std, data.Mean, data.Std)
			}
		})
	}
}

// TestLearnedVariance checks both ends of the range that a network can choose from: −1 is the smaller variance, 1 the
// larger.
func TestLearnedVariance(t *testing.T) {
	s := linearSchedule(t)
	method := methodOf(t, "ddpm")
	levels, err := method.Levels(s, trailingGrid, 50)
	if err != nil {
		t.Fatal(err)
	}
	draw := func(variance diffusion.Variance, v float32) []float32 {
		d := func(ctx context.Context, x []float32, at diffusion.Level) (diffusion.Estimate, error) {
			est, err := data.Denoiser()(ctx, x, at)
			for range x {
				est.Spread = append(est.Spread, v)
			}
			return est, err
		}
		x := make([]float32, 64)
		g := diffusion.NewGenerator(5)
		g.Normal(x)
		if err := method.Sample(t.Context(), d, x, diffusion.Run{Levels: levels, Variance: variance, Noise: g.Normal}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		fixed diffusion.Variance
		v     float32
	}{{diffusion.FixedSmall, -1}, {diffusion.FixedLarge, 1}} {
		if learned, fixed := draw(diffusion.LearnedRange, c.v), draw(c.fixed, 0); !near(learned, fixed, 1e-5) {
			t.Errorf("v = %g: %v, want %v", c.v, learned[:4], fixed[:4])
		}
	}
}

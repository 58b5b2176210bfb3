package diffusion_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"denoised/inference/diffusion"
)

var data = diffusion.Gaussian{Mean: 0.3, Std: 0.5}

func linearSchedule(t *testing.T) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.NewSchedule("linear", 1000, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// geometric lists levels even in ln σ̃. It stops above zero: the last step to clean data is first-order for every
// method and would hide the slope.
func geometric(s *diffusion.Schedule, steps int) []diffusion.Level {
	first, last := s.At(900).Ratio(), s.At(20).Ratio()
	var levels []diffusion.Level
	for i := range steps + 1 {
		levels = append(levels, s.WithRatio(first*math.Pow(last/first, float64(i)/float64(steps))))
	}
	return levels
}

// TestOrderOfAccuracy runs each deterministic sampler on data whose probability-flow ODE has a known solution. Halving
// the step must halve a first-order method's error: any wrong coefficient shows.
func TestOrderOfAccuracy(t *testing.T) {
	s := linearSchedule(t)
	for _, name := range diffusion.Methods() {
		method, _ := diffusion.MethodOf(name)
		if method.Stochastic {
			continue
		}
		t.Run(name, func(t *testing.T) {
			fault := func(steps int) float64 {
				levels := geometric(s, steps)
				x := []float32{1.7}
				exact := data.Flow(1.7, levels[0], levels[steps])
				if err := method.Sample(t.Context(), data.Denoiser(), x, diffusion.Run{Levels: levels}); err != nil {
					t.Fatal(err)
				}
				return math.Abs(float64(x[0]) - exact)
			}
			for _, steps := range []int{20, 40, 80} {
				order := math.Log2(fault(steps) / fault(2*steps))
				if math.Abs(order-float64(method.Order)) > 0.15 {
					t.Errorf("from %d to %d steps the error shrinks with order %.2f, not %d", steps, 2*steps, order, method.Order)
				}
			}
		})
	}
}

// TestDDIMIsEuler holds DDIM at η = 0 against Euler's method in σ-space on a network that is anything but linear.
func TestDDIMIsEuler(t *testing.T) {
	s := linearSchedule(t)
	d := diffusion.Epsilon(func(_ context.Context, x []float32, t float64) ([]float32, error) {
		eps := make([]float32, len(x))
		for i, v := range x {
			eps[i] = float32(math.Sin(3*float64(v)+t/100) + 0.1*float64(v*v))
		}
		return eps, nil
	})
	levels, err := diffusion.Spacing{Name: "trailing", Final: diffusion.Clean}.Levels(s, 25, true)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2][]float32
	for i, sample := range []diffusion.Sampler{diffusion.DDIM, diffusion.Euler} {
		x := make([]float32, 64)
		diffusion.NewGenerator(7).Normal(x)
		if err := sample(t.Context(), d, x, diffusion.Run{Levels: levels}); err != nil {
			t.Fatal(err)
		}
		ends[i] = x
	}
	for i := range ends[0] {
		if diff := math.Abs(float64(ends[0][i] - ends[1][i])); diff > 1e-4 {
			t.Errorf("element %d: DDIM %g, Euler %g", i, ends[0][i], ends[1][i])
		}
	}
}

// TestStochasticMoments draws many values and compares their mean and spread with the data's.
func TestStochasticMoments(t *testing.T) {
	s := linearSchedule(t)
	for _, c := range []struct {
		name string
		eta  float64
	}{{"ddpm", 0}, {"ddim", 1}, {"ddim", 0.5}} {
		t.Run(fmt.Sprintf("%s η=%g", c.name, c.eta), func(t *testing.T) {
			method, _ := diffusion.MethodOf(c.name)
			levels, err := diffusion.Spacing{Name: "trailing", Final: diffusion.Clean}.Levels(s, 200, true)
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 8000)
			g := diffusion.NewGenerator(3)
			g.Normal(x)
			run := diffusion.Run{Levels: levels, Eta: c.eta, Noise: g.Normal}
			if err := method.Sample(t.Context(), data.Denoiser(), x, run); err != nil {
				t.Fatal(err)
			}
			var sum, squares float64
			for _, v := range x {
				sum += float64(v)
				squares += float64(v) * float64(v)
			}
			mean := sum / float64(len(x))
			std := math.Sqrt(squares/float64(len(x)) - mean*mean)
			// Three standard errors of the mean are 0.017; discretisation leaves a little less spread than the data has.
			if math.Abs(mean-data.Mean) > 0.02 || math.Abs(std-data.Std) > 0.02 {
				t.Errorf("mean %.4f and standard deviation %.4f; the data has %g and %g", mean, std, data.Mean, data.Std)
			}
		})
	}
}

// TestSamplerStopsOnError checks that a sampler returns its denoiser's error at once.
func TestSamplerStopsOnError(t *testing.T) {
	s := linearSchedule(t)
	levels := geometric(s, 10)
	for _, name := range diffusion.Methods() {
		method, _ := diffusion.MethodOf(name)
		calls := 0
		failing := func(context.Context, []float32, diffusion.Level) (diffusion.Estimate, error) {
			calls++
			return diffusion.Estimate{}, context.Canceled
		}
		err := method.Sample(t.Context(), failing, make([]float32, 4), diffusion.Run{Levels: levels})
		if err != context.Canceled || calls != 1 {
			t.Errorf("%s: error %v after %d calls", name, err, calls)
		}
	}
}

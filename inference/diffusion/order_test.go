package diffusion_test

import (
	"context"
	"math"
	"testing"

	"denoised/inference/diffusion"
)

var data = diffusion.Gaussian{Mean: 0.3, Std: 0.5}

func linearSchedule(t testing.TB) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func methodOf(t testing.TB, name string) diffusion.Method {
	t.Helper()
	_, method, ok := diffusion.MethodOf(name)
	if !ok {
		t.Fatalf("no sampler %s", name)
	}
	return method
}

// trailingGrid has the native schedule at trailing timesteps, and clean data at the end.
var trailingGrid = diffusion.Grid{Schedule: "native", Spacing: "trailing", OriginalSteps: 50, AlphaToOne: true}

// A course gives the level at a part of the way, from 0 to 1, and somewhat before it for the start of a multistep method.
// The courses here stop above zero: the last step to clean data is of first order for every method and would hide the
// slope.
type course func(s *diffusion.Schedule, part float64) diffusion.Level

// evenInLogarithm is what most methods are used on.
func evenInLogarithm(s *diffusion.Schedule, part float64) diffusion.Level {
	first, last := s.At(800).Ratio(), s.At(20).Ratio()
	return s.WithRatio(first * math.Pow(last/first, part))
}

// evenInSigma is what the weights of Adams and Bashforth assume.
func evenInSigma(s *diffusion.Schedule, part float64) diffusion.Level {
	return s.WithRatio(12 - 9*part)
}

func evenInTime(s *diffusion.Schedule, part float64) diffusion.Level {
	return s.Between(800 - 700*part)
}

// levelsOf lists the levels of a run of steps with some before it and one behind, since the last step of some methods is
// of first order by design.
func levelsOf(s *diffusion.Schedule, c course, steps, before int) (levels []diffusion.Level) {
	for i := -before; i <= steps+1; i++ {
		levels = append(levels, c(s, float64(i)/float64(steps)))
	}
	return levels
}

// TestOrderOfAccuracy runs each deterministic method on data whose probability-flow ODE has a known solution. Halving
// the step must divide the error of a method of order p by 2ᵖ: any wrong coefficient shows.
func TestOrderOfAccuracy(t *testing.T) {
	s := linearSchedule(t)
	for _, c := range []struct {
		name   string
		course course
		before int     // exact states that a multistep method is given before the first, so that its start's lower orders do not show
		std    float64 // of the data: smooth enough that the order shows before float32 ends the series
		steps  int     // of the coarser run
	}{
		{"ddim", evenInLogarithm, 0, 0.5, 40},
		{"euler", evenInLogarithm, 0, 0.5, 40},
		{"heun", evenInLogarithm, 0, 0.5, 20},
		{"dpm2", evenInLogarithm, 0, 0.5, 20},
		{"lms", evenInSigma, 3, 3, 16},
		{"pndm", evenInTime, 3, 0.5, 40},
		{"ipndm", evenInSigma, 3, 3, 16},
		{"deis", evenInLogarithm, 1, 0.5, 40},
		{"dpmpp_2m", evenInLogarithm, 1, 0.5, 40},
		{"unipc", evenInLogarithm, 1, 0.5, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, data := methodOf(t, c.name), diffusion.Gaussian{Mean: 0.3, Std: c.std}
			fault := func(steps int) float64 {
				levels := levelsOf(s, c.course, steps, c.before)
				const begin = 40 // far out, so that the error stands above float32's rounding
				exact := func(to diffusion.Level) float64 { return data.Flow(begin, levels[c.before], to) }
				calls := 0
				d := func(ctx context.Context, x []float32, at diffusion.Level) (diffusion.Estimate, error) {
					if calls++; calls <= c.before+1 {
						x[0] = float32(exact(at))
					}
					return data.Denoiser()(ctx, x, at)
				}
				x := []float32{float32(exact(levels[0]))}
				fault := 0.0
				run := diffusion.Run{Levels: levels, Schedule: s, Seen: func(step int, x []float32) {
					if end := levels[step+1]; step == c.before+steps-1 {
						fault = math.Abs(float64(x[0]) - exact(end))
					}
				}}
				if err := method.Sample(t.Context(), d, x, run); err != nil {
					t.Fatal(err)
				}
				return fault
			}
			order := math.Log2(fault(c.steps) / fault(2*c.steps))
			if math.Abs(order-float64(method.Order)) > 0.4 {
				t.Errorf("from %d to %d steps the error shrinks with order %.2f, not %d", c.steps, 2*c.steps, order, method.Order)
			}
		})
	}
}

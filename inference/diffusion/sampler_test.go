package diffusion_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"denoised/inference/diffusion"
)

// wavy is a network that predicts x̂₀, and is anything but linear.
func wavy(_ context.Context, x []float32, t float64) ([]float32, error) {
	x0 := make([]float32, len(x))
	for i, v := range x {
		x0[i] = float32(math.Sin(float64(v)+t/200) + 0.1*math.Cos(float64(v*v)))
	}
	return x0, nil
}

// TestDDIMIsEuler holds DDIM at η = 0 against Euler's method in σ-space.
func TestDDIMIsEuler(t *testing.T) {
	s := linearSchedule(t)
	levels, err := methodOf(t, "ddim").Levels(s, trailingGrid, 25)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2][]float32
	for i, sample := range []diffusion.Sampler{diffusion.DDIM, diffusion.Euler} {
		x := make([]float32, 64)
		diffusion.NewGenerator(7).Normal(x)
		d := diffusion.Prediction("sample", wavy)
		if err := sample(t.Context(), d, x, diffusion.Run{Levels: levels}); err != nil {
			t.Fatal(err)
		}
		ends[i] = x
	}
	if !near(ends[0], ends[1], 1e-4) {
		t.Errorf("DDIM %v, Euler %v", ends[0], ends[1])
	}
}

// TestSamplersResume stops single-step deterministic samplers midway. What they know is in the state alone, so going on
// from there is the whole run, bit for bit.
func TestSamplersResume(t *testing.T) {
	s := linearSchedule(t)
	for _, name := range []string{"ddim", "euler", "heun", "dpm2"} {
		method := methodOf(t, name)
		levels, err := method.Levels(s, trailingGrid, 12)
		if err != nil {
			t.Fatal(err)
		}
		walk := func(x []float32, levels []diffusion.Level) []float32 {
			x = slices.Clone(x)
			d := diffusion.Prediction("sample", wavy)
			if err := method.Sample(t.Context(), d, x, diffusion.Run{Levels: levels, Schedule: s}); err != nil {
				t.Fatal(err)
			}
			return x
		}
		x := make([]float32, 32)
		diffusion.NewGenerator(1).Normal(x)
		whole, resumed := walk(x, levels), walk(walk(x, levels[:6]), levels[5:])
		if !slices.Equal(whole, resumed) {
			t.Errorf("%s: resumed %v, whole %v", name, resumed[:4], whole[:4])
		}
	}
}

// TestSamplersCount checks that a run costs what its method says, reports each step, and stops at its denoiser's error.
func TestSamplersCount(t *testing.T) {
	s := linearSchedule(t)
	errBroken := errors.New("broken")
	for _, name := range diffusion.Methods() {
		method := methodOf(t, name)
		for _, steps := range []int{1, 2, 5, 17} {
			levels, err := method.Levels(s, trailingGrid, steps)
			if err != nil {
				t.Fatal(err)
			}
			walk := func(failAt int) (calls int, seen []int, err error) {
				d := func(ctx context.Context, x []float32, at diffusion.Level) (diffusion.Estimate, error) {
					if calls++; calls == failAt {
						return diffusion.Estimate{}, errBroken
					}
					return data.Denoiser()(ctx, x, at)
				}
				g := diffusion.NewGenerator(1)
				x := make([]float32, 4)
				g.Normal(x)
				run := diffusion.Run{Levels: levels, Schedule: s, Eta: method.DefaultEta, Noise: g.Normal,
					Seen: func(step int, _ []float32) { seen = append(seen, step) }}
				err = method.Sample(t.Context(), d, x, run)
				return calls, seen, err
			}
			calls, seen, err := walk(0)
			if err != nil || calls != method.Calls(steps) || len(seen) != steps || seen[steps-1] != steps-1 {
				t.Errorf("%s, %d steps: %d calls, want %d; saw steps %v; error %v", name, steps, calls, method.Calls(steps), seen, err)
			}
			for failAt := 1; failAt <= min(calls, 4); failAt++ {
				if calls, _, err := walk(failAt); err != errBroken || calls != failAt {
					t.Errorf("%s: failing call %d gave error %v after %d calls", name, failAt, err, calls)
				}
			}
		}
	}
}

// FuzzSamplersStayFinite runs any method for any allowed number of steps, from any seed and along any levels.
func FuzzSamplersStayFinite(f *testing.F) {
	names := diffusion.Methods()
	for i := range names {
		f.Add(uint8(i), uint16(1+7*i), uint32(i), uint8(i), uint8(i/2), false)
		f.Add(uint8(i), uint16(998+i), uint32(1<<31), uint8(i/3), uint8(i), true)
	}
	s := linearSchedule(f)
	f.Fuzz(func(t *testing.T, name uint8, steps uint16, seed uint32, schedule, spacing uint8, rough bool) {
		listed := names[int(name)%len(names)]
		method := methodOf(t, listed)
		grid := diffusion.Grid{
			Schedule: diffusion.Schedules[int(schedule)%len(diffusion.Schedules)],
			Spacing:  diffusion.Spacings[int(spacing)%len(diffusion.Spacings)], OriginalSteps: 50,
		}
		levels, err := method.Levels(s, grid, int(steps)%1002)
		if err != nil {
			return
		}
		if err := diffusion.CheckLevels(levels[:len(levels)-1]); err != nil {
			t.Fatalf("%s on %+v: %v", listed, grid, err)
		}
		d := data.Denoiser()
		if rough {
			d = diffusion.Clipped(diffusion.Prediction("sample", wavy), 1)
		}
		g := diffusion.NewGenerator(seed)
		x := make([]float32, 4)
		g.Normal(x)
		run := diffusion.Run{Levels: levels, Schedule: s, Eta: method.DefaultEta, Noise: g.Normal}
		if err := method.Sample(t.Context(), d, x, run); err != nil {
			t.Fatal(err)
		}
		for _, v := range x {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("%s on %+v with %d steps from seed %d ends at %v", listed, grid, len(levels)-1, seed, x)
			}
		}
	})
}

package diffusion_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
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

// FuzzSamplersResume stops single-step deterministic samplers anywhere. What they know is in the state alone, so going on
// from there is the whole run, bit for bit.
func FuzzSamplersResume(f *testing.F) {
	names, s := []string{"ddim", "euler", "heun", "dpm2"}, linearSchedule(f)
	for i := range names {
		for _, steps := range []uint16{2, 12, 61} {
			f.Add(uint8(i), steps, steps/3, uint32(i))
		}
	}
	f.Fuzz(func(t *testing.T, name uint8, steps, cut uint16, seed uint32) {
		listed, count := names[int(name)%len(names)], 2+int(steps)%200
		method, at := methodOf(t, listed), 1+int(cut)%(count-1)
		levels, err := method.Levels(s, trailingGrid, count)
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
		diffusion.NewGenerator(seed).Normal(x)
		whole, resumed := walk(x, levels), walk(walk(x, levels[:at+1]), levels[at:])
		if !slices.Equal(whole, resumed) {
			t.Errorf("%s, resumed after %d of %d steps: %v, whole %v", listed, at, count, resumed[:4], whole[:4])
		}
	})
}

// FuzzTimestepsInOrder lists timesteps that fall, which every method with a free grid takes, and then exchanges or repeats
// two of them, which none does.
func FuzzTimestepsInOrder(f *testing.F) {
	s := linearSchedule(f)
	for i := range uint8(4) {
		f.Add(i, 3*i, uint32(i), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, length, place uint8, seed uint32, repeat bool) {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		list := random.Perm(s.Len())[:2+int(length)%60]
		slices.SortFunc(list, func(a, b int) int { return b - a })
		grid := trailingGrid
		for _, at := range list {
			grid.Timesteps = append(grid.Timesteps, float64(at))
		}
		i := int(place) % (len(list) - 1)
		for _, name := range []string{"ddim", "euler", "dpmpp_2m", "dpmpp_sde"} {
			if _, err := methodOf(t, name).Levels(s, grid, len(list)); err != nil {
				t.Fatalf("%s refuses %v: %v", name, list, err)
			}
		}
		if repeat {
			grid.Timesteps[i+1] = grid.Timesteps[i]
		} else {
			grid.Timesteps[i], grid.Timesteps[i+1] = grid.Timesteps[i+1], grid.Timesteps[i]
		}
		for _, name := range diffusion.Methods() {
			if _, err := methodOf(t, name).Levels(s, grid, len(list)); err == nil {
				t.Errorf("%s takes %v", name, grid.Timesteps)
			}
		}
	})
}

// callsOf is how often a run that ends at clean data evaluates the network.
func callsOf(name string, method diffusion.Method, steps int) int {
	switch {
	case method.Evaluations == 2:
		return 2*steps - 1
	case name == "pndm" && steps > 1:
		return steps + 1
	}
	return steps
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
			if err != nil || calls != callsOf(name, method, steps) || len(seen) != steps || seen[steps-1] != steps-1 {
				t.Errorf("%s, %d steps: %d calls, want %d; saw steps %v; error %v", name, steps, calls, callsOf(name, method, steps), seen, err)
			}
			for failAt := 1; failAt <= min(calls, 4); failAt++ {
				if calls, _, err := walk(failAt); err != errBroken || calls != failAt {
					t.Errorf("%s: failing call %d gave error %v after %d calls", name, failAt, err, calls)
				}
			}
		}
	}
}

// schedules are those of the fuzz test: with and without a level of ᾱ = 0, short and long.
func schedules(t testing.TB) []*diffusion.Schedule {
	var list []*diffusion.Schedule
	for _, b := range []struct {
		train int
		betas diffusion.Betas
	}{
		{1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02}},
		{1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02, ZeroSNR: true}},
		{1000, diffusion.Betas{Name: "squaredcos_cap_v2"}},
		{40, diffusion.Betas{Name: "linear", Start: 3e-4, End: 0.3}},
		{2, diffusion.Betas{Trained: []float64{0.1, 0.9}}},
		{3, diffusion.Betas{Trained: []float64{0.1, 0.2, 0.9}, ZeroSNR: true}},
	} {
		s, err := diffusion.NewSchedule(b.train, b.betas)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// FuzzSamplersStayFinite runs any method for any allowed number of steps, from any seed and along any levels: those of a
// grid, those between a picture's noise and the schedule's least, or a few picked by the seed.
func FuzzSamplersStayFinite(f *testing.F) {
	names, all := diffusion.Methods(), schedules(f)
	for i := range names {
		for kind := range uint8(3) {
			for s := range all {
				f.Add(uint8(i), uint16(1+7*i+s), uint32(i+s), uint8(i+s), uint8(i/2), uint8(s), kind, s%2 == 0)
			}
		}
		f.Add(uint8(i), uint16(998+i), uint32(1<<31), uint8(i/3), uint8(i), uint8(i), uint8(0), true)
	}
	f.Fuzz(func(t *testing.T, name uint8, steps uint16, seed uint32, schedule, spacing, betas, kind uint8, first bool) {
		listed := names[int(name)%len(names)]
		method, s := methodOf(t, listed), all[int(betas)%len(all)]
		grid := diffusion.Grid{
			Schedule: diffusion.Schedules[int(schedule)%len(diffusion.Schedules)], OriginalSteps: min(50, s.Len()),
			Spacing: diffusion.Spacings[int(spacing)%len(diffusion.Spacings)], AlphaToOne: first, SigmaMin: !first,
		}
		count := int(steps) % 1002
		if grid.Spacing == "leading" {
			grid.Offset = min(int(seed%3), s.Len()-1)
		}
		g := diffusion.NewGenerator(seed)
		var levels []diffusion.Level
		var err error
		switch kind % 3 {
		case 0:
			if levels, err = method.Levels(s, grid, count); err != nil && count > 0 && count <= method.Fit(s, grid, count) && !method.FixedGrid {
				t.Fatalf("%s refuses %d steps on %+v: %v", listed, count, grid, err)
			}
		case 1:
			if method.FixedGrid {
				return
			}
			// From the least noise there is to a thousand times as much.
			levels = s.Finite().Geometric(s.At(0).Ratio()*math.Pow(1000, float64(seed)/math.MaxUint32), max(count, 1))
		case 2:
			for at := s.Len() - 1 - int(seed)%s.Len(); at >= 0 && len(grid.Timesteps) < 9; at -= 1 + count%97 {
				grid.Timesteps = append(grid.Timesteps, float64(at))
			}
			levels, err = method.Levels(s, grid, len(grid.Timesteps))
		}
		if err != nil {
			return
		}
		x := make([]float32, 4)
		g.Normal(x)
		run := diffusion.Run{Levels: levels, Schedule: s.Finite(), Noise: g.Normal}
		if method.Eta {
			run.Eta = float64(seed%5) / 4
		}
		if err := method.Sample(t.Context(), diffusion.Prediction("sample", wavy), x, run); err != nil {
			t.Fatal(err)
		}
		// A second-order step from pure noise to data may overshoot by the noise's own size, and by no more.
		most := 100 * (100 + min(levels[0].Ratio(), s.Finite().At(s.Len()-1).Ratio()))
		for _, v := range x {
			if !(math.Abs(float64(v)) < most) {
				t.Fatalf("%s on %+v along %d levels from %+v to %+v and %+v ends at %v", listed, grid, len(levels)-1,
					levels[0], levels[max(len(levels)-2, 0)], levels[len(levels)-1], x)
			}
		}
	})
}

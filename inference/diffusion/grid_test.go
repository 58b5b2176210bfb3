package diffusion_test

import (
	"math"
	"testing"

	"denoised/inference/diffusion"
)

func TestGridRefuses(t *testing.T) {
	s := linearSchedule(t)
	native := func(spacing string, offset int) diffusion.Grid {
		return diffusion.Grid{Schedule: "native", Spacing: spacing, Offset: offset, OriginalSteps: 50}
	}
	given := func(timesteps ...float64) diffusion.Grid {
		return diffusion.Grid{Timesteps: timesteps, OriginalSteps: 2}
	}
	for _, c := range []struct {
		method string
		grid   diffusion.Grid
		steps  int
		want   string
	}{
		{"ddpm", native("trailing", 0), 0, "0 do not fit into the schedule; allowed: 1 to 1000"},
		{"ddpm", native("trailing", 0), 1001, "1001 do not fit into the schedule; allowed: 1 to 1000"},
		{"ddpm", native("leading", 1), 1000, "1000 do not fit into the schedule with steps_offset 1; the next lower number that does is 999"},
		{"ddpm", native("leading", 100), 10, "10 do not fit into the schedule with steps_offset 100; the next lower number that does is 9"},
		{"ddpm", native("leading", 999), 2, "2 do not fit into the schedule with steps_offset 999; the next lower number that does is 1"},
		{"dpmpp_2m", native("linspace", 0), 1000, "1000 do not fit into the schedule; allowed: 1 to 999"},
		{"lcm", native("trailing", 0), 51, "51 do not fit into the schedule; allowed: 1 to 50"},
		{"tcd", native("trailing", 0), 51, "51 do not fit into the schedule; allowed: 1 to 50"},
		{"euler", given(900, 950), 2, "have 950 after 900; each must be smaller than the one before"},
		{"euler", given(900, 900), 2, "have 900 after 900; each must be smaller than the one before"},
		{"euler", given(1000, 10), 2, "have 1000; allowed: 0 to 999"},
		{"euler", given(math.NaN()), 1, "have NaN; allowed: 0 to 999"},
		{"ddim", given(900, 10.5), 2, "have 10.5; the sampler takes whole ones"},
		{"lcm", given(900, 500, 10), 3, "are 3; allowed: at most 2, the steps of the distillation"},
		{"pndm", given(900, 10), 2, "cannot be chosen: the sampler's coefficients hold for evenly spaced ones"},
		{"pndm", diffusion.Grid{Schedule: "karras", Spacing: "trailing"}, 5,
			"karras goes with samplers that can visit any level; allowed here: native"},
	} {
		if _, err := methodOf(t, c.method).Levels(s, c.grid, c.steps); err == nil || err.Error() != c.want {
			t.Errorf("%s on %+v with %d steps: %v, want %s", c.method, c.grid, c.steps, err, c.want)
		}
	}
}

// TestTrailingHasNoTimestepTooMany counts the timesteps where numpy.arange, and diffusers with it, has one more: −1.
func TestTrailingHasNoTimestepTooMany(t *testing.T) {
	s := linearSchedule(t)
	for _, steps := range []int{61, 103, 121, 122, 201} {
		levels, err := methodOf(t, "ddpm").Levels(s, trailingGrid, steps)
		if err != nil || len(levels) != steps+1 || levels[steps-1].T < 0 {
			t.Errorf("%d steps: %d levels, %v", steps, len(levels), err)
		}
	}
}

// TestZeroSNRLevels runs every method to where no data is left: those in σ-space begin at a level that stands for it and
// has more noise than the next.
func TestZeroSNRLevels(t *testing.T) {
	s, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02, ZeroSNR: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range diffusion.Methods() {
		method := methodOf(t, name)
		for _, schedule := range diffusion.Schedules {
			for _, steps := range []int{1, 2, 10, 50, 500, 999} {
				grid := trailingGrid
				grid.Schedule = schedule
				if schedule != "native" && method.FixedGrid || method.Distilled() && steps > 50 {
					continue
				}
				levels, err := method.Levels(s, grid, steps)
				if err != nil {
					t.Errorf("%s, %s, %d steps: %v", name, schedule, steps, err)
					continue
				}
				if first := levels[0]; first.T < 990 || first.Alpha > 1./4096+1e-12 || (first.Alpha == 0) != (method.Dataless && schedule == "native") {
					t.Errorf("%s, %s, %d steps begin at %+v", name, schedule, steps, first)
				}
			}
		}
	}
}

func TestCheckLevels(t *testing.T) {
	s := linearSchedule(t)
	for _, c := range []struct {
		levels []diffusion.Level
		ok     bool
	}{
		{[]diffusion.Level{s.At(900), s.At(10), diffusion.Clean}, true},
		{[]diffusion.Level{s.At(900), s.At(900)}, false},
		{[]diffusion.Level{s.At(10), s.At(900), diffusion.Clean}, false},
		{[]diffusion.Level{s.At(900), {T: 5, Alpha: math.NaN(), Sigma: 1}}, false},
		{[]diffusion.Level{{T: 5, Alpha: 0, Sigma: 0}}, false},
	} {
		if err := diffusion.CheckLevels(c.levels); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.levels, err)
		}
	}
}

// TestGridEnds checks which level a run ends at, by method and by what the model's scheduler says.
func TestGridEnds(t *testing.T) {
	s := linearSchedule(t)
	for _, c := range []struct {
		methods []string
		grid    diffusion.Grid
		want    diffusion.Level
	}{
		{[]string{"ddim", "pndm"}, diffusion.Grid{AlphaToOne: true, SigmaMin: true}, diffusion.Clean},
		{[]string{"ddim", "pndm"}, diffusion.Grid{}, s.At(0)},
		{[]string{"euler", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}, diffusion.Grid{}, diffusion.Clean},
		{[]string{"euler", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}, diffusion.Grid{SigmaMin: true}, s.At(0)},
		{[]string{"deis", "tcd"}, diffusion.Grid{AlphaToOne: true}, s.At(0)},
		{[]string{"ddpm", "heun", "lms", "lcm"}, diffusion.Grid{SigmaMin: true}, diffusion.Clean},
	} {
		c.grid.Schedule, c.grid.Spacing, c.grid.OriginalSteps = "native", "trailing", 50
		for _, name := range c.methods {
			levels, err := methodOf(t, name).Levels(s, c.grid, 4)
			if err != nil {
				t.Fatal(err)
			}
			if end := levels[4]; end != c.want {
				t.Errorf("%s with %+v ends at %+v", name, c.grid, end)
			}
		}
	}
}

// TestDEISEndsOnce has DEIS end a σ schedule at the smallest noise without visiting it: diffusers steps there twice.
func TestDEISEndsOnce(t *testing.T) {
	s := linearSchedule(t)
	for _, schedule := range []string{"karras", "exponential", "beta"} {
		levels, err := methodOf(t, "deis").Levels(s, diffusion.Grid{Schedule: schedule, Spacing: "linspace"}, 7)
		if err != nil {
			t.Fatal(err)
		}
		first, last := levels[0].Ratio()/s.At(999).Ratio(), levels[len(levels)-1].Ratio()/s.At(0).Ratio()
		if len(levels) != 8 || math.Abs(first-1) > 1e-9 || math.Abs(last-1) > 1e-9 {
			t.Errorf("%s: %d levels from %g to %g times the schedule's ends", schedule, len(levels), first, last)
		}
	}
}

// TestMethodsAreNamedOnce finds every method by its name and by each alias, and no name twice.
func TestMethodsAreNamedOnce(t *testing.T) {
	owner := map[string]string{}
	for _, name := range diffusion.Methods() {
		for _, known := range append([]string{name}, methodOf(t, name).Aliases...) {
			if other, taken := owner[known]; taken {
				t.Errorf("%s is both %s and %s", known, other, name)
			}
			owner[known] = name
			if listed, _, ok := diffusion.MethodOf(known); !ok || listed != name {
				t.Errorf("%s is found as %q", known, listed)
			}
		}
	}
	if _, _, ok := diffusion.MethodOf("euler-a"); ok {
		t.Error("euler-a is found")
	}
}

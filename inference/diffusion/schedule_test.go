package diffusion_test

import (
	"math"
	"strings"
	"testing"

	"denoised/inference/diffusion"
)

func TestScheduleRefusesUnknownName(t *testing.T) {
	if _, err := diffusion.NewSchedule("sigmoid", 1000, 1e-4, 0.02); err == nil || err.Error() != `no beta schedule is called "sigmoid"` {
		t.Errorf("error %v", err)
	}
}

func TestScheduleRefusesWhatCannotBeSampled(t *testing.T) {
	for _, c := range []struct {
		name       string
		train      int
		start, end float64
		want       string
	}{
		{"linear", 20000, 1e-4, 0.02, "the linear schedule over 20000 timesteps has ᾱ = 8.5"},
		{"linear", 1000, 1e-9, 0.02, "the linear schedule over 1000 timesteps has ᾱ = 1 at timestep 0: "},
	} {
		if _, err := diffusion.NewSchedule(c.name, c.train, c.start, c.end); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

func TestLevelsBetween(t *testing.T) {
	s := linearSchedule(t)
	middle := s.Between(500.5)
	if want := (s.At(500).Ratio() + s.At(501).Ratio()) / 2; math.Abs(middle.Ratio()-want) > 1e-12 {
		t.Errorf("σ̃(500.5) is %g, want %g", middle.Ratio(), want)
	}
	if variance := middle.Alpha*middle.Alpha + middle.Sigma*middle.Sigma; math.Abs(variance-1) > 1e-12 {
		t.Errorf("α²+σ² is %g", variance)
	}
	for _, c := range []struct{ t, want float64 }{{-3, 0}, {0, 0}, {999, 999}, {2000, 999}} {
		if got := s.Between(c.t); got != s.At(int(c.want)) {
			t.Errorf("Between(%g) is at %g, want %g", c.t, got.T, c.want)
		}
	}
}

// TestWithRatio checks that the level found for a noise has that noise, wherever the schedule reaches.
func TestWithRatio(t *testing.T) {
	s := linearSchedule(t)
	for _, ratio := range []float64{0.011, 0.1, 0.39, 1, 10, 150} {
		at := s.WithRatio(ratio)
		if math.Abs(at.Ratio()/ratio-1) > 1e-12 {
			t.Errorf("σ̃ = %g: the level has %g", ratio, at.Ratio())
		}
		below, above := s.At(int(at.T)).Ratio(), s.At(int(at.T)+1).Ratio()
		if ratio < below || ratio > above {
			t.Errorf("σ̃ = %g: timestep %g lies between %g and %g", ratio, at.T, below, above)
		}
	}
	if got := s.WithRatio(1e-6); got != s.At(0) {
		t.Errorf("less noise than the schedule has is at %v", got)
	}
	if got := s.WithRatio(1e6); got != s.At(999) {
		t.Errorf("more noise than the schedule has is at %v", got)
	}
}

func TestGeometric(t *testing.T) {
	s := linearSchedule(t)
	smallest := s.At(0).Ratio()
	for _, c := range []struct {
		name  string
		ratio float64
		steps int
		want  []float64
	}{
		{"one step goes straight to clean data", 0.4, 1, []float64{0.4, 0}},
		{"two end at the smallest level", 0.4, 2, []float64{0.4, smallest, 0}},
		{"three are even in the logarithm", 0.4, 3, []float64{0.4, math.Sqrt(0.4 * smallest), smallest, 0}},
		{"noise below the smallest level is the smallest", smallest / 10, 5, []float64{smallest, 0}},
	} {
		levels := s.Geometric(c.ratio, c.steps)
		if len(levels) != len(c.want) {
			t.Errorf("%s: %d levels, want %d", c.name, len(levels), len(c.want))
			continue
		}
		for i, l := range levels {
			if math.Abs(l.Ratio()-c.want[i]) > 1e-9 {
				t.Errorf("%s: level %d has σ̃ = %g, want %g", c.name, i, l.Ratio(), c.want[i])
			}
		}
	}
}

func TestSpacingRefuses(t *testing.T) {
	s := linearSchedule(t)
	for _, c := range []struct {
		spacing diffusion.Spacing
		steps   int
		want    string
	}{
		{diffusion.Spacing{Name: "trailing"}, 0, "0 steps do not fit: the schedule has 1 to 1000"},
		{diffusion.Spacing{Name: "trailing"}, 1001, "1001 steps do not fit: the schedule has 1 to 1000"},
		{diffusion.Spacing{Name: "leading", Offset: 1}, 1000,
			"1000 steps do not fit: with steps_offset 1 they begin at timestep 1000, behind the last, 999"},
		{diffusion.Spacing{Name: "random"}, 10, `no timestep spacing is called "random"`},
	} {
		if _, err := c.spacing.Levels(s, c.steps, true); err == nil || err.Error() != c.want {
			t.Errorf("%+v with %d steps: %v", c.spacing, c.steps, err)
		}
	}
}

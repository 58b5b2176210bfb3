package diffusion_test

import (
	"math"
	"strings"
	"testing"

	"denoised/inference/diffusion"
)

func TestScheduleRefuses(t *testing.T) {
	for _, c := range []struct {
		train int
		betas diffusion.Betas
		want  string
	}{
		{1000, diffusion.Betas{Name: "laplace"}, `no beta schedule is called "laplace"`},
		{3, diffusion.Betas{Trained: []float64{0.1, 0.2}}, "2 trained β do not make a schedule of 3 timesteps"},
		{20000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02}, "the linear schedule over 20000 timesteps has ᾱ = 8.5"},
		{1000, diffusion.Betas{Name: "linear", Start: 1e-9, End: 0.02}, "the linear schedule over 1000 timesteps has ᾱ = 1 at timestep 0: "},
	} {
		if _, err := diffusion.NewSchedule(c.train, c.betas); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

// TestZeroSNR ends at a level without data, which methods in σ-space see as one with very little.
func TestZeroSNR(t *testing.T) {
	s, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02, ZeroSNR: true})
	if err != nil {
		t.Fatal(err)
	}
	if last := s.At(999); last.Alpha != 0 || last.Sigma != 1 {
		t.Errorf("the last level is %+v", last)
	}
	if last := s.Finite().At(999); last.Alpha != 1./4096 || s.Finite().At(998) != s.At(998) {
		t.Errorf("the last finite level is %+v", last)
	}
	if first, plain := s.At(0), linearSchedule(t).At(0); math.Abs(first.Alpha-plain.Alpha) > 1e-6 {
		t.Errorf("the first level has α = %g, want %g", first.Alpha, plain.Alpha)
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

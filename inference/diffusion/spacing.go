package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// Spacing chooses which of a schedule's timesteps a sampler visits (Lin et al. 2024, table 2).
type Spacing struct {
	Name   string // leading, trailing or linspace
	Offset int    // added to every leading timestep; diffusers calls it steps_offset
	// Final is the level after the last step. diffusers has Clean here, or the first trained level where a DDIM
	// scheduler's set_alpha_to_one is false.
	Final Level
}

// Levels lists the levels of a run of steps evaluations from the noisiest down, with Final behind them. Where whole is
// true timesteps are rounded to trained ones; otherwise linspace keeps its fractions, as Euler's method can. The error
// says what the schedule has room for.
func (p Spacing) Levels(s *Schedule, steps int, whole bool) ([]Level, error) {
	if steps < 1 || steps > s.Len() {
		return nil, fmt.Errorf("%d steps do not fit: the schedule has 1 to %d", steps, s.Len())
	}
	var timesteps []float64
	switch p.Name {
	case "leading":
		timesteps = leading(s.Len(), steps, p.Offset)
		if timesteps[0] > float64(s.Len()-1) {
			return nil, fmt.Errorf("%d steps do not fit: with steps_offset %d they begin at timestep %.0f, behind the last, %d",
				steps, p.Offset, timesteps[0], s.Len()-1)
		}
	case "trailing":
		timesteps = trailing(s.Len(), steps)
	case "linspace":
		timesteps = evenly(s.Len(), steps, whole)
	default:
		return nil, fmt.Errorf("no timestep spacing is called %q", p.Name)
	}
	levels := make([]Level, 0, steps+1)
	for _, t := range timesteps {
		levels = append(levels, s.Between(t))
	}
	return append(levels, p.Final), nil
}

// leading takes every (T÷steps)-th timestep counted from 0, so the noisiest levels may never be visited.
func leading(train, steps, offset int) []float64 {
	timesteps := make([]float64, steps)
	for i := range timesteps {
		timesteps[i] = float64((steps-1-i)*(train/steps) + offset)
	}
	return timesteps
}

// trailing takes every (T/steps)-th timestep counted down from T−1. The increment is computed as numpy.arange computes
// it, so that halves round to the side they round to in diffusers.
func trailing(train, steps int) []float64 {
	last := float64(train)
	increment := (last - last/float64(steps)) - last
	timesteps := make([]float64, steps)
	for i := range timesteps {
		timesteps[i] = math.RoundToEven(last+float64(float64(i)*increment)) - 1
	}
	return timesteps
}

// evenly spreads the timesteps over the whole schedule, both ends included; a single one is at timestep 0.
func evenly(train, steps int, whole bool) []float64 {
	timesteps := make([]float64, steps)
	if steps == 1 {
		return timesteps
	}
	increment := float64(train-1) / float64(steps-1)
	for i := range timesteps {
		t := float64(float64(i) * increment)
		if whole {
			t = math.RoundToEven(t)
		}
		timesteps[i] = float64(float32(t))
	}
	timesteps[steps-1] = float64(train - 1)
	slices.Reverse(timesteps)
	return timesteps
}

package diffusion

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Schedules lists the σ schedules that a [Grid] can have. With native a run visits timesteps of the training; the others
// choose σ̃ between the noisiest and the cleanest level and look the timesteps up.
var Schedules = []string{"native", "karras", "exponential", "beta"}

// Spacings lists the ways of choosing timesteps (Lin et al. 2024, table 2).
var Spacings = []string{"leading", "trailing", "linspace"}

// Grid chooses the levels that a run visits.
type Grid struct {
	Schedule      string    // one of [Schedules]
	Spacing       string    // one of [Spacings]
	Offset        int       // added to every leading timestep; diffusers calls it steps_offset
	Timesteps     []float64 // nil, or the timesteps themselves, decreasing; Schedule, Spacing and Offset then have no say
	OriginalSteps int       // that a distilled model was trained with: LCM and TCD choose among these
	AlphaToOne    bool      // DDIM and PNDM end at clean data, else at the first trained level
	SigmaMin      bool      // methods with diffusers' final_sigmas_type end at the first trained level, else at clean data
}

// A visit is the way in which a family of methods chooses its timesteps, as its classes in diffusers do.
type visit int

const (
	trained   visit = iota // trained timesteps: DDPM, DDIM, PNDM
	fractions              // any timestep: Euler and the others that work in σ-space
	lessLast               // one trained timestep more than there are steps, less the last: DPM-Solver, DEIS, UniPC
	distilled              // some of the timesteps that a distillation was trained on: LCM, TCD
)

// An ending is the rule for the level after the last step.
type ending int

const (
	endClean ending = iota
	endByAlpha
	endBySigma
	endFirst // the first trained level
)

// Levels lists the levels of a run of steps evaluations from the noisiest down, and behind them the one that the run
// ends at. The error says what there is room for.
func (m Method) Levels(s *Schedule, g Grid, steps int) ([]Level, error) {
	s = m.schedule(s)
	timesteps, err := m.timesteps(s.Len(), g, steps)
	if err != nil {
		return nil, err
	}
	levels := make([]Level, 0, len(timesteps)+1)
	for _, t := range timesteps {
		levels = append(levels, s.Between(t))
	}
	if len(levels) > 1 && levels[0].Ratio() <= levels[1].Ratio() {
		// The level that stands for ᾱ = 0 has more data than its neighbours, and diffusers would step up in noise.
		levels[0] = fromRatio(levels[0].T, 2*levels[1].Ratio())
	}
	if g.Timesteps == nil && g.Schedule != "native" {
		if levels, err = m.reschedule(s, g.Schedule, levels); err != nil {
			return nil, err
		}
		if m.ends == endFirst {
			// diffusers repeats the last level here and spends an evaluation on a step of no length.
			return levels, CheckLevels(levels)
		}
	}
	return append(levels, m.final(s, g, levels[len(levels)-1])), CheckLevels(levels)
}

// final is the level that a run ends at whose last step begins at the level last.
func (m Method) final(s *Schedule, g Grid, last Level) Level {
	if m.ends == endFirst || m.ends == endByAlpha && !g.AlphaToOne || m.ends == endBySigma && g.SigmaMin {
		if first := s.At(0); first.Ratio() < last.Ratio()*(1-1e-6) {
			return first
		}
		return last // it is there already: diffusers' last step is then one of no length
	}
	return Clean
}

// schedule is the one that the method can work with.
func (m Method) schedule(s *Schedule) *Schedule {
	if m.Dataless {
		return s
	}
	return s.Finite()
}

// CheckLevels refuses a list of levels whose noise does not fall from each to the next, or is no number.
func CheckLevels(levels []Level) error {
	for i, l := range levels {
		if math.IsNaN(l.Ratio()) {
			return fmt.Errorf("level %d has α = %g and σ = %g", i+1, l.Alpha, l.Sigma)
		}
		if i > 0 && !(l.Ratio() < levels[i-1].Ratio()) {
			return fmt.Errorf("the noise must fall at every step, but level %d has σ/α = %.6g after %.6g",
				i+1, l.Ratio(), levels[i-1].Ratio())
		}
	}
	return nil
}

// timesteps are those that a run of the native schedule visits.
func (m Method) timesteps(train int, g Grid, steps int) ([]float64, error) {
	if g.Timesteps != nil {
		return g.Timesteps, m.checkTimesteps(train, g)
	}
	list := m.choose(train, g, steps)
	if fit(list, train) {
		return list, nil
	}
	below := steps - 1
	if steps < 1 || steps > train {
		below = train
	}
	switch most := m.fitting(train, g, below); {
	case most > 0 && (g.Spacing != "leading" || g.Offset == 0):
		return nil, fmt.Errorf("%d do not fit into the schedule; allowed: 1 to %d", steps, most)
	case most > 0: // with an offset some numbers below fit and some do not
		return nil, fmt.Errorf("%d do not fit into the schedule with steps_offset %d; the next lower number that does is %d",
			steps, g.Offset, most)
	}
	return nil, fmt.Errorf("%d do not fit into a schedule of %d timesteps with steps_offset %d", steps, train, g.Offset)
}

// Fit is the largest number of steps, at most the given one, that a grid of the schedule has room for; 0 if none.
func (m Method) Fit(s *Schedule, g Grid, steps int) int {
	if m.visits == fractions && fit(m.choose(s.Len(), g, steps), s.Len()) {
		return steps
	}
	return m.fitting(s.Len(), g, min(steps, s.Len()))
}

func (m Method) fitting(train int, g Grid, most int) int {
	for ; most > 0; most-- {
		if fit(m.choose(train, g, most), train) {
			break
		}
	}
	return most
}

func (m Method) checkTimesteps(train int, g Grid) error {
	if m.visits == distilled && len(g.Timesteps) > g.OriginalSteps {
		return fmt.Errorf("are %d; allowed: at most %d, the steps of the distillation", len(g.Timesteps), g.OriginalSteps)
	}
	for i, t := range g.Timesteps {
		switch {
		case !(t >= 0 && t <= float64(train-1)):
			return fmt.Errorf("have %g; allowed: 0 to %d", t, train-1)
		case i > 0 && t >= g.Timesteps[i-1]:
			return fmt.Errorf("have %g after %g; each must be smaller than the one before", t, g.Timesteps[i-1])
		case m.visits != fractions && t != math.Trunc(t):
			return fmt.Errorf("have %g; the sampler takes whole ones", t)
		}
	}
	if m.FixedGrid && m.visits != distilled {
		return errors.New("cannot be chosen: the sampler's coefficients hold for evenly spaced ones")
	}
	return nil
}

// choose gives an empty list where there is nothing to choose from.
func (m Method) choose(train int, g Grid, steps int) []float64 {
	points := steps
	if m.visits == lessLast {
		points++
	}
	switch {
	case steps < 1:
		return nil
	case m.visits == distilled:
		return ofDistillation(train, g.OriginalSteps, steps)
	case g.Spacing == "trailing":
		return trailing(train, steps)
	case g.Spacing == "leading":
		return leading(train, points, g.Offset)[:steps]
	default:
		return evenly(train, points, m.visits != fractions)[:steps]
	}
}

// fit says whether timesteps are trained ones and fall from each to the next.
func fit(timesteps []float64, train int) bool {
	if len(timesteps) == 0 || timesteps[0] > float64(train-1) {
		return false
	}
	for i := 1; i < len(timesteps); i++ {
		if timesteps[i] >= timesteps[i-1] {
			return false
		}
	}
	return true
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
// it, so that halves round to the side they round to in diffusers. For some step counts, 61 of 1000 the first of them,
// rounding makes arange one longer there, and diffusers visits a timestep of −1 at the end; this never does.
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

// ofDistillation chooses evenly among the original timesteps (T÷original)·k − 1, from the last one down.
func ofDistillation(train, original, steps int) []float64 {
	if steps > original {
		return nil
	}
	timesteps := make([]float64, steps)
	for i := range timesteps {
		index := int(math.Floor(float64(i) * (float64(original) / float64(steps))))
		timesteps[i] = float64((original-index)*(train/original) - 1)
	}
	return timesteps
}

// reschedule replaces the levels of a native run by as many that a σ schedule chooses. Like its class in diffusers, a
// method that visits fractions keeps to the ends of its native run, and another uses the whole of the training's.
func (m Method) reschedule(s *Schedule, name string, native []Level) ([]Level, error) {
	if m.FixedGrid {
		return nil, fmt.Errorf("%s goes with samplers that can visit any level; allowed here: native", name)
	}
	s = s.Finite()
	high, low := native[0].Ratio(), native[len(native)-1].Ratio()
	if m.visits != fractions {
		high, low = s.At(s.Len()-1).Ratio(), s.At(0).Ratio()
	}
	points := len(native)
	if m.ends == endFirst {
		points++
	}
	levels := make([]Level, points)
	for i := range levels {
		u := 0.0
		if points > 1 {
			u = float64(i) / float64(points-1)
		}
		levels[i] = s.labelled(scheduleRatio(name, high, low, u))
		levels[i].T = m.tabled(name, levels[i].T)
	}
	return levels, nil
}

// scheduleRatio is σ̃ at the part u of a σ schedule from high (u = 0) to low (u = 1).
func scheduleRatio(name string, high, low, u float64) float64 {
	switch name {
	case "karras": // Karras et al. 2022, eq. 5, with their ρ = 7
		const rho = 7
		from, to := math.Pow(high, 1.0/rho), math.Pow(low, 1.0/rho)
		return math.Pow(from+u*(to-from), rho)
	case "exponential":
		return math.Exp(math.Log(high) + u*(math.Log(low)-math.Log(high)))
	default: // beta: Lee et al. 2024, the quantiles of Beta(0.6, 0.6)
		return low + mathext.InvRegIncBeta(0.6, 0.6, 1-u)*(high-low)
	}
}

// tabled is the timestep that the network is told for a level of a σ schedule. The classes in diffusers that take trained
// timesteps round karras' and cut the others'; the network sees what it sees there.
func (m Method) tabled(schedule string, t float64) float64 {
	switch {
	case schedule == "karras" && (m.visits == lessLast || m.roundsKarras):
		return math.RoundToEven(t)
	case m.visits == lessLast:
		return math.Trunc(t)
	}
	return t
}

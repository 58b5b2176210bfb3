package diffusion

import (
	"fmt"
	"math"
	"sort"
)

// Level is one point of a schedule: at timestep T the state is x = Alpha·x₀ + Sigma·ε.
type Level struct {
	T     float64 // training timestep, 0 the least noisy; a fraction lies between two trained ones
	Alpha float64 // √ᾱ, in (0, 1]
	Sigma float64 // √(1−ᾱ), in [0, 1)
}

// Clean is the level of data: no noise is left. No network is ever evaluated there.
var Clean = Level{T: 0, Alpha: 1, Sigma: 0}

// Ratio is σ̃ = σ/α, the standard deviation of the noise when the data keeps its own scale.
func (l Level) Ratio() float64 { return l.Sigma / l.Alpha }

// Schedule is ᾱ over the training timesteps, decreasing.
//
// Its values are those of diffusers, which computes in float32: networks were trained with exactly these, and a
// schedule in higher precision would draw measurably different pictures.
type Schedule struct {
	alphaBar []float64
	logRatio []float64 // ln σ̃, increasing
}

// NewSchedule computes ᾱ_t = Π(1−β_s) over s ≤ t for train timesteps. The names of β's course over time are those of
// diffusers: linear (Ho et al. 2020), scaled_linear (linear in √β, Rombach et al. 2022) and squaredcos_cap_v2 (Nichol
// & Dhariwal 2021), which ignores start and end. The error says where a schedule leaves the numbers that a network can be
// evaluated at.
func NewSchedule(name string, train int, start, end float64) (*Schedule, error) {
	var betas []float32
	switch name {
	case "linear":
		betas = linspace(start, end, train)
	case "scaled_linear":
		betas = linspace(math.Sqrt(start), math.Sqrt(end), train)
		for i, root := range betas {
			betas[i] = root * root
		}
	case "squaredcos_cap_v2":
		betas = cosine(train)
	default:
		return nil, fmt.Errorf("no beta schedule is called %q", name)
	}
	s := &Schedule{alphaBar: make([]float64, train), logRatio: make([]float64, train)}
	product := 1.0
	for t, beta := range betas {
		product *= float64(1 - beta)
		s.alphaBar[t] = float64(float32(product))
		if !(s.alphaBar[t] > 0 && s.alphaBar[t] < 1) || t > 0 && s.alphaBar[t] >= s.alphaBar[t-1] {
			return nil, fmt.Errorf("the %s schedule over %d timesteps has ᾱ = %g at timestep %d: it must fall from below 1 and stay above 0",
				name, train, s.alphaBar[t], t)
		}
		s.logRatio[t] = math.Log(s.At(t).Ratio())
	}
	return s, nil
}

// linspace is count float32 values from start to end, counted from whichever end is nearer, as torch.linspace does.
func linspace(start, end float64, count int) []float32 {
	values := make([]float32, count)
	first, last := float32(start), float32(end)
	step := (last - first) / float32(count-1)
	for i := range values {
		if i < count/2 {
			values[i] = first + float32(step*float32(i))
		} else {
			values[i] = last - float32(step*float32(count-1-i))
		}
	}
	return values
}

// cosine gives β_t = 1 − ᾱ((t+1)/T)/ᾱ(t/T), at most 0.999, for ᾱ(u) = cos²(π/2·(u+0.008)/1.008)
// (Nichol & Dhariwal 2021, eq. 17).
func cosine(train int) []float32 {
	alphaBar := func(u float64) float64 {
		c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	betas := make([]float32, train)
	for i := range betas {
		t, next := float64(i)/float64(train), float64(i+1)/float64(train)
		betas[i] = float32(min(1-alphaBar(next)/alphaBar(t), 0.999))
	}
	return betas
}

// Len is the number of training timesteps.
func (s *Schedule) Len() int { return len(s.alphaBar) }

// At is the level of a trained timestep, 0 ≤ t < Len.
func (s *Schedule) At(t int) Level {
	return Level{T: float64(t), Alpha: math.Sqrt(s.alphaBar[t]), Sigma: math.Sqrt(1 - s.alphaBar[t])}
}

// Between is the level at a timestep that may have a fraction: σ̃ is interpolated linearly between its two trained
// neighbours, as diffusers' EulerDiscreteScheduler does. Timesteps outside the schedule are moved to its ends.
func (s *Schedule) Between(t float64) Level {
	t = min(max(t, 0), float64(s.Len()-1))
	below := int(t)
	if float64(below) == t {
		return s.At(below)
	}
	part := t - float64(below)
	low, high := s.At(below).Ratio(), s.At(below+1).Ratio()
	return fromRatio(t, low+part*(high-low))
}

// WithRatio is the level at which the noise has the standard deviation ratio beside data at its own scale. Its timestep
// is interpolated linearly in ln σ̃. A ratio outside the schedule is moved to the schedule's nearest level.
func (s *Schedule) WithRatio(ratio float64) Level {
	wanted := math.Log(ratio)
	above := sort.SearchFloat64s(s.logRatio, wanted)
	switch above {
	case 0:
		return s.At(0)
	case s.Len():
		return s.At(s.Len() - 1)
	}
	low, high := s.logRatio[above-1], s.logRatio[above]
	return fromRatio(float64(above-1)+(wanted-low)/(high-low), ratio)
}

func fromRatio(t, ratio float64) Level {
	alpha := 1 / math.Sqrt(1+ratio*ratio)
	return Level{T: t, Alpha: alpha, Sigma: ratio * alpha}
}

// Geometric lists the levels for removing noise of the given standard deviation in steps evaluations: even in ln σ̃
// from that noise down to the schedule's smallest, then [Clean]. One step goes from the noise to clean data directly, and
// noise no greater than the smallest leaves room for one only.
func (s *Schedule) Geometric(ratio float64, steps int) []Level {
	first := s.WithRatio(ratio)
	smallest := s.At(0).Ratio()
	levels := []Level{first}
	for i := 1; i < steps; i++ {
		part := float64(i) / float64(steps-1)
		next := s.WithRatio(first.Ratio() * math.Pow(smallest/first.Ratio(), part))
		if next.Ratio() < levels[len(levels)-1].Ratio() {
			levels = append(levels, next)
		}
	}
	return append(levels, Clean)
}

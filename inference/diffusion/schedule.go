package diffusion

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Level is one point of a schedule: at timestep T the state is x = Alpha·x₀ + Sigma·ε.
type Level struct {
	T     float64 // training timestep, 0 the least noisy; a fraction lies between two trained ones
	Alpha float64 // √ᾱ, in [0, 1]
	Sigma float64 // √(1−ᾱ), in [0, 1]
}

// Clean is the level of data: no noise is left. No network is ever evaluated there.
var Clean = Level{T: 0, Alpha: 1, Sigma: 0}

// Ratio is σ̃ = σ/α, the standard deviation of the noise when the data keeps its own scale.
func (l Level) Ratio() float64 { return l.Sigma / l.Alpha }

// Lambda is λ = ln(α/σ), half the logarithm of the signal-to-noise ratio; +∞ for clean data.
func (l Level) Lambda() float64 { return math.Log(l.Alpha / l.Sigma) }

// Schedule is ᾱ over the training timesteps, decreasing.
//
// Its values are those of diffusers, which computes in float32: networks were trained with exactly these, and a
// schedule in higher precision would draw measurably different pictures.
type Schedule struct {
	alphaBar []float64
	logRatio []float64 // ln σ̃, increasing
	finite   *Schedule // nil unless the last ᾱ is 0, see Finite
}

// Betas says how β runs over the training timesteps. The names are those of diffusers: linear (Ho et al. 2020),
// scaled_linear (linear in √β, Rombach et al. 2022), sigmoid (from GeoDiff, Xu et al. 2022) and squaredcos_cap_v2
// (Nichol & Dhariwal 2021), which ignores Start and End.
type Betas struct {
	Name       string
	Start, End float64
	Trained    []float64 // each β itself, instead of a name
	ZeroSNR    bool      // rescaled so that ᾱ is 0 at the last timestep (Lin et al. 2024, algorithm 1)
}

// NewSchedule computes ᾱ_t = Π(1−β_s) over s ≤ t for train timesteps. The error says where a schedule leaves the numbers
// that a network can be evaluated at.
func NewSchedule(train int, b Betas) (*Schedule, error) {
	betas, err := b.values(train)
	if err != nil {
		return nil, err
	}
	alphaBar := cumulate(betas)
	for t := range alphaBar {
		empty := b.ZeroSNR && t == train-1 && alphaBar[t] == 0
		if !(alphaBar[t] > 0 && alphaBar[t] < 1 || empty) || t > 0 && alphaBar[t] >= alphaBar[t-1] {
			return nil, fmt.Errorf("the %s schedule over %d timesteps has ᾱ = %g at timestep %d: it must fall from below 1 and stay above 0",
				cmp.Or(b.Name, "trained"), train, alphaBar[t], t)
		}
	}
	s := newSchedule(alphaBar)
	if last := train - 1; alphaBar[last] == 0 {
		alphaBar = slices.Clone(alphaBar)
		alphaBar[last] = 1.0 / (1 << 24)
		s.finite = newSchedule(alphaBar)
	}
	return s, nil
}

// cumulate is Π(1−β), each value as diffusers rounds it.
func cumulate(betas []float32) []float64 {
	alphaBar := make([]float64, len(betas))
	product := 1.0
	for t, beta := range betas {
		product *= float64(1 - beta)
		alphaBar[t] = float64(float32(product))
	}
	return alphaBar
}

func newSchedule(alphaBar []float64) *Schedule {
	s := &Schedule{alphaBar: alphaBar, logRatio: make([]float64, len(alphaBar))}
	for t := range alphaBar {
		s.logRatio[t] = math.Log(s.At(t).Ratio())
	}
	return s
}

// Finite is the schedule for methods that divide by α, where ᾱ = 0 has no place: diffusers takes 2⁻²⁴ for it there, which
// may be more than the ᾱ before it. [Schedule.WithRatio] keeps to the part that falls.
func (s *Schedule) Finite() *Schedule {
	if s.finite != nil {
		return s.finite
	}
	return s
}

func (b Betas) values(train int) ([]float32, error) {
	var betas []float32
	switch {
	case b.Trained != nil:
		for _, beta := range b.Trained {
			betas = append(betas, float32(beta))
		}
	case b.Name == "linear":
		betas = linspace(b.Start, b.End, train)
	case b.Name == "scaled_linear":
		betas = linspace(math.Sqrt(b.Start), math.Sqrt(b.End), train)
		for i, root := range betas {
			betas[i] = root * root
		}
	case b.Name == "squaredcos_cap_v2":
		betas = cosine(train)
	case b.Name == "sigmoid":
		betas = linspace(-6, 6, train)
		for i, v := range betas {
			betas[i] = float32(1/(1+math.Exp(-float64(v)))*(b.End-b.Start) + b.Start)
		}
	default:
		return nil, fmt.Errorf("no beta schedule is called %q", b.Name)
	}
	if len(betas) != train {
		return nil, fmt.Errorf("%d trained β do not make a schedule of %d timesteps", len(betas), train)
	}
	if b.ZeroSNR {
		betas = zeroSNR(betas)
	}
	return betas, nil
}

// zeroSNR moves √ᾱ linearly so that its first value stays and its last becomes 0 (Lin et al. 2024, algorithm 1).
func zeroSNR(betas []float32) []float32 {
	roots := make([]float32, len(betas))
	for t, alphaBar := range cumulate(betas) {
		roots[t] = float32(math.Sqrt(alphaBar))
	}
	first, last := roots[0], roots[len(roots)-1]
	rescaled := make([]float32, len(betas))
	before := float32(1)
	for t, root := range roots {
		root = (root - last) * (first / (first - last))
		alphaBar := root * root
		rescaled[t] = 1 - alphaBar/before
		before = alphaBar
	}
	return rescaled
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
	low, high := s.At(below), s.At(below+1)
	if high.Alpha == 0 {
		alpha := low.Alpha * (1 - part)
		return Level{T: t, Alpha: alpha, Sigma: math.Sqrt(1 - alpha*alpha)}
	}
	return fromRatio(t, low.Ratio()+part*(high.Ratio()-low.Ratio()))
}

// WithRatio is the level at which the noise has the standard deviation ratio beside data at its own scale. Its timestep
// is interpolated linearly in ln σ̃. A ratio outside the schedule is moved to the schedule's nearest level.
func (s *Schedule) WithRatio(ratio float64) Level {
	last := s.Len() - 1
	if end := s.At(last); math.Abs(ratio/end.Ratio()-1) < 1e-9 {
		return end
	}
	falling := s.logRatio
	if falling[last] < falling[last-1] {
		falling = falling[:last]
	}
	wanted := math.Log(ratio)
	above := sort.SearchFloat64s(falling, wanted)
	switch above {
	case 0:
		return s.At(0)
	case len(falling):
		return s.At(len(falling) - 1)
	}
	low, high := s.logRatio[above-1], s.logRatio[above]
	return fromRatio(float64(above-1)+(wanted-low)/(high-low), ratio)
}

// labelled is the level of exactly this ratio, be it outside the schedule, under the timestep that [Schedule.WithRatio] finds.
func (s *Schedule) labelled(ratio float64) Level { return fromRatio(s.WithRatio(ratio).T, ratio) }

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
		// Levels that rounding alone sets apart are one: methods divide by their distance.
		if next.Ratio() < levels[len(levels)-1].Ratio()*(1-1e-6) {
			levels = append(levels, next)
		}
	}
	return append(levels, Clean)
}

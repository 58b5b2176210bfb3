package diffusion_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"denoised/inference/diffusion"
)

// reference is a trajectory that diffusers or k-diffusion drew.
type reference struct {
	Sampler, Source               string
	Diffusers                     bool // false where diffusers is wrong, and the right answer was computed beside it
	Betas                         *referenceBetas
	Prediction, Spacing, Schedule string
	Offset, Steps                 int
	Given                         []float64 `json:"timesteps_given"`
	Final, Variance               string
	Eta, Clip                     float64
	Consistent                    bool
	Threshold                     struct{ Ratio, Max float64 }
	Deviation                     float64 // of the data, where it is not the file's
	Seed                          uint32
	Timesteps, Alphas, Sigmas     []float64
	Start                         float64
	States                        [][]float64
}

type referenceBetas struct {
	Name       string
	Start, End float64
	Trained    []float64
	ZeroSNR    bool `json:"zero_snr"`
	Train      int
}

func (b referenceBetas) schedule(t *testing.T) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.NewSchedule(b.Train, diffusion.Betas{Name: b.Name, Start: b.Start, End: b.End, Trained: b.Trained, ZeroSNR: b.ZeroSNR})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (c reference) String() string {
	return fmt.Sprintf("%s η=%g, %s, %s, %s, %d steps from seed %d", c.Sampler, c.Eta, c.Schedule, c.Spacing, c.Prediction, c.Steps, c.Seed)
}

func (c reference) grid() diffusion.Grid {
	return diffusion.Grid{
		Schedule: c.Schedule, Spacing: c.Spacing, Offset: c.Offset, Timesteps: c.Given, OriginalSteps: 50,
		AlphaToOne: c.Final != "first", SigmaMin: c.Final == "first",
	}
}

// denoiser is the exact one, in the form of a network that predicts what the case says.
func (c reference) denoiser(method diffusion.Method, data diffusion.Gaussian) diffusion.Denoiser {
	var at diffusion.Level
	exact := func(_ context.Context, x []float32, _ float64) ([]float32, error) {
		var out, spread []float32
		for _, v := range x {
			clean := data.Clean(float64(v), at)
			eps := (float64(v) - at.Alpha*clean) / at.Sigma
			out = append(out, float32(map[string]float64{
				"epsilon": eps, "v_prediction": at.Alpha*eps - at.Sigma*clean, "sample": clean,
			}[c.Prediction]))
			spread = append(spread, float32(math.Sin(3*float64(v))))
		}
		if c.Variance == "learned_range" {
			out = append(out, spread...)
		}
		return out, nil
	}
	limit := diffusion.Limit{Clip: c.Clip, Quantile: c.Threshold.Ratio, Most: c.Threshold.Max, Consistent: c.Consistent}
	d := method.Limited(diffusion.Prediction(c.Prediction, exact), limit)
	return func(ctx context.Context, x []float32, level diffusion.Level) (diffusion.Estimate, error) {
		at = level
		return d(ctx, x, level)
	}
}

// walk draws the trajectory here and gives the largest difference from the reference's states.
func (c reference) walk(t *testing.T, s *diffusion.Schedule, data diffusion.Gaussian) (worst float64) {
	t.Helper()
	method := methodOf(t, c.Sampler)
	levels, err := method.Levels(s, c.grid(), c.Steps)
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	c.compareLevels(t, levels)
	start := method.Start(c.Spacing, levels[0])
	if math.Abs(start-c.Start) > 1e-6 {
		t.Errorf("%v: the noise starts at %g, want %g", c, start, c.Start)
	}
	generator := diffusion.NewGenerator(c.Seed)
	x := make([]float32, len(c.States[0]))
	generator.Normal(x)
	for i := range x {
		x[i] *= float32(start)
	}
	compared := 0
	run := diffusion.Run{Levels: levels, Schedule: s.Finite(), Eta: c.Eta, Noise: generator.Normal,
		Variance: diffusion.Variances[c.Variance],
		Seen: func(step int, x []float32) {
			compared++
			for i, v := range x {
				diff := math.Abs(float64(v) - c.States[step][i])
				if math.IsNaN(diff) {
					diff = math.Inf(1)
				}
				worst = max(worst, diff)
			}
		}}
	if err := method.Sample(t.Context(), c.denoiser(method, data), x, run); err != nil {
		t.Fatal(err)
	}
	if compared != len(c.States) || compared != c.Steps {
		t.Errorf("%v: compared %d states of %d", c, compared, c.Steps)
	}
	return worst
}

func (c reference) compareLevels(t *testing.T, levels []diffusion.Level) {
	t.Helper()
	if len(levels) != len(c.Sigmas) || len(levels) != len(c.Alphas) || len(levels) != len(c.Timesteps)+1 {
		t.Fatalf("%v: %d levels, want %d and %d timesteps", c, len(levels), len(c.Sigmas), len(c.Timesteps))
	}
	for i, l := range levels {
		if math.Abs(l.Sigma-c.Sigmas[i]) > 1e-6 || math.Abs(l.Alpha-c.Alphas[i]) > 1e-6 {
			t.Errorf("%v: level %d is α %g, σ %g; want %g and %g", c, i, l.Alpha, l.Sigma, c.Alphas[i], c.Sigmas[i])
		}
		// Where a σ schedule chooses, diffusers finds the timestep in float32.
		if i < len(c.Timesteps) && math.Abs(l.T-c.Timesteps[i]) > 2e-3 {
			t.Errorf("%v: level %d is at timestep %g, want %g", c, i, l.T, c.Timesteps[i])
		}
	}
}

// TestTrajectoriesAreDiffusers walks whole trajectories beside diffusers', and k-diffusion's where diffusers has no such
// sampler, on a network that is known exactly. States are compared at the model's own scale, which is x̃/√(1+σ̃²).
func TestTrajectoriesAreDiffusers(t *testing.T) {
	worst, _ := compareTrajectories(t)
	for _, name := range diffusion.Methods() {
		t.Logf("%-13s %.1e", name, worst[name])
	}
}

// compareTrajectories gives the largest difference of each sampler, and what it was compared with.
func compareTrajectories(t *testing.T) (worst map[string]float64, sources map[string]string) {
	t.Helper()
	const tolerance = 1e-5
	var golden struct {
		Mean, Deviation float64
		Betas           referenceBetas
		Cases           []reference
	}
	readGolden(t, "trajectories_analytic.json", &golden)
	worst, sources = map[string]float64{}, map[string]string{}
	seen := map[string]map[string]bool{}
	for _, c := range golden.Cases {
		betas := golden.Betas
		if c.Betas != nil {
			betas = *c.Betas
		}
		c.Schedule = cmp.Or(c.Schedule, "native")
		data := diffusion.Gaussian{Mean: golden.Mean, Std: cmp.Or(c.Deviation, golden.Deviation)}
		diff := c.walk(t, betas.schedule(t), data)
		if !(diff <= tolerance) {
			t.Errorf("%v (%s): the largest difference is %.2g", c, c.Source, diff)
		}
		worst[c.Sampler], sources[c.Sampler] = max(worst[c.Sampler], diff), c.Source
		if seen[c.Sampler] == nil {
			seen[c.Sampler] = map[string]bool{}
		}
		seen[c.Sampler][c.Spacing] = seen[c.Sampler][c.Spacing] || c.Diffusers || strings.HasPrefix(c.Source, "k-diffusion")
	}
	for _, name := range diffusion.Methods() {
		for _, spacing := range diffusion.Spacings {
			theirs, compared := seen[name][spacing]
			// With linspace spacing these two are wrong in diffusers.
			wrong := spacing == "linspace" && (name == "ddim" || name == "pndm")
			if needed := spacing == "trailing" || !methodOf(t, name).Distilled(); needed && (!compared || theirs == wrong) {
				t.Errorf("%s was compared at %s spacing: %t, with somebody else's picture: %t", name, spacing, compared, theirs)
			}
		}
	}
	return worst, sources
}

// TestTheManualsTable holds the README's table of samplers to the registry and to what was measured just now.
func TestTheManualsTable(t *testing.T) {
	manual, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	worst, sources := compareTrajectories(t)
	for _, name := range diffusion.Methods() {
		m := methodOf(t, name)
		order := "–"
		if m.Order > 0 {
			order = strconv.Itoa(m.Order)
		}
		source := "`" + strings.TrimPrefix(sources[name], "diffusers ") + "`"
		if rest, other := strings.CutPrefix(sources[name], "k-diffusion "); other {
			source = "k-diffusion `" + rest + "`"
		}
		row := fmt.Sprintf("| `%s` | [%s](%s) | %s | %d | %s | ", name, m.Title, m.Paper, order, m.Evaluations, source)
		_, after, found := strings.Cut(string(manual), row)
		stated, _, _ := strings.Cut(after, "·10⁻⁶ |")
		limit, err := strconv.ParseFloat(stated, 64)
		if !found || err != nil || worst[name] > limit*1e-6 || worst[name] < (limit-1)*1e-6 {
			t.Errorf("the manual lacks %s%.1f·10⁻⁶ |", row, worst[name]*1e6+0.05)
		}
	}
}

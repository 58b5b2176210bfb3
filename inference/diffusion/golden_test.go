package diffusion_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"denoised/inference/diffusion"
)

// The files in testdata were written by weights/training/reference.py; each names the versions that it ran.
func readGolden(t *testing.T, name string, into any) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// thinned is a long list of which some values are known.
type thinned struct {
	Length  int
	Indices []int
	Values  []float64
}

func (want thinned) compare(t *testing.T, what string, length int, got func(int) float64, tolerance float64) {
	t.Helper()
	if length != want.Length || len(want.Indices) == 0 {
		t.Fatalf("%s: %d values, want %d", what, length, want.Length)
	}
	for k, i := range want.Indices {
		// The file has the shortest decimal that reads back as the float32 that diffusers computed.
		value := float64(float32(want.Values[k]))
		if diff := math.Abs(got(i) - value); !(diff <= tolerance*math.Max(1, value)) {
			t.Errorf("%s: value %d is %.9g, want %.9g", what, i, got(i), value)
		}
	}
}

func TestNoiseIsPyTorchs(t *testing.T) {
	// The values of PyTorch's vectorised logarithm, sine and cosine are approximations themselves.
	const tolerance = 1.2e-6
	var golden struct {
		Cases []struct {
			Seed  uint32
			Draws []struct {
				Size                int
				Values, First, Last []float64
				Sum                 float64
			}
		}
	}
	readGolden(t, "noise.json", &golden)
	for _, c := range golden.Cases {
		generator := diffusion.NewGenerator(c.Seed)
		for n, draw := range c.Draws {
			got := make([]float32, draw.Size)
			generator.Normal(got)
			compare := func(got []float32, want []float64) {
				for i := range want {
					if diff := math.Abs(float64(got[i]) - want[i]); !(diff <= tolerance) {
						t.Fatalf("seed %d, draw %d of %d values: %g, want %g", c.Seed, n, draw.Size, got[i], want[i])
					}
				}
			}
			if draw.Values != nil {
				compare(got, draw.Values)
				continue
			}
			compare(got, draw.First)
			compare(got[len(got)-len(draw.Last):], draw.Last)
			sum := 0.0
			for _, v := range got {
				sum += float64(v)
			}
			if math.Abs(sum-draw.Sum) > tolerance*float64(draw.Size) {
				t.Errorf("seed %d, draw %d: the values add up to %g, want %g", c.Seed, n, sum, draw.Sum)
			}
		}
	}
}

func TestScheduleIsDiffusers(t *testing.T) {
	var golden struct {
		Tables []struct {
			Train    int       `json:"num_train_timesteps"`
			Name     string    `json:"beta_schedule"`
			Start    float64   `json:"beta_start"`
			End      float64   `json:"beta_end"`
			Trained  []float64 `json:"trained_betas"`
			ZeroSNR  bool      `json:"zero_snr"`
			AlphaBar thinned   `json:"alphas_cumprod"`
		} `json:"alphas_cumprod"`
		Lists []struct {
			Scheduler string
			Schedule  string
			Spacing   string `json:"timestep_spacing"`
			Offset    int    `json:"steps_offset"`
			Steps     int
			Timesteps thinned
			Sigmas    *thinned
			Start     float64 `json:"init_noise_sigma"`
		} `json:"timesteps"`
	}
	readGolden(t, "schedule.json", &golden)
	for _, table := range golden.Tables {
		s, err := diffusion.NewSchedule(table.Train, diffusion.Betas{
			Name: table.Name, Start: table.Start, End: table.End, Trained: table.Trained, ZeroSNR: table.ZeroSNR,
		})
		if err != nil {
			t.Fatal(err)
		}
		alphaBar := func(i int) float64 { return s.At(i).Alpha * s.At(i).Alpha }
		what := fmt.Sprintf("%s over %d, zero SNR %t", table.Name, table.Train, table.ZeroSNR)
		tolerance := 1.2e-7
		if table.ZeroSNR {
			tolerance = 4e-7 // PyTorch's float32 square root is now and then off by its last bit
		}
		table.AlphaBar.compare(t, what, s.Len(), alphaBar, tolerance)
	}
	s := linearSchedule(t)
	for _, list := range golden.Lists {
		what := fmt.Sprintf("%s, %s, %s spacing, offset %d, %d steps", list.Scheduler, list.Schedule, list.Spacing, list.Offset, list.Steps)
		method := methodOf(t, list.Scheduler)
		grid := trailingGrid
		grid.Spacing, grid.Offset = list.Spacing, list.Offset
		if list.Schedule != "" {
			grid.Schedule = list.Schedule
		}
		levels, err := method.Levels(s, grid, list.Steps)
		if list.Timesteps.Values[0] > float64(s.Len()-1) {
			// diffusers lists a timestep behind the schedule's end here and fails on it later.
			if err == nil {
				t.Errorf("%s: no error", what)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		tolerance := 0.0
		if grid.Schedule != "native" {
			tolerance = 2e-6 // found in float32 there
		}
		list.Timesteps.compare(t, what, len(levels)-1, func(i int) float64 { return levels[i].T }, tolerance)
		if list.Sigmas != nil {
			list.Sigmas.compare(t, what+", sigmas", len(levels), func(i int) float64 { return levels[i].Ratio() }, 1e-6)
			// Our state is at the model's scale: diffusers' start in σ-space is divided by √(1+σ̃²).
			start := list.Start / math.Hypot(1, levels[0].Ratio())
			if got := method.Start(list.Spacing, levels[0]); start > 0 && math.Abs(got-start) > 1e-6 {
				t.Errorf("%s: the noise starts at %g, want %g", what, got, start)
			}
		}
	}
}

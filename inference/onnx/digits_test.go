package onnx_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"denoised/inference"
	"denoised/inference/diffusion"
	"denoised/inference/onnx"
	"denoised/weights"
)

// openDigits loads the trained network that ships.
func openDigits(t testing.TB, threads int) (*weights.Bundle, *onnx.Session) {
	t.Helper()
	bundle, err := weights.Open("../../weights/digits")
	if err != nil {
		t.Fatal(err)
	}
	g := bundle.Graph
	session, err := onnx.Open(onnx.Graph{Path: g.Path, Sample: g.Sample.Name, Timestep: g.Timestep.Name, Label: g.Label.Name,
		Output: g.Output.Name}, onnx.CPU, threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return bundle, session
}

const side = 28

var digit = [3]int{1, side, side}

// TestDigitsTrajectoriesAreDiffusers walks 50 steps on the trained network beside PyTorch and diffusers. testdata was
// written by weights/training/reference.py and names the versions that it ran.
func TestDigitsTrajectoriesAreDiffusers(t *testing.T) {
	const tolerance = 1e-4
	var golden struct {
		Cases []struct {
			Sampler  string
			Eta      float64
			Steps    int
			Label    int64
			Guidance float64 `json:"guidance_scale"`
			Seed     uint32
			Shown    []int
			States   []string
		}
	}
	file, err := os.ReadFile("testdata/trajectories_digits.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &golden); err != nil {
		t.Fatal(err)
	}
	bundle, session := openDigits(t, 1)
	config := bundle.Scheduler
	schedule, err := diffusion.NewSchedule(config.BetaSchedule, config.TrainTimesteps, config.BetaStart, config.BetaEnd)
	if err != nil {
		t.Fatal(err)
	}
	network := func(_ context.Context, x []float32, step float64, labels []int64) (rows [][]float32, err error) {
		for _, label := range labels {
			out := make([]float32, len(x))
			err = session.Predict(x, digit, []float32{float32(step)}, []int64{label}, out)
			rows = append(rows, out)
		}
		return rows, err
	}
	for _, c := range golden.Cases {
		t.Run(fmt.Sprintf("%s η=%g guidance %g", c.Sampler, c.Eta, c.Guidance), func(t *testing.T) {
			method, _ := diffusion.MethodOf(c.Sampler)
			levels, err := diffusion.Spacing{Name: config.TimestepSpacing, Final: diffusion.Clean}.Levels(schedule, c.Steps, !method.Fractional)
			if err != nil {
				t.Fatal(err)
			}
			generator := diffusion.NewGenerator(c.Seed)
			x := make([]float32, side*side)
			generator.Normal(x)
			start := float32(method.Start(config.TimestepSpacing, levels[0]))
			for i := range x {
				x[i] *= start
			}
			d := diffusion.Epsilon(diffusion.Guided(network, c.Label, int64(bundle.NullLabel), c.Guidance))
			if !method.Unclipped {
				d = diffusion.Clipped(d, config.ClipSampleRange)
				if config.UseClippedModelOutput {
					d = diffusion.Consistent(d)
				}
			}
			worst, compared := 0.0, 0
			seen := func(step int, x []float32) {
				if k := slices.Index(c.Shown, step+1); k >= 0 {
					worst = max(worst, difference(t, x, c.States[k]))
					compared++
				}
			}
			if err := method.Sample(t.Context(), d, x, diffusion.Run{Levels: levels, Eta: c.Eta, Noise: generator.Normal, Seen: seen}); err != nil {
				t.Fatal(err)
			}
			if compared != len(c.Shown) || compared == 0 {
				t.Errorf("compared %d states of %d", compared, len(c.Shown))
			}
			if !(worst <= tolerance) {
				t.Errorf("the largest difference is %.2g", worst)
			}
			t.Logf("the largest difference is %.2g", worst)
		})
	}
	if len(golden.Cases) == 0 {
		t.Error("no trajectory to compare with")
	}
}

// difference is the largest between a state and one in base64.
func difference(t *testing.T, x []float32, encoded string) (worst float64) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != 4*len(x) {
		t.Fatalf("%d bytes of a state of %d values: %v", len(raw), len(x), err)
	}
	for i, v := range x {
		want := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		worst = max(worst, math.Abs(float64(v-want)))
	}
	return worst
}

// TestDigitsKeepTheirBits evaluates the same row alone and in every place of batches, on one thread and on several.
func TestDigitsKeepTheirBits(t *testing.T) {
	var alone []float32
	for _, threads := range []int{1, 2, 4} {
		_, session := openDigits(t, threads)
		for _, rows := range []int{1, 2, 3, 5, 8, 16, 32} {
			for _, place := range []int{0, rows / 2, rows - 1} {
				out := predictAt(t, session, rows, place)
				if alone == nil {
					alone = out
				}
				if !slices.Equal(alone, out) {
					t.Errorf("%d threads, row %d of %d: other bits", threads, place, rows)
				}
			}
		}
	}
}

// predictAt evaluates one known row among strangers.
func predictAt(t *testing.T, session *onnx.Session, rows, place int) []float32 {
	t.Helper()
	x, out := make([]float32, rows*side*side), make([]float32, rows*side*side)
	diffusion.NewGenerator(uint32(100*rows + place)).Normal(x)
	times, labels := make([]float32, rows), make([]int64, rows)
	for i := range times {
		times[i], labels[i] = float32(37*i%1000), int64(i%11)
	}
	own := x[place*side*side : (place+1)*side*side]
	diffusion.NewGenerator(7).Normal(own)
	times[place], labels[place] = 421.5, 7
	if err := session.Predict(x, digit, times, labels, out); err != nil {
		t.Fatal(err)
	}
	return out[place*side*side : (place+1)*side*side]
}

// TestDigitsAmongStrangers is the first promise on the network that ships: a request draws the same bytes alone and
// among thirty others with other samplers, labels and step counts.
func TestDigitsAmongStrangers(t *testing.T) {
	bundle, session := openDigits(t, 2)
	model, err := inference.NewModel(bundle, session, 8, inference.Unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if !model.Bitwise || model.MaxRows != 8 {
		t.Fatalf("the probe found %+v", model.Capabilities)
	}
	pipeline := inference.NewPipeline("test", inference.Limits{Steps: 1000, Count: 64, Pixels: 1 << 20}, model)
	draw := func(seed uint32, sampler, label string, steps int) []byte {
		result, err := pipeline.Generate(t.Context(), inference.Request{Seed: &seed, Sampler: &sampler, Labels: []string{label}, Steps: &steps})
		if err != nil {
			t.Error(err)
			return nil
		}
		file, err := result.PNG()
		if err != nil {
			t.Error(err)
		}
		return file
	}
	alone := draw(5, "ddpm", "4", 12)
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() { draw(uint32(i), []string{"ddpm", "ddim", "euler"}[i%3], fmt.Sprint(i%10), 3+i) })
	}
	if among := draw(5, "ddpm", "4", 12); !bytes.Equal(alone, among) {
		t.Error("the picture depends on who else is there")
	}
	group.Wait()
}

// BenchmarkRow measures the network alone: the time a row takes, by threads and by rows a run.
func BenchmarkRow(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, rows := range []int{1, 2, 8} {
			b.Run(fmt.Sprintf("threads=%d/rows=%d", threads, rows), func(b *testing.B) {
				_, session := openDigits(b, threads)
				x, out := make([]float32, rows*side*side), make([]float32, rows*side*side)
				diffusion.NewGenerator(1).Normal(x)
				t, labels := make([]float32, rows), make([]int64, rows)
				for b.Loop() {
					if err := session.Predict(x, digit, t, labels, out); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N*rows), "ms/row")
			})
		}
	}
}

package onnx_test

import (
	"bytes"
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

// open loads a trained network that ships.
func open(t testing.TB, name string, threads int) (*weights.Bundle, *onnx.Session) {
	t.Helper()
	bundle, err := weights.Open("../../weights/" + name)
	if err != nil {
		t.Fatal(err)
	}
	g := bundle.Graph
	graph := onnx.Graph{Path: g.Path, Sample: g.Sample.Name, Timestep: g.Timestep.Name, Output: g.Output.Name}
	if g.Label != nil {
		graph.Label = g.Label.Name
	}
	session, err := onnx.Open(graph, onnx.CPU, threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return bundle, session
}

const side = 28

var digit = [3]int{1, side, side}

// drawing is a set of pictures that diffusers or k-diffusion drew with one sampler.
type drawing struct {
	Sampler, Source string
	Eta             float64
	Steps           int
	Guidance        float64 `json:"guidance_scale"`
	Images          []struct {
		Seed   uint32
		Label  int64
		Pixels string // of the final picture, 8 bits each, in base64
	}
	State string // the first picture's tensor, float32 in base64
}

// TestDigitsAreDiffusers draws digits with every sampler, from PyTorch's seeds, beside PyTorch and diffusers: no pixel may
// differ by more than one of 255. testdata was written by weights/training/reference.py and names the versions that it
// ran.
func TestDigitsAreDiffusers(t *testing.T) {
	var golden struct{ Cases []drawing }
	file, err := os.ReadFile("testdata/trajectories_digits.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &golden); err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for _, c := range golden.Cases {
		drawn[c.Sampler] = true
		t.Run(fmt.Sprintf("%s η=%g", c.Sampler, c.Eta), func(t *testing.T) {
			t.Parallel()
			c.draw(t)
		})
	}
	for _, name := range diffusion.Methods() {
		if !drawn[name] {
			t.Errorf("no digit to compare %s with", name)
		}
	}
}

func (c drawing) draw(t *testing.T) {
	bundle, session := open(t, "digits", 1)
	model, err := inference.NewModel(bundle, session, 8, inference.Unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	p := inference.NewPipeline("test", inference.Limits{Steps: 1000, Count: 64, Pixels: 1 << 20}, model)
	if len(c.Images) != 8 {
		t.Errorf("%d images to compare with", len(c.Images))
	}
	worst, off := 0.0, 0
	for i, image := range c.Images {
		req := inference.Request{
			Labels: []string{bundle.Labels[image.Label]}, Seed: &image.Seed, Steps: &c.Steps, Sampler: &c.Sampler, GuidanceScale: &c.Guidance,
		}
		if _, method, _ := diffusion.MethodOf(c.Sampler); method.Eta {
			req.Eta = &c.Eta
		}
		result, err := p.Generate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		tensor := result.Images[0].Tensor
		want, err := base64.StdEncoding.DecodeString(image.Pixels)
		if err != nil || len(want) != len(tensor) {
			t.Fatalf("%d pixels of %d: %v", len(want), len(tensor), err)
		}
		for k, v := range tensor {
			pixel := math.RoundToEven(float64(min(max(v/2+0.5, 0), 1)) * 255)
			diff := math.Abs(pixel - float64(want[k]))
			if diff > 0 {
				off++
			}
			if diff > 1 {
				t.Fatalf("seed %d: pixel %d is %g, want %d", image.Seed, k, pixel, want[k])
			}
		}
		if i == 0 {
			worst = difference(t, tensor, c.State)
		}
	}
	t.Logf("%d of %d pixels differ; the first tensor differs by %.2g", off, len(c.Images)*side*side, worst)
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
		_, session := open(t, "digits", threads)
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
	bundle, session := open(t, "digits", 2)
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
				_, session := open(b, "digits", threads)
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

// Package inferencetest has a network whose right answers are known, the bundle that describes it, and pictures, for tests of
// everything above package diffusion. No file and no shared library is needed.
package inferencetest

import (
	"sync"
	"testing"

	"denoised/inference/diffusion"
	"denoised/weights"
)

// Gaussian is a network with an exact answer: it predicts the noise in data N(label/10, 0.2²), and in data N(0, 0.4²)
// for the null label, 10. It satisfies inference.Network.
type Gaussian struct {
	Before func(rows int) error // called at the start of a run
	After  func(out []float32)  // called at its end

	schedule *diffusion.Schedule
	mu       sync.Mutex
	most     int
}

// NewGaussian makes the network that [Bundle] describes.
func NewGaussian(t testing.TB) *Gaussian {
	t.Helper()
	s, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	return &Gaussian{schedule: s}
}

// Predict implements inference.Network.
func (g *Gaussian) Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error {
	g.mu.Lock()
	g.most = max(g.most, len(t))
	g.mu.Unlock()
	if g.Before != nil {
		if err := g.Before(len(t)); err != nil {
			return err
		}
	}
	size := shape[0] * shape[1] * shape[2]
	for r := range t {
		data := diffusion.Gaussian{Mean: float64(labels[r]) / 10, Std: 0.2}
		if labels[r] == 10 {
			data = diffusion.Gaussian{Std: 0.4}
		}
		at := g.schedule.Between(float64(t[r]))
		for i := r * size; i < (r+1)*size; i++ {
			v := float64(x[i])
			out[i] = float32((v - at.Alpha*data.Clean(v, at)) / at.Sigma)
		}
	}
	if g.After != nil {
		g.After(out)
	}
	return nil
}

// Describe implements inference.Network.
func (g *Gaussian) Describe() (runtime, device string, threads int) { return "exact answer", "cpu", 1 }

// MostRows is the largest batch of any run so far.
func (g *Gaussian) MostRows() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}

// Checksum is the bundle's.
const Checksum = "7461736b2d6c696b652d6173706972696e2d666f722d636865636b73756d2121"

// Bundle describes a network of ten classes and a null label for square grey pictures, as a folder would.
func Bundle(name string, side int) *weights.Bundle {
	free := int64(-1)
	image := []int64{free, 1, int64(side), int64(side)}
	return &weights.Bundle{
		Name: name, Checksum: Checksum, Channels: 1, Height: side, Width: side,
		Labels:    []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
		NullLabel: 10, ValueRange: [2]float64{-1, 1},
		Defaults: weights.Defaults{Sampler: "ddim", Steps: 10, GuidanceScale: 2},
		Scheduler: weights.Scheduler{
			TrainTimesteps: 1000, BetaSchedule: "linear", BetaStart: 1e-4, BetaEnd: 0.02, PredictionType: "epsilon",
			ClipSample: new(true), ClipSampleRange: 1, SigmaSchedule: "native", TimestepSpacing: "trailing",
			FinalSigmasType: "zero", VarianceType: "fixed_small", OriginalSteps: 50,
		},
		Graph: weights.Graph{
			Sample:   weights.Input{Name: "sample", Type: "float32", Shape: image},
			Timestep: weights.Input{Name: "timestep", Type: "float32", Shape: []int64{free}},
			Label:    &weights.Input{Name: "class_labels", Type: "int64", Shape: []int64{free}},
			Output:   weights.Input{Name: "out_sample", Type: "float32", Shape: image},
		},
	}
}

package inference

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"denoised/inference/diffusion"
	"denoised/weights"
)

// gaussian is a network with an exact answer: it predicts the noise in data N(label/10, 0.2²), and in data N(0, 0.4²) for
// the null label, 10.
type gaussian struct {
	schedule *diffusion.Schedule
	before   func(rows int) error // called at the start of a run
	after    func(out []float32)  // called at its end
	mu       sync.Mutex
	runs     []int // rows of each run
}

func newGaussian(t testing.TB) *gaussian {
	t.Helper()
	s, err := diffusion.NewSchedule("linear", 1000, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	return &gaussian{schedule: s}
}

func (g *gaussian) Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error {
	g.mu.Lock()
	g.runs = append(g.runs, len(t))
	g.mu.Unlock()
	if g.before != nil {
		if err := g.before(len(t)); err != nil {
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
	if g.after != nil {
		g.after(out)
	}
	return nil
}

func (g *gaussian) Describe() (runtime, device string, threads int) { return "exact answer", "cpu", 1 }

// bundleOf describes a network of ten classes and a null label for grey pictures of 8×8, as a folder would.
func bundleOf() *weights.Bundle {
	return &weights.Bundle{
		Name: "ten", Checksum: "c0ffee", Channels: 1, Height: 8, Width: 8,
		Labels:    []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
		NullLabel: 10, ValueRange: [2]float64{-1, 1},
		Defaults: weights.Defaults{Sampler: "ddim", Steps: 10, GuidanceScale: 2},
		Scheduler: weights.Scheduler{
			TrainTimesteps: 1000, BetaSchedule: "linear", BetaStart: 1e-4, BetaEnd: 0.02, PredictionType: "epsilon",
			ClipSample: true, ClipSampleRange: 1, TimestepSpacing: "trailing", SetAlphaToOne: true,
		},
		Graph: weights.Graph{
			Sample:   weights.Input{Name: "sample", Type: "float32", Shape: []int64{-1, 1, 8, 8}},
			Timestep: weights.Input{Name: "timestep", Type: "float32", Shape: []int64{-1}},
			Label:    &weights.Input{Name: "class_labels", Type: "int64", Shape: []int64{-1}},
			Output:   weights.Input{Name: "out_sample", Type: "float32", Shape: []int64{-1, 1, 8, 8}},
		},
	}
}

var limits = Limits{Steps: 1000, Count: 64, Pixels: 1 << 20}

// serve makes a pipeline of one model over a network.
func serve(t testing.TB, b *weights.Bundle, network Network) *Pipeline {
	t.Helper()
	m, err := NewModel(b, network, 8, Unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return NewPipeline("test", limits, m)
}

func ptr[T any](v T) *T { return &v }

// ledger is an observer that adds up.
type ledger struct {
	Unobserved
	mu           sync.Mutex
	rows, wasted int
	trajectories int
}

func (l *ledger) NetworkRan(_ string, rows int, _ time.Duration) { l.add(&l.rows, rows) }
func (l *ledger) RowsWasted(_ string, rows int)                  { l.add(&l.wasted, rows) }
func (l *ledger) TrajectoriesLive(_ string, now int) {
	l.mu.Lock()
	l.trajectories = now
	l.mu.Unlock()
}

func (l *ledger) add(to *int, n int) {
	l.mu.Lock()
	*to += n
	l.mu.Unlock()
}

func (l *ledger) read() (rows, wasted, trajectories int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows, l.wasted, l.trajectories
}

var (
	errBroken = errors.New("broken")
	notFinite = float32(math.NaN())
)

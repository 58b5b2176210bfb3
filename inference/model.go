package inference

import (
	"fmt"
	"slices"

	"denoised/inference/diffusion"
	"denoised/weights"
)

// Model is a bundle that is served: its schedule, its network and what the network was found to do.
type Model struct {
	Bundle *weights.Bundle
	Capabilities
	Runtime, Device string // as the network describes them
	Threads         int

	schedule *diffusion.Schedule
	engine   *Engine
}

// largeRow is the pixels from which on a run has fewer rows than it might: the larger they are, the less a batch saves and
// the longer it keeps others waiting.
const largeRow = 128 * 128

// NewModel probes the network of a checked bundle and starts its engine, whose runs have at most maxRows rows. The
// error names the bundle and says why it cannot be served. The caller closes the network, after the model.
func NewModel(b *weights.Bundle, network Network, maxRows int, observer Observer) (*Model, error) {
	s := b.Scheduler
	schedule, err := diffusion.NewSchedule(s.TrainTimesteps, diffusion.Betas{
		Name: s.BetaSchedule, Start: s.BetaStart, End: s.BetaEnd, Trained: s.TrainedBetas, ZeroSNR: s.RescaleBetasZeroSNR,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	m := &Model{Bundle: b, schedule: schedule}
	_, method, ok := diffusion.MethodOf(b.Defaults.Sampler)
	if !ok {
		return nil, fmt.Errorf("%s: the default sampler %q is not one of %v", b.Name, b.Defaults.Sampler, diffusion.Methods())
	}
	if b.Defaults.StepsImplied {
		b.Defaults.Steps = max(method.Fit(schedule, m.grid(method), b.Defaults.Steps), 1)
	}
	if _, err := method.Levels(schedule, m.grid(method), b.Defaults.Steps); err != nil {
		return nil, fmt.Errorf("%s: the default steps: %w", b.Name, err)
	}
	found, err := probe(b, network, max(1, min(maxRows, maxRows*largeRow/(b.Height*b.Width))))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	m.Capabilities = found
	m.Runtime, m.Device, m.Threads = network.Describe()
	m.engine = NewEngine(b.Name, network, Batching{
		MaxRows: found.MaxRows, MaxSize: found.MaxRows * b.Channels * b.Height * b.Width,
		OneTime: oneTimestep(b), Outputs: outputs(b),
	}, observer)
	return m, nil
}

// Close stops the engine.
func (m *Model) Close() { m.engine.Close() }

// Conditional says whether the model draws classes.
func (m *Model) Conditional() bool { return len(m.Bundle.Labels) > 0 }

// Unconditional says whether the model can draw without being told a class: it has none, or a null label beside them.
func (m *Model) Unconditional() bool { return !m.Conditional() || m.Bundle.NullLabel >= 0 }

// Guides says whether classifier-free guidance is possible: the network knows classes and a null label.
func (m *Model) Guides() bool { return m.Conditional() && m.Bundle.NullLabel >= 0 }

// Tasks lists what the model can do, in the words of the HTTP contract.
func (m *Model) Tasks() []string {
	switch {
	case m.Bundle.Channels == 4: // a picture's transparency is kept as it is, never taken for a channel to clean
		return []string{"generate"}
	case m.Unconditional():
		return []string{"generate", "denoise", "noise"}
	}
	return []string{"generate", "noise"}
}

// maxEnlargement bounds a drawn area by the model's own: attention takes memory by the square of the area, which nothing
// in a request for a large picture shows.
const maxEnlargement = 16

// serves reports a size that the network does not take.
func (m *Model) serves(f *faults, field string, size [2]int) {
	own := [2]int{m.Bundle.Height, m.Bundle.Width}
	if size == own {
		return
	}
	if m.SizeStep == 0 {
		f.add(field, "is %d×%d; the model %s serves %d×%d only", size[0], size[1], m.Bundle.Name, own[0], own[1])
		return
	}
	if most := maxEnlargement * own[0] * own[1]; size[0] < 1 || size[1] < 1 || size[0] > most/size[1] {
		f.add(field, "is %d×%d; the model %s serves at most %d pixels, %d times its own", size[0], size[1], m.Bundle.Name, most, maxEnlargement)
		return
	}
	for axis := range size {
		if size[axis] < m.SizeStep || (size[axis]-own[axis])%m.SizeStep != 0 {
			f.add(field, "is %d×%d; the model %s serves %d×%d and sizes that differ from it by multiples of %d",
				size[0], size[1], m.Bundle.Name, own[0], own[1], m.SizeStep)
			return
		}
	}
}

// run is a trajectory through levels with a generator's noise.
func (m *Model) run(levels []diffusion.Level, generator *diffusion.Generator) diffusion.Run {
	return diffusion.Run{
		Levels: levels, Schedule: m.schedule.Finite(), Noise: generator.Normal,
		Variance: diffusion.Variances[m.Bundle.Scheduler.VarianceType],
	}
}

// unlabelled is the network where no class is asked for.
func (m *Model) unlabelled(seat *Seat) diffusion.Predictor {
	return diffusion.Conditioned(seat.Predict, int64(max(m.Bundle.NullLabel, 0)))
}

// denoiser builds what a method's sampler calls: the network's prediction, read and limited as the scheduler's config says.
func (m *Model) denoiser(method diffusion.Method, predict diffusion.Predictor) diffusion.Denoiser {
	s := m.Bundle.Scheduler
	limit := diffusion.Limit{Consistent: s.UseClippedModelOutput}
	if value(s.ClipSample, method.ClipsUnasked) {
		limit.Clip = s.ClipSampleRange
	}
	if s.Thresholding {
		limit.Quantile, limit.Most = s.DynamicThresholdingRatio, s.SampleMaxValue
	}
	return method.Limited(diffusion.Prediction(s.PredictionType, predict), limit)
}

// outputs is how many values the network gives for each of its input: twice as many where it learned its variance.
func outputs(b *weights.Bundle) int {
	if b.LearnedVariance {
		return 2
	}
	return 1
}

// rows is how many rows a step needs.
func (m *Model) rows(label int, guidance float64) int {
	if label < 0 || !m.Guides() {
		return 1
	}
	return len(diffusion.GuidanceLabels(int64(label), int64(m.Bundle.NullLabel), guidance))
}

// index finds a class by its name; −1 where there is none.
func (m *Model) index(label string) int { return slices.Index(m.Bundle.Labels, label) }

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

// NewModel probes the network of a checked bundle and starts its engine, whose runs have at most maxRows rows. The
// error names the bundle and says why it cannot be served. The caller closes the network, after the model.
func NewModel(b *weights.Bundle, network Network, maxRows int, observer Observer) (*Model, error) {
	s := b.Scheduler
	schedule, err := diffusion.NewSchedule(s.BetaSchedule, s.TrainTimesteps, s.BetaStart, s.BetaEnd)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	m := &Model{Bundle: b, schedule: schedule}
	method, ok := diffusion.MethodOf(b.Defaults.Sampler)
	if !ok {
		return nil, fmt.Errorf("%s: the default sampler %q is not one of %v", b.Name, b.Defaults.Sampler, diffusion.Methods())
	}
	if _, err := m.levels(method, b.Defaults.Steps); err != nil {
		return nil, fmt.Errorf("%s: the default steps: %w", b.Name, err)
	}
	found, err := probe(b, network, maxRows)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	m.Capabilities = found
	m.Runtime, m.Device, m.Threads = network.Describe()
	m.engine = NewEngine(b.Name, network, found.MaxRows, found.MaxRows*b.Channels*b.Height*b.Width, oneTimestep(b), observer)
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

// levels lists the levels of a run by the bundle's spacing.
func (m *Model) levels(method diffusion.Method, steps int) ([]diffusion.Level, error) {
	s := m.Bundle.Scheduler
	final := diffusion.Clean
	if method.MayEndNoisy && !s.SetAlphaToOne {
		final = m.schedule.At(0)
	}
	spacing := diffusion.Spacing{Name: s.TimestepSpacing, Offset: s.StepsOffset, Final: final}
	return spacing.Levels(m.schedule, steps, !method.Fractional)
}

// denoiser builds, from a place in the engine, what a method's sampler calls. A label of −1 is no label.
func (m *Model) denoiser(method diffusion.Method, seat *Seat, label int, guidance float64) diffusion.Denoiser {
	var predict diffusion.Predictor
	switch null := m.Bundle.NullLabel; {
	case label < 0:
		predict = diffusion.Conditioned(seat.Predict, int64(max(null, 0)))
	case null < 0:
		predict = diffusion.Conditioned(seat.Predict, int64(label))
	default:
		predict = diffusion.Guided(seat.Predict, int64(label), int64(null), guidance)
	}
	d := diffusion.Epsilon(predict)
	if s := m.Bundle.Scheduler; s.ClipSample && !method.Unclipped {
		d = diffusion.Clipped(d, s.ClipSampleRange)
		if s.UseClippedModelOutput {
			d = diffusion.Consistent(d)
		}
	}
	return d
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

package inference

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"denoised/inference/diffusion"
)

// DenoiseRequest asks for a picture without its noise. A nil field was not sent.
type DenoiseRequest struct {
	Model   *string
	Sigma   *float64 // standard deviation of the noise on the 0…255 scale; estimated when nil
	Steps   *int     // 1: the least-squares estimate; more: a sharper sample
	Sampler *string
	Seed    *uint32
}

// NoiseRequest asks for a picture with noise added: by Sigmas at the picture's own scale, or by Timestep as the model
// was trained to see it.
type NoiseRequest struct {
	Model    *string
	Sigmas   []float64 // standard deviations on the 0…255 scale, added one after the other
	Timestep *float64
	Seed     *uint32
}

// Changed is a picture made from another one.
type Changed struct {
	Picture *Picture
	Model   *Model  // nil where none was needed
	Sigma   float64 // of the noise taken to be there, or added, on the 0…255 scale
	Seed    uint32
	Timing  Timing
}

// maxSigma is the noise that covers an 8-bit picture's whole range.
const maxSigma = 255

// Denoise removes the noise from a picture of any size, which it may write over. The state enters the schedule where its
// noise has the picture's standard deviation, x = √ᾱ·y, with no noise added, and walks from there to clean data. A picture
// larger than the model's own is evaluated in tiles that overlap, blended at every step.
func (p *Pipeline) Denoise(ctx context.Context, req DenoiseRequest, picture *Picture) (*Changed, error) {
	m, err := p.find(req.Model, "denoise")
	if err != nil {
		return nil, err
	}
	var f faults
	steps := value(req.Steps, 1)
	between(&f, "steps", steps, 1, p.Limits.Steps)
	sampler := value(req.Sampler, "ddim")
	method := checkMethod(&f, &sampler)
	if method.FixedGrid {
		f.add("sampler", "%s visits timesteps of its own, and the picture's noise is between them; allowed: %s",
			sampler, strings.Join(freeMethods(), ", "))
	}
	if req.Sigma != nil {
		between(&f, "sigma", *req.Sigma, 0, maxSigma)
	}
	m.takes(&f, picture)
	if err := f.err(); err != nil {
		return nil, err
	}
	changed := &Changed{Model: m, Seed: value(req.Seed, rand.Uint32())}
	if req.Sigma != nil {
		changed.Sigma = *req.Sigma
	} else {
		changed.Sigma = EstimateSigma(picture)
	}
	if changed.Sigma == 0 {
		changed.Picture = picture
		return changed, nil
	}
	levels := m.schedule.Geometric(changed.Sigma/m.eightBit(), steps)
	changed.Sigma = levels[0].Ratio() * m.eightBit()
	tiles := m.tiling(picture.Height, picture.Width)
	seats := tiles.seats(m)
	for _, seat := range seats {
		defer seat.Leave()
	}
	// Dynamic thresholding looks at a whole picture.
	if len(levels) == 2 && !(m.Bundle.Scheduler.Thresholding && method.Thresholds) {
		err = m.estimate(ctx, method, tiles, seats, levels[0], picture)
	} else {
		x := m.enter(nil, picture, levels[0])
		run := m.run(levels, diffusion.NewGenerator(changed.Seed))
		run.Eta = method.DefaultEta
		err = method.Sample(ctx, m.denoiser(method, tiles.predictor(m, seats)), x, run)
		m.colours(picture.Colours, x)
	}
	if err == nil {
		err = finite(picture.Colours)
	}
	if err != nil {
		return nil, err
	}
	for _, seat := range seats {
		changed.Timing.include(seat)
	}
	changed.Picture = picture
	return changed, nil
}

// enter is a picture's state at the level that has its noise, x = α·y. It is written to dst where that has room for it.
func (m *Model) enter(dst []float32, picture *Picture, at diffusion.Level) []float32 {
	x := m.tensor(dst, picture)
	for i := range x {
		x[i] *= float32(at.Alpha)
	}
	return x
}

// estimate replaces a picture by x̂₀, tile by tile: what one step of any method comes to. No state of the whole picture is
// made, so that large ones take little more memory than their pixels.
func (m *Model) estimate(ctx context.Context, method diffusion.Method, tiles tiling, seats []*Seat, at diffusion.Level, picture *Picture) error {
	evaluators := make([]evaluator, len(seats))
	for i, seat := range seats {
		d := m.denoiser(method, m.unlabelled(seat))
		tile := &Picture{Width: tiles.columns.length, Height: tiles.rows.length, Channels: picture.Channels}
		tile.Colours = make([]float32, tile.Channels*tile.Width*tile.Height)
		var x []float32
		evaluators[i] = func(ctx context.Context, top, left int) ([]float32, error) {
			tiles.crop(tile.Colours, picture.Colours, top, left)
			x = m.enter(x, tile, at)
			est, err := d(ctx, x, at)
			if err != nil {
				return nil, err
			}
			m.colours(tile.Colours, est.X0)
			return tile.Colours, nil
		}
	}
	return tiles.sweep(ctx, picture.Channels, evaluators, tiles.into(picture.Colours))
}

// freeMethods lists the samplers that can begin anywhere.
func freeMethods() []string {
	return slices.DeleteFunc(diffusion.Methods(), func(name string) bool {
		_, method, _ := diffusion.MethodOf(name)
		return method.FixedGrid
	})
}

// Noise adds noise to a picture: the forward process.
func (p *Pipeline) Noise(req NoiseRequest, picture *Picture) (*Changed, error) {
	var f faults
	switch {
	case len(req.Sigmas) > 0 && req.Timestep != nil:
		f.add("timestep", "is another way to say how much noise to add; allowed: sigma or timestep")
	case len(req.Sigmas) == 0 && req.Timestep == nil:
		f.add("sigma", "is missing; say how much noise to add, by sigma or by timestep")
	case req.Timestep != nil:
		return p.diffuse(req, picture)
	case req.Model != nil:
		f.add("model", "goes with timestep: noise of a given sigma needs no model")
	}
	sum := 0.0
	for _, sigma := range req.Sigmas {
		between(&f, "sigma", sigma, 0, maxSigma)
		sum += sigma * sigma
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	changed := &Changed{Sigma: math.Sqrt(sum), Seed: value(req.Seed, rand.Uint32())}
	noise := make([]float32, len(picture.Colours))
	diffusion.NewGenerator(changed.Seed).Normal(noise)
	for i, v := range picture.Colours {
		noise[i] = v + float32(noise[i]*float32(changed.Sigma/maxSigma))
	}
	changed.Picture = picture.with(noise)
	return changed, nil
}

// diffuse is the model's own forward process, x_t = √ᾱ_t·x₀ + √(1−ᾱ_t)·ε (Ho et al. 2020, eq. 4).
func (p *Pipeline) diffuse(req NoiseRequest, picture *Picture) (*Changed, error) {
	m, err := p.find(req.Model, "noise")
	if err != nil {
		return nil, err
	}
	var f faults
	between(&f, "timestep", *req.Timestep, 0, float64(m.schedule.Len()-1))
	m.takes(&f, picture)
	if err := f.err(); err != nil {
		return nil, err
	}
	at := m.schedule.Between(*req.Timestep)
	changed := &Changed{Model: m, Seed: value(req.Seed, rand.Uint32())}
	changed.Sigma = at.Sigma * m.eightBit()
	x := m.tensor(nil, picture)
	// A grey picture stays grey in a colour model: its three channels have the same noise.
	noise := make([]float32, len(picture.Colours))
	diffusion.NewGenerator(changed.Seed).Normal(noise)
	for i := range x {
		x[i] = float32(float32(at.Alpha)*x[i]) + float32(float32(at.Sigma)*noise[i%len(noise)])
	}
	m.colours(noise, x)
	changed.Picture = picture.with(noise)
	return changed, nil
}

// takes reports a picture that the model cannot be given.
func (m *Model) takes(f *faults, picture *Picture) {
	if m.Bundle.Channels != picture.Channels && !(m.Bundle.Channels == 3 && picture.Channels == 1) {
		f.add("image", "has %d colour channels; the model %s serves %d", picture.Channels, m.Bundle.Name, m.Bundle.Channels)
	}
}

// pixelRange is what black is to the network, and how far white is from it.
func (m *Model) pixelRange() (low, span float32) {
	return float32(m.Bundle.ValueRange[0]), float32(m.Bundle.ValueRange[1] - m.Bundle.ValueRange[0])
}

// eightBit is how many 8-bit units one of the model's units is.
func (m *Model) eightBit() float64 {
	return maxSigma / (m.Bundle.ValueRange[1] - m.Bundle.ValueRange[0])
}

// tensor is a picture in the model's units, written to dst where that has room for it. A grey picture is given to a
// colour model three times.
func (m *Model) tensor(dst []float32, picture *Picture) []float32 {
	low, span := m.pixelRange()
	x := slices.Grow(dst[:0], m.Bundle.Channels*picture.Height*picture.Width)
	for range m.Bundle.Channels / picture.Channels {
		x = append(x, picture.Colours...)
	}
	for i := range x {
		x[i] = float32(x[i]*span) + low
	}
	return x
}

// colours is the way back from the model's units, into as many channels as a picture has; a grey one gets the mean of three.
func (m *Model) colours(dst, x []float32) {
	low, span := m.pixelRange()
	for i := range dst {
		sum := float32(0)
		for c := i; c < len(x); c += len(dst) {
			sum += (x[c] - low) / span
		}
		dst[i] = sum / float32(len(x)/len(dst))
	}
}

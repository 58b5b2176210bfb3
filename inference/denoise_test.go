package inference

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"slices"
	"strings"
	"testing"

	"denoised/inference/diffusion"
	"denoised/inference/inferencetest"
	"denoised/weights"
)

// grey is a picture of one value.
func grey(t *testing.T, height, width int, value uint8) *Picture {
	t.Helper()
	picture, err := ReadPicture([]byte(inferencetest.GreyPNG(t, height, width, value)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// noisy adds normal noise of a known σ, without rounding or clipping.
func noisy(p *Picture, sigma float64, seed uint32) *Picture {
	noise := make([]float32, len(p.Colours))
	diffusion.NewGenerator(seed).Normal(noise)
	for i, v := range p.Colours {
		noise[i] = v + noise[i]*float32(sigma/255)
	}
	return p.with(noise)
}

// TestDenoise: for data N(0, s²) seen with noise of variance σ², the least-squares estimate is
// y·s²/(s²+σ²), exactly; more steps follow the probability-flow ODE to y·√(s²/(s²+σ²)).
func TestDenoise(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	const std = 0.4 // of the network's data without a label
	y := 2*160.0/255 - 1
	for _, c := range []struct {
		sigma float64
		steps int
		want  func(variance float64) float64
	}{
		{25, 1, func(v float64) float64 { return y * std * std / (std*std + v) }},
		{50, 1, func(v float64) float64 { return y * std * std / (std*std + v) }},
		{50, 400, func(v float64) float64 { return y * math.Sqrt(std*std/(std*std+v)) }},
	} {
		changed, err := p.Denoise(t.Context(), DenoiseRequest{Sigma: &c.sigma, Steps: &c.steps}, grey(t, 8, 8, 160))
		if err != nil {
			t.Fatal(err)
		}
		sigma := c.sigma * 2 / 255
		got := 2*float64(changed.Picture.Colours[9]) - 1
		if want := c.want(sigma * sigma); math.Abs(got-want) > 2e-3 || math.Abs(changed.Sigma-c.sigma) > 1e-9 {
			t.Errorf("σ = %g in %d steps: %.4f, want %.4f", c.sigma, c.steps, got, want)
		}
	}
}

// TestDenoiseSaysWhichNoiseItTook asks for less noise than the schedule has anywhere: it takes the schedule's least.
func TestDenoiseSaysWhichNoiseItTook(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	changed, err := p.Denoise(t.Context(), DenoiseRequest{Sigma: ptr(0.1)}, grey(t, 8, 8, 77))
	if err != nil {
		t.Fatal(err)
	}
	if least := linear(t).At(0).Ratio() * 255 / 2; math.Abs(changed.Sigma-least) > 1e-9 {
		t.Errorf("σ = 0.1 is taken for %g, want %g", changed.Sigma, least)
	}
}

// TestDenoiseAnySize has pictures smaller and larger than the model's own, in one step and in several, with a network
// whose sizes are free and one whose are fixed. The exact network treats every pixel alike, so the answer is known.
func TestDenoiseAnySize(t *testing.T) {
	free := inferencetest.Bundle("ten", 64)
	free.Graph.Sample.Shape = []int64{-1, 1, -1, -1}
	fixed := inferencetest.Bundle("ten", 64)
	const std, sigma = 0.4, 50.0 * 2 / 255
	for name, b := range map[string]*weights.Bundle{"free": free, "fixed": fixed} {
		p := serve(t, b, inferencetest.NewGaussian(t))
		for _, size := range [][2]int{{1, 1}, {7, 13}, {64, 64}, {65, 64}, {133, 200}} {
			for _, c := range []struct {
				steps  int
				shrink float64
			}{{1, std * std / (std*std + sigma*sigma)}, {30, std / math.Sqrt(std*std+sigma*sigma)}} {
				req := DenoiseRequest{Sigma: ptr(50.0), Steps: &c.steps, Sampler: ptr("heun")}
				changed, err := p.Denoise(t.Context(), req, grey(t, size[0], size[1], 160))
				if err != nil {
					t.Fatal(err)
				}
				want := (2*160.0/255-1)*c.shrink/2 + 0.5
				if n := len(changed.Picture.Colours); n != size[0]*size[1] {
					t.Fatalf("%s, %v: %d pixels", name, size, n)
				}
				for i, v := range changed.Picture.Colours {
					if !(math.Abs(float64(v)-want) < 1e-3) {
						t.Fatalf("%s, %v, %d steps: pixel %d is %g, want %g", name, size, c.steps, i, v, want)
					}
				}
			}
		}
	}
}

// TestTilesAreRows: the tiles of a picture share runs of the network, and once the client has gone none is begun.
func TestTilesAreRows(t *testing.T) {
	for _, steps := range []int{1, 5} {
		ctx, hangUp := context.WithCancel(t.Context())
		network, runs := inferencetest.NewGaussian(t), 0
		p := serve(t, inferencetest.Bundle("ten", 8), network)
		network.Before = func(int) error {
			if runs++; runs == 3 {
				hangUp()
			}
			return nil
		}
		_, err := p.Denoise(ctx, DenoiseRequest{Sigma: ptr(40.0), Steps: &steps}, grey(t, 40, 100, 128))
		if !errors.Is(err, context.Canceled) || runs > 4 {
			t.Errorf("%d steps: %d runs, error %v", steps, runs, err)
		}
		if most := network.MostRows(); most < 2 {
			t.Errorf("%d steps: a run had %d rows at most", steps, most)
		}
	}
}

// TestDenoiseOnceIsASampler holds the estimate in one step against every sampler's own single step.
func TestDenoiseOnceIsASampler(t *testing.T) {
	b := inferencetest.Bundle("ten", 8)
	p := serve(t, b, inferencetest.NewGaussian(t))
	m, err := p.Model("ten")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range freeMethods() {
		_, method, _ := diffusion.MethodOf(name)
		picture := noisy(grey(t, 8, 8, 230), 60, 3)
		levels := m.schedule.Geometric(60/m.eightBit(), 1)
		x := m.tensor(nil, picture)
		for i := range x {
			x[i] *= float32(levels[0].Alpha)
		}
		seat := m.engine.Join([3]int{1, 8, 8}, 1)
		err := method.Sample(t.Context(), m.denoiser(method, m.unlabelled(seat)), x, m.run(levels, diffusion.NewGenerator(1)))
		seat.Leave()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float32, len(x))
		m.colours(want, x)
		changed, err := p.Denoise(t.Context(), DenoiseRequest{Sigma: ptr(60.0), Sampler: ptr(name)}, picture)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range changed.Picture.Colours {
			if math.Abs(float64(v-want[i])) > 1e-6 {
				t.Fatalf("%s: pixel %d is %g, want %g", name, i, v, want[i])
			}
		}
	}
}

// TestDefaultModel takes a colour model for pictures that are sent, since it takes grey ones too, and the first for drawing.
func TestDefaultModel(t *testing.T) {
	var models []*Model
	for _, c := range []struct {
		name     string
		channels int
	}{{"grey", 1}, {"colour", 3}, {"late", 3}} {
		b := inferencetest.Bundle(c.name, 8)
		b.Channels = c.channels
		m, err := NewModel(b, inferencetest.NewGaussian(t), 8, Unobserved{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		models = append(models, m)
	}
	for _, c := range []struct {
		models []*Model
		task   string
		want   string
	}{
		{models, "generate", "grey"},
		{models, "denoise", "colour"},
		{models, "noise", "colour"},
		{models[:1], "denoise", "grey"},
	} {
		m, err := NewPipeline("test", limits, c.models...).find(nil, c.task)
		if err != nil || m.Bundle.Name != c.want {
			t.Errorf("%s with %d models: %v, want %s", c.task, len(c.models), err, c.want)
		}
	}
}

func TestDenoiseOfNoNoise(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	picture := grey(t, 8, 8, 77)
	changed, err := p.Denoise(t.Context(), DenoiseRequest{Sigma: ptr(0.0)}, picture)
	if err != nil || changed.Picture != picture || changed.Sigma != 0 {
		t.Errorf("%+v, %v", changed, err)
	}
}

func TestEstimateSigma(t *testing.T) {
	flat := grey(t, 64, 64, 128)
	if got := EstimateSigma(flat); got != 0 {
		t.Errorf("a flat picture has σ = %g", got)
	}
	if got := EstimateSigma(grey(t, 1, 40, 3)); got != 0 {
		t.Errorf("a single line has σ = %g", got)
	}
	for _, sigma := range []float64{5, 15, 25, 50} {
		if got := EstimateSigma(noisy(flat, sigma, 2)); math.Abs(got/sigma-1) > 0.1 {
			t.Errorf("σ = %g is estimated as %.1f", sigma, got)
		}
	}
}

// TestEstimateSigmaOfJPEG: the format halves the resolution of colour and leaves it hardly any noise, and takes some of the
// brightness's too.
func TestEstimateSigmaOfJPEG(t *testing.T) {
	for _, sigma := range []float64{15, 25, 50} {
		p := &Picture{Width: 128, Height: 128, Channels: 3, Colours: make([]float32, 3*128*128), colour: true}
		for i := range p.Colours {
			p.Colours[i] = float32(0.5 + 0.2*math.Sin(float64(i%128)/9))
		}
		clean := slices.Clone(p.Colours)
		var file bytes.Buffer
		if err := jpeg.Encode(&file, raster{noisy(p, sigma, 2)}, &jpeg.Options{Quality: 95}); err != nil {
			t.Fatal(err)
		}
		sent, err := ReadPicture(file.Bytes(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		squares := 0.0
		for i, v := range sent.Colours {
			squares += float64(v-clean[i]) * float64(v-clean[i])
		}
		left := 255 * math.Sqrt(squares/float64(len(clean)))
		if got := EstimateSigma(sent); math.Abs(got/left-1) > 0.25 {
			t.Errorf("of noise of %g JPEG has left %.2f, which is estimated as %.2f", sigma, left, got)
		}
	}
}

// TestEstimateSigmaInTexture has waves, edges and a gradient under the noise, in colour and in grey.
func TestEstimateSigmaInTexture(t *testing.T) {
	const side = 128
	for _, channels := range []int{1, 3} {
		p := &Picture{Width: side, Height: side, Channels: channels, Colours: make([]float32, channels*side*side)}
		for i := range p.Colours {
			c, y, x := i/(side*side), float64(i/side%side), float64(i%side)
			v := 0.3 + 0.1*math.Sin(x/3+y/7) + 0.1*math.Sin(x*y/200+float64(c)) + y/side/5
			if math.Mod(x+2*y, 40) < 20 {
				v += 0.2
			}
			p.Colours[i] = float32(v)
		}
		for _, sigma := range []float64{5, 15, 25, 50} {
			if got := EstimateSigma(filed(noisy(p, sigma, 2))); math.Abs(got/sigma-1) > 0.05 {
				t.Errorf("%d channels: σ = %g is estimated as %.2f", channels, sigma, got)
			}
		}
	}
}

// filed is a picture as a file of 8 bits keeps it.
func filed(p *Picture) *Picture {
	for i, v := range p.Colours {
		p.Colours[i] = float32(math.Round(float64(min(max(v, 0), 1))*255) / 255)
	}
	return p
}

// TestEstimateSigmaOfClippedNoise has a file's range cut the noise off: on a ramp from black to white, and on black around
// a disc, whose edge would hide less noise than that.
func TestEstimateSigmaOfClippedNoise(t *testing.T) {
	const side = 128
	ramp := func(x, _ float64) float64 { return x / side }
	disc := func(x, y float64) float64 {
		if math.Hypot(x-side/2, y-side/2) < 50 {
			return 0.5
		}
		return 0
	}
	for _, c := range []struct {
		name  string
		shade func(x, y float64) float64
		sigma float64
	}{{"ramp", ramp, 5}, {"ramp", ramp, 15}, {"ramp", ramp, 25}, {"ramp", ramp, 50}, {"disc", disc, 25}, {"disc", disc, 50}} {
		p := &Picture{Width: side, Height: side, Channels: 1, Colours: make([]float32, side*side)}
		for i := range p.Colours {
			p.Colours[i] = float32(c.shade(float64(i%side), float64(i/side)))
		}
		if got := EstimateSigma(filed(noisy(p, c.sigma, 2))); math.Abs(got/c.sigma-1) > 0.05 {
			t.Errorf("%s: σ = %g is estimated as %.2f", c.name, c.sigma, got)
		}
	}
}

func TestPictureRefused(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	coloured := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	coloured.Set(1, 1, color.NRGBA{200, 10, 10, 255})
	colour := fromImage(coloured, 1)
	own := grey(t, 8, 8, 0)
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"colour for a grey model", func() error {
			_, err := p.Denoise(t.Context(), DenoiseRequest{}, colour)
			return err
		}, "image: has 3 colour channels; the model ten serves 1"},
		{"sigma", func() error {
			_, err := p.Denoise(t.Context(), DenoiseRequest{Sigma: ptr(256.0)}, own)
			return err
		}, "sigma: is 256; allowed: 0 to 255"},
		{"steps", func() error {
			_, err := p.Denoise(t.Context(), DenoiseRequest{Steps: ptr(0)}, own)
			return err
		}, "steps: is 0; allowed: 1 to 1000"},
		{"sampler", func() error {
			_, err := p.Denoise(t.Context(), DenoiseRequest{Sampler: ptr("x")}, own)
			return err
		}, `sampler: "x" is unknown; allowed: ` + strings.Join(diffusion.Methods(), ", ")},
		{"no amount of noise", func() error {
			_, err := p.Noise(NoiseRequest{}, own)
			return err
		}, "sigma: is missing; say how much noise to add, by sigma or by timestep"},
		{"two amounts of noise", func() error {
			_, err := p.Noise(NoiseRequest{Sigmas: []float64{5}, Timestep: ptr(3.0)}, own)
			return err
		}, "timestep: is another way to say how much noise to add; allowed: sigma or timestep"},
		{"a model for plain noise", func() error {
			_, err := p.Noise(NoiseRequest{Sigmas: []float64{5}, Model: ptr("ten")}, own)
			return err
		}, "model: goes with timestep: noise of a given sigma needs no model"},
		{"a timestep behind the last", func() error {
			_, err := p.Noise(NoiseRequest{Timestep: ptr(999.5)}, own)
			return err
		}, "timestep: is 999.5; allowed: 0 to 999"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call()
			if err == nil || KindOf(err) != Invalid || !strings.HasSuffix(err.Error(), "; "+c.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestNoise checks both forms of the forward process by the mean and spread of what they make of a flat picture.
func TestNoise(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	schedule := linear(t)
	at := schedule.Between(120.5)
	value := 153.0 / 255
	for _, c := range []struct {
		name      string
		req       NoiseRequest
		mean, std float64
	}{
		{"one sigma", NoiseRequest{Sigmas: []float64{20}}, value, 20.0 / 255},
		{"sigmas add up in quadrature", NoiseRequest{Sigmas: []float64{12, 16}}, value, 20.0 / 255},
		// In units of the picture the model's [−1, 1] is half as wide.
		{"a timestep of the model", NoiseRequest{Timestep: ptr(120.5)}, (at.Alpha*(2*value-1) + 1) / 2, at.Sigma / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []float32
			for seed := range uint32(60) {
				c.req.Seed = &seed
				changed, err := p.Noise(c.req, grey(t, 8, 8, 153))
				if err != nil {
					t.Fatal(err)
				}
				if math.Abs(changed.Sigma/255-c.std) > 1e-9 || changed.Seed != seed {
					t.Errorf("σ = %g and seed %d", changed.Sigma, changed.Seed)
				}
				all = append(all, changed.Picture.Colours...)
			}
			m, squares := mean(all), 0.0
			for _, v := range all {
				squares += (float64(v) - m) * (float64(v) - m)
			}
			std := math.Sqrt(squares / float64(len(all)))
			if math.Abs(m-c.mean) > 0.005 || math.Abs(std/c.std-1) > 0.03 {
				t.Errorf("mean %.4f and standard deviation %.4f, want %.4f and %.4f", m, std, c.mean, c.std)
			}
		})
	}
}

// linear is the schedule of the exact network.
func linear(t *testing.T) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
